"""How soon the decision on a request follows its gates, whatever fails meanwhile."""

from __future__ import annotations

import asyncio
import itertools
import time

import pytest
from tests.api.conftest import NewOperator
from tests.harness.api import Api
from tests.harness.audit import AuditLog
from tests.harness.cluster import OPERATOR_NAMESPACE
from tests.harness.eventually import eventually
from tests.harness.haste import in_time
from tests.harness.scene import Scene, rows
from tests.harness.stage import Stage
from tests.harness.verdict_times import VERDICT, decided, delay, gate_says, storms

from lab.controlplane import ControlPlane
from stormfold.gate.watching import ANSWERED_SECONDS

WATCH_OF_GATES = "stormgates.*watch=1"
SLOW_SECONDS = 1.0
"""How long the API server takes for a write, where it is slow."""

pytestmark = pytest.mark.timed


async def test_verdict_follows_a_hold_within_a_second(scene: Scene, control_plane: ControlPlane) -> None:
    await scene.policy(closeAfter="1h")
    await storms(scene, *(f"Trouble-{number:02}" for number in range(20)))

    async def followed() -> float:
        took = []
        for verdict in ("Stop", "Proceed", "Hold"):
            audit = AuditLog(control_plane)
            await scene.gate("freeze", by="" if verdict == "Proceed" else "alice", verdict=verdict)
            await scene.requests_come_to(VERDICT, [(verdict,)] * 20)
            took.append(await delay(audit, scene, requests=20))
        return max(took)

    await in_time(followed)


async def test_with_no_operator_the_last_verdict_stands_and_the_next_leader_decides_within_five_seconds(
    api: Api, namespace: str, operator: NewOperator, control_plane: ControlPlane
) -> None:
    replicas = [await operator(identity="one")]
    scene = Scene(api, namespace, replicas[0])
    await scene.policy(closeAfter="1h")
    await storms(scene, "Trouble")
    replicas.append(await operator(identity="two"))
    verdicts = itertools.cycle(("Hold", "Stop"))

    async def failed_over() -> float:
        leader, scene.operator = replicas
        leader.kill()
        killed, audit, verdict = time.time(), AuditLog(control_plane), next(verdicts)
        await scene.gate("freeze", by="alice", verdict=verdict)
        await scene.requests_come_to(VERDICT, [(verdict,)])
        took = (await decided(audit, scene)).answered - killed
        replicas.reverse()
        await leader.start()
        return took

    async def came_back() -> float:
        assert scene.operator
        scene.operator.kill()
        verdict, last = next(verdicts), rows(await scene.requests(), VERDICT)
        await scene.gate("freeze", by="alice", verdict=verdict)
        assert rows(await scene.requests(), VERDICT) == last
        audit = AuditLog(control_plane)
        await scene.operator.start(ready=False)
        await scene.requests_come_to(VERDICT, [(verdict,)])
        began = await audit.first(OPERATOR_NAMESPACE, lambda one: True, what="its first request")
        return (await decided(audit, scene)).answered - began.received

    await in_time(failed_over, seconds=5)
    replicas[1].kill()
    await in_time(came_back, seconds=5)


BROKEN = {"type": "ERROR", "object": {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 500}}
"""kopf ends by it, and is begun again after 1, 2, 4 and more seconds."""


@pytest.mark.started(closeAfter="1h")
async def test_verdict_follows_a_hold_within_a_second_though_watches_have_failed_again_and_again(
    stage: Stage, control_plane: ControlPlane
) -> None:
    scene = Scene(stage.api, stage.team.namespace, stage.operator)
    await storms(scene, "Trouble")

    async def followed() -> float:
        await scene.gate("freeze")
        await scene.requests_come_to(VERDICT, [("Proceed",)])
        for _ in range(3):
            await eventually(
                lambda: stage.api_proxy.open_watches("stormgates"), within=30, what="gates are watched"
            )
            await stage.api_proxy.inject("", BROKEN)
            await eventually(
                lambda: not stage.api_proxy.open_watches("stormgates"), what="the watch has ended"
            )
        audit = AuditLog(control_plane)
        await scene.gate("freeze", by="alice")
        await scene.requests_come_to(VERDICT, [("Hold",)])
        return await delay(audit, scene)

    await in_time(followed)


@pytest.mark.started(closeAfter="1h")
async def test_verdict_follows_a_hold_within_a_second_after_a_write_of_a_gate_that_took_long(
    stage: Stage, control_plane: ControlPlane
) -> None:
    scene = Scene(stage.api, stage.team.namespace, stage.operator)
    await storms(scene, "Trouble")
    places = itertools.count(1)

    async def followed() -> float:
        await scene.gate("freeze")
        held = stage.api_proxy.hold("PATCH", "/stormgates/registry/status")
        changed = await scene.gate("registry", budget={"concurrent": next(places)})
        await eventually(held.arrived.is_set, what="the status of the gate is written")
        await asyncio.sleep(SLOW_SECONDS)
        held.release()
        await gate_says(scene, "registry", "status.observedGeneration", (changed["metadata"]["generation"],))
        await scene.requests_come_to(VERDICT, [("Proceed",)])
        audit = AuditLog(control_plane)
        await scene.gate("freeze", by="alice")
        await scene.requests_come_to(VERDICT, [("Hold",)])
        return await delay(audit, scene)

    await in_time(followed)


@pytest.mark.parametrize("how", ["refused", "not answered"])
@pytest.mark.started(closeAfter="1h")
async def test_verdict_follows_a_hold_though_the_watch_of_gates_is_not_begun_at_once(
    stage: Stage, control_plane: ControlPlane, how: str
) -> None:
    """By an API server that asks to wait for 10 s, or that says nothing at all; its client waits for 90 s."""
    scene = Scene(stage.api, stage.team.namespace, stage.operator)
    await storms(scene, "Trouble")

    async def followed() -> float:
        await scene.gate("freeze")
        await scene.requests_come_to(VERDICT, [("Proceed",)])
        await eventually(
            lambda: stage.api_proxy.open_watches("stormgates"), within=30, what="gates are watched"
        )
        if how == "refused":
            rule = stage.api_proxy.respond("GET", WATCH_OF_GATES, 429, headers={"Retry-After": "10"})
        else:
            rule = stage.api_proxy.hold("GET", WATCH_OF_GATES)
        stage.api_proxy.end_watches("stormgates")
        await eventually(rule.arrived.is_set, what="the next watch is asked for")
        audit = AuditLog(control_plane)
        await scene.gate("freeze", by="alice")
        await scene.requests_come_to(VERDICT, [("Hold",)])
        return await delay(audit, scene)

    await in_time(followed, seconds=2 if how == "refused" else ANSWERED_SECONDS + 2)
