"""Noter: a closed request still says which of its alerts have ended, and which fire again.

Its phase and its total are final. What is noted is what the group opens again with if Redis loses its data.
The leader looks each `LOOK_SECONDS` at those groups alone whose last request is closed and says that alerts
fire.
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, Protocol

from stormfold.api.conditions import ConditionType
from stormfold.fold.errors import StoreFullError, StoreUnavailableError
from stormfold.fold.store import StormStore
from stormfold.kube.client import KubeClient
from stormfold.kube.errors import ApiError, ConflictError, NotFoundError
from stormfold.model.moments import now_ms
from stormfold.model.storm import TrackedAlert
from stormfold.request import alert_list
from stormfold.request.deciding import recovery
from stormfold.request.index import RequestIndex
from stormfold.request.reading import Request
from stormfold.request.refreshing import patch_status
from stormfold.request.rendering import with_findings

log = logging.getLogger(__name__)

LOOK_SECONDS = 3.0


class Ingest(Protocol):
    """Who takes Signals and Events in."""

    def fenced(self) -> int | None:
        """The resourceVersion that our Lease carries; None while it is not ours."""


def noted(request: Request, known: Mapping[str, TrackedAlert], *, now_ms: int) -> dict[str, Any] | None:
    """What is to be written into the status of a closed request, of whose alerts this is `known` by now;
    None: it says all of it."""
    status, listed = request.resource.status, request.tracked_alerts or ()
    if status is None or status.continuation is None:
        return None
    told = [_as_known(alert, known.get(alert.id)) for alert in listed]
    ended = sum(was.firing and not now.firing for was, now in zip(listed, told, strict=True))
    again = sum(now.firing and not was.firing for was, now in zip(listed, told, strict=True))
    if not ended and not again:
        return None
    firing = max(0, status.signals.firing - ended + again)
    resolved = max(0, status.signals.resolved + ended - again)
    finding = recovery(
        firing=firing,
        resolved=resolved,
        stale=status.signals.stale,
        stale_after_ms=request.resource.spec.policy.stale_after_ms,
        approximate=status.signals.approximate,
    )
    conditions = with_findings(
        request.conditions,
        {ConditionType.RECOVERED: finding},
        generation=request.resource.metadata.generation,
        now_ms=now_ms,
    )
    return {
        "signals": {"firing": firing, "resolved": resolved},
        "continuation": {"firingAlerts": max(0, status.continuation.firing_alerts - ended + again)},
        "conditions": [condition.manifest() for condition in conditions],
        "withAlerts": alert_list.encoded(told),
    }


def _as_known(alert: TrackedAlert, known: TrackedAlert | None) -> TrackedAlert:
    if known is None or known.starts_s < alert.starts_s:
        return alert
    return alert._replace(firing=known.firing)


class Noter:
    """Notes ends of alerts in closed requests; only who leads does."""

    def __init__(self, client: KubeClient, store: StormStore, requests: RequestIndex, ingest: Ingest) -> None:
        self._client = client
        self._store = store
        self._requests = requests
        self._ingest = ingest
        self._firing: dict[str, None] = {}
        """Groups whose last request is closed and says that alerts fire."""

    def observed(self, request: Request) -> None:
        """A newer version of a request was seen."""
        over = self._requests.over(request.group_hash)
        if over and over.firing_alerts:
            self._firing[request.group_hash] = None
        else:
            self._firing.pop(request.group_hash, None)

    async def run(self) -> None:
        """Work for ever."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if self._ingest.fenced() is None:
                continue
            try:
                await self.look()
            except (StoreUnavailableError, StoreFullError) as exc:
                log.warning("ends of alerts are not noted, trying again", extra={"error": str(exc)})

    async def look(self) -> None:
        """Note what has ended since the last look. A request that cannot be written is tried again next time.

        Raises:
            StoreError: see `StormStore`.
        """
        for group_hash in list(self._firing):
            request = self._requests.over(group_hash)
            if request is None:
                self._firing.pop(group_hash, None)
                continue
            known = await self._store.known_of_closed(group_hash, request.epoch)
            if status := noted(request, known, now_ms=now_ms()):
                await self._write(request, status)

    async def _write(self, request: Request, status: dict[str, Any]) -> None:
        try:
            await patch_status(self._client, self._requests, request, status)
        except (ConflictError, NotFoundError):
            return  # it was changed or deleted: the watch says how
        except ApiError as exc:
            log.warning(
                "ends of alerts are not noted in a closed request, trying again",
                extra={
                    "namespace": request.namespace,
                    "request": request.resource.metadata.name,
                    "error": str(exc),
                },
            )
