"""World: an API server, a Redis and three operators, each behind a proxy; and who starts the operators
again."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from tests.chaos.leading import Disturbance
from tests.chaos.stores import Single, Store
from tests.chaos.stream import NAMESPACES, PLATFORM, Law
from tests.harness.api import ApiError, Manifest
from tests.harness.api_proxy import ApiProxy
from tests.harness.audit import ITS_WRITES
from tests.harness.kubectl import Kubectl
from tests.harness.operator import OperatorProcess
from tests.harness.redis_proxy import RedisProxy
from tests.harness.world import OPERATOR_NAMESPACE, Replica, World, begun

from lab.building import Binaries

OPERATORS = 3
MANIFESTS = Path(__file__).parents[2] / "manifests"
APPLIED = ("base/rbac.yaml", "components/events/rbac.yaml", "components/steering/admission.yaml")

QUICK: dict[str, Any] = {
    "threshold": {"signals": 5, "within": "3s"},
    "groupWait": "100ms",
    # After a loss of Redis data, alerts that had fired anew may hold a request open for so long.
    "window": {"idle": "1s", "maxDuration": "1m"},
    "closeAfter": "3s",
    "reopenAfter": {"succeeded": "2s", "failed": "2s"},
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


@dataclass(kw_only=True)
class ChaosWorld(World):
    """That, with proxies between, and the time since the stream began."""

    api_proxy: ApiProxy
    store: Store
    began: float = field(default_factory=time.monotonic)
    began_wall: float = field(default_factory=time.time)
    losses: list[float] = field(default_factory=list)
    """When Redis was emptied, or lost something."""
    disturbances: list[Disturbance] = field(default_factory=list)
    """Faults of what decisions need."""
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

    async def requests(self) -> list[Manifest]:
        """All requests."""
        return list(await self.api.list("RemediationRequest"))

    async def leases(self) -> list[Manifest]:
        """The Lease of the one that takes in, once there is one."""
        return list(await self.api.list("Lease", OPERATOR_NAMESPACE))

    async def knows_gates(self) -> bool:
        """Whether the API server can ask gates. After its start it does not know their kind for up to 30 s,
        and refuses every write of a request (kubernetes/kubernetes#124237). Nothing is made by asking."""
        metadata = {"name": "asks-gates", "labels": {"stormfold.dev/request": "none"}}
        body = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}
        path = f"/api/v1/namespaces/{OPERATOR_NAMESPACE}/serviceaccounts"
        try:
            await self.api.request("POST", path, body, dryRun="All")
        except ApiError as exc:
            return "failed to configure" not in str(exc)
        return True


@asynccontextmanager
async def running(
    binaries: Binaries, folder: Path, store: Store, *, clock_offset: float = 0.0
) -> AsyncIterator[ChaosWorld]:
    """A world of its own, with its policies in force; the clock of the last operator is wrong by
    `clock_offset`."""
    namespaces = (PLATFORM, *(name for names in NAMESPACES.values() for name in names))
    async with begun(binaries, folder, namespaces, audit=ITS_WRITES) as (stack, control_plane, api):
        stack.callback(store.stop)
        await asyncio.to_thread(store.start)
        api_proxy = await stack.enter_async_context(ApiProxy(control_plane).running())
        # Operators have their own account and its rights: the admission policies exempt it alone.
        kubectl = Kubectl(control_plane.kubeconfig)
        await kubectl("apply", *(f"-f={MANIFESTS / path}" for path in APPLIED))
        account = OPERATOR_NAMESPACE, "stormfold"
        operators_token = await asyncio.to_thread(control_plane.service_account_token, *account)
        world = ChaosWorld(control_plane, api, folder, api_proxy=api_proxy, store=store)
        replicas = []
        for number in range(OPERATORS):
            proxy = None
            if isinstance(store, Single):
                proxy = await stack.enter_async_context(RedisProxy(store.server.port).running())
            operator = OperatorProcess(
                redis_url=proxy.url if proxy else store.url,
                kubeconfig=api_proxy.kubeconfig(folder / "kubeconfig", token=operators_token),
                log=folder / f"operator-{number}.log",
                namespace=OPERATOR_NAMESPACE,
                identity=f"operator-{number}",
                environment={
                    "STORMFOLD_SIGNALS_PER_NAMESPACE": "100000",
                    "STORMFOLD_MARKS_PER_SECOND": "50",
                },
                webhook_token_file=world.token_file,
                clock_offset=clock_offset if number == OPERATORS - 1 else 0.0,
            )
            stack.callback(operator.kill)
            replicas.append(Replica(operator, proxy))
        await world.start(replicas)
        await world.apply("chaos", POLICIES)
        yield world


REFUSED = (OSError, TimeoutError, aiohttp.ClientError, ApiError)
"""What an API server that is being restarted answers."""


async def insistently(call: Callable[[], Any], *, wait: float = 0.3) -> Any:
    """What the call gives, tried again until the API server answers."""
    while True:
        with contextlib.suppress(*REFUSED):
            return await call()
        await asyncio.sleep(wait)
