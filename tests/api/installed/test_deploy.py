"""`make deploy`, that is `scripts/deploy`, against an API server: nothing here runs pods."""

from __future__ import annotations

import base64
import os
import pty
import subprocess
from pathlib import Path

import pytest
from tests.harness.api import Api, Manifest
from tests.harness.deploying import (
    DEPLOYMENTS,
    NAMESPACE,
    ROOT,
    SECRET,
    deploy,
    roll_out,
    surroundings,
    there_is,
)
from tests.harness.kubectl import Kubectl

from lab.controlplane import ControlPlane

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
    code, said = await deploy("up", cluster.kubeconfig, roll_out(own_api), IMAGE="example.org/stormfold:1")
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
    code, said = await deploy("up", cluster.kubeconfig, roll_out(own_api), IMAGE="example.org/stormfold:2")
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

    code, said = await deploy("up", cluster.kubeconfig, roll_out(own_api))
    assert code == 0, said
    assert (await secret_of(own_api))["data"] == secret["data"]


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

    if not await own_api.get("Deployment", "stormfold", NAMESPACE):
        code, said = await deploy("up", cluster.kubeconfig, roll_out(own_api))
        assert code == 0, said
    # What the controllers say when admission takes no pod, before the script looks.
    counts = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas", "observedGeneration")
    await own_api.request(
        "PATCH",
        f"{DEPLOYMENTS}/stormfold/status",
        {"status": dict.fromkeys(counts, 0) | {"conditions": [condition]}},
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
    code, said = await deploy("up", cluster.kubeconfig, WAIT="1s")
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


async def test_ha_needs_a_secret_and_says_how_to_make_it(cluster: ControlPlane, own_api: Api) -> None:
    await own_api.delete_all("Deployment")  # another test may have left one
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
