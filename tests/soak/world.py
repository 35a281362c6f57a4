"""World: an API server, a Valkey and two operators, all with nothing between them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.harness.api import Api
from tests.harness.cluster import begin, install_crds
from tests.harness.operator import OperatorProcess
from tests.soak.stream import NAMESPACES, POLICY

from lab.building import Binaries
from lab.process import tail
from lab.valkey import Valkey
from stormfold.kube.access import find_access
from stormfold.kube.client import KubeClient

OPERATOR_NAMESPACE = "stormfold-system"
OPERATORS = 2
RESTART_SECONDS = 0.5
TOKEN = "the-secret-of-this-soak"


@dataclass(frozen=True)
class World:
    """All that runs."""

    api: Api
    client: KubeClient
    """The operator's own: it takes less of the machine, whose every core is in use here."""
    valkey: Valkey
    operators: list[OperatorProcess]

    ended: list[str] = field(default_factory=list)
    """What operators logged last that have ended by themselves."""

    async def keep_running(self) -> None:
        """Start operators again that have ended, as a kubelet does; for ever."""
        while True:
            for number, operator in enumerate(self.operators):
                if not operator.running:
                    self.ended.append(f"operator {number}: {tail(operator.log, 1)}")
                    await operator.start(ready=False)
            await asyncio.sleep(RESTART_SECONDS)


@asynccontextmanager
async def running(binaries: Binaries, folder: Path) -> AsyncIterator[World]:
    """A world of its own, with its policy in force."""
    async with AsyncExitStack() as stack:
        control_plane = await begin(stack, binaries)
        valkey = stack.enter_context(Valkey())
        api = await stack.enter_async_context(Api(control_plane))
        await install_crds(control_plane)
        await _prepare(api)
        access = await find_access({"KUBECONFIG": str(control_plane.kubeconfig)})
        client = await stack.enter_async_context(KubeClient(access))
        token = folder / "token"
        token.write_text(TOKEN)
        operators = [
            OperatorProcess(
                redis_url=valkey.url,
                kubeconfig=control_plane.kubeconfig,
                log=folder / f"operator-{number}.log",
                namespace=OPERATOR_NAMESPACE,
                identity=f"operator-{number}",
                webhook_token_file=token,
            )
            for number in range(OPERATORS)
        ]
        for operator in operators:
            stack.callback(operator.kill)
        await asyncio.gather(*(operator.start() for operator in operators))
        for operator in operators:
            await operator.obeys(policies=1)
        yield World(api, client, valkey, operators)


async def _prepare(api: Api) -> None:
    for name in (OPERATOR_NAMESPACE, *NAMESPACES):
        await api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    await api.create(
        {
            "apiVersion": "stormfold.dev/v1alpha1",
            "kind": "ClusterStormPolicy",
            "metadata": {"name": "soak"},
            "spec": POLICY | {"groupBy": ["name", "namespace"]},
        }
    )
