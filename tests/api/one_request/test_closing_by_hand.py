"""The annotation `stormfold.dev/close: "true"` closes a request, whatever has become of its policy."""

from __future__ import annotations

from typing import Any

import pytest
from tests.api.conftest import NewOperator
from tests.harness.api import Api, Manifest
from tests.harness.eventually import eventually
from tests.harness.scene import WHERE_TO, Scene, at

HOW = f"{WHERE_TO} status.conditions.Closed.reason"
CLOSED = (1, "Closed", 2, "ClosedByAnnotation")


async def annotate(api: Api, request: Manifest, value: str) -> None:
    """What a person does by hand."""
    metadata = request["metadata"]
    await api.patch(
        "RemediationRequest",
        metadata["name"],
        metadata["namespace"],
        {"metadata": {"annotations": {"stormfold.dev/close": value}}},
    )


async def fate(scene: Scene, name: str) -> tuple[Any, Any]:
    """What becomes of a new Signal: phase and reason."""
    made = await scene.signal(name, f"pod-of-{name}")
    seen = await eventually(
        lambda: scene.api.get("Signal", made["metadata"]["name"], scene.namespace),
        lambda signal: at(signal, "status.phase"),
        within=30,
    )
    return at(seen, "status.phase"), at(seen, "status.reason")


async def test_annotation_closes_a_request_and_the_next_signal_opens_another(scene: Scene) -> None:
    await scene.policy(window={"idle": "5m"})
    await scene.pods("Trouble", 2)
    [request] = await scene.comes_to((1, "Open", 2))
    await scene.remediate(request, phase="InProgress")
    await annotate(scene.api, request, "true")
    [closed] = await scene.requests_come_to(HOW, [CLOSED])
    await scene.events_come_to(closed, [("Normal", "StormOpened"), ("Normal", "StormClosed")])
    await scene.pods("Trouble", 1)
    await scene.requests_come_to(HOW, [CLOSED, (2, "Open", 1, "NotClosed")])


@pytest.mark.parametrize("value", ["false", "True", ""])
async def test_other_values_leave_the_request_open(scene: Scene, value: str) -> None:
    await scene.policy()
    await scene.pods("Trouble", 2)
    [request] = await scene.comes_to((1, "Settled", 2))
    await annotate(scene.api, request, value)
    await scene.pods("Trouble", 1, first=2)
    await scene.requests_come_to(HOW, [(1, "Settled", 3, "NotClosed")])


async def test_annotation_closes_what_a_deleted_policy_left_and_the_next_signal_follows_no_policy(
    scene: Scene,
) -> None:
    terms = {"belowThreshold": "Discard", "threshold": {"signals": 2, "within": "3s"}}
    policy = await scene.policy(closeAfter="1h", **terms)
    await scene.pods("Trouble", 2)
    [request] = await scene.comes_to((1, "Settled", 2))
    await scene.api.delete("StormPolicy", policy["metadata"]["name"], scene.namespace)
    await eventually(
        lambda: fate(scene, "Probe"), lambda seen: seen == ("Rejected", "NoPolicyMatches"), within=30
    )
    await annotate(scene.api, request, "true")
    await scene.requests_come_to(HOW, [CLOSED])
    assert await fate(scene, "Trouble") == ("Rejected", "NoPolicyMatches")
    await scene.requests_come_to(HOW, [CLOSED])


async def test_annotation_closes_what_an_earlier_version_of_the_policy_opened(scene: Scene) -> None:
    policy = await scene.policy(closeAfter="1h")
    await scene.pods("Trouble", 2)
    [request] = await scene.comes_to((1, "Settled", 2))
    await scene.change_policy(policy, groupBy=["name", "severity"])
    await annotate(scene.api, request, "true")
    await scene.requests_come_to(HOW, [CLOSED])
    await scene.pods("Trouble", 1)
    await scene.requests_come_to(
        "group status.phase status.signals.total",
        [(("Trouble", scene.namespace), "Closed", 2), (("Trouble", "unknown"), "Settled", 1)],
    )


async def test_annotation_that_is_set_while_no_operator_runs_closes_the_request(
    api: Api, namespace: str, operator: NewOperator
) -> None:
    process = await operator()
    scene = Scene(api, namespace, process)
    await scene.policy(closeAfter="1h")
    await scene.pods("Trouble", 2)
    [request] = await scene.comes_to((1, "Settled", 2))
    assert await process.terminate() == 0
    await annotate(api, request, "true")
    await process.start()
    await scene.requests_come_to(HOW, [CLOSED])
