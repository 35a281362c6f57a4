"""Folder: what it gives back to a Redis that has lost it, hangs, or is full."""

from __future__ import annotations

import asyncio

import pytest
from tests.harness.eventually import eventually
from tests.harness.folders import GROUP, View, World, alerts, of_alerts, running
from tests.harness.folding import T0, signal, signals
from tests.harness.metrics import sample
from tests.harness.redis_proxy import RedisProxy

from lab.valkey import Valkey
from stormfold.fold import storms
from stormfold.fold.scripts import FOLD
from stormfold.model.storm import Seed


async def test_full_redis_stops_the_folding_until_there_is_room(world: World) -> None:
    world.folder.memory_full(True)
    await world.take(signal(1))
    lane_ran = asyncio.create_task(world.take(signal(2)))
    await lane_ran
    assert (await world.counted(), world.folder.idle) == ((0, 0), False)
    world.folder.memory_full(False)
    await world.idle()
    assert await world.counted() == (1, 2)


async def test_emptied_redis_gets_back_what_is_not_durable(world: World, redis: Valkey) -> None:
    await world.submit(*signals(1, 3))
    redis.command("FLUSHALL")
    await world.submit(signal(4))
    assert await world.counted() == (1, 4)
    await world.written(1, 4)
    assert [version for version, _ in world.told] == [1, 2, 3, 4]


async def test_emptied_redis_continues_from_the_request(world: World, redis: Valkey) -> None:
    await world.submit(*signals(1, 5))
    world.request_says(
        Seed(
            epoch=1,
            closed=False,
            incarnation=await world.incarnation(),
            total=3,
            folded=3,
            firing=3,
            through=3,
        )
    )
    await world.written(1, 3)
    redis.command("FLUSHALL")
    await world.submit(signal(6))
    assert await world.counted() == (1, 6)
    await world.written(1, 6)
    assert [version for version, _ in world.told] == [1, 2, 3, 4, 5, 6]


async def test_alert_that_the_write_of_an_earlier_incarnation_holds_is_durable_and_not_counted_again(
    world: World, redis: Valkey
) -> None:
    await world.submit(*alerts(1, 5))
    before = await world.incarnation()
    redis.command("FLUSHALL")
    await world.submit(*alerts(6, 6))
    incarnation = await world.incarnation()
    assert (await world.counted(), world.told) == ((1, 6), [])
    # Of the first incarnation only four were written: its last one was folded after the claim.
    world.request_says(of_alerts(4, before))
    world.observe(1, 4, before)
    assert world.told == [(number, "storm 1") for number in (1, 2, 3, 4)]
    world.mark_stale(incarnation)
    storm = await eventually(world.storm, lambda seen: seen is not None and seen.incarnation != incarnation)
    assert (storm.total, storm.unknown_alerts, storm.origin) == (6, 0, f"{before}:4")
    await world.written(1, 6)
    assert [number for number, _ in world.told] == [1, 2, 3, 4, 5, 6]


async def test_alert_is_durable_whose_earlier_incarnation_is_written_while_it_is_folded_again(
    proxied: World, redis_proxy: RedisProxy, valkey: Valkey
) -> None:
    await proxied.submit(*alerts(1, 3))
    before = await proxied.incarnation()
    valkey.command("FLUSHALL")
    again = redis_proxy.hold("EVALSHA", alerts(1, 1)[0].occurrence.encode(), when="after")
    proxied.folder.look_again(GROUP.group_hash)
    await again.arrived.wait()
    proxied.request_says(of_alerts(3, before))
    proxied.observe(1, 3, before)
    assert proxied.told == []
    again.release()
    await eventually(
        lambda: proxied.told == [(number, "storm 1") for number in (1, 2, 3)], what="all are durable"
    )
    incarnation = await proxied.incarnation()
    proxied.mark_stale(incarnation)
    storm = await eventually(proxied.storm, lambda seen: seen is not None and seen.incarnation != incarnation)
    assert (storm.total, storm.unknown_alerts) == (3, 0)


async def test_more_than_a_batch_is_given_back_in_order(world: World, redis: Valkey) -> None:
    await world.submit(*signals(1, 600))
    redis.command("FLUSHALL")
    await world.submit(*signals(601, 700))
    storm = await world.storm()
    assert storm is not None
    assert (storm.total, storm.through, storm.first_ms) == (700, 700, T0 + 1)
    await world.written(1, 700)
    assert [version for version, _ in world.told] == list(range(1, 701))


async def test_redis_emptied_between_two_batches_gets_both_back(
    proxied: World, redis_proxy: RedisProxy, valkey: Valkey
) -> None:
    await proxied.submit(*signals(1, 300))
    valkey.command("FLUSHALL")
    second_piece = redis_proxy.hold("EVALSHA", signal(300).occurrence.encode())
    await proxied.take(signal(301))
    await second_piece.arrived.wait()
    valkey.command("FLUSHALL")
    second_piece.release()
    await proxied.idle()
    assert await proxied.counted() == (1, 301)


async def test_lost_partition_is_given_back_without_a_new_signal(world: World, redis: Valkey) -> None:
    await world.submit(*signals(1, 3))
    redis.command("FLUSHALL")
    world.folder.partition_lost(GROUP.partition)
    assert await eventually(world.counted, lambda seen: seen != (0, 0)) == (1, 3)


async def test_redis_behind_the_request_is_given_the_storm_back(world: World) -> None:
    await world.submit(*signals(1, 3))
    world.request_says(Seed(epoch=1, closed=False, total=9, folded=9, firing=9, through=20))
    world.mark_stale(await world.incarnation())
    assert await eventually(world.counted, lambda seen: seen != (1, 3)) == (1, 9)
    await eventually(lambda: [version for version, _ in world.told] == [1, 2, 3], what="all are durable")


async def test_redis_with_a_storm_whose_request_is_closed_opens_the_next(world: World) -> None:
    await world.submit(*signals(1, 3))
    world.request_says(Seed(epoch=1, closed=True, through=2))
    world.mark_stale(await world.incarnation())
    await eventually(world.counted, lambda seen: seen == (2, 1), what="one opens the next")
    await eventually(lambda: world.told == [(1, "storm 1"), (2, "storm 1")], what="two are durable")


async def test_what_is_in_flight_for_long_is_folded_again(
    world: World, redis: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.submit(*signals(1, 3))
    redis.command("FLUSHALL")
    world.folder.look_again_at_stale()
    assert await world.counted() == (0, 0)
    monkeypatch.setattr(storms, "OVERDUE_SECONDS", 0.0)
    world.folder.look_again_at_stale()
    assert await eventually(world.counted, lambda seen: seen != (0, 0)) == (1, 3)


async def test_storm_of_a_request_found_at_start_is_given_back(world: World) -> None:
    world.request_says(Seed(epoch=4, closed=False, total=9, folded=9, firing=9, through=20))
    world.folder.adopt([], [View()])
    assert await eventually(world.counted, lambda seen: seen != (0, 0)) == (4, 9)
    assert world.folder.storms.is_open(GROUP.group_hash)


async def test_signals_wait_for_a_redis_that_is_away(proxied: World, redis_proxy: RedisProxy) -> None:
    await proxied.submit(signal(1))
    redis_proxy.disconnect()
    await proxied.take(signal(2))
    before = sample("stormfold_fold_errors_total", reason="unavailable")
    await eventually(
        lambda: sample("stormfold_fold_errors_total", reason="unavailable") > before, what="a fold has failed"
    )
    redis_proxy.reconnect()
    await proxied.idle()
    assert await proxied.counted() == (1, 2)


async def test_fold_whose_answer_was_cut_off_counts_once(proxied: World, redis_proxy: RedisProxy) -> None:
    await proxied.submit(signal(1))
    cut = redis_proxy.cut("EVALSHA", FOLD.sha.encode(), when="after")
    await proxied.submit(signal(2), signal(3))
    assert (await proxied.counted(), cut.hits) == ((1, 3), 1)
    await proxied.written(1, 3)
    assert [version for version, _ in proxied.told] == [1, 2, 3]


async def test_signals_wait_for_room_in_a_full_redis(server: Valkey) -> None:
    async with running(server.url) as world:
        await world.submit(signal(1))
        server.command("CONFIG", "SET", "maxmemory", "1")
        await world.take(signal(2))
        before = sample("stormfold_fold_errors_total", reason="full")
        await eventually(
            lambda: sample("stormfold_fold_errors_total", reason="full") > before, what="a fold was refused"
        )
        server.command("CONFIG", "SET", "maxmemory", "0")
        await world.idle()
        assert await world.counted() == (1, 2)
