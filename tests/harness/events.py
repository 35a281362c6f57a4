"""An Event as the API server stores it, the arrival that it becomes, and a stream without an API server."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tests.harness.streams import event_stream
from tests.harness.values import NOBODY, T0

from stormfold.api.reason import Reason
from stormfold.api.reasons.signals import SignalReason
from stormfold.api.signal import Severity, SignalPhase
from stormfold.kube.changes import Change
from stormfold.model.arrival import Arrival, EventRef, Target, Verdict
from stormfold.model.checkpoint import Checkpoint
from stormfold.sources.events.parser import EventParser, SeenEvent
from stormfold.sources.progress import Progress

PARSE = EventParser(NOBODY)
CREATED = "2026-01-01T00:00:00Z"
WRITE = {"manager": "kubelet", "operation": "Update", "time": CREATED}
BODY: dict[str, Any] = {
    "metadata": {
        "name": "web-0.18a1f0c3d2e4b501",
        "namespace": "shop",
        "uid": "uid-1",
        "resourceVersion": "110",
        "creationTimestamp": CREATED,
        "managedFields": [WRITE],
    },
    "type": "Warning",
    "reason": "Failed",
    "message": 'Failed to pull image "registry.example/web:1": connection refused',
    "count": 1,
    "eventTime": None,
    "firstTimestamp": CREATED,
    "lastTimestamp": CREATED,
    "involvedObject": {
        "apiVersion": "v1",
        "kind": "Pod",
        "namespace": "shop",
        "name": "web-0",
        "uid": "uid-of-web-0",
        "fieldPath": "spec.containers{web}",
    },
    "source": {"component": "kubelet", "host": "worker-07"},
    "reportingComponent": "kubelet",
    "reportingInstance": "worker-07",
}
ARRIVAL = Arrival(
    ref=EventRef("uid-1", 110, 1, 0),
    name="Failed",
    namespace="shop",
    severity=Severity.WARNING,
    firing=True,
    target=Target("v1", "Pod", "web-0", "shop"),
    labels={
        "component": "kubelet",
        "host": "worker-07",
        "container": "web",
        "image": "registry.example/web:1",
        "registry": "registry.example",
    },
    source="event",
    seen_ms=T0,
    fingerprint="uid-of-web-0/Failed",
    via=NOBODY,
    annotations={"message": 'Failed to pull image "registry.example/web:1": connection refused'},
)


def body(
    *, metadata: dict[str, Any] | None = None, about: dict[str, Any] | None = None, **fields: Any
) -> dict[str, Any]:
    """BODY with other fields; one of None is taken away."""
    made = copy.deepcopy(BODY)
    made["metadata"] |= metadata or {}
    made["involvedObject"] |= about or {}
    made |= fields
    made["involvedObject"] = {
        key: value for key, value in made["involvedObject"].items() if value is not None
    }
    return {key: value for key, value in made.items() if value is not None}


def arrival(of: dict[str, Any]) -> Arrival:
    """What an Event becomes that must become something."""
    outcome = PARSE(of).outcome
    assert isinstance(outcome, Arrival)
    return outcome


LATER, MUCH_LATER = "2026-01-01T00:05:00Z", "2026-01-01T01:00:00.500000Z"


def version(number: int, count: int = 1, **changes: Any) -> SeenEvent:
    """The Event at a resourceVersion; one with a count was written to since its creation."""
    metadata = changes.pop("metadata", {}) | {"resourceVersion": str(number)}
    if count > 1:
        metadata = {"managedFields": [WRITE | {"time": LATER}]} | metadata
    return PARSE(body(metadata=metadata, count=count, **changes))


class Stream:
    """A stream that began at checkpoint 100, with the refs that it has submitted."""

    def __init__(self) -> None:
        self.progress = Progress()
        self.progress.begin(Checkpoint(100, T0 // 1000 - 60))
        self.progress.begun()
        self.submitted: list[EventRef] = []
        self.room = True
        self.stream = event_stream(self.progress, folder=self)
        self.backlog = self.stream.backlog

    async def submit(self, arrival: Arrival, waits: Callable[[str], bool]) -> str | None:
        """As the folder."""
        if waits("shop") or not self.room:
            return "shop"
        assert isinstance(arrival.ref, EventRef)
        self.submitted.append(arrival.ref)
        return None

    async def take(self, *changes: Change[SeenEvent]) -> list[tuple[int, int, int]]:
        """(resourceVersion, after, count) of what is submitted of these changes."""
        before = len(self.submitted)
        for change in changes:
            await self.stream.take(change)
        return [(ref.resource_version, ref.after, ref.count) for ref in self.submitted[before:]]

    def conclude(self, verdict: Verdict) -> None:
        """The last that was submitted is durable."""
        self.stream.durable(replace(ARRIVAL, ref=self.submitted[-1]), verdict)

    @property
    def checkpoint(self) -> int:
        """Up to which resourceVersion all is durable."""
        return self.progress.checkpoint().resource_version


def concluded(phase: SignalPhase, reason: Reason) -> Verdict:
    """What became of an occurrence, without words."""
    return Verdict(phase, reason, "")


COUNTED = concluded(SignalPhase.FOLDED, SignalReason.COUNTED)
NOT_GOVERNED = concluded(SignalPhase.REJECTED, SignalReason.NO_POLICY_MATCHES)
