"""Requests that somebody deletes by hand."""

from __future__ import annotations

import asyncio
import contextlib

from tests.chaos.accounting import Accounting, Shown
from tests.chaos.faults.fault import REDIS, Fault
from tests.chaos.world import REFUSED, ChaosWorld
from tests.harness.api import ApiError

REMADE_SECONDS = 120.0
"""So long further faults of Redis are held back at most, until a deleted request is there again: a second or
two, unless the machine does much else."""


class RequestsDeleted(Fault):
    """Somebody deletes some open requests by hand."""

    kind = "requests deleted"

    @property
    def subjects(self) -> tuple[str, ...]:
        """See `Fault`."""
        return (REDIS,)

    async def inject(self, world: ChaosWorld, accounting: Accounting) -> None:
        """See `Fault`."""
        with contextlib.suppress(*REFUSED):
            for request in await world.requests():
                shown = Shown.read(request)
                if shown.phase in {"Open", "Settled"} and shown.total and await self._is_held(world, shown):
                    await self._delete(world, accounting, request["metadata"])
                    return

    async def _is_held(self, world: ChaosWorld, shown: Shown) -> bool:
        """Whether Redis has all that the request holds: it may have lost something a moment ago."""
        incarnation = shown.incarnation.partition(" ")[0]
        found = await asyncio.to_thread(world.store.storm, shown.group_hash)
        return (
            found.get("incarnation") == incarnation
            and int(found.get("total", 0)) + int(found.get("changes", 0)) >= shown.folded
        )

    async def _delete(self, world: ChaosWorld, accounting: Accounting, metadata: dict[str, str]) -> None:
        of_namespace = f"/apis/stormfold.dev/v1alpha1/namespaces/{metadata['namespace']}"
        path = f"{of_namespace}/remediationrequests/{metadata['name']}"
        just_this = {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
        try:
            # As it was read: a request that has been closed meanwhile would stay away, and rightly.
            await world.api.request("DELETE", path, {"preconditions": just_this})
        except ApiError:
            return
        accounting.fault(f"deleted {metadata['name']}", world.seconds)
        until = world.seconds + REMADE_SECONDS
        while world.seconds < until:
            await asyncio.sleep(0.2)
            with contextlib.suppress(*REFUSED):
                again = await world.api.get("RemediationRequest", metadata["name"], metadata["namespace"])
                if again and (again.get("status") or {}).get("phase"):
                    return
