"""StormPolicy and ClusterStormPolicy: which signals belong together, and when they are a storm."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field

from stormfold.api.conditions import Conditions
from stormfold.api.duration import Duration, parse_duration
from stormfold.api.evidence import EvidenceRules
from stormfold.api.match import Match
from stormfold.api.resource import AS_SET, ApiModel, Count, Resource, cel
from stormfold.api.signal import Severity
from stormfold.api.value_errors import NAMESPACE_NAME

PLAIN_KEYS = (
    *("name", "namespace", "severity", "source"),
    *("target.kind", "target.name", "target.owner", "owner", "node"),
)
"""What `groupBy` may name, beside `labels.<key>`."""

GroupKey = Annotated[
    str,
    Field(
        min_length=1,
        max_length=135,
        json_schema_extra=cel(
            (
                f"self.matches('^({'|'.join(PLAIN_KEYS).replace('.', '[.]')}|labels[.].+)$')",
                f"must be one of {', '.join(PLAIN_KEYS)}, or labels.<key> with a key",
                "",
            )
        ),
    ),
]


class Threshold(ApiModel):
    """When a group of signals is a storm: as soon as one of the two counts is reached."""

    signals: Annotated[int, Field(ge=1, le=100_000)] = 5
    """So many signals that say Firing. Signals that say Resolved do not count here."""
    resources: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """So many different targets. Left out, targets do not matter."""
    within: Duration = "1m"
    """The time from a group's first signal in which the count must be reached, such as 1m."""

    @property
    def within_ms(self) -> int:
        """`within` in milliseconds."""
        return parse_duration(self.within)


class Window(ApiModel):
    """When a storm is over."""

    idle: Duration = "1m"
    """A storm without a signal for this long is Settled: its counts are final unless another signal comes."""
    max_duration: Duration = "6h"
    """A storm is closed this long after it opened, even if signals still arrive; they open the next one."""

    @property
    def idle_ms(self) -> int:
        """`idle` in milliseconds."""
        return parse_duration(self.idle)

    @property
    def max_duration_ms(self) -> int:
        """`maxDuration` in milliseconds."""
        return parse_duration(self.max_duration)


class Limits(ApiModel):
    """What a policy may cost."""

    resources: Annotated[int, Field(ge=1, le=100)] = 25
    """How many affected resources a request lists, with exact counts. Further ones are only counted, as an
    estimate."""
    open_storms: Annotated[int, Field(ge=1, le=10_000)] = 500
    """How many storms of this policy may be open at once, in each namespace in which it makes
    requests. Further groups wait until one is closed, the highest severity first: Signals for an hour at
    most, alerts by being posted again."""


class BelowThreshold(StrEnum):
    """What becomes of signals that make no storm."""

    REQUEST = "Request"
    DISCARD = "Discard"


class CloseOn(StrEnum):
    """What that fires keeps a request from closing for quiet."""

    AUTO = "Auto"
    RECOVERED = "Recovered"
    QUIET = "Quiet"


class MissingKeys(StrEnum):
    """Where signals go that have no value of a key in groupBy."""

    NEXT_POLICY = "NextPolicy"
    GROUP = "Group"


REOPEN_AFTER_MOST = "23h"
"""The longest time after which a group opens again: for a day its alerts are known, and its closed request is
kept."""


class ReopenAfter(ApiModel):
    """How long after its end a request whose alerts still fire is followed by another one: 23h at most."""

    succeeded: Duration = "5m"
    """After Succeeded or Completed: the fix needs time to show."""
    failed: Duration = "10m"
    """After any other terminal phase, such as Failed, TimedOut or Aborted."""

    @property
    def succeeded_ms(self) -> int:
        """`succeeded` in milliseconds."""
        return parse_duration(self.succeeded)

    @property
    def failed_ms(self) -> int:
        """`failed` in milliseconds."""
        return parse_duration(self.failed)


class PolicySpec(ApiModel):
    """Which signals belong together, when they are a storm, and when it is over."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            (
                "duration(self.window.idle) > duration('0s')",
                "window.idle must be greater than 0s",
                ".window.idle",
            ),
            (
                "duration(self.window.maxDuration) > duration('0s')",
                "window.maxDuration must be greater than 0s",
                ".window.maxDuration",
            ),
            (
                "duration(self.closeAfter) > duration('0s')",
                "closeAfter must be greater than 0s",
                ".closeAfter",
            ),
            (
                "duration(self.staleAfter) > duration('0s')",
                "staleAfter must be greater than 0s",
                ".staleAfter",
            ),
            (
                "duration(self.threshold.within) > duration('0s')",
                "threshold.within must be greater than 0s",
                ".threshold.within",
            ),
            (
                "duration(self.window.idle) <= duration(self.window.maxDuration)",
                "window.idle must be less than or equal to window.maxDuration",
                ".window.idle",
            ),
            (
                "duration(self.window.idle) <= duration(self.closeAfter)",
                "window.idle must be less than or equal to closeAfter",
                ".window.idle",
            ),
            (
                "duration(self.groupWait) <= duration(self.threshold.within)",
                "groupWait must be less than or equal to threshold.within",
                ".groupWait",
            ),
            *(
                (
                    f"duration(self.reopenAfter.{field}) <= duration('{REOPEN_AFTER_MOST}')",
                    f"reopenAfter.{field} must be {REOPEN_AFTER_MOST} or less",
                    f".reopenAfter.{field}",
                )
                for field in ("succeeded", "failed")
            ),
            (
                "duration(self.requestRetention) >= duration('1h')",
                "requestRetention must be 1h or more",
                ".requestRetention",
            ),
        )
    )

    match: Match = Field(default_factory=Match)
    """Which signals the policy governs. Empty matches all of them but Kubernetes Events."""
    priority: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """Where several policies match, a StormPolicy goes before a ClusterStormPolicy, then the higher priority,
    then the name."""
    group_by: Annotated[tuple[GroupKey, ...], Field(min_length=1, max_length=8, json_schema_extra=AS_SET)] = (
        "name",
        "namespace",
    )
    """Signals that agree in all of these belong to one group: name, namespace, severity, source, target.kind,
    target.name, owner, node, or labels.<key>. missingKeys is about signals that lack one of them. owner (or
    target.owner) is the top controller of the target, such as Deployment/shop/web for a pod of it. It is the
    target itself if that has no controller. node is the node of the target. Both are null if stormfold does
    not know them, as of a pod that was gone before stormfold saw it."""
    missing_keys: MissingKeys = MissingKeys.NEXT_POLICY
    """Where signals go that lack a key of groupBy. NextPolicy: to the next policy that matches them and whose
    keys they all have. If there is none, they form a group here. Group: they form a group here."""
    threshold: Threshold = Field(default_factory=Threshold)
    """When a group of signals is a storm."""
    group_wait: Duration = "1s"
    """How long a group's first signals are gathered before a request is made; reaching the threshold ends it
    early."""
    below_threshold: BelowThreshold = BelowThreshold.REQUEST
    """What becomes of a group that stays below the threshold. Request: it gets a request, whose condition
    StormDetected is False. Discard: it gets none, and its signals are marked Discarded."""
    window: Window = Field(default_factory=Window)
    """When a storm is over."""
    close_after: Duration = "15m"
    """A request without a signal for this long is Closed, unless what fires holds it open; the next signal
    opens another one."""
    close_on: CloseOn = CloseOn.AUTO
    """What holds a request open while it fires. Auto: alerts, since they resolve; Signals and Events mostly
    do not. Recovered: all signals. Quiet: nothing. window.maxDuration ends a request in any case."""
    stale_after: Duration = "24h"
    """An alert that is neither repeated nor resolved for this long no longer counts as firing. Set it longer
    than the repeat_interval of Alertmanager. It may take a sixteenth longer until that is noticed. If Redis
    loses its data, the time starts again."""
    reopen_after: ReopenAfter = Field(default_factory=ReopenAfter)
    """If a consumer closes a request while alerts in it fire, the group opens its next one after this time,
    with reason StillFiring; at once if window.maxDuration has closed it. Never after Skipped or Cancelled,
    after the annotation stormfold.dev/close, or if closeOn is Quiet: then something new opens the next
    one."""
    retention: Duration = "10m"
    """How long a Signal is kept after it was counted."""
    request_retention: Duration = "168h"
    """How long a request is kept after it was Closed, at least 1h. If alerts still fired in the last request
    of its group, that is kept for 24h at least, since they are repeated."""
    limits: Limits = Field(default_factory=Limits)
    """What the policy may cost."""
    evidence: EvidenceRules | None = None
    """What requests may show of signals beside names and numbers."""
    causes: Annotated[tuple[GroupKey, ...], Field(max_length=8, json_schema_extra=AS_SET)] | None = None
    """Attributes whose values may explain a storm: what groupBy may name, but no label that looks like a
    secret. A request shows the value that most of its signals have, if it is more common there than
    elsewhere. Of values that explain equally much, that of the first attribute in this list wins. Left out:
    node, owner, namespace, labels.image, labels.zone, labels.cluster. Owners, and nodes of pods, are then
    known only if some policy names them."""
    severity_map: Annotated[dict[Annotated[str, Field(max_length=63)], Severity], Field(max_length=32)] = (
        Field(default_factory=dict)
    )
    """Severity that a signal states, and the one to use instead. The key may also be any other word of an
    alert's label severity, such as P0, sev1 or page. Case counts only if two keys differ by it. A word that
    is not mapped counts as unknown."""
    request_namespace: Annotated[str, Field(min_length=1, max_length=63, pattern=NAMESPACE_NAME)] | None = (
        None
    )
    """Namespace in which the requests are made. May be left out when groupBy contains namespace: each request
    is then made in the namespace of its signals."""

    @property
    def group_wait_ms(self) -> int:
        """`groupWait` in milliseconds."""
        return parse_duration(self.group_wait)

    @property
    def close_after_ms(self) -> int:
        """`closeAfter` in milliseconds."""
        return parse_duration(self.close_after)

    @property
    def stale_after_ms(self) -> int:
        """`staleAfter` in milliseconds."""
        return parse_duration(self.stale_after)

    @property
    def retention_ms(self) -> int:
        """`retention` in milliseconds."""
        return parse_duration(self.retention)

    @property
    def request_retention_ms(self) -> int:
        """`requestRetention` in milliseconds."""
        return parse_duration(self.request_retention)


class PolicyStatus(ApiModel):
    """What stormfold says about the policy."""

    observed_generation: Count | None = None
    """Generation of the spec that this status is about."""
    conditions: Conditions = ()
    """Accepted: whether the policy is in force, and if not, why; if it is, what in it looks wrong.
    GroupsWaiting: whether groups wait for a request, since limits.openStorms are open, how many, where and
    since when. GroupValueMissing, once it was True: whether signals lack a key of groupBy, and how many."""


class StormPolicy(Resource):
    """Which signals of its own namespace belong together and when they are a storm. Requests are made in the
    same namespace."""

    plural: ClassVar[str] = "stormpolicies"

    spec: PolicySpec
    """Which signals it governs, how they are grouped, when a group is a storm, and when that is over."""
    status: PolicyStatus | None = None
    """What stormfold says about the policy."""


class ClusterStormPolicy(Resource):
    """Which signals of the cluster belong together and when they are a storm. Governs those that no
    StormPolicy governs."""

    plural: ClassVar[str] = "clusterstormpolicies"
    namespaced: ClassVar[bool] = False

    spec: PolicySpec
    """Which signals it governs, how they are grouped, when a group is a storm, and when that is over."""
    status: PolicyStatus | None = None
    """What stormfold says about the policy."""
