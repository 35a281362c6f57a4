"""A real Helm installs, upgrades, takes back and removes the chart on a real API server. Nothing here runs
pods: a task says of each Deployment that it is rolled out."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import shlex
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import yaml
from tests.harness import guard
from tests.harness.api import Api, ApiError
from tests.harness.chart_values import values_of
from tests.harness.deploying import deploy
from tests.harness.eventually import eventually
from tests.harness.helm import CHART, NAMESPACE, Helm, HelmError, copied
from tests.harness.kubectl import Kubectl
from tests.harness.manifests import ROOT

from lab.building import ensure_binaries
from lab.controlplane import ControlPlane
from stormfold import __version__


@pytest.fixture
def cluster() -> Iterator[ControlPlane]:
    """An API server of the test's own, on which stormfold never was."""
    with ControlPlane(ensure_binaries()) as running:
        guard.own(running.url)
        yield running
        guard.disown(running.url)


def later_chart(folder: Path) -> Path:
    """The chart as a later version may be: another version, and `spec.ticket` in the CRD of Signals."""
    later = copied(folder, version="9.9.9")
    file = later / "files" / "crds" / "signals.yaml"
    crd = yaml.safe_load(file.read_text())
    spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    spec["properties"]["ticket"] = {"type": "string"}
    file.write_text(yaml.safe_dump(crd))
    return later


COMPONENT = "app.kubernetes.io/component"


async def password(kubectl: Kubectl) -> str:
    """The one that Valkey asks for."""
    secret = await kubectl.json("-n", NAMESPACE, "get", "secret", "stormfold-redis")
    data = {name: base64.b64decode(text).decode() for name, text in secret["data"].items()}
    assert data["url"] == f"redis://:{data['password']}@stormfold-valkey:6379/0"
    return data["password"]


async def has_ticket(kubectl: Kubectl) -> bool:
    """Whether the CRD of Signals is the later one."""
    crd = await kubectl.json("get", "crd", "signals.stormfold.dev")
    spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return "ticket" in spec["properties"]


async def image_of(kubectl: Kubectl) -> str:
    """What the operator's Deployment runs."""
    deployment = await kubectl.json("-n", NAMESPACE, "get", "deployment", "stormfold")
    return str(deployment["spec"]["template"]["spec"]["containers"][0]["image"])


SIGNAL = {
    "apiVersion": "stormfold.dev/v1alpha1",
    "kind": "Signal",
    "metadata": {"name": "disk-1", "namespace": "default"},
    "spec": {"name": "DiskFull"},
}


async def roll_out(api: Api, ended: asyncio.Event) -> None:
    """Say of every Deployment that it is rolled out, as its controller would, until that ends."""
    path = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments"
    conditions = [
        {"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable"},
        {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"},
    ]
    counts = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
    while not ended.is_set():
        for deployment in (await api.request("GET", path))["items"]:
            metadata, replicas = deployment["metadata"], deployment["spec"]["replicas"]
            status = {**dict.fromkeys(counts, replicas), "conditions": conditions}
            with contextlib.suppress(ApiError):  # it is gone
                await api.request(
                    "PATCH",
                    f"{path}/{metadata['name']}/status",
                    {"status": {**status, "observedGeneration": metadata["generation"]}},
                    content_type="application/merge-patch+json",
                )
        await asyncio.sleep(0.2)


@contextlib.asynccontextmanager
async def client_and_rollouts(cluster: ControlPlane) -> AsyncIterator[Api]:
    """A client of a cluster; while it is there, Deployments are rolled out."""
    async with Api(cluster) as client:
        ended = asyncio.Event()
        task = asyncio.create_task(roll_out(client, ended))
        yield client
        ended.set()
        await task


@pytest.fixture
async def api(cluster: ControlPlane) -> AsyncIterator[Api]:
    """A client of it; while it is there, Deployments are rolled out."""
    async with client_and_rollouts(cluster) as client:
        yield client


async def test_release_is_installed_upgraded_rolled_back_and_uninstalled_with_its_crds(
    cluster: ControlPlane, api: Api, tmp_path: Path
) -> None:
    helm, kubectl = Helm(tmp_path, cluster.kubeconfig), Kubectl(cluster.kubeconfig)
    said = await helm.upgrade()
    assert "helm test stormfold -n stormfold-system --logs" in said
    assert "kubectl label namespace stormfold-system \\\n    pod-security.kubernetes.io/enforce" in said
    assert max(len(line) for line in said.splitlines()) <= 80
    first = await password(kubectl)
    assert len(first) == 48
    assert first not in said
    assert (await api.get("ClusterStormPolicy", "default") or {})["spec"]["groupBy"] == [
        "name",
        "namespace",
    ]
    await api.patch("ClusterStormPolicy", "default", None, {"spec": {"priority": 7}})
    await api.create(SIGNAL)

    await helm.upgrade(later_chart(tmp_path))
    assert await has_ticket(kubectl)
    assert await image_of(kubectl) == "stormfold:9.9.9"
    await helm("rollback", "stormfold", "1", "--namespace", NAMESPACE, "--wait")
    assert not await has_ticket(kubectl)
    assert await image_of(kubectl) == f"stormfold:{__version__}"
    assert await password(kubectl) == first
    assert (await api.get("ClusterStormPolicy", "default") or {})["spec"]["priority"] == 7

    await helm("uninstall", "stormfold", "--namespace", NAMESPACE)
    left = await kubectl(
        *(
            "get",
            "all,secrets,configmaps,roles,rolebindings,networkpolicies,clusterroles,clusterrolebindings",
        ),
        *("-A", "-l", "app.kubernetes.io/part-of=stormfold", "-o", "name"),
    )
    assert left.split() == [
        f"clusterrole.rbac.authorization.k8s.io/stormfold-{role}" for role in ("consumer", "edit", "view")
    ]
    assert await api.get("Signal", "disk-1", "default") is not None
    assert await api.get("ClusterStormPolicy", "default") is not None

    # The same release finds what was kept, and takes it on.
    await helm.upgrade(values=values_of("ha"))
    assert (await api.get("ClusterStormPolicy", "default") or {})["spec"]["priority"] == 7
    assert await api.get("Signal", "disk-1", "default") is not None
    await helm("uninstall", "stormfold", "--namespace", NAMESPACE)


async def test_default_policy_is_made_anew_by_an_upgrade_only_if_it_is_wanted(
    cluster: ControlPlane, api: Api, tmp_path: Path
) -> None:
    helm = Helm(tmp_path, cluster.kubeconfig)
    await helm.upgrade(values={"defaultPolicy": {"install": False}})
    assert await api.get("ClusterStormPolicy", "default") is None
    await helm.upgrade(values={"defaultPolicy": {"install": True}})
    assert await api.get("ClusterStormPolicy", "default") is not None
    await api.delete("ClusterStormPolicy", "default")
    await helm.upgrade(values={"defaultPolicy": {"install": False}})
    assert await api.get("ClusterStormPolicy", "default") is None


@pytest.mark.usefixtures("api")
async def test_helm_takes_over_what_make_undeploy_keeps(cluster: ControlPlane, tmp_path: Path) -> None:
    helm, kubectl = Helm(tmp_path, cluster.kubeconfig), Kubectl(cluster.kubeconfig)
    await kubectl("apply", "--server-side", "-k", str(ROOT / "crds"))
    await kubectl("apply", "--server-side", "-f", str(ROOT / "manifests" / "base" / "access.yaml"))
    with pytest.raises(HelmError, match="invalid ownership metadata"):
        await helm.upgrade()
    await helm.upgrade(CHART, "--take-ownership", "--force-conflicts")
    crds = await kubectl.json("get", "crd", "-l", "app.kubernetes.io/part-of=stormfold")
    assert len(crds["items"]) == 5
    for crd in crds["items"]:
        assert crd["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "Helm"
    await helm("uninstall", "stormfold", "--namespace", NAMESPACE)


FROM_HELM = "kubectl kustomize manifests/overlays/standalone |"
"""What docs/install.md says to run before `make deploy` begins with this."""


@pytest.mark.parametrize("by", ["make deploy", "install.yaml"])
async def test_other_ways_take_over_what_helm_keeps(
    by: str, cluster: ControlPlane, api: Api, tmp_path: Path
) -> None:
    helm, kubectl = Helm(tmp_path, cluster.kubeconfig), Kubectl(cluster.kubeconfig)
    await helm.upgrade(later_chart(tmp_path))
    await api.create(SIGNAL)
    await helm("uninstall", "stormfold", "--namespace", NAMESPACE)
    if by == "make deploy":
        page = (ROOT / "docs" / "install.md").read_text()
        (line,) = (line for line in page.splitlines() if line.startswith(FROM_HELM))
        given = shlex.split(line.removeprefix(FROM_HELM))
        assert given[0] == "kubectl"
        objects = await kubectl("kustomize", str(ROOT / "manifests/overlays/standalone"))
        await kubectl(*given[1:], stdin=objects)
        code, said = await deploy("up", cluster.kubeconfig, None)
        assert code == 0, said
    else:
        objects = await kubectl("kustomize", str(ROOT / "manifests" / "install"))
        await kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=objects)
    assert not await has_ticket(kubectl)
    assert await image_of(kubectl) == f"stormfold:{__version__}"
    assert await api.get("Signal", "disk-1", "default") is not None
    # From now on an upgrade by the same way meets no conflict.
    await kubectl("apply", "--server-side", "-l", f"{COMPONENT} notin (policy)", "-f", "-", stdin=objects)


async def test_upgrade_with_a_value_forgets_the_others_unless_it_is_told_to_keep_them(
    cluster: ControlPlane, api: Api, tmp_path: Path
) -> None:
    helm, kubectl = Helm(tmp_path, cluster.kubeconfig), Kubectl(cluster.kubeconfig)
    replicas = "jsonpath={.spec.replicas}"
    there = ("-n", NAMESPACE, "get", "deployment", "stormfold", "-o", replicas)
    await helm.upgrade(values={"replicas": 3, "image": {"tag": "first"}})
    await helm.upgrade()
    assert (await kubectl(*there), await image_of(kubectl)) == ("3", "stormfold:first")
    await helm.upgrade(CHART, "--reset-then-reuse-values", "--set", "image.tag=second")
    assert (await kubectl(*there), await image_of(kubectl)) == ("3", "stormfold:second")
    await helm.upgrade(CHART, "--set", "image.tag=third")
    assert (await kubectl(*there), await image_of(kubectl)) == ("1", "stormfold:third")

    # A chart with a value more: `--reuse-values` takes its default from the chart of before.
    later = later_chart(tmp_path)
    schema = json.loads((later / "values.schema.json").read_text())
    schema["properties"]["ticket"] = {"type": "string"}
    schema["required"].append("ticket")
    (later / "values.schema.json").write_text(json.dumps(schema))
    with (later / "values.yaml").open("a") as file:
        file.write("ticket: ''\n")
    with pytest.raises(HelmError, match="missing property 'ticket'"):
        await helm.upgrade(later, "--reuse-values")
    await helm.upgrade(later, "--reset-then-reuse-values")
    assert await image_of(kubectl) == "stormfold:third"


async def test_own_redis_keeps_its_secret_when_the_valkey_of_the_chart_goes(
    cluster: ControlPlane, api: Api, tmp_path: Path
) -> None:
    helm, kubectl = Helm(tmp_path, cluster.kubeconfig), Kubectl(cluster.kubeconfig)
    await helm.upgrade()
    await kubectl("-n", NAMESPACE, "create", "secret", "generic", "own", "--from-literal=url=redis://own/0")
    await helm.upgrade(values={"valkey": {"enabled": False}, "redis": {"existingSecret": "own"}})
    secrets = await kubectl("-n", NAMESPACE, "get", "secret", "--field-selector=type=Opaque", "-o", "name")
    assert secrets.split() == ["secret/own"]


ONE_OF_THREE = ["--apiserver-count=3"]
"""By this an API server takes itself for one of three: it serves a new kind 5 s after its CRD is created."""


async def test_kinds_that_are_served_late_need_wait_and_a_failed_install_goes_on_with_it(
    tmp_path: Path,
) -> None:
    with ControlPlane(ensure_binaries(), apiserver_args=ONE_OF_THREE) as late:
        guard.own(late.url)
        helm = Helm(tmp_path, late.kubeconfig)
        async with client_and_rollouts(late) as api:
            began, said = time.monotonic(), ""
            try:
                await helm(
                    *("upgrade", "--install", "stormfold", CHART),
                    *("--namespace", NAMESPACE, "--create-namespace"),
                )
            except HelmError as error:
                said = str(error)
            # On a slow machine the install may take until the kind is served.
            assert 'no matches for kind "ClusterStormPolicy"' in said or time.monotonic() - began > 5
            # Helm looks for the kind once more when it deletes what the hook made.
            await eventually(lambda: api.list("ClusterStormPolicy"), lambda _: True, what="it is served")
            await helm.upgrade()
            assert await api.get("ClusterStormPolicy", "default") is not None
        guard.disown(late.url)
