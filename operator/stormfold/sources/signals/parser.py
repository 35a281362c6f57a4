"""A `Signal` resource as an arrival, or why it is none (pure)."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import ValidationError

from stormfold.api.reason import Reason
from stormfold.api.reasons.signals import SignalReason
from stormfold.api.signal import SignalPhase, SignalSpec, SignalState
from stormfold.api.value_errors import first_fault
from stormfold.kube.changes import edited, version_number
from stormfold.model import evidence
from stormfold.model.arrival import Arrival, SignalRef, Source, Verdict, object_target
from stormfold.sources.alerts.parser import FUTURE_MS
from stormfold.sources.alerts.targets import NAMESPACE_NAME

FUTURE = timedelta(milliseconds=FUTURE_MS)


@dataclass(frozen=True, slots=True)
class Seen:
    """A `Signal` resource as it was read."""

    ref: SignalRef
    created: int
    """Unix seconds."""
    edited: bool
    """Something was written to it after its creation."""
    marked: bool
    """Its status says where this generation went."""
    outcome: Arrival | Verdict
    """What it says, or why it says nothing that can be counted."""

    @property
    def uid(self) -> str:
        """Which object it is."""
        return self.ref.uid

    @property
    def generation(self) -> int:
        """Which occurrence of it."""
        return self.ref.generation

    @property
    def resource_version(self) -> int:
        """Which version of it."""
        return self.ref.resource_version

    @property
    def places(self) -> int:
        """What it takes to keep: see `Arrival.places`."""
        return self.outcome.places if isinstance(self.outcome, Arrival) else 1


class SignalParser:
    """Reads `Signal` resources. `operator_namespace` is the one whose Signals may speak for others; the
    arrivals come through `via`."""

    def __init__(self, operator_namespace: str, via: Source) -> None:
        self._operator_namespace = operator_namespace
        self._via = via

    def __call__(self, body: dict[str, Any]) -> Seen:
        """Read one; what is wrong with it becomes a `Rejected` verdict."""
        metadata = body["metadata"]
        status = body.get("status") or {}
        generation = int(metadata.get("generation") or 1)
        ref = SignalRef(
            metadata.get("namespace", ""),
            metadata["name"],
            metadata["uid"],
            generation,
            version_number(metadata.get("resourceVersion")),
        )
        created = datetime.fromisoformat(metadata["creationTimestamp"])
        return Seen(
            ref,
            int(created.timestamp()),
            edited(metadata),
            bool(status.get("phase")) and status.get("observedGeneration", 0) >= generation,
            self._outcome(ref, created, body.get("spec") or {}),
        )

    def _outcome(self, ref: SignalRef, created: datetime, fields: dict[str, Any]) -> Arrival | Verdict:
        try:
            spec = SignalSpec.model_validate(fields)
        except ValidationError as exc:
            return rejected(SignalReason.INVALID_SIGNAL, f"spec.{first_fault(exc)}")
        target = spec.target
        speaks_for = (target.namespace if target else None) or ref.namespace
        if ref.namespace not in (speaks_for, self._operator_namespace):
            return rejected(
                SignalReason.TARGET_IN_OTHER_NAMESPACE,
                f"spec.target.namespace: {speaks_for!r} must be {ref.namespace!r}, the Signal's own "
                f"namespace. Only Signals in {self._operator_namespace!r} may report on other namespaces",
            )
        if not NAMESPACE_NAME.fullmatch(speaks_for):
            return rejected(
                SignalReason.INVALID_SIGNAL,
                f"spec.target.namespace: {speaks_for!r} is not a valid name of a namespace",
            )
        now = datetime.now(UTC)
        if spec.starts_at and spec.starts_at > now + FUTURE:
            return rejected(
                SignalReason.STARTS_IN_FUTURE,
                f"spec.startsAt: {spec.starts_at.isoformat()} must not be more than 5 minutes in the future",
            )
        happened = created if ref.generation == 1 else now
        return Arrival(
            ref=ref,
            name=spec.name,
            namespace=speaks_for,
            severity=spec.severity,
            firing=spec.state is SignalState.FIRING,
            target=object_target(target.api_version, target.kind, target.name, target.namespace)
            if target
            else None,
            labels=spec.labels,
            source=spec.source,
            seen_ms=int(happened.timestamp() * 1000),
            fingerprint=spec.fingerprint or "",
            via=self._via,
            annotations=evidence.kept(spec.annotations),
            started_ms=int(spec.starts_at.timestamp() * 1000) if spec.starts_at else 0,
        )


def rejected(reason: Reason, message: str) -> Verdict:
    return Verdict(SignalPhase.REJECTED, reason, message[:1024])
