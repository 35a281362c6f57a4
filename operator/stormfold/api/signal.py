"""Signal: one report that something is wrong, or right again."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import AwareDatetime, Field

from stormfold.api.resource import ApiModel, Count, Name, Namespace, Resource

LabelKey = Annotated[str, Field(min_length=1, max_length=128)]
LabelValue = Annotated[str, Field(max_length=256)]

_READABLE_TIME = "^[12][0-9]{3}-.*([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$"
"""Keeps out what passes the API server's own check of times and Python cannot read or convert: year 0, the
offset +25:00, the end of the year 9999."""


class Severity(StrEnum):
    """How bad it is, from the worst to the least; `unknown` when nobody said."""

    CRITICAL = "critical"
    HIGH = "high"
    WARNING = "warning"
    INFO = "info"
    UNKNOWN = "unknown"

    @property
    def rank(self) -> int:
        """A number that is higher the worse it is: 4 for critical, 0 for unknown."""
        return _RANKS[self]


_RANKS = {severity: rank for rank, severity in enumerate(reversed(Severity))}


class SignalState(StrEnum):
    """Whether the trouble is there (Firing) or over (Resolved)."""

    FIRING = "Firing"
    RESOLVED = "Resolved"


class SignalPhase(StrEnum):
    """Where a signal went: into a storm's request (Folded), refused (Rejected), or dropped by its policy
    (Discarded)."""

    FOLDED = "Folded"
    REJECTED = "Rejected"
    DISCARDED = "Discarded"


class Target(ApiModel):
    """The object that is in trouble."""

    api_version: Annotated[str, Field(max_length=100)] = "v1"
    """API group and version of the object, such as apps/v1."""
    kind: Annotated[str, Field(min_length=1, max_length=63)]
    """Kind of the object, such as Pod."""
    name: Name
    """Name of the object."""
    namespace: Namespace | None = None
    """Namespace of the object; leave it out for one that has none, such as a Node. A signal may report
    on its own namespace only: one that names another is Rejected, unless it lies in the namespace of the
    operator."""


class SignalSpec(ApiModel):
    """One occurrence. Changing it reports a new occurrence, which is counted again."""

    name: Name
    """What is wrong, as a short name that all reports of the same trouble share, such as
    KubePodCrashLooping."""
    severity: Severity = Severity.UNKNOWN
    """How bad it is. A policy may map it to another one."""
    state: SignalState = SignalState.FIRING
    """Firing: something is wrong. Resolved: it is over."""
    target: Target | None = None
    """The object that is in trouble, if there is one."""
    labels: Annotated[dict[LabelKey, LabelValue], Field(max_length=64)] = Field(default_factory=dict)
    """Policies select and group by these. They are not the labels in metadata."""
    annotations: Annotated[
        dict[Annotated[str, Field(max_length=128)], Annotated[str, Field(max_length=4096)]],
        Field(max_length=32),
    ] = Field(default_factory=dict)
    """Texts for people, such as summary or runbook. Nothing is selected or grouped by them."""
    source: Annotated[str, Field(max_length=63)] = ""
    """Who reports it, such as alertmanager."""
    starts_at: Annotated[AwareDatetime, Field(json_schema_extra={"pattern": _READABLE_TIME})] | None = None
    """When the trouble began. Left out, it is the time at which the Signal was created."""
    fingerprint: Annotated[str, Field(max_length=128)] | None = None
    """What the source calls this instance of the trouble: firing and resolved reports with the same
    fingerprint belong together. Left out, name and target tell instances apart, or name and labels where
    there is no target."""


class RequestRef(ApiModel):
    """Where a RemediationRequest is found."""

    namespace: Namespace
    """Namespace of the request."""
    name: Name
    """Name of the request."""


class SignalStatus(ApiModel):
    """What became of the signal, for people. It is written late: a signal without a status may be counted
    already."""

    phase: SignalPhase | None = None
    """Folded: counted in a request. Rejected: cannot be counted, see reason. Discarded: the policy wants no
    request for it."""
    reason: Annotated[str, Field(max_length=63)] | None = None
    """Why, as one word; https://stormfold.dev/reasons/ explains each."""
    message: Annotated[str, Field(max_length=1024)] | None = None
    """Why, as a sentence."""
    remediation_request: RequestRef | None = None
    """The request in which the signal is counted."""
    observed_generation: Count | None = None
    """Generation of the spec that this status is about."""


class Signal(Resource):
    """A report that something is wrong, or is over. Signals that belong together are folded into one
    RemediationRequest."""

    plural: ClassVar[str] = "signals"

    spec: SignalSpec
    """The report."""
    status: SignalStatus | None = None
    """What became of the signal."""
