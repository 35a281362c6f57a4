"""Owners and nodes as real controllers and a real scheduler make them: storms by Deployment, and by node."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import pytest
import yaml
from tests.e2e.cluster import ROOT, Cluster
from tests.e2e.conftest import NewTeam
from tests.harness.api import Api, Manifest
from tests.harness.eventually import eventually
from tests.harness.scene import rows
from tests.harness.team import Team

RIGHTS = ROOT / "manifests" / "components" / "owners" / "rbac.yaml"
PODS = 5
BY_GROUP = "group spec.epoch status.phase status.signals.total status.affectedResourceCount"


@pytest.fixture(scope="module", autouse=True)
def rights(whole_cluster: Cluster) -> Iterator[None]:
    """The component `owners` beside what is deployed, for all tests: the storms of one go on in the next."""
    whole_cluster.apply(RIGHTS)
    yield
    whole_cluster.delete(RIGHTS)


async def grouping_by(key: str, cluster: Cluster, new_team: NewTeam) -> Team:
    """A team that groups by owner or node, once the operator sees pods: where it found no right to, it asks
    again later."""
    team = await new_team(groupBy=[key])
    await eventually(
        cluster.metrics,
        lambda metrics: metrics.total("stormfold_owner_objects", state="there") > 0,
        within=30,
        what="the operator sees pods",
    )
    return team


async def deploy(cluster: Cluster, namespace: str) -> None:
    """A Deployment `web` of five pods, on both nodes, once all of them run."""
    labels = {"app": "web"}
    spread = {
        "topologyKey": "kubernetes.io/hostname",
        "maxSkew": 1,
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": labels},
        "matchLabelKeys": ["pod-template-hash"],
    }
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": namespace},
        "spec": {
            "replicas": PODS,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "terminationGracePeriodSeconds": 0,
                    "topologySpreadConstraints": [spread],
                    "containers": [{"name": "web", "image": cluster.image, "command": ["sleep", "infinity"]}],
                },
            },
        },
    }
    await cluster.kubectl.apply(yaml.safe_dump(deployment))
    await rolled_out(cluster, namespace)


async def rolled_out(cluster: Cluster, namespace: str) -> None:
    """Wait until all pods are of the latest ReplicaSet, and run."""
    await cluster.kubectl("-n", namespace, "rollout", "status", "deployment/web", "--timeout=60s")


async def pods_of(api: Api, namespace: str) -> list[Manifest]:
    """Its pods, as soon as they are five: those that were replaced go a little later."""
    found = await eventually(
        lambda: api.list("Pod", namespace), lambda seen: len(seen) == PODS, within=30, what=f"{PODS} pods"
    )
    return list(found)


async def report(api: Api, team: Team, pods: Sequence[Manifest]) -> None:
    """One signal of each pod."""
    signals = [team.next_signal("pod-down") for _ in pods]
    for signal, pod in zip(signals, pods, strict=True):
        signal["spec"]["target"]["name"] = pod["metadata"]["name"]
    await api.create_all(signals)


async def come_to(team: Team, expected: list[tuple[object, ...]]) -> None:
    """Wait until the requests of the team are these, in the order of their groups."""

    async def read() -> list[tuple[object, ...]]:
        return sorted(rows(await team.requests(), BY_GROUP), key=str)

    await eventually(read, lambda seen: seen == expected, within=30, what=str(expected))


async def test_pods_of_a_deployment_are_one_storm_through_a_rollout_that_replaces_all_of_them(
    cluster: Cluster, api: Api, new_team: NewTeam
) -> None:
    team = await grouping_by("owner", cluster, new_team)
    await deploy(cluster, team.namespace)
    old = await pods_of(api, team.namespace)
    await report(api, team, old)
    group = (f"Deployment/{team.namespace}/web",)
    await come_to(team, [(group, 1, "Settled", PODS, PODS)])

    await cluster.kubectl("-n", team.namespace, "rollout", "restart", "deployment/web")
    await rolled_out(cluster, team.namespace)
    new = await pods_of(api, team.namespace)
    assert {pod["metadata"]["name"] for pod in old}.isdisjoint(pod["metadata"]["name"] for pod in new)
    await report(api, team, old + new)
    await come_to(team, [(group, 1, "Settled", 3 * PODS, 2 * PODS)])
    await cluster.kubectl("-n", team.namespace, "delete", "deployment", "web")


async def test_pods_of_a_deployment_are_a_storm_for_each_node_that_they_are_on(
    cluster: Cluster, api: Api, new_team: NewTeam
) -> None:
    team = await grouping_by("node", cluster, new_team)
    await deploy(cluster, team.namespace)
    pods = await pods_of(api, team.namespace)
    on = Counter(pod["spec"]["nodeName"] for pod in pods)
    assert sorted(on.values()) == [2, 3]
    await report(api, team, pods)
    await come_to(team, [((node,), 1, "Settled", on[node], on[node]) for node in sorted(on)])
    await cluster.kubectl("-n", team.namespace, "delete", "deployment", "web")
