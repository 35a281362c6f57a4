"""fold.lua on alerts of the group's requests before: what they counted stays known."""

from __future__ import annotations

from tests.harness.folding import GROUP_HASH, Group, alert, resolved, signal
from tests.harness.told_alerts import counts
from tests.harness.values import T0

from lab.valkey import Valkey
from stormfold.fold import keys
from stormfold.model.group import partition
from stormfold.model.storm import Seed, TrackedAlert

BEFORE = keys.before(partition(GROUP_HASH), GROUP_HASH)


async def test_alert_of_a_closed_storm_opens_no_other(group: Group, redis: Valkey) -> None:
    await group.fold(alert("a"))
    await group.freeze_and_close(at=10)
    assert 0 < int(str(redis.command("TTL", BEFORE))) <= 24 * 3600
    for report in (alert("a"), alert("a", -5), resolved("a"), resolved("a")):
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


async def test_alert_of_an_old_storm_is_known_as_long_as_there_is_room(group: Group) -> None:
    await group.fold(*(alert(f"old-{number}", seen_ms=T0 - 9_000_000) for number in range(200)))
    await group.fold(*(resolved(f"old-{number}", seen_ms=T0 - 9_000_000) for number in range(200)))
    for epoch in (1, 2, 3):
        await group.freeze_and_close(at=10 * epoch)
        answer = await group.fold(resolved("old-7", seen_ms=T0 - 8_000_000), at=10 * epoch)
        assert (answer.open, answer.epoch, answer.ordinals) == (False, epoch, [0])
        await group.fold(alert("new", 100 * epoch), at=10 * epoch)


async def test_storm_without_alerts_leaves_those_before_it_known(group: Group) -> None:
    await group.fold(alert("a"))
    await group.freeze_and_close(at=10)
    await group.fold(signal(5), at=20)
    await group.freeze_and_close(at=30)
    answer = await group.fold(alert("a"), at=40)
    assert (answer.open, answer.epoch, answer.ordinals) == (False, 2, [0])
