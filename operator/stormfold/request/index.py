"""RequestIndex: the RemediationRequests as this process last saw them.

Fed by a list at start, by kopf's events, and by our own writes; the higher resourceVersion wins. What it
holds of a group is what an emptied Redis is continued from.
"""

import logging
from collections import Counter as Tally
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Any, Protocol

from prometheus_client import Gauge
from pydantic import ValidationError

from stormfold.api.reasons.signals import SignalReason
from stormfold.api.remediationrequest import RemediationRequest, RequestPhase
from stormfold.api.signal import SignalPhase
from stormfold.api.value_errors import first_fault
from stormfold.fold.holding import Continuation, RequestPosition
from stormfold.kube.errors import RefusedError
from stormfold.kube.listwatch import MISSED_DELETIONS
from stormfold.model.arrival import AlertRef, Arrival, EventRef, Verdict
from stormfold.model.group import PolicyId
from stormfold.model.seldom import Seldom
from stormfold.model.storm import Snapshot, request_name
from stormfold.policy.router import DEFAULT_RETENTION_MS
from stormfold.policy.routing import Place
from stormfold.policy.version import PolicyVersion
from stormfold.request.alert_index import AlertIndex
from stormfold.request.identity import foreign
from stormfold.request.reading import NO_REPORT, Request, opening_of, version_of
from stormfold.request.retention import ClosedRequests
from stormfold.request.schedule import Schedule
from stormfold.request.seeding import closed_seed, seed_of

log = logging.getLogger(__name__)

STORMS = Gauge("stormfold_storms", "RemediationRequests by phase.", ["phase"])
CLAIMS = Gauge("stormfold_remediation_claims", "Claims of open RemediationRequests.", ["state"])

TOLD_SECONDS = 60.0
"""How often the log names a request that is not of stormfold: a backup may have restored thousands."""


class Listener(Protocol):
    """Who hears of what is seen of requests."""

    def observed(self, request: Request) -> None:
        """A newer version of a request was seen, whoever wrote it."""


class DeletionListener(Protocol):
    """Who hears of closed requests that are deleted."""

    def deleted(self, request: Request) -> None:
        """A closed request was deleted, by whomever; this is the last of it."""


class RequestIndex:
    """Per group, the latest request and those that are not closed."""

    def __init__(self, deadlines: Schedule) -> None:
        """`deadlines` hears of groups whose requests others have changed."""
        self._deadlines = deadlines
        self._listeners: list[Listener] = []
        self._deletion_listeners: list[DeletionListener] = []
        self.closed = ClosedRequests()
        """All that are closed and there."""
        self._requests: dict[str, dict[int, Request]] = {}
        self._since_ms: dict[str, int] = {}
        """Group hash → when the earliest signal happened that its requests are known to have counted."""
        self._open: defaultdict[tuple[PolicyId, str], set[str]] = defaultdict(set)
        """Policy and namespace → the groups that have an open request there."""
        self._open_at: dict[str, tuple[PolicyId, str]] = {}
        """The same by group."""
        self._alerts = AlertIndex()
        self._told = Seldom()

    def subscribe(self, *listeners: Listener) -> None:
        """Let them hear of each newer version that is seen."""
        self._listeners += listeners

    def subscribe_to_deletions(self, listener: DeletionListener) -> None:
        """Let it hear of each closed request that is deleted."""
        self._deletion_listeners.append(listener)

    def get(self, group_hash: str, epoch: int) -> Request | None:
        """The request of one storm, if it is there."""
        request = self._requests.get(group_hash, {}).get(epoch)
        return None if request is None or request.deleted else request

    def deleted(self, group_hash: str, epoch: int) -> Request | None:
        """The last of the request of one storm, if it was deleted while the storm was open."""
        request = self._requests.get(group_hash, {}).get(epoch)
        return request if request and request.deleted else None

    def latest(self, group_hash: str) -> Request | None:
        """The group's request with the highest epoch, also one that was deleted while its storm was open."""
        epochs = self._requests.get(group_hash)
        return epochs[max(epochs)] if epochs else None

    def over(self, group_hash: str) -> Request | None:
        """The group's last request that says anything, if it is closed and there. Of a later one, whose
        status was never written, nobody may know in Redis."""
        begun = [request for request in self._requests.get(group_hash, {}).values() if request.begun]
        last = max(begun, key=lambda request: request.epoch, default=None)
        return last if last and last.closed and not last.deleted else None

    def open_requests(self) -> Iterator[Request]:
        """The latest request of each group whose storm is open."""
        for group_hash in list(self._requests):
            request = self.latest(group_hash)
            if request and not request.closed:
                yield request

    def open_in(self, policy: PolicyId, namespace: str) -> Collection[str]:
        """The groups of a policy that have an open request in a namespace; one that was deleted is none."""
        return self._open.get((policy, namespace), frozenset())

    def _note_open(self, group_hash: str) -> None:
        if before := self._open_at.pop(group_hash, None):
            self._open[before].discard(group_hash)
            if not self._open[before]:
                del self._open[before]
        request = self.latest(group_hash)
        if request and not request.is_open:
            request = None
        self._alerts.note(group_hash, request)
        if request:
            of = self._open_at[group_hash] = request.policy, request.namespace
            self._open[of].add(group_hash)

    def versions(self) -> Iterator[PolicyVersion]:
        """The versions of policies by which there are requests; some come more than once."""
        for epochs in self._requests.values():
            for request in epochs.values():
                yield request.version

    def holds(self, group_hash: str, arrival: Arrival) -> bool:
        """Whether the group's requests have counted a Signal or an Event, as far as they tell: it is not
        newer than what they have counted, and happened since they count."""
        since_ms = self._since_ms.get(group_hash)
        if since_ms is None or isinstance(arrival.ref, AlertRef) or arrival.seen_ms < since_ms:
            return False
        of_event = isinstance(arrival.ref, EventRef)
        through = (
            request.event_through if of_event else request.through
            for request in self._requests[group_hash].values()
        )
        return arrival.ref.resource_version <= max(through, default=0)

    def open_before(self, group_hash: str, epoch: int) -> list[Request]:
        """Requests of earlier storms of the group that are not closed."""
        return [r for e, r in self._requests.get(group_hash, {}).items() if e < epoch and r.is_open]

    def seen(self, body: dict[str, Any]) -> None:
        """Take in an API object as a list or a watch gave it."""
        known = self._known(body)
        if known is not None and known.resource_version >= int(body["metadata"]["resourceVersion"]):
            return  # of our own writes all come back
        if request := self._understood(body):
            self.observe(request)

    def gone(self, body: dict[str, Any]) -> None:
        """An API object was deleted; this is the last of it."""
        if request := self._understood(body):
            self.observe_deleted(request)

    def listed(self, uids: Collection[str], resource_version: int) -> None:
        """Take in which requests a whole list of that resourceVersion has. One that is known here, is no
        newer and is not in it was deleted, and no watch has told of it."""
        known = [request for epochs in self._requests.values() for request in epochs.values()]
        for request in known:
            missing = request.resource.metadata.uid not in uids and not request.deleted
            if missing and request.resource_version <= resource_version:
                MISSED_DELETIONS.labels(kind=RemediationRequest.__name__).inc()
                log.warning("a request was deleted, which only a list has told", extra=request.log_fields)
                self.observe_deleted(request)
        # Of earlier epochs no more is known.
        for closed in list(self.closed):
            if closed.uid not in uids and closed.resource_version <= resource_version:
                self.closed.forget(closed.uid)

    def _understood(self, body: dict[str, Any]) -> Request | None:
        try:
            return self.read(body)
        except RefusedError as exc:
            metadata = body["metadata"]
            if not self._told.tells(TOLD_SECONDS):
                return None
            log.warning(
                "a RemediationRequest is not of stormfold, ignoring it",
                extra={
                    "namespace": metadata.get("namespace"),
                    "request": metadata.get("name"),
                    "error": exc.message,
                },
            )
            return None

    def read(self, body: dict[str, Any]) -> Request:
        """The request of an API object.

        Raises:
            RefusedError: it is none that we could have made, and as good as none that may be written.
        """
        known = self._known(body)
        try:
            request = Request.read(body, known)
            fault = "" if known and known.resource.spec is request.resource.spec else foreign(request)
        except ValidationError as exc:
            fault = first_fault(exc)
        if fault:
            raise RefusedError(
                "reading a RemediationRequest",
                422,
                "Unreadable",
                f"there is one that stormfold has not made ({fault}): delete it",
            )
        return request

    def _known(self, body: dict[str, Any]) -> Request | None:
        spec: dict[str, Any] = body.get("spec") or {}
        return self._requests.get(spec.get("groupHash", ""), {}).get(spec.get("epoch", 0))

    def observe(self, request: Request) -> None:
        """Take in a version of a request, unless a newer one is known."""
        epochs = self._requests.setdefault(request.group_hash, {})
        known = epochs.get(request.epoch)
        if known and known.resource_version >= request.resource_version:
            return
        epochs[request.epoch] = request
        self.closed.note(request)
        self._prune(request.group_hash)
        self._note_open(request.group_hash)
        if request.since_ms:
            since_ms = self._since_ms.get(request.group_hash, request.since_ms)
            self._since_ms[request.group_hash] = min(since_ms, request.since_ms)
        for listener in self._listeners:
            listener.observed(request)
        if request.report != (known.report if known else NO_REPORT):
            self._deadlines.make_due([request.group_hash])

    def observe_deleted(self, request: Request) -> None:
        """A request was deleted: while its storm is open it is remembered, to be made again."""
        self.closed.forget(request.resource.metadata.uid)
        epochs = self._requests.get(request.group_hash, {})
        known = epochs.get(request.epoch)
        if known is None or known.resource.metadata.uid != request.resource.metadata.uid:
            return  # it has been made again already
        last = max(known, request, key=lambda version: version.resource_version)
        if known.deleted and last is known:
            return
        if last.closed:
            del epochs[request.epoch]
            if not epochs:
                del self._requests[request.group_hash]
                self._since_ms.pop(request.group_hash, None)
            for listener in self._deletion_listeners:
                listener.deleted(last)
            return
        epochs[request.epoch] = replace(last, deleted=True)
        self._note_open(request.group_hash)
        self._deadlines.make_due([request.group_hash])

    def _prune(self, group_hash: str) -> None:
        # What was made last may say nothing yet: until it does, the one before tells what has been counted.
        epochs = self._requests[group_hash]
        last = max((epoch for epoch, request in epochs.items() if request.begun), default=0)
        for epoch in [e for e, r in epochs.items() if e < last and not r.is_open]:
            del epochs[epoch]

    def update_gauges(self, now_ms: int) -> None:
        """Count the requests by phase, and the claims of those that are open."""
        phases = Tally(
            (request.resource.status.phase if request.resource.status else None) or RequestPhase.OPEN
            for epochs in self._requests.values()
            for request in epochs.values()
        )
        for phase in RequestPhase:
            STORMS.labels(phase=phase.value).set(phases[phase])
        reports = [request.report for request in self.open_requests()]
        claims = Tally(report.claim_is_valid(now_ms) for report in reports if report.claim)
        CLAIMS.labels(state="valid").set(claims[True])
        CLAIMS.labels(state="expired").set(claims[False])

    def log_fields(self, storm: Snapshot, namespace: str) -> dict[str, str]:
        """What log lines say of a storm that may have no request yet in its `namespace`."""
        request = self.get(storm.group_hash, storm.epoch)
        named = {"namespace": namespace, "request": request_name(storm.group_hash, storm.epoch)}
        return request.log_fields if request else named

    def position(self, group_hash: str, epoch: int) -> RequestPosition | None:
        """How much of which incarnation the request of that epoch holds."""
        request = self.get(group_hash, epoch)
        return request.position if request else None

    def listed_in(self, alert: Arrival) -> Place | None:
        """Where the open request is that lists the alert."""
        return self._alerts.listed_in(alert.occurrence)

    def verdict(self, group_hash: str, epoch: int) -> Verdict:
        """What a signal is told that the request of that epoch holds."""
        request = self.get(group_hash, epoch) or self.latest(group_hash)
        namespace, name = request.namespace if request else "", request_name(group_hash, epoch)
        return Verdict(
            SignalPhase.FOLDED,
            SignalReason.COUNTED,
            f"counted in RemediationRequest {namespace}/{name}",
            namespace,
            name,
            request.resource.spec.policy.retention_ms if request else DEFAULT_RETENTION_MS,
            request.resource.spec.policy_ref.name if request else "",
        )

    def continuation(self, group_hash: str) -> Continuation | None:
        """What the group's latest request says, to continue from."""
        request = self.latest(group_hash)
        if request is None:
            return None
        seed = seed_of(request)
        if not request.begun:
            epochs = self._requests[group_hash]
            before = max((epoch for epoch, earlier in epochs.items() if earlier.begun), default=0)
            if before:
                seed = replace(closed_seed(epochs[before]), epoch=request.epoch - 1)
        return Continuation(seed, version_of(request.resource.spec), opening_of(request).encoded())
