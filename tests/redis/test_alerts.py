"""fold.lua on alerts and Events: each counted once, however often and in whatever order it is reported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.harness.folding import DISCARDED_AS, GROUP_HASH, Group, alert, event, resolved, signal
from tests.harness.values import ARRIVAL, T0, TERMS

from lab.valkey import Valkey
from stormfold.fold import keys
from stormfold.fold.replies import AckWord, CloseWord
from stormfold.model.arrival import AlertRef, Arrival
from stormfold.model.group import partition
from stormfold.model.storm import Seed, Snapshot, TrackedAlert
from stormfold.request.deciding import exact

ALERTS = keys.alerts(partition(GROUP_HASH), GROUP_HASH)
BEFORE = keys.before(partition(GROUP_HASH), GROUP_HASH)


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


async def test_alert_that_fires_again_with_the_same_start_fires_and_counts_no_more(group: Group) -> None:
    """Its end was for want of news: prometheus/alertmanager#952."""
    assert await see(group, alert("a"), resolved("a"), alert("a"), alert("a")) == [
        (1, 1, 0, 1),
        (1, 0, 1, 2),
        (1, 1, 0, 3),
        (1, 1, 0, 3),
    ]


async def test_alert_that_begins_anew_counts_again_and_fires_once(group: Group) -> None:
    assert await see(group, alert("a"), resolved("a"), alert("a", 60), resolved("a", 60)) == [
        (1, 1, 0, 1),
        (1, 0, 1, 2),
        (2, 1, 0, 3),
        (2, 0, 1, 4),
    ]


async def test_alert_whose_end_was_never_told_fires_once_when_it_begins_anew(group: Group) -> None:
    assert await see(group, alert("a"), alert("a", 60)) == [(1, 1, 0, 1), (2, 1, 0, 2)]


async def test_start_that_moves_back_is_the_same_occurrence(group: Group) -> None:
    """Two Prometheus servers evaluate one rule, and the second noticed earlier."""
    assert await see(group, alert("a", 30), alert("a"), alert("a", 30)) == [(1, 1, 0, 1)] * 3


@pytest.mark.parametrize(
    ("reports", "last"),
    [
        pytest.param([alert("a", 30), resolved("a", ends=40)], (1, 0, 1, 2), id="of the later start"),
        pytest.param(
            [alert("a"), alert("a", 30), alert("a"), resolved("a", ends=40)],
            (2, 0, 1, 3),
            id="after both starts were told",
        ),
        pytest.param([alert("a", 30), resolved("a", ends=30)], (1, 0, 1, 2), id="at the latest start"),
        pytest.param([alert("a", 30), resolved("a", ends=29)], (1, 1, 0, 1), id="of an older occurrence"),
        pytest.param([alert("a", 30), resolved("a", 30, ends=29)], (1, 0, 1, 2), id="by a slow clock"),
    ],
)
async def test_end_is_of_what_began_before_it(
    group: Group, reports: list[Arrival], last: tuple[int, int, int, int]
) -> None:
    assert (await see(group, *reports))[-1] == last


async def test_word_that_was_posted_last_says_the_state_in_whatever_order_they_are_folded(
    group: Group,
) -> None:
    """A post that waited in a slow replica does not overrule a later one."""
    assert await see(
        group,
        alert("a", seen_ms=T0 + 10),
        resolved("a", seen_ms=T0 + 30),
        alert("a", seen_ms=T0 + 20),
        alert("a", seen_ms=T0 + 40),
        resolved("a", seen_ms=T0 + 35),
        alert("a", 60, seen_ms=T0 + 38),
    ) == [(1, 1, 0, 1), (1, 0, 1, 2), (1, 0, 1, 2), (1, 1, 0, 3), (1, 1, 0, 3), (2, 1, 0, 4)]


async def test_repeat_is_a_word_too(group: Group) -> None:
    assert (
        await see(
            group,
            alert("a", seen_ms=T0 + 10),
            alert("a", seen_ms=T0 + 30),
            resolved("a", seen_ms=T0 + 20),
        )
    )[-1] == (1, 1, 0, 1)


async def test_alert_that_is_first_heard_of_at_its_end_counts_as_resolved(group: Group) -> None:
    assert await see(group, alert("a"), resolved("b")) == [(1, 1, 0, 1), (2, 1, 1, 2)]


async def test_alert_that_is_first_heard_of_at_its_end_and_fires_again_makes_a_request(group: Group) -> None:
    """Its end was for want of news: without a signal that said Firing, the group would be discarded."""
    await see(group, resolved("a"), alert("a"))
    storm = await group.look(at=1)
    assert (counts(storm), storm.firing_signals) == ((1, 1, 0, 2), 1)
    await see(group, resolved("a"), alert("a"))
    storm = await group.look(at=1)
    assert (counts(storm), storm.firing_signals) == ((1, 1, 0, 4), 1)


async def test_alert_that_began_before_1970_counts_once(group: Group) -> None:
    ancient = -T0 // 1000 - 5
    assert await see(group, *[alert("a", ancient)] * 2, resolved("a", ancient)) == [
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


async def test_alerts_are_told_until_the_request_holds_them(group: Group) -> None:
    await group.fold(alert("a"), resolved("b", 7))
    storm = await group.look(at=0)
    start = T0 // 1000
    assert sorted(storm.tracked_alerts or ()) == sorted(
        [
            TrackedAlert(alert("a").occurrence, start, firing=True),
            TrackedAlert(alert("b").occurrence, start + 7, firing=False),
        ]
    )
    await group.ack(storm, at=10)
    await group.fold(alert("a"), signal(5), at=20)
    storm = await group.look(at=20)
    assert (storm.tracked_alerts, storm.known_alerts) == (None, 2)
    await group.ack(storm, at=30)
    await group.fold(resolved("a"), at=40)
    assert {a.firing for a in (await group.look(at=40)).tracked_alerts or ()} == {False}


# --- of the group's request before


async def test_alert_of_a_closed_storm_opens_no_other(group: Group, redis: Valkey) -> None:
    await group.fold(alert("a"))
    await group.freeze_and_close(at=10)
    assert 0 < int(str(redis.command("TTL", BEFORE))) <= 24 * 3600
    for report in (alert("a"), resolved("a"), alert("a"), alert("a", -5)):
        answer = await group.fold(report, at=20)
        assert (answer.open, answer.ordinals) == (False, [0])


async def test_repeat_after_closing_is_known_for_another_day(group: Group, redis: Valkey) -> None:
    await group.fold(alert("a"))
    await group.freeze_and_close(at=10)
    redis.command("EXPIRE", BEFORE, 100)
    await group.fold(alert("a"), at=20)
    assert int(str(redis.command("TTL", BEFORE))) > 23 * 3600


async def test_next_storm_counts_what_begins_and_what_fires_on_is_among_what_fires(group: Group) -> None:
    await group.fold(alert("a"), alert("b"))
    await group.freeze_and_close(at=10)
    answer = await group.fold(alert("c", 50), alert("a"), resolved("b"), at=100)
    assert (answer.epoch, answer.ordinals) == (2, [1, 0, 0])
    storm = await group.look(at=100)
    assert (counts(storm), storm.alerts) == ((1, 2, 0, 1), 1)
    answer = await group.fold(alert("a"), resolved("b"), alert("b"), at=150)
    assert answer.ordinals == [0, 0, 2]
    assert counts(await group.look(at=150)) == (1, 3, 0, 2)
    await group.fold(resolved("a"), alert("b", 60), at=200)
    assert counts(await group.look(at=200)) == (2, 2, 1, 4)


async def test_alerts_that_fire_on_are_known_to_the_request_whatever_opens_the_next_storm(
    group: Group,
) -> None:
    await group.fold(alert("a"), alert("b"), resolved("b"))
    await group.freeze_and_close(at=10)
    await group.fold(signal(5), at=20)
    storm = await group.look(at=20)
    assert (counts(storm), storm.firing_alerts, storm.alerts) == ((1, 2, 0, 1), 1, 0)
    assert set(storm.tracked_alerts or ()) == {
        TrackedAlert(alert("a").occurrence, T0 // 1000, firing=True),
        TrackedAlert(alert("b").occurrence, T0 // 1000, firing=False),
    }
    answer = await group.fold(alert("a"), at=30)
    assert answer.ordinals == [0]


async def test_alert_that_fires_through_two_storms_is_known_after_the_second(group: Group) -> None:
    await group.fold(alert("chronic"))
    await group.freeze_and_close(at=10)
    await group.fold(alert("b", 50), at=100)
    await group.fold(alert("chronic"), at=110)
    await group.freeze_and_close(at=120)
    answer = await group.fold(alert("chronic"), at=130)
    assert (answer.open, answer.epoch, answer.ordinals) == (False, 2, [0])


async def test_alert_that_had_resolved_lately_is_known_two_storms_later_also_after_a_loss(
    group: Group, redis: Valkey
) -> None:
    await group.fold(alert("a"), resolved("a", seen_ms=T0 + 5))
    await group.freeze_and_close(at=10)
    await group.fold(alert("b", 50), at=100)
    held = await group.look(at=100)
    await group.ack(held, at=100)
    assert (counts(held), held.unlisted_alerts) == ((1, 1, 0, 1), 0)
    redis.command("FLUSHALL")
    seed = Seed(
        epoch=2,
        closed=False,
        incarnation=held.incarnation,
        total=1,
        folded=1,
        firing=1,
        alerts=1,
        firing_alerts=1,
        opened_ms=T0 + 100,
        arrived_ms=T0 + 100,
        tracked_alerts=held.tracked_alerts or (),
    )
    await group.fold(resolved("a"), alert("b", 50), at=200, seed=seed)
    assert counts(await group.look(at=200)) == (1, 1, 0, 1)
    await group.freeze_and_close(at=300)
    await group.fold(alert("c", 60), at=400)
    assert (await group.fold(resolved("a"), at=500)).ordinals == [0]
    assert counts(await group.look(at=500)) == (1, 2, 0, 1)


async def test_alert_that_had_resolved_two_storms_ago_fires_and_resolves_again(group: Group) -> None:
    await group.fold(alert("a"), resolved("a"))
    await group.freeze_and_close(at=10)
    await group.fold(signal(5), at=20)
    await group.freeze_and_close(at=30)
    await group.fold(signal(6), at=700_000)
    await group.fold(alert("a", seen_ms=T0 + 700_010), at=700_010)
    assert (await group.look(at=700_010)).firing_alerts == 1
    await group.fold(resolved("a", seen_ms=T0 + 700_020), at=700_020)
    assert (await group.look(at=700_020)).firing_alerts == 0


async def test_repeated_end_of_an_alert_of_the_request_before_is_a_word_too(group: Group) -> None:
    await group.fold(alert("a"), resolved("a"))
    await group.freeze_and_close(at=10)
    await group.fold(signal(5), at=20)
    await group.fold(resolved("a", seen_ms=T0 + 100), at=100)
    await group.fold(alert("a", seen_ms=T0 + 50), at=100)
    assert (await group.look(at=100)).firing_alerts == 0


@pytest.mark.parametrize("noted", [True, False], ids=["closing noted", "only the request is closed"])
async def test_discarded_alert_stays_so_through_further_storms(group: Group, noted: bool) -> None:
    await group.fold(alert("a"))
    await group.discard(await group.look(at=10))
    await group.fold(alert("b", 20), at=20)
    storm = await group.look(at=20)
    if noted:
        await group.freeze_and_close(at=30)
        answer = await group.fold(alert("a"), alert("b", 20), at=40)
    else:
        await group.freeze(storm, at=30)
        closed = Seed(epoch=1, closed=True, incarnation=storm.incarnation, total=1, folded=1, alerts=1)
        answer = await group.fold(alert("a"), alert("b", 20), at=40, seed=closed)
    assert (answer.open, answer.ordinals, answer.discarded) == (False, [0, 0], {0})


async def test_a_thousand_that_had_resolved_lately_are_known_to_the_next_request(group: Group) -> None:
    for first in range(0, 1000, 200):
        for report in (alert, resolved):
            await group.fold(*(report(f"alert-{number}") for number in range(first, first + 200)))
    await group.freeze_and_close(at=10)
    await group.fold(signal(5), at=20)
    assert len((await group.look(at=20)).tracked_alerts or ()) == 1000


async def test_alert_of_an_old_storm_is_known_as_long_as_there_is_room(group: Group) -> None:
    await group.fold(*(alert(f"old-{number}", seen_ms=T0 - 9_000_000) for number in range(200)))
    await group.fold(*(resolved(f"old-{number}", seen_ms=T0 - 9_000_000) for number in range(200)))
    for epoch in (1, 2, 3):
        await group.freeze_and_close(at=10 * epoch)
        answer = await group.fold(alert("old-7", seen_ms=T0 - 8_000_000), at=10 * epoch)
        assert (answer.open, answer.epoch, answer.ordinals) == (False, epoch, [0])
        await group.fold(alert("new", 100 * epoch), at=10 * epoch)


async def test_storm_without_alerts_leaves_those_before_it_known(group: Group) -> None:
    await group.fold(alert("a"))
    await group.freeze_and_close(at=10)
    await group.fold(signal(5), at=20)
    await group.freeze_and_close(at=30)
    answer = await group.fold(alert("a"), at=40)
    assert (answer.open, answer.epoch, answer.ordinals) == (False, 2, [0])


async def test_discarded_alert_is_known_and_opens_nothing(group: Group) -> None:
    await group.fold(alert("a"))
    assert await group.discard(await group.look(at=10)) is CloseWord.CLOSED
    answer = await group.fold(alert("a"), at=20)
    assert (answer.epoch, answer.open, answer.ordinals) == (0, False, [0])
    assert (answer.discarded, answer.discarded_as) == ({0}, DISCARDED_AS)
    answer = await group.fold(alert("b"), resolved("a"), at=30)
    assert (answer.ordinals, answer.discarded) == ([1, 0], {1})
    assert counts(await group.look(at=40)) == (1, 1, 0, 1)


async def test_alert_that_was_discarded_and_begins_anew_counts(group: Group) -> None:
    await group.fold(alert("a"), alert("a", 5))
    await group.discard(await group.look(at=10))
    answer = await group.fold(alert("a", 5), alert("a", 20), at=20)
    assert (answer.ordinals, answer.discarded) == ([0, 1], {0})
    assert counts(await group.look(at=20)) == (1, 1, 0, 1)


async def test_next_beginning_of_a_counted_alert_may_be_discarded(group: Group) -> None:
    await group.fold(alert("a"))
    await group.freeze_and_close(at=10)
    answer = await group.fold(alert("a", 20), alert("b", 20), at=20)
    assert (answer.epoch, answer.ordinals) == (2, [1, 2])
    await group.discard(await group.look(at=30))
    answer = await group.fold(alert("a", 20), alert("b", 20), at=40)
    assert (answer.ordinals, answer.discarded) == ([0, 0], {0, 1})


async def test_alert_that_fired_on_into_a_discarded_storm_stays_in_its_request(group: Group) -> None:
    await group.fold(alert("a"))
    await group.freeze_and_close(at=10)
    await group.fold(alert("b", 20), at=20)
    await group.fold(alert("a"), at=20)
    await group.discard(await group.look(at=30))
    answer = await group.fold(alert("a"), alert("b", 20), at=40)
    assert (answer.ordinals, answer.discarded) == ([0, 0], {1})


async def test_counted_alert_does_not_wait_for_a_storm_that_may_be_discarded(group: Group) -> None:
    discarding = replace(group, terms=replace(TERMS, discard=True))
    await group.fold(alert("a"), alert("b"), resolved("c"))
    await group.freeze_and_close(at=10)
    answer = await discarding.fold(alert("new", 20), at=20)
    assert (answer.epoch, answer.ordinals) == (2, [1])
    answer = await discarding.fold(
        alert("a"), resolved("b", seen_ms=T0 + 30), alert("c", seen_ms=T0 + 30), alert("new", 20), at=30
    )
    assert (answer.folded, answer.ordinals, answer.discarded) == (3, [0, 0, 0, 3], frozenset())
    assert (await group.look(at=30)).firing_alerts == 3
    answer = await discarding.fold(resolved("c", seen_ms=T0 + 40), alert("b", 40, seen_ms=T0 + 40), at=40)
    assert answer.ordinals == [0, 5]
    assert (await group.look(at=40)).firing_alerts == 3
    await group.discard(await group.look(at=40))
    again = [alert("a"), alert("b"), alert("b", 40), alert("c"), alert("new", 20)]
    answer = await discarding.fold(*again, at=50)
    assert (answer.ordinals, answer.discarded) == ([0, 0, 0, 0, 0], {1, 2, 4})


async def test_end_of_a_counted_alert_waits_for_the_request_that_says_so(group: Group) -> None:
    await group.fold(alert("a"), alert("b"))
    await group.freeze_and_close(at=10)
    await group.fold(alert("new", 20), at=20)
    answer = await group.fold(alert("a"), resolved("b"), at=30)
    assert (answer.ordinals, answer.folded) == ([0, 2], 2)
    assert (await group.fold(resolved("b"), at=40)).ordinals == [2]


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
    await group.fold(alert("c", 20), alert("b", 20), at=20)
    await group.discard(await group.look(at=30))
    await group.note_another_server("discarded_by")
    answer = await group.fold(alert("c", 20), alert("b", 20), alert("a"), at=40)
    assert (answer.ordinals, answer.discarded) == ([1, 2, 0], frozenset())


@pytest.mark.parametrize("forget", [False, True])
async def test_end_that_a_discarded_storm_was_told_is_known_to_the_next(group: Group, forget: bool) -> None:
    await group.fold(alert("a"))
    await group.freeze_and_close(at=10)
    await group.fold(alert("b", 20), at=20)
    await group.fold(resolved("a", seen_ms=T0 + 30), at=30)
    assert await group.discard(await group.look(at=40), forget_alerts=forget) is CloseWord.CLOSED
    await group.fold(alert("c", 50), at=50)
    assert (await group.look(at=50)).firing_alerts == 1


async def test_what_another_server_had_discarded_before_what_is_lost_counts_again(group: Group) -> None:
    await group.fold(alert("a"))
    await group.discard(await group.look(at=10))
    await group.fold(alert("b", 20), at=20)
    for field in ("incarnation", "discarded_by"):
        await group.note_another_server(field)
    assert await group.discard(await group.look(at=30)) is CloseWord.LOST
    answer = await group.fold(alert("a"), at=40)
    assert (answer.ordinals, answer.discarded) == ([1], frozenset())


# --- more than are known one by one


async def test_alerts_beyond_those_that_are_known_are_estimated_and_count_once(
    group: Group, redis: Valkey
) -> None:
    names = [f"alert-{number}" for number in range(5000)]

    async def post(report: Callable[[str], Arrival]) -> Snapshot:
        for first in range(0, 5000, 250):
            await group.fold(*(report(name) for name in names[first : first + 250]))
        return await group.look(at=0)

    storm = await post(alert)
    assert redis.command("HLEN", ALERTS) == storm.known_alerts == 4096
    assert storm.total == storm.alerts == storm.firing == storm.firing_alerts == 4096 + storm.alerts_beyond
    assert storm.alerts_beyond == 904
    assert storm.unlisted_alerts == 3096 + storm.alerts_beyond
    await group.ack(storm, at=0, settled=True)
    again = await post(alert)
    assert (again.total, again.firing, again.settled) == (storm.total, storm.firing, True)
    ended = await post(resolved)
    assert (ended.firing, ended.resolved) == (0, 5000)
    ended_again = await post(resolved)
    assert (ended_again.resolved, ended_again.folded) == (ended.resolved, ended.folded)
    assert int(str(redis.command("MEMORY", "USAGE", ALERTS))) < 1_000_000


async def test_what_fires_beyond_those_that_are_known_opens_no_further_storm_by_being_repeated(
    group: Group,
) -> None:
    names = [f"alert-{number}" for number in range(4400)]
    for first in range(0, 4400, 200):
        await group.fold(*(alert(name) for name in names[first : first + 200]))
    await group.freeze_and_close(at=10)
    for first in range(0, 4400, 200):
        answer = await group.fold(*(alert(name) for name in names[first : first + 200]), at=20)
        assert (answer.open, set(answer.ordinals)) == (False, {0})


async def test_new_alert_after_a_storm_of_thousands_is_not_taken_for_one_of_them(group: Group) -> None:
    for first in range(0, 9000, 200):
        await group.fold(*(alert(f"alert-{number}") for number in range(first, first + 200)))
    await group.freeze_and_close(at=10)
    for number in range(100):
        answer = await group.fold(alert(f"new-{number}"), at=20 + number)
        assert (answer.open, answer.ordinals) == (True, [1])
        await group.freeze_and_close(at=20 + number)


async def test_alert_beyond_those_that_are_known_counts_no_more_in_the_next_storm(group: Group) -> None:
    for first in range(0, 9000, 200):
        await group.fold(*(alert(f"alert-{number}") for number in range(first, first + 200)))
    await group.freeze_and_close(at=10)
    await group.fold(alert("new", 60), at=20)
    for report in (alert, resolved):
        for first in range(0, 9000, 200):
            await group.fold(*(report(f"alert-{number}") for number in range(first, first + 200)), at=20)
        storm = await group.look(at=20)
        assert (storm.epoch, storm.total, storm.alerts, storm.alerts_beyond) == (2, 1, 1, 0)


async def test_each_storm_knows_as_many_alerts_as_the_first(group: Group) -> None:
    names = [f"alert-{number}" for number in range(4200)]
    for first in range(0, 4200, 200):
        await group.fold(*(alert(name) for name in names[first : first + 200]))
        await group.fold(*(resolved(name) for name in names[first : first + 200]))
    await group.freeze_and_close(at=10)
    for first in range(0, 4200, 200):
        await group.fold(*(alert(f"new-{number}", 60) for number in range(first, first + 200)), at=20)
    storm = await group.look(at=20)
    assert (storm.epoch, storm.known_alerts) == (2, 4096)
    assert storm.total == storm.alerts == 4200


async def test_many_small_storms_of_a_group_leave_the_next_one_exact(group: Group) -> None:
    for number in range(42):
        for report in (alert, resolved):
            await group.fold(*(report(f"{number}-{n}", number) for n in range(100)), at=10 * number)
        await group.freeze_and_close(at=10 * number + 5)
    await group.fold(alert("new", 50), at=500)
    storm = await group.look(at=500)
    assert (storm.alerts, storm.alerts_beyond, storm.approximate) == (1, 0, False)


async def test_end_of_an_alert_beyond_those_that_are_known_opens_no_further_storm(group: Group) -> None:
    names = [f"alert-{number}" for number in range(4400)]
    for report, at in ((alert, 0), (resolved, 20)):
        for first in range(0, 4400, 200):
            answer = await group.fold(*(report(name) for name in names[first : first + 200]), at=at)
        if report is alert:
            await group.freeze_and_close(at=10)
    assert not answer.open


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


START = T0 // 1000
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
    tracked_alerts=(
        TrackedAlert(alert("a").occurrence, START, firing=True),
        TrackedAlert(alert("b").occurrence, START, firing=True),
        TrackedAlert(alert("c").occurrence, START, firing=False),
    ),
    unknown_alerts=1,
)
"""Two alerts fire and one has resolved, a Signal fires, and one more alert, but nobody knows which."""


async def test_alerts_that_the_request_lists_go_on_after_the_loss(group: Group) -> None:
    listed = replace(FIRED, firing=3, firing_alerts=2, unknown_alerts=0)
    await group.fold(alert("a"), resolved("b"), resolved("c"), alert("b", -9), alert("d", -9), seed=listed)
    storm = await group.look(at=0)
    assert (counts(storm), storm.firing_alerts, storm.alerts) == ((6, 4, 1, 9), 3, 5)


async def test_unknown_alerts_fire_until_others_begin_or_all_are_heard_of(group: Group) -> None:
    await group.fold(seed=FIRED)
    storm = await group.look(at=0)
    assert (storm.firing_alerts, storm.firing, storm.approximate) == (3, 4, True)
    assert await firing_alerts(group, alert("x"), alert("y"), resolved("x"), resolved("a")) == [
        (3, 4),
        (4, 5),
        (3, 4),
        (2, 3),
    ]
    assert (await group.look(at=0)).unknown_alerts == 1


async def test_end_of_a_signal_is_not_taken_for_that_of_an_alert(group: Group) -> None:
    await group.fold(seed=FIRED)
    assert await firing_alerts(group, signal(5, firing=False), signal(6, "web-6", firing=False)) == [
        (3, 3),
        (3, 3),
    ]


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
        left_out(12, "a"),
        alert("c"),
    ):
        await group.fold(report, at=100)
        storm = await group.look(at=100)
        seen.append((storm.left_out, storm.total, storm.firing, storm.folded))
    assert seen == [
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
    tracked_alerts=FIRED.tracked_alerts,
    through=0,
)
"""The request holds three alerts, two of which fire."""


async def test_alert_that_the_request_lists_counts_no_more_after_the_loss(group: Group) -> None:
    answer = await group.fold(alert("a"), alert("c", -5), alert("new", -4), at=1000, seed=WITH_ALERTS)
    assert answer.ordinals == [4, 5, 6]
    storm = await group.look(at=1000)
    assert (counts(storm), storm.alerts, storm.unknown_alerts) == ((4, 4, 0, 6), 4, 0)


async def test_alert_that_a_closed_request_lists_opens_no_other_after_the_loss(group: Group) -> None:
    answer = await group.fold(alert("a"), resolved("b"), at=1000, seed=replace(WITH_ALERTS, closed=True))
    assert (answer.open, answer.epoch, answer.ordinals) == (False, 1, [0, 0])


async def test_closed_request_leaves_alerts_known_if_it_holds_all_that_redis_has(group: Group) -> None:
    """Also those that its list has no room for."""
    await group.fold(alert("a"), alert("b"))
    storm = await group.look(at=0)
    _, frozen = await group.freeze(storm, at=10)
    assert frozen is not None
    closed = Seed(epoch=1, closed=True, incarnation=storm.incarnation, total=2, folded=2, alerts=2)
    answer = await group.fold(alert("a"), seed=closed, at=20)
    assert (answer.open, answer.ordinals) == (False, [0])


async def test_closed_request_that_holds_more_leaves_its_own_alerts_known(group: Group) -> None:
    storm = await group.fold(alert("a"))
    closed = replace(WITH_ALERTS, closed=True, incarnation=storm.incarnation)
    answer = await group.fold(alert("b"), alert("z"), seed=closed, at=20)
    assert (answer.epoch, answer.ordinals) == (2, [0, 1])


async def test_closed_request_leaves_alerts_beyond_those_that_are_known_counted(group: Group) -> None:
    names = [f"alert-{number}" for number in range(4400)]
    for first in range(0, 4400, 200):
        await group.fold(*(alert(name) for name in names[first : first + 200]))
    _, frozen = await group.freeze(await group.look(at=0), at=10)
    assert frozen is not None
    closed = Seed(epoch=1, closed=True, incarnation=frozen.incarnation, folded=frozen.folded)
    for first in range(0, 4400, 200):
        answer = await group.fold(*(alert(n) for n in names[first : first + 200]), at=20, seed=closed)
        assert (answer.open, set(answer.ordinals)) == (False, {0})


async def test_alerts_that_a_closed_request_does_not_list_may_count_twice_for_a_day_after_the_loss(
    group: Group,
) -> None:
    day, closed = 24 * 3600_000, replace(WITH_ALERTS, closed=True, unknown_alerts=7)
    await group.fold(alert("new", 60), seed=closed, at=0)
    assert (await group.look(at=0)).unknown_alerts == 7
    await group.freeze_and_close(at=10)
    for at, unknown in ((day, 7), (day + 20, 0)):
        await group.fold(alert("new", at), at=at)
        storm = await group.look(at=at)
        assert (storm.unknown_alerts, exact(storm).status) == (unknown, not unknown)
        await group.freeze_and_close(at=at)


async def test_closed_request_leaves_none_unknown_if_redis_has_all_its_alerts(group: Group) -> None:
    await group.fold(alert("a"))
    _, frozen = await group.freeze(await group.look(at=0), at=10)
    assert frozen is not None
    closed = Seed(
        epoch=1, closed=True, incarnation=frozen.incarnation, folded=frozen.folded, unknown_alerts=7
    )
    await group.fold(alert("b", 60), at=20, seed=closed)
    assert (await group.look(at=20)).unknown_alerts == 0


async def test_what_a_closed_request_leaves_after_the_loss_expires(group: Group, redis: Valkey) -> None:
    await group.fold(alert("a"), at=1000, seed=replace(WITH_ALERTS, closed=True))
    for key in keys.of_group(group.partition, GROUP_HASH):
        assert redis.command("EXISTS", key) == 0 or int(str(redis.command("TTL", key))) > 0, key


async def test_request_that_says_nothing_yet_is_continued_as_if_there_were_none(group: Group) -> None:
    """It was made, and Redis lost its storm before the first write of its status."""
    answer = await group.fold(alert("a"), seed=Seed(epoch=0, closed=True))
    assert (answer.epoch, answer.open, answer.ordinals) == (1, True, [1])


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
