"""Gates and requests as anybody sees them on the API server.

By what docs/gates.md and docs/consumers.md promise, and with nothing of stormfold's own code.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

Manifest = Mapping[str, Any]
TERMINAL = frozenset(("succeeded", "completed", "failed", "cancelled", "timedout", "skipped", "aborted"))


@dataclass(frozen=True, slots=True)
class Gate:
    """What a StormGate says."""

    namespace: str
    name: str
    spec: Manifest
    status: Manifest

    @classmethod
    def read(cls, body: Manifest) -> Gate:
        """Of an API object."""
        metadata = body["metadata"]
        return cls(metadata["namespace"], metadata["name"], body.get("spec") or {}, body.get("status") or {})

    @property
    def places(self) -> dict[str, bool]:
        """UID of each request that has a place → whether it is the canary."""
        return {place["uid"]: place.get("canary", False) for place in self.status.get("places") or ()}

    @property
    def state(self) -> str:
        """Of its breaker."""
        has_breaker = self.spec.get("breaker") is not None
        return (self.status.get("state") if has_breaker else None) or "Passing"

    def limit(self, name: str) -> int:
        """Of its budget; 0 for none."""
        return (self.spec.get("budget") or {}).get(name) or 0

    def governs(self, request: Request, everywhere: str) -> bool:
        """Whether it governs a request, if those of the namespace `everywhere` govern all."""
        if self.namespace not in {everywhere, request.namespace}:
            return False
        selector = self.spec.get("selector") or {}
        return all(
            not selector.get(key) or value in selector[key]
            for key, value in (
                ("namespaces", request.namespace),
                ("policies", request.policy),
                ("severities", request.severity),
            )
        ) and all(request.labels.get(key) == value for key, value in (selector.get("labels") or {}).items())

    def checks(self, uid: str) -> Iterator[tuple[str, float]]:
        """What keeps a request that it governs from Proceed, and until when that is so at the latest."""
        for hold in self.spec.get("holds") or ():
            until = hold.get("until")
            ends = datetime.fromisoformat(until).timestamp() if until else math.inf
            yield f"{hold['by']} says {hold.get('verdict', 'Hold')}", ends
        if self.state == "Tripped":
            yield "it is Tripped", math.inf
        if self.state == "Probing" and not self.places.get(uid):
            yield "it probes by another request", math.inf
        if (self.limit("concurrent") or self.limit("perHour")) and uid not in self.places:
            yield "it has no place for it", math.inf

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Request:
    """What a RemediationRequest says."""

    uid: str
    namespace: str
    name: str
    policy: str
    severity: str
    labels: Mapping[str, str]
    open: bool
    verdict: str
    reason: str
    remediation: Manifest

    @classmethod
    def read(cls, body: Manifest) -> Request:
        """Of an API object."""
        metadata, spec, status = body["metadata"], body["spec"], body.get("status") or {}
        decision = status.get("decision") or {}
        return cls(
            metadata["uid"],
            metadata["namespace"],
            metadata["name"],
            (spec.get("policyRef") or {}).get("name", ""),
            status.get("severity") or spec.get("severity", ""),
            {
                item["key"].removeprefix("labels."): item.get("value")
                for item in spec.get("group") or ()
                if item["key"].startswith("labels.")
            },
            status.get("phase") != "Closed",
            decision.get("verdict", ""),
            decision.get("reason", ""),
            status.get("remediation") or {},
        )

    @property
    def proceeds(self) -> bool:
        """Whether a consumer may begin, as it says."""
        return self.open and self.verdict == "Proceed"

    @property
    def phase(self) -> str:
        """What the consumer reports, in lower case."""
        return str(self.remediation.get("phase") or "").lower()

    @property
    def holder(self) -> str:
        """Of the claim."""
        return str((self.remediation.get("claim") or {}).get("holderIdentity", ""))

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


def begins(before: Request, after: Request) -> bool:
    """Whether a consumer has begun: a new claim, or a phase that is not terminal where none was."""
    if ends(before, after):
        return False
    fresh = after.phase and after.phase not in TERMINAL and (not before.phase or before.phase in TERMINAL)
    return bool(fresh) or bool(after.holder and after.holder != before.holder)


def goes_on(before: Request, after: Request) -> bool:
    """Whether a consumer has begun, renewed its claim, or gone on to another phase."""
    claim = after.remediation.get("claim")
    renewed = bool(claim) and claim != before.remediation.get("claim")
    moved = bool(after.phase) and after.phase != before.phase
    return not ends(before, after) and (begins(before, after) or renewed or moved)


def ends(before: Request, after: Request) -> bool:
    """Whether a consumer has reported a terminal phase."""
    return after.phase in TERMINAL and after.phase != before.phase
