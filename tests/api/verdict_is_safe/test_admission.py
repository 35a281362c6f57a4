"""What the API server refuses by the component `steering`, with the operator and without it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.harness.api import Api, ApiError, Manifest
from tests.harness.cluster import OPERATOR_NAMESPACE
from tests.harness.consumer import Consumer, in_seconds
from tests.harness.eventually import eventually
from tests.harness.kubectl import Kubectl
from tests.harness.operator import OperatorProcess
from tests.harness.scene import Scene, rows

from lab.controlplane import ControlPlane
from lab.valkey import Valkey

MANIFESTS = Path(__file__).parents[3] / "manifests"
BASE = MANIFESTS / "base" / "rbac.yaml"
STEERING = MANIFESTS / "components" / "steering" / "admission.yaml"
VERDICT = "status.decision.verdict"
EXPIRED = "status.conditions.ClaimExpired.status"
WRITERS = 20


@pytest.fixture(scope="module")
def shared_operator(
    control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OperatorProcess]:
    """The operator under its ServiceAccount, with the admission policies in force for everybody else."""
    folder = tmp_path_factory.mktemp("steering")
    kubectl = Kubectl(control_plane.kubeconfig)

    async def prepare() -> None:
        async with Api(control_plane) as api:
            for kind in ("Signal", "RemediationRequest", "StormPolicy", "StormGate", "Lease"):
                await api.delete_all(kind)
        await kubectl("apply", "-f", str(BASE), "-f", str(STEERING))

    asyncio.run(prepare())
    token = control_plane.service_account_token(OPERATOR_NAMESPACE, "stormfold")
    with Valkey() as server:
        process = OperatorProcess(
            redis_url=server.url,
            kubeconfig=control_plane.write_kubeconfig(folder / "kubeconfig", token=token),
            log=folder / "operator.log",
            namespace=OPERATOR_NAMESPACE,
        )
        asyncio.run(process.start())
        yield process
        process.kill()
    asyncio.run(kubectl("delete", "-f", str(STEERING)))


@pytest.fixture
async def request_(scene: Scene) -> Manifest:
    """One that is settled and says Proceed, once the policies are in force."""
    await scene.policy(closeAfter="1h")
    await scene.pods("Trouble", 2)
    (request,) = await scene.requests_come_to(f"status.phase {VERDICT}", [("Settled", "Proceed")])
    await eventually(
        lambda: refusal(status(scene, request, severity="critical")),
        lambda said: "you may write remediation only" in said,
        within=30,
        what="the admission policies are in force",
    )
    return request


async def status(scene: Scene, request: Manifest, **fields: Any) -> Manifest:
    """Merge these fields into the status, as somebody who may."""
    metadata = request["metadata"]
    return await scene.api.patch(
        "RemediationRequest",
        metadata["name"],
        metadata["namespace"],
        {"status": fields},
        subresource="status",
    )


async def refusal(doing: Any) -> str:
    """What the API server says to it; nothing if it takes it."""
    try:
        await doing
    except ApiError as error:
        if error.status != 422:
            raise
        return str(error).rpartition("denied request: ")[2]
    return ""


def robots(scene: Scene) -> tuple[Consumer, Consumer]:
    return Consumer(scene.api, "robot-1"), Consumer(scene.api, "robot-2")


async def held(scene: Scene, request: Manifest, verdict: str) -> Manifest:
    """The request under a hold, once it says so."""
    await scene.gate("freeze", by="alice", verdict=verdict)
    (found,) = await scene.requests_come_to(VERDICT, [(verdict,)])
    return found


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
    for begins in (
        {"claim": robot.claim(request)},
        {"phase": "InProgress"},
        {"phase": "inprogress", "claim": robot.claim(request)},
        {"phase": "Waiting for coffee"},
    ):
        said = await refusal(robot.apply(request, **begins))
        assert "freeze" in said, begins
        # Two policies deny it: one reads the request, the other one the gate.
        assert f"says {verdict}" in said or "/freeze holds " in said
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
    for goes_on in (
        {"claim": robot.claim(request, 90), "phase": "InProgress"},
        {"claim": claim, "phase": "Verifying"},
    ):
        assert "End what you do, and report a terminal phase" in await refusal(
            robot.apply(request, **goes_on)
        )
    # A message beside it, and the end.
    assert await refusal(robot.apply(request, claim=claim, phase="InProgress", message="stopping")) == ""
    assert await refusal(robot.apply(request, claim=claim, phase="Aborted")) == ""
    await scene.requests_come_to("status.phase", [("Closed",)])


async def test_valid_claim_of_another_is_not_taken_and_an_expired_one_is(
    scene: Scene, request_: Manifest
) -> None:
    one, two = robots(scene)
    assert await one.take(request_, 4, phase="InProgress")
    taken = two.apply(request_, claim=two.claim(request_), phase="InProgress", force=True)
    name = f"{scene.namespace}/{request_['metadata']['name']}"
    assert await refusal(taken) == (
        f"RemediationRequest {name} is claimed by robot-1: take over when its condition ClaimExpired is True"
    )
    await scene.requests_come_to(EXPIRED, [("True",)])
    assert await two.take_over(request_, phase="InProgress")
    # The condition is about robot-1's claim still: nobody takes robot-2's by it.
    third = Consumer(scene.api, "robot-3")
    assert "is claimed by robot-2" in await refusal(
        third.apply(request_, claim=third.claim(request_), phase="InProgress", force=True)
    )


async def test_claim_for_an_older_revision_is_refused(scene: Scene, request_: Manifest) -> None:
    robot, _ = robots(scene)
    await scene.pods("Trouble", 1, first=2)
    await scene.requests_come_to("status.phase status.revision", [("Settled", 2)])
    name = f"{scene.namespace}/{request_['metadata']['name']}"
    assert await refusal(robot.apply(request_, claim=robot.claim(request_), phase="InProgress")) == (
        f"RemediationRequest {name} is at revision 2, the claim is for revision 1: read it again"
    )
    (request,) = await scene.requests()
    assert await refusal(robot.apply(request, claim=robot.claim(request), phase="InProgress")) == ""


async def test_one_command_stops_twenty_writers_within_a_second_and_none_slips_through(
    scene: Scene, request_: Manifest
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

    async with asyncio.TaskGroup() as tasks:
        for number, request in enumerate(found):
            tasks.create_task(write(request, number))
        await eventually(
            lambda: asyncio.sleep(0, len(passed)), lambda seen: seen > WRITERS, what="writers begin"
        )
        assert denied == []
        await scene.gate("stop", by="alice", verdict="Stop")
        held_at = time.monotonic()
        await eventually(lambda: asyncio.sleep(0, len(denied)), lambda seen: seen > 0, what="a denial")
        await asyncio.sleep(2)
        stop.set()
    first = denied[0]
    assert first - held_at < 1.0
    assert [began for began, _ in passed if began > first] == []
    await scene.requests_come_to(VERDICT, [("Stop",)] * (WRITERS + 1))


async def test_new_hold_counts_at_once_whatever_the_request_says_and_with_no_operator(
    scene: Scene, request_: Manifest
) -> None:
    robot, _ = robots(scene)
    scene.operator.pause()
    try:
        await scene.gate("freeze", by="alice", reason="the registry is moved")
        assert rows(await scene.requests(), VERDICT) == [("Proceed",)]
        name = f"{scene.namespace}/{request_['metadata']['name']}"
        await eventually(
            lambda: refusal(robot.apply(request_, phase="InProgress", claim=robot.claim(request_))),
            lambda said: said == (
                f"StormGate {scene.namespace}/freeze holds RemediationRequest {name}: alice: "
                "the registry is moved. Do not begin; wait for the condition Proceed"
            ),
            within=2,
            what="the hold counts",
        )  # fmt: skip
        # A gate that selects others does not.
        await robot.apply(request_)
        await scene.gate("freeze", by="alice", selector={"policies": ["other"]})
        await eventually(
            lambda: refusal(robot.apply(request_, phase="InProgress", claim=robot.claim(request_))),
            lambda said: said == "",
            within=2,
            what="the hold does not count any more",
        )
    finally:
        scene.operator.resume()


async def test_hold_that_is_over_counts_no_more_once_stormfold_has_noted_it(
    scene: Scene, request_: Manifest
) -> None:
    robot, _ = robots(scene)
    await scene.gate("freeze", by="alice", until=in_seconds(1))
    await scene.requests_come_to(VERDICT, [("Hold",)])
    await scene.requests_come_to(VERDICT, [("Proceed",)])
    await eventually(
        lambda: refusal(robot.apply(request_, phase="InProgress", claim=robot.claim(request_))),
        lambda said: said == "",
        within=2,
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
        f"StormGate {scene.namespace}/freeze holds all requests of namespace {scene.namespace}: "
        "alice: maintenance"
    )
    await eventually(
        lambda: make(f"held-{time.monotonic_ns()}", **ours), lambda said: said == expected, within=2
    )
    assert await make("not-ours") == ""
    await scene.api.delete("StormGate", "freeze", scene.namespace)
    await eventually(lambda: make(f"free-{time.monotonic_ns()}", **ours), lambda said: said == "", within=2)
