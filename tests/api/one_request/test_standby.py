"""A second process: it waits for the Lease, ready to lead, and goes on where the first one ended."""

from __future__ import annotations

import json

import pytest
from tests.api.conftest import OPERATOR_NAMESPACE, NewOperator
from tests.harness.eventually import eventually
from tests.harness.operator import OperatorProcess
from tests.harness.stage import Stage

LEASE = "stormfold-ingest"


async def problems(process: OperatorProcess) -> list[str]:
    """What keeps it from being ready."""
    return sorted(json.loads((await process.get("/readyz"))[1])["problems"])


async def holder(stage: Stage) -> str:
    """Who leads."""
    lease = await stage.api.get("Lease", LEASE, OPERATOR_NAMESPACE)
    assert lease is not None
    return str(lease["spec"].get("holderIdentity", ""))


@pytest.mark.parametrize("end", ["killed", "terminated"])
@pytest.mark.started
async def test_standby_is_ready_and_goes_on_with_the_storm(
    stage: Stage, operator: NewOperator, end: str
) -> None:
    team = stage.team
    await operator(identity="standby")
    assert await holder(stage) == "test-0", "a standby takes nothing away"
    await team.report("trouble", 7)
    if end == "killed":
        stage.kill()
    else:
        assert await stage.operator.terminate() == 0
    await team.report("trouble", 6)
    await team.assert_exact()
    assert await holder(stage) == "standby"


async def test_standby_that_loses_redis_or_the_api_server_is_not_ready_until_they_answer(
    stage: Stage, operator: NewOperator
) -> None:
    await operator(identity="leader")
    standby = stage.operator
    await standby.start()
    stage.redis_proxy.disconnect()
    await eventually(lambda: problems(standby), lambda found: found == ["redis"], within=40)
    stage.redis_proxy.reconnect()
    await eventually(lambda: problems(standby), lambda found: found == [], within=40)
    away = stage.api_proxy.respond("GET", "/leases", 503, times=None)
    await eventually(lambda: problems(standby), lambda found: found == ["lease"], within=40)
    stage.api_proxy.remove(away)
    await eventually(lambda: problems(standby), lambda found: found == [], within=40)
