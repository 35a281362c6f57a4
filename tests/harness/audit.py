"""What the API server's audit log says: when it had a request, and what it answered, by its own clock.

So a test can tell how long something took without the time that the test itself needs to look.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.harness.eventually import eventually

from lab.controlplane import ControlPlane, Rules


@dataclass(frozen=True)
class Audited:
    """One finished request."""

    verb: str
    resource: str
    """Plural, with `/` and the subresource."""
    namespace: str
    name: str
    user: str
    code: int
    received: float
    """When the API server had it, Unix seconds."""
    answered: float

    @classmethod
    def read(cls, event: dict[str, Any]) -> Audited:
        """Of a line of the log."""
        about = event.get("objectRef") or {}
        subresource = f"/{about['subresource']}" if about.get("subresource") else ""
        return cls(
            event["verb"],
            about.get("resource", "") + subresource,
            about.get("namespace", ""),
            about.get("name", ""),
            event["user"].get("username", ""),
            (event.get("responseStatus") or {}).get("code", 0),
            datetime.fromisoformat(event["requestReceivedTimestamp"]).timestamp(),
            datetime.fromisoformat(event["stageTimestamp"]).timestamp(),
        )


ITS_WRITES: Rules = (
    {
        "level": "RequestResponse",
        "verbs": ["create", "update", "patch"],
        "resources": [
            {
                "group": "stormfold.dev",
                "resources": [
                    *("stormgates", "stormgates/status", "remediationrequests", "remediationrequests/status")
                ],
            }
        ],
        "omitManagedFields": True,
    },
    {"level": "None"},
)
"""Rules of an audit policy: what each write of a gate or a request has made of it."""


def writes_of(log: Path) -> dict[int, float]:
    """resourceVersion → when the write that made it had been answered, as a log by `ITS_WRITES` says."""
    found: dict[int, float] = {}
    with log.open("rb") as lines:
        for line in lines:
            try:
                event = json.loads(line)
            except ValueError:  # of a server that was killed while it wrote
                continue
            version = event.get("responseObject", {}).get("metadata", {}).get("resourceVersion")
            if version:  # a refusal is a Status, which has none; a write that changes nothing comes later
                found.setdefault(int(version), Audited.read(event).answered)
    return found


class AuditLog:
    """What is logged from now on."""

    def __init__(self, control_plane: ControlPlane) -> None:
        assert control_plane.audit_log is not None
        self._log: Path = control_plane.audit_log
        self._from = self._log.stat().st_size

    def requests(self, namespace: str) -> Iterator[Audited]:
        """Those about objects of a namespace, in the order in which they were answered."""
        with self._log.open("rb") as log:
            log.seek(self._from)
            for line in log:
                if line.endswith(b"\n") and namespace.encode() in line:
                    event = json.loads(line)
                    if (event.get("objectRef") or {}).get("namespace") == namespace:
                        yield Audited.read(event)

    async def first(self, namespace: str, holds: Callable[[Audited], bool], *, what: str) -> Audited:
        """The first of them that is so, once it is there."""
        found = await eventually(
            lambda: next((one for one in self.requests(namespace) if holds(one)), None), what=what
        )
        assert found
        return found
