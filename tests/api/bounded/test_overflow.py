"""The overflow storm of a policy, when who leads changes: what went there stays there."""

from __future__ import annotations

import pytest
from tests.harness.eventually import eventually
from tests.harness.scene import rows
from tests.harness.stage import Stage
from tests.harness.steps import LEASE


@pytest.mark.parametrize("redis", ["kept", "emptied"])
async def test_signals_of_an_overflow_storm_stay_there_when_another_leader_reads_them_again(
    stage: Stage, redis: str
) -> None:
    team = stage.team
    await team.policy(threshold={"signals": 1, "within": "10s"}, closeAfter="2s", limits={"openStorms": 1})
    await stage.operator.start()
    # The checkpoint stays where it is, and no Signal says where it went: the next leader reads all of them.
    unkept = stage.api_proxy.respond("PUT", LEASE, 500, times=None)
    unmarked = stage.api_proxy.respond("PATCH", "/signals/.*/status", 500, times=None)

    async def come_to(*expected: tuple[str, bool, str, int]) -> None:
        async def found() -> list[tuple[object, ...]]:
            seen = rows(await team.requests(), "spec.name spec.overflow status.phase status.signals.total")
            return sorted(tuple(map(str, row)) for row in seen)

        wanted = sorted(tuple(map(str, row)) for row in expected)
        await eventually(found, lambda seen: seen == wanted, within=20, what=str(wanted))

    own = await team.report("own", 2)
    await come_to(("own", False, "Open", 2))
    await team.report("shared", 3)
    await team.report("too", 1)
    closed = ("own", False, "Closed", 2), ("shared", True, "Closed", 4)
    await come_to(*closed)
    stage.kill()
    stage.lose(redis)
    stage.api_proxy.remove(unkept)
    stage.api_proxy.remove(unmarked)
    # Nothing keeps the others from a storm of their own group now.
    for signal in own:
        await stage.api.delete("Signal", signal["metadata"]["name"], team.namespace)
    await stage.operator.start()
    await eventually(
        lambda: stage.metric("stormfold_signals_folded_total"),
        lambda folded: folded >= 4,
        within=20,
        what="the others are read again",
    )
    await eventually(
        lambda: stage.metric("stormfold_signals_in_flight"), lambda left: left == 0, what="all are durable"
    )
    await come_to(*closed)
    # What comes now is new, and may have a storm of its own.
    await team.report("shared", 1)
    await come_to(*closed, ("shared", False, "Closed", 1))
