"""Retention of requests: closed ones are deleted in the end, or when their namespace has too many."""

import asyncio
import logging
from collections import Counter as Tally
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from prometheus_client import Counter, Gauge

from stormfold.api.conditions import ConditionType
from stormfold.api.remediationrequest import RemediationRequest
from stormfold.kube import paths
from stormfold.kube.client import KubeClient
from stormfold.kube.errors import ApiError, ConflictError, NotFoundError, RefusedError
from stormfold.model.leading import Leader
from stormfold.model.moments import milliseconds, now_ms
from stormfold.request.reading import Request

log = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
DELETIONS_AT_ONCE = 50
"""In one look, one after the other: at most 10 a second."""
REFUSED_MS = 600_000
"""So long a deletion is not tried again that an admission policy or a right does not allow."""
ALERTS_MS = 24 * 3_600_000
"""So long the last request of a group is kept if alerts fire in it: they are repeated, and it says that they
were counted. It is more than any `reopenAfter`."""

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
    """Whether alerts fire in it, as it says."""
    policy: str = ""

    @classmethod
    def of(cls, request: Request) -> "Closed":
        """What is to be known of a request that is closed."""
        resource, status = request.resource, request.resource.status
        said = request.holding(ConditionType.CLOSED)
        at = said.last_transition_time if said else resource.metadata.creation_timestamp
        closed_ms = milliseconds(at)
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
            resource.spec.policy_ref.name,
        )

    def is_needed(self, *, now_ms: int, durable: int, is_last: "Callable[[Closed], bool]") -> bool:
        """Whether a repeated alert, or a Signal that is read again, is known by it as counted. What fires on
        is in the next request of the group, if there is one."""
        if self.through > durable:
            return True
        return self.alerts_fire and now_ms < self.closed_ms + ALERTS_MS and is_last(self)


def due(
    requests: Iterable[Closed],
    *,
    per_namespace: int,
    now_ms: int,
    durable: int,
    is_last: Callable[[Closed], bool],
) -> Iterator[tuple[Closed, Why]]:
    """Which are to be deleted now, the oldest first. `durable` is the checkpoint of Signals, `is_last` says
    whether a request is the last one of its group that says anything.

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
        if in_turn and not request.is_needed(now_ms=now_ms, durable=durable, is_last=is_last):
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
        """A request as it was seen; one that is being deleted waits for its finalizers."""
        uid, going = request.resource.metadata.uid, request.resource.metadata.deletion_timestamp
        if request.closed and not request.deleted and not going:
            self._by_uid[uid] = Closed.of(request)
        else:
            self._by_uid.pop(uid, None)
        CLOSED.set(len(self._by_uid))

    def forget(self, uid: str) -> None:
        """It is gone."""
        self._by_uid.pop(uid, None)
        CLOSED.set(len(self._by_uid))


class Requests(Protocol):
    """The requests as they were last seen."""

    def over(self, group_hash: str) -> Request | None:
        """The group's last request that says anything, if it is closed and there."""


class RequestRetention:
    """Deletes closed requests; only who leads does."""

    def __init__(
        self,
        client: KubeClient,
        closed: ClosedRequests,
        requests: Requests,
        ingest: Leader,
        *,
        per_namespace: int,
    ) -> None:
        """`per_namespace` is how many closed requests a namespace keeps at most."""
        self._client = client
        self._requests = requests
        self._closed = closed
        self._ingest = ingest
        self._per_namespace = per_namespace
        self._refused: dict[str, int] = {}
        """uid → until when it is not tried again, Unix ms."""

    async def run(self) -> None:
        """Delete for ever."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            durable = self._ingest.fenced()
            if durable is None:
                continue
            found = due(
                list(self._closed),
                per_namespace=self._per_namespace,
                now_ms=now_ms(),
                durable=durable,
                is_last=self._is_last,
            )
            await self._delete_some(found)

    async def _delete_some(self, found: Iterable[tuple[Closed, Why]]) -> None:
        """Delete the first ones. One that the API server refuses holds up no other namespace, and is not
        tried again for a while."""
        now, tried, refusing = now_ms(), 0, set[str]()
        self._refused = {uid: until for uid, until in self._refused.items() if now < until}
        for request, why in found:
            if request.namespace in refusing or request.uid in self._refused:
                continue
            try:
                await self._delete(request, why)
            except ApiError as exc:
                log.warning(
                    "closed RemediationRequest not deleted, trying again",
                    extra={
                        "namespace": request.namespace,
                        "request": request.name,
                        "policy": request.policy,
                        "error": str(exc),
                    },
                )
                if not isinstance(exc, RefusedError):
                    return
                refusing.add(request.namespace)
                self._refused[request.uid] = now + REFUSED_MS
            tried += 1
            if tried == DELETIONS_AT_ONCE:
                return

    def _is_last(self, request: Closed) -> bool:
        last = self._requests.over(request.group_hash)
        return last is not None and last.epoch == request.epoch

    async def _delete(self, request: Closed, why: Why) -> None:
        path = paths.item(RemediationRequest.plural, request.name, request.namespace)
        try:
            await self._client.delete(path, uid=request.uid, resource_version=request.resource_version)
        except ConflictError:
            return  # it was changed: the watch says how
        except NotFoundError:
            pass
        else:
            DELETED.labels(reason=why.value).inc()
        self._closed.forget(request.uid)
