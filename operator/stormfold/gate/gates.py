"""Gates: what each StormGate says, and which of them govern a request. Pure."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from pydantic import ValidationError

from stormfold.api.decision import Decision, DecisionRef, Verdict
from stormfold.api.resource import ObjectMeta, identity_of
from stormfold.api.stormgate import GateSelector, GateState, StormGate, StormGateSpec, StormGateStatus
from stormfold.api.value_errors import first_fault
from stormfold.model.moments import milliseconds

MAX_GATES = 50
"""Gates of a namespace that are in force at once: each is asked about each request there."""
FOREVER = 2**63
"""Later than any time."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What gates ask of a request that is not closed."""

    uid: str
    namespace: str
    name: str
    policy: str
    severity: str
    labels: Mapping[str, str]
    """The labels by which its policy groups."""
    decision: Decision | None
    """What it says now."""
    opened_ms: int = 0
    rank: int = 0
    """Of its severity: the highest goes first."""
    claimed_until_ms: int = 0
    """When its claim expires; 0 without a claim."""
    resources: int = 0
    """How many it affects."""
    affected: bytes = b"[]"
    """Those that it lists, as JSON."""
    node: str = ""
    """The node by which its group is formed."""
    mirrored: bool = True
    """Whether its condition Proceed says the same as its decision."""
    busy: bool = False
    """Whether signals arrive: then its counts are written each second."""

    @property
    def proceeds(self) -> bool:
        """Whether it says Proceed."""
        return self.decision is not None and self.decision.verdict is Verdict.PROCEED

    def is_claimed(self, now_ms: int) -> bool:
        """Whether somebody works on it."""
        return now_ms < self.claimed_until_ms


@dataclass(frozen=True, slots=True)
class Hold:
    """One hold of a gate."""

    by: str
    reason: str
    verdict: Verdict
    until_ms: int
    """`FOREVER` if it does not end by itself."""
    until: str
    """The same as it was written."""

    def is_over(self, now_ms: int) -> bool:
        """Whether its time is over."""
        return now_ms >= self.until_ms


@dataclass(frozen=True, slots=True)
class Gate:
    """One StormGate."""

    metadata: ObjectMeta
    spec: StormGateSpec
    status: StormGateStatus
    holds: tuple[Hold, ...] = ()
    fault: str = ""
    """What cannot be read; none of the spec is in force then."""
    warnings: tuple[str, ...] = ()
    """Holds that end never, since their `until` cannot be read."""
    zeros: tuple[str, ...] = ()
    """Limits that have no effect."""
    selects: Callable[[Subject], bool] = field(default=lambda _: True, compare=False)
    """Whether it governs a request of a namespace that it may govern."""

    @property
    def places(self) -> frozenset[str]:
        """UIDs of the requests that have a place."""
        return frozenset(place.uid for place in self.status.places)

    @property
    def state(self) -> GateState:
        """Of its breaker."""
        return (self.spec.breaker and self.status.state) or GateState.PASSING

    @property
    def has_budget(self) -> bool:
        """Whether a request needs a place to proceed."""
        budget = self.spec.budget
        return budget is not None and bool(budget.concurrent or budget.per_hour)

    @property
    def counts_nodes(self) -> bool:
        """Whether its breaker must know how many nodes there are."""
        return self.spec.breaker is not None and bool(self.spec.breaker.percent_of_nodes)

    @property
    def is_guarded(self) -> bool:
        """Whether it holds requests by itself: Proceed is said only after a write of its status then."""
        return self.spec.breaker is not None or self.has_budget

    @property
    def is_settled(self) -> bool:
        """Whether it is looked at who has a place, and whether the breaker moves."""
        return self.is_guarded or bool(self.status.places) or self.status.state is not None

    def allows_for(self, uid: str) -> bool:
        """Whether its limits hold even if that request, which is to say something else, says Proceed."""
        return self.state is not GateState.PROBING and (not self.has_budget or uid in self.places)

    @property
    def key(self) -> tuple[str, str]:
        """(namespace, name)."""
        return self.metadata.namespace, self.metadata.name

    @property
    def version(self) -> tuple[str, str]:
        """(UID, resourceVersion): differs for each write of it."""
        return self.metadata.uid, self.metadata.resource_version

    @property
    def resource_version(self) -> int:
        """Of two versions the later one has the higher."""
        return int(self.metadata.resource_version or 0)

    def ref(self, hold: str | None = None) -> DecisionRef:
        """How decisions name it."""
        return DecisionRef(
            kind=StormGate.__name__, namespace=self.metadata.namespace, name=self.metadata.name, hold=hold
        )

    def __str__(self) -> str:
        return f"StormGate {self.metadata.namespace}/{self.metadata.name}"

    @classmethod
    def read(cls, body: dict[str, Any]) -> "Gate":
        """The gate of an API object, whatever it says."""
        metadata = ObjectMeta.model_validate(identity_of(body["metadata"]))
        try:
            status = StormGateStatus.model_validate(body.get("status") or {})
        except ValidationError:  # somebody else wrote it, and it is written anew
            status = StormGateStatus()
        raw: dict[str, Any] = body.get("spec") or {}
        untils = {hold.get("by"): hold.get("until") or "" for hold in raw.get("holds") or ()}
        warnings: list[str] = []
        spec, fault = _spec(raw, warnings)
        return cls(
            metadata,
            spec,
            status,
            tuple(
                Hold(
                    hold.by,
                    hold.reason,
                    hold.verdict,
                    milliseconds(hold.until) if hold.until else FOREVER,
                    untils.get(hold.by, ""),
                )
                for hold in spec.holds
            ),
            fault,
            tuple(warnings),
            tuple(_zeros(spec)),
            selection(spec.selector),
        )


def _spec(raw: dict[str, Any], warnings: list[str]) -> tuple[StormGateSpec, str]:
    """The spec, and what cannot be read of it. The API server takes times that Python does not: such a hold
    holds until it is removed."""
    holds = []
    for hold in raw.get("holds") or ():
        try:
            StormGateSpec.model_validate({"holds": [hold]})
        except ValidationError:
            hold = {key: value for key, value in hold.items() if key != "until"}
            warnings.append(
                f"the hold of {hold.get('by')} has no end: write its until as a time such as "
                "2026-03-01T11:00:00Z"
            )
        holds.append(hold)
    try:
        return StormGateSpec.model_validate(raw | {"holds": holds}), ""
    except ValidationError as exc:
        return StormGateSpec(), first_fault(exc)


def _zeros(spec: StormGateSpec) -> Iterator[str]:
    for part, limits in (("breaker", spec.breaker), ("budget", spec.budget)):
        given = limits.manifest() if limits else {}
        if limits and not given.keys() - {"within", "cooldown"}:
            yield f"{part} has no limit and has no effect"
        for name, value in given.items():
            if value == 0:
                yield f"{part}.{name} is 0 and has no effect: to hold everything, add a hold"


def selection(selector: GateSelector | None) -> Callable[[Subject], bool]:
    """A function that tells whether a selector takes a request."""
    if selector is None:
        return lambda _: True
    policies, severities = frozenset(selector.policies), frozenset(map(str, selector.severities))
    namespaces, labels = frozenset(selector.namespaces), selector.labels.items()
    checks: list[Callable[[Subject], bool]] = []  # only what it gives: each gate is asked about each request
    if policies:
        checks.append(lambda subject: subject.policy in policies)
    if namespaces:
        checks.append(lambda subject: subject.namespace in namespaces)
    if severities:
        checks.append(lambda subject: subject.severity in severities)
    if labels:
        checks.append(lambda subject: labels <= subject.labels.items())
    if len(checks) == 1:
        return checks[0]

    def selects(subject: Subject) -> bool:
        for check in checks:  # noqa: SIM110 - `all` makes a generator each time
            if not check(subject):
                return False
        return True

    return selects


class Listener(Protocol):
    """Who hears of gates."""

    def changed(self) -> None:
        """A gate has changed."""


class GateIndex:
    """The gates as this process last saw them; the higher resourceVersion wins."""

    def __init__(self, operator_namespace: str) -> None:
        """Gates in `operator_namespace` govern all namespaces."""
        self._everywhere = operator_namespace
        self._listeners: list[Listener] = []
        self._gates: dict[str, dict[str, Gate]] = {}
        """Namespace → name → gate."""
        self._in_force: dict[str, tuple[Gate, ...]] = {}

    def subscribe(self, *listeners: Listener) -> None:
        """Let them hear of each change."""
        self._listeners += listeners

    def seen(self, body: dict[str, Any]) -> None:
        """Take in an API object as a list or a watch gave it."""
        self.observe(Gate.read(body))

    def observe(self, gate: Gate) -> None:
        """Take in a version of a gate, unless a newer one is known."""
        namespace, name = gate.key
        known = self._gates.setdefault(namespace, {}).get(name)
        if known and known.resource_version >= gate.resource_version:
            return
        self._gates[namespace][name] = gate
        self._note(namespace)

    def gone(self, uid: str, version: int) -> None:
        """A gate was deleted with that resourceVersion."""
        for gate in self.all():
            if gate.metadata.uid == uid and gate.resource_version <= version:
                self._forget(gate)

    def listed(self, gates: Iterable[Gate], version: int) -> None:
        """These are all that there were when a list with that resourceVersion was made."""
        found = {gate.key: gate for gate in gates}
        for gate in self.all():
            if gate.key not in found and gate.resource_version <= version:
                self._forget(gate)
        for gate in found.values():
            self.observe(gate)

    def _forget(self, gate: Gate) -> None:
        namespace, name = gate.key
        del self._gates[namespace][name]
        self._note(namespace)

    def _note(self, namespace: str) -> None:
        gates = sorted(self._gates[namespace].values(), key=lambda gate: gate.key)
        self._in_force[namespace] = tuple(gate for gate in gates if not gate.fault)[:MAX_GATES]
        if not gates:
            del self._gates[namespace], self._in_force[namespace]
        for listener in self._listeners:
            listener.changed()

    def all(self) -> list[Gate]:
        """Every gate, also those that are not in force."""
        return [gate for gates in self._gates.values() for gate in gates.values()]

    def is_in_force(self, gate: Gate) -> bool:
        """Whether it is one of those that are asked."""
        return any(gate is other for other in self._in_force.get(gate.metadata.namespace, ()))

    def governs_all(self, gate: Gate) -> bool:
        """Whether it governs the requests of all namespaces."""
        return gate.metadata.namespace == self._everywhere

    def of(self, subject: Subject) -> tuple[Gate, ...]:
        """The gates that govern a request, those of the operator's namespace first."""
        everywhere = self._in_force.get(self._everywhere, ())
        own = () if subject.namespace == self._everywhere else self._in_force.get(subject.namespace, ())
        return tuple([gate for gates in (everywhere, own) for gate in gates if gate.selects(subject)])
