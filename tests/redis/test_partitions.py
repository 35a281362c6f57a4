"""The 64 partitions: whose they are, what was lost, and that each lives on one node of a Cluster."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from redis.exceptions import RedisError
from tests.harness.folding import CLUSTER, OPENED, T0, Group, signal, signals

from lab.process import ServerError
from lab.valkey import Valkey, ValkeyCluster
from stormfold.fold import keys, scripts
from stormfold.fold.connection import Connection
from stormfold.fold.errors import StoreConfigError, StoreError, store_errors
from stormfold.fold.replies import AckWord, CloseWord, FoldWord
from stormfold.fold.store import StormStore
from stormfold.model.group import PARTITIONS

ALL = range(PARTITIONS)


def groups_on(store: StormStore) -> list[Group]:
    """One group in each partition."""
    return [Group(store, f"{number:016x}") for number in ALL]


# --- one server


async def test_partitions_without_our_mark_are_lost(store: StormStore, redis: Valkey) -> None:
    assert (await store.sweep(now_ms=T0)).lost == frozenset(ALL)
    await store.fence(ALL, 0)
    assert (await store.sweep(now_ms=T0)).lost == frozenset()
    redis.command("DEL", keys.checkpoint(7))
    assert (await store.sweep(now_ms=T0)).lost == frozenset({7})


async def test_sweep_finds_what_is_due_the_earliest_first(store: StormStore) -> None:
    late, early, not_yet = (Group(store, f"{number:015x}7") for number in (0, 4, 8))
    other = Group(store, f"{1:016x}")
    await late.fold(signal(1), at=20)
    await early.fold(signal(2), at=10)
    await not_yet.fold(signal(3), at=30)
    await other.fold(signal(4), at=0)
    expected = {1: [other.group_hash], 7: [early.group_hash, late.group_hash]}
    assert (await store.sweep(now_ms=T0 + 1020)).due == expected
    assert await store.due([1, 7, 8], now_ms=T0 + 1020) == expected
    assert await store.open_groups() == {
        late.group_hash,
        early.group_hash,
        not_yet.group_hash,
        other.group_hash,
    }


async def test_storms_of_another_cluster_are_refused(store: StormStore, connection: Connection) -> None:
    await store.fence([7], 10)
    stranger = StormStore(connection, cluster="another")
    with pytest.raises(StoreConfigError) as raised:
        await stranger.fence(ALL, 99)
    assert str(raised.value) == (
        f"Redis holds the storms of another cluster ({CLUSTER}): give each cluster its own database or server"
    )
    assert (await store.sweep(now_ms=T0)).lost == frozenset(ALL) - {7}, "nothing was marked"


async def test_partition_without_the_checkpoint_is_lost_to_who_fenced_it(
    store: StormStore, redis: Valkey
) -> None:
    await store.fence(ALL, 10)
    assert (await store.sweep(now_ms=T0, fenced=True)).lost == frozenset()
    redis.command("HDEL", keys.checkpoint(7), "signals")
    assert (await store.sweep(now_ms=T0, fenced=True)).lost == frozenset({7})
    assert (await store.sweep(now_ms=T0)).lost == frozenset()


# --- a Cluster


@pytest.fixture
async def cluster_connection(cluster: ValkeyCluster) -> AsyncIterator[Connection]:
    connection = Connection.from_url(cluster.url.replace("redis://", "redis+cluster://"))
    yield connection
    await connection.close()


@pytest.fixture
def cluster_store(cluster_connection: Connection) -> StormStore:
    return StormStore(cluster_connection, cluster=CLUSTER)


async def test_cluster_passes_the_check(cluster_connection: Connection, cluster_store: StormStore) -> None:
    await cluster_connection.check()
    assert (await cluster_store.memory()).ratio == 0.0


async def test_cluster_of_which_one_node_evicts_is_refused(
    cluster: ValkeyCluster, cluster_connection: Connection
) -> None:
    cluster.nodes[1].command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    try:
        with pytest.raises(StoreConfigError, match="maxmemory-policy is allkeys-lru"):
            await cluster_connection.check()
    finally:
        cluster.nodes[1].command("CONFIG", "SET", "maxmemory-policy", "noeviction")


@pytest.mark.usefixtures("one_incarnation")
async def test_every_partition_of_a_cluster_holds_a_storm_from_opening_to_closing(
    cluster: ValkeyCluster, cluster_store: StormStore
) -> None:
    await cluster_store.fence(ALL, 0)
    groups = groups_on(cluster_store)
    for group in groups:
        assert (await group.fold(signal(1))).ordinals == [1]
    sizes = [node.command("DBSIZE") for node in cluster.nodes]
    assert 0 not in sizes
    sweep = await cluster_store.sweep(now_ms=T0 + 1000)
    assert (sweep.due, sweep.lost) == ({group.partition: [group.group_hash] for group in groups}, frozenset())
    assert await cluster_store.open_groups() == {group.group_hash for group in groups}
    for group in groups:
        storm = await group.claim(at=1000)
        assert storm == replace(OPENED, group_hash=group.group_hash)
        assert await group.ack(storm, at=1000, trim=1) is AckWord.ACKED
        assert (await group.fold(signal(1), known=(1, 1))).ordinals == [0]
        assert (await group.freeze_and_close(at=2000)).total == 1
        assert (await group.fold(signal(2), at=3000)).epoch == 2
        assert await group.discard(await group.look(at=3000)) is CloseWord.CLOSED
    assert await cluster_store.open_groups() == set()


async def test_many_resources_and_instances_stay_on_the_node_of_their_partition(
    cluster_store: StormStore,
) -> None:
    group = Group(cluster_store)
    await group.fold(*signals(1, 200))
    storm = await group.look(at=10)
    assert (storm.total, storm.firing, storm.truncated) == (200, 200, True)


async def test_emptied_node_loses_its_partitions_only(
    cluster: ValkeyCluster, cluster_store: StormStore
) -> None:
    await cluster_store.fence(ALL, 0)
    groups = groups_on(cluster_store)
    for group in groups:
        await group.fold(signal(1))
    cluster.nodes[0].command("FLUSHALL")
    lost = (await cluster_store.sweep(now_ms=T0)).lost
    assert 0 < len(lost) < PARTITIONS
    words = {group.partition: (await group.fold(signal(2), known=(1, 1))).word for group in groups}
    assert {number for number, word in words.items() if word is FoldWord.LOST} == lost


async def test_scripts_forgotten_by_one_node_are_sent_again(
    cluster: ValkeyCluster, cluster_store: StormStore
) -> None:
    groups = groups_on(cluster_store)
    for group in groups:
        await group.fold(signal(1))
    cluster.nodes[2].command("SCRIPT", "FLUSH")
    totals = [(await group.fold(signal(2), known=(1, 1))).folded for group in groups]
    assert totals == [2] * PARTITIONS


async def test_call_with_keys_of_two_partitions_is_refused(cluster_connection: Connection) -> None:
    mixed = [keys.storm(1, "a"), keys.due(2), keys.ids(1, "a"), keys.checkpoint(1), keys.evidence(1, "a")]
    mixed.append(keys.seen(1, T0))
    with pytest.raises(StoreError), store_errors("settling"):
        await scripts.ACK(cluster_connection.client, mixed, ["a", 1, 1, 1, 0, T0, T0, "0", 0, 0, 0, ""])


async def test_node_that_owns_both_slots_refuses_a_script_that_touches_two(cluster: ValkeyCluster) -> None:
    (number, other), node = two_partitions_of_a_node(cluster)
    body = (
        "#!lua\nredis.call('SET', KEYS[1], '1')\n"
        f"redis.call('SET', '{keys.due(other)}', '1')\nreturn 'both'\n"
    )
    with pytest.raises(ServerError, match=r"non local key|another slot|different slot|same slot"):
        node.command("EVAL", body, 1, keys.due(number))
    assert node.command("EXISTS", keys.due(other)) == 0


def two_partitions_of_a_node(cluster: ValkeyCluster) -> tuple[tuple[int, int], Valkey]:
    """Two partitions, and the node that has both."""
    node = cluster.nodes[0]
    mine = []
    for number in ALL:
        try:
            node.command("GET", keys.opening(number, "a"))
        except ServerError:
            continue
        mine.append(number)
    return (mine[0], mine[1]), node


async def test_client_says_what_it_refuses(cluster_connection: Connection) -> None:
    with pytest.raises(RedisError, match="slot"):
        await cluster_connection.client.execute_command(
            "EVAL", "#!lua\nreturn 1", 2, keys.due(1), keys.due(2)
        )
