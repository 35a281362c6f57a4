"""World: an API server, a Redis and three operators, each behind a proxy; and who starts the operators
again."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from tests.chaos.stores import Single, Store
from tests.chaos.stream import NAMESPACES, PLATFORM, Law
from tests.harness.api import Api, ApiError, Manifest
from tests.harness.api_proxy import ApiProxy
from tests.harness.cluster import begin, install_crds
from tests.harness.eventually import eventually
from tests.harness.operator import OperatorProcess
from tests.harness.redis_proxy import RedisProxy
from tests.harness.scene import at

from lab.building import Binaries
from lab.controlplane import ControlPlane

OPERATOR_NAMESPACE = "stormfold-system"
OPERATORS = 3
TOKEN = "the-secret-of-this-chaos"
KUBELET_SECONDS = 0.1
"""How often the kubelet looks."""
RESTART_SECONDS = 0.5
"""How long it waits before it starts an operator again that has ended by itself."""

QUICK: dict[str, Any] = {
    "threshold": {"signals": 5, "within": "3s"},
    "groupWait": "100ms",
    # After a loss of Redis data, alerts that had fired anew may hold a request open for so long.
    "window": {"idle": "1s", "maxDuration": "1m"},
    "closeAfter": "3s",
    "retention": "10m",
    "limits": {"resources": 25},
}
POLICIES: tuple[Manifest, ...] = (
    {"kind": "StormPolicy", "namespace": NAMESPACES[Law.TEAM][0], "spec": QUICK},
    {
        "kind": "StormPolicy",
        "namespace": NAMESPACES[Law.BRISK][0],
        "spec": QUICK | {"window": {"idle": "1s", "maxDuration": "5s"}, "retention": "2s"},
    },
    {
        "kind": "StormPolicy",
        "namespace": NAMESPACES[Law.DISCARD][0],
        "spec": QUICK | {"threshold": {"signals": 6, "within": "1s"}, "belowThreshold": "Discard"},
    },
    {
        "kind": "ClusterStormPolicy",
        "namespace": None,
        "spec": QUICK
        | {
            "match": {"labelSelector": {"matchExpressions": [{"key": "node", "operator": "Exists"}]}},
            "groupBy": ["labels.node"],
            "requestNamespace": PLATFORM,
        },
    },
    {
        "kind": "StormPolicy",
        "namespace": NAMESPACES[Law.EVENTS][0],
        "spec": QUICK | {"match": {"sources": ["event"]}},
    },
    {
        "kind": "StormPolicy",
        "namespace": NAMESPACES[Law.MANY][0],
        "spec": QUICK | {"limits": {"resources": 100, "openStorms": 2}},
    },
)


@dataclass
class Replica:
    """One operator, its proxy of Redis, and what the kubelet knows of it."""

    operator: OperatorProcess
    proxy: RedisProxy | None
    held_down: bool = False
    """A fault has killed it and will let it come back."""
    paused: bool = False
    ends: list[int] = field(default_factory=list)
    """Exit codes of when it ended by itself."""


@dataclass
class World:
    """All that runs. `seconds` is the time since the stream began."""

    control_plane: ControlPlane
    api: Api
    api_proxy: ApiProxy
    store: Store
    replicas: list[Replica]
    folder: Path
    began: float = field(default_factory=time.monotonic)
    began_wall: float = field(default_factory=time.time)
    losses: list[float] = field(default_factory=list)
    """When Redis was emptied, or lost something."""
    locks: dict[str, asyncio.Lock] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self.began

    def begin(self) -> None:
        """The stream begins now."""
        self.began, self.began_wall = time.monotonic(), time.time()

    def lock(self, subject: str) -> asyncio.Lock:
        """Two faults do not work on the same thing at once."""
        return self.locks.setdefault(subject, asyncio.Lock())

    def redis_lost(self) -> None:
        """Redis has just lost what it held, or some of it."""
        self.losses.append(self.seconds)

    @property
    def ended_by_themselves(self) -> list[int]:
        """Exit codes of operators that nobody had killed."""
        return [code for replica in self.replicas for code in replica.ends]

    async def keep_running(self) -> None:
        """What a kubelet does, for ever."""
        async with asyncio.TaskGroup() as tasks:
            for replica in self.replicas:
                tasks.create_task(self._keep(replica))

    async def _keep(self, replica: Replica) -> None:
        while True:
            await asyncio.sleep(KUBELET_SECONDS)
            if replica.operator.running or replica.held_down:
                continue
            code = await replica.operator.exit_code()
            if not replica.held_down and code >= 0:
                replica.ends.append(code)
                await asyncio.sleep(RESTART_SECONDS)
            if not replica.held_down and not replica.operator.running:
                await replica.operator.start(ready=False)

    async def requests(self) -> list[Manifest]:
        """All requests."""
        return list(await self.api.list("RemediationRequest"))

    async def leases(self) -> list[Manifest]:
        """The Lease of the one that takes in, once there is one."""
        return list(await self.api.list("Lease", OPERATOR_NAMESPACE))


@asynccontextmanager
async def running(
    binaries: Binaries, folder: Path, store: Store, *, clock_offset: float = 0.0
) -> AsyncIterator[World]:
    """A world of its own, with its policies in force; the clock of the last operator is wrong by
    `clock_offset`."""
    async with AsyncExitStack() as stack:
        control_plane = await begin(stack, binaries)
        stack.callback(store.stop)
        await asyncio.to_thread(store.start)
        await _prepare(control_plane)
        api = await stack.enter_async_context(Api(control_plane))
        api_proxy = await stack.enter_async_context(ApiProxy(control_plane).running())
        token = folder / "token"
        token.write_text(TOKEN)
        replicas = []
        for number in range(OPERATORS):
            proxy = None
            if isinstance(store, Single):
                proxy = await stack.enter_async_context(RedisProxy(store.server.port).running())
            operator = OperatorProcess(
                redis_url=proxy.url if proxy else store.url,
                kubeconfig=api_proxy.kubeconfig(folder / "kubeconfig"),
                log=folder / f"operator-{number}.log",
                namespace=OPERATOR_NAMESPACE,
                identity=f"operator-{number}",
                environment={
                    "STORMFOLD_SIGNALS_PER_NAMESPACE": "100000",
                    "STORMFOLD_MARKS_PER_SECOND": "50",
                },
                webhook_token_file=token,
                clock_offset=clock_offset if number == OPERATORS - 1 else 0.0,
            )
            stack.callback(operator.kill)
            replicas.append(Replica(operator, proxy))
        world = World(control_plane, api, api_proxy, store, replicas, folder)
        await asyncio.gather(*(replica.operator.start() for replica in replicas))
        await _apply_policies(api)
        yield world


async def _prepare(control_plane: ControlPlane) -> None:
    await install_crds(control_plane)
    async with Api(control_plane) as api:
        for name in (
            OPERATOR_NAMESPACE,
            PLATFORM,
            *(name for names in NAMESPACES.values() for name in names),
        ):
            await api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})


async def _apply_policies(api: Api) -> None:
    for policy in POLICIES:
        kind, namespace = policy["kind"], policy["namespace"]
        metadata = {"name": "chaos"} | ({"namespace": namespace} if namespace else {})
        await api.create(
            {
                "apiVersion": "stormfold.dev/v1alpha1",
                "kind": kind,
                "metadata": metadata,
                "spec": policy["spec"],
            }
        )
    for policy in POLICIES:
        await eventually(
            lambda policy=policy: api.get(policy["kind"], "chaos", policy["namespace"]),
            lambda seen: at(seen, "status.conditions.Accepted.status") == "True",
            what=f"the {policy['kind']} of {policy['namespace']} is in force",
        )


REFUSED = (OSError, TimeoutError, aiohttp.ClientError, ApiError)
"""What an API server that is being restarted answers."""


async def insistently(call: Callable[[], Any], *, wait: float = 0.3) -> Any:
    """What the call gives, tried again until the API server answers."""
    while True:
        with contextlib.suppress(*REFUSED):
            return await call()
        await asyncio.sleep(wait)
