"""The servers themselves: what the other tests of this tier take for granted."""

from __future__ import annotations

import asyncio
import time

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from tests.harness.eventually import eventually
from tests.harness.redis_proxy import RedisProxy
from tests.harness.redis_servers import found_servers, redis_required

from lab.process import ServerError
from lab.valkey import Valkey, ValkeyCluster


def test_redis_is_found_where_it_is_required() -> None:
    assert "redis" in found_servers() or not redis_required(), "install redis-server, or unset CI and E2E"


def test_restarted_server_is_empty_at_the_same_address(server: Valkey) -> None:
    server.command("SET", "key", "value")
    before = server.url
    server.restart()
    assert (server.url, server.command("GET", "key")) == (before, None)


def test_server_never_evicts(server: Valkey) -> None:
    assert server.command("CONFIG", "GET", "maxmemory-policy") == ["maxmemory-policy", "noeviction"]


def test_server_that_cannot_start_says_why() -> None:
    with pytest.raises(ServerError, match="no-such-setting"):
        Valkey(settings={"no-such-setting": "1"}).start()


def test_cluster_refuses_a_key_of_another_node(cluster: ValkeyCluster) -> None:
    refusals = []
    for node in cluster.nodes:
        try:
            node.command("SET", "key", "value")
        except ServerError as error:
            refusals.append(str(error).split()[0])
    assert refusals == ["MOVED", "MOVED"]


@pytest.fixture
async def client(redis_proxy: RedisProxy) -> Redis:
    return Redis.from_url(redis_proxy.url, retry=Retry(NoBackoff(), 0))


async def test_held_command_reaches_the_server_after_its_release(
    valkey: Valkey, redis_proxy: RedisProxy, client: Redis
) -> None:
    hold = redis_proxy.hold("SET", b"key")
    async with client:
        sent = asyncio.ensure_future(client.set("key", "value"))
        await hold.arrived.wait()
        assert valkey.command("GET", "key") is None
        hold.release()
        assert await sent
    assert valkey.command("GET", "key") == "value"


async def test_reply_held_back_comes_after_the_work_was_done(
    valkey: Valkey, redis_proxy: RedisProxy, client: Redis
) -> None:
    hold = redis_proxy.hold("EVAL", b"SET", when="after")
    async with client:
        sent = asyncio.ensure_future(client.eval("return redis.call('SET', KEYS[1], 'value')", 1, "key"))
        await hold.arrived.wait()
        assert valkey.command("GET", "key") == "value"
        assert not sent.done()
        hold.release()
        assert await sent == b"OK"


async def test_cut_reply_breaks_the_connection_once(
    valkey: Valkey, redis_proxy: RedisProxy, client: Redis
) -> None:
    cut = redis_proxy.cut("INCRBY", when="after")
    async with client:
        with pytest.raises(RedisConnectionError):
            await client.incr("key")
        assert (await client.incr("key"), cut.hits) == (2, 1)


async def test_refused_command_shows_the_error(redis_proxy: RedisProxy, client: Redis) -> None:
    redis_proxy.refuse("SET", "OOM command not allowed")
    async with client:
        with pytest.raises(ResponseError, match="command not allowed"):
            await client.set("key", "value")


async def test_pipelined_commands_each_get_their_own_reply(redis_proxy: RedisProxy, client: Redis) -> None:
    redis_proxy.refuse("GET", "ERR not now", b"second")
    async with client, client.pipeline(transaction=False) as pipeline:
        pipeline.set("first", "1")
        pipeline.hset("hash", mapping={"a": "x" * 100_000})
        pipeline.get("second")
        pipeline.hgetall("hash")
        replies = await pipeline.execute(raise_on_error=False)
    assert replies[:2] == [True, 1]
    assert isinstance(replies[2], ResponseError)
    assert replies[3] == {b"a": b"x" * 100_000}


async def test_disconnected_proxy_refuses_until_it_is_reconnected(
    redis_proxy: RedisProxy, client: Redis
) -> None:
    async with client:
        await client.ping()
        redis_proxy.disconnect()
        with pytest.raises(RedisConnectionError):
            await client.ping()
        redis_proxy.reconnect()
        assert await client.ping()


async def test_eventually_tells_what_was_last_seen() -> None:
    started = time.monotonic()
    with pytest.raises(AssertionError, match=r"not within 0.2 s: a miracle; last seen: 7"):
        await eventually(lambda: 7, lambda seen: seen == 8, within=0.2, what="a miracle")
    assert time.monotonic() - started >= 0.2
