"""World: an API server, a Valkey and two operators, all with nothing between them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.harness.operator import OperatorProcess
from tests.harness.world import OPERATOR_NAMESPACE, Replica, World, begun
from tests.soak.stream import NAMESPACES, POLICY

from lab.building import Binaries
from lab.valkey import Valkey
from stormfold.kube.access import find_access
from stormfold.kube.client import KubeClient

OPERATORS = 2


@dataclass(kw_only=True)
class SoakWorld(World):
    """That, without anything between."""

    client: KubeClient
    """The operator's own: it takes less of the machine, whose every core is in use here."""
    valkey: Valkey

    @property
    def operators(self) -> list[OperatorProcess]:
        """Those of the replicas."""
        return [replica.operator for replica in self.replicas]


@asynccontextmanager
async def running(binaries: Binaries, folder: Path) -> AsyncIterator[SoakWorld]:
    """A world of its own, with its policy in force."""
    async with begun(binaries, folder, NAMESPACES) as (stack, control_plane, api):
        valkey = stack.enter_context(Valkey())
        access = await find_access({"KUBECONFIG": str(control_plane.kubeconfig)})
        client = await stack.enter_async_context(KubeClient(access))
        world = SoakWorld(control_plane, api, folder, client=client, valkey=valkey)
        operators = [
            OperatorProcess(
                redis_url=valkey.url,
                kubeconfig=control_plane.kubeconfig,
                log=folder / f"operator-{number}.log",
                namespace=OPERATOR_NAMESPACE,
                identity=f"operator-{number}",
                webhook_token_file=world.token_file,
            )
            for number in range(OPERATORS)
        ]
        for operator in operators:
            stack.callback(operator.kill)
        await world.start(map(Replica, operators))
        policy = {
            "kind": "ClusterStormPolicy",
            "namespace": None,
            "spec": POLICY | {"groupBy": ["name", "namespace"]},
        }
        await world.apply("soak", [policy])
        for operator in operators:
            await operator.obeys(policies=1)
        yield world
