"""SIGTERM: what was taken in is written, the rest is left to the next process, and it can begin at once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.api.conftest import OPERATOR_NAMESPACE, NewOperator
from tests.harness.eventually import eventually
from tests.harness.stage import Stage
from tests.harness.steps import checkpoint_of

LEASE = "stormfold-ingest"


async def lease(stage: Stage) -> tuple[str, int]:
    """Who holds the Lease, and the checkpoint on it."""
    found = await stage.api.get("Lease", LEASE, OPERATOR_NAMESPACE)
    assert found is not None
    return found["spec"].get("holderIdentity", ""), checkpoint_of(found)


async def signals(stage: Stage) -> list[dict[str, Any]]:
    """The team's Signals."""
    return list(await stage.api.list("Signal", stage.team.namespace))


@pytest.mark.started
async def test_sigterm_in_mid_storm_writes_what_was_taken_in_and_loses_nothing(
    stage: Stage, operator: NewOperator
) -> None:
    team = stage.team
    made = await team.report("trouble", 8)
    await eventually(
        lambda: stage.metric("stormfold_signals_folded_total"), lambda n: n == 8, what="8 folded"
    )
    reporting = asyncio.create_task(team.report("trouble", 10))
    assert await stage.operator.terminate() == 0
    made += await reporting
    (total,) = await team.totals("trouble")
    holder, checkpoint = await lease(stage)
    assert holder == ""
    assert total == sum(int(signal["metadata"]["resourceVersion"]) <= checkpoint for signal in made)
    await operator(identity="test-1")
    await team.report("trouble", 3)
    await team.assert_exact()


@pytest.mark.started
async def test_checkpoint_at_the_end_is_the_newest_signal(stage: Stage, operator: NewOperator) -> None:
    team = stage.team
    await team.report("trouble", 9)
    await eventually(
        lambda: signals(stage),
        lambda found: all("status" in s for s in found),
        within=30,
        what="all are marked",
    )
    newest = max(int(s["metadata"]["resourceVersion"]) for s in await signals(stage))
    await eventually(lambda: lease(stage), lambda kept: kept[1] >= newest, within=30, what="the checkpoint")
    assert await stage.operator.terminate() == 0
    assert await lease(stage) == ("", newest)
    other = await operator(identity="test-1")
    await team.report("trouble", 2)
    await team.assert_exact()
    said = [e["message"] for e in other.log_lines() if e["logger"] == "stormfold.kube.lease"]
    assert said == ["leading ingest"]


@pytest.mark.started(belowThreshold="Discard", threshold={"signals": 5, "within": "1m"})
async def test_group_that_waits_for_its_threshold_holds_nobody_up(stage: Stage) -> None:
    team = stage.team
    await team.report("trouble", 3)
    await eventually(
        lambda: stage.metric("stormfold_signals_folded_total"), lambda n: n == 3, what="3 folded"
    )
    assert await stage.operator.terminate(within=10) == 0
    await stage.operator.start(ready=False)
    await team.report("trouble", 2)
    await team.assert_exact()


async def test_sigterm_ends_in_time_when_nothing_can_be_written(stage: Stage, operator: NewOperator) -> None:
    team = stage.team
    await team.policy()
    process = await operator(
        kubeconfig=stage.api_proxy.kubeconfig(stage.operator.log.parent / "grace"),
        environment={"STORMFOLD_GRACE_SECONDS": "1"},
    )
    away = stage.api_proxy.respond("*", "/remediationrequests", 503, times=None)
    await team.report("trouble", 6)
    await eventually(lambda: away.hits, within=30, what="a write is refused")
    assert await process.terminate(within=15) == 0
    stage.api_proxy.remove(away)
    assert (await team.requests(), (await lease(stage))[0]) == ([], "")
    await stage.operator.start(ready=False)
    await team.report("trouble", 3)
    await team.assert_exact()


async def test_sigterm_ends_in_time_when_redis_is_away(stage: Stage, operator: NewOperator) -> None:
    team = stage.team
    await team.policy()
    process = await operator(redis_url=stage.redis_proxy.url, environment={"STORMFOLD_GRACE_SECONDS": "1"})
    stage.redis_proxy.disconnect()
    await team.report("trouble", 6)
    await eventually(lambda: _in_flight(process), lambda held: held == 6, within=30, what="6 are taken in")
    assert await process.terminate(within=15) == 0
    stage.redis_proxy.reconnect()
    await stage.operator.start(ready=False)
    await team.assert_exact()


async def _in_flight(process: Any) -> float:
    return float((await process.metrics()).total("stormfold_signals_in_flight"))


async def test_sigterm_ends_one_that_waits_for_the_lease(stage: Stage, operator: NewOperator) -> None:
    await stage.operator.start()
    waiting = await operator(identity="test-1", ready=False)
    await eventually(
        lambda: [e["message"] for e in waiting.log_lines()],
        lambda said: "waiting for the Lease" in said,
        within=30,
        what="it waits",
    )
    assert await waiting.terminate(within=10) == 0
    assert (await lease(stage))[0] == "test-0"


@pytest.mark.parametrize("leading", [True, False], ids=["renewal", "first"])
async def test_lease_is_given_back_by_one_whose_last_write_of_it_had_no_answer(
    stage: Stage, leading: bool
) -> None:
    if leading:
        await stage.operator.start()
    write = stage.api_proxy.hold("PUT", f"/leases/{LEASE}", when="after")
    if not leading:
        await stage.operator.start(ready=False)
    await eventually(write.arrived.is_set, within=30, what="the write is under way")
    assert await stage.operator.terminate(within=15) == 0
    assert (await lease(stage))[0] == ""


@pytest.mark.started
async def test_metrics_have_no_label_that_grows_with_what_is_watched(stage: Stage) -> None:
    team = stage.team
    await team.report("trouble", 6)
    await team.assert_exact()
    bound = {"namespace", "name", "groupHash", "uid", "pod", "policy", "storm", "resource"}
    unbounded = {team.namespace, "trouble", team.group_hash("trouble"), "trouble-1", "storms"}
    samples = (await stage.operator.metrics()).samples
    assert [s for s in samples if bound & set(s[1]) or unbounded & set(s[1].values())] == []
