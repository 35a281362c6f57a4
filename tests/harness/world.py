"""World: what a run of chaos or of the soak is made of, and who starts its operators again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from secrets import token_urlsafe
from typing import Any

import aiohttp
from tests.harness.api import Api, Manifest
from tests.harness.cluster import begin, install_crds
from tests.harness.eventually import eventually
from tests.harness.operator import OperatorProcess
from tests.harness.redis_proxy import RedisProxy
from tests.harness.scene import at

from lab.building import Binaries
from lab.controlplane import ControlPlane, Rules
from lab.process import tail

OPERATOR_NAMESPACE = "stormfold-system"
TOKEN = token_urlsafe(16)
"""The webhook's shared secret; what another run posts by mistake is refused."""
POST_SECONDS = 10.0
"""How long Alertmanager waits for an answer; the webhook itself gives up after 8 s."""
KUBELET_SECONDS = 0.1
"""How often the kubelet looks."""
RESTART_SECONDS = 0.5
"""How long it waits before it starts an operator again that has ended by itself."""


@dataclass
class Replica:
    """One operator, its proxy of Redis, and what the kubelet knows of it."""

    operator: OperatorProcess
    proxy: RedisProxy | None = None
    held_down: bool = False
    """A fault has killed it and will let it come back."""
    paused: bool = False


@dataclass
class World:
    """All that runs."""

    control_plane: ControlPlane
    api: Api
    folder: Path
    """Of logs and what else is written."""
    replicas: list[Replica] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    """What operators logged last that have ended by themselves."""

    @property
    def token_file(self) -> Path:
        """The shared secret of the webhooks."""
        return self.folder / "token"

    async def start(self, replicas: Iterable[Replica]) -> None:
        """These operators, at once."""
        self.replicas += replicas
        await asyncio.gather(*(replica.operator.start() for replica in self.replicas))

    async def keep_running(self) -> None:
        """What a kubelet does, for ever."""
        async with asyncio.TaskGroup() as tasks:
            for replica in self.replicas:
                tasks.create_task(self._keep(replica))

    async def _keep(self, replica: Replica) -> None:
        operator = replica.operator
        while True:
            await asyncio.sleep(KUBELET_SECONDS)
            if operator.running or replica.held_down:
                continue
            code = await operator.exit_code()
            if not replica.held_down and code >= 0:
                self.ended.append(f"{operator.log.stem} ended with {code}: {tail(operator.log, 1)}")
                await asyncio.sleep(RESTART_SECONDS)
            if not replica.held_down and not operator.running:
                await operator.start(ready=False)

    async def apply(self, name: str, policies: Sequence[Manifest]) -> None:
        """Policies of this name, each `kind`, `namespace` and `spec`, until they are in force."""
        for policy in policies:
            metadata = {"name": name} | ({"namespace": policy["namespace"]} if policy["namespace"] else {})
            await self.api.create(
                {
                    "apiVersion": "stormfold.dev/v1alpha1",
                    "kind": policy["kind"],
                    "metadata": metadata,
                    "spec": policy["spec"],
                }
            )
        for policy in policies:
            await eventually(
                partial(self.api.get, policy["kind"], name, policy["namespace"]),
                lambda seen: at(seen, "status.conditions.Accepted.status") == "True",
                what=f"the {policy['kind']} of {policy['namespace']} is in force",
            )


@asynccontextmanager
async def begun(
    binaries: Binaries, folder: Path, namespaces: Iterable[str], *, audit: Rules = ()
) -> AsyncIterator[tuple[AsyncExitStack, ControlPlane, Api]]:
    """An API server with our kinds, the operators' namespace and these; the stack ends with it."""
    async with AsyncExitStack() as stack:
        control_plane = await begin(stack, binaries, audit=audit)
        await install_crds(control_plane)
        api = await stack.enter_async_context(Api(control_plane))
        for name in (OPERATOR_NAMESPACE, *namespaces):
            await api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        (folder / "token").write_text(TOKEN)
        yield stack, control_plane, api


def posting(*, force_close: bool = False) -> aiohttp.ClientSession:
    """A session that posts as Alertmanager does, with the shared secret."""
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=POST_SECONDS),
        headers={"Authorization": f"Bearer {TOKEN}"},
        connector=aiohttp.TCPConnector(limit=0, force_close=force_close),
    )


async def answer_of(session: aiohttp.ClientSession, url: str, body: Any) -> tuple[int, Any]:
    """The code and the JSON of the answer to a post; 0 for none."""
    try:
        async with session.post(url, json=body) as response:
            return response.status, await response.json()
    except (OSError, TimeoutError, aiohttp.ClientError, ValueError):
        return 0, None
