"""Calls that travel together: each has its own answer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import ResponseError
from tests.harness.eventually import eventually
from tests.harness.redis_proxy import RedisProxy

from lab.valkey import Valkey, ValkeyCluster
from stormfold.fold.connection import Connection
from stormfold.fold.errors import StoreUnavailableError

pytestmark = pytest.mark.usefixtures("forgotten_nodes")


def clients(server: Valkey) -> int:
    """How many sockets the server has, but for the one that asks."""
    return str(server.command("CLIENT", "LIST")).count("id=") - 1


async def test_calls_of_one_moment_share_a_socket_and_each_has_its_answer(server: Valkey) -> None:
    connection = Connection.from_url(server.url)
    before = clients(server)
    texts = [f"word {n} ŝ" for n in range(50)]
    answers = await asyncio.gather(*(connection.scripts.execute_command("ECHO", text) for text in texts))
    assert (answers, clients(server) - before) == (texts, 1)
    await connection.close()


async def test_error_of_one_call_is_not_that_of_its_neighbours(server: Valkey) -> None:
    connection = Connection.from_url(server.url)
    calls = (("ECHO", "before"), ("NO-SUCH-COMMAND",), ("ECHO", 7), ("ECHO", b"after"))
    before, error, number, after = await asyncio.gather(
        *(connection.scripts.execute_command(*call) for call in calls), return_exceptions=True
    )
    assert (before, type(error), number, after) == ("before", ResponseError, "7", "after")
    await connection.close()


async def test_caller_that_gives_up_takes_nobody_along(server: Valkey) -> None:
    connection = Connection.from_url(server.url)
    hasty = asyncio.create_task(connection.scripts.execute_command("ECHO", "hasty"))
    patient = asyncio.create_task(connection.scripts.execute_command("ECHO", "patient"))
    await asyncio.sleep(0)
    hasty.cancel()
    assert await patient == "patient"
    assert await connection.scripts.execute_command("ECHO", "later") == "later"
    await connection.close()


async def test_all_that_travel_together_fail_together_and_the_next_do_not(
    valkey: Valkey, redis_proxy: RedisProxy
) -> None:
    connection = Connection.from_url(redis_proxy.url)
    await connection.memory()
    redis_proxy.cut("ECHO", when="before")

    async def echo(text: str) -> object:
        async with connection.calling("echoing"):
            return await connection.scripts.execute_command("ECHO", text)

    answers = await asyncio.gather(echo("one"), echo("two"), return_exceptions=True)
    assert [type(answer) for answer in answers] == [StoreUnavailableError, StoreUnavailableError]
    assert await echo("three") == "three"
    await connection.close()


async def test_whoever_waits_while_the_connection_closes_is_cancelled(
    valkey: Valkey, redis_proxy: RedisProxy
) -> None:
    connection = Connection.from_url(redis_proxy.url)
    await connection.memory()
    redis_proxy.hold("ECHO")
    under_way = asyncio.create_task(connection.scripts.execute_command("ECHO", "under way"))
    await eventually(lambda: redis_proxy.commands["ECHO"], what="it is sent")
    waiting = asyncio.create_task(connection.scripts.execute_command("ECHO", "waiting"))
    await asyncio.sleep(0)
    await connection.close()
    await asyncio.wait((under_way, waiting))
    assert (under_way.cancelled(), waiting.cancelled()) == (True, True)


async def test_name_of_a_command_may_have_two_words(server: Valkey) -> None:
    connection = Connection.from_url(server.url)
    answer = await connection.client.execute_command("CONFIG GET", "maxmemory-policy")
    assert answer == {"maxmemory-policy": "noeviction"}
    await connection.close()


# --- a Cluster

ECHO = "return {KEYS[1], ARGV[1]}"


@pytest.fixture
def own_cluster(server_binary: Path) -> Iterator[ValkeyCluster]:
    """A Cluster whose slots may be moved."""
    with ValkeyCluster(3, server_binary) as running:
        yield running


def to_cluster(cluster: ValkeyCluster, **options: Any) -> Connection:
    return Connection.from_url(
        cluster.url.replace("redis://", "redis+cluster://").removesuffix("/0"), **options
    )


def slot(cluster: ValkeyCluster, key: str) -> int:
    return int(str(cluster.nodes[0].command("CLUSTER", "KEYSLOT", key)))


def place(cluster: ValkeyCluster, key: str) -> int:
    """Which of the nodes has the key; slots are shared out evenly."""
    return slot(cluster, key) * len(cluster.nodes) // 16384


async def echoed(connection: Connection, key: str) -> Any:
    async with connection.calling("echoing"):
        return await connection.scripts.execute_command("EVAL", ECHO, 1, key, f"of {key}")


async def test_calls_to_one_node_share_a_socket_and_each_has_its_answer(cluster: ValkeyCluster) -> None:
    connection = to_cluster(cluster)
    keys = [f"key-{number}" for number in range(50)]
    assert {place(cluster, key) for key in keys} == {0, 1, 2}
    await echoed(connection, keys[0])  # the client learns who has which slot
    before = [clients(node) for node in cluster.nodes]
    answers = await asyncio.gather(*(echoed(connection, key) for key in keys))
    assert answers == [[key, f"of {key}"] for key in keys]
    after = [clients(node) for node in cluster.nodes]
    assert all(now - then <= 1 for now, then in zip(after, before, strict=True)), (before, after)
    await connection.close()


async def test_calls_follow_a_slot_that_has_moved(own_cluster: ValkeyCluster) -> None:
    connection = to_cluster(own_cluster)
    keys = ["moves", *(f"key-{number}" for number in range(20))]
    await echoed(connection, keys[0])
    source = place(own_cluster, "moves")
    target = own_cluster.nodes[(source + 1) % 3]
    target_id = str(target.command("CLUSTER", "MYID"))
    for node in own_cluster.nodes:
        node.command("CLUSTER", "SETSLOT", slot(own_cluster, "moves"), "NODE", target_id)
    answers = await asyncio.gather(*(echoed(connection, key) for key in keys))
    assert answers == [[key, f"of {key}"] for key in keys]
    await connection.close()


async def test_node_that_does_not_answer_holds_up_no_other(cluster: ValkeyCluster) -> None:
    connection = to_cluster(cluster, timeout_seconds=2.0)
    keys = {place(cluster, key): key for key in (f"key-{number}" for number in range(50))}
    await asyncio.gather(*(echoed(connection, key) for key in keys.values()))
    cluster.nodes[1].command("CLIENT", "PAUSE", 4000, "ALL")
    first, silent, last = await asyncio.gather(
        *(echoed(connection, keys[number]) for number in range(3)), return_exceptions=True
    )
    assert [first, last] == [[keys[number], f"of {keys[number]}"] for number in (0, 2)]
    assert isinstance(silent, StoreUnavailableError)

    async def again() -> Any:
        return (await asyncio.gather(echoed(connection, keys[1]), return_exceptions=True))[0]

    await eventually(again, lambda answer: answer == [keys[1], f"of {keys[1]}"], what="it answers again")
    await connection.close()
