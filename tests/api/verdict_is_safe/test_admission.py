"""What the API server refuses by the component `steering`, with the operator and without it."""

from __future__ import annotations

import asyncio
import time

import pytest
from tests.harness.admission import (
    SEEN_SECONDS,
    VERDICT,
    WAIT,
    held,
    named,
    refusal,
    robots,
    status,
)
from tests.harness.api import ApiError, Manifest
from tests.harness.audit import AuditLog
from tests.harness.consumer import Consumer, in_seconds
from tests.harness.eventually import eventually
from tests.harness.haste import in_time
from tests.harness.scene import Scene, rows

from lab.controlplane import ControlPlane
from stormfold.gate.gates import MAX_GATES

WRITERS = 20

ENFORCED = True
"""See conftest.py."""


async def test_everybody_else_may_write_remediation_and_nothing_else(
    scene: Scene, request_: Manifest
) -> None:
    name = f"{scene.namespace}/{request_['metadata']['name']}"
    only = f"RemediationRequest {name}: of its status you may write remediation only"
    for forged in (
        {"decision": {"verdict": "Stop"}},
        {"decision": None},
        {"conditions": []},
        {"phase": "Closed"},
        {"continuation": {"folded": 0}},
        {"severity": "info", "remediation": {"phase": "InProgress"}},
    ):
        assert await refusal(status(scene, request_, **forged)) == only, forged
    assert await refusal(status(scene, request_, remediation={"phase": "InProgress", "plan": [1]})) == ""


@pytest.mark.parametrize("verdict", ["Hold", "Stop"])
async def test_nobody_begins_while_the_verdict_is_not_proceed(
    scene: Scene, request_: Manifest, verdict: str
) -> None:
    request = await held(scene, request_, verdict)
    robot, _ = robots(scene)
    does = {"Hold": "holds", "Stop": "stops"}[verdict]
    name, gate = f"RemediationRequest {named(request)}", f"StormGate {scene.namespace}/freeze"
    # Two policies deny it: one reads the request, the other one the gate.
    refusals = {
        f"{name} says {verdict}: {gate}: alice {does} it: maintenance. {WAIT}",
        f"{gate}: alice {does} {name}: maintenance. {WAIT}",
    }
    for begins in (
        {"claim": robot.claim(request)},
        {"phase": "InProgress"},
        {"phase": "inprogress", "claim": robot.claim(request)},
        {"phase": "Waiting for coffee"},
    ):
        assert await refusal(robot.apply(request, **begins)) in refusals, begins
    assert await refusal(robot.apply(request, phase="Skipped", claim=robot.claim(request))) == ""


async def test_on_hold_what_runs_goes_on_and_ends(scene: Scene, request_: Manifest) -> None:
    robot, other = robots(scene)
    assert await robot.take(request_, phase="InProgress")
    request = await held(scene, request_, "Hold")
    assert await refusal(robot.apply(request, claim=robot.claim(request, 90), phase="InProgress")) == ""
    assert await refusal(robot.apply(request, claim=robot.claim(request, 95), phase="Verifying")) == ""
    assert "freeze" in await refusal(
        other.apply(request, claim=other.claim(request), phase="InProgress", force=True)
    )
    assert await refusal(robot.apply(request, phase="Verifying")) == ""  # released
    assert "freeze" in await refusal(robot.apply(request, claim=robot.claim(request), phase="Verifying"))
    assert await refusal(robot.apply(request, phase="Succeeded")) == ""
    await scene.requests_come_to("status.phase", [("Closed",)])


async def test_on_stop_what_runs_can_only_end(scene: Scene, request_: Manifest) -> None:
    robot, _ = robots(scene)
    assert await robot.take(request_, phase="InProgress")
    claim = robot.claim(request_, 60)
    assert await refusal(robot.apply(request_, phase="InProgress", claim=claim)) == ""
    request = await held(scene, request_, "Stop")
    name, gate = f"RemediationRequest {named(request)}", f"StormGate {scene.namespace}/freeze"
    end = "End what you do, and report a terminal phase"
    for goes_on in (
        {"claim": robot.claim(request, 90), "phase": "InProgress"},
        {"claim": claim, "phase": "Verifying"},
    ):
        assert await refusal(robot.apply(request, **goes_on)) in {
            f"{name} says Stop: {gate}: alice stops it: maintenance. {end}",
            f"{gate}: alice stops {name}: maintenance. {end}",
        }, goes_on
    # A message beside it, and the end.
    assert await refusal(robot.apply(request, claim=claim, phase="InProgress", message="stopping")) == ""
    assert await refusal(robot.apply(request, claim=claim, phase="Aborted")) == ""
    await scene.requests_come_to("status.phase", [("Closed",)])


async def test_gate_that_is_not_in_force_refuses_nobody(scene: Scene, request_: Manifest) -> None:
    """As its condition and the request say; and it does, once there is room for it."""
    for number in range(MAX_GATES):
        await scene.gate(f"gate-{number:02}")
    await scene.gate("late", by="alice")

    async def accepted() -> list[tuple[object, ...]]:
        late = await scene.api.get("StormGate", "late", scene.namespace)
        return rows([late or {}], "status.conditions.Accepted.reason status.verdict")

    await eventually(
        accepted, lambda seen: seen == [("TooManyGates", "Proceed")], within=30, what="it is not in force"
    )
    await scene.requests_come_to(VERDICT, [("Proceed",)])
    robot, _ = robots(scene)

    async def begin() -> str:
        said = await refusal(robot.apply(request_, claim=robot.claim(request_), phase="InProgress"))
        if not said:
            await robot.apply(request_)
        return said

    await eventually(begin, lambda said: said == "", within=SEEN_SECONDS, what="it begins")
    await scene.api.delete("StormGate", "gate-00", scene.namespace)
    await scene.requests_come_to(VERDICT, [("Hold",)])
    await eventually(begin, lambda said: "alice holds" in said, within=SEEN_SECONDS, what="it is refused")


@pytest.mark.timed
async def test_one_command_stops_twenty_writers_within_a_second_and_none_slips_through(
    scene: Scene, request_: Manifest, control_plane: ControlPlane
) -> None:
    names = [f"Storm-{number:02}" for number in range(WRITERS)]
    for name in names:
        await scene.pods(name, 1)
    found = await scene.requests_come_to(f"{VERDICT}", [("Proceed",)] * (WRITERS + 1))
    denied: list[float] = []
    passed: list[tuple[float, float]] = []
    stop = asyncio.Event()

    async def write(request: Manifest, number: int) -> None:
        """Begins and lets go, some ten times a second."""
        robot = Consumer(scene.api, f"writer-{number}")
        while not stop.is_set():
            began = time.monotonic()
            try:
                await robot.apply(request, phase="InProgress", claim=robot.claim(request))
            except ApiError as error:
                if error.status == 422:
                    denied.append(time.monotonic())
                    await asyncio.sleep(0.01)
            else:
                passed.append((began, time.monotonic()))
            await robot.apply(request)
            await asyncio.sleep(0.05)

    async def stopped() -> float:
        passed.clear()
        await eventually(lambda: len(passed), lambda seen: seen > WRITERS, within=30, what="writers begin")
        denied.clear()
        audit = AuditLog(control_plane)
        await scene.gate("stop", by="alice", verdict="Stop")
        await eventually(lambda: len(denied), lambda seen: seen > 0, what="a denial")
        await scene.requests_come_to(VERDICT, [("Stop",)] * (WRITERS + 1))
        seen = len(denied)
        await eventually(lambda: len(denied), lambda now: now > seen + 2 * WRITERS, what="all are denied")
        first = denied[0]
        assert [began for began, _ in passed if began > first] == []
        gate = await audit.first(
            scene.namespace, lambda one: (one.verb, one.resource) == ("create", "stormgates"), what="the gate"
        )
        refused = await audit.first(scene.namespace, lambda one: one.code == 422, what="a denial")
        await scene.api.delete("StormGate", "stop", scene.namespace)
        await scene.requests_come_to(VERDICT, [("Proceed",)] * (WRITERS + 1))
        return refused.received - gate.answered

    async with asyncio.TaskGroup() as tasks:
        for number, request in enumerate(found):
            tasks.create_task(write(request, number))
        await in_time(stopped)
        stop.set()


async def test_new_hold_counts_at_once_whatever_the_request_says_and_with_no_operator(
    scene: Scene, request_: Manifest
) -> None:
    robot, _ = robots(scene)
    scene.operator.pause()
    try:
        assert rows(await scene.requests(), VERDICT) == [("Proceed",)]
        for verdict, does, until in (
            ("Hold", "holds", None),
            ("Hold", "holds", "2126-01-01T10:00:00Z"),
            ("Stop", "stops", None),
        ):
            await scene.gate(
                "freeze", by="alice", reason="the registry is moved", verdict=verdict, until=until
            )
            expected = (
                f"StormGate {scene.namespace}/freeze: alice {does} RemediationRequest {named(request_)}"
                f"{f' until {until}' if until else ''}: the registry is moved. {WAIT}"
            )
            await eventually(
                lambda: refusal(robot.apply(request_, phase="InProgress", claim=robot.claim(request_))),
                lambda said, expected=expected: said == expected,
                within=SEEN_SECONDS,
                what=expected,
            )
        # A gate that selects others does not.
        await robot.apply(request_)
        await scene.gate("freeze", by="alice", selector={"policies": ["other"]})
        await eventually(
            lambda: refusal(robot.apply(request_, phase="InProgress", claim=robot.claim(request_))),
            lambda said: said == "",
            within=SEEN_SECONDS,
            what="the hold does not count any more",
        )
    finally:
        scene.operator.resume()


async def test_hold_that_is_over_counts_no_more_once_stormfold_has_noted_it(
    scene: Scene, request_: Manifest
) -> None:
    robot, _ = robots(scene)
    await scene.gate("freeze", by="alice", until=in_seconds(5))
    await scene.requests_come_to(VERDICT, [("Hold",)])
    await scene.requests_come_to(VERDICT, [("Proceed",)])
    await eventually(
        lambda: refusal(robot.apply(request_, phase="InProgress", claim=robot.claim(request_))),
        lambda said: said == "",
        within=SEEN_SECONDS,
        what="the hold is over",
    )


async def test_labelled_objects_are_not_made_where_everything_is_held(
    scene: Scene, request_: Manifest
) -> None:
    def config(name: str, **labels: str) -> Manifest:
        metadata = {"name": name, "namespace": scene.namespace, "labels": labels}
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}

    path = f"/api/v1/namespaces/{scene.namespace}/configmaps"
    ours = {"stormfold.dev/request": request_["metadata"]["name"]}

    async def make(name: str, **labels: str) -> str:
        return await refusal(scene.api.request("POST", path, config(name, **labels)))

    assert await make("free", **ours) == ""
    await scene.gate("some", by="alice", selector={"policies": ["team"]})
    await held(scene, request_, "Hold")
    expected = (
        f"StormGate {scene.namespace}/freeze: alice holds all requests of namespace {scene.namespace}: "
        "maintenance. Wait for the condition Proceed of the request"
    )
    await eventually(
        lambda: make(f"held-{time.monotonic_ns()}", **ours),
        lambda said: said == expected,
        within=SEEN_SECONDS,
    )
    assert await make("not-ours") == ""
    await scene.api.delete("StormGate", "freeze", scene.namespace)
    await eventually(
        lambda: make(f"free-{time.monotonic_ns()}", **ours), lambda said: said == "", within=SEEN_SECONDS
    )
