"""Groups of thousands of alerts that fire: those for which Redis has no room, one by one, are not hidden."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from tests.harness.folding import Group, alert, resolved
from tests.harness.values import T0

from stormfold.fold.arguments import Reopening
from stormfold.fold.replies import Folded
from stormfold.model.arrival import Arrival
from stormfold.model.limits import KNOWN_ALERTS
from stormfold.model.storm import Seed

AGAIN = Reopening(epoch=1, severity=3)


def names(number: int, first: int = 0) -> list[str]:
    return [f"alert-{n}" for n in range(first, first + number)]


async def post(
    group: Group, report: Callable[..., Arrival], of: Sequence[str], *, at: int = 0, starts: int = 0
) -> Folded:
    """Post a report of each, 256 in a call; gives the last answer."""
    for first in range(0, len(of), 256):
        reports = (report(name, starts, seen_ms=T0 + at) for name in of[first : first + 256])
        answer = await group.fold(*reports, at=at)
    return answer


async def carried(group: Group, *, at: int) -> set[str]:
    """Ids of the alerts that fire in the open storm and are known one by one."""
    storm = await group.look(at=at)
    return {one.id for one in storm.tracked_alerts or () if one.firing}


async def test_group_opens_again_with_all_alerts_that_are_known(group: Group) -> None:
    await post(group, alert, names(KNOWN_ALERTS))
    await group.freeze_and_close(at=10)
    await group.fold(at=100, reopening=AGAIN)
    storm = await group.look(at=100)
    assert (storm.firing, storm.firing_alerts, storm.known_alerts) == (KNOWN_ALERTS,) * 3


async def test_alerts_that_ended_lately_take_no_room_from_those_that_fire(group: Group) -> None:
    ended, firing = names(900), names(3196, first=900)
    await post(group, alert, ended + firing)
    await post(group, resolved, ended, at=5)
    await group.freeze_and_close(at=10)
    await group.fold(at=100, reopening=AGAIN)
    storm = await group.look(at=100)
    assert (storm.firing_alerts, storm.known_alerts) == (3196, 3196)


async def test_alerts_for_which_a_storm_had_no_room_open_the_next_when_they_are_repeated(
    group: Group,
) -> None:
    """What opened the storm took places of those that fire on."""
    old, new = names(KNOWN_ALERTS), names(200, first=KNOWN_ALERTS)
    await post(group, alert, old)
    await group.freeze_and_close(at=10)
    await post(group, alert, new, at=100)
    here = await carried(group, at=100)
    left = [name for name in old if alert(name).occurrence not in here]
    assert len(left) == 200
    await post(group, resolved, [name for name in old + new if name not in left], at=200)
    assert (await group.look(at=300)).firing_alerts == 0, "so it closes for quiet"
    await group.freeze_and_close(at=400)
    answer = await post(group, alert, left, at=500)
    assert (answer.open, answer.epoch) == (True, 3), "200 alerts that fire are in no request"
    assert (await group.look(at=500)).firing_alerts == 200


async def test_alert_that_redis_alone_knows_to_fire_opens_the_next_when_it_is_repeated(
    group: Group,
) -> None:
    """A request lists a thousand. Redis has lost its last words, and is continued from that."""
    await group.fold(alert("a"))
    await group.freeze_and_close(at=10)
    lists_others = Seed(epoch=2, closed=False, incarnation="lost", total=1, folded=1, opened_ms=T0, alerts=1)
    await group.fold(at=100, seed=lists_others)
    assert (await group.freeze_and_close(at=200)).firing_alerts == 0
    answer = await group.fold(alert("a", seen_ms=T0 + 300), at=300)
    assert (answer.open, answer.epoch, answer.folded) == (True, 3, 1)


@pytest.fixture
async def over(group: Group) -> list[str]:
    """Alerts beyond those that are known, which fire alone in a closed storm."""
    beyond = names(104, first=KNOWN_ALERTS)
    await post(group, alert, names(KNOWN_ALERTS))
    await post(group, alert, beyond)
    await post(group, resolved, names(KNOWN_ALERTS), at=5)
    closed = await group.freeze_and_close(at=10)
    assert closed.firing_alerts == 104, "those that the closed request says to fire"
    return beyond


async def test_alerts_beyond_those_that_are_known_wait_until_their_group_is_to_open_again(
    group: Group, over: list[str]
) -> None:
    answer = await post(group, alert, over, at=50)
    assert not answer.open
    assert not (await group.fold(at=100, reopening=AGAIN)).open, "Redis knows none of them"
    answer = await post(group, alert, over, at=200)
    assert (answer.open, answer.epoch, answer.folded) == (True, 2, 104)
    assert (await group.look(at=200)).firing_alerts == 104


async def test_alerts_beyond_those_that_are_known_open_the_group_after_a_storm_that_did_not_have_them(
    group: Group, over: list[str]
) -> None:
    await group.fold(alert("new", 60, seen_ms=T0 + 100), at=100)
    await post(group, alert, over, at=110)
    assert (await group.look(at=110)).firing_alerts == 1
    await group.fold(resolved("new", 60, seen_ms=T0 + 120), at=120)
    assert (await group.look(at=130)).firing_alerts == 0, "so it closes for quiet"
    await group.freeze_and_close(at=140)
    answer = await post(group, alert, over, at=200)
    assert (answer.open, answer.epoch, answer.folded) == (True, 3, 104)
