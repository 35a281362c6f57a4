"""A second process: it waits for the Lease, ready to lead, and goes on where the first one ended."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.api.conftest import OPERATOR_NAMESPACE, NewOperator
from tests.harness.eventually import eventually
from tests.harness.operator import OperatorProcess
from tests.harness.resources import storm_policy
from tests.harness.stage import Stage

from stormfold import __version__

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


async def test_first_line_says_version_ports_and_who_leads(operator: NewOperator) -> None:
    leader = await operator(identity="test-0")
    standby = await operator(identity="standby")

    def said(process: OperatorProcess) -> dict[str, Any]:
        (line,) = [entry for entry in process.log_lines() if entry["message"] == "stormfold runs"]
        return {key: value for key, value in line.items() if key not in {"time", "level", "logger"}}

    def expected(process: OperatorProcess, identity: str) -> dict[str, Any]:
        return {
            "message": "stormfold runs",
            "version": __version__,
            "identity": identity,
            "httpPort": process.port,
            "webhookPort": int(process.webhook_url.split(":")[2].partition("/")[0]),
            "leading": identity == "test-0",
            "leader": "test-0",
            "openRequests": 0,
        }

    assert said(leader) == expected(leader, "test-0")
    assert said(standby) == expected(standby, "standby")


@pytest.mark.parametrize("code", [503, 403], ids=["no answer", "refused: it does not know its roles yet"])
async def test_standby_that_loses_redis_or_the_api_server_is_not_ready_until_they_answer(
    stage: Stage, operator: NewOperator, code: int
) -> None:
    await operator(identity="leader")
    standby = stage.operator
    await standby.start()
    stage.redis_proxy.disconnect()
    await eventually(lambda: problems(standby), lambda found: found == ["redis"], within=40)
    stage.redis_proxy.reconnect()
    await eventually(lambda: problems(standby), lambda found: found == [], within=40)
    away = stage.api_proxy.respond("GET", "/leases", code, times=None)
    await eventually(lambda: problems(standby), lambda found: found == ["lease"], within=40)
    stage.api_proxy.remove(away)
    await eventually(lambda: problems(standby), lambda found: found == [], within=40)


@pytest.mark.started
async def test_policy_that_is_made_while_the_lease_has_run_out_is_told_when_it_is_renewed(
    stage: Stage,
) -> None:
    """Nobody has taken it meanwhile: the process leads on, and nothing else changes."""
    operator, namespace = stage.operator, stage.team.namespace
    refusal = stage.api_proxy.respond("PUT", f"/leases/{LEASE}", 503, times=None)
    await eventually(lambda: problems(operator), lambda seen: seen == ["lease"], within=30)
    await stage.api.create(storm_policy(namespace, "second", {"match": {"names": ["other"]}}))
    await operator.obeys(2)

    async def told() -> list[str]:
        policies = await stage.api.list("StormPolicy", namespace)
        return sorted(p["metadata"]["name"] for p in policies if (p.get("status") or {}).get("conditions"))

    assert await told() == ["storms"]
    refusal.release()
    await eventually(told, lambda seen: seen == ["second", "storms"], within=15, what="both are accepted")
