"""The component `steering` on a control plane, and what consumers try there."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.harness.api import ApiError, Manifest
from tests.harness.cluster import OPERATOR_NAMESPACE
from tests.harness.consumer import Consumer
from tests.harness.eventually import eventually
from tests.harness.kubectl import Kubectl
from tests.harness.scene import Scene

from lab.controlplane import ControlPlane

MANIFESTS = Path(__file__).parents[2] / "manifests"
BASE = MANIFESTS / "base" / "rbac.yaml"
STEERING = MANIFESTS / "components" / "steering" / "admission.yaml"
VERDICT = "status.decision.verdict"
WAIT = "Do not begin; wait for the condition Proceed"
SEEN_SECONDS = 20.0
"""Until the API server must refuse by what a gate or a request says now. How fast it does is asserted once,
by its own clock; elsewhere what it says counts."""


@contextmanager
def enforced(control_plane: ControlPlane, folder: Path) -> Iterator[Path]:
    """The operator's kubeconfig, while the admission policies are in force for everybody else."""
    kubectl = Kubectl(control_plane.kubeconfig)
    asyncio.run(kubectl("apply", "-f", str(BASE), "-f", str(STEERING)))
    token = control_plane.service_account_token(OPERATOR_NAMESPACE, "stormfold")
    yield control_plane.write_kubeconfig(folder / "kubeconfig", token=token)
    asyncio.run(kubectl("delete", "-f", str(STEERING)))


async def request_under(scene: Scene) -> Manifest:
    """One that is settled and says Proceed, once the policies are in force."""
    await scene.policy(closeAfter="1h")
    await scene.pods("Trouble", 2)
    (request,) = await scene.requests_come_to(f"status.phase {VERDICT}", [("Settled", "Proceed")])
    await eventually(
        lambda: refusal(status(scene, request, severity="critical")),
        lambda said: "you may write remediation only" in said,
        within=30,
        what="the admission policies are in force",
    )
    return request


async def status(scene: Scene, request: Manifest, **fields: Any) -> Manifest:
    """Merge these fields into the status, as somebody who may."""
    metadata = request["metadata"]
    return await scene.api.patch(
        "RemediationRequest",
        metadata["name"],
        metadata["namespace"],
        {"status": fields},
        subresource="status",
    )


async def refusal(doing: Any) -> str:
    """What the API server says to it; nothing if it takes it."""
    try:
        await doing
    except ApiError as error:
        if error.status != 422:
            raise
        return str(error).rpartition("denied request: ")[2]
    return ""


def named(request: Manifest) -> str:
    return f"{request['metadata']['namespace']}/{request['metadata']['name']}"


def robots(scene: Scene) -> tuple[Consumer, Consumer]:
    return Consumer(scene.api, "robot-1"), Consumer(scene.api, "robot-2")


async def held(scene: Scene, request: Manifest, verdict: str) -> Manifest:
    """The request under a hold, once it says so."""
    await scene.gate("freeze", by="alice", verdict=verdict)
    (found,) = await scene.requests_come_to(VERDICT, [(verdict,)])
    return found
