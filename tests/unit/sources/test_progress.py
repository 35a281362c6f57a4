"""The checkpoint stays below what is not durable and never goes back; nothing is forgotten that cannot prove
itself."""

from __future__ import annotations

import gc
from unittest import mock

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from stormfold.model.checkpoint import Checkpoint
from stormfold.sources import progress as module
from stormfold.sources.progress import CREATION_MARGIN_SECONDS, SWEEP, Progress, Taken

T = 1_767_225_600
"""A creation time, Unix seconds."""


class Reader(Progress):
    """Changes that are read one by one."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__()
        self.begin(checkpoint)

    def take(self, resource_version: int, *, generation: int, created: int) -> Taken:
        taken = super().take(resource_version, generation=generation, created=created)
        self.reach(resource_version)
        return taken


def begun(version: int = 100, created_before: int = 0) -> Reader:
    progress = Reader(Checkpoint(version, created_before))
    progress.begun()
    return progress


def test_checkpoint_begins_where_the_last_leader_left_it() -> None:
    progress = begun(100, T)
    assert progress.checkpoint() == Checkpoint(100, T)
    assert progress.trim() == progress.kept_version == 100


def test_checkpoint_is_just_below_the_first_that_is_not_durable() -> None:
    progress = begun()
    first, second = (progress.take(version, generation=1, created=T) for version in (110, 120))
    progress.reach(130)
    assert progress.checkpoint() == Checkpoint(109, 0)
    second.durable = True
    assert progress.checkpoint() == Checkpoint(109, 0)
    first.durable = True
    assert progress.checkpoint() == Checkpoint(130, T - CREATION_MARGIN_SECONDS)


def test_older_list_does_not_take_the_checkpoint_back() -> None:
    progress = begun()
    progress.reach(200)
    progress.reach(150)
    assert progress.checkpoint().resource_version == 200


def test_creation_time_of_the_checkpoint_never_goes_back() -> None:
    progress = begun()
    for version, created in ((110, T), (120, T - 3_600)):
        progress.take(version, generation=1, created=created).durable = True
    assert progress.checkpoint() == Checkpoint(120, T - CREATION_MARGIN_SECONDS)


def prove_nothing(taken: Taken) -> None:
    pass


def mark(taken: Taken) -> None:
    taken.marked = True


def remove(taken: Taken) -> None:
    taken.gone = True


@pytest.mark.parametrize(
    ("generation", "created", "prove", "trimmed"),
    [
        pytest.param(1, T, prove_nothing, 109, id="no proof"),
        pytest.param(1, T, mark, 200, id="its mark"),
        pytest.param(1, T, remove, 200, id="it is gone"),
        pytest.param(1, T - 1, prove_nothing, 200, id="created before the checkpoint's time"),
        pytest.param(2, T - 1, prove_nothing, 109, id="a raised generation is no older for its creation"),
        pytest.param(2, T - 1, mark, 200, id="a raised generation with a mark"),
    ],
)
def test_id_is_kept_until_the_signal_proves_that_it_was_counted(
    generation: int, created: int, prove: object, trimmed: int
) -> None:
    progress = begun()
    taken = progress.take(110, generation=generation, created=created)
    taken.durable = True
    progress.kept(Checkpoint(200, T))
    assert callable(prove)
    prove(taken)
    assert progress.trim() == trimmed


def test_id_of_what_is_not_durable_is_kept_though_it_is_gone() -> None:
    progress = begun()
    progress.take(110, generation=1, created=T).gone = True
    progress.kept(Checkpoint(109, 0))
    assert progress.trim() == 109


def test_ids_above_the_kept_checkpoint_are_kept() -> None:
    progress = begun()
    taken = progress.take(110, generation=1, created=T)
    taken.durable = taken.marked = True
    assert progress.checkpoint().resource_version == 110
    assert progress.trim() == 100


def test_redis_forgets_nothing_before_the_first_list_is_taken_in() -> None:
    progress = Reader(Checkpoint(100, T))
    assert progress.trim() == 0
    progress.begun()
    assert progress.trim() == 100


# An edit has raised its resourceVersion above the one under which Redis has its id.
@pytest.mark.parametrize("counted", [True, False], ids=["counted before", "taken again"])
def test_redis_forgets_nothing_while_something_met_at_start_may_be_mistaken_for_new(counted: bool) -> None:
    progress = Reader(Checkpoint(100))
    note = progress.meet if counted else progress.take
    taken = note(105, generation=1, created=T)
    progress.begun()
    progress.kept(Checkpoint(200, T))
    taken.durable = True
    assert progress.trim() == 0
    progress.kept(Checkpoint(200, T + 1))
    assert progress.trim() == 200


def remembered() -> int:
    """How many occurrences are in memory."""
    return sum(isinstance(found, Taken) for found in gc.get_objects())


def test_what_is_durable_does_not_pile_up_behind_what_never_is() -> None:
    before = remembered()
    progress = begun()
    stuck = progress.take(110, generation=1, created=T)
    for version in range(111, 111 + 5 * SWEEP):
        taken = progress.take(version, generation=1, created=T + version)
        taken.durable = taken.gone = True
    assert remembered() - before <= 2 * (SWEEP + 1)
    assert progress.checkpoint() == Checkpoint(109, 0)
    stuck.durable = True
    assert progress.checkpoint() == Checkpoint(version, T + version - CREATION_MARGIN_SECONDS)


def test_proven_ids_do_not_pile_up_behind_one_that_must_be_kept() -> None:
    before = remembered()
    progress = begun()
    progress.take(110, generation=2, created=T).durable = True
    for version in range(111, 111 + 5 * SWEEP):
        taken = progress.take(version, generation=2, created=T)
        taken.durable = taken.gone = True
        progress.kept(progress.checkpoint())
        assert progress.trim() == 109
    assert remembered() - before <= SWEEP + 2


@pytest.mark.parametrize(
    ("version", "generation", "created", "wrote", "counted"),
    [
        pytest.param(100, 1, T, (False, False), True, id="at the checkpoint"),
        pytest.param(101, 1, T, (False, False), False, id="above it"),
        pytest.param(101, 1, T, (True, True), True, id="above it, marked"),
        pytest.param(101, 1, T - 1, (True, False), True, id="above it, created before its time, then edited"),
        pytest.param(101, 1, T - 1, (False, False), False, id="above it, created by a clock that is behind"),
        pytest.param(101, 2, T - 1, (True, False), False, id="above it, a raised generation"),
        pytest.param(101, 2, T - 1, (True, True), True, id="above it, a raised generation, marked"),
    ],
)
def test_signal_met_at_start_was_counted_or_not(
    version: int, generation: int, created: int, wrote: tuple[bool, bool], counted: bool
) -> None:
    edited, marked = wrote  # to the Signal, after its creation
    found = begun(100, T).counted_before(
        version, generation=generation, created=created, edited=edited, marked=marked
    )
    assert found == counted


class Intake(RuleBasedStateMachine):
    """Signals taken, made durable, marked and deleted in any order, with renewals in between."""

    waiting = Bundle("waiting")
    durable = Bundle("durable")

    def __init__(self) -> None:
        super().__init__()
        self.sweeps_soon = mock.patch.object(module, "SWEEP", 3)
        self.sweeps_soon.start()
        self.progress = begun(10)
        self.read = 10
        self.all: list[Taken] = []
        self.last = self.kept = Checkpoint(10)
        self.trimmed = 10

    def teardown(self) -> None:
        self.sweeps_soon.stop()

    @rule(target=waiting, step=st.integers(1, 3), generation=st.integers(1, 2), age=st.integers(0, 60))
    def take(self, step: int, generation: int, age: int) -> Taken:
        self.read += step
        taken = self.progress.take(self.read, generation=generation, created=T + 3 * self.read - age)
        self.all.append(taken)
        return taken

    @rule(step=st.integers(0, 5))
    def reach(self, step: int) -> None:
        self.read += step
        self.progress.reach(self.read)

    @rule(target=durable, taken=consumes(waiting))
    def make_durable(self, taken: Taken) -> Taken:
        taken.durable = True
        return taken

    @rule(taken=durable)
    def mark(self, taken: Taken) -> None:
        taken.marked = True

    @rule(taken=st.one_of(durable, waiting))
    def delete(self, taken: Taken) -> None:
        taken.gone = True

    @rule(target=waiting)
    def renew(self) -> object:
        self.kept = self.progress.checkpoint()
        self.progress.kept(self.kept)
        return multiple()

    @invariant()
    def checkpoint_passes_nothing_in_flight_and_never_goes_back(self) -> None:
        checkpoint = self.progress.checkpoint()
        in_flight = [taken for taken in self.all if not taken.durable]
        below = min((taken.resource_version - 1 for taken in in_flight), default=self.read)
        assert checkpoint.resource_version == below
        assert checkpoint.resource_version >= self.last.resource_version
        assert checkpoint.created_before >= self.last.created_before
        self.last = checkpoint

    @invariant()
    def nothing_is_trimmed_that_is_in_flight_unkept_or_unproven(self) -> None:
        trim = self.progress.trim()
        assert self.trimmed <= trim <= self.progress.kept_version <= self.last.resource_version
        for taken in self.all:
            if taken.resource_version <= trim:
                proven = taken.generation == 1 and taken.created < self.kept.created_before
                assert taken.durable
                assert taken.gone or taken.marked or proven
        self.trimmed = trim

    @invariant()
    def restart_takes_all_that_is_not_durable(self) -> None:
        successor = Reader(self.kept)
        for taken in self.all:
            if not taken.durable and not taken.marked and taken.resource_version > self.progress.kept_version:
                assert not successor.counted_before(
                    taken.resource_version,
                    generation=taken.generation,
                    # A signal created late bears a late time: `age` is what clocks may differ by.
                    created=max(taken.created, self.kept.created_before),
                    edited=True,
                    marked=False,
                )


TestIntake = Intake.TestCase
TestIntake.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
