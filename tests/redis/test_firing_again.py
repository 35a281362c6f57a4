"""Alerts that fire again with the start that they had, and groups that are due while a storm of theirs has no
request so far: none of them is hidden."""

from __future__ import annotations

from dataclasses import replace
from unittest.mock import Mock

import pytest
from tests.harness.folding import GROUP_HASH, Group, alert, resolved
from tests.harness.values import T0, TERMS

from stormfold.api.reasons.signals import SignalReason
from stormfold.api.signal import Severity, SignalPhase
from stormfold.fold.arguments import Reopening
from stormfold.fold.replies import CloseWord
from stormfold.model.arrival import Arrival, Verdict
from stormfold.model.storm import Seed, Snapshot, TrackedAlert
from stormfold.request.absences import NAMESPACE_MISSING
from stormfold.request.deciding import Discard, Reported, Wait, decide
from stormfold.request.discarding import Discarder
from stormfold.request.noting import changes

STALE = 10_000
CRITICAL, INFO = Severity.CRITICAL, Severity.INFO
AGAIN = Reopening(epoch=1, severity=3)
LONG_AGO = 700_000
"""More than RESOLVED_MS: such ends are not carried into the next storm."""


async def test_alert_that_went_stale_in_a_closed_request_and_is_heard_of_again_opens_the_next(
    group: Group,
) -> None:
    """The closed request has said by then that nothing fires: neither Noter nor Reopener look any more."""
    group.terms = replace(TERMS, stale_after_ms=STALE)
    await group.fold(alert("a"))
    await group.freeze_and_close(at=10)
    known = await group.store.closed.alerts(GROUP_HASH, 1, stale_after_ms=STALE, now_ms=T0 + STALE)
    assert known is not None
    assert [one.stale for one in known.alerts.values()] == [True], "so the Noter writes firing 0, stale 1"
    assert not (await group.fold(at=STALE, reopening=AGAIN)).open, "and it is not due for the Reopener"
    answer = await group.fold(alert("a", seen_ms=T0 + STALE + 1000), at=STALE + 1000)
    assert (answer.open, answer.epoch) == (True, 2), "an alert that fires is in no request"


async def test_alert_that_was_stale_when_the_next_storm_opened_is_news_after_that_has_closed(
    group: Group,
) -> None:
    group.terms = replace(TERMS, stale_after_ms=STALE)
    await group.fold(alert("a"))
    await group.freeze_and_close(at=10)
    later = 700_000  # it is not among those that ended lately
    await group.fold(alert("n", 600, seen_ms=T0 + later), at=later)
    await group.fold(resolved("n", 600, seen_ms=T0 + later + 10), at=later + 10)
    storm = await group.look(at=later + 20)
    assert (storm.firing, storm.firing_alerts) == (0, 0), "so it closes for quiet"
    await group.freeze_and_close(at=later + 100)
    answer = await group.fold(alert("a", seen_ms=T0 + later + 200), at=later + 200)
    assert (answer.open, answer.epoch) == (True, 3), "an alert that fires is in no request"


@pytest.mark.parametrize("other", [alert("n", seen_ms=T0 + 20), resolved("n", seen_ms=T0 + 20)])
async def test_group_that_is_due_opens_also_while_an_undecided_storm_of_it_is_open(
    group: Group, other: Arrival
) -> None:
    """Below the threshold under Discard, or an end of an alert that nobody knows: until that is discarded,
    threshold.within later, and whenever another one comes before the next try, nothing opens."""
    group.terms = replace(TERMS, discard=True)
    await group.fold(*(alert(name) for name in "abcde"))
    await group.freeze_and_close(at=10)
    await group.fold(other, at=20)
    storm = await group.look(at=20)
    assert storm.firing_alerts >= 5, "it has those that still fire"
    await group.fold(at=100, reopening=AGAIN)
    storm = await group.look(at=100)
    decision = decide(storm, has_request=False, reported=Reported(), now_ms=T0 + 100)
    assert not isinstance(decision, Wait | Discard), decision
    assert storm.still_firing


@pytest.mark.parametrize("after", [1000, LONG_AGO], ids=["ended lately", "ended long ago"])
@pytest.mark.parametrize(
    ("discard", "other"),
    [
        pytest.param(False, resolved("z"), id="default policy, an end that nobody knew"),
        pytest.param(True, alert("z", 1), id="Discard, below the threshold"),
    ],
)
async def test_alert_that_fires_again_in_a_storm_that_is_discarded_is_not_hidden(
    group: Group, discard: bool, other: Arrival, after: int
) -> None:
    group.terms = replace(TERMS, discard=discard)
    await group.fold(*(alert(name) for name in "abcde"))
    await group.fold(*(resolved(name, seen_ms=T0 + 5) for name in "abcde"), at=5)
    closed = await group.freeze_and_close(at=10)
    assert closed.firing_alerts == 0, "neither Noter nor Reopener look at the group"
    await group.fold(replace(other, seen_ms=T0 + after), at=after)
    await group.fold(alert("a", seen_ms=T0 + after + 10), at=after + 10)
    storm = await group.look(at=after + TERMS.within_ms)
    assert storm.firing_alerts >= 1, "it fires"
    now_ms = T0 + after + TERMS.within_ms
    if isinstance(decide(storm, has_request=False, reported=Reported(), now_ms=now_ms), Discard):
        assert await group.discard(storm) is CloseWord.CLOSED
    repeat = alert("a", seen_ms=now_ms + 1000)
    answer = await group.fold(repeat, at=now_ms + 1000 - T0)
    assert answer.open, f"an alert that fires is in no open request, and is answered by {answer.ordinals}"


async def closed_while_one_fires(group: Group) -> Snapshot:
    """A storm of five alerts of which four have resolved; it is closed 10 ms after `T0`."""
    group.terms = replace(TERMS, discard=True, stale_after_ms=86_400_000)
    await group.fold(*(alert(name) for name in "abcde"))
    await group.fold(*(resolved(name, seen_ms=T0 + 5) for name in "bcde"), at=5)
    closed = await group.freeze_and_close(at=10)
    assert (closed.firing, closed.firing_alerts) == (1, 1)
    return closed


async def firing_alerts_of(group: Group, closed: Snapshot, *, at: int) -> int:
    """How many alerts fire in the closed request, as it says `at` ms after `T0`."""
    stale_ms = group.terms.stale_after_ms
    known = await group.store.closed.alerts(GROUP_HASH, 1, stale_after_ms=stale_ms, now_ms=T0 + at)
    assert known is not None
    listed = closed.tracked_alerts or ()
    return closed.firing_alerts + changes(listed, firing=closed.firing_alerts, known=known).firing


async def test_alert_that_began_anew_below_the_threshold_still_opens_the_group_of_its_closed_request(
    group: Group,
) -> None:
    """Alertmanager posts one that ends and begins within group_interval as firing, with the new start."""
    closed = await closed_while_one_fires(group)
    await group.fold(alert("a", 60, seen_ms=T0 + 60_000), at=60_000)
    storm = await group.look(at=120_000)
    decision = decide(storm, has_request=False, reported=Reported(), now_ms=T0 + 120_000)
    assert isinstance(decision, Discard)
    assert await group.discard(storm) is CloseWord.CLOSED
    assert await firing_alerts_of(group, closed, at=130_000) == 1
    repeat = await group.fold(alert("a", 60, seen_ms=T0 + 130_000), at=130_000)
    assert (repeat.open, repeat.ordinals, repeat.discarded) == (False, [0], frozenset())
    answer = await group.fold(at=140_000, reopening=AGAIN)
    assert (answer.open, answer.epoch) == (True, 2)
    storm = await group.look(at=140_000)
    assert (storm.total, storm.firing_alerts, storm.still_firing) == (0, 1, True)


@pytest.mark.parametrize("forget", [False, True])
async def test_end_of_an_alert_that_began_anew_is_noted_though_nobody_was_told_of_its_beginning(
    group: Group, forget: bool
) -> None:
    closed = await closed_while_one_fires(group)
    await group.fold(resolved("a", 60, seen_ms=T0 + 60_000), at=60_000)
    storm = await group.look(at=120_000)
    assert await group.discard(storm, forget_alerts=forget) is CloseWord.CLOSED
    assert await firing_alerts_of(group, closed, at=130_000) == 0
    assert not (await group.fold(at=140_000, reopening=AGAIN)).open


async def test_alert_that_began_anew_in_a_group_that_found_no_place_fires_on_and_counts_when_it_comes_again(
    group: Group,
) -> None:
    closed = await closed_while_one_fires(group)
    await group.fold(alert("a", 60, seen_ms=T0 + 60_000), at=60_000)
    assert await group.discard(await group.look(at=70_000), forget_alerts=True) is CloseWord.CLOSED
    assert await firing_alerts_of(group, closed, at=80_000) == 1
    answer = await group.fold(alert("a", 60, seen_ms=T0 + 90_000), at=90_000)
    assert (answer.open, answer.ordinals) == (True, [1])


async def test_stale_alert_that_begins_anew_below_the_threshold_is_discarded_and_fires_in_no_request(
    group: Group,
) -> None:
    """Its closed request has said that it is stale: nobody looks at that any more."""
    closed = await closed_while_one_fires(group)
    group.terms = replace(group.terms, stale_after_ms=STALE)
    await group.fold(alert("a", 60, seen_ms=T0 + 60_000), at=60_000)
    assert await group.discard(await group.look(at=120_000)) is CloseWord.CLOSED
    assert await firing_alerts_of(group, closed, at=130_000) == 0
    answer = await group.fold(alert("a", 60, seen_ms=T0 + 130_000), at=130_000)
    assert (answer.open, answer.discarded) == (False, {0})


async def test_alert_that_was_discarded_at_its_end_and_fires_again_counts(group: Group) -> None:
    """Nobody had told that it began: the post was refused, or Redis has lost it."""
    await group.fold(resolved("a"), alert("b"))
    await group.fold(resolved("b", seen_ms=T0 + 5), at=5)
    assert await group.discard(await group.look(at=70_000)) is CloseWord.CLOSED
    answer = await group.fold(resolved("a", seen_ms=T0 + 80_000), alert("b"), at=80_000)
    assert (answer.open, answer.discarded) == (False, {0, 1})
    answer = await group.fold(alert("a", seen_ms=T0 + 90_000), at=90_000)
    assert (answer.open, answer.epoch, answer.ordinals, answer.discarded) == (True, 1, [1], frozenset())
    storm = await group.look(at=90_000)
    assert (storm.total, storm.firing, storm.still_firing) == (1, 1, False)
    assert await group.discard(storm) is CloseWord.CLOSED, "as below a threshold"
    answer = await group.fold(alert("a", seen_ms=T0 + 180_000), at=180_000)
    assert (answer.open, answer.discarded) == (False, {0})


async def test_alert_that_was_discarded_at_its_end_and_fires_again_counts_when_its_group_found_no_place(
    group: Group,
) -> None:
    await group.fold(resolved("a"))
    assert await group.discard(await group.look(at=70_000)) is CloseWord.CLOSED
    await group.fold(alert("a", seen_ms=T0 + 80_000), at=80_000)
    assert await group.discard(await group.look(at=90_000), forget_alerts=True) is CloseWord.CLOSED
    answer = await group.fold(alert("a", seen_ms=T0 + 100_000), at=100_000)
    assert (answer.open, answer.ordinals) == (True, [1])


async def test_alert_of_a_request_whose_namespace_was_away_counts_when_it_is_there_again(
    group: Group,
) -> None:
    await group.fold(alert("a"))
    storm = await group.look(at=70_000)
    others = Mock()
    discarder = Discarder(group.store, others, others, folder=others, schedule=others, places=others)
    reason = SignalReason.REQUEST_NAMESPACE_NOT_FOUND
    await discarder.discard(storm, Verdict(SignalPhase.REJECTED, reason, NAMESPACE_MISSING), reason)
    answer = await group.fold(alert("a", seen_ms=T0 + 80_000), at=80_000)
    assert (answer.open, answer.discarded) == (True, frozenset())


async def test_next_request_is_as_severe_as_the_alerts_that_fire_on_in_it(group: Group) -> None:
    await group.fold(alert("a", severity=CRITICAL))
    await group.freeze_and_close(at=10)
    await group.fold(alert("n", 5, seen_ms=T0 + 5000, severity=INFO), at=5000)
    storm = await group.look(at=6000)
    assert (storm.total, storm.firing, storm.severity) == (1, 2, CRITICAL.rank)


async def test_next_request_is_as_severe_as_its_own_alerts_where_none_fires_on(group: Group) -> None:
    await group.fold(alert("a", severity=CRITICAL))
    await group.fold(resolved("a", severity=CRITICAL))
    await group.freeze_and_close(at=10)
    await group.fold(alert("n", 5, seen_ms=T0 + 5000, severity=INFO), at=5000)
    storm = await group.look(at=6000)
    assert (storm.total, storm.firing, storm.severity) == (1, 1, INFO.rank)


async def test_next_request_is_as_severe_also_if_one_was_discarded_before(group: Group) -> None:
    await group.fold(alert("a", severity=CRITICAL))
    await group.freeze_and_close(at=10)
    await group.fold(alert("n", 5, seen_ms=T0 + 5000, severity=INFO), at=5000)
    await group.discard(await group.look(at=6000))
    await group.fold(alert("o", 9, seen_ms=T0 + 9000, severity=INFO), at=9000)
    assert (await group.look(at=9000)).severity == CRITICAL.rank


async def test_next_request_is_as_severe_also_if_redis_has_lost_the_one_before(group: Group) -> None:
    fires = TrackedAlert(alert("a").occurrence, T0 // 1000, firing=True)
    closed = Seed(epoch=1, closed=True, severity=CRITICAL.rank, tracked_alerts=(fires,))
    await group.fold(alert("n", 5, seen_ms=T0 + 5000, severity=INFO), at=5000, seed=closed)
    storm = await group.look(at=6000)
    assert (storm.epoch, storm.total, storm.firing, storm.severity) == (2, 1, 2, CRITICAL.rank)
