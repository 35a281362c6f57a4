"""The signals that come, made in memory, and the policies that take them."""

from __future__ import annotations

import itertools
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

from tests.harness.values import NOBODY

from stormfold.api.signal import Severity
from stormfold.api.stormpolicy import PolicySpec
from stormfold.model.arrival import Arrival, SignalRef, Source, Target
from stormfold.model.group import PolicyId
from stormfold.policy.version import PolicyVersion

POLICIES = 10
"""A policy has at most 10,000 storms open, so that 100,000 need ten."""
RESOURCES = 25
ACTIVE = 100
"""Storms whose signals come at the same time, where each has only few."""
CHUNK = 1000
"""Signals that are made at once."""
LABELS = {"container": "api", "job": "kube-state-metrics", "team": "payments"}


@dataclass(frozen=True)
class Load:
    """So many signals of so many storms; in the order of `waves`, or all storms in turn."""

    signals: int
    storms: int
    waves: bool = False
    """`ACTIVE` storms at a time get all that is theirs."""

    def order(self) -> Iterator[tuple[int, int]]:
        """Storm and pod of each signal."""
        active = ACTIVE if self.waves else self.storms
        each = self.signals // self.storms
        for first in range(0, self.storms, active):
            for pod in range(each):
                for storm in range(first, min(first + active, self.storms)):
                    yield storm, pod

    def arrivals(self, via: Source = NOBODY) -> Iterator[list[tuple[int, Arrival]]]:
        """The signals with their storms, some at a time; `via` hears what becomes of them."""
        versions = itertools.count(48_000_000)
        order = self.order()
        while some := list(itertools.islice(order, CHUNK)):
            yield [(storm, arrival(storm, pod, next(versions), via)) for storm, pod in some]


def arrival(storm: int, pod: int, version: int, via: Source) -> Arrival:
    """A new Signal about one of the pods of a storm's namespace."""
    namespace, name = f"payments-{storm:05}", f"checkout-api-7d9f8b6c5d-{pod % RESOURCES:05}"
    return Arrival(
        ref=SignalRef(namespace, f"signal-{version}", str(uuid.UUID(int=version << 32)), 1, version),
        name=f"KubePodCrashLooping{storm % POLICIES}",
        namespace=namespace,
        severity=Severity.CRITICAL,
        firing=True,
        target=Target("v1", "Pod", name, namespace),
        labels=LABELS,
        source="alertmanager",
        seen_ms=time.time_ns() // 1_000_000,
        fingerprint="",
        via=via,
    )


def policies() -> list[PolicyVersion]:
    """Each takes the signals of one name; no storm settles while this measures."""
    return [
        PolicyVersion(
            PolicyId("ClusterStormPolicy", "", f"trouble-{number}"),
            str(uuid.UUID(int=number)),
            1,
            PolicySpec.model_validate(
                {
                    "match": {"names": [f"KubePodCrashLooping{number}"]},
                    "window": {"idle": "30m"},
                    "closeAfter": "1h",
                    "limits": {"openStorms": 10_000, "resources": RESOURCES},
                }
            ),
        )
        for number in range(POLICIES)
    ]
