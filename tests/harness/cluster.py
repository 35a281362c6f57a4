"""A control plane of its own for a run that is no test: begun, owned and prepared."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

from tests.harness import guard
from tests.harness.kubectl import Kubectl

from lab.building import Binaries
from lab.controlplane import ControlPlane

CRDS = Path(__file__).parents[2] / "crds"


async def begin(stack: AsyncExitStack, binaries: Binaries) -> ControlPlane:
    """Start one, until the end of the stack."""
    control_plane = ControlPlane(binaries)
    stack.callback(control_plane.stop)
    await asyncio.to_thread(control_plane.start)
    guard.own(control_plane.url)
    stack.callback(guard.disown, control_plane.url)
    return control_plane


async def install_crds(control_plane: ControlPlane) -> None:
    """Our kinds, once they can be used."""
    kubectl = Kubectl(control_plane.kubeconfig)
    await kubectl("apply", "-f", str(CRDS))
    await kubectl("wait", "--for=condition=Established", "--timeout=30s", "-f", str(CRDS))
