"""fold.lua on alerts: a claimed storm tells which ones it has, until its request holds them."""

from __future__ import annotations

from dataclasses import replace

from tests.harness.folding import GROUP_HASH, Group, alert, resolved, signal
from tests.harness.values import T0

from stormfold.model.storm import TrackedAlert


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


async def test_alerts_are_told_also_at_the_close_if_no_request_is_there_that_holds_them(group: Group) -> None:
    await group.fold(alert("a"))
    await group.ack(await group.look(at=0), at=10)
    fires = (TrackedAlert(alert("a").occurrence, T0 // 1000, firing=True),)
    storm = await group.look(at=20)
    assert storm.tracked_alerts is None
    frozen = (await group.freeze(storm, at=20))[1]
    assert frozen is not None
    assert frozen.tracked_alerts is None
    await group.store.make_due([GROUP_HASH], now_ms=T0 + 30)
    [storm] = await group.store.claim(
        group.partition, [GROUP_HASH], now_ms=T0 + 30, without_request={GROUP_HASH}
    )
    assert storm.tracked_alerts == fires
    frozen = (await group.freeze(storm, at=30))[1]
    assert frozen is not None
    assert frozen.tracked_alerts == fires


async def test_groups_whose_storm_was_written_into_a_request_are_told(group: Group) -> None:
    other = replace(group, group_hash="00000000000000b8")
    await group.fold(alert("a"))
    await other.fold(alert("a"))
    asked = [other.group_hash, GROUP_HASH, "00000000000000c9"]
    assert await group.store.with_request(asked) == []
    await group.ack(await group.look(at=0), at=10)
    assert await group.store.with_request(asked) == [GROUP_HASH]


async def test_a_thousand_that_had_resolved_lately_are_known_to_the_next_request(group: Group) -> None:
    for first in range(0, 1000, 200):
        for report in (alert, resolved):
            await group.fold(*(report(f"alert-{number}") for number in range(first, first + 200)))
    await group.freeze_and_close(at=10)
    await group.fold(signal(5), at=20)
    assert len((await group.look(at=20)).tracked_alerts or ()) == 1000
