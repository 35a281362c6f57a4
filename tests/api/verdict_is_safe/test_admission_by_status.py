"""What the API server refuses by what the statuses of gates and requests say, with no operator."""

from __future__ import annotations

from tests.harness.admission import WAIT, named, refusal, robots
from tests.harness.api import Manifest
from tests.harness.eventually import eventually
from tests.harness.scene import Scene

ENFORCED = True
"""See conftest.py."""


def ref(request: Manifest) -> Manifest:
    """How a gate names it."""
    return {key: request["metadata"][key] for key in ("uid", "namespace", "name")}


def labelled_config(scene: Scene, name: str, request: Manifest) -> tuple[str, Manifest]:
    """What a consumer makes for a request, and where."""
    labels = {"stormfold.dev/request": request["metadata"]["name"]}
    metadata = {"name": name, "namespace": scene.namespace, "labels": labels}
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
    return f"/api/v1/namespaces/{scene.namespace}/configmaps", config


async def test_breaker_and_budget_count_at_once_whatever_the_request_says_and_with_no_operator(
    scene: Scene, request_: Manifest
) -> None:
    robot, _ = robots(scene)
    place = {**ref(request_), "since": "2026-01-01T00:00:00Z", "canary": False}
    other = place | {"uid": "another", "name": "another"}
    name, gate = f"RemediationRequest {named(request_)}", f"StormGate {scene.namespace}/registry"
    spent = f"{gate} has no place for {name}. {WAIT}"
    trips = {"breaker": {"openRequests": 3}}
    labelled = "Wait for the condition Proceed of the request"
    everything = f"all requests of namespace {scene.namespace}"
    scene.operator.pause()
    try:
        for number, (spec, said, refused, made) in enumerate(
            (
                ({"budget": {"concurrent": 1}}, {}, spent, ""),
                ({"budget": {"concurrent": 1}}, {"places": [other]}, spent, ""),
                ({"budget": {"concurrent": 1}}, {"places": [place]}, "", ""),
                ({"budget": {"perHour": 1}}, {}, spent, ""),
                ({"budget": {"perHour": 0}}, {}, "", ""),
                (trips, {"state": "Passing"}, "", ""),
                (
                    trips,
                    {"state": "Tripped", "message": "4 requests"},
                    f"{gate} is Tripped and holds {name}: 4 requests. {WAIT}",
                    f"{gate} is Tripped and holds {everything}: 4 requests. {labelled}",
                ),
                (
                    trips,
                    {"state": "Probing", "message": "one tries", "places": [other | {"canary": True}]},
                    f"{gate} is Probing and holds {name}: one tries. {WAIT}",
                    f"{gate} is Probing and holds {everything}: one tries. {labelled}",
                ),
                (trips, {"state": "Probing", "places": [place | {"canary": True}]}, "", ""),
                # Without its breaker, what the status says of one is old.
                ({}, {"state": "Tripped"}, "", ""),
            )
        ):
            await scene.gate("registry", **spec)
            await scene.api.patch(
                "StormGate", "registry", scene.namespace, {"status": said}, subresource="status"
            )

            async def begin() -> str:
                claim = robot.claim(request_)
                return await refusal(robot.apply(request_, phase="InProgress", claim=claim))

            await eventually(begin, lambda got, it=refused: got == it, within=20, what=f"{number}: {refused}")
            await robot.apply(request_)  # lets go
            config = labelled_config(scene, f"plan-{number}", request_)
            await eventually(
                lambda config=config: refusal(scene.api.request("POST", *config)),
                lambda got, it=made: got == it,
                within=20,
                what=f"{number}: {made}",
            )
            await scene.api.delete("StormGate", "registry", scene.namespace)
    finally:
        scene.operator.resume()


async def test_request_that_says_nothing_yet_is_not_begun(scene: Scene, request_: Manifest) -> None:
    spec = request_["spec"] | {"epoch": 2}
    metadata = {"name": f"storm-{spec['groupHash']}-2", "namespace": scene.namespace}
    robot, _ = robots(scene)
    scene.operator.pause()
    try:
        made = await scene.api.create(
            {
                "apiVersion": request_["apiVersion"],
                "kind": request_["kind"],
                "metadata": metadata,
                "spec": spec,
            }
        )
        assert await refusal(robot.apply(made, phase="InProgress")) == (
            f"RemediationRequest {named(made)} says nothing yet, which reads as Hold. {WAIT}"
        )
        assert await refusal(robot.apply(made, phase="Skipped")) == ""
        await scene.api.delete("RemediationRequest", metadata["name"], scene.namespace)
    finally:
        scene.operator.resume()
