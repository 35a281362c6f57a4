"""Retention of requests: closed ones are deleted in the end, or when their namespace has too many."""

import asyncio
import logging
from collections import Counter as Tally
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from prometheus_client import Counter, Gauge

from stormfold.api.conditions import ConditionType
from stormfold.api.remediationrequest import RemediationRequest
from stormfold.kube import paths
from stormfold.kube.client import KubeClient
from stormfold.kube.errors import ApiError, ConflictError, NotFoundError
from stormfold.model.moments import now_ms
from stormfold.request.reading import Request

log = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
DELETIONS_AT_ONCE = 50
"""In one look, one after the other: at most 10 a second."""
ALERTS_MS = 24 * 3_600_000
"""So long a request is kept in which alerts fired when it closed: Alertmanager repeats them, and the request
says that they were counted."""

DELETED = Counter("stormfold_requests_deleted_total", "Closed RemediationRequests deleted.", ["reason"])
CLOSED = Gauge("stormfold_requests_closed", "Closed RemediationRequests that are still there.")


class Why(StrEnum):
    """Why a request is deleted."""

    EXPIRED = "Expired"
    """`requestRetention` is over."""
    TOO_MANY = "TooMany"
    """Its namespace has more closed requests than it keeps."""


@dataclass(frozen=True, slots=True)
class Closed:
    """A closed request."""

    group_hash: str
    epoch: int
    namespace: str
    name: str
    uid: str
    resource_version: int
    closed_ms: int
    expires_ms: int
    through: int
    """resourceVersion of the newest Signal that it has counted; 0: none."""
    alerts_fire: bool
    """Whether alerts fired in it when it closed."""

    @classmethod
    def of(cls, request: Request) -> "Closed":
        """What is to be known of a request that is closed."""
        resource, status = request.resource, request.resource.status
        said = request.holding(ConditionType.CLOSED)
        at = said.last_transition_time if said else resource.metadata.creation_timestamp
        closed_ms = int(at.timestamp() * 1000) if at else 0
        stored = status.continuation if status else None
        return cls(
            request.group_hash,
            request.epoch,
            request.namespace,
            resource.metadata.name,
            resource.metadata.uid,
            request.resource_version,
            closed_ms,
            closed_ms + resource.spec.policy.request_retention_ms,
            int(stored.counted_signals.resource_version) if stored and stored.counted_signals else 0,
            bool(stored and stored.firing_alerts),
        )

    def is_needed(self, *, now_ms: int, durable: int) -> bool:
        """Whether a repeated alert, or a Signal that is read again, is known by it as counted."""
        return self.through > durable or (self.alerts_fire and now_ms < self.closed_ms + ALERTS_MS)


def due(
    requests: Iterable[Closed], *, per_namespace: int, now_ms: int, durable: int
) -> Iterator[tuple[Closed, Why]]:
    """Which are to be deleted now, the oldest first. `durable` is the checkpoint of Signals.

    Those of a group go in the order of their epochs: a name that exists is never given again.
    """
    ordered = sorted(requests, key=lambda request: (request.closed_ms, request.epoch))
    there = Tally(request.namespace for request in ordered)
    epochs: defaultdict[str, set[int]] = defaultdict(set)
    for request in ordered:
        epochs[request.group_hash].add(request.epoch)
    for request in ordered:
        if now_ms >= request.expires_ms:
            why = Why.EXPIRED
        elif there[request.namespace] > per_namespace:
            why = Why.TOO_MANY
        else:
            continue
        in_turn = request.epoch == min(epochs[request.group_hash])
        if in_turn and not request.is_needed(now_ms=now_ms, durable=durable):
            epochs[request.group_hash].remove(request.epoch)
            there[request.namespace] -= 1
            yield request, why


class ClosedRequests:
    """The closed requests that are there, by uid."""

    def __init__(self) -> None:
        self._by_uid: dict[str, Closed] = {}

    def __iter__(self) -> Iterator[Closed]:
        return iter(self._by_uid.values())

    def note(self, request: Request) -> None:
        """A request as it was seen."""
        uid = request.resource.metadata.uid
        if request.closed and not request.deleted:
            self._by_uid[uid] = Closed.of(request)
        else:
            self._by_uid.pop(uid, None)
        CLOSED.set(len(self._by_uid))

    def forget(self, uid: str) -> None:
        """It is gone."""
        self._by_uid.pop(uid, None)
        CLOSED.set(len(self._by_uid))


class Ingest(Protocol):
    """How far Signals are durable."""

    def fenced(self) -> int | None:
        """The resourceVersion that our Lease carries; None while it is not ours."""


class RequestRetention:
    """Deletes closed requests; only who leads does."""

    def __init__(
        self, client: KubeClient, closed: ClosedRequests, ingest: Ingest, *, per_namespace: int
    ) -> None:
        """`per_namespace` is how many closed requests a namespace keeps at most."""
        self._client = client
        self._closed = closed
        self._ingest = ingest
        self._per_namespace = per_namespace

    async def run(self) -> None:
        """Delete for ever."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            durable = self._ingest.fenced()
            if durable is None:
                continue
            found = due(
                list(self._closed), per_namespace=self._per_namespace, now_ms=now_ms(), durable=durable
            )
            for _, (request, why) in zip(range(DELETIONS_AT_ONCE), found, strict=False):
                if not await self._delete(request, why):
                    break

    async def _delete(self, request: Closed, why: Why) -> bool:
        """Whether the API server did not refuse."""
        path = paths.item(RemediationRequest.plural, request.name, request.namespace)
        try:
            await self._client.delete(path, uid=request.uid, resource_version=request.resource_version)
        except NotFoundError:
            self._closed.forget(request.uid)
        except ConflictError:
            pass  # it was changed: the watch says how
        except ApiError as exc:
            log.warning(
                "closed RemediationRequest not deleted, trying again",
                extra={"namespace": request.namespace, "request": request.name, "error": str(exc)},
            )
            return False
        else:
            DELETED.labels(reason=why.value).inc()
            self._closed.forget(request.uid)
        return True
