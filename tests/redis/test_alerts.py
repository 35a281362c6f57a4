"""fold.lua on alerts and Events: each counted once, however often and in whatever order it is reported."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.harness.folding import DISCARDED_AS, GROUP_HASH, Group, alert, event, resolved, signal
from tests.harness.values import ARRIVAL, T0

from lab.valkey import Valkey
from stormfold.fold import keys
from stormfold.fold.replies import AckWord, CloseWord
from stormfold.model.arrival import AlertRef, Arrival
from stormfold.model.group import partition
from stormfold.model.storm import Seed, Snapshot

COUNTED = keys.counted(partition(GROUP_HASH), GROUP_HASH)


def counts(storm: Snapshot) -> tuple[int, int, int, int]:
    """(total, firing, resolved, folded)."""
    return storm.total, storm.firing, storm.resolved, storm.folded


async def incarnation(group: Group) -> str:
    """The storm's incarnation."""
    return (await group.look(at=0)).incarnation


async def see(group: Group, *reports: Arrival) -> list[tuple[int, int, int, int]]:
    """The counts after each report, one call each."""
    seen = []
    for number, report in enumerate(reports):
        await group.fold(report, at=number)
        seen.append(counts(await group.look(at=number)))
    return seen


# --- alerts


async def test_repeat_of_an_alert_changes_nothing(group: Group) -> None:
    assert await see(group, alert("a"), alert("a"), alert("a")) == [(1, 1, 0, 1)] * 3


async def test_end_of_an_alert_takes_it_off_firing_once(group: Group) -> None:
    assert await see(group, alert("a"), resolved("a"), resolved("a")) == [
        (1, 1, 0, 1),
        (1, 0, 1, 2),
        (1, 0, 1, 2),
    ]


async def test_firing_report_that_comes_after_the_end_does_not_fire_again(group: Group) -> None:
    assert await see(group, alert("a"), resolved("a"), alert("a")) == [
        (1, 1, 0, 1),
        (1, 0, 1, 2),
        (1, 0, 1, 2),
    ]


async def test_alert_that_begins_anew_counts_again_and_fires_once(group: Group) -> None:
    assert await see(group, alert("a"), resolved("a"), alert("a", 60_000), resolved("a", 60_000)) == [
        (1, 1, 0, 1),
        (1, 0, 1, 2),
        (2, 1, 0, 3),
        (2, 0, 1, 4),
    ]


async def test_alert_whose_end_was_never_told_fires_once_when_it_begins_anew(group: Group) -> None:
    assert await see(group, alert("a"), alert("a", 60_000)) == [(1, 1, 0, 1), (2, 1, 0, 2)]


async def test_older_start_that_comes_late_counts_and_leaves_the_latest_as_it_is(group: Group) -> None:
    assert await see(group, alert("a", 60_000), alert("a"), resolved("a"), alert("a")) == [
        (1, 1, 0, 1),
        (2, 1, 0, 2),
        (2, 1, 0, 2),
        (2, 1, 0, 2),
    ]


async def test_alert_that_is_first_heard_of_at_its_end_counts_as_resolved(group: Group) -> None:
    assert await see(group, alert("a"), resolved("b")) == [(1, 1, 0, 1), (2, 1, 1, 2)]


async def test_start_older_than_those_that_are_known_is_taken_for_a_repeat(group: Group) -> None:
    await group.fold(*(alert("a", starts) for starts in (2000, 3000, 4000)))
    assert await see(group, alert("a", 1000), alert("a", 2000)) == [(3, 1, 0, 3)] * 2


async def test_alert_that_began_before_1970_counts_once(group: Group) -> None:
    assert await see(group, *[alert("a", -T0 - 5000)] * 2, resolved("a", -T0 - 5000)) == [
        (1, 1, 0, 1),
        (1, 1, 0, 1),
        (1, 0, 1, 2),
    ]


async def test_reports_of_one_batch_count_in_their_order(group: Group) -> None:
    answer = await group.fold(
        alert("a"), alert("a"), resolved("a"), alert("b"), signal(1), alert("a", 5), signal(1)
    )
    assert (answer.folded, answer.ordinals) == (5, [1, 1, 2, 3, 4, 5, 5])
    assert counts(await group.look(at=0)) == (4, 3, 0, 5)


async def test_known_alert_waits_for_what_is_folded_now(group: Group) -> None:
    await group.fold(alert("a"), alert("b"))
    answer = await group.fold(alert("a"))
    assert (answer.ordinals, answer.due_ms) == ([2], 0)


async def test_alert_reaches_the_threshold_by_its_instances_alone(group: Group) -> None:
    for _ in range(9):
        await group.fold(*(alert(name) for name in "abcd"))
    assert (await group.look(at=0)).detected == ""
    await group.fold(alert("e"))
    assert (await group.look(at=0)).detected == "signals"


async def test_alert_names_its_resource_once(group: Group) -> None:
    await group.fold(replace(alert("a"), target=ARRIVAL.target))
    await group.fold(replace(resolved("a"), target=ARRIVAL.target))
    storm = await group.look(at=0)
    assert storm.resources == ((ARRIVAL.target, 1),)


async def test_end_of_an_alert_reopens_a_settled_storm(group: Group) -> None:
    await group.fold(alert("a"))
    assert await group.ack(await group.look(at=0), at=10, settled=True) is AckWord.ACKED
    answer = await group.fold(resolved("a"), at=2000)
    storm = await group.look(at=2000)
    assert (storm.settled, storm.revision, storm.folded, storm.written) == (False, 2, 2, 1)
    assert (answer.due_ms, answer.written) == (T0 + 2000, 1)


async def test_repeat_leaves_a_settled_storm_settled(group: Group) -> None:
    await group.fold(alert("a"))
    await group.ack(await group.look(at=0), at=10, settled=True)
    answer = await group.fold(alert("a"), at=2000)
    assert (answer.ordinals, answer.due_ms, answer.written) == ([1], 0, 1)
    assert (await group.look(at=2000)).settled


async def test_alert_of_a_closed_storm_opens_no_other(group: Group, redis: Valkey) -> None:
    await group.fold(alert("a"))
    await group.freeze_and_close(at=10)
    assert 0 < int(str(redis.command("TTL", COUNTED))) <= 24 * 3600
    for report in (alert("a"), resolved("a"), resolved("a")):
        answer = await group.fold(report, at=20)
        assert (answer.open, answer.ordinals) == (False, [0])


async def test_repeat_after_closing_is_known_for_another_day(group: Group, redis: Valkey) -> None:
    await group.fold(alert("a"))
    await group.freeze_and_close(at=10)
    redis.command("EXPIRE", COUNTED, 100)
    await group.fold(alert("a"), at=20)
    assert int(str(redis.command("TTL", COUNTED))) > 23 * 3600


async def test_next_storm_counts_its_own_alerts_only(group: Group, redis: Valkey) -> None:
    await group.fold(alert("a"), alert("b"))
    await group.freeze_and_close(at=10)
    answer = await group.fold(alert("a"), alert("c", 50), resolved("b"), alert("b", 60), at=100)
    assert (answer.epoch, answer.ordinals) == (2, [0, 1, 0, 2])
    storm = await group.look(at=100)
    assert (counts(storm), storm.alerts) == ((2, 2, 0, 2), 2)
    await group.fold(resolved("a"), at=200)
    assert counts(await group.look(at=200)) == (2, 2, 0, 2)
    assert redis.command("TTL", COUNTED) == -1


async def test_discarded_alert_is_known_and_opens_nothing(group: Group) -> None:
    await group.fold(alert("a"))
    assert await group.discard(await group.look(at=10)) is CloseWord.CLOSED
    answer = await group.fold(alert("a"), at=20)
    assert (answer.epoch, answer.open, answer.ordinals) == (0, False, [0])
    assert (answer.discarded, answer.discarded_as) == ({0}, DISCARDED_AS)
    answer = await group.fold(alert("b"), resolved("a"), at=30)
    assert (answer.ordinals, answer.discarded, answer.doubtful) == ([1, 0], {1}, frozenset())
    assert counts(await group.look(at=40)) == (1, 1, 0, 1)


async def test_alert_that_was_discarded_and_begins_anew_counts(group: Group) -> None:
    await group.fold(alert("a"), alert("a", 5))
    await group.discard(await group.look(at=10))
    answer = await group.fold(alert("a", 20), alert("a", 5), alert("a"), at=20)
    assert (answer.ordinals, answer.discarded) == ([1, 0, 0], {1, 2})
    assert counts(await group.look(at=20)) == (1, 1, 0, 1)


async def test_alert_counted_by_an_earlier_storm_is_durable_whatever_becomes_of_the_next(
    group: Group,
) -> None:
    """Its next beginning may be discarded, the one that was counted is in a request."""
    await group.fold(alert("a"))
    await group.freeze_and_close(at=10)
    answer = await group.fold(alert("a", 20), alert("a"), alert("b", 20), at=20)
    assert (answer.epoch, answer.ordinals) == (2, [1, 0, 2])
    await group.discard(await group.look(at=30))
    answer = await group.fold(alert("a", 20), alert("a"), alert("b", 20), at=40)
    assert (answer.ordinals, answer.discarded) == ([0, 0, 0], {0, 2})


async def test_alert_of_a_group_that_forgets_its_alerts_counts_when_it_comes_again(group: Group) -> None:
    await group.fold(alert("a"))
    await group.freeze_and_close(at=10)
    await group.fold(alert("a", 20), alert("b", 20), alert("b", 25), signal(1), at=20)
    assert await group.discard(await group.look(at=30), forget_alerts=True) is CloseWord.CLOSED
    answer = await group.fold(alert("a"), alert("b", 20), alert("a", 20), signal(1), at=40)
    assert (answer.epoch, answer.ordinals, answer.discarded) == (2, [0, 1, 2, 0], {3})
    assert counts(await group.look(at=40)) == (2, 2, 0, 2)


async def test_what_another_server_had_discarded_counts_again(group: Group) -> None:
    await group.fold(alert("a"))
    await group.freeze_and_close(at=10)
    await group.fold(alert("a", 20), alert("b", 20), at=20)
    await group.discard(await group.look(at=30))
    await group.note_another_server("discarded_by")
    answer = await group.fold(alert("a", 20), alert("b", 20), alert("a"), at=40)
    assert (answer.ordinals, answer.discarded) == ([1, 2, 0], frozenset())


# --- more than are known one by one


async def test_alerts_beyond_those_that_are_known_are_estimated(group: Group, redis: Valkey) -> None:
    names = [f"alert-{number}" for number in range(5000)]
    for first in range(0, 5000, 250):
        await group.fold(*(alert(name) for name in names[first : first + 250]))
    assert redis.command("HLEN", COUNTED) == 4096
    storm = await group.look(at=0)
    assert storm.alerts_beyond
    assert storm.total == storm.alerts == storm.firing
    assert 4096 + 904 * 0.97 < storm.total < 4096 + 904 * 1.03
    for first in range(0, 5000, 250):
        await group.fold(*(alert(name) for name in names[first : first + 250]))
    again = await group.look(at=0)
    assert (again.total, again.firing) == (storm.total, storm.firing)
    assert int(str(redis.command("MEMORY", "USAGE", COUNTED))) < 1_000_000


# --- alerts that fire


async def firing_alerts(group: Group, *reports: Arrival, **folding: Any) -> list[tuple[int, int]]:
    """(alerts that fire, all that fires) after each report, one call each."""
    seen = []
    for report in reports:
        await group.fold(report, at=100, **folding)
        storm = await group.look(at=100)
        seen.append((storm.firing_alerts, storm.firing))
    return seen


async def test_alerts_that_fire_are_told_from_signals_and_events_that_do(group: Group) -> None:
    assert await firing_alerts(
        group,
        signal(5),
        event("e", 6, 3),
        alert("a"),
        alert("b"),
        alert("a"),
        resolved("a"),
        resolved("c"),
        alert("a", 50),
        resolved("b"),
        resolved("a", 50),
        signal(7, firing=False),
    ) == [(0, 1), (0, 2), (1, 3), (2, 4), (2, 4), (1, 3), (1, 3), (2, 4), (1, 3), (0, 2), (0, 1)]


async def test_alerts_that_fire_beyond_those_that_are_known_are_estimated(group: Group) -> None:
    names = [f"alert-{number}" for number in range(4200)]
    for first in range(0, 4200, 200):
        await group.fold(*(alert(name) for name in names[first : first + 200]))
    storm = await group.look(at=0)
    assert storm.firing_alerts == storm.firing
    assert 4096 + 104 * 0.9 < storm.firing_alerts < 4096 + 104 * 1.1
    for first in range(0, 4200, 200):
        await group.fold(*(resolved(name) for name in names[first : first + 200]))
    # As many were estimated, so perhaps a few more or fewer.
    assert (await group.look(at=0)).firing_alerts < 104 * 0.1


FIRED = Seed(
    epoch=1,
    closed=False,
    incarnation="before",
    total=5,
    folded=6,
    firing=4,
    resolved=1,
    opened_ms=T0 - 5000,
    alerts=4,
    firing_alerts=3,
    latest_start_ms=T0 - 1000,
)
"""Three alerts fire and one has resolved, and a Signal fires."""


async def test_alerts_that_fired_fire_on_after_the_loss_until_each_has_been_heard_of(group: Group) -> None:
    assert await firing_alerts(group, signal(1)) == [(0, 1)]
    stale = await incarnation(group)
    await group.fold(seed=FIRED, stale=stale)
    storm = await group.look(at=0)
    assert (storm.firing_alerts, storm.firing, storm.approximate) == (3, 4, True)
    assert await firing_alerts(
        group,
        resolved("a", -4000),
        alert("b", -4000),
        alert("b", -4000),
        alert("new", 50),
        resolved("new", 50),
        resolved("b", -4000),
        resolved("c", -4000),
        resolved("c", -4000),
    ) == [(2, 3), (2, 3), (2, 3), (3, 4), (2, 3), (1, 2), (0, 1), (0, 1)]


async def test_end_of_a_signal_is_not_taken_for_that_of_an_alert(group: Group) -> None:
    await group.fold(seed=FIRED)
    assert await firing_alerts(group, signal(5, firing=False), signal(6, "web-6", firing=False)) == [
        (3, 3),
        (3, 3),
    ]


async def test_alert_that_is_surely_new_is_none_of_those_that_fired(group: Group) -> None:
    await group.fold(alert("new", -4000), at=100, seed=FIRED, sure=[0])
    storm = await group.look(at=100)
    assert (storm.firing_alerts, storm.firing) == (4, 5)


# --- alerts that their sender leaves out


def left_out(number: int, name: str, starts: int = 0, *, firing: bool = True) -> Arrival:
    """An alert of a post from which so many others were left out."""
    report = alert(name, starts, firing=firing)
    assert isinstance(report.ref, AlertRef)
    return replace(report, ref=replace(report.ref, left_out=number))


async def test_most_alerts_left_out_of_a_post_are_told(group: Group) -> None:
    seen = []
    for report in (
        alert("a"),
        left_out(7, "b"),
        left_out(7, "b"),
        left_out(3, "a"),
        left_out(9, "a"),
        left_out(9, "b"),
        left_out(11, "b", firing=False),
        left_out(12, "b"),
        alert("c"),
    ):
        answer = await group.fold(report, at=100)
        storm = await group.look(at=100)
        seen.append((storm.left_out, storm.total, storm.firing, storm.folded, answer.doubtful))
    none: frozenset[int] = frozenset()
    assert [row[:4] for row in seen] == [
        (0, 1, 1, 1),
        (7, 2, 2, 2),
        (7, 2, 2, 2),
        (7, 2, 2, 2),
        (9, 2, 2, 3),
        (9, 2, 2, 3),
        (11, 2, 1, 4),
        (12, 2, 1, 5),
        (12, 3, 2, 6),
    ]
    assert {row[4] for row in seen} <= {none, frozenset({0})}


async def test_post_says_once_what_was_left_out_of_it(group: Group) -> None:
    await group.fold(alert("a"), alert("b"))
    answer = await group.fold(left_out(7, "a"), left_out(7, "b"), left_out(7, "c"), at=100)
    assert (answer.folded, answer.ordinals) == (4, [3, 3, 4])
    storm = await group.look(at=100)
    assert (storm.left_out, storm.total, storm.firing) == (7, 3, 3)


async def test_what_was_left_out_reopens_a_settled_storm_and_is_continued(group: Group) -> None:
    await group.fold(alert("a"))
    await group.ack(await group.look(at=0), at=10, settled=True)
    answer = await group.fold(left_out(7, "a"), at=2000)
    assert (await group.look(at=2000)).revision == 2
    seed = replace(WITH_ALERTS, left_out=7)
    await group.fold(left_out(6, "b"), seed=seed, stale=answer.incarnation, at=3000)
    assert (await group.look(at=3000)).left_out == 7


async def test_next_storm_begins_with_none_left_out(group: Group) -> None:
    await group.fold(left_out(7, "a"))
    await group.freeze_and_close(at=10)
    answer = await group.fold(left_out(9, "a"), at=20)
    assert (answer.open, answer.ordinals) == (False, [0])
    await group.fold(left_out(2, "b", 20), at=20)
    assert (await group.look(at=20)).left_out == 2


# --- what Redis loses

WITH_ALERTS = Seed(
    epoch=1,
    closed=False,
    incarnation="before",
    total=3,
    folded=4,
    firing_alerts=2,
    firing=2,
    resolved=1,
    opened_ms=T0 - 5000,
    alerts=3,
    latest_start_ms=T0 + 1000,
    through=0,
)


async def test_alert_that_may_have_been_counted_before_the_loss_counts_and_says_so(group: Group) -> None:
    await group.fold(alert("old", -4000), at=1000, seed=WITH_ALERTS)
    storm = await group.look(at=1000)
    assert (counts(storm), storm.alerts, storm.repeats) == ((4, 2, 1, 5), 4, 1)
    await group.fold(alert("old", -4000), alert("new", 1500), at=2000)
    storm = await group.look(at=2000)
    assert (counts(storm), storm.alerts, storm.repeats) == ((5, 3, 1, 6), 5, 1)


async def test_alert_of_which_the_caller_is_sure_is_no_repeat(group: Group) -> None:
    reports = [alert(name, -4000) for name in ("held", "old", "held as well")]
    answer = await group.fold(*reports, at=1000, seed=WITH_ALERTS, sure={0, 2})
    assert (answer.ordinals, answer.doubtful) == ([5, 6, 7], {1})
    storm = await group.look(at=1000)
    assert (storm.total, storm.repeats) == (6, 1)


@pytest.mark.parametrize("clock", [-3_600_000, 0, 3_600_000])
async def test_alert_that_began_later_than_all_that_were_counted_is_no_repeat(
    group: Group, clock: int
) -> None:
    """By the clock of whoever says when it began: none of ours has a say in it."""
    await group.fold(alert("b"), alert("a", -500), at=clock)
    assert (await group.look(at=clock)).latest_start_ms == T0
    await group.fold(
        alert("a", 1000), alert("c", 1001), at=clock, seed=WITH_ALERTS, stale=await incarnation(group)
    )
    storm = await group.look(at=clock)
    assert (storm.repeats, storm.latest_start_ms) == (1, T0 + 1001)


async def test_latest_beginning_of_an_alert_outlives_its_storm(group: Group) -> None:
    await group.fold(alert("a", 700))
    await group.freeze_and_close(at=10)
    await group.fold(signal(5), at=20)
    storm = await group.look(at=20)
    assert (storm.epoch, storm.alerts, storm.latest_start_ms) == (2, 0, T0 + 700)
    assert await group.discard(storm) is CloseWord.CLOSED
    await group.fold(signal(6), at=30)
    assert (await group.look(at=30)).latest_start_ms == T0 + 700


async def test_signals_alone_make_no_repeats(group: Group) -> None:
    await group.fold(alert("old", -4000), at=1000, seed=replace(WITH_ALERTS, alerts=0, latest_start_ms=0))
    assert (await group.look(at=1000)).repeats == 0


async def test_alert_of_a_closed_storm_that_redis_lost_opens_the_next_and_says_so(group: Group) -> None:
    closed = replace(WITH_ALERTS, closed=True)
    answer = await group.fold(alert("old", -4000), at=1000, seed=closed)
    assert (answer.epoch, answer.ordinals) == (2, [1])
    storm = await group.look(at=1000)
    assert (storm.total, storm.repeats) == (1, 1)


async def test_closed_request_leaves_alerts_known_if_it_holds_all_that_redis_has(group: Group) -> None:
    await group.fold(alert("a"), alert("b"))
    storm = await group.look(at=0)
    _, frozen = await group.freeze(storm, at=10)
    assert frozen is not None
    closed = Seed(
        epoch=1,
        closed=True,
        incarnation=storm.incarnation,
        total=2,
        folded=2,
        alerts=2,
        latest_start_ms=T0,
    )
    answer = await group.fold(alert("a"), seed=closed, at=20)
    assert (answer.open, answer.ordinals) == (False, [0])
    await group.fold(alert("c", -10), at=30)
    assert (await group.look(at=30)).repeats == 0


async def test_closed_request_that_holds_more_leaves_no_alerts_known(group: Group) -> None:
    storm = await group.fold(alert("a"))
    closed = Seed(
        epoch=1,
        closed=True,
        incarnation=storm.incarnation,
        total=2,
        folded=2,
        alerts=2,
        latest_start_ms=T0,
    )
    answer = await group.fold(alert("a"), seed=closed, at=20)
    assert (answer.epoch, answer.ordinals) == (2, [1])
    assert (await group.look(at=30)).repeats == 1


async def test_other_incarnation_than_the_one_known_is_lost(group: Group) -> None:
    first = await group.fold(alert("a"))
    assert (await group.fold(alert("b"), known=(1, 1), incarnation=first.incarnation)).word == "counted"
    assert (await group.fold(alert("c"), known=(1, 1), incarnation="another")).word == "lost"
    assert counts(await group.look(at=0)) == (2, 2, 0, 2)


async def test_incarnation_that_is_not_trusted_is_replaced_by_the_seed(group: Group) -> None:
    bad = await group.fold(*(alert(str(number)) for number in range(9)))
    kept = await group.fold(seed=WITH_ALERTS)
    assert (kept.incarnation, kept.folded) == (bad.incarnation, 9)
    replaced = await group.fold(seed=WITH_ALERTS, stale=bad.incarnation)
    assert (replaced.folded, replaced.written) == (4, 4)
    storm = await group.look(at=0)
    assert (storm.incarnation != bad.incarnation, storm.origin) == (True, "before:4")


@pytest.mark.parametrize("act", ["ack", "freeze", "close"])
async def test_what_was_claimed_from_another_incarnation_is_left_alone(group: Group, act: str) -> None:
    await group.fold(alert("a"))
    stale = replace(await group.look(at=0), incarnation="another")
    if act == "ack":
        assert await group.ack(stale, at=10) is AckWord.GONE
    elif act == "freeze":
        assert (await group.freeze(stale, at=10))[0] == "gone"
    else:
        assert await group.discard(stale) is CloseWord.MOVED
    assert (await group.look(at=10)).written == 0


# --- Events


async def test_event_counts_as_often_as_it_has_occurred(group: Group) -> None:
    answer = await group.fold(event("e", 5, 3))
    assert (answer.folded, answer.ordinals) == (3, [3])
    answer = await group.fold(event("e", 8, 7), event("f", 9, 1))
    assert (answer.folded, answer.ordinals) == (8, [7, 8])
    storm = await group.look(at=0)
    assert (storm.total, storm.firing, storm.event_through, storm.through) == (8, 2, 9, 0)
    assert storm.resources == ((ARRIVAL.target, 8),)


async def test_event_that_comes_again_counts_only_what_it_has_more(group: Group) -> None:
    await group.fold(event("e", 5, 3))
    for report, folded in ((event("e", 5, 3), 3), (event("e", 9, 4), 4), (event("e", 7, 2), 4)):
        assert (await group.fold(report)).folded == folded


async def test_occurrences_that_were_durable_before_are_not_counted(group: Group) -> None:
    assert (await group.fold(event("e", 5, 7, after=4))).folded == 3


async def test_event_up_to_what_the_request_holds_is_not_counted(group: Group) -> None:
    seed = replace(WITH_ALERTS, event_through=100)
    answer = await group.fold(event("e", 100, 7), event("f", 101, 2), seed=seed)
    assert (answer.folded, answer.ordinals) == (6, [4, 6])


async def test_event_that_happened_again_since_the_request_counts_only_since_then(group: Group) -> None:
    """What holds its arrivals did not know that the first of them is in the request."""
    seed = replace(WITH_ALERTS, event_through=100)
    answer = await group.fold(event("e", 100, 3), event("e", 101, 5), seed=seed)
    assert (answer.folded, answer.ordinals) == (6, [4, 6])
    answer = await group.fold(event("e", 102, 6), known=(1, 6), incarnation=answer.incarnation)
    assert answer.folded == 7


async def test_event_and_signal_have_floors_of_their_own(group: Group) -> None:
    await group.fold(signal(500), event("e", 5, 1))
    await group.freeze_and_close(at=10)
    answer = await group.fold(signal(400), event("f", 6, 1), event("g", 5, 1), at=20)
    assert (answer.epoch, answer.folded, answer.ordinals) == (2, 1, [0, 1, 1])
