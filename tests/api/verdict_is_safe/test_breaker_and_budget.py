"""Breaker and budget: how many requests proceed at a time, and when nothing does."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from tests.harness.api import Manifest
from tests.harness.consumer import Consumer
from tests.harness.eventually import eventually
from tests.harness.observing import observing
from tests.harness.scene import Scene, at, rows

VERDICT = "status.decision.verdict"
REASON = "status.decision.reason"
STORMS = 36
WORKED = 6


async def many(scene: Scene, number: int) -> None:
    """So many requests."""
    await scene.policy(closeAfter="1h")
    await scene.api.create_all([scene.manifest(f"Pull-{one:02}", "pod-0") for one in range(number)])


async def gate_says(scene: Scene, paths: str, *expected: Any) -> Manifest:
    """The gate, once it says that."""

    async def read() -> Manifest:
        found = await scene.api.get("StormGate", "registry", scene.namespace)
        assert found
        return found

    return await eventually(read, lambda found: rows([found], paths) == [expected], within=20, what=paths)


async def proceeding(scene: Scene) -> list[Manifest]:
    """Open requests that say Proceed."""
    return [
        request
        for request in await scene.requests()
        if at(request, VERDICT) == "Proceed" and at(request, "status.phase") != "Closed"
    ]


async def next_one(scene: Scene, *but: str) -> Manifest:
    """The one request that says Proceed, once it is none of these."""
    (found,) = await eventually(
        lambda: proceeding(scene),
        lambda found: len(found) == 1 and found[0]["metadata"]["name"] not in but,
        within=20,
        what="one request proceeds",
    )
    return found


async def test_of_thirty_six_requests_of_one_registry_one_proceeds_at_a_time(scene: Scene) -> None:
    async with observing(scene.api) as observer:
        await scene.gate("registry", budget={"concurrent": 1})
        await gate_says(scene, "status.verdict", "Proceed")
        await many(scene, STORMS)
        worked = set()
        for number in range(WORKED):
            request = await next_one(scene, *worked)
            name = request["metadata"]["name"]
            worked.add(name)
            gate = await scene.api.get("StormGate", "registry", scene.namespace)
            assert gate
            assert [place["name"] for place in gate["status"]["places"]] == [name]
            robot = Consumer(scene.api, f"robot-{number}")
            assert await robot.take(request, phase="InProgress")
            await robot.apply(request, phase="Succeeded")
        await next_one(scene, *worked)
    assert observer.judged(time.time()).most[scene.namespace] == 1

    async def said() -> Counter[tuple[bool, str]]:
        found = rows(await scene.requests(), f"status.phase {REASON}")
        return Counter((phase == "Closed", reason) for phase, reason in found)

    left = STORMS - WORKED - 1
    expected = {(True, "GatesPass"): WORKED, (False, "GatesPass"): 1, (False, "BudgetSpent"): left}
    await eventually(said, lambda seen: seen == expected, within=20, what="all say why")


async def test_budget_of_an_hour_lets_so_many_begin(scene: Scene) -> None:
    await scene.gate("registry", budget={"perHour": 2})
    await many(scene, 4)
    await eventually(lambda: proceeding(scene), lambda found: len(found) == 2, within=20)
    for request in await proceeding(scene):
        await scene.remediate(request, phase="Succeeded")
    await gate_says(scene, "status.places status.requests", [], 2)
    assert await proceeding(scene) == []


async def test_breaker_trips_probes_with_one_canary_and_passes_when_it_succeeds(scene: Scene) -> None:
    await scene.gate("registry", breaker={"openRequests": 3, "cooldown": "1h"})
    await many(scene, 5)
    tripped = await gate_says(scene, "status.state status.verdict", "Tripped", "Hold")
    assert at(tripped, "status.message") in {f"{n} requests within 5m, limit 3" for n in (4, 5)}
    await scene.requests_come_to(REASON, [("BreakerTripped",)] * 5)
    await scene.gate("registry", breaker={"openRequests": 3, "cooldown": "1s"})
    canary = await next_one(scene)
    assert at(canary, REASON) == "Canary"
    probing = await gate_says(scene, "status.state", "Probing")
    assert [(place["name"], place["canary"]) for place in probing["status"]["places"]] == [
        (canary["metadata"]["name"], True)
    ]
    await scene.gate("registry", breaker={"openRequests": 3, "cooldown": "1h"})
    await scene.remediate(canary, phase="Failed")
    await gate_says(
        scene,
        "status.state status.message",
        "Tripped",
        f"the canary {scene.namespace}/{canary['metadata']['name']} failed",
    )
    await scene.gate("registry", breaker={"openRequests": 3, "cooldown": "1s"})
    second = await next_one(scene, canary["metadata"]["name"])
    await scene.remediate(second, phase="Succeeded")
    await gate_says(scene, "status.state status.verdict", "Passing", "Proceed")
    # What tripped it is not counted again: the other three proceed.
    await eventually(lambda: proceeding(scene), lambda found: len(found) == 3, within=20)


async def test_breaker_trips_by_resources_and_by_its_share_of_nodes(scene: Scene) -> None:
    for number in range(10):
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": f"{scene.namespace}-{number}"}}
        await scene.api.request("POST", "/api/v1/nodes", node)
    await scene.policy(closeAfter="1h", groupBy=["labels.registry"])
    await scene.gate("registry", breaker={"resources": 3, "cooldown": "1h"})
    await scene.pods("Pull", 3, labels={"registry": "harbor"})
    await scene.requests_come_to(REASON, [("GatesPass",)])
    await scene.pods("Pull", 1, first=3, labels={"registry": "harbor"})
    await gate_says(scene, "status.state status.message", "Tripped", "4 resources within 5m, limit 3")
    await scene.api.delete("StormGate", "registry", scene.namespace)
    nodes = [{"kind": "Node", "name": f"{scene.namespace}-{number}"} for number in range(2)]
    await scene.gate("registry", breaker={"percentOfNodes": 10, "cooldown": "1h"})
    await scene.signal("NodeDown", target=nodes[0], labels={"registry": "harbor"})
    await gate_says(scene, "status.counts.nodes status.state", 1, "Passing")
    await scene.signal("NodeDown", target=nodes[1], labels={"registry": "harbor"})
    await gate_says(scene, "status.state status.message", "Tripped", "2 of 10 nodes within 5m, limit 10 %")
    await scene.requests_come_to(REASON, [("BreakerTripped",)])
    for number in range(10):
        await scene.api.request("DELETE", f"/api/v1/nodes/{scene.namespace}-{number}")


async def test_canary_that_is_deleted_is_followed_by_another_one(scene: Scene) -> None:
    await scene.gate("registry", breaker={"openRequests": 1, "cooldown": "1s"})
    await many(scene, 3)
    # Before it trips, more may proceed.
    await gate_says(scene, "status.state", "Probing")
    canary = await next_one(scene)
    uid = canary["metadata"]["uid"]
    await scene.api.delete("RemediationRequest", canary["metadata"]["name"], scene.namespace)
    following = await eventually(
        lambda: proceeding(scene),
        lambda found: len(found) == 1 and found[0]["metadata"]["uid"] != uid,
        within=20,
        what="another canary",
    )
    assert at(following[0], REASON) == "Canary"


async def test_gate_that_is_deleted_while_tripped_lets_everything_pass(scene: Scene) -> None:
    await scene.gate("registry", breaker={"openRequests": 1, "cooldown": "1h"})
    await many(scene, 3)
    await scene.requests_come_to(REASON, [("BreakerTripped",)] * 3)
    await scene.api.delete("StormGate", "registry", scene.namespace)
    await scene.requests_come_to(REASON, [("NoGateApplies",)] * 3)
