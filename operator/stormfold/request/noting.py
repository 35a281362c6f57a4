"""Noter: a closed request still says which of its alerts have ended, are stale, or fire again.

Its phase and its total are final. What is noted is what the group opens again with if Redis loses its data.
The leader looks each `LOOK_SECONDS` at those groups alone whose last request is closed and says that alerts
fire.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from stormfold.api.conditions import ConditionType
from stormfold.api.remediationrequest import OpeningReason
from stormfold.fold.arguments import Fold
from stormfold.fold.closed_alerts import ClosedAlerts
from stormfold.fold.errors import StoreFullError, StoreUnavailableError
from stormfold.fold.store import StormStore
from stormfold.kube.client import KubeClient
from stormfold.kube.errors import ApiError, ConflictError, NotFoundError
from stormfold.model.group import partition
from stormfold.model.leading import Leader
from stormfold.model.moments import now_ms
from stormfold.model.storm import TrackedAlert
from stormfold.request import alert_list
from stormfold.request.deciding import recovery
from stormfold.request.index import RequestIndex
from stormfold.request.reading import Request, opening_of
from stormfold.request.refreshing import patch_status
from stormfold.request.rendering import with_findings
from stormfold.request.seeding import seed_of
from stormfold.request.telling import still_firing

log = logging.getLogger(__name__)

LOOK_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Changes:
    """What has become of alerts since their closed request was written: how many more fire, are resolved and
    are stale, and its list now."""

    firing: int
    resolved: int
    stale: int
    listed: Sequence[TrackedAlert]

    def __bool__(self) -> bool:
        return bool(self.firing or self.resolved or self.stale)


def changes(listed: Sequence[TrackedAlert], *, firing: int, known: ClosedAlerts) -> Changes:
    """What has changed in a request that lists these alerts, and says that so many alerts fire."""
    if known.expired:
        now = [one._replace(firing=False, stale=one.firing or one.stale) for one in listed]
        return Changes(-firing, 0, firing, now)
    now = [_as_known(alert, known.alerts.get(alert.id)) for alert in listed]
    more = Counter(map(_state, now))
    more.subtract(map(_state, listed))
    ids = {alert.id for alert in listed}
    others = [alert for alert in known.alerts.values() if alert.id not in ids]
    unlisted = max(0, firing - sum(alert.firing for alert in listed))
    over = unlisted - sum(alert.firing for alert in others)
    if known.complete and over > 0:
        stale = min(over, sum(alert.stale for alert in others))
        more.update(firing=-over, stale=stale, resolved=over - stale)
    return Changes(more["firing"], more["resolved"], more["stale"], now)


def _state(alert: TrackedAlert) -> str:
    return "firing" if alert.firing else "stale" if alert.stale else "resolved"


def _as_known(alert: TrackedAlert, known: TrackedAlert | None) -> TrackedAlert:
    if known is None or known.starts_s < alert.starts_s:
        return alert
    return alert._replace(firing=known.firing, stale=known.stale)


def noted(request: Request, known: ClosedAlerts, *, now_ms: int) -> dict[str, Any] | None:
    """What is to be written into the status of a closed request, of whose alerts this is `known` by now;
    None: it says all of it."""
    status = request.resource.status
    if status is None or status.continuation is None:
        return None
    found = changes(request.tracked_alerts or (), firing=status.continuation.firing_alerts, known=known)
    if not found:
        return None
    signals = status.signals
    firing = max(0, signals.firing + found.firing)
    resolved = max(0, signals.resolved + found.resolved)
    stale = max(0, signals.stale + found.stale)
    finding = recovery(
        firing=firing,
        resolved=resolved,
        stale=stale,
        stale_after_ms=request.resource.spec.policy.stale_after_ms,
        approximate=signals.approximate,
    )
    conditions = with_findings(
        request.conditions,
        {ConditionType.RECOVERED: finding},
        generation=request.resource.metadata.generation,
        now_ms=now_ms,
    )
    written: dict[str, Any] = {
        "signals": {"firing": firing, "resolved": resolved, "stale": stale},
        "continuation": {"firingAlerts": max(0, status.continuation.firing_alerts + found.firing)},
        "conditions": [condition.manifest() for condition in conditions],
        "withAlerts": alert_list.encoded(found.listed),
    }
    if request.resource.spec.reason is OpeningReason.STILL_FIRING and not signals.total:
        written["summary"] = still_firing(firing, stale)
    return written


class Noter:
    """Notes ends of alerts in closed requests; only who leads does."""

    def __init__(self, client: KubeClient, store: StormStore, requests: RequestIndex, ingest: Leader) -> None:
        self._client = client
        self._store = store
        self._requests = requests
        self._ingest = ingest
        self._firing: dict[str, None] = {}
        """Groups whose last request is closed and says that alerts fire."""
        self._deleted: dict[str, int] = {}
        """Groups whose closed request was deleted while alerts fired in it, and its epoch."""

    def observed(self, request: Request) -> None:
        """A newer version of a request was seen."""
        over = self._requests.over(request.group_hash)
        if over and over.firing_alerts:
            self._firing[request.group_hash] = None
        else:
            self._firing.pop(request.group_hash, None)

    def deleted(self, request: Request) -> None:
        """A closed request was deleted: nothing tells of its alerts any more."""
        self._firing.pop(request.group_hash, None)
        if request.firing_alerts:
            self._deleted[request.group_hash] = request.epoch

    async def run(self) -> None:
        """Work for ever."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.forget()
                if self._ingest.fenced() is not None:
                    await self.look()
            except (StoreUnavailableError, StoreFullError) as exc:
                log.warning("ends of alerts are not noted, trying again", extra={"error": str(exc)})

    async def forget(self) -> None:
        """Let alerts count anew that fire and whose closed request was deleted: else nobody would hear of
        them. Every replica does so, whoever leads: it is done once.

        Raises:
            StoreError: see `StormStore`.
        """
        for group_hash, epoch in list(self._deleted.items()):
            forgotten = await self._store.closed.forget_firing(group_hash, epoch)
            # The next storm of the group has them; if that makes no request, they are forgotten after it.
            has_next = self._requests.get(group_hash, epoch + 1) is not None
            if (forgotten or has_next) and self._deleted.get(group_hash) == epoch:
                del self._deleted[group_hash]

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
            known = await self._store.closed.alerts(
                group_hash,
                request.epoch,
                stale_after_ms=request.resource.spec.policy.stale_after_ms,
                now_ms=now_ms(),
            )
            if known is None:
                await self._give_back(request)
            elif status := noted(request, known, now_ms=now_ms()):
                await self._write(request, status)

    async def _give_back(self, request: Request) -> None:
        """Redis has lost the group: its alerts count as heard of now, as the request lists them."""
        fold = Fold(
            request.group_hash,
            request.version.terms,
            opening_of(request).encoded(),
            (),
            seed=seed_of(request),
        )
        await self._store.fold(partition(request.group_hash), [fold], now_ms=now_ms())

    async def _write(self, request: Request, status: dict[str, Any]) -> None:
        try:
            await patch_status(self._client, self._requests, request, status)
        except (ConflictError, NotFoundError):
            return  # it was changed or deleted: the watch says how
        except ApiError as exc:
            log.warning(
                "ends of alerts are not noted in a closed request, trying again",
                extra=request.log_fields | {"error": str(exc)},
            )
