"""What all tiers share: markers by folder, the word about what ran, and a server to fold into."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from tests.harness.redis_proxy import RedisProxy
from tests.harness.redis_servers import found_servers, redis_required

from lab.valkey import Valkey

HERE = Path(__file__).parent
TIERS = {
    "unit": "pure functions; no I/O",
    "redis": "the scripts and their client on real servers",
    "api": "the operator as a process, on a real API server",
    "e2e": "the image on a real cluster",
}

# How long an example takes says what else the machine does.
settings.register_profile("stormfold", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("stormfold")

# Nothing here may act on the cluster or the Redis of whoever runs the tests.
for name in [
    n for n in os.environ if n == "KUBECONFIG" or (n.startswith("STORMFOLD_") and n != "STORMFOLD_CACHE")
]:
    del os.environ[name]
os.environ["KUBECONFIG"] = os.devnull


def pytest_configure(config: pytest.Config) -> None:
    """Register one marker for each folder of tests, and the one of those that measure a time."""
    config.addinivalue_line("markers", "timed: says how long something may take; run when little else runs")
    for tier, meaning in TIERS.items():
        config.addinivalue_line("markers", f"{tier}: {meaning}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with the tier whose folder it is in."""
    for item in items:
        tier = item.path.relative_to(HERE).parts[0]
        if tier in TIERS:
            item.add_marker(tier)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say on which servers the Redis tier ran, and on which it did not."""
    reports = [r for rs in terminalreporter.stats.values() for r in rs if isinstance(r, pytest.TestReport)]
    if not any(r.nodeid.startswith("tests/redis/") for r in reports):
        return
    terminalreporter.section("servers of the Redis tier")
    for server, binary in found_servers().items():
        terminalreporter.line(f"ran on {server}: {binary.name}")
    if "redis" not in found_servers():
        verdict = "which is required here" if redis_required() else "so only Valkey was tested"
        terminalreporter.line(f"did NOT run on Redis: redis-server is not on PATH, {verdict}")


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    """An empty embedded Valkey of the test's own."""
    with Valkey() as server:
        yield server


@pytest.fixture
async def redis_proxy(valkey: Valkey) -> AsyncIterator[RedisProxy]:
    """A proxy in front of `valkey`."""
    async with RedisProxy(valkey.port).running() as proxy:
        yield proxy
