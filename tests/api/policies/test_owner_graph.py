"""Owners and nodes as a real API server tells them. Nobody here makes pods or collects garbage, so the tests
do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import pytest
from prometheus_client import REGISTRY
from tests.harness.api import Api
from tests.harness.api_proxy import ApiProxy
from tests.harness.eventually import eventually
from tests.harness.kubectl import Kubectl
from tests.harness.values import ARRIVAL, version
from tests.harness.workloads import Workloads

from lab.controlplane import ControlPlane
from stormfold.api.reasons.specs import SpecReason
from stormfold.app import end_all
from stormfold.enrich import owners as owners_module
from stormfold.enrich.owner_graph import GROUPS
from stormfold.enrich.owners import Owners
from stormfold.kube import paging
from stormfold.kube.access import find_access
from stormfold.kube.client import KubeClient
from stormfold.model.arrival import Target
from stormfold.policy.validation import Fault

MANIFESTS = Path(__file__).parents[3] / "manifests"
ACCOUNT = "system:serviceaccount:stormfold-system:stormfold"
PODS = r"/api/v1/pods\?"
WATCH = rf"{PODS}watch"
EXPIRED = {"status": "Failure", "reason": "Expired", "message": "too old resource version"}
OBJECTS = "stormfold_owner_objects"
LAST_EVENT = "stormfold_watch_last_event_timestamp_seconds"
BY_OWNER, BY_NAME = version(groupBy=["owner"]), version(groupBy=["name"])


@dataclass(frozen=True)
class Found:
    """What was told of a target."""

    owner: str | None
    node: str | None


class Changes(asyncio.Event):
    """Knows how often it was set."""

    def __init__(self) -> None:
        super().__init__()
        self.times = 0

    def set(self) -> None:
        self.times += 1
        super().set()


class Lookup:
    """Owners behind the proxy, asked about targets in one namespace."""

    def __init__(self, owners: Owners, namespace: str, changes: Changes) -> None:
        self.owners = owners
        self.namespace = namespace
        self.needed = True
        """Whether it decides where the arrival goes."""
        self.changes = changes
        """It was set whenever rights were found missing, or came."""

    async def __call__(self, kind: str, name: str) -> Found:
        arrival = replace(
            ARRIVAL,
            namespace=self.namespace,
            target=Target("v1", kind, name, None if kind == "Node" else self.namespace),
            owner=None,
            node=None,
        )
        resolved = await self.owners.resolve(arrival, lambda _: self.needed)
        assert replace(resolved, owner=None, node=None) == arrival
        return Found(resolved.owner, resolved.node)

    async def comes_to(self, kind: str, name: str, owner: str | None, node: str | None = None) -> None:
        """Wait until that is told."""
        await eventually(lambda: self(kind, name), lambda found: found == Found(owner, node), what=name)


def sample(name: str, **labels: str) -> float:
    """What a metric of this process says now."""
    return REGISTRY.get_sample_value(name, labels) or 0.0


@pytest.fixture
async def workloads(api: Api, namespace: str) -> Workloads:
    """Those of the test's namespace."""
    return Workloads(api, namespace)


class Begin(Protocol):
    """Begins to look up owners; without a token of another account it is the administrator who does."""

    def __call__(self, *, token: str | None = None) -> Awaitable[Lookup]: ...


@pytest.fixture
async def begin(api_proxy: ApiProxy, namespace: str, tmp_path: Path) -> AsyncIterator[Begin]:
    """Owners that are wanted, through the proxy, until the test ends."""
    async with AsyncExitStack() as stack:

        async def make(*, token: str | None = None) -> Lookup:
            kubeconfig = api_proxy.kubeconfig(tmp_path / "proxied", token=token)
            access = await find_access({"KUBECONFIG": str(kubeconfig)})
            client = await stack.enter_async_context(KubeClient(access))
            changes = Changes()
            owners = Owners(client, changes)
            owners.want(True)
            running = asyncio.create_task(owners.run())
            stack.push_async_callback(end_all, [running])
            return Lookup(owners, namespace, changes)

        yield make


@pytest.fixture
async def lookup(begin: Begin) -> Lookup:
    """One that is there from the test's start."""
    return await begin()


async def test_owner_is_the_top_controller_and_node_where_the_pod_is(
    workloads: Workloads, lookup: Lookup
) -> None:
    namespace = lookup.namespace
    rollout = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Rollout",
        "metadata": {"name": "canary", "uid": "11111111-2222-3333-4444-555555555555"},
    }
    _, [replica_set] = await workloads.deployment("web", "7d4b9c")
    cron_job = await workloads.add("CronJob", "nightly")
    makers = {
        "Deployment/web": replica_set,
        "CronJob/nightly": await workloads.add("Job", "nightly-29", cron_job),
        "StatefulSet/db": await workloads.add("StatefulSet", "db"),
        "DaemonSet/agent": await workloads.add("DaemonSet", "agent"),
        "Job/import": await workloads.add("Job", "import"),
        "Rollout/canary": await workloads.add("ReplicaSet", "canary-5f6", rollout),
    }
    for number, (owner, maker) in enumerate(makers.items()):
        await workloads.add("Pod", f"pod-{number}", maker, node=f"worker-{number}")
        kind, name = owner.split("/")
        await lookup.comes_to("Pod", f"pod-{number}", f"{kind}/{namespace}/{name}", f"worker-{number}")
    await workloads.add("Pod", "debug")
    await lookup.comes_to("Pod", "debug", f"Pod/{namespace}/debug")
    assert await lookup("Node", "worker-1") == Found("Node/worker-1", "worker-1")
    assert await lookup("Deployment", "web") == Found(f"Deployment/{namespace}/web", None)


async def test_what_was_there_before_is_listed_page_by_page_and_waited_for(
    api_proxy: ApiProxy, workloads: Workloads, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paging, "FIRST", 2)
    _, [replica_set] = await workloads.deployment("web", "7d4b9c")
    for number in range(5):
        await workloads.add("Pod", f"pod-{number}", replica_set, node=f"worker-{number}")
    pages = api_proxy.hold("GET", rf"{PODS}.*continue=")
    lookup = await begin()
    await pages.arrived.wait()
    told = [asyncio.create_task(lookup("Pod", f"pod-{number}")) for number in range(5)]
    assert await asyncio.wait(told, timeout=0.2) == (set(), set(told))
    pages.release()
    owner = f"Deployment/{lookup.namespace}/web"
    assert await asyncio.gather(*told) == [Found(owner, f"worker-{number}") for number in range(5)]


async def test_who_needs_an_owner_waits_for_all_lists_and_nobody_else_does(
    api_proxy: ApiProxy,
    workloads: Workloads,
    begin: Begin,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(owners_module, "SAID_SECONDS", 0.2)
    _, [replica_set] = await workloads.deployment("web", "7d4b9c")
    await workloads.add("Pod", "pod-0", replica_set, node="worker-0")
    lists = api_proxy.hold("GET", r"/apis/apps/v1/replicasets\?limit")
    lookup = await begin()
    waits = asyncio.create_task(lookup("Pod", "pod-0"))
    # At first it may wait for other lists, too.
    waits_for = "signals wait: not all pods and controllers are listed yet", ("ReplicaSet",)
    await eventually(
        lambda: [(record.message, tuple(record.__dict__["kinds"])) for record in caplog.records[-2:]],
        lambda said: said == [waits_for] * 2,
        what="the log says again and again what is waited for",
    )
    lookup.needed = False
    assert await lookup("Pod", "pod-0") == Found(None, None)
    assert await lookup("Node", "worker-0") == Found(None, "worker-0")
    assert not waits.done()
    lists.release()
    assert await waits == Found(f"Deployment/{lookup.namespace}/web", "worker-0")


async def test_node_is_told_once_the_pod_is_bound(api: Api, workloads: Workloads, lookup: Lookup) -> None:
    await workloads.add("Pod", "pod-0")
    owner = f"Pod/{lookup.namespace}/pod-0"
    await lookup.comes_to("Pod", "pod-0", owner)
    binding = {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": "pod-0"},
        "target": {"kind": "Node", "name": "worker-3"},
    }
    await api.request("POST", f"/api/v1/namespaces/{lookup.namespace}/pods/pod-0/binding", binding)
    await lookup.comes_to("Pod", "pod-0", owner, "worker-3")


async def test_what_was_deleted_is_remembered(workloads: Workloads, lookup: Lookup) -> None:
    deployment, [replica_set] = await workloads.deployment("web", "7d4b9c")
    pods = [await workloads.add("Pod", f"pod-{number}", replica_set, node="worker-0") for number in range(3)]
    owner = f"Deployment/{lookup.namespace}/web"
    for number in range(3):
        await lookup.comes_to("Pod", f"pod-{number}", owner, "worker-0")
    await workloads.remove(deployment, replica_set, *pods)
    await eventually(lambda: sample(OBJECTS, state="gone") == 5, what="all have gone")
    assert [await lookup("Pod", f"pod-{number}") for number in range(3)] == [Found(owner, "worker-0")] * 3


async def test_what_was_deleted_while_nobody_watched_is_remembered(
    api_proxy: ApiProxy, workloads: Workloads, lookup: Lookup
) -> None:
    old, new = [await workloads.add("DaemonSet", name) for name in ("old", "new")]
    pod = await workloads.add("Pod", "pod-0", old, node="worker-0")
    same_name = await workloads.add("Pod", "pod-1", old, node="worker-1")
    await lookup.comes_to("Pod", "pod-1", f"DaemonSet/{lookup.namespace}/old", "worker-1")
    await eventually(lambda: api_proxy.open_watches(WATCH), what="a watch of pods")
    away = api_proxy.respond("GET", WATCH, 503, times=None)
    await eventually(lambda: len(api_proxy.open_watches(WATCH)) == 1, within=30, what="it watches")
    assert api_proxy.end_watches(WATCH) == 1
    await workloads.remove(pod, same_name)
    await workloads.add("Pod", "pod-1", new, node="worker-2")
    api_proxy.remove(away)
    api_proxy.respond("GET", WATCH, 410, EXPIRED)
    await lookup.comes_to("Pod", "pod-1", f"DaemonSet/{lookup.namespace}/new", "worker-2")
    assert await lookup("Pod", "pod-0") == Found(f"DaemonSet/{lookup.namespace}/old", "worker-0")
    assert sample(OBJECTS, state="gone") == 2


async def test_watch_goes_on_after_the_word_that_it_is_too_old(
    api_proxy: ApiProxy, workloads: Workloads, lookup: Lookup
) -> None:
    await eventually(lambda: api_proxy.open_watches(WATCH), what="a watch of pods")
    assert await api_proxy.inject(WATCH, {"type": "ERROR", "object": {"kind": "Status", "code": 410}}) == 1
    await workloads.add("Pod", "pod-0", node="worker-0")
    await lookup.comes_to("Pod", "pod-0", f"Pod/{lookup.namespace}/pod-0", "worker-0")


async def test_pod_that_went_before_it_was_seen_is_known_by_its_name(
    workloads: Workloads, begin: Begin
) -> None:
    _, [replica_set] = await workloads.deployment("web", "7d4b9c")
    await workloads.remove(await workloads.add("Pod", "web-7d4b9c-x2x9p", replica_set, node="worker-0"))
    lookup = await begin()
    assert await lookup("Pod", "web-7d4b9c-x2x9p") == Found(f"Deployment/{lookup.namespace}/web", None)
    assert await lookup("Pod", "shop-7d4b9c-x2x9p") == Found(None, None)


async def test_nothing_is_watched_or_kept_when_nobody_wants_it(
    api_proxy: ApiProxy, workloads: Workloads, lookup: Lookup
) -> None:
    watched = "|".join(f"/{kind.lower()}s\\?watch" for kind in GROUPS)
    await workloads.add("Pod", "pod-0", node="worker-0")
    await lookup.comes_to("Pod", "pod-0", f"Pod/{lookup.namespace}/pod-0", "worker-0")
    await eventually(lambda: api_proxy.open_watches(watched), lambda found: len(found) == 7)
    assert sample(LAST_EVENT, kind="Pod") > 0
    lookup.owners.want(False)
    assert await lookup("Pod", "pod-0") == Found(None, None)
    await eventually(lambda: api_proxy.open_watches(watched), lambda found: found == [])
    assert (sample(OBJECTS, state="there"), sample(OBJECTS, state="gone")) == (0, 0)
    assert sample(LAST_EVENT, kind="Pod") == 0, "an alert would take it for a watch that has fallen silent"
    lookup.owners.want(True)
    assert await lookup("Pod", "pod-0") == Found(f"Pod/{lookup.namespace}/pod-0", "worker-0")


async def test_without_the_rights_all_is_null_and_a_policy_is_told_until_they_are_granted(
    *,
    api_proxy: ApiProxy,
    workloads: Workloads,
    begin: Begin,
    kubectl: Kubectl,
    control_plane: ControlPlane,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(owners_module, "RIGHTS_SECONDS", 0.2)
    component = str(MANIFESTS / "components" / "owners" / "rbac.yaml")
    await kubectl("apply", "-f", str(MANIFESTS / "base" / "rbac.yaml"))
    await workloads.add("Pod", "pod-0", node="worker-0")
    # What another test has taken back the API server may not have heard of yet.
    await eventually(
        lambda: kubectl.may(ACCOUNT, "list", "pods", "-A"),
        lambda may: not may,
        what="the account may not list pods",
    )
    lookup = await begin(token=control_plane.service_account_token("stormfold-system", "stormfold"))
    try:
        assert await lookup("Pod", "pod-0") == Found(None, None)
        assert await lookup("Service", "web") == Found(None, None)
        assert (lookup.owners.caveat(BY_NAME), lookup.changes.times) == (None, 1)
        assert lookup.owners.caveat(BY_OWNER) == Fault(
            SpecReason.OWNERS_NOT_READABLE,
            "owner and node are null for all its signals, since RBAC denies list pods, watch pods, list "
            "replicasets, watch replicasets, list deployments, watch deployments, list statefulsets, watch "
            "statefulsets, list daemonsets, watch daemonsets, list jobs, watch jobs, list cronjobs, watch "
            "cronjobs: apply manifests/components/owners",
        )
        assert sample("stormfold_owner_rights_denied") == 14
        assert api_proxy.count("GET", PODS) == 0
        await kubectl("apply", "-f", component)
        await lookup.comes_to("Pod", "pod-0", f"Pod/{lookup.namespace}/pod-0", "worker-0")
        assert lookup.owners.caveat(BY_OWNER) is None
        # If they come while we ask for one after the other, the policy is told of those that lack still.
        assert lookup.changes.times in (2, 3)
        assert sample("stormfold_owner_rights_denied") == 0
    finally:
        await kubectl("delete", "--ignore-not-found", "-f", component)
