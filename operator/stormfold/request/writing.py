"""RequestWriter: makes a storm's request, or adopts it, and writes its status.

Each write carries the resourceVersion that was read; a conflict means read again. A snapshot is
written only over what it descends from, so that neither an older one nor one that was continued from too
little replaces more.
"""

import contextlib
import logging
from collections.abc import Callable, Mapping
from enum import Enum, auto

import orjson
from prometheus_client import Counter

from stormfold.api.conditions import ConditionType
from stormfold.api.decision import Verdict
from stormfold.api.reason import Reason
from stormfold.api.reasons.consumers import ConsumerReason
from stormfold.api.reasons.requests import RequestReason
from stormfold.api.remediationrequest import RemediationRequest, RequestPhase
from stormfold.api.resource import API_VERSION
from stormfold.fold.elsewhere import Elsewhere
from stormfold.gate.gates import GateIndex
from stormfold.gate.judging import Gathered, judge
from stormfold.kube import paths
from stormfold.kube.client import KubeClient
from stormfold.kube.errors import AlreadyExistsError, ConflictError, NotFoundError, RefusedError
from stormfold.kube.recorder import About, Recorder
from stormfold.model.causes import Counted
from stormfold.model.opening import Opening
from stormfold.model.storm import Snapshot, request_name
from stormfold.request import causes, decisions, rendering
from stormfold.request.index import RequestIndex
from stormfold.request.reading import Request, opening_of
from stormfold.request.refreshing import patch_status_or_refresh
from stormfold.request.remediation import Phases, findings
from stormfold.request.telling import UNREADABLE_LIST, transitions, with_policy

log = logging.getLogger(__name__)

TRIES = 5
"""How often a write is tried again that met a conflict."""

ABOUT_REPORTS: dict[str, Reason] = {
    ConditionType.CLAIM_EXPIRED: ConsumerReason.CLAIM_EXPIRED,
    ConditionType.REMEDIATION_PHASE_UNKNOWN: ConsumerReason.REMEDIATION_PHASE_UNKNOWN,
    ConditionType.STALE_REMEDIATION: ConsumerReason.STALE_REMEDIATION,
}
"""Conditions about what the consumer reports, each with the reason of its Event."""

UNREADABLE = Counter(
    "stormfold_alert_lists_unreadable_total",
    "Writes of a RemediationRequest whose status.withAlerts was no list that stormfold had written.",
)
WRITES = Counter("stormfold_request_writes_total", "Writes of RemediationRequests.", ["operation", "outcome"])


class Outcome(Enum):
    """What became of a write."""

    WRITTEN = auto()
    """The request holds the snapshot."""
    BEHIND = auto()
    """The request holds something that the snapshot does not: Redis has lost it, or the snapshot is old."""
    NO_NAMESPACE = auto()
    """The namespace does not exist."""


def descends(storm: Snapshot, request: Request) -> bool:
    """Whether the snapshot holds all that the request does."""
    if not request.begun or request.incarnation == storm.incarnation:
        return storm.folded >= request.folded
    return storm.origin == request.written_from


def is_behind(storm: Snapshot, phase: RequestPhase, request: Request) -> bool:
    """Whether the request holds something that the snapshot does not, or is over.

    What a closed request does not hold belongs to the next storm: it is written again with just what it says.
    """
    if request.closed:
        return phase is not RequestPhase.CLOSED or request.written_from != storm.written_from
    return not descends(storm, request)


def was_behind(storm: Snapshot, phase: RequestPhase, known: Request | None) -> bool:
    """Whether the snapshot lacked something that the group's latest request held before the claim (`known`).

    Redis has then lost it. Otherwise another replica has written since, and only the snapshot is old.
    """
    if known is None or known.epoch < storm.epoch:
        return False
    return known.epoch > storm.epoch or is_behind(storm, phase, known)


class RequestWriter:
    """Writes requests; all it knows of them is in the index."""

    def __init__(
        self,
        client: KubeClient,
        index: RequestIndex,
        recorder: Recorder,
        *,
        phases: Phases,
        gates: GateIndex,
        elsewhere: Elsewhere,
        census: Callable[[], Mapping[str, Counted]] = dict,
    ) -> None:
        """`phases` are those of `status.remediation` that are understood. `gates` decide whether a consumer
        may begin. `elsewhere` says how common values are in other storms, and `census` of some attributes how
        common they are in the cluster: that goes first."""
        self._elsewhere = elsewhere
        self._census = census
        self._client = client
        self._phases = phases
        self._gates = gates
        self._index = index
        self._recorder = recorder

    @property
    def throttled(self) -> bool:
        """Whether the API server asks for less."""
        return self._client.throttled

    async def write(
        self, storm: Snapshot, phase: RequestPhase, *, closed_for: Reason | None, now_ms: int
    ) -> Outcome:
        """Make the request say what the snapshot says; it is made if it is not there.

        Raises:
            ApiError: it could not be done, or it is not known whether it was; it may be tried again.
        """
        for earlier in self._index.open_before(storm.group_hash, storm.epoch):
            await self._close_earlier(earlier, now_ms)
        seen: Request | None = None
        for _ in range(TRIES):
            request: Request | Outcome | None = self._index.get(storm.group_hash, storm.epoch)
            if request is None:
                seen = self._index.deleted(storm.group_hash, storm.epoch) or seen
                if seen and is_behind(storm, phase, seen):
                    return Outcome.BEHIND  # it is made again with all that it has said
                request = await self._create_or_adopt(storm)
            if isinstance(request, Outcome):
                return request
            if is_behind(storm, phase, request):
                return Outcome.BEHIND
            try:
                return await self._patch(request, storm, phase, closed_for, now_ms, seen=seen)
            except ConflictError:
                WRITES.labels(operation="patch", outcome="conflict").inc()
            except NotFoundError:
                WRITES.labels(operation="patch", outcome="missing").inc()
        raise ConflictError(
            f"writing {request_name(storm.group_hash, storm.epoch)}",
            409,
            "Conflict",
            f"changed {TRIES} times",
        )

    async def finds(self, storm: Snapshot) -> bool:
        """Whether the API server has a request of the storm, which another replica may just have made."""
        if not storm.opening:
            return False  # nobody can make it
        name, group = request_name(storm.group_hash, storm.epoch), self.opening(storm).group
        path = paths.item(RemediationRequest.plural, name, group.request_namespace)
        try:
            self._index.observe(self._index.read(await self._client.get(path)))
        except NotFoundError:
            return False
        return True

    async def _create_or_adopt(self, storm: Snapshot) -> Request | Outcome:
        body = rendering.manifest(storm, self.opening(storm))
        namespace, name = body["metadata"]["namespace"], body["metadata"]["name"]
        try:
            created = await self._client.create(paths.collection(RemediationRequest.plural, namespace), body)
            WRITES.labels(operation="create", outcome="written").inc()
        except AlreadyExistsError:
            WRITES.labels(operation="create", outcome="adopted").inc()
            created = await self._client.get(paths.item(RemediationRequest.plural, name, namespace))
        except RefusedError:
            WRITES.labels(operation="create", outcome="refused").inc()
            raise
        except NotFoundError as exc:
            WRITES.labels(operation="create", outcome="refused").inc()
            if "namespaces " in exc.message:
                return Outcome.NO_NAMESPACE
            raise
        request = self._index.read(created)
        self._index.observe(request)
        return self._index.get(storm.group_hash, storm.epoch) or request

    def opening(self, storm: Snapshot) -> Opening:
        """What opened the storm. Raises LookupError if nobody knows."""
        if storm.opening:
            return Opening.decoded(storm.opening)
        known = self._index.latest(storm.group_hash)
        if known is None:
            raise LookupError(f"nobody knows what opened storm {storm.group_hash}")
        return opening_of(known)

    async def _patch(
        self,
        request: Request,
        storm: Snapshot,
        phase: RequestPhase,
        closed_for: Reason | None,
        now_ms: int,
        *,
        seen: Request | None,
    ) -> Outcome:
        if not request.has_its_list:
            UNREADABLE.inc()
            self._recorder.record_once(
                _about(request),
                "Warning",
                RequestReason.ALERT_LIST_UNREADABLE,
                with_policy(UNREADABLE_LIST, request.resource.spec),
            )
        resource, before = request.resource, request.conditions
        subject = request.subject
        # Later writes leave it as it is, since who leads decides anew.
        decision = subject.decision or judge(Gathered(subject, self._gates.of(subject), now_ms))
        held = seen if seen and not request.begun else request
        status = rendering.status(
            storm,
            phase,
            closed_for=closed_for,
            spec=resource.spec,
            namespace=request.namespace,
            before=before,
            reported=findings(
                request.report,
                before,
                self._phases,
                revision=storm.revision,
                now_ms=now_ms,
                over=phase is RequestPhase.CLOSED,
            )
            | ({} if subject.decision else decisions.proceed(decision)),
            generation=resource.metadata.generation,
            now_ms=now_ms,
            made_ms=request.made_ms,
            held_ms=request.held_ms(now_ms),
            proceeds=decision.verdict is Verdict.PROCEED,
            shown=held.shown if held.begun else None,
            sampled=held.sampled,
            found=causes.find(
                storm.evidence.causes,
                request.version.counted_attributes,
                total=storm.total,
                held=held.held_causes if held.begun else causes.NOTHING_HELD,
                elsewhere={**self._elsewhere.than(storm.group_hash, storm.epoch), **self._census()},
            ),
        )
        # One that was deleted is made again, and the snapshot names changes only.
        if held is not request:
            status = orjson.loads(held.shown) | status
        if seen and seen.alerts and not request.alerts:
            status.setdefault("withAlerts", seen.alerts)
        if not subject.decision:
            status["decision"] = decisions.patch(decision)
        written = await patch_status_or_refresh(self._client, self._index, request, status)
        WRITES.labels(operation="patch", outcome="written").inc()
        self._record_transitions(request, written)
        self._record_reported(request, written)
        return Outcome.WRITTEN

    async def _close_earlier(self, request: Request, now_ms: int) -> None:
        """Close the request of an epoch that is over; a crash between two steps of closing may leave one."""
        conditions = rendering.closed_conditions(
            request.conditions,
            RequestReason.NEWER_EPOCH_OPENED,
            generation=request.resource.metadata.generation,
            now_ms=now_ms,
        )
        status = {"phase": RequestPhase.CLOSED.value, "deadlines": None, "conditions": conditions}
        with contextlib.suppress(NotFoundError):
            await patch_status_or_refresh(self._client, self._index, request, status)

    def _record_reported(self, before: Request, after: Request) -> None:
        """An Event for what is newly wrong with what the consumer reports."""
        said = {(condition.type, condition.message) for condition in before.conditions if condition.holds}
        for condition in after.conditions:
            reason = ABOUT_REPORTS.get(condition.type)
            if reason and condition.holds and (condition.type, condition.message) not in said:
                self._recorder.record(
                    _about(after), "Warning", reason, with_policy(condition.message, after.resource.spec)
                )

    def _record_transitions(self, before: Request, after: Request) -> None:
        status, spec = after.resource.status, after.resource.spec
        if status is None:
            return
        found = list(transitions(before.resource.status, status))
        if found:
            log.info(
                "storm changed",
                extra=after.log_fields | {"phase": status.phase, "summary": status.summary or ""},
            )
        for reason, message in found:
            self._recorder.record(_about(after), "Normal", reason, with_policy(message, spec))


def _about(request: Request) -> About:
    metadata = request.resource.metadata
    return About(API_VERSION, "RemediationRequest", metadata.name, metadata.namespace, metadata.uid)
