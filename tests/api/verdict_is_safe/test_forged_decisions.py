"""What somebody else writes where stormfold says its decision is written over."""

from __future__ import annotations

from tests.harness.scene import Scene
from tests.harness.verdict_times import SAID, VERDICT, storms


async def test_forged_decision_is_written_over(scene: Scene) -> None:
    await scene.policy(closeAfter="1h")
    await scene.gate("freeze", by="alice")
    (request,) = await storms(scene, "Trouble")
    await scene.requests_come_to(VERDICT, [("Hold",)])
    metadata = request["metadata"]
    for forged in (
        {"verdict": "Proceed", "reason": "Please", "since": "2026-01-01T00:00:00Z"},
        {"verdict": "Proceed", "reason": "Please", "since": "0000-01-01T00:00:00Z"},
        None,
    ):
        await scene.api.patch(
            "RemediationRequest", metadata["name"], metadata["namespace"],
            {"status": {"decision": forged}}, subresource="status",
        )  # fmt: skip
        await scene.requests_come_to(SAID, [("Hold", "HeldByGate", "False", "HeldByGate")])


async def test_forged_condition_is_written_over(scene: Scene) -> None:
    """Consumers wait for it."""
    await scene.policy(closeAfter="1h")
    await scene.gate("freeze", by="alice")
    await storms(scene, "Trouble")
    (held,) = await scene.requests_come_to(SAID, [("Hold", "HeldByGate", "False", "HeldByGate")])
    forged = [
        one | ({"status": "True"} if one["type"] == "Proceed" else {}) for one in held["status"]["conditions"]
    ]
    without = [one for one in forged if one["type"] != "Proceed"]
    for conditions in (forged, without):
        await scene.api.patch(
            "RemediationRequest", held["metadata"]["name"], scene.namespace,
            {"status": {"conditions": conditions}}, subresource="status",
        )  # fmt: skip
        await scene.requests_come_to(SAID, [("Hold", "HeldByGate", "False", "HeldByGate")])
