"""Owners of pods that the operator has never seen."""

from __future__ import annotations

from tests.api.conftest import NewOperator
from tests.api.test_owners import BY_GROUP, pods_of, report
from tests.harness.api import Api
from tests.harness.scene import Scene
from tests.harness.workloads import Workloads


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
