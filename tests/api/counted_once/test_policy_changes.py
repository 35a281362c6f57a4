"""A policy is changed, added or deleted, and the next leader reads again what was counted: that stays so."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from tests.harness.eventually import eventually
from tests.harness.resources import storm_policy
from tests.harness.scene import rows
from tests.harness.stage import Stage
from tests.harness.steps import LEASE
from tests.harness.team import FAST, POLICY

TOGETHER = {"groupBy": ["namespace"], "closeAfter": "1h"}
"""Terms under which all signals of the team make one storm."""


async def add(stage: Stage, **spec: object) -> None:
    """Make another policy of the team."""
    await stage.api.create(storm_policy(stage.team.namespace, "other", FAST | TOGETHER | spec))


async def changed(stage: Stage) -> None:
    """It groups by other keys."""
    await stage.api.patch("StormPolicy", POLICY, stage.team.namespace, {"spec": TOGETHER})


async def added(stage: Stage) -> None:
    """Another one goes before it."""
    await add(stage, priority=100)


async def deleted(stage: Stage) -> None:
    """Another one takes its place."""
    await stage.api.delete("StormPolicy", POLICY, stage.team.namespace)
    await add(stage)


@pytest.mark.started(threshold={"signals": 1, "within": "10s"}, closeAfter="1s")
@pytest.mark.parametrize("redis", ["kept", "emptied"])
@pytest.mark.parametrize("change", [changed, added, deleted])
async def test_signals_that_a_request_holds_stay_there_when_the_next_leader_reads_them_again(
    stage: Stage, redis: str, change: Callable[[Stage], Awaitable[None]]
) -> None:
    team = stage.team
    # The checkpoint stays where it is, and no Signal says where it went: the next leader reads all of them.
    unkept = stage.api_proxy.respond("PUT", LEASE, 500, times=None)
    unmarked = stage.api_proxy.respond("PATCH", "/signals/.*/status", 500, times=None)

    async def come_to(*expected: tuple[str, str, int]) -> None:
        async def found() -> list[tuple[object, ...]]:
            return sorted(rows(await team.requests(), "spec.name status.phase status.signals.total"))

        await eventually(found, lambda seen: seen == sorted(expected), within=20, what=str(expected))

    closed = ("first", "Closed", 2), ("second", "Closed", 1)
    await team.report("first", 2)
    await team.report("second", 1)
    await come_to(*closed)
    stage.kill()
    stage.lose(redis)
    await change(stage)
    stage.api_proxy.remove(unkept)
    stage.api_proxy.remove(unmarked)
    await stage.operator.start()
    await eventually(
        lambda: stage.metric("stormfold_signals_folded_total"),
        lambda folded: folded >= 3,
        within=20,
        what="they are read again",
    )
    await eventually(
        lambda: stage.metric("stormfold_signals_in_flight"), lambda left: left == 0, what="all are durable"
    )
    await come_to(*closed)
    # What comes now is new, and goes by the policies of now.
    await team.report("third", 1)
    await team.report("first", 1)
    await come_to(*closed, ("third", "Settled", 2))
