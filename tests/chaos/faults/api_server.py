"""Faults of the API server: it goes away, refuses, contradicts, and ends watches."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass

import aiohttp
from tests.chaos.accounting import Accounting
from tests.chaos.faults.fault import API, Fault
from tests.chaos.world import ChaosWorld
from tests.harness.api_proxy import Rule


class OnApi(Fault):
    """A fault of the API server as all operators see it."""

    keeps_from_deciding = True

    @property
    def subjects(self) -> tuple[str, ...]:
        """See `Fault`."""
        return (API,)


class ApiServerKilled(OnApi):
    """SIGKILL, and it comes back."""

    kind = "API server killed"

    async def inject(self, world: ChaosWorld, accounting: Accounting) -> None:
        """See `Fault`."""
        await asyncio.to_thread(world.control_plane.kill_apiserver)
        await asyncio.sleep(self.seconds)
        await asyncio.to_thread(world.control_plane.start_apiserver)


@dataclass(frozen=True)
class ApiAnswers(OnApi):
    """Some requests are answered by an error: before they were carried out, or although they were."""

    kind = "API answers 429, 500, 503, or none"
    status: int
    """0: the connection is cut instead of an answer."""
    carried_out: bool

    @property
    def detail(self) -> str:
        """See `Fault`."""
        return f"{self.status or 'cut'} {'after' if self.carried_out else 'before'}, {self.seconds:.1f} s"

    async def inject(self, world: ChaosWorld, accounting: Accounting) -> None:
        """See `Fault`."""
        proxy, when = world.api_proxy, "after" if self.carried_out else "before"
        if self.status:
            headers = {"Retry-After": "1"} if self.status == 429 else {}
            rule = proxy.respond("*", "", self.status, headers=headers, times=30, when=when)
        else:
            rule = proxy.cut("*", "", times=30, when=when)
        await self.keep(world, rule)

    async def keep(self, world: ChaosWorld, rule: Rule) -> None:
        """The rule holds for the time."""
        await asyncio.sleep(self.seconds)
        world.api_proxy.remove(rule)


class Conflicts(OnApi):
    """Each write of a status is told that somebody else was first."""

    kind = "conflicts on status"

    async def inject(self, world: ChaosWorld, accounting: Accounting) -> None:
        """See `Fault`."""
        reason = {"reason": "Conflict", "message": "the object has been modified"}
        rule = world.api_proxy.respond("PATCH", "remediationrequests/.*/status", 409, reason, times=12)
        await asyncio.sleep(self.seconds)
        world.api_proxy.remove(rule)


class WatchesCut(OnApi):
    """Every watch ends."""

    kind = "watches cut"

    async def inject(self, world: ChaosWorld, accounting: Accounting) -> None:
        """See `Fault`."""
        world.api_proxy.end_watches("")


class WatchesExpired(OnApi):
    """Every watch is told 410: what it was at is no longer there."""

    kind = "410 to watches"

    async def inject(self, world: ChaosWorld, accounting: Accounting) -> None:
        """See `Fault`."""
        status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Expired", "code": 410}
        gone = {"type": "ERROR", "object": status | {"message": "too old resource version"}}
        with contextlib.suppress(OSError, aiohttp.ClientError):
            await world.api_proxy.inject("", gone)
