"""Places in a gate on a real API server: a request that nobody claims loses its own, and a SIGKILL between
any two writes neither doubles nor loses one."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from tests.api.conftest import NewOperator
from tests.harness.api import Api, Manifest
from tests.harness.api_proxy import ApiProxy, When
from tests.harness.consumer import Consumer
from tests.harness.eventually import eventually
from tests.harness.observing import observing
from tests.harness.operator import OperatorProcess
from tests.harness.scene import Scene, at, rows
from tests.harness.verdicts import Judgement, Observer

UNCLAIMED_MS = 3_000
SOON = {"stormfold.gate.passing.UNCLAIMED_MS": UNCLAIMED_MS}
"""For the operator: a place is kept for 3 s without a claim, and not for 5 minutes."""
GATE, REQUEST = r"/stormgates/registry/status$", r"/remediationrequests/[^/]+/status$"


async def scene_of(api: Api, namespace: str, operator: OperatorProcess, requests: int, **gate: Any) -> Scene:
    """A gate, and so many requests that are settled."""
    scene = Scene(api, namespace, operator)
    await scene.policy(closeAfter="1h")
    await scene.gate("registry", **gate)
    await eventually(lambda: read_gate(scene), lambda seen: at(seen, "status.verdict"), what="it is judged")
    await api.create_all([scene.manifest(f"Pull-{number:02}", "pod") for number in range(requests)])
    await scene.requests_come_to("status.phase", [("Settled",)] * requests)
    return scene


async def read_gate(scene: Scene) -> Manifest:
    found = await scene.api.get("StormGate", "registry", scene.namespace)
    assert found
    return found


async def proceeding(scene: Scene) -> list[Manifest]:
    """Open requests that say Proceed."""
    return [
        request
        for request in await scene.requests()
        if at(request, "status.decision.verdict") == "Proceed" and at(request, "status.phase") != "Closed"
    ]


async def next_one(scene: Scene, *but: str) -> Manifest:
    """The one request that says Proceed, once it is none of these and has its place in the gate."""

    async def read() -> tuple[list[str], list[str]]:
        places = at(await read_gate(scene), "status.places") or []
        return [one["name"] for one in places], [one["metadata"]["name"] for one in await proceeding(scene)]

    places, _ = await eventually(
        read,
        lambda seen: len(seen[1]) == 1 and seen[0] == seen[1] and seen[1][0] not in but,
        within=30,
        what=f"one request beside {but} proceeds, and has the place",
    )
    found = await scene.api.get("RemediationRequest", places[0], scene.namespace)
    assert found
    return found


# --- who does not claim


async def test_place_that_nobody_claims_is_freed_and_the_next_request_gets_it(
    api: Api, namespace: str, operator: NewOperator
) -> None:
    async with observing(api) as observer:
        scene = await scene_of(api, namespace, await operator(constants=SOON), 3, budget={"concurrent": 1})
        first = await next_one(scene)
        second = await next_one(scene, first["metadata"]["name"])
        gate = await read_gate(scene)
        assert gate["status"]["unclaimed"] == [first["metadata"]["uid"]]
        (lost,) = (
            one for one in await scene.requests() if one["metadata"]["uid"] == first["metadata"]["uid"]
        )
        assert rows([lost], "status.decision.verdict status.decision.reason") == [("Hold", "BudgetSpent")]
        # A claim keeps the place, and so do 3 s after its end.
        robot = Consumer(api, "robot")
        assert await robot.take(second, 3, phase="InProgress")
        claim = (await read_request(scene, second))["status"]["remediation"]["claim"]
        third = await next_one(scene, first["metadata"]["name"], second["metadata"]["name"])
        assert seconds(at(await read_gate(scene), "status.places")[0]["since"]) >= int(
            seconds(claim["expirationTime"]) + UNCLAIMED_MS / 1000
        )
        # One that is released keeps it for 3 s, too; its request goes last from then on.
        assert await robot.take(third, phase="InProgress")
        await eventually(
            lambda: read_request(scene, third),
            lambda seen: at(seen, "status.remediation.claim"),
            what="claim",
        )
        await robot.release(third, phase="InProgress")
        await next_one(scene, second["metadata"]["name"], third["metadata"]["name"])
    assert judged(observer).most[namespace] == 1


async def test_canary_that_nobody_claims_trips_the_gate_again_and_another_one_is_next(
    api: Api, namespace: str, operator: NewOperator
) -> None:
    soon, late = ({"openRequests": 1, "cooldown": cooldown} for cooldown in ("1s", "1h"))
    async with observing(api) as observer:
        scene = await scene_of(api, namespace, await operator(constants=SOON), 3, breaker=soon)
        canary = await next_one(scene)
        await scene.gate("registry", breaker=late)  # so that it stays tripped until that was seen
        name = canary["metadata"]["name"]
        assert at(canary, "status.decision.reason") == "Canary"
        tripped = await eventually(
            lambda: read_gate(scene),
            lambda seen: "nobody has claimed" in str(at(seen, "status.message")),
            within=20,
            what="the canary has timed out",
        )
        assert rows([tripped], "status.state status.message status.places") == [
            ("Tripped", f"nobody has claimed the canary {namespace}/{name} for 3s", [])
        ]
        await scene.gate("registry", breaker=soon)
        await next_one(scene, name)
    assert judged(observer).canaries[namespace] == 1


async def read_request(scene: Scene, request: Manifest) -> Manifest:
    found = await scene.api.get("RemediationRequest", request["metadata"]["name"], scene.namespace)
    assert found
    return found


def seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


# --- two replicas


async def test_of_two_replicas_whose_clocks_differ_neither_lets_a_second_request_proceed(
    api: Api, namespace: str, operator: NewOperator
) -> None:
    """Each is minutes off, and each time a consumer ends its work the one that leads is killed."""
    async with observing(api) as observer:
        replicas = [
            await operator(identity=f"replica-{number}", clock_offset=offset)
            for number, offset in enumerate((120.0, -120.0))
        ]
        scene = await scene_of(api, namespace, replicas[0], 4, budget={"concurrent": 1})
        robot, worked = Consumer(api, "robot"), set()
        for number in range(3):
            request = await next_one(scene, *worked)
            worked.add(request["metadata"]["name"])
            assert await robot.take(request, phase="InProgress")
            replicas[number % 2].kill()
            await robot.apply(request, phase="Succeeded")
            scene.operator = replicas[(number + 1) % 2]
            await next_one(scene, *worked)
            await replicas[number % 2].start(ready=False)
    assert judged(observer).most[namespace] == 1


# --- SIGKILL

Says = Callable[[dict[str, Any], str], bool]
"""Whether a status says it, of another request than the named one."""


def gate_says(**expected: Any) -> tuple[str, Says]:
    """A write of the gate by which its status says this, and no more that the named one has a place."""

    def says(status: dict[str, Any], name: str) -> bool:
        if name in {place["name"] for place in status["places"]}:
            return False
        kinds = ["canary" if place["canary"] else "place" for place in status["places"]]
        return all((status | {"places": kinds})[key] == value for key, value in expected.items())

    return GATE, says


def request_says(reason: str) -> tuple[str, Says]:
    """A write of a request by which its decision has this reason."""
    return REQUEST, lambda status, _: (status.get("decision") or {}).get("reason") == reason


async def finish(scene: Scene, request: Manifest, phase: str) -> None:
    await Consumer(scene.api, "robot").apply(request, phase=phase)


async def nothing(scene: Scene, request: Manifest, phase: str) -> None:
    """Time goes on: nobody claims it."""


BUDGET = {"budget": {"concurrent": 1}}
BREAKER = {"breaker": {"openRequests": 1, "cooldown": "1s"}}
CLOSED = (REQUEST, lambda status, _: status.get("phase") == "Closed")
LOSES = (request_says("PlaceLost"), gate_says(places=[]))
TAKES = gate_says(places=["place"]), request_says("GatesPass")
PROBES = (
    *(gate_says(state="Probing", places=[]), request_says("AwaitingCanary")),
    *(gate_says(state="Probing", places=["canary"]), request_says("Canary")),
)
SCENARIOS = [
    pytest.param(
        BUDGET, finish, "Succeeded", (CLOSED, gate_says(places=[]), *TAKES), id="a place is freed and taken"
    ),
    pytest.param(BUDGET, nothing, "", (*LOSES, *TAKES), id="a place that nobody claims is freed and taken"),
    pytest.param(
        BREAKER,
        finish,
        "Failed",
        (CLOSED, gate_says(state="Tripped"), request_says("BreakerTripped"), *PROBES),
        id="a canary fails, and the next one tries",
    ),
    pytest.param(
        BREAKER,
        nothing,
        "",
        (request_says("PlaceLost"), gate_says(state="Tripped", places=[]), *PROBES),
        id="a canary that nobody claims is followed by the next one",
    ),
]


@pytest.mark.parametrize(("gate", "go_on", "phase", "steps"), SCENARIOS)
async def test_operator_killed_between_any_two_writes_of_a_place_neither_doubles_nor_loses_it(
    gate: dict[str, Any],
    go_on: Callable[[Scene, Manifest, str], Awaitable[None]],
    phase: str,
    steps: tuple[tuple[str, Says], ...],
    *,
    api: Api,
    namespace: str,
    operator: NewOperator,
    api_proxy: ApiProxy,
    tmp_path: Path,
) -> None:
    """After each write of the API server, and before the first, the operator is dead."""
    process = await operator(
        kubeconfig=api_proxy.kubeconfig(tmp_path / "proxied"), constants=SOON if go_on is nothing else {}
    )
    moments: list[tuple[tuple[str, Says], When]] = [
        (steps[0], "before"),
        *((step, "after") for step in steps),
    ]
    requests = len(moments) + 2 if go_on is finish else 3
    async with observing(api) as observer:
        scene = await scene_of(api, namespace, process, requests, **gate)
        for (path, says), when in moments:
            now = await next_one(scene)
            name = now["metadata"]["name"]
            rule = api_proxy.hold(
                "PATCH",
                f"/namespaces/{namespace}{path}",
                body=lambda body, says=says, name=name: says(json.loads(body)["status"], name),
                when=when,
                times=None,
            )
            await go_on(scene, now, phase)
            await eventually(rule.arrived.is_set, within=30, what=f"{path} is written")
            process.kill()
            api_proxy.remove(rule)
            assert len(await proceeding(scene)) <= 1
            await process.start(ready=False)
            await next_one(scene, name)
    found = judged(observer)
    # Before the breaker trips, more may proceed.
    assert (found.most if gate is BUDGET else found.canaries)[namespace] == 1


def judged(observer: Observer) -> Judgement:
    """What was seen. Nothing was wrong but that a dead operator told nobody of a tripped breaker."""
    found = observer.judged(time.time())
    assert [what for what in found.wrong if "said Proceed for" not in what] == []
    return found
