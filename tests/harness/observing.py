"""Observing: watches gates and requests, and tells an observer of each of their versions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

import aiohttp
from tests.harness.api import Api, ApiError, Manifest
from tests.harness.cluster import OPERATOR_NAMESPACE
from tests.harness.eventually import eventually
from tests.harness.verdicts import Observer

KINDS = ("StormGate", "RemediationRequest")
AGAIN_SECONDS = 0.1
REFUSED = (OSError, TimeoutError, aiohttp.ClientError, ApiError)
"""What an API server that is being restarted answers."""


class Sees(Protocol):
    """Who is told."""

    def seen(self, event: Manifest, at: float, *, listed: bool = False) -> None:
        """A change as a watch tells it, or an object of a list."""

    def gone(self, uid: str, number: int, at: float) -> None:
        """A list of that resourceVersion does not have the object."""


async def observe(api: Api, observer: Sees, kind: str, namespace: str | None = None) -> None:
    """Tell it of all objects of a kind, and of each change, for ever."""
    version, there = "", dict[str, Manifest]()
    while True:
        try:
            if not version:
                items, version = await api.listed(kind, namespace)
                _listed(observer, items, version, there)
            async for event in api.watch(kind, version, namespace):
                observer.seen(event, time.time())
                metadata = event["object"]["metadata"]
                version = metadata["resourceVersion"]
                if event["type"] == "DELETED":
                    there.pop(metadata["uid"], None)
                else:
                    there[metadata["uid"]] = metadata
        except ApiError as error:
            if error.status == 410:
                version = ""
            await asyncio.sleep(AGAIN_SECONDS)
        except REFUSED:
            await asyncio.sleep(AGAIN_SECONDS)


def _listed(observer: Sees, items: Sequence[Manifest], version: str, there: dict[str, Manifest]) -> None:
    now, kept = time.time(), {item["metadata"]["uid"]: item["metadata"] for item in items}
    for item in items:
        observer.seen({"type": "MODIFIED", "object": item}, now, listed=True)
    for uid in there.keys() - kept.keys():
        observer.gone(uid, int(version), now)
    there.clear()
    there.update(kept)


async def caught_up(api: Api, observer: Observer) -> None:
    """Wait until the observer knows all that there is."""
    for kind in KINDS:
        items, _ = await api.listed(kind)
        wanted = [(item["metadata"]["uid"], int(item["metadata"]["resourceVersion"])) for item in items]
        await eventually(
            lambda wanted=wanted: all(observer.known(*one) for one in wanted), what=f"each {kind} is seen"
        )


@asynccontextmanager
async def observing(api: Api) -> AsyncIterator[Observer]:
    """An observer that sees all that happens within the block."""
    observer = Observer(OPERATOR_NAMESPACE)
    watching = [asyncio.create_task(observe(api, observer, kind), name=f"observe {kind}") for kind in KINDS]
    try:
        yield observer
        await caught_up(api, observer)
    finally:
        for task in watching:
            task.cancel()
        await asyncio.wait(watching)
