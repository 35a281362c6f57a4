"""Arrival: one occurrence of a signal, whatever its source.

Times are integer milliseconds of the Unix epoch. What becomes of an arrival is a `Verdict`; the
room that made the arrival is told it once, when the arrival is durable.
"""

from binascii import b2a_base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2b
from typing import ClassVar, Protocol

from stormfold.api.reason import Reason
from stormfold.api.signal import Severity, SignalPhase

SEVERITIES = tuple(sorted(Severity, key=lambda severity: severity.rank))
"""Severities from the least to the worst: the index is the rank that Redis stores."""


ADDRESS_KIND = "Instance"
"""The kind of a target that is no Kubernetes object but has an address; it has no API version and no
namespace."""


STORM_MARK = "stormfold_storm"
"""A label of the alerts that stormfold itself posts about storms: none is counted when it comes back."""

PLACE_BYTES = 1536
"""Texts of an arrival that take one place more; labels alone may have 24 KB, and four times as much beyond
ASCII."""
LABEL_BYTES = 64
"""What a label or an annotation counts beside its texts. 64 labels of two short texts took 5 to 9 KB in
memory; so counted, a place is 1.7 to 2.6 KB, whether there are few labels or many, and whether their texts
are short or long. An alert of the usual size takes one."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a signal is about. `namespace` is None if the object has none or none was named."""

    api_version: str
    kind: str
    name: str
    namespace: str | None = None


CLUSTER_SCOPED = {
    "Node": "",
    "Namespace": "",
    "PersistentVolume": "",
    "APIService": "apiregistration.k8s.io",
    "CertificateSigningRequest": "certificates.k8s.io",
    "ClusterRole": "rbac.authorization.k8s.io",
    "ClusterRoleBinding": "rbac.authorization.k8s.io",
    "ClusterTrustBundle": "certificates.k8s.io",
    "CSIDriver": "storage.k8s.io",
    "CSINode": "storage.k8s.io",
    "CustomResourceDefinition": "apiextensions.k8s.io",
    "DeviceClass": "resource.k8s.io",
    "FlowSchema": "flowcontrol.apiserver.k8s.io",
    "IngressClass": "networking.k8s.io",
    "MutatingAdmissionPolicy": "admissionregistration.k8s.io",
    "MutatingAdmissionPolicyBinding": "admissionregistration.k8s.io",
    "MutatingWebhookConfiguration": "admissionregistration.k8s.io",
    "PriorityClass": "scheduling.k8s.io",
    "PriorityLevelConfiguration": "flowcontrol.apiserver.k8s.io",
    "ResourceSlice": "resource.k8s.io",
    "RuntimeClass": "node.k8s.io",
    "ServiceCIDR": "networking.k8s.io",
    "StorageClass": "storage.k8s.io",
    "ValidatingAdmissionPolicy": "admissionregistration.k8s.io",
    "ValidatingAdmissionPolicyBinding": "admissionregistration.k8s.io",
    "ValidatingWebhookConfiguration": "admissionregistration.k8s.io",
    "VolumeAttachment": "storage.k8s.io",
    "VolumeAttributesClass": "storage.k8s.io",
    "ClusterIssuer": "cert-manager.io",
    "ClusterStormPolicy": "stormfold.dev",
    "GatewayClass": "gateway.networking.k8s.io",
    "VolumeSnapshotClass": "snapshot.storage.k8s.io",
    "VolumeSnapshotContent": "snapshot.storage.k8s.io",
}
"""Kinds that have no namespace → their API group, since another group may have a kind of the same name."""


def object_target(api_version: str, kind: str, name: str, namespace: str | None) -> Target:
    """The object that a Signal or an Event names. A namespace that its kind cannot have is dropped: who
    reports on a Node from within a namespace often names that one, and it is the same Node."""
    if namespace and (group := CLUSTER_SCOPED.get(kind)) is not None:
        said = api_version.rpartition("/")[0]
        if said in ("", group):  # left out, the version is v1
            namespace = None
    return Target(api_version, kind, name, namespace or None)


def address_target(address: str) -> Target:
    """What is no Kubernetes object: a host, or a URL that is probed."""
    return Target("", ADDRESS_KIND, address)


@dataclass(frozen=True, slots=True)
class SignalRef:
    """One version of one `Signal` resource."""

    kind: ClassVar[str] = "signals"
    """What fold.lua calls such."""
    namespace: str
    name: str
    uid: str
    generation: int
    resource_version: int


class Stream(StrEnum):
    """What one leader takes in, each in the order of resourceVersions; the values are what Redis stores."""

    SIGNALS = "signals"
    EVENTS = "events"


class Source(Protocol):
    """Through what arrivals come: a stream of Signals or of Events, or a webhook post. It hears what becomes
    of each."""

    def current(self, arrival: "Arrival") -> "Arrival":
        """The arrival as it is to be folded now."""

    def folded(self, arrival: "Arrival") -> None:
        """Redis has counted it, or knew it, and its group has a request or is to have one."""

    def delayed(self, arrival: "Arrival", why: str) -> None:
        """Its request cannot be written now; it is tried again. Not all of a group need hear it."""

    def waits(self, arrival: "Arrival", why: str) -> bool:
        """Its group has no request until others are closed. Whether it comes again by itself, so that it need
        not be held: then nothing more is heard of it."""

    def pending(self, arrival: "Arrival", reason: Reason, message: str) -> bool:
        """Redis has counted it, or knew it, and no request of its group is to be made so far. Whether its
        sender does not wait for one: then it takes no place from others. If not, `folded` follows."""

    def refused(self, arrival: "Arrival", why: str) -> None:
        """The same, if that may last: one Signal of the group stands for all, and people are to see it
        there."""

    def durable(self, arrival: "Arrival", verdict: "Verdict") -> None:
        """A request holds it, or none will. Comes once, and without `folded` if it was never folded."""


@dataclass(frozen=True, slots=True)
class AlertRef:
    """One alert of a webhook body."""

    kind: ClassVar[str] = "alerts"
    index: int
    """Its place in the body."""
    starts_s: int
    """`startsAt`, seconds of the Unix epoch: a later one than before begins a new occurrence."""
    ends_s: int = 0
    """`endsAt` of an alert that is resolved; 0 while it fires."""
    left_out: int = 0
    """Alerts that their sender left out of the body."""


@dataclass(frozen=True, slots=True)
class EventRef:
    """Some occurrences of one Kubernetes Event: from the `after` + 1st up to the `count`-th."""

    kind: ClassVar[str] = "events"
    uid: str
    resource_version: int
    count: int
    after: int
    """Those up to this one were durable before this process saw the Event, or are not to be counted."""
    span_ms: int = 0
    """How long before the `count`-th the first one was."""


def _bytes_of(text: str) -> int:
    """What Python takes for a text, at most."""
    return len(text) if text.isascii() else 4 * len(text)


@dataclass(frozen=True, slots=True)
class Arrival:
    """One occurrence: a generation of a `Signal`, an alert of a webhook, or some more occurrences of an
    Event."""

    ref: SignalRef | AlertRef | EventRef
    name: str
    namespace: str
    """The namespace it speaks for: its target's, or its own."""
    severity: Severity
    firing: bool
    target: Target | None
    labels: dict[str, str]
    source: str
    seen_ms: int
    """When it happened, by the API server's clock; of an alert, when it was received; of an Event, its latest
    occurrence by the reporter's clock, but not before the Event was created, and not in the future."""
    fingerprint: str
    via: Source
    """Through what it came, and who hears what becomes of it."""
    severity_text: str = ""
    """The severity as the source wrote it, where that is none of ours: a policy's severityMap may know it."""
    owner: str | None = None
    """The target's top controller as `kind/namespace/name`, where a policy wants to know."""
    node: str | None = None
    """The node of the target, where a policy wants to know."""
    annotations: Mapping[str, str] = field(default_factory=dict)
    """Texts for people, as `evidence.kept` keeps them."""
    started_ms: int = 0
    """When the trouble began, if its source says so otherwise than by `ref`."""
    hints: Mapping[str, str] | None = None
    """Labels that it has not itself, but others about the same: they may explain a storm, and decide nothing
    else."""

    @property
    def occurrence(self) -> str:
        """The id under which Redis knows it: of a generation of a Signal or of an Event 64 bits as 11
        characters, of the fingerprint of an alert 48 bits as 8."""
        ref = self.ref
        if isinstance(ref, SignalRef):
            text = f"{ref.uid}/{ref.generation}"
        elif isinstance(ref, AlertRef):
            # A sender for one namespace must not be able to name an alert of another one.
            text = f"{self.namespace}/{self.fingerprint}"
            return b2a_base64(blake2b(text.encode(), digest_size=6).digest())[:8].decode()
        else:
            text = ref.uid
        return b2a_base64(blake2b(text.encode(), digest_size=8).digest())[:11].decode()

    @property
    def places(self) -> int:
        """How many places it takes where arrivals wait: one, and one more for each `PLACE_BYTES` of its
        labels and annotations."""
        labels, notes = self.labels, self.annotations
        texts = (self.name, self.fingerprint, *labels, *labels.values(), *notes, *notes.values())
        whole = "".join(texts)  # most are ASCII: one look at all of it
        text_bytes = len(whole) if whole.isascii() else sum(map(_bytes_of, texts))
        return 1 + (text_bytes + LABEL_BYTES * (len(labels) + len(notes))) // PLACE_BYTES

    @property
    def began_ms(self) -> int:
        """When the trouble began, as its source says; if it does not, when it was seen."""
        if isinstance(self.ref, AlertRef):
            return self.ref.starts_s * 1000
        if isinstance(self.ref, EventRef):
            return self.seen_ms - self.ref.span_ms
        return self.started_ms or self.seen_ms

    @property
    def instance(self) -> int:
        """46 bits that name what fires and later resolves; small enough to be exact, doubled, in Lua's
        numbers."""
        # In all of them is the namespace that it speaks for: one team must not resolve what another one
        # reports, be it about the same node.
        if self.fingerprint:
            parts = [self.fingerprint]
        elif target := self.target:
            parts = [self.name, target.api_version, target.kind, target.namespace or "", target.name]
        else:
            parts = [self.name, *(f"{key}={value}" for key, value in sorted(self.labels.items()))]
        identity = "\x1f".join([self.namespace, *parts])
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
    policy: str = ""
    """Name of the policy of the request."""
