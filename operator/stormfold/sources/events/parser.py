"""A Kubernetes Event as an arrival, or why it is none (pure)."""

import re
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from stormfold.api.reason import Reason
from stormfold.api.reasons.signals import SignalReason
from stormfold.api.resource import GROUP
from stormfold.api.signal import Severity, SignalPhase, SignalSpec
from stormfold.api.value_errors import first_fault
from stormfold.kube.changes import edited, version_number
from stormfold.kube.recorder import COMPONENT
from stormfold.model import evidence
from stormfold.model.arrival import Arrival, EventRef, Source, Verdict, object_target
from stormfold.policy.matching import EVENT_SOURCE

SEVERITIES = {"error": Severity.HIGH, "fatal": Severity.CRITICAL, "critical": Severity.CRITICAL}
"""Types, in lower case, that say more than Warning. Kubernetes has no others than Normal and Warning, and
takes any."""
MAX_TYPE = 63
"""The longest word that a policy's `severityMap` has."""
NAMESPACES_OF_CLUSTER_SCOPED = frozenset(("default", "kube-system"))
"""Where Events about objects without a namespace lie: the API server takes them nowhere else."""
MAX_COUNT = 1_000_000
"""A count beyond it is not believed: nothing above it is counted."""
MAX_LABEL = 256
"""Longer texts are cut before they become labels."""
IMAGE_LABEL, REGISTRY_LABEL = "image", "registry"
CONTAINER = re.compile(r"spec\.(?:containers|initContainers|ephemeralContainers)\{([^{}]{1,253})\}")
"""The fieldPath by which the kubelet names a container."""
IMAGE = re.compile(
    r"(?:Failed to (?:pull image|inspect image|apply default image tag)"
    r'|Container image(?= "[^"]*" is not present))'
    rf' "([^"\\\s]{{1,{MAX_LABEL}}})"'
)
"""The beginnings of the kubelet's warnings that name an image. `Error: ErrImagePull`, `Error:
ImagePullBackOff` and what an aggregated Event says, `(combined from similar events): …`, are none of them: an
aggregated Event has the message of its last occurrence only, and with a label from it the Event would change
its group."""
WITHOUT_IMAGE = re.compile("Error: (?:ErrImage|ImagePullBackOff|ImageInspectError|RegistryUnavailable)")
"""The beginnings of those that are about an image and do not name it."""
REMEMBERED_IMAGES = 4096
"""Containers of which the image is remembered that an Event has named."""


@dataclass(frozen=True, slots=True)
class SeenEvent:
    """An Event as it was read."""

    uid: str
    namespace: str
    name: str
    resource_version: int
    created: int
    """Unix seconds, by the API server's clock."""
    began: int
    """Unix seconds, by the reporter's clock: its first occurrence, perhaps under an Event that has
    expired."""
    edited: bool
    """Something was written to it after its creation."""
    count: int
    """How often it has occurred, at least 1."""
    outcome: Arrival | Verdict | None
    """What it says, with all its occurrences; why that cannot be counted; None: it is left out without a
    word."""
    span_ms: int = 0
    """How long before its latest occurrence the first one under this Event was."""

    @property
    def generation(self) -> int:
        """Which occurrence of it."""
        return self.count

    @property
    def places(self) -> int:
        """What it takes to keep: see `Arrival.places`."""
        return self.outcome.places if isinstance(self.outcome, Arrival) else 1


class EventParser:
    """Reads Events. Left out are those that are Normal or of no type, that stormfold wrote, or about its
    kinds; the arrivals come through `via`."""

    def __init__(self, via: Source) -> None:
        self._via = via
        self._images: OrderedDict[tuple[str, str], dict[str, str]] = OrderedDict()
        """Uid of a pod and field of its container → the labels that tell its image."""

    def __call__(self, body: dict[str, Any]) -> SeenEvent:
        """Read one."""
        metadata, series = body["metadata"], _object(body.get("series"))
        created = datetime.fromisoformat(metadata["creationTimestamp"]).timestamp()
        began = _first_time(body.get("firstTimestamp"), body.get("eventTime")) or created
        last = _first_time(series.get("lastObservedTime"), body.get("lastTimestamp"), body.get("eventTime"))
        count = min(_positive(series.get("count")) or _positive(body.get("count")) or 1, MAX_COUNT)
        version = version_number(metadata.get("resourceVersion"))
        # Never in the future and never before the Event was there, whatever the reporter's clock said.
        seen = max(created, min(last or created, time.time()))
        span_ms = int((seen - min(seen, max(created, began))) * 1000) if count > 1 else 0
        ref = EventRef(metadata["uid"], version, count, 0, span_ms)
        return SeenEvent(
            ref.uid,
            metadata.get("namespace", ""),
            metadata["name"],
            version,
            int(created),
            int(began),
            edited(metadata),
            count,
            self._with_image(
                _outcome(ref, body, metadata.get("namespace", ""), int(seen * 1000), self._via), body
            ),
            span_ms,
        )

    def _with_image(
        self, outcome: Arrival | Verdict | None, body: Mapping[str, Any]
    ) -> Arrival | Verdict | None:
        """The kubelet names an image in its first Event about a container, and not in those that follow."""
        about = _object(body.get("involvedObject"))
        container = _text(about.get("uid")), _text(about.get("fieldPath"))
        if not isinstance(outcome, Arrival) or not all(container):
            return outcome
        named = {
            name: outcome.labels[name] for name in (IMAGE_LABEL, REGISTRY_LABEL) if name in outcome.labels
        }
        if named:
            self._images[container] = named
            self._images.move_to_end(container)
            if len(self._images) > REMEMBERED_IMAGES:
                self._images.popitem(last=False)
        elif container in self._images and WITHOUT_IMAGE.match(_text(body.get("message"))):
            return replace(outcome, hints=self._images[container])
        return outcome


def _outcome(
    ref: EventRef, body: Mapping[str, Any], namespace: str, seen_ms: int, via: Source
) -> Arrival | Verdict | None:
    about, source = _object(body.get("involvedObject")), _object(body.get("source"))
    component = _text(body.get("reportingComponent")) or _text(source.get("component"))
    written = _text(body.get("type"), MAX_TYPE).strip()
    if (
        written.lower() in ("", "normal")
        or component == COMPONENT
        or _text(about.get("apiVersion")).partition("/")[0] == GROUP
    ):
        return None
    # Whoever may write Events in a namespace must not speak for another one. The API server sees to it for
    # Events without an eventTime only.
    speaks_of = _text(about.get("namespace"))
    if speaks_of != namespace and (speaks_of or namespace not in NAMESPACES_OF_CLUSTER_SCOPED):
        return rejected(
            SignalReason.TARGET_IN_OTHER_NAMESPACE,
            f"involvedObject.namespace: {speaks_of!r} must be {namespace!r}, the Event's own namespace",
        )
    container = CONTAINER.fullmatch(_text(about.get("fieldPath")))
    message = _text(body.get("message"), evidence.MAX_TEXT + 1)
    image = IMAGE.match(message, 0, 2 * MAX_LABEL)
    labels = {
        "component": component,
        "host": _text(source.get("host")),
        "container": container[1] if container else "",
        IMAGE_LABEL: image[1] if image else "",
        REGISTRY_LABEL: registry_of(image[1]) if image else "",
    }
    fields: dict[str, Any] = {
        "name": body.get("reason") or "",
        "severity": SEVERITIES.get(written.lower(), Severity.WARNING),
        "labels": {name: value for name, value in labels.items() if value},
        "source": EVENT_SOURCE,
    }
    if about.get("kind") and about.get("name"):
        fields["target"] = {
            "apiVersion": about.get("apiVersion") or "v1",
            "kind": about["kind"],
            "name": about["name"],
            "namespace": speaks_of or None,
        }
    try:
        spec = SignalSpec.model_validate(fields)
    except ValidationError as exc:
        return rejected(SignalReason.INVALID_SIGNAL, f"as a Signal's spec, {first_fault(exc)}")
    target = None
    if named := spec.target:
        target = object_target(named.api_version, named.kind, named.name, named.namespace)
    # One object with one reason is one instance, however many Events tell of it.
    identity = _text(about.get("uid")) or "/".join(
        (target.kind, target.namespace or "", target.name) if target else (namespace,)
    )
    return Arrival(
        ref=ref,
        name=spec.name,
        namespace=namespace,
        severity=spec.severity,
        firing=True,
        target=target,
        labels=spec.labels,
        source=spec.source,
        seen_ms=seen_ms,
        fingerprint=f"{identity}/{spec.name}",
        severity_text="" if written.lower() == "warning" else written,
        via=via,
        annotations={"message": message} if message else {},
    )


def registry_of(image: str) -> str:
    """The registry that an image is pulled from, as container runtimes read its name."""
    host, slash, _ = image.partition("/")
    return host if slash and (host == "localhost" or "." in host or ":" in host) else "docker.io"


def rejected(reason: Reason, message: str) -> Verdict:
    return Verdict(SignalPhase.REJECTED, reason, message[:1024])


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object, limit: int = MAX_LABEL) -> str:
    return value[:limit] if isinstance(value, str) else ""


def _positive(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _first_time(*texts: object) -> float | None:
    """The first that is a time, in Unix seconds; a year that Python does not know is none."""
    for text in texts:
        try:
            when = datetime.fromisoformat(text) if isinstance(text, str) else None
        except ValueError:
            continue
        if when and when.tzinfo:
            return when.timestamp()
    return None
