"""RemediationRequest: one storm, for its consumer."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import AwareDatetime, ConfigDict, Field

from stormfold.api.conditions import Conditions
from stormfold.api.decision import Decision
from stormfold.api.evidence import CommonCause, RunbookUrl, Sample, Shared, SignalName
from stormfold.api.resource import ATOMIC, MAX_INT, ApiModel, Count, Name, Namespace, Resource, as_map
from stormfold.api.signal import Severity, Target
from stormfold.api.stormpolicy import PolicySpec


class GroupValue(ApiModel):
    """One of the values that all signals of the storm share."""

    key: Annotated[str, Field(min_length=1, max_length=320)]
    """The entry of the policy's groupBy."""
    value: Annotated[str, Field(max_length=384)] | None = None
    """The value. Absent: the signals had no such label. An owner may have up to 381 characters, all else
    256."""


class PolicyKind(StrEnum):
    """The kinds of policies."""

    STORM_POLICY = "StormPolicy"
    CLUSTER_STORM_POLICY = "ClusterStormPolicy"


class PolicyRef(ApiModel):
    """The policy under which the storm opened."""

    kind: PolicyKind
    """Kind of the policy."""
    name: Name
    """Name of the policy."""
    namespace: Namespace | None = None
    """Namespace of the policy. Absent: a ClusterStormPolicy has none."""
    uid: Annotated[str, Field(max_length=63)]
    """UID of the policy."""
    generation: Count
    """Generation of the policy's spec when the storm opened."""


class OpeningReason(StrEnum):
    """Why a storm opened."""

    NEW_SIGNALS = "NewSignals"
    STILL_FIRING = "StillFiring"


class RequestRef(ApiModel):
    """Another request: of the same namespace, unless the policy has changed requestNamespace since then."""

    name: Name
    """Name of the request."""


class RemediationRequestSpec(ApiModel):
    """Set when the storm opened. It never changes."""

    group_hash: Annotated[str, Field(pattern="^[0-9a-f]{16}$", max_length=16)]
    """Identity of the group: the same policy, keys and values give the same group_hash."""
    epoch: Annotated[int, Field(ge=1, le=MAX_INT)]
    """Which storm of this group it is: 1, 2, 3 and so on."""
    group: Annotated[tuple[GroupValue, ...], Field(max_length=8, json_schema_extra=as_map("key"))] = ()
    """What all signals of the storm have in common."""
    policy_ref: PolicyRef
    """The policy under which the storm opened."""
    policy: PolicySpec
    """The policy's spec when the storm opened: it holds for the whole storm, also if the policy is
    changed or deleted."""
    name: Name
    """Name of the first signal. If none came since the request before: the name in that request."""
    severity: Severity
    """Severity of the first signal. The highest one seen is in the status."""
    target: Target | None = None
    """The object that is in trouble. It is the owner or the node, if the policy groups by it and it is
    known. Else it is the target of the first signal, if that had one."""
    opened_at: AwareDatetime
    """When the storm opened."""
    reason: OpeningReason = OpeningReason.NEW_SIGNALS
    """Why the storm opened. NewSignals: signals came that are in no other request. StillFiring: the request
    before is closed, and alerts of it fire on, or had ended and fire again. They are among
    status.signals.firing, not in the total."""
    previous_ref: RequestRef | None = None
    """The request before, whose alerts fire. Absent unless reason is StillFiring."""


class RequestPhase(StrEnum):
    """Open: signals arrive. Settled: quiet, the counts are final unless another signal comes. Closed: over
    for good."""

    OPEN = "Open"
    SETTLED = "Settled"
    CLOSED = "Closed"


class CountPrecision(StrEnum):
    """Whether a count is exact or an estimate."""

    EXACT = "Exact"
    APPROXIMATE = "Approximate"


MAX_ALERT_LIST = 16_384
"""Characters of the list of alerts: 1,000 take 13,336."""


class SignalCounts(ApiModel):
    """How many signals the storm has."""

    total: Count = 0
    """All signals that were counted."""
    firing: Count = 0
    """Instances whose latest signal says Firing."""
    resolved: Count = 0
    """Instances whose latest signal says Resolved."""
    stale: Count = 0
    """Alerts that were neither repeated nor resolved for staleAfter: they count neither as firing nor as
    resolved."""
    approximate: bool = False
    """True: firing and resolved are estimates, since there were more instances than are tracked, or Redis
    lost them. The condition Exact says whether the total is exact."""


class Counted(ApiModel):
    """What of the Signals, or of the Events, is counted."""

    resource_version: Annotated[str, Field(pattern="^[0-9]{1,19}$", max_length=19)]
    """The resourceVersion of the newest that was counted: those up to it are in the numbers."""


class Continuation(ApiModel):
    """For stormfold alone: where counting goes on if Redis loses its data. It may change in any release."""

    incarnation: Annotated[str, Field(pattern="^[A-Za-z0-9_-]*$", max_length=32)] = ""
    """The incarnation of the storm in Redis whose numbers these are."""
    origin: Annotated[str, Field(pattern="^([A-Za-z0-9_-]*:[0-9]{1,16})?$", max_length=64)] = ""
    """The incarnation, and how much of it, from which that incarnation was continued."""
    folded: Count = 0
    """Signals and other changes that these numbers hold."""
    alerts: Count = 0
    """How many of the signals were alerts of a webhook."""
    unlisted_alerts: Count = 0
    """How many alerts withAlerts does not list. If Redis loses its data, so many may count twice."""
    firing_alerts: Count = 0
    """How many of the instances that fire are alerts of a webhook."""
    sampled: Count = 0
    """How many samples were taken."""
    causes: Annotated[str, Field(max_length=2048)] = ""
    """How often values have come that may explain the storm, by their digests."""
    left_out: Count = 0
    """The most alerts that a sender says it has left out of a post."""
    counted_signals: Counted | None = None
    """Up to which Signals these numbers hold them."""
    counted_events: Counted | None = None
    """Up to which Events."""


class AffectedResource(ApiModel):
    """A target of signals of this storm."""

    api_version: Annotated[str, Field(max_length=100)] = "v1"
    """API group and version of the object. Empty for an Instance."""
    kind: Annotated[str, Field(min_length=1, max_length=63)]
    """Kind of the object. Instance: it is no Kubernetes object but an address, such as the target of a
    probe."""
    namespace: Namespace | None = None
    """Namespace of the object, if it has one."""
    name: Name
    """Name of the object, or address of the Instance."""
    signals: Count = 0
    """How many signals named it."""


class Deadlines(ApiModel):
    """When the request changes its phase by itself. Each time moves as signals arrive, except expire."""

    settle: AwareDatetime | None = None
    """When it is Settled, if no signal comes: last signal plus window.idle."""
    close: AwareDatetime | None = None
    """When it is Closed, if no signal comes: last signal plus closeAfter, or plus window.idle after an Event
    that was met late. Absent while what fires holds it open: closeOn of the policy says what does."""
    expire: AwareDatetime | None = None
    """When it is Closed in any case: creation plus window.maxDuration, plus the time under Hold or Stop.
    Absent under Hold or Stop."""


class Claim(ApiModel):
    """Which consumer works on the request, and until when."""

    model_config = ConfigDict(json_schema_extra=ATOMIC)

    holder_identity: Annotated[str, Field(min_length=1, max_length=253)]
    """Name of the consumer that holds the claim, for example that of its pod. No two consumers may have the
    same."""
    revision: Annotated[int, Field(ge=1, le=MAX_INT)]
    """The status.revision of the request that the consumer has read."""
    expiration_time: AwareDatetime
    """When the claim ends unless its holder renews it. Another consumer may take over then."""


class Remediation(ApiModel):
    """What the consumer reports. Any further fields may be added. Write it by server-side apply:
    docs/consumers.md."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"maxProperties": 64})

    phase: Annotated[str, Field(max_length=63)] | None = None
    """How far the remediation is. A terminal phase, such as Succeeded or Failed, closes the request; any
    other leaves it open. Upper and lower case are the same."""
    message: Annotated[str, Field(max_length=1024)] | None = None
    """The same as a sentence."""
    observed_revision: Annotated[int, Field(ge=1, le=MAX_INT)] | None = None
    """The status.revision that the phase is about. A terminal phase about an older revision than the current
    one does not close the request. Absent: the phase is about the current revision."""
    claim: Claim | None = None
    """Which consumer works on the request, and until when. A claim ends with its request."""


class Display(ApiModel):
    """Short texts for kubectl get. What is cut ends in ~; all of it is in spec."""

    what: Annotated[str, Field(max_length=63)] = ""
    """Name of the first signal."""
    group: Annotated[str, Field(max_length=63)] = ""
    """Values of the group, without the signals' name and the request's own namespace."""


class RemediationRequestStatus(ApiModel):
    """What is known so far. Written by stormfold, except remediation."""

    observed_generation: Count | None = None
    """Generation of the spec that this status is about."""
    phase: RequestPhase | None = None
    """Open: signals arrive. Settled: quiet for window.idle, the counts are final unless another signal comes.
    Closed: over; another signal opens the next request. A summary for eyes: programs read the conditions."""
    signals: SignalCounts = Field(default_factory=SignalCounts)
    """How many signals the storm has. No number ever goes back, except firing, resolved and
    stale."""
    severity: Severity | None = None
    """The highest severity seen. It only rises."""
    first_seen: AwareDatetime | None = None
    """When the first signal arrived; of Events, when the first one happened."""
    last_seen: AwareDatetime | None = None
    """When the latest signal arrived; of Events, when the latest one happened."""
    resources: Annotated[tuple[AffectedResource, ...], Field(max_length=100)] = ()
    """The first targets, at most limits.resources of them and as many as there is room for; those with the
    most signals come first. The status has room for 16 KB, and 320 bytes for each one beyond 25."""
    summary: Annotated[str, Field(max_length=256)] | None = None
    """What came, on what, in one line: how many signals on how many resources, and the most frequent names
    with their counts. Then what they were grouped by, and the value that most share. A + after a count means:
    at least so many."""
    signal_names: Annotated[tuple[SignalName, ...], Field(max_length=10)] | None = None
    """The names of the signals, the most frequent first, at most 10."""
    common_causes: Annotated[tuple[CommonCause, ...], Field(max_length=5)] | None = None
    """What may explain the storm: values that most of its signals have, and that are rarer elsewhere. The one
    that explains most comes first."""
    started_at: AwareDatetime | None = None
    """When the trouble began, as its signals say: the earliest of their startsAt."""
    common_labels: Shared | None = None
    """Labels that all signals so far have with the same value."""
    common_annotations: Shared | None = None
    """Annotations that all signals so far have with the same text."""
    runbook_urls: Annotated[tuple[RunbookUrl, ...] | None, Field(max_length=3, alias="runbookURLs")] = None
    """URLs of runbooks that signals name, the first three."""
    samples: Annotated[tuple[Sample, ...], Field(max_length=5)] | None = None
    """Some signals that said Firing: the first three and the latest two, or fewer, as evidence in the policy
    says. Where the status has no room, their texts are left out."""
    affected_resource_count: Count = 0
    """How many different targets there are."""
    affected_resource_count_precision: CountPrecision = CountPrecision.EXACT
    """Exact up to limits.resources, Approximate beyond."""
    truncated: bool = False
    """True: resources does not list all targets."""
    rate_per_minute: Count = 0
    """Signals per minute lately."""
    revision: Count = 1
    """Starts at 1, and grows by one each time a firing signal reopens the settled request. Consumers report
    the revision that they have seen."""
    deadlines: Deadlines | None = None
    """When the request changes its phase by itself."""
    display: Display | None = None
    """Short texts for the columns of kubectl get."""
    decision: Decision | None = None
    """Whether a consumer may begin, and why. Absent: read it as Hold."""
    conditions: Conditions = ()
    """StormDetected: the threshold was reached. Settled: quiet. Recovered: nothing fires any more.
    Truncated: the list of resources is not complete. Closed: over for good. Exact: each signal is known to
    count once, and no sender has left alerts out. Proceed: a consumer may begin. ClaimExpired,
    RemediationPhaseUnknown, StaleRemediation: what is wrong with status.remediation; absent if nothing ever
    was."""
    continuation: Continuation | None = None
    """For stormfold alone: where counting goes on if Redis loses its data."""
    remediation: Remediation | None = None
    """What the consumer reports. stormfold never writes it."""
    with_alerts: Annotated[str, Field(max_length=MAX_ALERT_LIST)] | None = None
    """The alerts of this request, packed, so that each counts once also if Redis loses its data: up to 1,000.
    For stormfold alone."""


class RemediationRequest(Resource):
    """A storm of signals about one problem, for a person, a workflow or an agent to fix."""

    plural: ClassVar[str] = "remediationrequests"

    spec: RemediationRequestSpec
    """Set when the storm opened: its group, its policy, its first signal. It never changes."""
    status: RemediationRequestStatus | None = None
    """What is known so far: how many signals, of what, since when, and whether it is over. Written by
    stormfold, at most once a second, except remediation."""
