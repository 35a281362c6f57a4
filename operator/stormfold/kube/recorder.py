"""Kubernetes Events about our objects: what `kubectl describe` shows at the bottom."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import uuid4

from prometheus_client import Counter

from stormfold.kube import paths
from stormfold.kube.client import KubeClient
from stormfold.kube.errors import ApiError

log = logging.getLogger(__name__)

COMPONENT = "stormfold"
"""The reporting component of our Events."""
QUEUE = 256
"""Events that wait to be written; the oldest are dropped beyond it."""
PER_SECOND = 10
"""Events written a second, at most: they are a courtesy."""
ONCE_SECONDS = 60.0
"""How long Events about many objects of a namespace are told apart only by their reason."""
MAX_MESSAGE = 1024
"""The API server takes no longer message."""

EVENTS = Counter("stormfold_events_total", "Kubernetes Events by what became of them.", ["outcome"])


@dataclass(frozen=True, slots=True)
class About:
    """The object that an Event is about."""

    api_version: str
    kind: str
    name: str
    namespace: str
    uid: str


class Recorder:
    """Writes Events in the background, never on the way of a storm."""

    def __init__(self, client: KubeClient, *, identity: str) -> None:
        self._client = client
        self._identity = identity
        self._queue: deque[tuple[str, Mapping[str, Any]]] = deque()
        self._work = asyncio.Event()
        self._recorded: dict[tuple[str, str], float] = {}

    def record_once(
        self, about: About, kind: Literal["Normal", "Warning"], reason: str, message: str
    ) -> None:
        """Note an Event, unless one with this reason was noted about the namespace within `ONCE_SECONDS`."""
        key, now = (about.namespace, reason), time.monotonic()
        if now - self._recorded.get(key, -ONCE_SECONDS) < ONCE_SECONDS:
            return
        self._recorded[key] = now
        if len(self._recorded) > QUEUE:
            self._recorded.pop(next(iter(self._recorded)))
        self.record(about, kind, reason, message)

    def record(self, about: About, kind: Literal["Normal", "Warning"], reason: str, message: str) -> None:
        """Note an Event to be written."""
        now = datetime.now(UTC)
        namespace = about.namespace or "default"
        if len(self._queue) >= QUEUE:
            self._queue.popleft()
            EVENTS.labels(outcome="dropped").inc()
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{about.name[:200]}.{uuid4().hex[:16]}", "namespace": namespace},
            "involvedObject": {
                "apiVersion": about.api_version,
                "kind": about.kind,
                "name": about.name,
                "namespace": about.namespace,
                "uid": about.uid,
            },
            "type": kind,
            "reason": reason,
            "message": message[:MAX_MESSAGE],
            "eventTime": now.isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "firstTimestamp": now.isoformat(timespec="seconds").replace("+00:00", "Z"),
            "lastTimestamp": now.isoformat(timespec="seconds").replace("+00:00", "Z"),
            "count": 1,
            "action": reason,
            "reportingComponent": COMPONENT,
            "reportingInstance": self._identity[:128],
            "source": {"component": COMPONENT},
        }
        self._queue.append((namespace, event))
        self._work.set()

    async def run(self) -> None:
        """Write Events for ever; one that is refused is dropped."""
        while True:
            await self._work.wait()
            while self._queue:
                namespace, event = self._queue.popleft()
                try:
                    await self._client.create(paths.events(namespace), event)
                    EVENTS.labels(outcome="written").inc()
                except ApiError as exc:
                    EVENTS.labels(outcome="failed").inc()
                    log.debug("Event not written", extra={"error": str(exc)})
                await asyncio.sleep(1 / PER_SECOND)
            self._work.clear()
