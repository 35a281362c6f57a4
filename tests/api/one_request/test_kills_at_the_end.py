"""SIGKILL at every step of closing a storm: it ends once, and the next signal opens the next epoch."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import pytest
from tests.harness.api_proxy import When
from tests.harness.eventually import eventually
from tests.harness.stage import Stage
from tests.harness.steps import REQUEST, Step, call, script
from tests.harness.team import Storm

from stormfold.fold.scripts import CLOSE, FREEZE

STEPS: tuple[Mapping[str, Step], ...] = (
    # A script that is held holds up the others: it is last, and alone.
    {"patch": call("PATCH", REQUEST), "freeze": script(FREEZE)},
    {"close": script(CLOSE)},
)
WHENS: tuple[When, ...] = ("before", "after")
DONE = {"status": {"remediation": {"phase": "Succeeded"}}}


def life(storms: list[Storm]) -> list[tuple[int, int, str]]:
    """Epoch, total and phase of each storm of a name, in the order of their epochs."""
    return sorted((storm.epoch, storm.total, storm.phase) for storm in storms)


@pytest.mark.parametrize("redis", ["kept", "emptied"])
@pytest.mark.started(window={"idle": "1m", "maxDuration": "1h"})
async def test_operator_killed_while_it_closes_a_storm_opens_the_next_epoch_once(
    redis: str, stage: Stage
) -> None:
    team = stage.team
    for steps, when in itertools.product(STEPS, WHENS):
        names = {f"{step}-{when}": step for step in steps}
        rules = []
        for name, step in names.items():
            await team.report(name, 6)
            await team.counted(name)
            rules.append(steps[step](stage, name, when))
            [request] = await team.requests_of(name)
            await stage.api.patch(
                "RemediationRequest", request["metadata"]["name"], team.namespace, DONE, subresource="status"
            )
            await eventually(rules[-1].arrived.is_set, within=30, what=f"{name} is held")
        await stage.kill_at(*rules)
        stage.lose(redis)
        await stage.operator.start(ready=False)

    async def lives() -> dict[str, list[tuple[int, int, str]]]:
        return {name: life(storms) for name, storms in (await team.storms()).items()}

    closed = await eventually(
        lives,
        lambda seen: all(phase == "Closed" for storms in seen.values() for *_, phase in storms),
        within=30,
        what="all storms are closed",
    )
    assert closed == {name: [(1, 6, "Closed")] for name in team.expected}
    for name in list(team.expected):
        await team.report(name, 5)
    counted = await eventually(
        lives,
        lambda seen: all(sum(total for _, total, _ in storms) >= 11 for storms in seen.values()),
        within=30,
        what="all signals are counted",
    )
    assert counted == {name: [(1, 6, "Closed"), (2, 5, "Open")] for name in team.expected}
