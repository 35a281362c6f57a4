"""`make deploy` and `make undeploy`, that is `scripts/deploy`, against an API server. Nothing here runs
pods."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import pty
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.harness import guard
from tests.harness.api import Api, ApiError, Manifest
from tests.harness.eventually import eventually
from tests.harness.kubectl import Kubectl

from lab.building import ensure_binaries
from lab.controlplane import ControlPlane

ROOT = Path(__file__).parents[3]
NAMESPACE = "stormfold-system"
DEPLOYMENTS = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments"
SECRET = f"/api/v1/namespaces/{NAMESPACE}/secrets/stormfold-redis"
OURS = (
    *("namespaces", "secrets", "configmaps", "services", "serviceaccounts", "leases", "deployments"),
    *("roles", "rolebindings", "clusterroles", "clusterrolebindings", "networkpolicies"),
    *("poddisruptionbudgets", "customresourcedefinitions", "clusterstormpolicies", "signals"),
)
KEPT = [
    *("clusterrole/stormfold-consumer", "clusterrole/stormfold-edit", "clusterrole/stormfold-view"),
    "clusterstormpolicy/default",
    *(
        f"customresourcedefinition/{plural}.stormfold.dev"
        for plural in (
            "clusterstormpolicies",
            "remediationrequests",
            "signals",
            "stormgates",
            "stormpolicies",
        )
    ),
    f"namespace/{NAMESPACE}",
    "secret/stormfold-redis",
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[ControlPlane]:
    """An API server of this module's own: other tests would miss the kinds that are taken away here."""
    with ControlPlane(ensure_binaries()) as running:
        guard.own(running.url)
        yield running
        guard.disown(running.url)


@pytest.fixture
async def own_api(cluster: ControlPlane) -> AsyncIterator[Api]:
    """A client of it; no test finds the password of another, which nobody takes away with its namespace
    here."""
    async with Api(cluster) as client:
        with contextlib.suppress(ApiError):
            await client.request("DELETE", SECRET)
        yield client


async def deploy(verb: str, kubeconfig: Path, **environment: str) -> tuple[int, str]:
    """The exit code of scripts/deploy without a terminal, and all that it said."""
    process = await asyncio.create_subprocess_exec(
        str(ROOT / "scripts" / "deploy"),
        verb,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=surroundings(kubeconfig, environment),
    )
    said, _ = await process.communicate()
    return await process.wait(), said.decode()


def surroundings(kubeconfig: Path, environment: dict[str, str]) -> dict[str, str]:
    """The environment of scripts/deploy; kubectl's cache is beside the kubeconfig, as ports are used
    again."""
    return {
        "PATH": os.environ["PATH"],
        "KUBECONFIG": str(kubeconfig),
        "KUBECACHEDIR": str(kubeconfig.parent / "kubectl"),
        **environment,
    }


async def roll_out(api: Api) -> None:
    """Say of every Deployment that it is rolled out, as its controller would; ends by cancellation."""
    while True:
        for deployment in (await api.request("GET", DEPLOYMENTS))["items"]:
            metadata, replicas = deployment["metadata"], deployment["spec"]["replicas"]
            counts = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
            status = dict.fromkeys(counts, replicas) | {"observedGeneration": metadata["generation"]}
            await api.request(
                "PATCH",
                f"{DEPLOYMENTS}/{metadata['name']}/status",
                {"status": status},
                content_type="application/merge-patch+json",
            )
        await asyncio.sleep(0.2)


@contextlib.asynccontextmanager
async def controllers(api: Api) -> AsyncIterator[None]:
    """While in here, Deployments are rolled out."""
    task = asyncio.create_task(roll_out(api))
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def there_is(kubectl: Kubectl) -> list[str]:
    """Every object of stormfold, as kind/name."""
    found: list[str] = []
    for item in (
        await kubectl.json("get", ",".join(OURS), "-A", "-l", "app.kubernetes.io/part-of=stormfold")
    )["items"]:
        assert "finalizers" not in item["metadata"] or item["kind"] == "CustomResourceDefinition", item
        found.append(f"{item['kind'].lower()}/{item['metadata']['name']}")
    return sorted(found)


async def image_of(api: Api) -> str:
    """The operator's image, as deployed."""
    deployment = await api.request("GET", f"{DEPLOYMENTS}/stormfold")
    return str(deployment["spec"]["template"]["spec"]["containers"][0]["image"])


async def secret_of(api: Api) -> Manifest:
    """The Secret of Redis."""
    return await api.request("GET", SECRET)


async def test_deploy_upgrades_what_is_there_and_undeploy_keeps_what_counts(
    cluster: ControlPlane, own_api: Api
) -> None:
    kubectl = Kubectl(cluster.kubeconfig)
    async with controllers(own_api):
        code, said = await deploy("up", cluster.kubeconfig, IMAGE="example.org/stormfold:1")
    assert code == 0, said
    assert await image_of(own_api) == "example.org/stormfold:1"
    secret = await secret_of(own_api)
    password = base64.b64decode(secret["data"]["password"]).decode()
    assert len(password) == 48
    assert base64.b64decode(secret["data"]["url"]).decode() == (
        f"redis://:{password}@stormfold-valkey:6379/0"
    )
    assert password not in said

    await own_api.patch("ClusterStormPolicy", "default", None, {"spec": {"priority": 7}})
    signal: Manifest = {
        "apiVersion": "stormfold.dev/v1alpha1",
        "kind": "Signal",
        "metadata": {"name": "disk-1", "namespace": "default"},
        "spec": {"name": "DiskFull"},
    }
    await own_api.create(signal)
    async with controllers(own_api):
        code, said = await deploy("up", cluster.kubeconfig, IMAGE="example.org/stormfold:2")
    assert code == 0, said
    assert await image_of(own_api) == "example.org/stormfold:2"
    assert (await secret_of(own_api))["data"] == secret["data"]
    policy = await own_api.get("ClusterStormPolicy", "default")
    assert policy is not None
    assert policy["spec"]["priority"] == 7

    # Also what another overlay, or an earlier version of a ConfigMap, left there.
    code, said = await deploy("down", cluster.kubeconfig, OVERLAY="ha")
    assert code == 0, said
    assert await there_is(kubectl) == KEPT
    for word in (NAMESPACE, "Lease", "stormfold-redis", "stormfold-view", "PURGE=1"):
        assert word in said
    await own_api.delete("Signal", "disk-1", "default")

    async with controllers(own_api):
        code, said = await deploy("up", cluster.kubeconfig)
    assert code == 0, said
    assert (await secret_of(own_api))["data"] == secret["data"]


async def test_purge_asks_first_and_leaves_nothing(cluster: ControlPlane, own_api: Api) -> None:
    async with controllers(own_api):
        code, said = await deploy("up", cluster.kubeconfig)
    assert code == 0, said
    before = await there_is(Kubectl(cluster.kubeconfig))
    code, said = await deploy("down", cluster.kubeconfig, PURGE="1")
    assert code == 1
    assert "PURGE=1 deletes 0 RemediationRequests, 0 Signals" in said
    assert "set YES=1 if it is right" in said
    assert await there_is(Kubectl(cluster.kubeconfig)) == before

    async def end_the_namespace() -> None:
        namespace = await eventually(
            lambda: own_api.get("Namespace", NAMESPACE),
            lambda seen: seen["metadata"].get("deletionTimestamp"),
            within=60,
            what="the namespace is being deleted",
        )
        namespace["spec"]["finalizers"] = []
        await own_api.request("PUT", f"/api/v1/namespaces/{NAMESPACE}/finalize", namespace)

    # What no overlay brings, and nobody needs any more.
    await own_api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "monitoring"}})
    await Kubectl(cluster.kubeconfig)("apply", "-f", str(ROOT / "manifests" / "alertmanager" / "access.yaml"))
    (code, said), _ = await asyncio.gather(
        deploy("down", cluster.kubeconfig, PURGE="1", YES="1"), end_the_namespace()
    )
    assert code == 0, said
    found = await Kubectl(cluster.kubeconfig)(
        *("get", "namespaces,clusterroles,clusterrolebindings,customresourcedefinitions", "-o", "name")
    )
    assert "storm" not in found


@pytest.mark.parametrize(
    ("message", "advice"),
    [
        pytest.param(
            'pods "stormfold-7d9c" is forbidden: failed quota: compute: must specify limits.cpu for: '
            "stormfold",
            f"stormfold: a ResourceQuota of {NAMESPACE} asks for limits or requests that the manifests leave "
            f"out: "
            'set them in an overlay (docs/install.md, "Quotas")',
            id="quota that asks for limits",
        ),
        pytest.param(
            'pods "stormfold-7d9c" is forbidden: exceeded quota: pods, requested: pods=1, used: pods=5, '
            "limited: pods=5",
            f"stormfold: a ResourceQuota of {NAMESPACE} has no room for the pods: raise it, or set less in "
            f"an overlay "
            '(docs/install.md, "Quotas")',
            id="quota that is full",
        ),
        pytest.param(
            'pods "stormfold-7d9c" is forbidden: unable to validate against any security context constraint: '
            "[runAsUser]",
            "stormfold: OpenShift gives no such user id: add manifests/components/openshift to an overlay",
            id="security context constraints",
        ),
        pytest.param("the pods are shy", None, id="what is not known"),
    ],
)
async def test_deployment_without_pods_is_explained_by_its_conditions_and_events(
    message: str, advice: str | None, cluster: ControlPlane, own_api: Api
) -> None:
    condition = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message}

    async def refuse() -> None:
        """What the controllers do when admission takes no pod."""
        path = f"{DEPLOYMENTS}/stormfold"
        await eventually(lambda: own_api.get("Deployment", "stormfold", NAMESPACE), within=60)
        await own_api.request(
            "PATCH",
            f"{path}/status",
            {"status": {"conditions": [condition]}},
            content_type="application/merge-patch+json",
        )
        event: Manifest = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"generateName": "stormfold-", "namespace": NAMESPACE},
            "involvedObject": {"kind": "ReplicaSet", "name": "stormfold-7d9c", "namespace": NAMESPACE},
            "type": "Warning",
            "reason": "FailedCreate",
            "message": message,
        }
        await own_api.create(event)

    (code, said), _ = await asyncio.gather(deploy("up", cluster.kubeconfig, WAIT="1s"), refuse())
    lines = said.splitlines()
    assert code == 1
    assert f"condition ReplicaFailure True, FailedCreate: {message}" in lines
    assert f"event of ReplicaSet stormfold-7d9c, FailedCreate: {message}" in lines
    assert lines[-1].startswith("error: stormfold is not ready after 1s; see: kubectl")
    assert [
        line
        for line in lines[lines.index(f"condition ReplicaFailure True, FailedCreate: {message}") :]
        if line.startswith("stormfold:")
    ] == ([advice] if advice else [])
    await own_api.delete_all("Event")


async def test_purge_that_hangs_says_what_it_waits_for(cluster: ControlPlane, own_api: Api) -> None:
    async with controllers(own_api):
        code, said = await deploy("up", cluster.kubeconfig)
    assert code == 0, said
    signal: Manifest = {
        "apiVersion": "stormfold.dev/v1alpha1",
        "kind": "Signal",
        "metadata": {"name": "kept", "namespace": "default", "finalizers": ["example.org/hangs"]},
        "spec": {"name": "DiskFull"},
    }
    await own_api.create(signal)
    remaining = (
        "Some content in the namespace has finalizers remaining: example.org/hangs in 1 resource instances"
    )

    async def say_why() -> None:
        """What the namespace's controller does when something in it does not go."""
        namespace = await eventually(
            lambda: own_api.get("Namespace", NAMESPACE),
            lambda seen: seen["metadata"].get("deletionTimestamp"),
            within=60,
        )
        assert namespace is not None
        condition = {
            "type": "NamespaceFinalizersRemaining",
            "status": "True",
            "reason": "SomeFinalizersRemain",
            "message": remaining,
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
        namespace["status"]["conditions"] = [condition]
        await own_api.request("PUT", f"/api/v1/namespaces/{NAMESPACE}/status", namespace)

    (code, said), _ = await asyncio.gather(
        deploy("down", cluster.kubeconfig, PURGE="1", YES="1", WAIT="2s"), say_why()
    )
    assert code == 1
    lines = said.splitlines()
    assert lines.count("stormfold: not deleted after 2s:") == 2
    assert "CustomResourceDefinition signals.stormfold.dev" in lines
    assert "  finalizer customresourcecleanup.apiextensions.k8s.io" in lines
    assert f"Namespace {NAMESPACE}" in lines
    assert f"  NamespaceFinalizersRemaining: {remaining}" in lines
    assert lines[-1] == (
        "error: remove what is named above, or its finalizers if nobody does it for them, and call "
        "`make undeploy PURGE=1` again"
    )
    await own_api.patch("Signal", "kept", "default", {"metadata": {"finalizers": None}})
    namespace = await own_api.get("Namespace", NAMESPACE)
    assert namespace is not None
    namespace["spec"]["finalizers"] = []
    await own_api.request("PUT", f"/api/v1/namespaces/{NAMESPACE}/finalize", namespace)
    code, said = await deploy("down", cluster.kubeconfig, PURGE="1", YES="1")
    assert (code, said.splitlines()[-1]) == (0, "stormfold: nothing is left")


async def test_ha_needs_a_secret_and_says_how_to_make_it(cluster: ControlPlane, own_api: Api) -> None:
    code, said = await deploy("up", cluster.kubeconfig, OVERLAY="ha")
    assert code == 1
    assert f"error: the Secret stormfold-redis is missing in {NAMESPACE}" in said
    assert f"kubectl -n {NAMESPACE} create secret generic stormfold-redis --from-file=url=" in said
    assert "deployment/stormfold" not in await there_is(Kubectl(cluster.kubeconfig))


@pytest.mark.parametrize(
    ("verb", "environment", "says"),
    [
        pytest.param(
            "up",
            {"OVERLAY": "none"},
            "OVERLAY=none is neither a folder nor one of: ha, standalone",
            id="overlay",
        ),
        pytest.param("up", {"IMAGE": "a b"}, "IMAGE=a b is not the name of an image", id="image"),
        pytest.param("sideways", {}, "usage: scripts/deploy crds | up | down", id="verb"),
        pytest.param("up", {"KUBECONFIG": "/nowhere"}, "kubectl has no current context", id="context"),
    ],
)
async def test_mistake_is_named(verb: str, environment: dict[str, str], says: str, tmp_path: Path) -> None:
    code, said = await deploy(verb, tmp_path / "kubeconfig", **environment)
    assert code == 1
    assert says in said


@pytest.fixture
def foreign(control_plane: ControlPlane, tmp_path: Path) -> Path:
    """A kubeconfig whose server is not on this machine; the address is one of those for documentation."""
    return control_plane.write_kubeconfig(tmp_path / "foreign", server="http://192.0.2.1:6443")


@pytest.mark.parametrize("verb", ["crds", "up", "down"])
async def test_foreign_cluster_is_left_alone_where_nobody_can_be_asked(verb: str, foreign: Path) -> None:
    code, said = await deploy(verb, foreign)
    assert code == 1
    assert said.splitlines() == [
        "stormfold: context stormfold, server http://192.0.2.1:6443",
        "error: there is nobody to ask whether to go on with context stormfold: set YES=1 if it is right",
    ]


def test_foreign_cluster_is_left_alone_if_the_answer_is_another_name(foreign: Path) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [ROOT / "scripts" / "deploy", "up"],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=surroundings(foreign, {}),
    )
    os.write(ours, b"y\n")
    said, _ = process.communicate()
    os.close(ours)
    os.close(theirs)
    assert process.returncode == 1
    assert said.decode().endswith("error: that is not stormfold; nothing was done\n")
