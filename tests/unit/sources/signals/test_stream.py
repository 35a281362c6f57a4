"""Each occurrence of a Signal is taken once, and holds the checkpoint until it is durable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.harness.signals import ARRIVAL, BODY, COUNTED, PARSE, REF, body
from tests.harness.streams import Keeper, Records, signal_stream
from tests.harness.values import T0

from stormfold.api.reasons.signals import SignalReason
from stormfold.api.signal import SignalPhase
from stormfold.kube.changes import Change, Changed, Deleted, Listed, Reached
from stormfold.model.arrival import Arrival, SignalRef, Verdict
from stormfold.model.checkpoint import Checkpoint
from stormfold.sources.progress import Progress
from stormfold.sources.signals.parser import Seen

WRITE: dict[str, Any] = BODY["metadata"]["managedFields"][0]


class Intake:
    """A stream that began at checkpoint 100, with what it has told."""

    def __init__(self) -> None:
        self.progress = Progress()
        self.progress.begin(Checkpoint(100, T0 // 1000 - 60))
        self.progress.begun()
        self.told: list[tuple[str, object]] = []
        self.records = Records()
        self.full = ""
        """The namespace for whose requests there is no room."""
        self.keeper = Keeper(self.told)
        self.stream = signal_stream(self.progress, folder=self, keeper=self.keeper, records=self.records)

    async def submit(self, arrival: Arrival, waits: Callable[[str], bool]) -> str | None:
        """As the folder."""
        self.told.append(("submitted", arrival.ref))
        return self.full or None

    def conclude(self, ref: SignalRef, verdict: Verdict) -> None:
        """Say what has become of an occurrence."""
        self.stream.durable(replace(ARRIVAL, ref=ref), verdict)

    async def take(self, *changes: Change[Seen]) -> list[tuple[str, object]]:
        """What is told of these changes."""
        self.told.clear()
        for change in changes:
            await self.stream.take(change)
        return list(self.told)


def version(number: int, **changes: Any) -> Seen:
    metadata = changes.pop("metadata", {}) | {"resourceVersion": str(number)}
    return PARSE(body(metadata=metadata, **changes))


OLD = {"creationTimestamp": "2025-12-31T23:00:00Z"}


def edit_of_metadata() -> Seen:
    return version(120, metadata={"labels": {"a": "b"}})


def own_mark() -> Seen:
    return version(120, status={"phase": "Folded", "observedGeneration": 1})


async def test_new_signal_is_submitted_and_holds_the_checkpoint_until_it_is_durable() -> None:
    intake = Intake()
    assert await intake.take(Changed(version(110))) == [("changed", 110), ("submitted", REF)]
    assert intake.progress.checkpoint().resource_version == 109
    intake.conclude(REF, COUNTED)
    assert intake.told[2:] == [("durable", (REF, COUNTED))]
    assert intake.progress.checkpoint().resource_version == 110


@pytest.mark.parametrize("again", [edit_of_metadata, own_mark])
@pytest.mark.parametrize("durable", [True, False])
async def test_signal_that_was_taken_is_not_submitted_again(again: Callable[[], Seen], durable: bool) -> None:
    intake = Intake()
    await intake.take(Changed(version(110)))
    if durable:
        intake.conclude(REF, COUNTED)
    assert await intake.take(Changed(again())) == [("changed", 120)]
    assert await intake.take(Listed([again()], 130, frozenset())) == [("changed", 120)]


async def test_signal_that_was_edited_before_it_was_durable_is_concluded_as_it_is_now() -> None:
    intake = Intake()
    await intake.take(Changed(version(110)), Changed(edit_of_metadata()))
    intake.conclude(REF, COUNTED)
    # Whoever deletes it names the version that is there.
    assert intake.told[-1] == ("durable", (replace(REF, resource_version=120), COUNTED))


async def test_raised_generation_is_submitted() -> None:
    intake = Intake()
    await intake.take(Changed(version(110)))
    told = await intake.take(Changed(version(120, metadata={"generation": 2})))
    assert told == [("changed", 120), ("submitted", replace(REF, generation=2, resource_version=120))]
    assert intake.progress.checkpoint().resource_version == 109


async def test_each_occurrence_of_one_signal_is_concluded_for_itself() -> None:
    intake = Intake()
    await intake.take(Changed(version(110)), Changed(version(120, metadata={"generation": 2})))
    intake.conclude(replace(REF, generation=2, resource_version=120), COUNTED)
    assert intake.progress.checkpoint().resource_version == 109
    intake.conclude(REF, COUNTED)
    assert intake.progress.checkpoint().resource_version == 120


@pytest.mark.parametrize(
    ("found", "submitted"),
    [
        pytest.param(version(100), False, id="at the checkpoint"),
        pytest.param(version(110), True, id="above it"),
        pytest.param(own_mark(), False, id="above it, with its mark"),
        pytest.param(version(110, metadata=OLD), False, id="above it, created long before and edited"),
        pytest.param(
            version(110, metadata=OLD | {"managedFields": [WRITE | {"time": OLD["creationTimestamp"]}]}),
            True,
            id="above it, created long before and not edited",
        ),
        pytest.param(
            version(110, metadata=OLD | {"generation": 2}),
            True,
            id="above it, created long before and raised",
        ),
    ],
)
async def test_signal_found_at_start_is_submitted_unless_it_was_counted(found: Seen, submitted: bool) -> None:
    told = await Intake().take(Listed([found], 200, frozenset()))
    assert told == (
        [("changed", 110), ("submitted", found.ref)]
        if submitted
        else [("keep", ("uid-1", "PodDown", found.created))]
    )


async def test_rejected_signal_without_its_mark_is_concluded_again_by_the_next_leader() -> None:
    """The last one may have been killed between the checkpoint and the mark."""
    seen = version(100, name=None)
    assert isinstance(seen.outcome, Verdict)
    told = await Intake().take(Listed([seen], 200, frozenset()))
    assert told == [("durable", (seen.ref, seen.outcome))]
    marked = version(100, name=None, status={"phase": "Rejected", "observedGeneration": 1})
    assert await Intake().take(Listed([marked], 200, frozenset())) == [("keep", ("uid-1", None, T0 // 1000))]


async def test_signal_counted_before_the_start_counts_again_when_it_is_raised() -> None:
    intake = Intake()
    await intake.take(Listed([version(90)], 100, frozenset()))
    assert await intake.take(Changed(edit_of_metadata())) == [("changed", 120)]
    told = await intake.take(Changed(version(130, metadata={"generation": 2})))
    assert [word for word, _ in told] == ["changed", "submitted"]


async def test_rejected_signal_is_concluded_at_once() -> None:
    intake = Intake()
    seen = version(110, name=None)
    assert isinstance(seen.outcome, Verdict)
    assert await intake.take(Changed(seen)) == [("changed", 110), ("durable", (REF, seen.outcome))]
    assert intake.progress.checkpoint().resource_version == 110


DISCARDED = Verdict(SignalPhase.DISCARDED, SignalReason.BELOW_THRESHOLD, "1 signal, threshold 5 within 60 s")


@pytest.mark.parametrize(
    "verdict", [DISCARDED, Verdict(SignalPhase.REJECTED, SignalReason.REQUEST_NAMESPACE_NOT_FOUND, "")]
)
async def test_signal_in_no_request_holds_the_checkpoint_until_its_status_says_why(verdict: Verdict) -> None:
    intake = Intake()
    await intake.take(Changed(version(110)), Reached(180))
    intake.conclude(REF, verdict)
    assert intake.progress.checkpoint().resource_version == 109
    intake.stream.marked(REF)
    assert intake.progress.checkpoint().resource_version == 180


@pytest.mark.parametrize(
    ("end", "checkpoint"),
    [
        pytest.param(Deleted("uid-1", 180), 180, id="it is deleted"),
        pytest.param(Listed([], 180, frozenset(["uid-1"])), 180, id="a list misses it"),
        pytest.param(Changed(version(180, metadata={"generation": 2})), 179, id="it is raised"),
    ],
)
@pytest.mark.parametrize("discarded_first", [True, False])
async def test_discarded_signal_holds_the_checkpoint_no_longer_than_it_could_be_marked(
    end: Change[Seen], checkpoint: int, discarded_first: bool
) -> None:
    intake = Intake()
    await intake.take(Changed(version(110)))
    if discarded_first:
        intake.conclude(REF, DISCARDED)
        assert intake.progress.checkpoint().resource_version == 109
    await intake.take(end)
    if not discarded_first:
        assert intake.progress.checkpoint().resource_version == 109
        intake.conclude(REF, DISCARDED)
    assert intake.progress.checkpoint().resource_version == checkpoint


async def test_discarded_signal_whose_mark_is_refused_holds_the_checkpoint_no_longer() -> None:
    intake = Intake()
    await intake.take(Changed(version(110)))
    intake.conclude(REF, DISCARDED)
    intake.stream.unmarkable(REF)
    assert intake.progress.checkpoint().resource_version == 110


async def test_only_the_latest_occurrence_of_a_signal_that_is_there_is_to_be_marked() -> None:
    intake, raised = Intake(), version(120, metadata={"generation": 2})
    refs = [REF, replace(REF, generation=2, resource_version=120)]
    seen = [[intake.stream.is_latest(ref) for ref in refs]]
    for change in (
        Changed(version(110)),
        Changed(edit_of_metadata()),
        Changed(raised),
        Deleted("uid-1", 130),
    ):
        await intake.take(change)
        seen.append([intake.stream.is_latest(ref) for ref in refs])
    assert seen == [[False, False], [True, False], [True, False], [False, True], [False, False]]


async def test_signal_deleted_before_it_is_durable_still_holds_the_checkpoint() -> None:
    intake = Intake()
    assert await intake.take(Changed(version(110)), Deleted("uid-1", 120)) == [
        ("changed", 110),
        ("submitted", REF),
        ("forget", "uid-1"),
    ]
    assert intake.progress.checkpoint().resource_version == 109
    intake.conclude(REF, COUNTED)
    assert intake.progress.checkpoint().resource_version == 120


async def test_each_new_occurrence_is_an_arrival_and_says_how_many_signals_there_are() -> None:
    intake = Intake()
    other, edited = version(120, metadata={"uid": "uid-2"}), version(125)
    raised, raised_again = (version(130 + n, metadata={"generation": n}) for n in (2, 3))
    await intake.take(Changed(version(110)), Changed(other), Changed(edited), Changed(raised))
    await intake.take(Deleted("uid-2", 132), Changed(raised_again))
    assert intake.keeper.live == [1, 2, 2, 1]


async def test_signal_that_a_list_misses_is_gone() -> None:
    intake = Intake()
    await intake.take(Changed(version(110)))
    assert await intake.take(Listed([], 130, frozenset(["uid-1"]))) == [("forget", "uid-1")]


async def test_checkpoint_follows_bookmarks() -> None:
    intake = Intake()
    intake.progress.begin(Checkpoint(100, T0 // 1000 - 60))
    assert not intake.stream.listed
    await intake.take(Listed([], 150, frozenset()))
    assert intake.stream.listed
    assert intake.progress.checkpoint().resource_version == 150
    await intake.take(Reached(180))
    assert intake.progress.checkpoint().resource_version == 180


async def test_mark_of_an_older_generation_proves_nothing_of_the_newer() -> None:
    intake = Intake()
    await intake.take(Changed(version(110)), Changed(version(120, metadata={"generation": 2})))
    raised = replace(REF, generation=2, resource_version=120)
    for ref in (REF, raised):
        intake.conclude(ref, COUNTED)
    intake.progress.kept(intake.progress.checkpoint())
    intake.stream.marked(REF)
    assert intake.progress.trim() == 119
    intake.stream.marked(raised)
    assert intake.progress.trim() == 120


async def test_arrival_comes_through_the_stream_that_read_it() -> None:
    stream = Intake().stream
    outcome = stream.parse(BODY).outcome
    assert isinstance(outcome, Arrival)
    assert outcome.via is stream
    assert stream.current(outcome) is outcome


WAITS_FOR_INFRA = (
    "namespace infra has too many signals that wait for a request. This Signal stays in the cluster and is "
    "counted later. Find out why the namespace's requests are not written. See https://stormfold.dev/reasons/#NoRoom"
)


async def test_people_are_told_of_a_signal_that_is_rejected_or_waits_and_of_no_other() -> None:
    intake = Intake()
    raised = version(115, metadata={"generation": 2})
    await intake.take(Changed(version(110)), Changed(raised))
    intake.conclude(REF, COUNTED)
    intake.conclude(raised.ref, DISCARDED)
    assert intake.records.recorded == []
    intake.full = "infra"
    await intake.take(
        Changed(version(120, metadata={"uid": "uid-2", "name": "first-to-wait"})),
        Changed(version(130, metadata={"uid": "uid-3", "name": "second-to-wait"})),
        Changed(version(140, metadata={"uid": "uid-4", "name": "nameless"}, name=None)),
    )
    assert intake.records.recorded == [
        (
            "first-to-wait",
            "Warning",
            "NoRoom",
            WAITS_FOR_INFRA,
        ),
        (
            "nameless",
            "Warning",
            "InvalidSignal",
            "spec.name: must be set. See https://stormfold.dev/reasons/#InvalidSignal",
        ),
    ]
