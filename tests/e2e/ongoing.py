"""A storm that does not stop for what a test does in the meantime."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.harness.api import Api
from tests.harness.eventually import eventually
from tests.harness.team import Team

BETWEEN_SECONDS = 0.05
"""The pace of its signals."""
PODS = 10
"""So many pods it is about; each reports again and again, so the request lists all of them."""


@asynccontextmanager
async def going_on(team: Team, api: Api, name: str) -> AsyncIterator[None]:
    """Signals of a name come all the while. It fails as soon as there are two requests or a count goes
    back."""
    ended = asyncio.Event()

    async def report() -> None:
        number = 0
        while not ended.is_set():
            signal = team.next_signal(name)
            signal["spec"]["target"]["name"] = pod = f"{name}-pod-{number % PODS}"
            await api.create(signal)
            team.expect(name, [pod])
            number += 1
            await asyncio.sleep(BETWEEN_SECONDS)

    async def watch() -> None:
        last = 0
        while not ended.is_set():
            totals = await team.totals(name)
            assert len(totals) <= 1, "one request"
            assert sum(totals) >= last, "counts never go back"
            last = sum(totals)
            await asyncio.sleep(BETWEEN_SECONDS)

    async with asyncio.TaskGroup() as group:
        group.create_task(report(), name="report")
        group.create_task(watch(), name="watch")
        await eventually(
            lambda: team.totals(name), lambda totals: totals and totals[0] >= PODS, within=60, what="a storm"
        )
        yield
        ended.set()
