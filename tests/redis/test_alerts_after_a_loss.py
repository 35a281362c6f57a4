"""fold.lua after Redis has lost its data: the alerts that a request lists count no more."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.harness.folding import GROUP_HASH, Group, alert, resolved, signal
from tests.harness.told_alerts import FIRED, WITH_ALERTS, counts, firing_alerts

from lab.valkey import Valkey
from stormfold.fold import keys
from stormfold.fold.replies import AckWord, CloseWord
from stormfold.model.storm import Seed
from stormfold.request.deciding import exact


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
