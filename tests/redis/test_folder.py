"""Folder: what it keeps until it is durable, and gives back to a Redis that has lost it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import groupby

import pytest
from tests.harness.eventually import eventually
from tests.harness.folders import GROUP, NOW, POLICY, View, World, alerts, of_alerts, running
from tests.harness.folding import T0, Group, signal, signals
from tests.harness.metrics import sample
from tests.harness.redis_proxy import RedisProxy

from lab.valkey import Valkey
from stormfold.api.conditions import Reason
from stormfold.api.signal import SignalPhase
from stormfold.api.stormpolicy import PolicySpec
from stormfold.fold import queue, storms
from stormfold.fold.folding import encoded
from stormfold.fold.holding import RequestPosition
from stormfold.fold.queue import Lane
from stormfold.fold.replies import CloseWord
from stormfold.fold.scripts import FOLD
from stormfold.model.arrival import Verdict
from stormfold.model.storm import Seed
from stormfold.policy.routing import Routed
from stormfold.policy.version import PolicyVersion


@pytest.fixture
async def world(redis: Valkey) -> AsyncIterator[World]:
    async with running(redis.url) as world:
        yield world


@pytest.fixture
async def proxied(valkey: Valkey, redis_proxy: RedisProxy) -> AsyncIterator[World]:
    async with running(redis_proxy.url) as world:
        yield world


# --- taking in, and the word back


async def test_signal_is_told_once_that_it_is_durable(world: World) -> None:
    await world.submit(*signals(1, 3))
    assert (await world.counted(), world.told, world.expected) == ((1, 3), [], [GROUP.partition])
    assert world.folded_numbers == [1, 2, 3]
    await world.written(1, 2)
    assert world.told == [(1, "storm 1"), (2, "storm 1")]
    await world.written(1, 2)
    await world.written(1, 3)
    assert world.told == [(1, "storm 1"), (2, "storm 1"), (3, "storm 1")]


async def test_signal_that_comes_while_its_request_is_refused_is_told_so_at_once(world: World) -> None:
    await world.submit(signal(1))
    world.folder.delayed(GROUP.group_hash, "no room", lasts=True)
    assert world.delays == [(1, "no room")]
    await world.submit(signal(2))
    assert world.delays == [(1, "no room"), (2, "no room")]
    await world.written(1, 1)
    await world.submit(signal(3))
    assert world.delays == [(1, "no room"), (2, "no room")]


async def test_earlier_request_that_is_heard_of_again_takes_nothing_from_the_storm_that_is_open(
    world: World,
) -> None:
    world.folder.adopt([], [View(RequestPosition(2, "second", 1, ""))])
    world.folder.mark_stale(View(RequestPosition(2, "second", 1, "")), "of nobody")
    world.folder.observed(View(RequestPosition(1, "first", 5, ""), closed=True))
    assert world.folder.storms.is_open(GROUP.group_hash)
    assert world.folder.storms[GROUP.group_hash].stale == "of nobody"
    world.folder.observed(View(RequestPosition(2, "second", 1, ""), closed=True))
    assert not world.folder.storms.is_open(GROUP.group_hash)


async def test_signal_below_the_checkpoint_is_durable_at_once(world: World) -> None:
    await world.store.fence([GROUP.partition], 5)
    await world.submit(signal(5))
    assert (world.told, world.folder.storms.is_open(GROUP.group_hash)) == ([(5, "storm 0")], False)


async def test_signal_of_an_earlier_storm_is_told_no_request_that_is_not_made_yet(world: World) -> None:
    world.request_says(Seed(epoch=1, closed=True, through=2))
    await world.submit(signal(3))
    await world.submit(signal(2))
    assert (await world.counted(), world.told) == ((2, 1), [(2, "storm 1")])


async def test_signal_that_no_policy_governs_is_told_so(world: World) -> None:
    await world.submit(signal(1, namespace="elsewhere"))
    assert world.told == [(1, "no accepted policy governs signal 'PodDown' of namespace 'elsewhere'")]


async def test_burst_is_folded_in_few_calls(proxied: World, redis_proxy: RedisProxy) -> None:
    await proxied.submit(*signals(1, 1000))
    calls = redis_proxy.commands["EVALSHA"] + redis_proxy.commands["EVAL"] - 1
    assert (await proxied.counted(), calls) == ((1, 1000), 4)


async def test_namespace_without_room_is_named_and_another_one_is_taken(
    redis: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "MAX_HELD", 4)
    async with running(redis.url) as world:
        assert [await world.take(signal(version)) for version in (1, 2, 3)] == [None, None, "shop"]
        assert await world.take(replace(signal(4), namespace="ops")) is None
        await world.idle()
        assert await world.counted() == (1, 2)
        await world.written(1, 1)
        assert [world.folder.capacity(namespace) for namespace in ("shop", "ops", "dev")] == [1, 1, 1]
        assert await world.take(signal(3)) is None
        await world.idle()
        assert await world.counted() == (1, 3)


async def test_signal_waits_behind_others_of_its_namespace(world: World) -> None:
    assert await world.take(signal(1), {"shop"}.__contains__) == "shop"
    assert await world.take(signal(1), {"ops"}.__contains__) is None


async def test_alerts_beyond_the_room_are_given_back(redis: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "MAX_HELD", 4)
    async with running(redis.url) as world:
        mine, others = world.through(*signals(1, 3)), world.through(replace(signal(4), namespace="ops"))
        assert world.folder.offer(mine + others) == mine[2:]
        await world.idle()
        assert await world.counted() == (1, 2)


def test_groups_take_turns_in_a_lane() -> None:
    lane = Lane()
    of = {
        name: Routed(arrival, arrival, POLICY.group(arrival), POLICY)
        for name in "ab"
        for arrival in [replace(signal(1), name=name)]
    }
    for name in "a" * 300 + "b":
        lane.add(of[name])
    assert [(name, len(list(run))) for name, run in groupby(it.arrival.name for it in lane.take(256))] == [
        ("a", 32),
        ("b", 1),
        ("a", 223),
    ]
    assert (len(lane.take(256)), lane.waiting) == (45, {})


async def test_full_redis_stops_the_folding_until_there_is_room(world: World) -> None:
    world.folder.memory_full(True)
    await world.take(signal(1))
    lane_ran = asyncio.create_task(world.take(signal(2)))
    await lane_ran
    assert (await world.counted(), world.folder.idle) == ((0, 0), False)
    world.folder.memory_full(False)
    await world.idle()
    assert await world.counted() == (1, 2)


TOO_FEW = Verdict(SignalPhase.DISCARDED, Reason.BELOW_THRESHOLD, "too few")


@pytest.mark.parametrize("lost", [False, True])
async def test_signal_is_folded_as_it_is_when_its_turn_comes(world: World, redis: Valkey, lost: bool) -> None:
    if lost:
        await world.submit(signal(1))
        redis.command("FLUSHALL")
    world.folder.memory_full(True)
    await world.take(signal(2))
    world.renewals = {number: signal(number, "web-renewed") for number in (1, 2)}
    world.folder.memory_full(False)
    await world.idle()
    storm = await world.storm()
    assert storm is not None
    assert [target.name for target, _ in storm.resources] == ["web-renewed"]


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


async def test_signals_that_another_replica_discarded_are_told_and_the_others_folded_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.submit(*signals(1, 2))
    storm = await world.storm()
    assert storm is not None
    await world.store.discard(storm, encoded(TOO_FEW))
    other = Group(world.store, GROUP.group_hash, POLICY.terms)
    await other.fold(signal(9), at=NOW - T0)
    monkeypatch.setattr(storms, "OVERDUE_SECONDS", 0.0)
    world.folder.look_again_at_stale()
    message = "no request was made of its group"
    await eventually(lambda: world.told == [(1, message), (2, message)], what="both are told")
    assert await world.counted() == (1, 1)


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


# --- what no request is to be made of so far

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
        assert world.pendings == [(number, Reason.BELOW_THRESHOLD, BELOW) for number in (1, 2, 3)]
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


# --- what Redis loses


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


# --- a request that is written from an incarnation that Redis has lost since


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


# --- closing


async def test_signal_of_a_closing_storm_waits_and_opens_the_next(world: World) -> None:
    await world.submit(*signals(1, 2))
    frozen = await world.freeze()
    for arrival in signals(3, 4):
        await world.take(arrival)
    await world.written(1, frozen.total)
    assert await world.store.close_storm(frozen) is CloseWord.CLOSED
    world.folder.closed(GROUP.group_hash)
    await world.idle()
    assert await world.counted() == (2, 2)
    await world.written(2, 2)
    assert world.told == [(1, "storm 1"), (2, "storm 1"), (3, "storm 2"), (4, "storm 2")]


async def test_signal_that_waits_for_a_closing_storm_is_kept_through_its_loss(
    proxied: World, redis_proxy: RedisProxy, valkey: Valkey
) -> None:
    await proxied.submit(*signals(1, 2))
    frozen = await proxied.freeze()
    refused = redis_proxy.hold("EVALSHA", FOLD.sha.encode(), when="after")
    await proxied.take(signal(3))
    await refused.arrived.wait()
    refused.release()
    proxied.request_says(Seed(epoch=1, closed=True, through=frozen.through))
    await proxied.written(1, frozen.total)
    valkey.command("FLUSHALL")
    proxied.folder.closed(GROUP.group_hash)
    await proxied.idle()
    assert await proxied.counted() == (2, 1)


async def test_closed_storm_without_waiting_signals_is_forgotten(world: World) -> None:
    await world.submit(signal(1))
    frozen = await world.freeze()
    await world.written(1, 1)
    await world.store.close_storm(frozen)
    world.folder.closed(GROUP.group_hash)
    assert not world.folder.storms.is_open(GROUP.group_hash)


async def test_signal_whose_storm_closed_before_its_answer_came_is_told(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.submit(*signals(1, 2))
    await world.store.close_storm(await world.freeze())
    world.folder.closed(GROUP.group_hash)
    monkeypatch.setattr(storms, "OVERDUE_SECONDS", 0.0)
    world.folder.look_again_at_stale()
    await eventually(lambda: world.told == [(1, "storm 1"), (2, "storm 1")], what="both are durable")
    assert world.folder.storms.is_open(GROUP.group_hash) is False


async def test_signal_of_an_incarnation_that_no_request_held_is_folded_into_the_next_storm(
    world: World, redis: Valkey
) -> None:
    await world.submit(*signals(1, 2))
    redis.command("FLUSHALL")
    # Another replica has continued the storm from an older look, and closed it.
    world.request_says(Seed(epoch=1, closed=True, incarnation="another", total=1, folded=1, through=1))
    world.folder.observed(View(RequestPosition(1, "another", 1, ""), closed=True))
    await world.submit(signal(3))
    assert await world.counted() == (2, 2)
    await world.written(2, 2)
    assert sorted(version for version, _ in world.told) == [1, 2, 3]


# --- Redis that does not answer


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
