"""Gates and requests as the judging sees them: base values, and what the API server would give."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from tests.harness.values import T0

from stormfold.gate.gates import Gate, Subject

OPERATOR_NAMESPACE = "stormfold-system"

SUBJECT = Subject(
    uid="uid-1",
    namespace="shop",
    name="storm-1",
    policy="node-outage",
    severity="critical",
    labels={"registry": "harbor"},
    decision=None,
)


def time_at(seconds: float) -> str:
    """So many seconds after T0, as the API writes it."""
    return datetime.fromtimestamp(T0 / 1000 + seconds, UTC).isoformat().replace("+00:00", "Z")


def gate_body(
    name: str = "everything",
    *,
    namespace: str = OPERATOR_NAMESPACE,
    version: int = 1,
    status: dict[str, Any] | None = None,
    **spec: Any,
) -> dict[str, Any]:
    """A StormGate as the API server gives it."""
    metadata = {
        "name": name,
        "namespace": namespace,
        "uid": f"uid-{namespace}-{name}",
        "generation": 1,
        "resourceVersion": str(version),
    }
    return {"metadata": metadata, "spec": spec} | ({"status": status} if status else {})


def gate(name: str = "everything", **more: Any) -> Gate:
    """The same as it is read."""
    return Gate.read(gate_body(name, **more))


def hold(by: str = "alice", **more: Any) -> dict[str, Any]:
    """A hold in a spec."""
    return {"by": by, "reason": "the registry is moved"} | more
