"""What waits for a request at limits.openStorms: it counts once a place is free, whatever breaks meanwhile,
or is told why not."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.api.conftest import NewOperator
from tests.harness.api import Api
from tests.harness.eventually import eventually
from tests.harness.operator import OperatorProcess
from tests.harness.scene import Scene, rows
from tests.harness.stage import Stage
from tests.harness.team import Team

BEGAN = datetime.now(UTC).isoformat()
WAITING = "stormfold.request.places.WAITING_MS"
TOKEN = "0123456789abcdef"
one_open = pytest.mark.started(
    threshold={"signals": 1, "within": "10s"}, closeAfter="1h", limits={"openStorms": 1}
)


async def groups_waiting(operator: OperatorProcess) -> float:
    """How many groups wait for a request."""
    return (await operator.metrics()).total("stormfold_waiting_groups")


async def wait(operator: OperatorProcess, groups: int) -> None:
    """Wait until so many do."""
    await eventually(
        lambda: groups_waiting(operator), lambda seen: seen == groups, within=30, what=f"{groups} groups wait"
    )


async def finish(api: Api, team: Team, name: str) -> None:
    """Say that the storm of a name is over."""
    (request,) = await team.requests_of(name)
    done = {"status": {"remediation": {"phase": "Succeeded"}}}
    metadata = request["metadata"]
    await api.patch("RemediationRequest", metadata["name"], team.namespace, done, subresource="status")


@one_open
@pytest.mark.parametrize("redis", ["kept", "emptied"])
async def test_signals_that_wait_are_counted_in_order_though_leader_and_redis_are_lost(
    stage: Stage, redis: str
) -> None:
    """The later Signal of a group must not hide the one that has waited: that would be below what the request
    says it has counted."""
    team, operator = stage.team, stage.operator
    await team.report("chronic", 1)
    await team.counted("chronic")
    await team.report("waits", 1)
    await wait(operator, 1)
    stage.kill()
    stage.lose(redis)
    await team.report("waits", 1)
    await operator.start()
    await wait(operator, 1)
    await team.report("chronic", 2)
    await team.counted("chronic")
    assert await team.totals("waits") == []
    await finish(stage.api, team, "chronic")
    await team.counted("waits")
    await team.report("waits", 1)
    await team.counted("waits")
    stage.lose("emptied")
    await team.report("waits", 1)
    await team.counted("waits")


@one_open
async def test_place_that_is_freed_while_nobody_runs_is_taken_after_the_start(stage: Stage) -> None:
    await stage.team.report("chronic", 1)
    await stage.team.counted("chronic")
    await stage.team.report("waits", 2)
    await wait(stage.operator, 1)
    assert await stage.operator.terminate(within=10) == 0, "what waits holds nobody up"
    await finish(stage.api, stage.team, "chronic")
    await stage.operator.start()
    await stage.team.counted("waits")


async def test_signal_that_has_waited_for_too_long_is_discarded_and_says_so(
    operator: NewOperator, api: Api, namespace: str
) -> None:
    process = await operator(constants={WAITING: 3000})
    scene = Scene(api, namespace, process)
    await scene.policy(threshold={"within": "3s"}, limits={"openStorms": 1})
    await scene.signal("Chronic", "pod-0")
    await scene.requests_come_to("spec.name", [("Chronic",)])
    await scene.signal("Waits", "pod-0")
    await scene.signals_come_to(
        "spec.name status.phase status.reason",
        [("Chronic", "Folded", "Counted"), ("Waits", "Discarded", "OpenStormsReached")],
    )
    await wait(process, 0)
    assert rows(await scene.requests(), "spec.name") == [("Chronic",)]


async def post(
    operator: OperatorProcess, namespace: str, name: str, *pods: str, severity: str = "high"
) -> tuple[int, Any, Any]:
    """Code, reason and Retry-After of the answer to firing alerts about these pods."""
    alerts = [
        {
            "status": "firing",
            "labels": {"alertname": name, "namespace": namespace, "pod": pod, "severity": severity},
            "startsAt": BEGAN,
        }
        for pod in pods
    ]
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            operator.webhook_url,
            json={"version": "4", "alerts": alerts},
            headers={"Authorization": f"Bearer {TOKEN}"},
        ) as answer,
    ):
        return answer.status, (await answer.json()).get("reason"), answer.headers.get("Retry-After")


async def test_alerts_of_a_group_that_waits_are_answered_503_and_count_once_when_a_place_is_free(
    operator: NewOperator, api: Api, namespace: str, tmp_path: Path
) -> None:
    token_file = tmp_path / "token"
    token_file.write_text(TOKEN)
    process = await operator(
        webhook_token_file=token_file,
        constants={WAITING: 8000},
        environment={"STORMFOLD_WEBHOOK_WAIT_SECONDS": "90"},
    )
    scene = Scene(api, namespace, process)
    await scene.policy(threshold={"within": "3s"}, closeAfter="1h", limits={"openStorms": 1})
    taken, refused = (200, None, None), (503, "OpenStormsReached", "2")
    assert await post(process, namespace, "Chronic", "pod-0") == taken
    assert await post(process, namespace, "Critical", "pod-0", "pod-1") == refused
    await wait(process, 1)
    assert await post(process, namespace, "Critical", "pod-1", "pod-2") == refused
    assert await post(process, namespace, "Chronic", "pod-1") == taken
    assert (await process.metrics()).total("stormfold_signals_in_flight") == 0
    await wait(process, 0)  # the group was discarded, and what is posted again counts
    assert await post(process, namespace, "Critical", "pod-0", "pod-1") == refused
    await wait(process, 1)
    (chronic,) = await scene.requests_come_to("spec.name status.signals.total", [("Chronic", 2)])
    await scene.remediate(chronic, phase="Succeeded")
    await scene.requests_come_to("spec.name status.signals.total", [("Chronic", 2), ("Critical", 2)])
    assert await post(process, namespace, "Critical", "pod-0", "pod-1", "pod-2") == taken
    await scene.requests_come_to("spec.name status.signals.total", [("Chronic", 2), ("Critical", 3)])


async def test_500_chronic_alerts_hold_all_places_and_a_critical_one_gets_the_first_that_is_free(
    operator: NewOperator, api: Api, namespace: str, tmp_path: Path
) -> None:
    token_file = tmp_path / "token"
    token_file.write_text(TOKEN)
    process = await operator(
        webhook_token_file=token_file, environment={"STORMFOLD_WEBHOOK_WAIT_SECONDS": "200"}
    )
    scene = Scene(api, namespace, process)
    await scene.policy(groupBy=["labels.pod", "namespace"], closeAfter="1h")
    chronic = [f"chronic-{number:03}" for number in range(500)]
    taken, refused = (200, None, None), (503, "OpenStormsReached", "2")
    assert await post(process, namespace, "Chronic", *chronic) == taken
    assert await post(process, namespace, "Warning", "pod-0", severity="warning") == refused
    assert await post(process, namespace, "Critical", "pod-1", severity="critical") == refused
    await wait(process, 2)
    assert await post(process, namespace, "Chronic", *chronic) == taken
    requests = await scene.requests()
    assert rows(requests, "status.signals.total") == [(1,)] * 500
    await scene.remediate(requests[7], phase="Succeeded")
    await wait(process, 1)
    assert await post(process, namespace, "Critical", "pod-1", severity="critical") == taken
    assert await post(process, namespace, "Warning", "pod-0", severity="warning") == refused
    assert len(await scene.requests()) == 501
