"""Who takes in Signals is killed: another one goes on."""

from __future__ import annotations

import time

import pytest
from tests.api.conftest import NewOperator
from tests.harness.stage import Stage

FAIL_OVER_SECONDS = 5.0


@pytest.mark.timed
@pytest.mark.started
async def test_signals_of_a_killed_leader_are_counted_by_the_next_within_five_seconds(
    stage: Stage, operator: NewOperator
) -> None:
    team = stage.team
    await operator(identity="standby")
    await team.report("trouble", 6)
    await team.counted("trouble")
    stage.kill()
    killed = time.monotonic()
    await team.report("trouble", 5)
    await team.counted("trouble")
    assert time.monotonic() - killed < FAIL_OVER_SECONDS
