"""Helm, for the tests of the chart, and an API server for those of `make deploy`."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.harness import guard
from tests.harness.api import Api, ApiError
from tests.harness.deploying import SECRET
from tests.harness.helm import Helm

from lab.building import ensure_binaries
from lab.controlplane import ControlPlane


@pytest.fixture
def helm(tmp_path: Path) -> Helm:
    """Helm without a cluster."""
    return Helm(tmp_path)


@pytest.fixture(scope="module")
def cluster() -> Iterator[ControlPlane]:
    """An API server of the module's own: other tests would miss the kinds that are taken away here."""
    with ControlPlane(ensure_binaries()) as running:
        guard.own(running.url)
        yield running
        guard.disown(running.url)


@pytest.fixture
async def own_api(cluster: ControlPlane) -> AsyncIterator[Api]:
    """A client of it; no test finds the password of another, which nobody takes away with its namespace
    here."""
    async with Api(cluster) as client:
        with contextlib.suppress(ApiError):
            await client.request("DELETE", SECRET)
        yield client
