"""A control plane of its own: begun, owned and prepared."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

from tests.harness import guard
from tests.harness.kubectl import Kubectl

from lab.building import Binaries, ensure_binaries
from lab.controlplane import ALL_METADATA, ControlPlane, Rules

CRDS = Path(__file__).parents[2] / "crds"
OPERATOR_NAMESPACE = "stormfold-system"


async def begin(stack: AsyncExitStack, binaries: Binaries, *, audit: Rules = ()) -> ControlPlane:
    """Start one, until the end of the stack."""
    control_plane = ControlPlane(binaries, audit=audit)
    stack.callback(control_plane.stop)
    await asyncio.to_thread(control_plane.start)
    guard.own(control_plane.url)
    stack.callback(guard.disown, control_plane.url)
    return control_plane


@contextmanager
def prepared() -> Iterator[ControlPlane]:
    """One with an audit log, our kinds and the operator's namespace, within the block."""

    async def prepare() -> None:
        await install_crds(running)
        await Kubectl(running.kubeconfig)("create", "namespace", OPERATOR_NAMESPACE)

    with ControlPlane(ensure_binaries(), audit=ALL_METADATA) as running:
        guard.own(running.url)
        asyncio.run(prepare())
        yield running
        guard.disown(running.url)


async def install_crds(control_plane: ControlPlane) -> None:
    """Our kinds, once they can be used."""
    kubectl = Kubectl(control_plane.kubeconfig)
    await kubectl("apply", "-f", str(CRDS))
    await kubectl("wait", "--for=condition=Established", "--timeout=30s", "-f", str(CRDS))
