"""Random walks of a group's alerts and of all that looks after them: none that fires is hidden.

An alert that fires is in a request that says so. If that is closed, the group opens again, unless the
consumer has said that nothing is to be done. Below a threshold that discards, an alert is in none.
None counts twice.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from unittest.mock import patch

import pytest
from tests.harness.values import version
from tests.harness.walk import Walk

from lab.valkey import Valkey
from stormfold.fold import closed_alerts, scripts
from stormfold.fold.store import StormStore
from stormfold.model import limits
from stormfold.request import alert_list, noting

WALKS = int(os.environ.get("WALKS", "2"))
FIRST = int(os.environ.get("FIRST_WALK", "0"))
STEPS = 50


@pytest.fixture(params=[False, True], ids=["enough room", "hardly any room"])
def small(request: pytest.FixtureRequest) -> Iterator[bool]:
    """Whether Redis knows six alerts of a group, and a request four."""
    if not request.param:
        yield False
        return
    with (
        patch.multiple(limits, KNOWN_ALERTS=6, LISTED_ALERTS=4),
        patch.multiple(closed_alerts, KNOWN_ALERTS=6),
        patch.multiple(alert_list, LISTED_ALERTS=4),
        patch.multiple(
            scripts, FOLD=scripts.load("fold"), CLOSE=scripts.load("close"), CLAIM=scripts.load("claim")
        ),
    ):
        yield True


@pytest.mark.parametrize("faults", [False, True], ids=["all goes well", "faults"])
@pytest.mark.parametrize("below", ["Request", "Discard"])
async def test_no_alert_that_fires_is_hidden(
    store: StormStore, redis: Valkey, small: bool, below: str, faults: bool
) -> None:
    for number in range(FIRST, FIRST + WALKS):
        policy = version(
            groupBy=["name"],
            threshold={"signals": 3, "within": "10s"},
            belowThreshold=below,
            staleAfter="30s" if number % 2 else "24h",
            reopenAfter={"succeeded": "20s", "failed": "30s"},
            closeAfter="60s",
            window={"idle": "10s"},
        )
        redis.command("FLUSHALL")
        walk = Walk(store, redis, random.Random(number), policy, small=small)
        with patch.object(noting, "now_ms", walk.now):
            try:
                for _ in range(STEPS):
                    await walk.step(faults)
                await walk.rounds(12, 10_000)
                walk.check()
                await walk.end_all()
            except AssertionError as error:
                error.add_note(f"walk {number}:\n" + "\n".join(map(str, walk.log[-40:])))
                raise
