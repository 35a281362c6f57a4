"""fold.lua on alerts: each counted once, however often and in whatever order it is reported."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.harness.folding import Group, alert, event, resolved, signal
from tests.harness.told_alerts import counts, firing_alerts, see
from tests.harness.values import ARRIVAL, T0

from stormfold.fold.replies import AckWord
from stormfold.model.arrival import Arrival


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
    assert (storm.settled, storm.revision, storm.folded, storm.written) == (False, 1, 2, 1)
    assert (answer.due_ms, answer.written) == (T0 + 2000, 1)


async def test_only_what_says_firing_makes_a_revision(group: Group) -> None:
    """A consumer that has healed what it saw reports an end of the current revision."""
    revisions: list[int] = []
    reports = (
        resolved("a"),
        alert("a", seen_ms=T0 + 1),
        resolved("a", seen_ms=T0 + 2),
        alert("a", 7),
        alert("b"),
    )
    for report in (alert("a", seen_ms=T0), *reports):
        await group.fold(report)
        await group.ack(await group.look(at=0), at=10, settled=True)
        revisions.append((await group.look(at=10)).revision)
    assert revisions == [1, 1, 2, 2, 3, 4]


async def test_repeat_leaves_a_settled_storm_settled(group: Group) -> None:
    await group.fold(alert("a"))
    await group.ack(await group.look(at=0), at=10, settled=True)
    answer = await group.fold(alert("a"), at=2000)
    assert (answer.ordinals, answer.due_ms, answer.written) == ([1], 0, 1)
    assert (await group.look(at=2000)).settled


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
