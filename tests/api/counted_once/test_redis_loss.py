"""Redis is emptied, restarted, out of memory or away: the requests go on, and their counts are exact."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest
from tests.harness.eventually import eventually
from tests.harness.stage import Stage

from lab.valkey import Valkey
from stormfold.fold import keys
from stormfold.fold.scripts import ACK, CLAIM, FOLD
from stormfold.model.group import partition

TWO_SECONDS = {"idle": "2s", "maxDuration": "1h"}


def all_keys(valkey: Valkey) -> list[str]:
    """Every key of ours."""
    found = valkey.command("KEYS", "sf:*")
    assert isinstance(found, list)
    return [str(key) for key in found]


@pytest.mark.started(window={"idle": "3s", "maxDuration": "1h"})
async def test_loss_of_anything_in_redis_leaves_one_exact_request_a_storm(stage: Stage) -> None:
    team, valkey = stage.team, stage.valkey
    for name in ("emptied", "restarted", "scripts-flushed", "storm-deleted", "older-state"):
        await team.report(name, 7)
        await team.counted(name)
        match name:
            case "emptied":
                valkey.command("FLUSHALL")
            case "restarted":
                await asyncio.to_thread(valkey.restart)
            case "scripts-flushed":
                valkey.command("SCRIPT", "FLUSH")
            case "storm-deleted":
                group_hash = team.group_hash(name)
                assert valkey.command("DEL", keys.storm(partition(group_hash), group_hash)) == 1
            case "older-state":
                older = all_keys(valkey)
                for key in older:
                    valkey.command("COPY", key, f"older:{key}")
                await team.report(name, 4)
                await team.counted(name)
                valkey.command("DEL", *all_keys(valkey))
                for key in older:
                    valkey.command("COPY", f"older:{key}", key)
        await team.report(name, 6)
        await team.counted(name)
    await team.assert_exact()


# Older data have the partition, but not the storm: no mark of it is missing.
@pytest.mark.parametrize(
    "lost",
    [
        pytest.param("emptied", marks=pytest.mark.started(window=TWO_SECONDS, closeAfter="6s")),
        pytest.param("older data", marks=pytest.mark.started(window=TWO_SECONDS, closeAfter="12s")),
    ],
)
async def test_lost_storm_without_a_further_signal_keeps_its_deadlines(stage: Stage, lost: str) -> None:
    team = stage.team
    await team.report("trouble", 7)
    await team.counted("trouble")
    (request,) = await team.requests()
    due = request["status"]["deadlines"]["close"]
    if lost == "emptied":
        stage.valkey.command("FLUSHALL")
    else:
        await team.assert_exact()
        group_hash = team.group_hash("trouble")
        stage.valkey.command("DEL", *(key for key in all_keys(stage.valkey) if key.endswith(group_hash)))
        assert stage.valkey.command("ZREM", keys.due(partition(group_hash)), group_hash) == 1
    await team.assert_exact()
    (request,) = await team.requests()
    assert request["status"]["deadlines"]["close"] == due
    closed = await eventually(
        team.storms, lambda storms: storms["trouble"][0].phase == "Closed", within=40, what="it is closed"
    )
    assert closed == {"trouble": [replace(team.expected["trouble"], phase="Closed")]}
    (request,) = await team.requests()
    assert {c["type"]: c["reason"] for c in request["status"]["conditions"]}["Closed"] == "QuietForCloseAfter"


@pytest.mark.started(belowThreshold="Discard", threshold={"signals": 5, "within": "1m"})
async def test_group_below_its_threshold_outlives_the_loss_of_redis(stage: Stage) -> None:
    team = stage.team
    await team.report("trouble", 3)
    await eventually(
        lambda: stage.metric("stormfold_signals_folded_total"), lambda n: n == 3, what="3 folded"
    )
    stage.valkey.command("FLUSHALL")
    await team.report("trouble", 2)
    await team.assert_exact()


@pytest.mark.parametrize("when", ["before", "after"])
async def test_cut_calls_of_scripts_are_repeated_without_harm(when: str, stage: Stage) -> None:
    team = stage.team
    await team.policy()
    group_hash = team.group_hash("trouble").encode()
    cuts = [
        stage.redis_proxy.cut("EVALSHA", (script.sha.encode(), group_hash), when=when, times=2)  # type: ignore[arg-type]
        for script in (FOLD, CLAIM, ACK)
    ]
    await stage.operator.start()
    await team.report("trouble", 7)
    await team.report("trouble", 5)
    await team.assert_exact(within=60)
    # The request says that it has settled before Redis is told.
    await eventually(lambda: [cut.hits for cut in cuts], lambda hits: hits == [2, 2, 2], what="6 cuts")


@pytest.mark.started
async def test_redis_away_is_not_ready_and_nothing_is_lost(stage: Stage) -> None:
    team = stage.team
    await team.report("trouble", 6)
    await team.counted("trouble")
    stage.redis_proxy.disconnect()
    await team.report("trouble", 5)
    status, body = await eventually(
        lambda: stage.operator.get("/readyz"), lambda answer: answer[0] == 503, within=30, what="not ready"
    )
    assert (status, json.loads(body)) == (
        503,
        {"ready": False, "problems": {"redis": "Redis has not answered for 10 s"}},
    )
    assert await stage.operator.get("/livez") == (200, "ok\n")
    stage.redis_proxy.reconnect()
    await team.report("trouble", 4)
    await eventually(
        lambda: stage.operator.get("/readyz"), lambda answer: answer[0] == 200, within=30, what="ready again"
    )
    await team.assert_exact()


@pytest.mark.started
async def test_full_redis_makes_signals_wait_and_loses_none(stage: Stage) -> None:
    team = stage.team
    await team.report("before", 6)
    await team.counted("before")
    stage.valkey.command("CONFIG", "SET", "maxmemory", "1")
    await team.report("before", 3)
    await team.report("during", 6)
    await eventually(
        lambda: stage.metric("stormfold_redis_memory_ratio"), lambda ratio: ratio > 0.9, what="it is noticed"
    )
    await eventually(
        lambda: stage.metric("stormfold_signals_in_flight"), lambda held: held == 9, what="9 wait"
    )
    assert stage.operator.running
    stage.valkey.command("CONFIG", "SET", "maxmemory", "0")
    await team.report("after", 6)
    await team.assert_exact()
