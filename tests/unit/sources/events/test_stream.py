"""Each occurrence of an Event is taken once, and holds the checkpoint until it is durable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from tests.harness.events import ARRIVAL, BODY, COUNTED, NOT_GOVERNED, WRITE, Stream, version
from tests.harness.metrics import sample
from tests.harness.values import T0

from stormfold.kube.changes import Change, Changed, Deleted, Listed, Reached
from stormfold.model.arrival import Arrival, EventRef
from stormfold.model.checkpoint import Checkpoint
from stormfold.sources.backlog import Deferred
from stormfold.sources.events.parser import SeenEvent


async def test_new_event_is_submitted_and_holds_the_checkpoint_until_it_is_durable() -> None:
    stream = Stream()
    assert await stream.take(Changed(version(110))) == [(110, 0, 1)]
    assert stream.checkpoint == 109
    stream.conclude(COUNTED)
    assert stream.checkpoint == 110


async def test_event_is_submitted_with_the_occurrences_that_are_new() -> None:
    stream = Stream()
    await stream.take(Changed(version(110)))
    stream.conclude(COUNTED)
    assert await stream.take(Changed(version(120, 4))) == [(120, 1, 4)]
    # Those that are under way are told again: they may have to be folded again after this.
    assert await stream.take(Changed(version(130, 6))) == [(130, 1, 6)]
    stream.conclude(COUNTED)
    assert await stream.take(Changed(version(140, 7))) == [(140, 6, 7)]


@pytest.mark.parametrize("durable", [True, False])
@pytest.mark.parametrize("count", [3, 2])
async def test_count_that_does_not_rise_is_nothing_new(count: int, durable: bool) -> None:
    stream = Stream()
    await stream.take(Changed(version(110, 3)))
    if durable:
        stream.conclude(COUNTED)
    again = version(120, count, metadata={"labels": {"seen": "yes"}})
    assert await stream.take(Changed(again), Listed([again], 130, frozenset())) == []
    assert await stream.take(Changed(version(140, 4))) == [(140, 3 if durable else 0, 4)]


OLD = {"creationTimestamp": "2025-12-31T23:00:00Z"}


@pytest.mark.parametrize(
    ("found", "submitted"),
    [
        pytest.param(version(100, 7), [], id="at the checkpoint"),
        pytest.param(version(110), [(110, 0, 1)], id="above it"),
        pytest.param(version(110, 7), [(110, 0, 7)], id="above it, with a count"),
        pytest.param(version(110, metadata=OLD), [], id="above it, created long before, once, edited"),
        pytest.param(
            version(110, metadata=OLD | {"managedFields": [WRITE | {"time": OLD["creationTimestamp"]}]}),
            [(110, 0, 1)],
            id="above it, created long before by a clock that is behind",
        ),
        pytest.param(
            version(110, 7, metadata=OLD), [(110, 1, 7)], id="above it, created long before, occurred since"
        ),
        pytest.param(
            version(110, 7, firstTimestamp="2025-12-31T23:30:00Z"),
            [(110, 6, 7)],
            id="above it, continuing one that has expired",
        ),
        pytest.param(
            version(110, 7, firstTimestamp="2025-12-31T23:31:00Z"),
            [(110, 0, 7)],
            id="above it, begun not long before it was created",
        ),
        pytest.param(
            version(110, 7, firstTimestamp=None, eventTime="2025-12-31T20:00:00Z"),
            [(110, 6, 7)],
            id="above it, continuing a series that has expired",
        ),
    ],
)
async def test_event_found_at_start_is_submitted_but_for_what_was_counted(
    found: SeenEvent, submitted: list[tuple[int, int, int]]
) -> None:
    stream = Stream()
    assert await stream.take(Listed([found], 200, frozenset())) == submitted
    assert await stream.take(Changed(version(210, 9))) == [
        (210, submitted[0][1] if submitted else found.count, 9)
    ]


async def test_rejected_event_is_concluded_at_once() -> None:
    stream = Stream()
    assert await stream.take(Changed(version(110, about={"namespace": "bank"}))) == []
    assert stream.checkpoint == 110


async def test_event_that_is_left_out_holds_nothing() -> None:
    stream = Stream()
    assert await stream.take(Changed(version(110, type="Normal"))) == []
    assert stream.checkpoint == 110


async def test_event_that_no_policy_took_counts_from_then_on_when_one_does() -> None:
    stream = Stream()
    await stream.take(Changed(version(110, 5)))
    stream.conclude(NOT_GOVERNED)
    assert await stream.take(Changed(version(120, 7))) == [(120, 5, 7)]


async def test_arrival_comes_through_the_stream_that_read_it() -> None:
    stream = Stream().stream
    outcome = stream.parse(BODY).outcome
    assert isinstance(outcome, Arrival)
    assert outcome.via is stream


async def test_arrival_is_folded_without_what_has_become_durable_since_it_was_made() -> None:
    stream = Stream()
    await stream.take(Changed(version(110, 3)), Changed(version(120, 5)))
    first, second = (replace(ARRIVAL, ref=ref) for ref in stream.submitted)
    assert [stream.stream.current(of) for of in (first, second)] == [first, second]
    stream.stream.durable(first, COUNTED)
    assert stream.stream.current(second).ref == EventRef("uid-1", 120, 5, 3)
    stream.stream.durable(second, COUNTED)
    assert stream.stream.current(second).ref == EventRef("uid-1", 120, 5, 5)


async def test_checkpoint_follows_bookmarks() -> None:
    stream = Stream()
    await stream.take(Listed([], 150, frozenset()), Reached(180))
    assert stream.checkpoint == 180


async def test_event_that_expires_before_it_is_durable_still_holds_the_checkpoint() -> None:
    stream = Stream()
    await stream.take(Changed(version(110)), Deleted("uid-1", 120))
    assert stream.checkpoint == 109
    stream.conclude(COUNTED)
    assert stream.checkpoint == 120


def expire(stream: Stream) -> list[Change[SeenEvent]]:
    return [Deleted("uid-1", 200)]


def miss(stream: Stream) -> list[Change[SeenEvent]]:
    return [Listed([], 200, frozenset(["uid-1"]))]


@pytest.mark.parametrize("go", [expire, miss])
async def test_redis_may_forget_an_event_when_it_is_gone(
    go: Callable[[Stream], list[Change[SeenEvent]]],
) -> None:
    stream, before = Stream(), sample("stormfold_events_live")
    await stream.take(Changed(version(110, 2)))
    stream.conclude(COUNTED)
    stream.progress.kept(Checkpoint(150, T0 // 1000 + 60))
    assert (stream.progress.trim(), sample("stormfold_events_live") - before) == (109, 1)
    await stream.take(*go(stream))
    assert (stream.progress.trim(), sample("stormfold_events_live") - before) == (150, 0)


async def test_redis_may_forget_an_event_that_occurred_once_as_soon_as_its_creation_proves_it() -> None:
    stream = Stream()
    await stream.take(Changed(version(110)))
    stream.conclude(COUNTED)
    stream.progress.kept(Checkpoint(150, T0 // 1000 + 1))
    assert stream.progress.trim() == 150


async def test_redis_may_forget_the_lower_count_only_when_the_higher_is_durable() -> None:
    stream = Stream()
    await stream.take(Changed(version(110, 2)))
    stream.conclude(COUNTED)
    await stream.take(Changed(version(120, 3)))
    stream.progress.kept(Checkpoint(119, 0))
    assert stream.progress.trim() == 109
    stream.conclude(COUNTED)
    stream.progress.kept(Checkpoint(150, 0))
    assert stream.progress.trim() == 119


async def test_redis_never_heard_of_an_event_that_no_policy_took() -> None:
    stream = Stream()
    await stream.take(Changed(version(110, 5)))
    stream.conclude(NOT_GOVERNED)
    stream.progress.kept(Checkpoint(150, 0))
    assert stream.progress.trim() == 150


async def left_with(*counts: int) -> Stream:
    """A stream whose Event has come with these counts while there was no room; the first comes at version
    110."""
    stream = Stream()
    stream.room = False
    for place, count in enumerate(counts):
        await stream.take(Changed(version(110 + place, count)))
    stream.room = True
    return stream


async def test_event_that_was_left_holds_the_checkpoint_and_is_taken_as_it_was_left() -> None:
    stream = await left_with(3)
    assert (stream.submitted, len(stream.backlog), stream.checkpoint) == ([], 1, 109)
    deferred = stream.backlog.drop("uid-1")
    assert deferred == Deferred("uid-1", "shop", "web-0.18a1f0c3d2e4b501", 3, 110)
    await stream.stream.resume(deferred, version(115, 3))
    assert stream.submitted == [EventRef("uid-1", 110, 3, 0)]
    stream.conclude(COUNTED)
    assert stream.checkpoint == 110


async def test_occurrences_that_were_left_come_with_newer_ones() -> None:
    stream = await left_with(3, 5)
    deferred = stream.backlog.drop("uid-1")
    assert deferred
    await stream.stream.resume(deferred, version(111, 5))
    assert stream.submitted == [EventRef("uid-1", 111, 5, 0)]
    stream.conclude(COUNTED)
    assert stream.checkpoint == 111


async def test_event_that_has_gone_before_it_was_read_holds_nothing_up() -> None:
    stream = await left_with(3)
    before = sample("stormfold_signals_missed_total", kind="Event")
    await stream.take(Deleted("uid-1", 120))
    missed = sample("stormfold_signals_missed_total", kind="Event") - before
    assert (len(stream.backlog), stream.checkpoint, missed) == (0, 120, 3)


async def test_event_for_which_there_is_still_no_room_is_left_again() -> None:
    stream = await left_with(3)
    deferred = stream.backlog.drop("uid-1")
    assert deferred
    stream.room = False
    await stream.stream.resume(deferred, version(110, 3))
    assert (stream.submitted, len(stream.backlog), stream.checkpoint) == ([], 1, 109)
