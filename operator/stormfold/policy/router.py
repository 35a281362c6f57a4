"""Router: the routing of the moment, and which versions of policies open storms still hold to."""

from collections.abc import Callable, Collection, Iterable, Mapping

from stormfold.api.reasons.signals import SignalReason
from stormfold.api.signal import SignalPhase
from stormfold.model.arrival import AlertRef, Arrival, Verdict
from stormfold.model.group import PolicyId
from stormfold.policy.caveats import MissingValues
from stormfold.policy.index import PolicyIndex
from stormfold.policy.matching import Labels
from stormfold.policy.routing import OpenStorms, Routed, Routing
from stormfold.policy.version import PolicyVersion

DEFAULT_RETENTION_MS = 600_000
"""How long a Signal is kept that no policy governs."""


class Router:
    """Routes arrivals; told of every change of policies and namespaces."""

    def __init__(self, first_missing: Callable[[], None] = lambda: None) -> None:
        """`first_missing` is called when a policy first meets a signal that lacks a key of its `groupBy`."""
        self.missing = MissingValues(first_missing)
        """What signals lacked by which their policies group."""
        self._routing = Routing(PolicyIndex())
        self._namespaces: dict[str, Labels] = {}
        self._in_force: dict[PolicyId, PolicyVersion] = {}
        self._held: tuple[PolicyVersion, ...] = ()
        self.labels_used: frozenset[str] = frozenset()
        """Names of the labels by which a version in force or retained matches or groups."""
        self.request_namespaces: frozenset[str] = frozenset()
        """Namespaces that those versions name for their requests."""
        self.absent: set[str] = set()
        """Namespaces that are known not to be there."""

    def route(self, arrival: Arrival, storms: OpenStorms) -> Routed | Verdict:
        """Where the arrival goes, or why nowhere. An alert whose request could not be made hears so at once:
        nobody waits with it until somebody makes the namespace."""
        routed = self._routing.route(arrival, storms)
        if isinstance(routed, Routed):
            for version, group in routed.lacking:
                self.missing.note(version, group, arrival)
        if (
            isinstance(routed, Routed)
            and isinstance(arrival.ref, AlertRef)
            and routed.group.request_namespace in self.absent
        ):
            return _without_namespace(routed)
        return routed

    def retention_ms(self, arrival: Arrival | None) -> int:
        """How long a durable Signal is kept: as the policy that governs it now says."""
        routed = self._routing.in_force(arrival) if arrival else None
        return routed.version.spec.retention_ms if routed else DEFAULT_RETENTION_MS

    def needs_owner(self, arrival: Arrival) -> bool:
        """Whether the owner or the node of the arrival's target decides where it goes."""
        return self._routing.needs_owner(arrival)

    def update(self, versions: Iterable[PolicyVersion], in_use: Collection[tuple[str, int]]) -> None:
        """Put policies in force; what they replace is retained while a storm that it opened is open. `in_use`
        are the (uid, generation) of the policies that open storms hold to."""
        before = (*self._routing.retained, *self._routing.index.versions)
        self._routing = Routing(PolicyIndex(versions), (), self._namespaces, self._held)
        in_force = self._routing.index.versions
        self.missing.keep(in_force)
        self._in_force = {version.id: version for version in in_force}
        self.retain(before, in_use)

    def retain(self, versions: Iterable[PolicyVersion], in_use: Collection[tuple[str, int]]) -> None:
        """Retain those of the versions that are not in force and opened a storm that is open."""
        index = self._routing.index
        current = {version.key for version in index.versions}
        retained = {
            version.key: version
            for version in (*self._routing.retained, *versions)
            if version.key in in_use and version.key not in current
        }
        in_order = sorted(retained.values(), key=lambda version: version.precedence)
        self._routing = Routing(index, tuple(in_order), self._namespaces, self._held)
        self.labels_used = frozenset().union(*(version.labels_used for version in self.versions))
        self.request_namespaces = frozenset(
            version.spec.request_namespace for version in self.versions if version.spec.request_namespace
        )

    def hold(self, versions: Iterable[PolicyVersion]) -> None:
        """Versions by which there are requests: what those hold stays there, as long as Signals are read
        again that may have been counted. What `retain` is told comes after."""
        distinct = {version.key: version for version in versions}
        self._held = tuple(sorted(distinct.values(), key=lambda version: version.precedence))

    def open_storms(self, policy: PolicyId) -> int | None:
        """`limits.openStorms` of a policy as it is now; None if it is not in force."""
        version = self._in_force.get(policy)
        return version.spec.limits.open_storms if version else None

    def in_force(self, policy: PolicyId) -> PolicyVersion | None:
        """A policy as it is now, if it is in force."""
        return self._in_force.get(policy)

    @property
    def versions(self) -> tuple[PolicyVersion, ...]:
        """Those in force, those retained, and those by which there are requests while that matters."""
        return (*self._routing.held, *self._routing.retained, *self._routing.index.versions)

    def knows_namespace(self, name: str) -> bool:
        """Whether the namespace's labels are known; those of a new one may come later than its first
        signal."""
        return name in self._namespaces

    def namespaces_listed(self, labels: Mapping[str, Labels]) -> None:
        """All namespaces and their labels."""
        self._namespaces.clear()
        self._namespaces.update(labels)

    def namespace_changed(self, name: str, labels: Labels | None) -> None:
        """A namespace has other labels, or None: it is gone."""
        if labels is None:
            self._namespaces.pop(name, None)
        else:
            self._namespaces[name] = labels
            self.absent.discard(name)


def _without_namespace(routed: Routed) -> Verdict:
    """What an alert is told whose request would be made in a namespace that is not there."""
    namespace, policy = routed.group.request_namespace, routed.version.id
    if namespace == routed.arrival.namespace:
        return Verdict(
            SignalPhase.REJECTED,
            SignalReason.NAMESPACE_NOT_FOUND,
            f"the alert is about namespace {namespace!r}, which does not exist: fix that label in the alert",
        )
    return Verdict(
        SignalPhase.REJECTED,
        SignalReason.REQUEST_NAMESPACE_NOT_FOUND,
        f"{policy} makes its requests in namespace {namespace!r}, which does not exist: create it, or change "
        "requestNamespace",
    )
