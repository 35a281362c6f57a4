"""Whoever works on a request: what it reports closes the storm or not, and what it wrote stays."""

from __future__ import annotations

from typing import Any

import pytest
from tests.harness.api import ApiError
from tests.harness.eventually import eventually
from tests.harness.scene import WHERE_TO, Scene, at, rows

from stormfold.settings import Settings

TERMINAL = sorted(Settings.model_fields["terminal_phases"].default)
FOREIGN = {
    "type": "Triaged",
    "status": "True",
    "reason": "SeenByAPerson",
    "message": "anna looks at it",
    "observedGeneration": 1,
    "lastTransitionTime": "2026-01-02T03:04:05Z",
}


async def test_terminal_phases_close_the_storm_and_the_next_signal_opens_the_next_epoch(scene: Scene) -> None:
    await scene.policy()
    for phase in TERMINAL:
        await scene.pods(phase, 2)
    found = await scene.requests_come_to(
        f"spec.name {WHERE_TO}", [(phase, 1, "Settled", 2) for phase in TERMINAL]
    )
    for request in found:
        await scene.remediate(request, phase=request["spec"]["name"])
    closed = await scene.requests_come_to(
        f"spec.name {WHERE_TO} status.remediation.phase status.conditions.Closed.reason",
        [(phase, 1, "Closed", 2, phase, "RemediationFinished") for phase in TERMINAL],
    )
    for phase in TERMINAL:
        await scene.pods(phase, 1)
    both = await scene.requests_come_to(
        f"spec.name {WHERE_TO} status.remediation.phase",
        [
            row
            for phase in TERMINAL
            for row in ((phase, 1, "Closed", 2, phase), (phase, 2, "Settled", 1, None))
        ],
    )
    assert both[::2] == closed


@pytest.mark.parametrize("phase", ["InProgress", "Blocked", "SomethingNew", ""])
async def test_other_phases_leave_the_storm_open(scene: Scene, phase: str) -> None:
    await scene.policy()
    await scene.pods("Trouble", 2)
    [request] = await scene.comes_to((1, "Settled", 2))
    await scene.remediate(request, phase=phase, message="busy")
    await scene.pods("Trouble", 1, first=2)
    [request] = await scene.comes_to((1, "Settled", 3))
    assert request["status"]["remediation"] == {"phase": phase, "message": "busy"}


async def test_terminal_phase_of_a_storm_in_full_flow_loses_no_signal(scene: Scene) -> None:
    await scene.policy()
    await scene.pods("Trouble", 30)
    [request] = await scene.requests_come_to("status.signals.total", [(30,)])
    await scene.remediate(request, phase="Failed", message="cordon refused")
    await scene.pods("Trouble", 60, first=30)

    async def totals() -> tuple[list[Any], int]:
        found = await scene.requests()
        return [at(r, "status.phase") for r in found], sum(at(r, "status.signals.total") or 0 for r in found)

    await eventually(totals, lambda seen: seen == (["Closed", "Settled"], 90), within=30)
    first, _ = await scene.requests()
    assert first["status"]["remediation"] == {"phase": "Failed", "message": "cordon refused"}


async def test_what_others_write_into_the_request_stays(scene: Scene) -> None:
    await scene.policy(closeAfter="4s")
    await scene.pods("Trouble", 2)
    [request] = await scene.comes_to((1, "Settled", 2))
    metadata = request["metadata"]
    where = ("RemediationRequest", metadata["name"], metadata["namespace"])
    remediation = {"phase": "Executing", "plan": {"steps": ["drain", "reboot"]}}
    await scene.api.patch(
        *where,
        {"status": {"conditions": [*request["status"]["conditions"], FOREIGN], "remediation": remediation}},
        subresource="status",
    )
    await scene.api.patch(*where, {"metadata": {"labels": {"team": "shop"}, "annotations": {"ticket": "7"}}})
    await scene.pods("Trouble", 1, first=2)
    [settled] = await scene.comes_to((1, "Settled", 3))
    [closed] = await scene.comes_to((1, "Closed", 3))
    for seen in (settled, closed):
        assert at(seen, "status.conditions.Triaged") == FOREIGN
        assert seen["status"]["remediation"] == remediation
        assert at(seen, "metadata.labels.team") == "shop"
        assert seen["metadata"]["annotations"] == {"ticket": "7"}
        assert seen["spec"] == request["spec"]
    assert at(closed, "status.conditions.Closed.reason") == "QuietForCloseAfter"


async def test_consumer_that_writes_all_the_time_and_the_operator_lose_nothing_of_each_other(
    scene: Scene,
) -> None:
    await scene.policy()
    await scene.pods("Trouble", 1)
    [request] = await scene.requests_come_to("status.signals.total", [(1,)])
    for number in range(1, 60):
        await scene.pods("Trouble", 1, first=number)
        await scene.remediate(request, phase="Executing", message=f"step {number}")
    [request] = await scene.comes_to((1, "Settled", 60))
    assert request["status"]["remediation"] == {"phase": "Executing", "message": "step 59"}


async def test_request_deleted_in_mid_storm_is_made_again_once_with_right_counts(scene: Scene) -> None:
    await scene.policy()
    await scene.pods("Trouble", 7)
    [first] = await scene.comes_to((1, "Settled", 7))
    await scene.api.delete("RemediationRequest", first["metadata"]["name"], scene.namespace)
    [second] = await scene.comes_to((1, "Settled", 7))
    assert second["metadata"]["uid"] != first["metadata"]["uid"]
    assert rows([second], "metadata.name spec") == rows([first], "metadata.name spec")
    await scene.pods("Trouble", 3, first=7)
    [third] = await scene.comes_to((1, "Settled", 10))
    assert third["metadata"]["uid"] == second["metadata"]["uid"]
    assert third["status"]["affectedResourceCount"] == 10


async def test_request_deleted_while_signals_arrive_counts_all_of_them(scene: Scene) -> None:
    await scene.policy()
    await scene.pods("Trouble", 20)
    [first] = await scene.requests_come_to("status.signals.total", [(20,)])
    await scene.api.delete("RemediationRequest", first["metadata"]["name"], scene.namespace)
    await scene.pods("Trouble", 40, first=20)
    [second] = await scene.comes_to((1, "Settled", 60))
    assert second["metadata"]["name"] == first["metadata"]["name"]


async def test_closed_request_that_is_deleted_stays_deleted_and_its_epoch_is_not_used_again(
    scene: Scene,
) -> None:
    await scene.policy(closeAfter="1s")
    await scene.pods("Trouble", 2)
    [first] = await scene.comes_to((1, "Closed", 2))
    await scene.api.delete("RemediationRequest", first["metadata"]["name"], scene.namespace)
    await scene.pods("Trouble", 1)
    await scene.comes_to((2, "Closed", 1))


async def test_spec_of_a_request_cannot_be_changed_by_anybody(scene: Scene) -> None:
    await scene.policy()
    await scene.pods("Trouble", 1)
    [request] = await scene.comes_to((1, "Settled", 1))
    with pytest.raises(ApiError, match="spec is immutable"):
        await scene.api.patch(
            "RemediationRequest", request["metadata"]["name"], scene.namespace, {"spec": {"severity": "high"}}
        )


async def test_events_tell_the_life_of_a_storm_that_its_consumer_finished(scene: Scene) -> None:
    await scene.policy()
    await scene.pods("Trouble", 2)
    [request] = await scene.comes_to((1, "Settled", 2))
    await scene.remediate(request, phase="Succeeded")
    await scene.comes_to((1, "Closed", 2))
    await scene.events_come_to(
        request, [("Normal", "StormOpened"), ("Normal", "StormSettled"), ("Normal", "StormClosed")]
    )
    events = await scene.api.list("Event", scene.namespace)
    messages = {event["reason"]: event["message"] for event in events}
    lines = [line for line in scene.operator.log_lines() if line.get("namespace") == scene.namespace]
    changed = [line for line in lines if line["message"] == "storm changed"]
    named = {(line["namespace"], line["request"], line["policy"], line["what"]) for line in changed}
    assert named == {
        (scene.namespace, request["metadata"]["name"], request["spec"]["policyRef"]["name"], "Trouble")
    }
    policy = f"(policy {request['spec']['policyRef']['name']})"
    # The second one may come just after the first write.
    opened = messages.pop("StormOpened")
    assert opened in {
        f"{all_} {policy}" for all_ in ("1 signal on 1 pod: Trouble", "2 signals on 2 pods: Trouble")
    }
    assert messages == {
        "StormSettled": f"2 signals on 2 pods: Trouble {policy}",
        "StormClosed": "2 signals on 2 pods: Trouble; the consumer reported a terminal phase in "
        f"status.remediation {policy}",
    }
