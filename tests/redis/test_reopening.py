"""A group whose request was closed while alerts fired: it opens the next storm by itself, once."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.harness.folding import GROUP_HASH, Group, alert, resolved, signal
from tests.harness.values import T0, TERMS

from lab.valkey import Valkey
from stormfold.fold import keys
from stormfold.fold.arguments import Reopening
from stormfold.fold.replies import AckWord, CloseWord
from stormfold.model.storm import Detected, Seed, Snapshot, State, TrackedAlert
from stormfold.request.deciding import Discard, Reported, decide

AGAIN = Reopening(epoch=1, severity=3)
OPENED = (True, 2, 1, [1])
"""(open, epoch, folded, ordinals) of the answer to who opens it."""
FIRES = TrackedAlert(alert("a").occurrence, T0 // 1000, firing=True)
LISTS_IT = Seed(
    epoch=1, closed=True, incarnation="before", folded=2, through=7, arrived_ms=T0, tracked_alerts=(FIRES,)
)
"""What the closed request says, if Redis has lost it."""


async def closed(group: Group) -> Snapshot:
    """A storm of two alerts that fire and one that has resolved, and a Signal; it is closed 10 ms after
    `T0`."""
    await group.fold(alert("a"), alert("b"), alert("c"), resolved("c"), signal(7))
    return await group.freeze_and_close(at=10)


async def test_group_opens_with_the_alerts_that_still_fire_and_counts_none_of_them(group: Group) -> None:
    await closed(group)
    answer = await group.fold(at=100, reopening=AGAIN)
    assert (answer.open, answer.epoch, answer.folded, answer.ordinals) == OPENED
    assert answer.due_ms == T0 + 100, "a request is to be made at once"
    storm = await group.look(at=100)
    assert (storm.total, storm.firing, storm.resolved, storm.firing_alerts, storm.alerts) == (0, 2, 0, 2, 0)
    assert (storm.still_firing, storm.state, storm.severity, storm.through) == (True, State.OPEN, 3, 7)
    assert not storm.fires_again
    assert (storm.opened_ms, storm.first_ms, storm.last_ms, storm.arrived_ms) == (T0 + 100,) * 4
    assert {one.id for one in storm.tracked_alerts or () if one.firing} == {
        alert("a").occurrence,
        alert("b").occurrence,
    }
    assert (storm.resources, storm.detected, storm.rate_per_minute) == ((), Detected.NO, 0)


async def test_group_is_a_storm_at_once_if_as_many_still_fire(group: Group) -> None:
    await group.fold(*(alert(name) for name in "abcde"))
    await group.freeze_and_close(at=10)
    await group.fold(at=100, reopening=AGAIN)
    storm = await group.look(at=100)
    assert (storm.detected, storm.firing_signals, storm.total) == (Detected.BY_SIGNALS, 5, 0)


async def test_end_waits_for_the_request_of_a_group_that_opens_again_also_below_its_threshold(
    group: Group,
) -> None:
    """It has a request in any case, which is to say that the alert has ended."""
    discarding = replace(group, terms=replace(TERMS, discard=True))
    await closed(group)
    await discarding.fold(at=100, reopening=AGAIN)
    answer = await discarding.fold(alert("a"), resolved("b", seen_ms=T0 + 200), at=200)
    assert (answer.ordinals, answer.undecided) == ([0, 2], None)


async def test_group_opens_once_whoever_tries(group: Group) -> None:
    await closed(group)
    first = await group.fold(at=100, reopening=AGAIN)
    second = await group.fold(at=101, reopening=AGAIN, seed=LISTS_IT)
    assert (second.open, second.epoch, second.incarnation) == (True, 2, first.incarnation)
    assert second.ordinals == []
    assert (await group.look(at=101)).folded == 1


async def test_group_that_has_closed_again_is_left_alone(group: Group) -> None:
    await closed(group)
    await group.fold(at=100, reopening=AGAIN)
    await group.freeze_and_close(at=200)
    answer = await group.fold(at=300, reopening=AGAIN, seed=LISTS_IT)
    assert (answer.open, answer.epoch, answer.ordinals) == (False, 2, [])
    answer = await group.fold(at=300, reopening=replace(AGAIN, epoch=2))
    assert (answer.open, answer.epoch) == (True, 3)


async def test_ends_that_come_after_the_close_are_noted_and_nothing_opens_when_all_have_ended(
    group: Group,
) -> None:
    await closed(group)
    await group.fold(resolved("a", seen_ms=T0 + 20), at=20)
    await group.fold(at=100, reopening=AGAIN)
    storm = await group.look(at=100)
    assert (storm.firing, storm.resolved) == (1, 0)
    await group.freeze_and_close(at=110)
    await group.fold(resolved("b", seen_ms=T0 + 120), at=120)
    answer = await group.fold(at=130, reopening=replace(AGAIN, epoch=2))
    assert (answer.open, answer.epoch, answer.ordinals) == (False, 2, [])


async def test_repeats_feed_a_closed_group_and_what_is_stale_opens_nothing(group: Group) -> None:
    group.terms = replace(TERMS, stale_after_ms=10_000)
    await closed(group)
    await group.fold(alert("a", seen_ms=T0 + 9_000), at=9_000)
    await group.fold(at=18_999, reopening=AGAIN)
    storm = await group.look(at=18_999)
    assert (storm.firing, storm.stale_look_ms) == (1, T0 + 19_000), "b is stale, a was repeated"
    await group.freeze_and_close(at=18_999)
    answer = await group.fold(at=19_000, reopening=replace(AGAIN, epoch=2))
    assert (answer.open, answer.ordinals) == (False, [])


async def test_storm_that_redis_has_lost_opens_with_what_the_closed_request_lists(
    group: Group, redis: Valkey
) -> None:
    await closed(group)
    redis.command("FLUSHALL")
    answer = await group.fold(at=100, reopening=AGAIN, seed=LISTS_IT)
    assert (answer.open, answer.epoch, answer.folded, answer.ordinals) == OPENED
    storm = await group.look(at=100)
    assert (storm.total, storm.firing, storm.firing_alerts, storm.through) == (0, 1, 1, 7)
    assert storm.tracked_alerts == (FIRES,)
    assert (await group.fold(signal(7), signal(8), at=110)).ordinals == [0, 2]


async def test_group_whose_alerts_alone_redis_has_lost_opens_with_what_the_closed_request_lists(
    group: Group, redis: Valkey
) -> None:
    storm = await closed(group)
    redis.command("DEL", keys.before(group.partition, GROUP_HASH))
    seed = replace(LISTS_IT, incarnation=storm.incarnation, folded=storm.folded)
    answer = await group.fold(at=100, reopening=AGAIN, seed=seed)
    assert (answer.open, answer.epoch, answer.folded, answer.ordinals) == OPENED
    storm = await group.look(at=100)
    assert (storm.total, storm.firing, storm.through, storm.tracked_alerts) == (0, 1, 7, (FIRES,))
    again = await group.fold(at=200, reopening=AGAIN, seed=seed)
    assert (again.epoch, again.incarnation, again.ordinals) == (2, answer.incarnation, [])


async def test_group_without_a_word_in_redis_or_of_the_request_opens_nothing(group: Group) -> None:
    answer = await group.fold(at=100, reopening=AGAIN)
    assert (answer.open, answer.epoch, answer.ordinals) == (False, 0, [])


async def test_frozen_storm_whose_request_is_closed_opens_the_next(group: Group) -> None:
    """Who has written the closed request died before Redis heard of it."""
    await group.fold(alert("a"))
    _, frozen = await group.freeze(await group.look(at=0), at=10)
    assert frozen is not None
    seed = replace(LISTS_IT, incarnation=frozen.incarnation, folded=1)
    answer = await group.fold(at=100, reopening=AGAIN, seed=seed)
    assert (answer.open, answer.epoch, answer.folded, answer.ordinals) == OPENED
    assert await group.store.close_storm(frozen) is CloseWord.NEWER_EPOCH
    assert (await group.look(at=110)).firing == 1


async def test_what_comes_next_counts_as_in_any_storm(group: Group) -> None:
    await closed(group)
    await group.fold(at=100, reopening=AGAIN)
    storm = await group.look(at=100)
    assert await group.ack(storm, at=110) is AckWord.ACKED
    answer = await group.fold(
        alert("a", seen_ms=T0 + 120),
        alert("d", 50, seen_ms=T0 + 120),
        resolved("b", seen_ms=T0 + 120),
        at=120,
    )
    assert (answer.epoch, answer.ordinals, answer.written) == (2, [0, 2, 3], 1)
    storm = await group.look(at=120)
    assert (storm.total, storm.firing, storm.resolved, storm.folded) == (1, 2, 1, 3)
    assert storm.first_ms == T0 + 100, "the first that was seen of it"


async def test_group_whose_alerts_end_before_it_has_a_request_is_as_if_it_had_not_opened(
    group: Group,
) -> None:
    await closed(group)
    await group.fold(at=100, reopening=AGAIN)
    await group.fold(resolved("a", seen_ms=T0 + 120), resolved("b", seen_ms=T0 + 120), at=120)
    storm = await group.look(at=130)
    decision = decide(storm, has_request=False, reported=Reported(), now_ms=T0 + 130)
    assert isinstance(decision, Discard)
    assert await group.discard(storm) is CloseWord.CLOSED
    answer = await group.fold(resolved("b", seen_ms=T0 + 140), at=140, reopening=AGAIN)
    assert (answer.open, answer.epoch, answer.ordinals, answer.discarded) == (False, 1, [0], frozenset())
    answer = await group.fold(alert("a", 60, seen_ms=T0 + 150), at=150)
    assert (answer.open, answer.epoch, answer.ordinals) == (True, 2, [1])
    storm = await group.look(at=150)
    assert (storm.total, storm.firing, storm.resolved, storm.still_firing) == (1, 1, 0, False)


async def test_alerts_that_fire_count_anew_when_their_closed_request_was_deleted(group: Group) -> None:
    await closed(group)
    await group.fold(alert("discarded"), at=20)
    await group.discard(await group.look(at=20))
    assert (await group.fold(alert("a"), at=30)).ordinals == [0]
    await group.store.closed.forget_firing(GROUP_HASH, 2)
    assert (await group.fold(alert("a"), at=40)).ordinals == [0], "it is at another epoch"
    await group.store.closed.forget_firing(GROUP_HASH, 1)
    answer = await group.fold(alert("a"), alert("b"), resolved("c"), alert("discarded"), signal(7), at=50)
    assert (answer.open, answer.epoch, answer.ordinals) == (True, 2, [1, 2, 0, 0, 0])
    assert answer.discarded == frozenset({3})
    storm = await group.look(at=50)
    assert (storm.total, storm.firing, storm.resolved, storm.still_firing) == (2, 2, 0, False)
    await group.store.closed.forget_firing(GROUP_HASH, 1)
    assert (await group.fold(alert("a"), alert("b"), at=60)).ordinals == [2, 2], "it is open by now"


@pytest.mark.parametrize("written", [False, True])
async def test_reopened_storm_goes_on_as_such_after_a_loss(
    group: Group, redis: Valkey, written: bool
) -> None:
    await closed(group)
    await group.fold(at=100, reopening=AGAIN)
    storm = await group.look(at=100)
    redis.command("FLUSHALL")
    if written:
        seed = Seed(
            epoch=2,
            closed=False,
            incarnation=storm.incarnation,
            folded=1,
            firing=2,
            opened_ms=T0 + 100,
            tracked_alerts=storm.tracked_alerts or (),
            firing_alerts=2,
            still_firing=True,
        )
        answer = await group.fold(at=200, seed=seed)
        assert (answer.open, answer.epoch, answer.folded, answer.written) == (True, 2, 1, 1)
        assert (await group.look(at=200)).firing_alerts == 2
    else:
        answer = await group.fold(at=200, reopening=AGAIN, seed=LISTS_IT)
        assert (answer.open, answer.epoch, answer.folded, answer.ordinals) == OPENED
    storm = await group.look(at=200)
    assert (storm.group_hash, storm.still_firing, storm.total) == (GROUP_HASH, True, 0)


async def over(group: Group) -> Snapshot:
    """A storm of two alerts that have resolved; it is closed 10 ms after `T0`."""
    await group.fold(alert("a"), alert("b"))
    await group.fold(resolved("a", seen_ms=T0 + 5), resolved("b", seen_ms=T0 + 5), at=5)
    return await group.freeze_and_close(at=10)


async def test_alert_that_fires_again_after_its_request_closed_opens_the_next_and_counts_no_more(
    group: Group,
) -> None:
    """Its start is the old one: what tells Alertmanager of it was cut off for a while."""
    await over(group)
    answer = await group.fold(alert("a", seen_ms=T0 + 100), at=100)
    assert (answer.open, answer.epoch, answer.folded, answer.ordinals) == OPENED
    assert answer.due_ms == T0 + 100, "a request is to be made at once"
    storm = await group.look(at=100)
    assert (storm.total, storm.firing, storm.resolved, storm.firing_alerts) == (0, 1, 0, 1)
    assert (storm.still_firing, storm.fires_again, storm.firing_signals) == (True, True, 1)
    assert storm.detected is Detected.NO
    answer = await group.fold(
        alert("a", seen_ms=T0 + 120), alert("b", seen_ms=T0 + 120), alert("c", seen_ms=T0 + 120), at=120
    )
    assert answer.ordinals == [0, 2, 3], "the first word of it waits for the request"
    storm = await group.look(at=120)
    assert (storm.total, storm.firing, storm.resolved, storm.folded) == (1, 3, 0, 3)


async def test_alerts_that_fire_again_are_a_storm_at_once_if_they_are_as_many(group: Group) -> None:
    names = "abcde"
    await group.fold(*(alert(name) for name in names))
    await group.fold(*(resolved(name, seen_ms=T0 + 5) for name in names), at=5)
    await group.freeze_and_close(at=10)
    discarding = replace(group, terms=replace(TERMS, discard=True))
    await discarding.fold(*(alert(name, seen_ms=T0 + 100) for name in names), at=100)
    storm = await group.look(at=100)
    assert (storm.detected, storm.firing_signals, storm.total) == (Detected.BY_SIGNALS, 5, 0)
    assert (storm.folded, storm.firing, storm.alerts) == (5, 5, 0)


async def test_alert_that_fires_again_beside_a_new_one_is_in_the_same_request(group: Group) -> None:
    await over(group)
    answer = await group.fold(
        alert("c", seen_ms=T0 + 100), alert("a", seen_ms=T0 + 100), resolved("b", seen_ms=T0 + 100), at=100
    )
    assert (answer.open, answer.epoch, answer.folded, answer.ordinals) == (True, 2, 2, [1, 2, 0])
    storm = await group.look(at=100)
    assert (storm.total, storm.firing, storm.resolved, storm.alerts) == (1, 2, 0, 1)


async def test_word_that_is_older_than_the_end_opens_nothing(group: Group) -> None:
    await over(group)
    answer = await group.fold(alert("a", seen_ms=T0 + 4), at=100)
    assert (answer.open, answer.epoch, answer.ordinals) == (False, 1, [0])


async def test_stale_alert_that_is_heard_of_after_its_request_closed_opens_the_next(group: Group) -> None:
    group.terms = replace(TERMS, stale_after_ms=10_000)
    await group.fold(alert("a"))
    assert (await group.look(at=10_000)).stale_alerts == 1
    await group.freeze_and_close(at=10_001)
    answer = await group.fold(alert("a", seen_ms=T0 + 11_000), at=11_000)
    assert (answer.open, answer.epoch, answer.folded, answer.ordinals) == OPENED
    storm = await group.look(at=11_000)
    assert (storm.total, storm.firing, storm.stale_alerts) == (0, 1, 0)


async def test_alert_that_fires_again_opens_the_next_also_if_redis_has_lost_it(
    group: Group, redis: Valkey
) -> None:
    await over(group)
    redis.command("FLUSHALL")
    seed = replace(LISTS_IT, tracked_alerts=(FIRES._replace(firing=False),))
    answer = await group.fold(alert("a", seen_ms=T0 + 100), at=100, seed=seed)
    assert (answer.open, answer.epoch, answer.folded, answer.ordinals) == OPENED
    storm = await group.look(at=100)
    assert (storm.total, storm.firing, storm.still_firing) == (0, 1, True)
