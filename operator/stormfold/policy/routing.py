"""Which storm an arrival goes to, with what is open now taken into account."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from stormfold.api.conditions import Reason
from stormfold.api.signal import Severity, SignalPhase
from stormfold.model.arrival import Arrival, Place, Span, Verdict
from stormfold.model.group import Group, PolicyId
from stormfold.policy import grouping
from stormfold.policy.index import PolicyIndex
from stormfold.policy.matching import Labels
from stormfold.policy.version import PolicyVersion

NO_LABELS: Labels = {}


class OpenStorms(Protocol):
    """What routing must know of the storms that are open, and of those that were lately."""

    def is_open(self, group_hash: str) -> bool:
        """Whether the group has a storm, or waits for one."""

    def open_count(self, policy: PolicyId, namespace: str) -> int:
        """How many groups of a policy have one with its request in a namespace, without the overflow
        group."""

    def first(self, group_hash: str, stream: str) -> int | None:
        """The lowest resourceVersion of a stream that went to the group's open storm, if that is known."""

    def closed_spans(self, group_hash: str, stream: str) -> Sequence[Span]:
        """What the group's last storms that are closed have counted of a stream."""


@dataclass(frozen=True, slots=True)
class Routed:
    """An arrival with the group it goes to, under the version of the policy that holds for it."""

    original: Arrival
    """As it came."""
    arrival: Arrival
    """As it is counted: with the severity that the policy maps it to."""
    group: Group
    version: PolicyVersion
    recalled: bool = False
    """An alert that goes to the group because that has counted it before."""
    doubtful: bool = False
    """An alert that another group may have counted: Redis does not know any more."""

    @property
    def place(self) -> Place | None:
        """That of the arrival."""
        return self.arrival.place


@dataclass(frozen=True)
class Routing:
    """The policies in force, those that open storms still hold to, and the labels of namespaces."""

    index: PolicyIndex
    retained: tuple[PolicyVersion, ...] = ()
    """Versions that are no longer in force but opened a storm that is still open, in order of precedence."""
    namespaces: Mapping[str, Labels] = field(default_factory=dict)

    def route(self, arrival: Arrival, storms: OpenStorms) -> Routed | Verdict:
        """Where the arrival goes, or why nowhere.

        A storm goes on under what opened it: a retained version is asked first, but takes only what belongs
        to a storm that is open. New groups beyond `limits.openStorms`, counted in each namespace of requests,
        go to the policy's overflow group there, and go on going there until it closes. What another leader
        may have routed before goes where it went then: see `_overflows`.
        """
        labels = self.namespaces.get(arrival.namespace, NO_LABELS)
        for version in self.retained:
            if version.governs(arrival, labels):
                routed = _routed(arrival, version)
                if storms.is_open(routed.group.group_hash):
                    return routed
        found = self.index.match(arrival, labels)
        if found is None:
            return Verdict(
                SignalPhase.REJECTED,
                Reason.NO_POLICY_MATCHES,
                f"no accepted policy governs signal {arrival.name!r} of namespace {arrival.namespace!r}",
            )
        routed = _routed(arrival, found)
        if _keeps(arrival.place, routed.group.group_hash, storms):
            return routed
        overflow = grouping.overflow_group(routed.group)
        full = storms.open_count(found.id, routed.group.request_namespace) >= found.spec.limits.open_storms
        if _overflows(arrival.place, routed.group.group_hash, overflow.group_hash, storms, full=full):
            return replace(routed, group=overflow)
        return routed


def _keeps(place: Place | None, own: str, storms: OpenStorms) -> bool:
    """Whether the storm of its own group that is open has an arrival, whatever else there is: so it is with
    most."""
    if place is None:
        return storms.is_open(own)
    first = storms.first(own, place.stream)
    return first is not None and place.resource_version >= first


def _overflows(place: Place | None, own: str, overflow: str, storms: OpenStorms, *, full: bool) -> bool:
    """Whether an arrival that its own group's storm does not simply keep goes to the overflow group instead.

    A group keeps what comes while its storm is open, and while none is, all goes to the overflow storm as
    long as that is open. Both count a stream in order, so what each has counted of it is a span, and the
    spans say where something went that is read again by another leader, or that waited for a storm to close.
    What is older than the overflow storm must not come to it: it might be taken for counted there.
    """
    if place is None:
        return full or storms.is_open(overflow)
    stream, version = place
    if any(version in span for span in storms.closed_spans(own, stream)):
        return False
    before = storms.closed_spans(overflow, stream)
    if any(version in span for span in before):
        return True
    if storms.is_open(own):
        return False
    if storms.is_open(overflow):
        first = storms.first(overflow, stream)
        return first is None or version >= first
    return full and all(version > span.last for span in before)


def mapped_severity(arrival: Arrival, mapping: Mapping[str, Severity]) -> Severity:
    """The severity that a policy's `severityMap` gives: to the word that the source wrote, exactly or but for
    its case, else to the severity that we made of it."""
    if not mapping:
        return arrival.severity
    for word in (arrival.severity_text, arrival.severity.value):
        if not word:
            continue
        if word in mapping:
            return mapping[word]
        lower = word.lower()
        for key, severity in mapping.items():
            if key.lower() == lower:
                return severity
    return arrival.severity


def _routed(arrival: Arrival, version: PolicyVersion) -> Routed:
    severity = mapped_severity(arrival, version.spec.severity_map)
    counted = arrival if severity is arrival.severity else replace(arrival, severity=severity)
    return Routed(arrival, counted, version.group(counted), version)
