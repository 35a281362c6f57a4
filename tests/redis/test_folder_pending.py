"""Folder: what it keeps of a group of which no request is to be made so far."""

from __future__ import annotations

import time

import pytest
from tests.harness.eventually import eventually
from tests.harness.folders import GROUP, POLICY, World, alerts, running
from tests.harness.folding import signal, signals
from tests.harness.metrics import sample

from lab.valkey import Valkey
from stormfold.api.reasons.signals import SignalReason
from stormfold.api.signal import SignalPhase
from stormfold.api.stormpolicy import PolicySpec
from stormfold.fold import queue, storms
from stormfold.fold.folding import encoded
from stormfold.fold.replies import CloseWord
from stormfold.model.arrival import Verdict
from stormfold.policy.version import PolicyVersion

TOO_FEW = Verdict(SignalPhase.DISCARDED, SignalReason.BELOW_THRESHOLD, "too few")


async def test_discarded_group_tells_all_its_signals_and_is_forgotten(world: World) -> None:
    await world.submit(*signals(1, 2))
    storm = await world.storm()
    assert storm is not None
    assert await world.store.discard(storm, encoded(TOO_FEW)) is CloseWord.CLOSED
    world.folder.released(storm, TOO_FEW)
    assert (world.told, world.folder.storms.is_open(GROUP.group_hash)) == (
        [(1, "too few"), (2, "too few")],
        False,
    )


async def test_signal_that_came_while_its_group_was_discarded_is_told_nothing(world: World) -> None:
    await world.submit(*signals(1, 2))
    storm = await world.storm()
    assert storm is not None
    assert await world.store.discard(storm, encoded(TOO_FEW)) is CloseWord.CLOSED
    await world.submit(signal(3))
    world.folder.released(storm, TOO_FEW)
    assert await world.counted() == (1, 1)
    assert [version for version, _ in world.told] == [1, 2]
    await world.written(1, 1)
    assert world.told[2:] == [(3, "storm 1")]


async def test_holder_of_a_group_asks_what_became_of_it_soon_after_its_window(redis: Valkey) -> None:
    discarding = PolicySpec.model_validate(
        {"groupBy": ["name"], "threshold": {"signals": 5, "within": "1s"}, "belowThreshold": "Discard"}
    )
    async with running(redis.url, PolicyVersion(POLICY.id, POLICY.uid, 1, discarding)) as world:
        await world.submit(signal(1))
        storm = await world.storm()
        assert storm is not None
        await world.store.discard(storm, encoded(TOO_FEW))

        def told() -> bool:
            world.folder.look_again_at_stale()
            return bool(world.told)

        began = time.monotonic()
        await eventually(told, what="it is told")
        assert time.monotonic() - began < storms.OVERDUE_SECONDS / 2


DISCARDING = PolicyVersion(
    POLICY.id,
    POLICY.uid,
    1,
    PolicySpec.model_validate(
        {
            "groupBy": ["name"],
            "threshold": {"signals": 5, "resources": 9, "within": "90s"},
            "belowThreshold": "Discard",
        }
    ),
)
BELOW = (
    "its group is below the threshold of StormPolicy/shop/all (5 signals or 9 resources within 90 s): if it "
    "stays so, the alert is discarded"
)


async def test_pending_alerts_take_no_place_from_others_and_are_told_what_becomes_of_them(
    redis: Valkey,
) -> None:
    async with running(redis.url, DISCARDING) as world:
        free = world.folder.capacity("shop")
        await world.submit(*alerts(1, 3))
        assert world.pendings == [(number, SignalReason.BELOW_THRESHOLD, BELOW) for number in (1, 2, 3)]
        assert (world.folder.capacity("shop"), world.folded_numbers) == (free, [])
        assert not world.folder.storms.can_become_durable()
        await world.submit(*alerts(4, 5))
        assert (world.folder.capacity("shop"), world.folded_numbers) == (free - 2, [4, 5])
        await world.written(1, 5)
        assert [number for number, _ in world.told] == [1, 2, 3, 4, 5]
        assert world.folder.capacity("shop") == free
        assert sample("stormfold_alerts_pending") == sample("stormfold_signals_in_flight") == 0


async def test_signals_below_a_threshold_keep_their_places(redis: Valkey) -> None:
    async with running(redis.url, DISCARDING) as world:
        free = world.folder.capacity("shop")
        await world.submit(*signals(1, 4))
        assert [number for number, _, _ in world.pendings] == [1, 2, 3, 4]
        assert (world.folder.capacity("shop"), world.folded_numbers) == (free - 4, [1, 2, 3, 4])


@pytest.mark.parametrize("room", [100, 4])
async def test_emptied_redis_gets_back_as_many_pending_alerts_as_are_kept(
    redis: Valkey, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    monkeypatch.setattr(queue, "MAX_PENDING", room)
    kept = min(3, room // 2)
    async with running(redis.url, DISCARDING) as world:
        await world.submit(*alerts(1, 3))
        assert len(world.pendings) == 3
        assert sample("stormfold_alerts_pending") == sample("stormfold_signals_in_flight") == kept
        redis.command("FLUSHALL")
        await world.submit(*alerts(4, 4))
        assert await world.counted() == (1, kept + 1)
        await world.submit(*alerts(1, 5))
        storm = await world.storm()
        assert storm is not None
        assert storm.total == 5
        world.observe(1, storm.folded, storm.incarnation)
        assert {number for number, _ in world.told} == {1, 2, 3, 4, 5}
        assert sample("stormfold_alerts_pending") == sample("stormfold_signals_in_flight") == 0


async def test_pending_alerts_are_told_that_their_group_was_discarded(redis: Valkey) -> None:
    async with running(redis.url, DISCARDING) as world:
        await world.submit(*alerts(1, 2))
        storm = await world.storm()
        assert storm is not None
        assert await world.store.discard(storm, encoded(TOO_FEW)) is CloseWord.CLOSED
        world.folder.released(storm, TOO_FEW)
        assert world.told == [(1, "too few"), (2, "too few")]
        assert (sample("stormfold_alerts_pending"), len(list(world.folder.storms))) == (0, 0)
