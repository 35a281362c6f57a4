"""Storms by the owner and by the node of what the signals are about."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.api.conftest import NewOperator
from tests.harness.alert_sender import Sender
from tests.harness.api import Api, Manifest
from tests.harness.api_proxy import ApiProxy
from tests.harness.eventually import eventually
from tests.harness.scene import Scene, rows
from tests.harness.workloads import Workloads, pods_of

BY_GROUP = "group spec.epoch status.phase status.signals.total status.affectedResourceCount"


async def report(scene: Scene, name: str, pods: list[Manifest], **spec: Any) -> None:
    """One signal of each pod."""
    await scene.api.create_all([scene.manifest(name, pod["metadata"]["name"], **spec) for pod in pods])


@pytest.mark.parametrize("key", ["owner", "target.owner"])
async def test_pods_of_a_deployment_are_one_storm_through_all_its_replica_sets_gone_or_not(
    scene: Scene, key: str
) -> None:
    workloads = Workloads(scene.api, scene.namespace)
    deployment, [old, new] = await workloads.deployment("web", "7d4b9c", "5f6d8")
    pods = await pods_of(workloads, old, 10) + await pods_of(workloads, new, 10)
    await scene.policy(groupBy=[key])
    await report(scene, "PodDown", pods[::2])
    await report(scene, "PodSlow", pods[1::2])
    group = (f"Deployment/{scene.namespace}/web",)
    await scene.requests_come_to(BY_GROUP, [(group, 1, "Settled", 20, 20)])
    await workloads.remove(deployment, old, new, *pods)
    await report(scene, "PodDown", pods)
    await scene.signal("RolloutStuck", target={"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"})
    await scene.requests_come_to(BY_GROUP, [(group, 1, "Settled", 41, 21)])


async def test_node_of_all_pods_in_trouble_is_the_cause_if_most_pods_are_elsewhere(scene: Scene) -> None:
    workloads = Workloads(scene.api, scene.namespace)
    _, [replica_set] = await workloads.deployment("web", "7d4b9c")
    _, [another] = await workloads.deployment("db", "5f6d8")
    node = f"node-of-{scene.namespace}"
    here = await pods_of(workloads, replica_set, 6, node=node)
    await pods_of(workloads, another, 54, node="worker-2")
    await scene.policy(groupBy=["namespace"], causes=["node", "owner"])
    await report(scene, "PodDown", here)
    [request] = await scene.comes_to((1, "Settled", 6))
    [cause] = request["status"]["commonCauses"]
    assert cause.pop("lift") >= 10
    assert cause == {"attribute": "node", "value": node, "signals": 6, "coverage": 100}


async def test_storms_are_by_node_of_the_pod_also_when_it_is_gone(scene: Scene) -> None:
    workloads = Workloads(scene.api, scene.namespace)
    _, [replica_set] = await workloads.deployment("web", "7d4b9c")
    here = await pods_of(workloads, replica_set, 3, node="worker-1")
    there = [await workloads.add("Pod", f"db-{number}", node="worker-2") for number in range(2)]
    await scene.policy(groupBy=["node"])
    await report(scene, "PodDown", here + there)
    await scene.signal("NodeDown", target={"kind": "Node", "name": "worker-1"})
    await scene.signal("Slow", target={"kind": "Service", "name": "web"})
    await scene.requests_come_to(
        BY_GROUP,
        [
            (("worker-1",), 1, "Settled", 4, 4),
            (("worker-2",), 1, "Settled", 2, 2),
            ((None,), 1, "Settled", 1, 1),
        ],
    )
    await workloads.remove(*here)
    gone = await eventually(
        scene.operator.metrics, lambda m: m.total("stormfold_owner_objects", state="gone") >= 3
    )
    assert gone.total("stormfold_owner_rights_denied") == 0
    await report(scene, "PodDown", here)
    await scene.requests_come_to(
        BY_GROUP,
        [
            (("worker-1",), 1, "Settled", 7, 4),
            (("worker-2",), 1, "Settled", 2, 2),
            ((None,), 1, "Settled", 1, 1),
        ],
    )


async def test_pods_that_went_before_the_operator_began_are_in_the_storm_of_their_deployment(
    api: Api, namespace: str, operator: NewOperator
) -> None:
    scene = Scene(api, namespace, await operator())
    workloads = Workloads(api, namespace)
    _, [old, new] = await workloads.deployment("web", "7d4b9c", "5f6d8")
    pods = await pods_of(workloads, old, 3) + await pods_of(workloads, new, 3)
    await scene.policy(groupBy=["owner"])
    await report(scene, "PodDown", pods)
    group = (f"Deployment/{namespace}/web",)
    await scene.requests_come_to(BY_GROUP, [(group, 1, "Settled", 6, 6)])
    await workloads.remove(old, *pods)
    await scene.operator.restart()
    await report(scene, "PodDown", pods)
    await scene.requests_come_to(BY_GROUP, [(group, 1, "Settled", 12, 6)])


async def test_what_an_owner_decides_waits_for_all_lists_so_that_replicas_and_restarts_agree(
    api: Api, namespace: str, operator: NewOperator, api_proxy: ApiProxy, tmp_path: Path
) -> None:
    sender = Sender(api, namespace, tmp_path / "secret")
    workloads = Workloads(api, namespace)
    _, [replica_set] = await workloads.deployment("web", "7d4b9c")
    pods = [pod["metadata"]["name"] for pod in await pods_of(workloads, replica_set, 3)]
    ready = await operator(identity="replica-0", webhook_token_file=sender.token_file)
    scene = Scene(api, namespace, ready)
    await scene.policy("a-owner", groupBy=["owner"], match={"names": ["PodDown"]})
    await scene.policy("b-name", groupBy=["name"])
    await ready.obeys(2)
    lists = api_proxy.hold("GET", r"/apis/apps/v1/replicasets\?limit")
    late = await operator(
        identity="replica-1",
        kubeconfig=api_proxy.kubeconfig(tmp_path / "late"),
        webhook_token_file=sender.token_file,
        environment={"STORMFOLD_WEBHOOK_WAIT_SECONDS": "200"},
    )
    alerts = [sender.alert(pod) for pod in pods]
    assert (await sender.post(ready, alerts))[0] == 200
    told = sender.posting(late, alerts)
    await lists.arrived.wait()
    other = await sender.post(late, [sender.alert(pods[0], name="Other")])
    assert (other[0], other[1]["accepted"]) == (200, 1), "no owner decides where it goes"
    assert not told.done()
    lists.release()
    assert (await told)[1]["accepted"] == 3
    owner = (f"Deployment/{namespace}/web",)
    by = "group spec.policyRef.name status.signals.total"
    assert sorted(rows(await scene.requests(), by)) == [(owner, "a-owner", 3), (("Other",), "b-name", 1)]
