"""Redis refuses for a while, or has moved: nothing ends, the probes say so in Redis' words, and the counts
are exact."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from redis.asyncio import Redis
from tests.api.conftest import OPERATOR_NAMESPACE, NewOperator
from tests.harness.eventually import eventually
from tests.harness.operator import OperatorProcess
from tests.harness.redis_proxy import RedisProxy
from tests.harness.stage import Stage

from lab.valkey import Valkey

LEASE = "stormfold-ingest"


async def problems(process: OperatorProcess) -> dict[str, str]:
    """What keeps it from being ready, by `/readyz`."""
    assert process.running, "it ended"
    status, body = await process.get("/readyz")
    found = dict(json.loads(body)["problems"])
    assert status == (503 if found else 200)
    return found


@asynccontextmanager
async def refusing(valkey: Valkey, code: str) -> AsyncIterator[None]:
    """A server that answers each write by that code."""
    match code:
        case "NOREPLICAS":
            valkey.command("CONFIG", "SET", "min-replicas-to-write", 1)
            yield
            valkey.command("CONFIG", "SET", "min-replicas-to-write", 0)
        case "MISCONF":
            shutil.rmtree(valkey.directory)
            valkey.command("CONFIG", "SET", "save", "3600 1")
            valkey.command("BGSAVE")
            await eventually(
                lambda: "rdb_last_bgsave_status:err" in str(valkey.command("INFO", "persistence")),
                what="the disk fails",
            )
            yield
            valkey.command("CONFIG", "SET", "stop-writes-on-bgsave-error", "no")
        case "BUSY":
            valkey.command("CONFIG", "SET", "busy-reply-threshold", 1)
            async with Redis(port=valkey.port, socket_timeout=None) as client:
                script = asyncio.ensure_future(client.eval("while true do end", 0))
                yield
                valkey.command("SCRIPT", "KILL")
                await asyncio.gather(script, return_exceptions=True)
        case _:
            raise ValueError(code)


@pytest.mark.parametrize("code", ["NOREPLICAS", "MISCONF", "BUSY"])
@pytest.mark.started
async def test_refused_writes_make_not_ready_in_the_words_of_redis_and_are_made_up_for(
    stage: Stage, code: str
) -> None:
    team = stage.team
    await team.report("trouble", 6)
    await team.counted("trouble")
    async with refusing(stage.valkey, code):
        await team.report("trouble", 5)
        await team.report("another", 3)
        found = await eventually(
            lambda: problems(stage.operator), lambda found: "redis" in found, within=30, what="not ready"
        )
        assert found["redis"].startswith(f"Redis refuses writes: {code} "), found
        assert await stage.operator.get("/livez") == (200, "ok\n")
    await team.report("trouble", 4)
    await eventually(lambda: problems(stage.operator), lambda found: not found, within=30, what="ready again")
    await team.assert_exact()


@pytest.mark.parametrize("code", ["NOREPLICAS", "MISCONF", "BUSY"])
async def test_operator_that_starts_while_writes_are_refused_waits_and_goes_on(
    stage: Stage, code: str
) -> None:
    team = stage.team
    await team.policy()
    async with refusing(stage.valkey, code):
        await stage.operator.start(ready=False)
        found = await eventually(
            lambda: problems(stage.operator), lambda found: "refuses" in found.get("redis", ""), within=30
        )
        assert sorted(found) == ["redis", "start"]
        assert found["redis"].startswith(f"Redis refuses writes: {code} "), found
    await eventually(lambda: problems(stage.operator), lambda found: not found, within=30, what="ready")
    await team.report("trouble", 6)
    await team.assert_exact()


async def test_operator_that_waits_for_redis_at_start_ends_when_it_is_told(stage: Stage) -> None:
    async with refusing(stage.valkey, "NOREPLICAS"):
        await stage.operator.start(ready=False)
        await eventually(
            lambda: problems(stage.operator), lambda found: "refuses" in found.get("redis", ""), within=30
        )
        assert await stage.operator.terminate(within=10) == 0


async def test_operator_that_finds_no_place_among_the_clients_of_redis_waits(operator: NewOperator) -> None:
    with Valkey(settings={"maxclients": "1"}) as full:
        async with Redis(port=full.port) as only:
            await only.ping()
            process = await operator(redis_url=full.url, ready=False)
            found = await eventually(
                lambda: problems(process), lambda found: "refuses" in found.get("redis", ""), within=30
            )
            assert found["redis"] == "Redis refuses writes: max number of clients reached"
            await only.config_set("maxclients", 100)
        await eventually(lambda: problems(process), lambda found: not found, within=30, what="ready")


async def test_address_that_moves_to_a_new_primary_is_followed_within_ten_seconds(stage: Stage) -> None:
    """Open sockets stay with the old one, which answers questions and refuses writes."""
    team, old = stage.team, stage.valkey
    await team.policy(window={"idle": "3s", "maxDuration": "1h"})
    with Valkey(settings={"replicaof": f"127.0.0.1 {old.port}"}) as new:
        await stage.operator.start()
        await team.report("trouble", 7)
        await team.counted("trouble")
        await eventually(lambda: "master_link_status:up" in str(new.command("INFO", "replication")))
        new.command("REPLICAOF", "NO", "ONE")
        old.command("REPLICAOF", "127.0.0.1", new.port)
        stage.redis_proxy.move(new.port)
        await team.report("trouble", 6)
        await eventually(
            lambda: team.totals("trouble"), lambda totals: totals == [13], within=10, what="it goes on"
        )
        await team.report("trouble", 3)
        await team.assert_exact()
        assert await problems(stage.operator) == {}


async def test_quiet_operator_follows_a_moved_address_too(stage: Stage) -> None:
    old = stage.valkey
    with Valkey(settings={"replicaof": f"127.0.0.1 {old.port}"}) as new:
        await stage.operator.start()
        new.command("REPLICAOF", "NO", "ONE")
        old.command("REPLICAOF", "127.0.0.1", new.port)
        stage.redis_proxy.move(new.port)
        await eventually(
            lambda: str(new.command("CLIENT", "LIST", "TYPE", "normal")).count("id="),
            lambda clients: clients > 1,
            within=10,
            what="it has connections to the new primary",
        )
        assert await problems(stage.operator) == {}


async def holder(stage: Stage) -> str:
    """Who leads."""
    lease = await stage.api.get("Lease", LEASE, OPERATOR_NAMESPACE)
    assert lease is not None
    return str(lease["spec"].get("holderIdentity", ""))


@pytest.mark.parametrize("away", ["gone", "NOREPLICAS"])
async def test_standby_that_becomes_leader_while_redis_is_away_waits_for_it(
    stage: Stage, operator: NewOperator, valkey: Valkey, away: str
) -> None:
    team = stage.team
    await team.policy(window={"idle": "3s", "maxDuration": "1h"})
    async with RedisProxy(valkey.port).running() as its_way:
        leader = await operator(identity="leader", redis_url=its_way.url)
        await stage.operator.start()
        await team.report("trouble", 6)
        await team.counted("trouble")
        if away == "gone":
            stage.redis_proxy.disconnect()
            leader.kill()
            await eventually(lambda: holder(stage), lambda name: name == "test-0", within=30)
            await team.report("trouble", 5)
            # Longer than the Lease lasts: it is renewed meanwhile.
            await eventually(
                lambda: problems(stage.operator), lambda found: "redis" in found, within=30, what="not ready"
            )
            stage.redis_proxy.reconnect()
        else:
            async with refusing(valkey, away):
                leader.kill()
                await eventually(lambda: holder(stage), lambda name: name == "test-0", within=30)
                await team.report("trouble", 5)
                await eventually(lambda: problems(stage.operator), lambda found: "redis" in found, within=30)
        await team.report("trouble", 4)
        await team.assert_exact()
        assert (stage.operator.running, await holder(stage)) == (True, "test-0")
