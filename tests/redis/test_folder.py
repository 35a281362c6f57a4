"""Folder: what it takes, keeps until it is durable, and tells of it."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby

import pytest
from tests.harness.eventually import eventually
from tests.harness.folders import GROUP, NOW, POLICY, View, World, running
from tests.harness.folding import T0, Group, signal, signals
from tests.harness.redis_proxy import RedisProxy

from lab.valkey import Valkey
from stormfold.api.reasons.signals import SignalReason
from stormfold.api.signal import SignalPhase
from stormfold.fold import queue, storms
from stormfold.fold.folding import encoded
from stormfold.fold.holding import RequestPosition
from stormfold.fold.queue import Lane
from stormfold.fold.replies import CloseWord
from stormfold.fold.scripts import FOLD
from stormfold.model.arrival import Verdict
from stormfold.model.storm import Seed
from stormfold.policy.routing import Routed


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
    assert world.told == [
        (
            1,
            (
                "no policy in force matches signal 'PodDown' of namespace 'elsewhere': add a policy, or "
                "let the match of one select it"
            ),
        )
    ]


async def test_burst_is_folded_in_few_calls(proxied: World, redis_proxy: RedisProxy) -> None:
    proxied.folder.memory_full(True)  # until all of it is there, however slow the machine is
    for arrival in signals(1, 1000):
        await proxied.take(arrival)
    proxied.folder.memory_full(False)
    await proxied.idle()
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


TOO_FEW = Verdict(SignalPhase.DISCARDED, SignalReason.BELOW_THRESHOLD, "too few")


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
    message = "its group got no request"
    await eventually(lambda: world.told == [(1, message), (2, message)], what="both are told")
    assert await world.counted() == (1, 1)


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
