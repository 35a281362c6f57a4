"""Base values: a case takes one and says with `replace` what matters to it."""

from __future__ import annotations

from typing import Any

from stormfold.api.reason import Reason
from stormfold.api.signal import Severity
from stormfold.api.stormpolicy import PolicySpec
from stormfold.model.arrival import Arrival, SignalRef, Target, Verdict
from stormfold.model.group import PolicyId
from stormfold.model.storm import Detected, Snapshot, State, Terms
from stormfold.policy.version import PolicyVersion
from stormfold.request.remediation import Phases

T0 = 1_767_225_600_000
"""2026-01-01T00:00:00Z in Unix ms, when the storms of the tests begin: the beginning of a clock minute."""

PHASES = Phases.of({"Succeeded", "TimedOut"}, {"InProgress", "Running"})
"""What consumers may report."""

POD = Target("v1", "Pod", "web-0", "shop")
NODE = Target("v1", "Node", "worker-07")


class Nobody:
    """A source that does not care what becomes of its arrivals."""

    def current(self, arrival: Arrival) -> Arrival:
        """As it came."""
        return arrival

    def folded(self, arrival: Arrival) -> None:
        """Not of interest."""

    def delayed(self, arrival: Arrival, why: str) -> None:
        """Not of interest."""

    def waits(self, arrival: Arrival, why: str) -> bool:
        """It is held until it is durable."""
        return False

    def pending(self, arrival: Arrival, reason: Reason, message: str) -> bool:
        """It is held until it is durable."""
        return False

    def refused(self, arrival: Arrival, why: str) -> None:
        """Not of interest."""

    def durable(self, arrival: Arrival, verdict: Verdict) -> None:
        """Not of interest."""


NOBODY = Nobody()

ARRIVAL = Arrival(
    ref=SignalRef("shop", "web-0-down", "uid-1", 1, 100),
    name="PodDown",
    namespace="shop",
    severity=Severity.WARNING,
    firing=True,
    target=POD,
    labels={"app": "web", "empty": ""},
    source="alertmanager",
    seen_ms=T0,
    fingerprint="",
    via=NOBODY,
    owner="StatefulSet/shop/web",
    node="worker-07",
)

DEFAULT = PolicyId("ClusterStormPolicy", "", "default")

TERMS = Terms(
    threshold_signals=5,
    threshold_resources=0,
    within_ms=60_000,
    group_wait_ms=1_000,
    discard=False,
    idle_ms=60_000,
    max_duration_ms=21_600_000,
    close_after_ms=900_000,
    resources=25,
)
"""Those of a policy in which nothing is set."""

SNAPSHOT = Snapshot(
    group_hash="0123456789abcdef",
    epoch=2,
    state=State.OPEN,
    incarnation="incarnation-1",
    origin="",
    terms=TERMS,
    opening="",
    total=7,
    folded=7,
    alerts=0,
    tracked_alerts=None,
    unknown_alerts=0,
    known_alerts=0,
    alerts_beyond=0,
    firing=5,
    resolved=1,
    firing_signals=6,
    approximate=False,
    severity=3,
    first_ms=T0 - 4_000,
    last_ms=T0 + 8_000,
    opened_ms=T0,
    arrived_ms=T0 + 10_000,
    window_ms=T0,
    detected=Detected.BY_SIGNALS,
    rate_per_minute=7,
    resources=((POD, 4), (NODE, 2)),
    resource_count=2,
    truncated=False,
    settled=False,
    revision=1,
    through=4711,
    event_through=0,
    written=7,
    written_ms=T0 + 10_500,
)
"""A storm of the default terms whose request holds all that was counted."""


def version(
    kind: str = "StormPolicy",
    namespace: str = "shop",
    name: str = "own",
    *,
    generation: int = 1,
    **spec: Any,
) -> PolicyVersion:
    """A policy whose uid is its name; `spec` by the names of the API."""
    return PolicyVersion(
        PolicyId(kind, namespace, name), f"uid-{name}", generation, PolicySpec.model_validate(spec)
    )


def cluster_version(name: str = "default", *, generation: int = 1, **spec: Any) -> PolicyVersion:
    """The same for a ClusterStormPolicy."""
    return version("ClusterStormPolicy", "", name, generation=generation, **spec)
