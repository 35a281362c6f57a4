"""What the API server refuses of one request or gate for good is told once a minute, not with each try."""

from __future__ import annotations

import pytest
from tests.harness.eventually import eventually
from tests.harness.stage import Stage

TRIES = 8
TOO_LARGE = {"message": "etcdserver: request is too large"}


@pytest.mark.started(closeAfter="1h")
async def test_decision_that_is_refused_for_good_is_told_once_a_minute(stage: Stage) -> None:
    team = stage.team
    await team.report("large", 2)
    await team.counted("large")
    [request] = await team.requests_of("large")
    path = f"/{request['metadata']['name']}/status"
    refused = stage.api_proxy.respond("PATCH", path, 500, TOO_LARGE, times=None)
    await team.gate("freeze", by="alice")
    await eventually(lambda: refused.hits, lambda hits: hits >= TRIES, within=60, what="it is tried again")
    lines = [line for line in stage.operator.log.read_text().splitlines() if '"WARNING"' in line]
    assert len([line for line in lines if "decision" in line]) <= 2, lines


@pytest.mark.started(closeAfter="1h")
async def test_status_of_a_gate_that_is_refused_for_good_is_told_once_a_minute(stage: Stage) -> None:
    team = stage.team
    refused = stage.api_proxy.respond("PATCH", "/stormgates/broken/status", 500, TOO_LARGE, times=None)
    await team.gate("broken", by="alice")
    await eventually(lambda: refused.hits, lambda hits: hits >= TRIES, within=60, what="it is tried again")
    lines = [line for line in stage.operator.log.read_text().splitlines() if '"WARNING"' in line]
    assert len([line for line in lines if "gate" in line]) <= 2, lines
