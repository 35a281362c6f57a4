"""What is due, gathered into few looks, and which of it is worked on next."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from string import hexdigits
from typing import Any, cast

import pytest
from tests.harness.metrics import sample

from stormfold.model.group import PARTITIONS
from stormfold.request import backoff
from stormfold.request import schedule as module
from stormfold.request.backoff import FAILING, Line
from stormfold.request.places import ASK_AGAIN_SECONDS
from stormfold.request.schedule import (
    ASKED_AT_ONCE,
    HINTED_MS,
    LOOK_MS,
    STORMS_AT_ONCE,
    STORMS_THROTTLED,
    Schedule,
)

NOW = 1_767_225_600_000
GROUP_HASH, OTHER_HASH = "00000000000000ab", "00000000000000cd"


class Store:
    """The deadlines in Redis; knows what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, set[int]]] = []
        """Up to when, in ms from `NOW`, and in which partitions."""
        self.made_due: list[str] = []
        self.looked_up: list[str] = []
        self.has: dict[int, list[str]] = {}

    async def due(self, numbers: Sequence[int], *, now_ms: int) -> dict[int, list[str]]:
        self.asked.append((now_ms - NOW, set(numbers)))
        return {number: self.has[number] for number in numbers if number in self.has}

    async def with_request(self, group_hashes: Sequence[str]) -> list[str]:
        self.looked_up += group_hashes
        return [group_hash for group_hash in group_hashes if group_hash == GROUP_HASH]

    async def make_due(self, group_hashes: Collection[str], *, now_ms: int) -> None:
        self.made_due += sorted(group_hashes)


class Scene:
    """A schedule at a moment that stands still, and what is worked on; a storm is named by its namespace and
    a number."""

    def __init__(self) -> None:
        self.now = NOW
        self.store = Store()
        self.schedule = Schedule(cast("Any", self.store))
        self.working: dict[str, Line] = {}
        """Group hash → line."""

    # --- looks

    async def looks(self, until: int) -> dict[int, set[int]]:
        """Milliseconds from now → the partitions that are looked at then."""
        for later in range(until + 1):
            self.now = NOW + later
            await self.schedule.look()
        return dict(self.store.asked)

    # --- turns

    def start(self, *, throttled: bool = False, **due: int) -> list[str]:
        """Let so many storms of each namespace be due; gives what is then worked on, by namespace."""
        group_hashes = [f"{name}{number:015x}" for name, count in due.items() for number in range(count)]
        self.schedule.line_up([group_hashes], lambda group_hash: group_hash[0])
        for chosen in self.schedule.start(throttled=throttled).values():
            assert not chosen.keys() & self.working.keys(), "it is worked on already"
            self.working |= chosen
        return sorted(line.namespace for line in self.working.values())

    def end(self) -> None:
        """Nothing is worked on any more."""
        for group_hash, line in self.working.items():
            self.schedule.leave_slot(line)
            self.schedule.end(group_hash)
        self.working.clear()

    def fail(self, *namespaces: str) -> None:
        """Let so many tries fail that the namespaces are failing, though the API server refused nothing."""
        for namespace in namespaces:
            for _ in range(FAILING):
                self.schedule.failed(GROUP_HASH, Line(namespace, refused=False), refused=False)

    def refuse(self) -> int:
        """Let the API server refuse what is worked on; gives how many that were."""
        for group_hash, line in self.working.items():
            self.schedule.failed(group_hash, line, refused=True)
        refused = len(self.working)
        self.end()
        return refused


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    scene = Scene()
    monkeypatch.setattr(module, "now_ms", lambda: scene.now)
    return scene


# --- when it is looked


async def test_everything_due_between_two_looks_is_found_by_the_second(scene: Scene) -> None:
    for number, later in ((3, 1), (3, LOOK_MS), (4, LOOK_MS - 1), (5, LOOK_MS + 1)):
        scene.schedule.expect(number, NOW + later)
    assert await scene.looks(3 * LOOK_MS) == {LOOK_MS: {3, 4}, 2 * LOOK_MS: {5}}


async def test_what_is_due_for_long_is_looked_at_now(scene: Scene) -> None:
    scene.schedule.expect(7, NOW - 5_000)
    assert await scene.looks(LOOK_MS) == {0: {7}}


async def test_what_is_far_ahead_is_left_to_the_sweep(scene: Scene) -> None:
    scene.schedule.expect(7, NOW + HINTED_MS)
    assert await scene.looks(HINTED_MS + LOOK_MS) == {}


async def test_look_gives_what_is_due(scene: Scene) -> None:
    scene.store.has = {3: [GROUP_HASH]}
    scene.schedule.expect(3, NOW)
    scene.schedule.expect(4, NOW)
    assert list(await scene.schedule.look()) == [[GROUP_HASH]]


async def test_storm_that_is_worked_on_is_made_due_when_that_is_over(scene: Scene) -> None:
    scene.schedule.line_up([[GROUP_HASH]], lambda group_hash: "shop")
    line = Line("shop", refused=False)
    assert scene.schedule.start(throttled=False) == {int(GROUP_HASH, 16) % PARTITIONS: {GROUP_HASH: line}}
    scene.schedule.make_due([GROUP_HASH, OTHER_HASH])
    await scene.schedule.tell_store()
    assert scene.store.made_due == [OTHER_HASH]
    scene.schedule.end(GROUP_HASH)
    await scene.schedule.tell_store()
    assert scene.store.made_due == [OTHER_HASH, GROUP_HASH]
    await scene.schedule.tell_store()
    assert scene.store.made_due == [OTHER_HASH, GROUP_HASH]


async def test_who_takes_over_makes_due_what_may_be_hidden_for_a_while(
    scene: Scene,
) -> None:
    scene.store.has = {1: [GROUP_HASH], 5: [OTHER_HASH]}
    await scene.schedule.take_over()
    await scene.schedule.tell_store()
    assert scene.store.asked == [(ASK_AGAIN_SECONDS * 1000, set(range(PARTITIONS)))]
    assert scene.store.made_due == [GROUP_HASH, OTHER_HASH]


async def test_open_group_without_a_request_is_due_at_once_if_it_had_one(scene: Scene) -> None:
    others = [f"{number:016x}" for number in range(256, 256 + ASKED_AT_ONCE)]
    await scene.schedule.take_up({GROUP_HASH, *others})
    await scene.schedule.tell_store()
    assert scene.store.looked_up == [GROUP_HASH, *others]
    assert scene.store.made_due == [GROUP_HASH]


# --- whose turn is next

HALF = STORMS_AT_ONCE // 2


def test_namespace_gets_half_of_the_slots_and_the_next_one_half_of_the_rest(scene: Scene) -> None:
    assert scene.start(a=100) == ["a"] * HALF
    # Nothing of the first has ended, and the second begins all the same.
    assert scene.start(b=1) == ["a"] * HALF + ["b"]
    assert scene.start(b=100) == ["a"] * HALF + ["b"] * (HALF // 2)


def test_fewer_storms_are_begun_while_the_api_server_asks_for_less(scene: Scene) -> None:
    assert scene.start(throttled=True, a=100, b=1) == ["a"] * (STORMS_THROTTLED // 2) + ["b"]
    assert scene.start().count("a") > STORMS_THROTTLED // 2


def test_namespaces_take_turns_among_what_is_due(scene: Scene) -> None:
    scene.start(a=50, b=50)
    scene.end()
    working = scene.start()
    assert abs(working.count("a") - working.count("b")) <= HALF


def test_storm_is_lined_up_once(scene: Scene) -> None:
    scene.start(a=20)
    scene.start(a=20)
    assert sample("stormfold_storms_waiting") == 20 - HALF
    started = len(scene.working)
    while scene.working:
        scene.end()
        started += len(scene.start())
    assert started == 20


def test_namespace_that_only_fails_is_tried_with_one_storm(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backoff, "RETRY_SECONDS", 0.0)
    assert scene.start(a=20) == ["a"] * HALF
    scene.fail("a")
    scene.end()
    assert scene.start(b=2) == ["a", "b", "b"]
    # One write that goes well, and it is as before.
    scene.schedule.written(GROUP_HASH, Line("a", refused=False), made=False)
    scene.end()
    assert scene.start() == ["a"] * HALF


def test_namespace_that_only_fails_is_not_tried_again_at_once(scene: Scene) -> None:
    scene.fail("a")
    assert scene.start(a=20, b=1) == ["b"]


def test_refused_groups_wait_and_others_of_their_namespace_do_not(scene: Scene) -> None:
    scene.start(a=HALF)
    assert scene.refuse() == HALF
    assert scene.start(a=HALF) == []
    [other] = scene.start(a=HALF + 1)
    [(group_hash, line)] = scene.working.items()
    assert (other, line) == ("a", Line("a", refused=False))
    # That it could be written to does not mean that a request may be made; that one was made does.
    scene.schedule.written(group_hash, line, made=False)
    scene.end()
    assert scene.start() == []
    scene.schedule.written(group_hash, line, made=True)
    assert scene.start() == ["a"] * HALF


def test_refused_group_that_was_written_is_one_like_others(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backoff, "RETRY_SECONDS", 0.0)
    scene.start(a=1)
    scene.refuse()
    scene.start(a=1)
    [(group_hash, line)] = scene.working.items()
    assert line == Line("a", refused=True)
    scene.schedule.written(group_hash, line, made=True)
    scene.end()
    scene.start(a=1)
    assert scene.working == {group_hash: Line("a", refused=False)}


def test_groups_that_were_refused_longest_ago_are_forgotten_first(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_REFUSED", 2)
    scene.start(a=3)
    scene.refuse()
    scene.start(a=3)
    assert scene.working == {f"a{0:015x}": Line("a", refused=False)}


def test_namespaces_that_only_fail_take_no_more_slots_than_there_are(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backoff, "RETRY_SECONDS", 0.0)
    failing = hexdigits[: STORMS_THROTTLED + 4]
    scene.fail(*failing)
    assert scene.start(throttled=True, **dict.fromkeys(failing, 1)) == list(failing[:STORMS_THROTTLED])
    scene.end()
    assert scene.start(throttled=True) == list(failing[STORMS_THROTTLED:])
