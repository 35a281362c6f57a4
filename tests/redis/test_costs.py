"""What a storm costs Redis, counted: commands of a batch, and bytes."""

from __future__ import annotations

import pytest
from benchmarks.store.storms import Storm, policy, storms
from tests.harness.costs import bytes_of, hold
from tests.harness.folding import Group

from lab.valkey import Valkey
from stormfold.fold.arguments import Fold
from stormfold.fold.showing import NOTHING_TOLD, shown
from stormfold.fold.store import StormStore

STORMS = 10
SIGNALS = 20
"""Of each storm in a batch."""
RESOURCES = 25
POLICY = policy(RESOURCES)


def fold_of(storm: Storm, first: int, count: int) -> Fold:
    """The next signals of a storm, each about a pod of its own."""
    arrivals = [storm.signal(pod, first + n) for n, pod in enumerate(storm.pods(count))]
    told = shown(POLICY.showing, NOTHING_TOLD, arrivals)
    return Fold(storm.group.group_hash, POLICY.terms, storm.opening, arrivals, shown=told)


def commands(server: Valkey) -> int:
    """All that the server has done since it was last asked to forget it, scripts' inner commands included."""
    text = str(server.command("INFO", "commandstats"))
    calls = {
        line.partition(":")[0]: int(line.partition("calls=")[2].partition(",")[0])
        for line in text.splitlines()
        if line.startswith("cmdstat_")
    }
    calls.pop("cmdstat_config|resetstat", None)
    return sum(calls.values())


async def test_batch_of_two_hundred_signals_takes_no_more_commands_than_recorded(
    store: StormStore, redis: Valkey
) -> None:
    of = storms(STORMS + 1, POLICY, partition=7)
    await store.fold(7, [fold_of(of.pop(), 1, 1)], now_ms=0)  # the connection and the script are there
    counted = []
    for first in (1000, 2000):
        redis.command("CONFIG", "RESETSTAT")
        await store.fold(7, [fold_of(storm, first, SIGNALS) for storm in of], now_ms=0)
        counted.append(commands(redis))
    hold(redis_commands_of_the_batch_that_opens_10_storms=counted[0])
    hold(redis_commands_of_a_batch_of_200_signals_of_10_storms=counted[1])


async def test_look_at_a_storm_takes_no_more_commands_than_recorded(store: StormStore, redis: Valkey) -> None:
    (storm,) = storms(1, POLICY)
    group = Group(store, storm.group.group_hash, POLICY.terms)
    for repeat in range(2):  # the first one makes the scripts known
        await store.fold(group.partition, [fold_of(storm, 1000 * (1 + repeat), SIGNALS)], now_ms=0)
        redis.command("CONFIG", "RESETSTAT")
        claimed = await group.claim(at=2000 * repeat)
        assert claimed is not None
        await group.ack(claimed, at=2000 * repeat, trim=claimed.through)
    hold(redis_commands_of_a_look_at_a_storm=commands(redis))


@pytest.mark.parametrize("resources", [10, 25, 100])
async def test_storm_takes_no_more_bytes_than_recorded(
    store: StormStore, redis: Valkey, resources: int
) -> None:
    version = policy(resources)
    (storm,) = storms(1, version)
    group = Group(store, storm.group.group_hash, version.terms)
    name = "valkey" if "valkey_version" in str(redis.command("INFO", "server")) else "redis"
    fold = fold_of(storm, 48_000_000, resources)
    await store.fold(group.partition, [fold], now_ms=fold.arrivals[-1].seen_ms)
    untrimmed = bytes_of(redis, group)
    snapshot = await group.look(at=60_000_000)
    await group.ack(snapshot, at=60_000_000, trim=snapshot.through)
    hold(
        **{
            f"bytes_of_a_storm_of_{resources}_resources_on_{name}": bytes_of(redis, group),
            f"bytes_of_a_storm_of_{resources}_resources_before_its_ids_are_trimmed_on_{name}": untrimmed,
        }
    )
