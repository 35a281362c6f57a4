"""Storm: what Redis knows of one, and what a lost one is continued from.

Times are integer milliseconds of the Unix epoch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from stormfold.api.stormpolicy import CloseOn
from stormfold.model.arrival import Target
from stormfold.model.evidence import NOTHING_SHOWN, Evidence, NameCount
from stormfold.model.limits import LISTED_ALERTS


def request_name(group_hash: str, epoch: int) -> str:
    """The name of a storm's RemediationRequest: a function of group and epoch, so that the API server is the
    lock."""
    return f"storm-{group_hash}-{epoch}"


@dataclass(frozen=True, slots=True)
class Terms:
    """What the policy said when the storm opened; a later change of the policy does not touch it."""

    threshold_signals: int
    threshold_resources: int
    """0: no threshold on resources."""
    within_ms: int
    group_wait_ms: int
    discard: bool
    idle_ms: int
    max_duration_ms: int
    close_after_ms: int
    resources: int
    """The most resources that are listed by name."""
    close_on: CloseOn = CloseOn.AUTO
    stale_after_ms: int = 86_400_000


class Detected(StrEnum):
    """Which threshold made the group a storm; the values are what Redis stores."""

    NO = ""
    BY_SIGNALS = "signals"
    BY_RESOURCES = "resources"


class State(StrEnum):
    """Where a storm is in Redis; the values are what Redis stores."""

    OPEN = "open"
    CLOSING = "closing"
    """Frozen: its last status is being written; signals of the group wait."""
    CLOSED = "closed"


class TrackedAlert(NamedTuple):
    """An alert that a storm knows one by one."""

    id: str
    """The digest of its namespace and fingerprint, 48 bits as 8 characters."""
    starts_s: int
    """Its latest start, seconds of the Unix epoch."""
    firing: bool
    stale: bool = False
    """It fired, and no word came for the policy's staleAfter: it is neither firing nor resolved."""


@dataclass(frozen=True, slots=True)
class Seed:
    """All that a request's status says, to continue a storm that Redis has lost."""

    epoch: int
    closed: bool
    incarnation: str = ""
    """The one whose numbers these are."""
    total: int = 0
    folded: int = 0
    firing: int = 0
    resolved: int = 0
    severity: int = 0
    first_ms: int = 0
    last_ms: int = 0
    opened_ms: int = 0
    arrived_ms: int = 0
    """The last arrival by the operator's clock, as near as the request knows: `lastSeen`."""
    detected: Detected = Detected.NO
    settled: bool = False
    revision: int = 1
    through: int = 0
    """resourceVersion of the newest Signal counted: what is not above it is counted."""
    event_through: int = 0
    """The same for Events."""
    alerts: int = 0
    """How many of the signals were alerts."""
    tracked_alerts: Sequence[TrackedAlert] = ()
    """Those of them that the request holds one by one, and those that fire on from the request before."""
    unknown_alerts: int = 0
    """How many of the alerts nobody knows one by one any more."""
    firing_alerts: int = 0
    """How many of those that fire are alerts of a webhook; no more than `firing`."""
    stale_alerts: int = 0
    """See `Snapshot.stale_alerts`."""
    still_firing: bool = False
    """See `Snapshot.still_firing`."""
    left_out: int = 0
    """See `Snapshot.left_out`."""
    resource_count: int = 0
    truncated: bool = False
    resources: Mapping[Target, int] = field(default_factory=dict)
    written_ms: int = 0
    sampled: int = 0
    """See `Evidence.sampled`."""
    names: Mapping[str, NameCount] = field(default_factory=dict)
    """Names of the signals that are counted one by one."""
    names_floor: int = 0
    """How often a name may have come that is not among them."""

    @property
    def origin(self) -> str:
        """The origin of a storm that is continued from it; empty for one that opens."""
        return "" if self.closed else f"{self.incarnation}:{self.folded}"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All of a storm's numbers, read atomically."""

    group_hash: str
    epoch: int
    state: State
    incarnation: str
    """Which incarnation of the storm in Redis this is: it has another one whenever it is continued from its
    request."""
    origin: str
    """`incarnation:folded` of the request that it was continued from; empty if it opened in this
    incarnation."""
    terms: Terms
    opening: str
    """What `policy.version` wrote of the opening signal; opaque to Redis."""
    total: int
    folded: int
    """Signals and other changes, such as the end of an alert. It only rises, and says how much a request
    holds."""
    alerts: int
    """How many of the signals were alerts of a webhook."""
    tracked_alerts: Sequence[TrackedAlert] | None
    """Those of them that are known one by one, and those that fire on from the request before; None if the
    request holds them as they are."""
    unknown_alerts: int
    """How many of the alerts nobody knows one by one since a data loss: so many may count twice."""
    known_alerts: int
    """How many alerts Redis knows one by one."""
    alerts_beyond: int
    """Alerts beyond those that are known one by one: an estimate."""
    firing: int
    resolved: int
    firing_signals: int
    """Signals that said Firing, ever: a storm without one makes no request."""
    approximate: bool
    severity: int
    first_ms: int
    last_ms: int
    opened_ms: int
    arrived_ms: int
    window_ms: int
    """When the threshold's window began."""
    detected: Detected
    rate_per_minute: int
    resources: tuple[tuple[Target, int], ...]
    """Listed resources, the most signals first, at most `terms.resources`."""
    resource_count: int
    truncated: bool
    settled: bool
    revision: int
    through: int
    event_through: int
    written: int
    """The `folded` that the request is known to have reached; 0 before it is made."""
    written_ms: int
    close_reason: str = ""
    closed_ms: int = 0
    firing_alerts: int = 0
    """How many of those that fire are alerts of a webhook."""
    stale_alerts: int = 0
    """Alerts that were neither repeated nor resolved for `terms.stale_after_ms`: they are neither among those
    that fire nor among those that are resolved."""
    stale_look_ms: int = 0
    """When a claim looks for such among those that fire; 0: none fires."""
    still_firing: bool = False
    """It opened since alerts of the request before still fire: it makes a request, whatever the threshold."""
    fires_again: bool = False
    """One of those has fired again, after the request before said that it had ended or was stale."""
    left_out: int = 0
    """The most alerts that a sender says it has left out of a post of which others are here."""
    late_ms: int = 0
    """By how much the latest signal happened before the last arrival: above 0 if those that came last are
    Events that were met late."""
    evidence: Evidence = NOTHING_SHOWN
    """What its signals show that the request may not hold yet."""

    @property
    def holding(self) -> int:
        """How many of those that fire keep the storm from closing for quiet, as the policy says."""
        match self.terms.close_on:
            case CloseOn.AUTO:
                return self.firing_alerts
            case CloseOn.RECOVERED:
                return self.firing
            case CloseOn.QUIET:
                return 0

    @property
    def affected(self) -> int:
        """How many resources. Beyond those that are listed it is an estimate, but there are no more than
        signals."""
        return min(self.resource_count, self.total)

    @property
    def unlisted_alerts(self) -> int:
        """How many alerts the request's list does not have."""
        return max(0, self.known_alerts - LISTED_ALERTS) + self.alerts_beyond + self.unknown_alerts

    @property
    def happened_ms(self) -> int:
        """When the latest signal happened."""
        return self.arrived_ms - self.late_ms

    @property
    def written_from(self) -> str:
        """Incarnation, and how much of it: the origin of what is continued from a request that says so."""
        return f"{self.incarnation}:{self.folded}"
