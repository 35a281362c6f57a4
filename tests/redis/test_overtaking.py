"""Signals whose storm is over while they wait, or that come again after it; found by `make chaos`."""

from __future__ import annotations

from dataclasses import replace

from tests.harness.folders import View, World
from tests.harness.folding import CLUSTER, Group, alert, signal, signals

from lab.valkey import Valkey
from stormfold.fold.connection import Connection
from stormfold.fold.holding import RequestPosition
from stormfold.fold.store import StormStore
from stormfold.model.arrival import SignalRef
from stormfold.model.storm import Seed


async def test_signals_that_the_closed_request_does_not_hold_go_before_later_ones(
    world: World, redis: Valkey
) -> None:
    """A later one that is counted first raises the floor, and those before it would never be counted."""
    await world.submit(*signals(1, 5))
    redis.command("FLUSHALL")
    world.request_says(Seed(epoch=1, closed=True, incarnation="another", folded=2, through=2))
    world.held = RequestPosition(1, "another", 2, "")
    world.folder.observed(View(world.held, closed=True))
    await world.take(signal(6))
    await world.idle()
    assert await world.counted() == (2, 4)


async def test_edited_signal_of_a_closed_storm_is_known(redis: Valkey) -> None:
    """An edit of metadata raises its resourceVersion above the floor that the storm leaves behind."""
    connection = Connection.from_url(redis.url)
    group = Group(StormStore(connection, cluster=CLUSTER))
    await group.fold(signal(5))
    await group.freeze_and_close(at=10)
    edited = replace(signal(5), ref=SignalRef("shop", "signal-5", "uid-5", 1, 9))
    answer = await group.fold(edited, at=20)
    assert (answer.epoch, answer.open, answer.ordinals) == (1, False, [0])
    answer = await group.fold(signal(10), edited, at=30)
    assert (answer.epoch, answer.folded) == (2, 1)
    assert redis.command("TTL", group.ids_key) == -1
    await connection.close()


async def test_storm_of_alerts_alone_leaves_the_floor_of_the_signals_before_it(redis: Valkey) -> None:
    connection = Connection.from_url(redis.url)
    group = Group(StormStore(connection, cluster=CLUSTER))
    await group.fold(signal(5))
    await group.freeze_and_close(at=10)
    await group.fold(alert("a"), at=20)
    assert (await group.look(at=21)).through == 5
    await group.freeze_and_close(at=30)
    redis.command("DEL", group.ids_key)
    answer = await group.fold(signal(5), at=40)
    assert (answer.epoch, answer.open, answer.ordinals) == (2, False, [0])
    await connection.close()


async def test_signals_of_a_storm_that_another_replica_put_back_to_its_closed_request_go_first(
    world: World,
) -> None:
    """The other replica knew that the request was closed before these were counted; this one has not heard of
    it."""
    await world.submit(*signals(1, 3))
    closed = Seed(epoch=1, closed=True, incarnation="another", folded=1, through=1)
    await world.group.fold(seed=closed, stale=await world.incarnation())
    await world.submit(signal(4))
    assert await world.counted() == (2, 3)
