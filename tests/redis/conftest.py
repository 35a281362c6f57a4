"""Servers of the Redis tier: every test that asks for `server` runs on each one that was found."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.harness.redis_servers import found_servers

from stormfold.demo.valkey import Valkey, ValkeyCluster


@pytest.fixture(params=[pytest.param(binary, id=name) for name, binary in found_servers().items()])
def server_binary(request: pytest.FixtureRequest) -> Path:
    """The binary of each server in turn."""
    return Path(request.param)


@pytest.fixture
def server(server_binary: Path) -> Iterator[Valkey]:
    """An empty server of the test's own, once for each kind of server."""
    with Valkey(server_binary) as running:
        yield running


@pytest.fixture(
    scope="session", params=[pytest.param(binary, id=name) for name, binary in found_servers().items()]
)
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
