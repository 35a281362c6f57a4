"""Servers of the Redis tier: every test that asks for `server` runs on each one that was found."""

from __future__ import annotations

import gc
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.harness.folders import World, running
from tests.harness.folding import CLUSTER, Group
from tests.harness.redis_proxy import RedisProxy
from tests.harness.redis_servers import found_servers
from tests.harness.two_replicas import Bench

from lab.valkey import Valkey, ValkeyCluster
from stormfold.fold.connection import Connection
from stormfold.fold.store import StormStore

SERVERS = [pytest.param(binary, id=name) for name, binary in found_servers().items()]
TURNS = 5
"""Servers that are Redis one after the other, where a test is about fail-overs."""


@pytest.fixture(params=SERVERS)
def server_binary(request: pytest.FixtureRequest) -> Path:
    """The binary of each server in turn."""
    return Path(request.param)


@pytest.fixture
def server(server_binary: Path) -> Iterator[Valkey]:
    """An empty server of the test's own, once for each kind of server."""
    with Valkey(server_binary) as running:
        yield running


@pytest.fixture(scope="session", params=SERVERS)
def running_cluster(request: pytest.FixtureRequest) -> Iterator[ValkeyCluster]:
    """A 3-node cluster, shared by the tests of a worker, once for each kind of server."""
    with ValkeyCluster(3, request.param) as running:
        yield running


@pytest.fixture
def cluster(running_cluster: ValkeyCluster) -> ValkeyCluster:
    """The 3-node cluster, emptied."""
    for node in running_cluster.nodes:
        node.command("FLUSHALL")
        node.command("SCRIPT", "FLUSH")
    return running_cluster


@pytest.fixture(scope="session", params=SERVERS)
def running_server(request: pytest.FixtureRequest) -> Iterator[Valkey]:
    """A server shared by the tests of a worker, once for each kind of server."""
    with Valkey(request.param) as running:
        yield running


@pytest.fixture
def redis(running_server: Valkey) -> Valkey:
    """The shared server, emptied: for tests that leave its settings alone."""
    running_server.command("FLUSHALL")
    return running_server


@pytest.fixture(scope="module", params=SERVERS)
def redis_servers(request: pytest.FixtureRequest) -> Iterator[list[Valkey]]:
    """Some servers that are Redis in turn, once for each kind of server."""
    with ExitStack() as stack:
        yield [stack.enter_context(Valkey(request.param)) for _ in range(TURNS)]


@pytest.fixture
def bench(redis_servers: list[Valkey]) -> Iterator[Bench]:
    """What two replicas of the operator run on."""
    with Bench.on(redis_servers) as bench:
        yield bench


@pytest.fixture
async def connection(redis: Valkey) -> AsyncIterator[Connection]:
    """A connection to `redis`."""
    connection = Connection.from_url(redis.url)
    yield connection
    await connection.close()


@pytest.fixture
def store(connection: Connection) -> StormStore:
    """A store on `redis`."""
    return StormStore(connection, cluster=CLUSTER)


@pytest.fixture
def group(store: StormStore, redis: Valkey) -> Group:
    """A group of which nobody has heard yet."""
    return Group(store, server=redis)


@pytest.fixture
def one_incarnation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every incarnation is called `incarnation`, so that whole values can be compared."""
    monkeypatch.setattr("stormfold.fold.store.token_urlsafe", lambda _: "incarnation")


@pytest.fixture
def forgotten_nodes() -> Iterator[None]:
    """redis-py forgets to close a node of a Cluster that it asked after a MOVED or a failure. It is collected
    with the test that brought that about, or its ResourceWarning fails another one, of any tier."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture
async def world(redis: Valkey) -> AsyncIterator[World]:
    """A folder under a policy, on the shared server."""
    async with running(redis.url) as world:
        yield world


@pytest.fixture
async def proxied(valkey: Valkey, redis_proxy: RedisProxy) -> AsyncIterator[World]:
    """The same behind a proxy of Redis."""
    async with running(redis_proxy.url) as world:
        yield world
