"""What is wrong with one gate or request, or what the API server refuses about it, stops no other."""

from __future__ import annotations

from typing import Any

import pytest
from tests.harness.api import ApiError, Manifest
from tests.harness.consumer import Consumer
from tests.harness.eventually import eventually
from tests.harness.resources import storm_gate
from tests.harness.scene import Scene, at, rows
from tests.harness.stage import Stage

from stormfold.kube.client import TIMEOUT_SECONDS

VERDICT = "status.decision.verdict"
NONE = {"policies": ["none"]}
GATES = 400
ASKED = 12


def scene_of(stage: Stage) -> Scene:
    return Scene(stage.api, stage.team.namespace, stage.operator)


async def storms(scene: Scene, *names: str) -> list[Manifest]:
    """One settled request for each name."""
    for name in names:
        await scene.pods(name, 2)
    return await scene.requests_come_to(
        "spec.name status.phase", [(name, "Settled") for name in sorted(names)]
    )


async def gate_says(scene: Scene, name: str, paths: str, *expected: Any) -> Manifest:
    """The gate, once it says that."""

    async def read() -> Manifest:
        found = await scene.api.get("StormGate", name, scene.namespace)
        assert found
        return found

    return await eventually(read, lambda found: rows([found], paths) == [expected], within=30, what=paths)


@pytest.mark.started(closeAfter="1h")
@pytest.mark.parametrize("answer", [422, 500])
async def test_gate_whose_status_the_api_server_refuses_keeps_no_other_from_being_in_force(
    stage: Stage, answer: int
) -> None:
    scene = scene_of(stage)
    await storms(scene, "Trouble")
    refused = stage.api_proxy.respond("PATCH", "/stormgates/broken/status", answer, times=None)
    await scene.gate("broken", breaker={"openRequests": 1}, selector=NONE)
    await eventually(refused.arrived.is_set, within=30, what="its status is refused")
    await scene.gate("freeze", by="alice")
    await gate_says(scene, "freeze", "status.verdict", "Hold")
    await scene.requests_come_to(VERDICT, [("Hold",)])
    await scene.gate("freeze")
    await scene.requests_come_to(VERDICT, [("Proceed",)])


@pytest.mark.started(closeAfter="1h")
async def test_nodes_that_cannot_be_counted_keep_no_gate_from_being_in_force(stage: Stage) -> None:
    scene = scene_of(stage)
    await storms(scene, "Trouble")
    failed = stage.api_proxy.respond("GET", "/api/v1/nodes", 500, times=None)
    await scene.gate("share", breaker={"percentOfNodes": 1}, selector=NONE)
    await eventually(failed.arrived.is_set, within=30, what="nodes are counted")
    await scene.gate("freeze", by="alice")
    await scene.requests_come_to(VERDICT, [("Hold",)])
    await gate_says(scene, "freeze", "status.verdict", "Hold")


@pytest.mark.started(closeAfter="1h")
async def test_gates_are_asked_for_each_second_however_long_the_api_server_is_away(stage: Stage) -> None:
    """Others wait for up to ten: they would ask four or five times."""
    gates = "/apis/stormfold.dev/v1alpha1/stormgates"
    away = stage.api_proxy.respond("GET", gates, 500, times=None)
    stage.api_proxy.end_watches(gates)
    await eventually(
        lambda: away.hits, lambda seen: seen >= ASKED, within=25, what="it is asked again", patience=1
    )


@pytest.mark.started(closeAfter="1h")
async def test_request_that_somebody_has_made_unreadable_keeps_no_other_from_being_judged(
    stage: Stage,
) -> None:
    scene = scene_of(stage)
    await scene.gate("registry", budget={"concurrent": 1})
    await gate_says(scene, "registry", "status.verdict", "Proceed")
    await storms(scene, "One", "Two")
    gate = await gate_says(scene, "registry", "status.requests", 2)
    (place,) = gate["status"]["places"]
    forged = {"status": {"firstSeen": "0000-01-01T00:00:00Z"}}
    await scene.api.patch("RemediationRequest", place["name"], scene.namespace, forged, subresource="status")
    await scene.gate("freeze", by="alice")
    await gate_says(scene, "freeze", "status.verdict", "Hold")
    await scene.requests_come_to(VERDICT, [("Hold",)] * 2)
    stage.kill()
    await stage.operator.start()
    await scene.gate("freeze")
    await gate_says(scene, "freeze", "status.verdict", "Proceed")


@pytest.mark.started(closeAfter="1h")
async def test_hold_does_not_wait_until_a_flood_of_gates_has_its_statuses(stage: Stage) -> None:
    scene = scene_of(stage)
    await storms(scene, "Trouble")
    stage.kill()
    flooded = await scene.another_namespace()
    await scene.api.create_all([storm_gate(flooded, f"gate-{number:03}", {}) for number in range(GATES)])
    await stage.operator.start()

    async def reported() -> list[int]:
        gates = await scene.api.list("StormGate", flooded)
        return [int(gate["metadata"]["resourceVersion"]) for gate in gates if at(gate, "status.verdict")]

    await eventually(reported, within=30, what="the first gate says something")
    await scene.gate("freeze", by="alice")
    (request,) = await scene.requests_come_to(VERDICT, [("Hold",)])
    versions = await eventually(reported, lambda seen: len(seen) == GATES, within=120, what="all of them do")
    assert int(request["metadata"]["resourceVersion"]) < max(versions)


@pytest.mark.started(closeAfter="1h")
@pytest.mark.parametrize("verdict", ["Hold", "Stop"])
async def test_hold_waits_for_no_answer_about_other_gates(stage: Stage, verdict: str) -> None:
    scene = scene_of(stage)
    await storms(scene, "Trouble")
    await scene.gate("breaker", breaker={"openRequests": 1, "cooldown": "1h"}, budget={"concurrent": 1})
    await scene.requests_come_to(VERDICT, [("Proceed",)])
    unanswered = stage.api_proxy.hold("PATCH", "/stormgates/(breaker|slow)/status", times=None)
    await scene.gate("slow", selector=NONE)
    await scene.pods("More", 2)
    await eventually(unanswered.arrived.is_set, within=30, what="a gate is written")
    await scene.gate("freeze", by="alice", verdict=verdict)

    async def said() -> list[tuple[Any, ...]]:
        return rows(await scene.requests(), f"spec.name {VERDICT}")

    both = [("More", verdict), ("Trouble", verdict)]
    await eventually(
        said, lambda seen: seen == both, within=TIMEOUT_SECONDS / 2, what="it is said", patience=1
    )
    unanswered.release()
    await gate_says(scene, "freeze", "status.verdict", verdict)
    await gate_says(scene, "slow", "status.verdict", "Proceed")


@pytest.mark.started(closeAfter="1h")
@pytest.mark.parametrize("verdict", ["Hold", "Stop"])
async def test_hold_does_not_wait_until_nobody_else_writes_the_request(stage: Stage, verdict: str) -> None:
    scene = scene_of(stage)
    await storms(scene, "Trouble")
    status = "/remediationrequests/[^/]+/status"
    conflicts = stage.api_proxy.respond(
        "PATCH", status, 409, body=lambda body: b'"resourceVersion"' in body, times=None
    )
    await scene.gate("freeze", by="alice", verdict=verdict)
    await scene.requests_come_to(VERDICT, [(verdict,)])
    await eventually(conflicts.arrived.is_set, what="a write that has a version")
    stage.api_proxy.remove(conflicts)
    proceed = "status.conditions.Proceed.status status.conditions.Proceed.reason"
    reason = {"Hold": "HeldByGate", "Stop": "StoppedByGate"}[verdict]
    await scene.requests_come_to(proceed, [("False", reason)])


async def test_until_that_no_status_can_hold_is_refused(scene: Scene) -> None:
    zeros = "0" * 60
    with pytest.raises(ApiError, match=r"spec\.holds\[0\]\.until: Too long: may not be more than 64"):
        await scene.gate("freeze", by="alice", until=f"2026-01-01T00:00:00.{zeros}Z")


async def test_request_with_a_place_that_becomes_the_canary_has_one_place(scene: Scene) -> None:
    await scene.policy(closeAfter="1h")
    await scene.gate("registry", breaker={"openRequests": 3, "cooldown": "1s"}, budget={"concurrent": 2})
    await gate_says(scene, "registry", "status.verdict", "Proceed")
    await storms(scene, "One")
    (one,) = await scene.requests_come_to(VERDICT, [("Proceed",)])
    robot = Consumer(scene.api, "robot")
    assert await robot.take(one, 60, phase="InProgress")
    for name in ("Two", "Three", "Four"):
        await scene.pods(name, 2)

    async def places() -> list[tuple[str, bool]]:
        gate = await scene.api.get("StormGate", "registry", scene.namespace)
        return [(place["name"], place["canary"]) for place in at(gate, "status.places")]

    canary = (one["metadata"]["name"], True)
    await eventually(places, lambda seen: seen == [canary], within=30, what="it is the canary")
    await robot.apply(one, phase="Succeeded")
    await gate_says(scene, "registry", "status.state status.verdict", "Passing", "Proceed")
