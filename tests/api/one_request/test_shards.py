"""Several replicas that each take in the Signals of some namespaces, and any number of them at any time."""

from __future__ import annotations

import asyncio
import time

import pytest
from tests.api.conftest import OPERATOR_NAMESPACE, NewNamespace, NewOperator
from tests.harness.api import Api
from tests.harness.eventually import eventually
from tests.harness.operator import OperatorProcess
from tests.harness.scene import at
from tests.harness.stage import Stage
from tests.harness.team import FAST, Team

from lab.valkey import Valkey
from stormfold.api.resource import API_VERSION
from stormfold.model.segment import SEGMENTS, segment

FAIL_OVER_SECONDS = 5.0


async def namespaces(new_namespace: NewNamespace, shards: int) -> list[str]:
    """A namespace for each shard."""
    found: dict[int, str] = {}
    while len(found) < shards:
        name = await new_namespace()
        found.setdefault(segment(name) % shards, name)
    return [found[shard] for shard in range(shards)]


async def holders(api: Api) -> dict[str, str]:
    """Shard → who leads it."""
    leases = await api.list("Lease", OPERATOR_NAMESPACE)
    return {
        lease["metadata"]["name"].removeprefix("stormfold-ingest-"): holder
        for lease in leases
        if (holder := lease["spec"].get("holderIdentity"))
    }


def sharded(number: int) -> dict[str, str | None]:
    """The setting."""
    return {"STORMFOLD_SHARDS": str(number)}


async def lead_one_each(api: Api, operator: NewOperator, count: int) -> dict[str, OperatorProcess]:
    """So many replicas, started together, each of which leads one shard; by the shard's number."""
    replicas = [
        await operator(identity=f"replica-{number}", environment=sharded(count), start=False)
        for number in range(count)
    ]
    await asyncio.gather(*(replica.start(ready=False) for replica in replicas))
    held = await eventually(
        lambda: holders(api),
        lambda found: len(found) == count == len(set(found.values())),
        within=30,
        what=f"{count} replicas lead one shard each",
    )
    return {shard: replicas[int(holder.removeprefix("replica-"))] for shard, holder in held.items()}


async def test_shards_count_one_storm_of_several_namespaces_and_are_taken_over(
    api: Api, operator: NewOperator, new_namespace: NewNamespace
) -> None:
    leaders = await lead_one_each(api, operator, 2)
    homes = await namespaces(new_namespace, 2)
    await api.create(
        {
            "apiVersion": API_VERSION,
            "kind": "ClusterStormPolicy",
            "metadata": {"name": "everywhere"},
            "spec": FAST | {"groupBy": ["name"], "requestNamespace": OPERATOR_NAMESPACE},
        }
    )
    await eventually(
        lambda: api.get("ClusterStormPolicy", "everywhere"),
        lambda policy: at(policy, "status.conditions.Accepted.status") == "True",
        what="the policy is in force",
    )
    teams = [Team(api, home) for home in homes]
    center = Team(api, OPERATOR_NAMESPACE)

    async def report(count: int) -> None:
        signals = [team.signal("outage") for team in teams for _ in range(count)]
        await api.create_all(signals)
        center.expect("outage", (signal["spec"]["target"]["name"] for signal in signals))

    try:
        await report(20)
        await center.counted("outage")
        leaders["0"].kill()
        await report(15)
        await eventually(
            lambda: holders(api),
            lambda found: len(set(found.values())) == 1,
            within=30,
            what="one leads both",
        )
        await report(5)
        await eventually(
            lambda: center.totals("outage"),
            lambda totals: totals == [80],
            within=30,
            what="80 in one request",
        )
    finally:
        await api.delete("ClusterStormPolicy", "everywhere")


@pytest.mark.parametrize("emptied", [False, True], ids=["Redis kept", "Redis emptied"])
async def test_number_of_shards_changes_and_nothing_counts_twice_or_is_lost(
    api: Api, operator: NewOperator, new_namespace: NewNamespace, valkey: Valkey, emptied: bool
) -> None:
    teams = [Team(api, home) for home in await namespaces(new_namespace, 4)]
    for team in teams:
        await team.policy(idle="3s")
    process = None
    for shards in (1, 4, 3, SEGMENTS, 2):
        if process:
            process.kill()
            if emptied:
                valkey.command("FLUSHALL")
        await asyncio.gather(*(team.report("trouble", 2) for team in teams))
        process = await operator(identity="same", environment=sharded(shards), ready=False)
        await asyncio.gather(*(team.report("trouble", 3) for team in teams))
        await asyncio.gather(*(team.counted("trouble") for team in teams))
    await asyncio.gather(*(team.assert_exact() for team in teams))


async def test_whoever_divides_otherwise_waits_until_the_others_have_gone(
    api: Api, operator: NewOperator
) -> None:
    old = await operator(identity="old")
    await operator(identity="new", environment=sharded(2))
    # A roll-out waits until what is new is ready.
    standby = await operator(identity="another-old")
    assert await holders(api) == {"0": "old"}
    standby.kill()
    assert await old.terminate() == 0
    await eventually(
        lambda: holders(api),
        lambda found: found == {"0": "new", "1": "new"},
        within=30,
        what="the new one leads both",
    )


async def test_signals_of_a_killed_leader_are_counted_by_the_next_within_five_seconds(
    stage: Stage, operator: NewOperator
) -> None:
    team = stage.team
    await team.policy()
    await stage.operator.start()
    await operator(identity="standby")
    await team.report("trouble", 6)
    await team.counted("trouble")
    stage.kill()
    killed = time.monotonic()
    await team.report("trouble", 5)
    await team.counted("trouble")
    assert time.monotonic() - killed < FAIL_OVER_SECONDS
