"""Arrival: one occurrence of a signal, whatever its source.

Times are integer milliseconds of the Unix epoch. What becomes of an arrival is a `Verdict`; the
room that made the arrival is told it once, when the arrival is safe.
"""

from base64 import b64encode
from dataclasses import dataclass
from hashlib import blake2b

from stormfold.api.conditions import Reason
from stormfold.api.signal import Severity, SignalPhase

SEVERITIES = tuple(sorted(Severity, key=lambda severity: severity.rank))
"""Severities from the least to the worst: the index is the rank that Redis stores."""


@dataclass(frozen=True, slots=True)
class Target:
    """The object a signal is about. `namespace` is None if the object has none or none was named."""

    api_version: str
    kind: str
    name: str
    namespace: str | None = None


@dataclass(frozen=True, slots=True)
class SignalRef:
    """One version of one `Signal` resource."""

    namespace: str
    name: str
    uid: str
    generation: int
    resource_version: int


@dataclass(frozen=True, slots=True)
class Arrival:
    """One occurrence: a generation of a `Signal`."""

    ref: SignalRef
    name: str
    namespace: str
    """The namespace it speaks for: its target's, or its own."""
    severity: Severity
    firing: bool
    target: Target | None
    labels: dict[str, str]
    source: str
    seen_ms: int
    """When it happened, by the API server's clock."""
    fingerprint: str

    @property
    def occurrence(self) -> str:
        """The id under which Redis counts it, once for each generation of a resource: 64 bits as 11 characters."""
        text = f"{self.ref.uid}/{self.ref.generation}"
        return b64encode(blake2b(text.encode(), digest_size=8).digest())[:11].decode()

    @property
    def instance(self) -> int:
        """46 bits that name what fires and later resolves; small enough to be exact, doubled, in Lua's numbers."""
        if self.fingerprint:
            parts = [self.fingerprint]
        elif target := self.target:
            parts = [self.name, target.api_version, target.kind, target.namespace or "", target.name]
        else:
            parts = [self.name, *(f"{key}={value}" for key, value in sorted(self.labels.items()))]
        identity = "\x1f".join(parts)
        return int.from_bytes(blake2b(identity.encode(), digest_size=6).digest()) >> 2


@dataclass(frozen=True, slots=True)
class Verdict:
    """Where a signal went, and why."""

    phase: SignalPhase
    reason: Reason
    message: str
    request_namespace: str = ""
    request_name: str = ""
    retention_ms: int = 600_000
    """How long the Signal is kept from now on."""
