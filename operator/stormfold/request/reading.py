"""Reading: what one RemediationRequest says."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson
from pydantic import TypeAdapter, ValidationError

from stormfold.api.conditions import Condition, ConditionStatus, ConditionType
from stormfold.api.decision import Verdict
from stormfold.api.remediationrequest import (
    AffectedResource,
    Counted,
    RemediationRequest,
    RemediationRequestSpec,
    RequestPhase,
)
from stormfold.api.remediationrequest import (
    Continuation as StoredContinuation,
)
from stormfold.api.resource import MAX_INT
from stormfold.api.stormpolicy import PolicySpec
from stormfold.fold.causes import seen_of
from stormfold.fold.holding import RequestPosition
from stormfold.gate.gates import Subject
from stormfold.gate.judging import held_ms
from stormfold.model.arrival import Target
from stormfold.model.group import Group, PolicyId
from stormfold.model.moments import milliseconds
from stormfold.model.opening import Opening
from stormfold.model.storm import TrackedAlert
from stormfold.policy.version import PolicyVersion
from stormfold.request import alert_list, causes, evidence
from stormfold.request.bodies import CLOSE_ANNOTATION, readable, wanted
from stormfold.request.deciding import Reported
from stormfold.request.remediation import Claim, Phases, Report, reported

NO_REPORT = Report()
HELD_AHEAD_MS = 60_000
"""So much later than its maxDuration a request may close that was held."""
MOST = 2**52
"""The highest number that is believed of a status: beyond it counting on would leave what JSON and Lua keep
exact, and whoever forges it must not keep the storm from being written."""

POLICIES = 256
"""Of so many versions of policies the storms share what they hold of it."""

RESOURCES = TypeAdapter(tuple[AffectedResource, ...])


@dataclass(frozen=True, slots=True)
class Request:
    """One RemediationRequest."""

    resource: RemediationRequest
    """Without its affected resources."""
    resource_version: int
    affected: bytes = b"[]"
    """Those, as JSON: they are most of it, and wanted only if Redis has lost the storm."""
    alerts: str = ""
    """Its list of alerts, as `alert_list` writes it."""
    shown: bytes = b"{}"
    """What it shows of its signals, as `evidence` has it."""
    deleted: bool = False

    @property
    def group_hash(self) -> str:
        """The group's id."""
        return self.resource.spec.group_hash

    @property
    def epoch(self) -> int:
        """Which storm of the group it is."""
        return self.resource.spec.epoch

    @property
    def closed(self) -> bool:
        """Whether it is over for good."""
        return self.resource.status is not None and self.resource.status.phase is RequestPhase.CLOSED

    @property
    def is_open(self) -> bool:
        """Whether it is there, and not over."""
        return not self.closed and not self.deleted

    @property
    def begun(self) -> bool:
        """Whether its status says anything of the storm yet."""
        return self.resource.status is not None and self.resource.status.phase is not None

    @property
    def _continuation(self) -> StoredContinuation:
        status = self.resource.status
        return (status and status.continuation) or StoredContinuation()

    @property
    def incarnation(self) -> str:
        """The incarnation of the storm in Redis that it was written from."""
        return self._continuation.incarnation

    @property
    def folded(self) -> int:
        """How much of that incarnation its status holds."""
        status = self.resource.status
        return believed(max(self._continuation.folded, status.signals.total if status else 0))

    @property
    def position(self) -> RequestPosition:
        """How much of which incarnation it holds."""
        return RequestPosition(self.epoch, self.incarnation, self.folded, self.origin)

    @property
    def version(self) -> PolicyVersion:
        """The policy as it was when the storm opened."""
        return version_of(self.resource.spec)

    @property
    def since_ms(self) -> int:
        """When the first signal happened that it has counted, Unix ms; 0 if it says nothing yet."""
        status = self.resource.status
        return milliseconds(status.first_seen) if status else 0

    @property
    def through(self) -> int:
        """The resourceVersion of the newest Signal that it has counted, or the request before it."""
        return through_of(self._continuation.counted_signals)

    @property
    def event_through(self) -> int:
        """The same of Events."""
        return through_of(self._continuation.counted_events)

    @property
    def made_ms(self) -> int:
        """When it was made, Unix ms, by the API server's clock."""
        return milliseconds(self.resource.metadata.creation_timestamp)

    @property
    def policy(self) -> PolicyId:
        """The policy under which it was made, whatever its version."""
        ref = self.resource.spec.policy_ref
        return PolicyId(ref.kind, ref.namespace or "", ref.name)

    @property
    def namespace(self) -> str:
        """Where it lies."""
        return self.resource.metadata.namespace

    @property
    def written_from(self) -> str:
        """Both: what a storm that is continued from it has as its origin."""
        return f"{self.incarnation}:{self.folded}"

    @property
    def origin(self) -> str:
        """What that incarnation was itself continued from."""
        return self._continuation.origin

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """What its status says in conditions."""
        return self.resource.status.conditions if self.resource.status else ()

    def holding(self, kind: ConditionType) -> Condition | None:
        """That condition, if it is True."""
        return next((one for one in self.conditions if one.type == kind and one.holds), None)

    @property
    def report(self) -> Report:
        """What the consumer last reported, and whether the request is to be closed."""
        status, closing = self.resource.status, CLOSE_ANNOTATION in self.resource.metadata.annotations
        if not status or not status.remediation:
            return Report(closing=True) if closing else NO_REPORT
        said, claim = status.remediation, status.remediation.claim
        expires_ms = milliseconds(claim.expiration_time) if claim else 0
        worked_on = Claim(claim.holder_identity, claim.revision, expires_ms) if claim else None
        return Report(said.phase or "", said.observed_revision, worked_on, closing)

    @property
    def log_fields(self) -> dict[str, str]:
        """What each log line about it says: where it is, by which policy, and the name of what fires."""
        spec = self.resource.spec
        return {
            "namespace": self.namespace,
            "request": self.resource.metadata.name,
            "policy": spec.policy_ref.name,
            "what": spec.name,
        }

    @property
    def subject(self) -> Subject:
        """What gates ask of it."""
        spec, status, metadata = self.resource.spec, self.resource.status, self.resource.metadata
        return Subject(
            metadata.uid,
            metadata.namespace,
            metadata.name,
            spec.policy_ref.name,
            (status and status.severity) or spec.severity,
            {
                item.key.removeprefix("labels."): item.value
                for item in spec.group
                if item.value is not None and item.key.startswith("labels.")
            },
            status.decision if status else None,
            opened_ms=milliseconds(spec.opened_at),
            rank=((status and status.severity) or spec.severity).rank,
            claimed_until_ms=self.report.claim.expires_ms if self.report.claim else 0,
            resources=status.affected_resource_count if status else 0,
            affected=self.affected,
            node=next((item.value or "" for item in spec.group if item.key == "node"), ""),
            mirrored=self._mirrored,
            busy=status is not None and status.phase is RequestPhase.OPEN,
        )

    @property
    def _mirrored(self) -> bool:
        decision = self.resource.status.decision if self.resource.status else None
        goes = decision is not None and decision.verdict is Verdict.PROCEED
        said = ConditionStatus.TRUE if goes else ConditionStatus.FALSE
        return any(one.type == ConditionType.PROCEED and one.status is said for one in self.conditions)

    @property
    def held_causes(self) -> causes.Held:
        """What it says of causes."""
        return causes.Held(self._continuation.causes, self.folded, evidence.causes_of(self.shown))

    def told_others(self) -> str:
        """What other storms are to know of how common values are."""
        return seen_of(causes.decoded(self._continuation.causes, self.version.counted_attributes))

    @property
    def sampled(self) -> int:
        """How many samples had been taken when it was written."""
        return believed(self._continuation.sampled)

    def held_ms(self, now_ms: int) -> int:
        """For how long it was not allowed to proceed. While it is not, a minute more: so that its end is not
        looked for all the time."""
        decision = self.resource.status.decision if self.resource.status else None
        held = decision is not None and decision.verdict is not Verdict.PROCEED
        return held_ms(decision, now_ms) + (HELD_AHEAD_MS if held else 0)

    @property
    def firing_alerts(self) -> int:
        """How many of the instances that fire are alerts of a webhook."""
        return self._continuation.firing_alerts

    @property
    def has_its_list(self) -> bool:
        """Whether its list of alerts is one that stormfold has written, and was not taken away."""
        stored = self._continuation
        return alert_list.readable(self.alerts) if self.alerts else stored.alerts <= stored.unlisted_alerts

    @property
    def tracked_alerts(self) -> tuple[TrackedAlert, ...] | None:
        """The alerts that it lists; None if it does not have its list."""
        return alert_list.decoded(self.alerts) if self.has_its_list else None

    def listed(self) -> tuple[AffectedResource, ...]:
        """The affected resources that it lists."""
        return RESOURCES.validate_json(self.affected)

    def reported(self, phases: Phases, revision: int, now_ms: int) -> Reported:
        """What is to be decided by that, for a storm with this revision."""
        return reported(self.report, self.conditions, phases, revision=revision, now_ms=now_ms)

    @classmethod
    def read(cls, body: dict[str, Any], known: "Request | None" = None) -> "Request":
        """The request of an API object. Raises pydantic's ValidationError if it is none that we could have
        made.

        The spec is that of an earlier version of the same object, if it is `known`.
        """
        of_interest, affected, alerts, shown = wanted(body), b"[]", "", b"{}"
        status, metadata = of_interest.get("status"), of_interest["metadata"]
        if status:
            shown = evidence.taken_out(status)
            affected = orjson.dumps(status.pop("resources", None) or [])
            alerts = status.pop("withAlerts", None) or ""
        if known and known.has_spec_of(metadata):
            spec: Any = known.resource.spec
        elif spec := of_interest["spec"]:
            spec = spec | {"policy": _policy(orjson.dumps(spec.get("policy")))}
        said = {"metadata": metadata, "spec": spec, "status": status}
        try:
            resource = RemediationRequest.model_validate(said)
        except ValidationError as exc:
            resource = RemediationRequest.model_validate(said | {"status": readable(status or {}, exc)})
        return cls(resource, int(metadata["resourceVersion"]), affected, alerts, shown)

    def has_spec_of(self, metadata: dict[str, Any]) -> bool:
        """Whether that object, of which this is the metadata, has the same spec."""
        ours = self.resource.metadata
        return (ours.uid, ours.generation) == (metadata.get("uid"), metadata.get("generation"))


@lru_cache(POLICIES)
def _policy(text: bytes) -> PolicySpec:
    return PolicySpec.model_validate_json(text)


def version_of(spec: RemediationRequestSpec) -> PolicyVersion:
    """The policy as it was when the storm opened."""
    ref = spec.policy_ref
    return PolicyVersion(
        PolicyId(ref.kind, ref.namespace or "", ref.name), ref.uid, ref.generation, spec.policy
    )


def opening_of(request: Request) -> Opening:
    """What was fixed when the storm opened."""
    spec = request.resource.spec
    version = version_of(spec)
    target = spec.target
    return Opening(
        Group(
            version.id,
            tuple((item.key, item.value) for item in spec.group),
            request.resource.metadata.namespace,
        ),
        version.uid,
        version.generation,
        version.spec_json,
        spec.name,
        spec.severity,
        Target(target.api_version, target.kind, target.name, target.namespace) if target else None,
    )


def believed(number: int) -> int:
    """The number, if it is one that a storm can have."""
    return min(number, MOST)


def through_of(counted: Counted | None) -> int:
    """The resourceVersion up to which all is counted; 0 if none is."""
    return min(int(counted.resource_version), MAX_INT) if counted else 0
