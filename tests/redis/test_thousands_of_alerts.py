"""fold.lua on thousands of alerts: those beyond the ones that are known one by one count once, too."""

from __future__ import annotations

from collections.abc import Callable

from tests.harness.folding import GROUP_HASH, Group, alert, resolved

from lab.valkey import Valkey
from stormfold.fold import keys
from stormfold.model.arrival import Arrival
from stormfold.model.group import partition
from stormfold.model.storm import Snapshot

ALERTS = keys.alerts(partition(GROUP_HASH), GROUP_HASH)


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
