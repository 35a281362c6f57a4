"""Events count when they happened, not when they are met: threshold, rate, and how long it has been quiet."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.harness.folding import T0, TERMS, Group, signal, signals

from stormfold.model.arrival import Arrival, EventRef
from stormfold.model.storm import Detected

MINUTE = 60_000
LONG_AGO = 12 * MINUTE
DISCARDING = replace(TERMS, discard=True)

pytestmark = pytest.mark.usefixtures("one_incarnation")


def event(version: int, *, ago: int, count: int = 1, after: int = 0, span: int = 0) -> Arrival:
    """An Event whose latest occurrence was `ago` ms before `T0`, and its first `span` ms before that."""
    return signal(
        version,
        f"web-{version}",
        ref=EventRef(f"uid-{version}", version, count, after, span),
        seen_ms=T0 - ago,
    )


async def test_events_of_long_ago_are_a_storm_of_long_ago(group: Group) -> None:
    await group.fold(*(event(n, ago=LONG_AGO + 100 - n) for n in range(1, 101)))
    storm = await group.look(at=0)
    assert (storm.total, storm.firing, storm.detected) == (100, 100, Detected.BY_SIGNALS)
    assert (storm.first_ms, storm.last_ms) == (T0 - LONG_AGO - 99, T0 - LONG_AGO)
    assert (storm.opened_ms, storm.arrived_ms, storm.late_ms) == (T0, T0, LONG_AGO)
    assert storm.rate_per_minute == 0


@pytest.mark.parametrize("together", [True, False], ids=["in a batch", "one by one"])
async def test_events_spread_over_an_hour_do_not_reach_a_threshold_within_a_minute(
    group: Group, together: bool
) -> None:
    events = [event(n, ago=(6 - n) * LONG_AGO) for n in range(1, 6)]
    for batch in [events] if together else [[one] for one in events]:
        await group.fold(*batch)
    storm = await group.look(at=0)
    assert (storm.total, storm.detected, storm.window_ms) == (5, Detected.NO, T0 - LONG_AGO)


@pytest.mark.parametrize(("apart", "detected"), [(LONG_AGO, Detected.NO), (1_000, Detected.BY_RESOURCES)])
async def test_resources_spread_over_an_hour_do_not_reach_one_either(
    group: Group, apart: int, detected: Detected
) -> None:
    group.terms = replace(TERMS, threshold_signals=100, threshold_resources=5)
    await group.fold(*(event(n, ago=LONG_AGO + (5 - n) * apart) for n in range(1, 6)))
    storm = await group.look(at=0)
    assert (storm.resource_count, storm.detected) == (5, detected)


@pytest.mark.parametrize("batches", [1, 2, 5])
async def test_events_of_one_minute_reach_it_however_they_come(group: Group, batches: int) -> None:
    events = [event(n, ago=LONG_AGO - n * 10_000) for n in range(1, 6)]
    for first in range(batches):
        await group.fold(*events[first::batches])
    assert (await group.look(at=0)).detected is Detected.BY_SIGNALS


async def test_events_of_long_ago_and_new_signals_do_not_reach_it_together(group: Group) -> None:
    await group.fold(*(event(n, ago=LONG_AGO) for n in (1, 2, 3)))
    await group.fold(*signals(11, 12), at=100)
    assert (await group.look(at=100)).detected is Detected.NO
    await group.fold(event(21, ago=LONG_AGO), event(22, ago=LONG_AGO), at=200)
    assert (await group.look(at=200)).detected is Detected.NO, "the late ones are of an earlier minute"
    await group.fold(*signals(31, 33), at=300)
    assert (await group.look(at=300)).detected is Detected.BY_SIGNALS, "they have not ended the present one"


async def test_late_events_that_reach_it_by_themselves_are_a_storm(group: Group) -> None:
    await group.fold(signal(1))
    await group.fold(*(event(n, ago=LONG_AGO + n) for n in range(11, 16)), at=100)
    assert (await group.look(at=100)).detected is Detected.BY_SIGNALS


async def test_occurrences_of_an_event_are_spread_from_its_first_to_its_latest(group: Group) -> None:
    hour = 60 * MINUTE
    await group.fold(event(1, ago=0, count=500, span=50 * MINUTE), event(2, ago=0, count=6, span=hour))
    storm = await group.look(at=0)
    assert (storm.total, storm.first_ms, storm.last_ms) == (506, T0 - hour, T0)
    assert storm.rate_per_minute == 10 + 1
    assert storm.detected is Detected.BY_SIGNALS, "ten within a minute"


async def test_occurrences_that_are_hours_apart_do_not_reach_a_threshold(group: Group) -> None:
    await group.fold(event(1, ago=0, count=20, span=60 * MINUTE))
    storm = await group.look(at=0)
    assert (storm.total, storm.detected, storm.rate_per_minute) == (20, Detected.NO, 1)


async def test_further_occurrences_are_of_the_time_of_the_latest(group: Group) -> None:
    await group.fold(event(1, ago=LONG_AGO, count=3, span=10 * LONG_AGO))
    later = event(1, ago=0, count=9, after=3, span=11 * LONG_AGO)
    await group.fold(replace(later, ref=replace(later.ref, resource_version=2)))
    storm = await group.look(at=0)
    assert (storm.total, storm.rate_per_minute, storm.detected) == (9, 6, Detected.BY_SIGNALS)
    assert (storm.first_ms, storm.last_ms, storm.late_ms) == (T0 - 11 * LONG_AGO, T0, 0)


@pytest.mark.parametrize(
    ("ago", "late"), [(-60_000, 0), (0, 0), (5_000, 0), (5_001, 5_001)], ids=["future", "now", "5 s", "later"]
)
async def test_event_is_of_now_as_far_as_clocks_can_tell(group: Group, ago: int, late: int) -> None:
    await group.fold(event(1, ago=ago))
    assert (await group.look(at=0)).late_ms == late


async def test_event_of_long_ago_does_not_keep_a_storm_from_settling(group: Group) -> None:
    await group.fold(signal(1))
    await group.fold(event(2, ago=LONG_AGO), at=40_000)
    storm = await group.look(at=40_000)
    assert (storm.arrived_ms - storm.late_ms, storm.late_ms) == (T0, 40_000)
    await group.fold(event(3, ago=-20_000), at=50_000)
    storm = await group.look(at=50_000)
    assert (storm.arrived_ms - storm.late_ms, storm.late_ms) == (T0 + 20_000, 30_000), "the latest counts"
    await group.fold(signal(4), at=55_000)
    assert (await group.look(at=55_000)).late_ms == 0


async def test_event_of_long_ago_counts_in_the_next_epoch_once_its_storm_is_closed(group: Group) -> None:
    await group.fold(event(1, ago=LONG_AGO))
    await group.freeze_and_close(at=0)
    answer = await group.fold(event(1, ago=LONG_AGO), event(2, ago=LONG_AGO + 1), at=1_000)
    assert (answer.epoch, answer.ordinals) == (2, [0, 1]), "what was counted opens nothing"
    storm = await group.look(at=1_000)
    assert (storm.opened_ms, storm.total, storm.late_ms) == (T0 + 1_000, 1, LONG_AGO + 1 + 1_000)


async def test_events_of_long_ago_are_not_discarded_before_more_of_them_may_have_come(group: Group) -> None:
    group.terms = DISCARDING
    answer = await group.fold(event(1, ago=LONG_AGO), event(2, ago=LONG_AGO))
    assert answer.due_ms == T0 + TERMS.within_ms
