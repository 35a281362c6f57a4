"""Storms under gates, and how long the API server's audit log says that a verdict took."""

from __future__ import annotations

from typing import Any

from tests.harness.api import Manifest
from tests.harness.audit import Audited, AuditLog
from tests.harness.eventually import eventually
from tests.harness.scene import Scene, rows

VERDICT = "status.decision.verdict"
SAID = f"{VERDICT} status.decision.reason status.conditions.Proceed.status status.conditions.Proceed.reason"


async def storms(scene: Scene, *names: str, namespace: str | None = None) -> list[Manifest]:
    """One settled request for each name."""
    for name in names:
        await scene.pods(name, 2, namespace=namespace)
    return await scene.requests_come_to(
        "spec.name status.phase", [(name, "Settled") for name in sorted(names)], namespace=namespace
    )


async def delay(audit: AuditLog, scene: Scene, *, requests: int = 1) -> float:
    """Seconds from the answer to the last change of a gate in the scene's namespace, to the last write of a
    decision on so many requests there, by the API server's clock."""
    last = await decided(audit, scene, requests=requests)
    gates = [one for one in audit.requests(scene.namespace) if one.resource == "stormgates"]
    changed = [one for one in gates if one.verb in {"create", "patch"}]
    return last.received - changed[-1].answered


async def decided(audit: AuditLog, scene: Scene, *, requests: int = 1) -> Audited:
    """The last write of the status of so many requests, by which they say what was waited for. A line is in
    the log a little after the answer."""

    def written() -> list[Audited]:
        return [
            one for one in audit.requests(scene.namespace) if one.resource == "remediationrequests/status"
        ]

    found = await eventually(
        written, lambda seen: len({one.name for one in seen}) >= requests, what="the writes are in the log"
    )
    return found[-1]


async def gate_says(scene: Scene, name: str, paths: str, expected: tuple[Any, ...]) -> Manifest:
    """The gate of the scene's namespace once it says that."""

    async def read() -> Manifest:
        found = await scene.api.get("StormGate", name, scene.namespace)
        assert found
        return found

    return await eventually(
        read, lambda found: rows([found], paths) == [expected], within=20, what=f"{paths} is {expected}"
    )
