"""Every answer with which Redis refuses, to a script, to commands in a pipeline and to a command alone, of
one server, of one behind a Sentinel and of a Cluster: the class says what to do, and what comes next goes
well."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from tests.harness.eventually import eventually
from tests.harness.folding import CLUSTER, GROUP_HASH
from tests.harness.redis_answers import ANEW, ANSWERS
from tests.harness.redis_proxy import RedisProxy
from tests.harness.values import T0

from lab.process import Server, ServerError, free_port
from lab.valkey import Valkey, ValkeyCluster, embedded_valkey
from stormfold.fold import keys
from stormfold.fold.connection import Connection
from stormfold.fold.errors import StoreConfigError, StoreError, StoreUnavailableError
from stormfold.fold.store import StormStore
from stormfold.model.group import partition

pytestmark = pytest.mark.usefixtures("forgotten_nodes")

NOT_ANSWERED = ("MOVED", "ASK", "NOSCRIPT", "TRYAGAIN", "REDIRECT", "CLUSTERDOWN")
"""redis-py, or the script's own call, takes these up itself: see `test_pipelining`."""
REFUSALS = {words: what for words, what in ANSWERS.items() if not words.startswith(NOT_ANSWERED)}


@asynccontextmanager
async def server() -> AsyncIterator[tuple[str, list[RedisProxy]]]:
    """A URL, and the proxies through which its commands go."""
    with Valkey() as valkey:
        async with RedisProxy(valkey.port).running() as proxy:
            yield proxy.url, [proxy]


@asynccontextmanager
async def sentinel(folder: Path) -> AsyncIterator[tuple[str, list[RedisProxy]]]:
    """The Sentinel knows the primary by the address of the proxy."""
    with Valkey() as primary:
        async with RedisProxy(primary.port).running() as proxy:
            port = free_port()
            config = folder / "sentinel.conf"
            config.write_text(
                f"port {port}\nbind 127.0.0.1\ndir {folder}\nsentinel monitor storms 127.0.0.1 {proxy.port} "
                f"1\n"
            )
            process = Server("sentinel", [embedded_valkey(), config, "--sentinel"], folder / "sentinel.log")
            try:
                yield f"redis+sentinel://127.0.0.1:{port}/storms/0", [proxy]
            finally:
                process.kill()


@asynccontextmanager
async def cluster() -> AsyncIterator[tuple[str, list[RedisProxy]]]:
    """Each node tells others the address of its proxy."""
    nodes = ValkeyCluster(3)
    proxies = [RedisProxy(node.port) for node in nodes.nodes]
    for node, proxy in zip(nodes.nodes, proxies, strict=True):
        node.settings["cluster-announce-port"] = str(proxy.port)
    with nodes:
        async with AsyncExitStack() as stack:
            for proxy in proxies:
                await stack.enter_async_context(proxy.running())
            yield f"redis+cluster://127.0.0.1:{proxies[0].port}", proxies


async def script(connection: Connection) -> object:
    return await StormStore(connection, cluster=CLUSTER).claim(partition(GROUP_HASH), [GROUP_HASH], now_ms=T0)


async def pipeline(connection: Connection) -> object:
    return await StormStore(connection, cluster=CLUSTER).check_owner()


async def single(connection: Connection) -> object:
    async with connection.calling("reading"):
        return await connection.client.execute_command("HGET", keys.checkpoint(3), "cluster")


SHAPES: dict[str, tuple[str, Callable[[Connection], Awaitable[object]]]] = {
    "script": ("EVALSHA", script),
    "pipeline": ("HMGET", pipeline),
    "single": ("HGET", single),
}


async def outcome(
    call: Callable[[Connection], Awaitable[object]], connection: Connection
) -> StoreError | None:
    """How it was refused; None if it was not."""
    try:
        await call(connection)
    except StoreError as error:
        return error
    return None


@pytest.mark.parametrize("kind", ["server", "sentinel", "cluster"])
async def test_refusal_is_known_wherever_it_comes_from(kind: str, tmp_path: Path) -> None:
    where = {"server": server, "sentinel": lambda: sentinel(tmp_path), "cluster": cluster}[kind]
    wrong: list[object] = []
    async with where() as (url, proxies):
        connection = Connection.from_url(url)

        async def answers() -> bool:
            return await outcome(script, connection) is None

        await eventually(answers, what="it answers")
        for shape, (command, call) in SHAPES.items():
            for words, what in REFUSALS.items():
                rules = [proxy.refuse(command, words, times=None) for proxy in proxies]
                error = await outcome(call, connection)
                for proxy, rule in zip(proxies, rules, strict=True):
                    proxy.remove(rule)
                after = await outcome(call, connection)
                said = error.words if error else ""
                # redis-py has left a demoted primary behind a Sentinel by itself, with words of its own.
                by_sentinel = kind == "sentinel" and words.startswith("READONLY")
                if type(error) is not what or not (by_sentinel or (words.endswith(said) and said)) or after:
                    wrong.append((shape, words, error, after))
        await connection.close()
    assert wrong == []


@pytest.mark.parametrize("code", ["MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN"])
async def test_cluster_that_does_not_settle_is_asked_again(code: str) -> None:
    """redis-py follows each of these, a few times."""
    async with cluster() as (url, proxies):
        connection = Connection.from_url(url, timeout_seconds=2)
        assert await outcome(script, connection) is None
        for command, call in SHAPES.values():
            words = (
                f"{code} 3999 127.0.0.1:{proxies[0].port}" if code in {"MOVED", "ASK"} else f"{code} not now"
            )
            rules = [proxy.refuse(command, words, times=None) for proxy in proxies]
            error = await outcome(call, connection)
            for proxy, rule in zip(proxies, rules, strict=True):
                proxy.remove(rule)
            assert isinstance(error, StoreUnavailableError), (command, error)
            assert await outcome(call, connection) is None
        await connection.close()


async def test_connection_to_a_server_that_is_no_primary_any_more_is_left() -> None:
    """The address leads to the new primary, and open sockets still to the old one."""
    with Valkey() as old, Valkey(settings={"replicaof": f"127.0.0.1 {old.port}"}) as new:
        async with RedisProxy(old.port).running() as proxy:
            connection = Connection.from_url(proxy.url)
            store = StormStore(connection, cluster=CLUSTER)
            await store.prove_writes()
            await eventually(lambda: "master_link_status:up" in str(new.command("INFO", "replication")))
            new.command("REPLICAOF", "NO", "ONE")
            old.command("REPLICAOF", "127.0.0.1", new.port)
            proxy.move(new.port)
            await eventually(lambda: "role:slave" in str(old.command("INFO", "replication")))
            with pytest.raises(ANEW, match="READONLY") as caught:
                await store.prove_writes()
            assert caught.value.words.startswith("READONLY ")
            await store.prove_writes()
            await connection.close()


async def test_node_of_a_cluster_behind_a_url_of_one_server_is_named() -> None:
    with ValkeyCluster(3) as nodes:
        connection = Connection.from_url(nodes.url)
        store = StormStore(connection, cluster=CLUSTER)
        with pytest.raises(StoreConfigError, match=r"names a node of a Cluster: write redis\+cluster://$"):
            await store.check_owner()
        await connection.close()


async def test_server_that_takes_no_more_clients_is_asked_again() -> None:
    with Valkey(settings={"maxclients": "1"}) as full:
        first, second = (Connection.from_url(full.url) for _ in range(2))
        await first.check()
        with pytest.raises(StoreUnavailableError) as caught:
            await second.check()
        assert caught.value.words == "max number of clients reached"
        await first.close()
        await eventually(lambda: outcome(lambda it: it.check(), second), lambda error: error is None)
        await second.close()


async def test_script_that_somebody_kills_is_run_again(server: Valkey) -> None:
    server.command("CONFIG", "SET", "busy-reply-threshold", "1")
    connection = Connection.from_url(server.url)

    async def endless(connection: Connection) -> object:
        async with connection.calling("reading"):
            return await connection.client.execute_command("EVAL", "while true do end", "0")

    running = asyncio.create_task(outcome(endless, connection))

    async def killed() -> bool:
        try:
            return server.command("SCRIPT", "KILL") is not None
        except ServerError:
            return False

    await eventually(killed, what="it runs, and is killed")
    error = await running
    assert type(error) is StoreUnavailableError
    assert error.words.startswith("Script killed by user with SCRIPT KILL")
    assert await outcome(script, connection) is None
    await connection.close()


async def test_connection_that_the_server_kills_is_made_again(redis: Valkey) -> None:
    connection = Connection.from_url(redis.url)
    store = StormStore(connection, cluster=CLUSTER)
    await store.prove_writes()
    redis.command("CLIENT", "KILL", "TYPE", "normal")
    error = await outcome(lambda _: store.prove_writes(), connection)
    assert error is None or (type(error), error.words) == (StoreUnavailableError, "")
    await store.prove_writes()
    await connection.close()


async def test_password_that_was_changed_stops_the_next_connection_and_names_the_user(server: Valkey) -> None:
    server.command("ACL", "SETUSER", "folder", "on", ">before", "~sf:*", "+@all")
    connection = Connection.from_url(f"redis://folder:before@127.0.0.1:{server.port}/0")
    store = StormStore(connection, cluster=CLUSTER)
    await store.prove_writes()
    server.command("ACL", "SETUSER", "folder", "resetpass", ">after")
    await store.prove_writes()
    server.command("CLIENT", "KILL", "TYPE", "normal")

    async def refused() -> StoreError | None:
        return await outcome(lambda _: store.prove_writes(), connection)

    error = await eventually(refused, lambda seen: isinstance(seen, StoreConfigError))
    assert "Redis refused the credentials of user 'folder' (WRONGPASS" in str(error)
    await connection.close()
