"""`make undeploy`, that is `scripts/deploy down`: what it deletes, and what it says that it waits for."""

from __future__ import annotations

from tests.harness.api import Api, Manifest
from tests.harness.deploying import (
    NAMESPACE,
    ROOT,
    SCRIPT_SECONDS,
    deploy,
    roll_out,
    there_is,
)
from tests.harness.eventually import eventually
from tests.harness.kubectl import Kubectl

from lab.controlplane import ControlPlane

AGAIN = (
    "error: remove what is named above, or its finalizers if nobody does it for them, and run the same "
    "command again"
)


async def test_purge_asks_first_and_leaves_nothing(cluster: ControlPlane, own_api: Api) -> None:
    code, said = await deploy("up", cluster.kubeconfig, roll_out(own_api))
    assert code == 0, said
    before = await there_is(Kubectl(cluster.kubeconfig))
    code, said = await deploy("down", cluster.kubeconfig, PURGE="1")
    assert code == 1
    assert (
        f"PURGE=1 deletes the namespace {NAMESPACE}, and of all namespaces: "
        "RemediationRequests 0, Signals 0, policies 1, StormGates 0\n"
    ) in said
    assert "set YES=1 if it is right" in said
    assert await there_is(Kubectl(cluster.kubeconfig)) == before

    async def end_the_namespace() -> None:
        """What the namespace's controller does when nothing is left in it."""
        namespace = await eventually(
            lambda: own_api.get("Namespace", NAMESPACE),
            lambda seen: seen and seen["metadata"].get("deletionTimestamp"),
            within=SCRIPT_SECONDS,
            what="the namespace is being deleted",
        )
        assert namespace
        namespace["spec"]["finalizers"] = []
        await own_api.request("PUT", f"/api/v1/namespaces/{NAMESPACE}/finalize", namespace)

    # What no overlay brings, and nobody needs any more.
    await own_api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "monitoring"}})
    await Kubectl(cluster.kubeconfig)("apply", "-f", str(ROOT / "manifests" / "alertmanager" / "access.yaml"))
    purge = {"PURGE": "1", "YES": "1", "WAIT": "120s"}
    code, said = await deploy("down", cluster.kubeconfig, end_the_namespace(), **purge)
    assert code == 0, said
    found = await Kubectl(cluster.kubeconfig)(
        *("get", "namespaces,clusterroles,clusterrolebindings,customresourcedefinitions", "-o", "name")
    )
    assert "storm" not in found


async def test_purge_that_hangs_says_what_it_waits_for(cluster: ControlPlane, own_api: Api) -> None:
    code, said = await deploy("up", cluster.kubeconfig, roll_out(own_api))
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

    # It is being deleted, and its controller has said why it is still there when the script looks.
    namespace = await own_api.request("DELETE", f"/api/v1/namespaces/{NAMESPACE}")
    condition = {
        "type": "NamespaceFinalizersRemaining",
        "status": "True",
        "reason": "SomeFinalizersRemain",
        "message": remaining,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    namespace["status"]["conditions"] = [condition]
    await own_api.request("PUT", f"/api/v1/namespaces/{NAMESPACE}/status", namespace)

    code, said = await deploy("down", cluster.kubeconfig, PURGE="1", YES="1", WAIT="2s")
    assert code == 1
    lines = said.splitlines()
    assert lines.count("stormfold: not deleted after 2s:") == 2
    assert "CustomResourceDefinition signals.stormfold.dev" in lines
    assert "  finalizer customresourcecleanup.apiextensions.k8s.io" in lines
    assert f"Namespace {NAMESPACE}" in lines
    assert f"  NamespaceFinalizersRemaining: {remaining}" in lines
    assert lines[-1] == AGAIN
    await own_api.patch("Signal", "kept", "default", {"metadata": {"finalizers": None}})
    namespace = await own_api.get("Namespace", NAMESPACE)
    assert namespace is not None
    namespace["spec"]["finalizers"] = []
    await own_api.request("PUT", f"/api/v1/namespaces/{NAMESPACE}/finalize", namespace)
    code, said = await deploy("down", cluster.kubeconfig, PURGE="1", YES="1")
    assert (code, said.splitlines()[-1]) == (0, "stormfold: nothing is left")


async def test_deployment_that_does_not_go_is_named_and_its_pods_keep_their_rights(
    cluster: ControlPlane, own_api: Api
) -> None:
    code, said = await deploy("up", cluster.kubeconfig, roll_out(own_api))
    assert code == 0, said
    before = await there_is(Kubectl(cluster.kubeconfig))
    finalizers = {"metadata": {"finalizers": ["example.org/hangs"]}}
    await own_api.patch("Deployment", "stormfold", NAMESPACE, finalizers)
    code, said = await deploy("down", cluster.kubeconfig, WAIT="1s")
    assert code == 1
    lines = said.splitlines()
    assert lines[-4:] == [
        "stormfold: not deleted after 1s:",
        "Deployment stormfold",
        "  finalizer example.org/hangs",
        AGAIN,
    ]
    await own_api.patch("Deployment", "stormfold", NAMESPACE, {"metadata": {"finalizers": None}})
    assert await there_is(Kubectl(cluster.kubeconfig)) == [
        found for found in before if found != "deployment/stormfold"
    ]
