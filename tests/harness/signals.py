"""A Signal resource, as the API server gives it."""

from __future__ import annotations

import copy
from typing import Any

from tests.harness.streams import OPERATOR_NAMESPACE
from tests.harness.values import NOBODY, T0

from stormfold.api.reasons.signals import SignalReason
from stormfold.api.signal import Severity, SignalPhase
from stormfold.model.arrival import Arrival, SignalRef, Target, Verdict
from stormfold.sources.signals.parser import SignalParser

PARSE = SignalParser(OPERATOR_NAMESPACE, NOBODY)
BODY: dict[str, Any] = {
    "metadata": {
        "name": "web-0-down",
        "namespace": "shop",
        "uid": "uid-1",
        "generation": 1,
        "resourceVersion": "110",
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "managedFields": [{"manager": "kubectl", "operation": "Update", "time": "2026-01-01T00:00:00Z"}],
    },
    "spec": {
        "name": "PodDown",
        "severity": "high",
        "state": "Resolved",
        "target": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "namespace": "shop"},
        "labels": {"app": "web"},
        "annotations": {"summary": "web is down"},
        "source": "alertmanager",
        "fingerprint": "f1",
        "startsAt": "2026-01-01T00:00:00Z",
    },
}
REF = SignalRef("shop", "web-0-down", "uid-1", 1, 110)
COUNTED = Verdict(SignalPhase.FOLDED, SignalReason.COUNTED, "counted in RemediationRequest shop/storm-1")


def body(
    *, metadata: dict[str, Any] | None = None, status: dict[str, Any] | None = None, **spec: Any
) -> dict[str, Any]:
    """BODY with other fields; a spec field of None is taken away."""
    made = copy.deepcopy(BODY)
    made["metadata"] |= metadata or {}
    made["spec"] = {key: value for key, value in (made["spec"] | spec).items() if value is not None}
    if status is not None:
        made["status"] = status
    return made


ARRIVAL = Arrival(
    ref=REF,
    name="PodDown",
    namespace="shop",
    severity=Severity.HIGH,
    firing=False,
    target=Target("apps/v1", "Deployment", "web", "shop"),
    labels={"app": "web"},
    source="alertmanager",
    seen_ms=T0,
    fingerprint="f1",
    via=NOBODY,
    annotations=BODY["spec"]["annotations"],
    started_ms=T0,
)
