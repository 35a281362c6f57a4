"""Events that are met late, by a whole operator: they count, and the request says that they are of long
ago."""

from __future__ import annotations

from datetime import datetime, timedelta

from tests.api.conftest import NewOperator
from tests.harness.api import Api
from tests.harness.eventually import eventually
from tests.harness.operator import OperatorProcess
from tests.harness.scene import Scene, at, rows

SAID = (
    "spec.epoch status.phase status.signals.total status.severity status.ratePerMinute status.revision "
    "status.conditions.StormDetected.status"
)
AHEAD = 720
"""Seconds by which the operator's clock is ahead: to it the Events are 12 minutes old."""
CLOSE_AFTER = timedelta(minutes=12, seconds=20)


def phases_logged(operator: OperatorProcess) -> list[str]:
    return [line["phase"] for line in operator.log_lines() if line["message"] == "storm changed"]


async def test_events_from_before_the_start_are_a_settled_storm_that_closes_by_their_time(
    *, api: Api, namespace: str, operator: NewOperator
) -> None:
    created = []
    for number, kind in enumerate(["Warning", "warning", "Error", "Error", "Fatal", "Critical"]):
        pod = {"apiVersion": "v1", "kind": "Pod", "namespace": namespace, "name": f"web-{number}"}
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"web-{number}", "namespace": namespace},
            "type": kind,
            "reason": "Logging",
            "count": 1,
            "involvedObject": pod,
        }
        answer = await api.create(event)
        created.append(datetime.fromisoformat(answer["metadata"]["creationTimestamp"]))
    scene = Scene(api, namespace, await operator(clock_offset=AHEAD))
    try:
        await scene.policy(
            match={"sources": ["event"]},
            groupBy=["name"],
            groupWait="100ms",
            window={"idle": "4s"},
            closeAfter="12m20s",
        )
        (request,) = await eventually(
            lambda: api.list("RemediationRequest", namespace),
            lambda seen: rows(seen, "status.signals.total") == [(6,)],
            within=30,
            what="one request of all",
        )
        assert rows([request], SAID) == [(1, "Settled", 6, "critical", 0, 1, "True")]
        seen = [at(request, f"status.{field}") for field in ("firstSeen", "lastSeen")]
        assert [datetime.fromisoformat(text) for text in seen] == [created[0], created[-1]]
        close = datetime.fromisoformat(at(request, "status.deadlines.close"))
        assert close == created[-1] + CLOSE_AFTER
        (request,) = await eventually(
            lambda: api.list("RemediationRequest", namespace),
            lambda found: rows(found, "status.phase") == [("Closed",)],
            within=30,
            what="it is closed",
        )
        assert at(request, "status.conditions.Closed.reason") == "QuietForCloseAfter"
        # The log line follows the write, which the API server shows first.
        phases = await eventually(
            lambda: phases_logged(scene.operator),
            lambda seen: seen[-1:] == ["Closed"],
            within=10,
            what="it is logged that it closed",
        )
        assert phases == ["Settled", "Closed"], "it was never open"
    finally:
        await scene.close()
