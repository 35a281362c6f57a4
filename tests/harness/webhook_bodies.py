"""The body of a post of one alert, and what the parser makes of it."""

from __future__ import annotations

import json
from typing import Any

from tests.harness.values import NOBODY, T0

from stormfold.api.signal import Severity
from stormfold.model.arrival import AlertRef, Arrival, Target
from stormfold.policy.router import Router
from stormfold.sources.alerts.parser import AlertParser, Body, Refusal

LABELS = {"alertname": "PodDown", "severity": "warning", "namespace": "shop", "pod": "web-0"}
ALERT: dict[str, Any] = {
    "status": "firing",
    "labels": LABELS,
    "annotations": {"summary": "It is down."},
    "startsAt": "2026-01-01T00:00:00Z",
    "endsAt": "0001-01-01T00:00:00Z",
    "generatorURL": "http://prometheus/graph",
    "fingerprint": "0123456789abcdef",
}
ARRIVAL = Arrival(
    ref=AlertRef(0, T0 // 1000),
    name="PodDown",
    namespace="shop",
    severity=Severity.WARNING,
    firing=True,
    target=Target("v1", "Pod", "web-0", "shop"),
    labels=LABELS,
    source="alertmanager",
    seen_ms=T0 + 1000,
    fingerprint="0123456789abcdef",
    via=NOBODY,
    annotations={"summary": "It is down.", "generator_url": "http://prometheus/graph"},
)


def payload(*alerts: Any, **changes: Any) -> bytes:
    """The body of a post."""
    return json.dumps({"version": "4", "status": "firing", "alerts": list(alerts)} | changes).encode()


def parse(body: bytes, now_ms: int = T0 + 1000) -> Body:
    """What becomes of a body that comes a second after its alerts."""
    return AlertParser("ops", Router())(body, post=NOBODY, now_ms=now_ms)


def only(alert: Any) -> Arrival | Refusal:
    """What became of a body with this alert alone."""
    body = parse(payload(alert))
    (found,) = [*body.arrivals, *body.refusals]
    return found


def with_labels(**labels: Any) -> dict[str, Any]:
    """The alert with some labels changed, or without those that are None."""
    return ALERT | {"labels": {k: v for k, v in (LABELS | labels).items() if v is not None}}
