"""Which storm an arrival goes to, with what is open now taken into account."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol

from stormfold.api.reasons.signals import SignalReason
from stormfold.api.signal import Severity, SignalPhase
from stormfold.model.arrival import AlertRef, Arrival, Verdict
from stormfold.model.group import Group
from stormfold.policy.index import PolicyIndex
from stormfold.policy.matching import Labels
from stormfold.policy.version import PolicyVersion

NO_LABELS: Labels = {}


class Place(NamedTuple):
    """A request, as far as routing asks."""

    version: PolicyVersion
    """The policy under which it was made."""
    group: Group


class OpenStorms(Protocol):
    """What routing must know of storms and of their requests."""

    def is_open(self, group_hash: str) -> bool:
        """Whether the group has a storm, or waits for one."""

    def holds(self, group_hash: str, arrival: Arrival) -> bool:
        """Whether the group's requests have counted a Signal or an Event, as far as they tell."""

    def listed_in(self, alert: Arrival) -> Place | None:
        """Where the open request is that lists the alert."""


@dataclass(frozen=True, slots=True)
class Routed:
    """An arrival with the group it goes to, under the version of the policy that holds for it."""

    original: Arrival
    """As it came."""
    arrival: Arrival
    """As it is counted: with the severity that the policy maps it to."""
    group: Group
    version: PolicyVersion
    lacking: tuple[tuple[PolicyVersion, Group], ...] = ()
    """Policies in force that match it and of whose keys it lacks one, up to the one that takes it."""


@dataclass(frozen=True)
class Routing:
    """The policies in force, those that open storms still hold to, and the labels of namespaces."""

    index: PolicyIndex
    retained: tuple[PolicyVersion, ...] = ()
    """Versions that are no longer in force but opened a storm that is still open, in order of precedence."""
    namespaces: Mapping[str, Labels] = field(default_factory=dict)
    held: tuple[PolicyVersion, ...] = ()
    """Versions by which there are requests, in order of precedence, while Signals are read again."""

    def route(self, arrival: Arrival, storms: OpenStorms) -> Routed | Verdict:
        """Where the arrival goes, or why nowhere.

        What a request holds stays there. A storm goes on under what opened it: a retained version is asked
        next, but takes only what belongs to a storm that is open. All else goes by the policies in force.
        """
        labels = self.namespaces.get(arrival.namespace, NO_LABELS)
        listed = storms.listed_in(arrival) if isinstance(arrival.ref, AlertRef) else None
        if listed and listed.version.governs(arrival, labels):
            return _routed(arrival, listed.version, listed.group)  # its node or owner may be another by now
        for version in self.held:
            if version.governs(arrival, labels):
                routed = _routed(arrival, version)
                if storms.holds(routed.group.group_hash, arrival):
                    return routed
        for version in self.retained:
            if version.governs(arrival, labels):
                routed = _routed(arrival, version)
                if storms.is_open(routed.group.group_hash):
                    return routed
        return self.in_force(arrival) or Verdict(
            SignalPhase.REJECTED,
            SignalReason.NO_POLICY_MATCHES,
            f"no policy in force matches signal {arrival.name!r} of namespace {arrival.namespace!r}: add a "
            "policy, or let the match of one select it",
        )

    def in_force(self, arrival: Arrival) -> Routed | None:
        """Where the arrival goes by the policies in force alone: to the first that matches it and of whose
        keys it has all, unless one before takes it all the same; else to the first that matches. None if none
        does."""
        first: Routed | None = None
        lacking: list[tuple[PolicyVersion, Group]] = []
        labels = self.namespaces.get(arrival.namespace, NO_LABELS)
        for version in self.index.governing(arrival, labels):
            routed = _routed(arrival, version)
            if routed.group.missing:
                lacking.append((version, routed.group))
            first = first or routed
            if version.takes(routed.group):
                return replace(routed, lacking=tuple(lacking)) if lacking else routed
        return first and replace(first, lacking=tuple(lacking))

    def needs_owner(self, arrival: Arrival) -> bool:
        """Whether the owner or the node of the arrival's target decides where it goes."""
        labels = self.namespaces.get(arrival.namespace, NO_LABELS)
        of_storms = (*self.held, *self.retained)
        if any(version.needs_owners and version.governs(arrival, labels) for version in of_storms):
            return True
        for version in self.index.governing(arrival, labels):
            if version.needs_owners:
                return True
            if version.takes(version.group(arrival)):
                return False
        return False


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


def _routed(arrival: Arrival, version: PolicyVersion, group: Group | None = None) -> Routed:
    severity = mapped_severity(arrival, version.spec.severity_map)
    counted = arrival if severity is arrival.severity else replace(arrival, severity=severity)
    return Routed(arrival, counted, group or version.group(counted), version)
