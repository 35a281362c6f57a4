"""Each setting of what the operator does: it acts otherwise than at the default."""

from __future__ import annotations

from datetime import datetime

from tests.harness.eventually import eventually
from tests.harness.scene import WHERE_TO, Scene, rows

ENVIRONMENT = {
    "STORMFOLD_MARKS_PER_SECOND": "1",
    "STORMFOLD_SIGNALS_PER_NAMESPACE": "4",
    "STORMFOLD_REQUESTS_PER_NAMESPACE": "2",
    "STORMFOLD_TERMINAL_PHASES": "Done",
    "STORMFOLD_LOG_LEVEL": "ERROR",
}


async def test_marks_are_written_at_the_pace_that_is_set(scene: Scene) -> None:
    await scene.policy()
    await scene.pods("Trouble", 4)
    marked = await scene.signals_come_to("status.phase", [("Folded",)] * 4)
    times = sorted(
        datetime.fromisoformat(entry["time"])
        for signal in marked
        for entry in signal["metadata"]["managedFields"]
        if entry.get("subresource") == "status"
    )
    assert (times[-1] - times[0]).total_seconds() >= 3


async def test_namespace_keeps_as_many_counted_signals_as_is_set(scene: Scene) -> None:
    other = await scene.another_namespace()
    await scene.policy()
    await scene.policy(namespace=other)
    await scene.pods("Trouble", 3, namespace=other)
    for number in range(10):
        await scene.pods("Trouble", 1, first=number)
    await scene.signals_come_to("spec.target.name", [(f"pod-{n:05}",) for n in range(6, 10)])
    await scene.comes_to((1, "Settled", 10))
    await scene.comes_to((1, "Settled", 3), namespace=other)
    assert len(await scene.api.list("Signal", other)) == 3


async def test_namespace_keeps_as_many_closed_requests_as_is_set_and_epochs_go_on(scene: Scene) -> None:
    other = await scene.another_namespace()
    await scene.policy(closeAfter="500ms")
    await scene.policy(namespace=other, closeAfter="500ms")
    for epoch in (1, 2, 3, 4):
        await scene.pods("Trouble", 1)
        await eventually(
            scene.requests,
            lambda seen, epoch=epoch: rows(seen, WHERE_TO)[-1:] == [(epoch, "Closed", 1)],
            within=20,
            what=f"request {epoch} is closed",
        )
    for name in ("One", "Two"):
        await scene.pods(name, 1, namespace=other)
    await scene.comes_to((3, "Closed", 1), (4, "Closed", 1))
    await scene.comes_to((1, "Closed", 1), (1, "Closed", 1), namespace=other)
    assert (await scene.operator.metrics()).total("stormfold_requests_deleted_total", reason="TooMany") == 2


async def test_request_whose_retention_is_over_is_deleted_and_its_epoch_is_not_used_again(
    scene: Scene,
) -> None:
    await scene.policy(closeAfter="500ms", requestRetention="1h")
    await scene.pods("Trouble", 1)
    [closed] = await scene.comes_to((1, "Closed", 1))
    await scene.make_old(closed)
    await scene.comes_to()
    await scene.pods("Trouble", 1, first=1)
    await scene.comes_to((2, "Closed", 1))


async def test_terminal_phases_are_those_that_are_set(scene: Scene) -> None:
    await scene.policy()
    await scene.pods("Trouble", 1)
    [request] = await scene.comes_to((1, "Settled", 1))
    await scene.remediate(request, phase="Succeeded")
    await scene.pods("Trouble", 1)
    [request] = await scene.comes_to((1, "Settled", 2))
    await scene.remediate(request, phase="Done")
    await scene.comes_to((1, "Closed", 2))


async def test_messages_below_the_log_level_are_not_logged(scene: Scene) -> None:
    await scene.policy()
    await scene.pods("Trouble", 1)
    await scene.comes_to((1, "Settled", 1))
    assert scene.operator.log_lines() == []
