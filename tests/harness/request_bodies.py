"""One group's RemediationRequests, as the API server gives them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.harness.values import ARRIVAL, SNAPSHOT, T0, cluster_version

from stormfold.api.reason import Reason
from stormfold.api.reasons.requests import RequestReason
from stormfold.api.remediationrequest import RemediationRequestSpec, RequestPhase
from stormfold.model.storm import Snapshot
from stormfold.request import rendering
from stormfold.request.reading import Request

POLICY = cluster_version(groupBy=["name", "namespace", "labels.rack"], closeAfter="10m", priority=4)
OPENING = POLICY.opening(POLICY.group(ARRIVAL), ARRIVAL)
GROUP_HASH = OPENING.group.group_hash
STORM = replace(SNAPSHOT, group_hash=GROUP_HASH, epoch=2, terms=POLICY.terms)
"""The second storm of the group, as Redis has it."""


def body(
    storm: Snapshot = STORM,
    phase: RequestPhase | None = RequestPhase.OPEN,
    *,
    version: int = 10,
    uid: str = "request-1",
    remediation: str | None = None,
    closed_for: Reason = RequestReason.QUIET_FOR_CLOSE_AFTER,
) -> dict[str, Any]:
    """A request as the API server gives it back; no phase: its status was never written."""
    made = rendering.manifest(storm, OPENING)
    made["metadata"] |= {"uid": uid, "resourceVersion": str(version), "generation": 1}
    if phase is not None:
        status = rendering.status(
            storm,
            phase,
            closed_for=closed_for if phase is RequestPhase.CLOSED else None,
            spec=RemediationRequestSpec.model_validate(made["spec"]),
            namespace=made["metadata"]["namespace"],
            before=(),
            reported={},
            generation=1,
            now_ms=T0 + 11_000,
        )
        made["status"] = {key: value for key, value in status.items() if value is not None}
    if remediation is not None:
        made.setdefault("status", {})["remediation"] = {"phase": remediation}
    return made


def request(
    storm: Snapshot = STORM, phase: RequestPhase | None = RequestPhase.OPEN, **changes: Any
) -> Request:
    """The same as the index holds it; `changes` are those of `body`."""
    return Request.read(body(storm, phase, **changes))
