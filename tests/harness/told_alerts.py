"""What a group in Redis says after each report of an alert, and requests that it goes on from."""

from __future__ import annotations

from typing import Any

from tests.harness.folding import Group, alert
from tests.harness.values import T0

from stormfold.model.arrival import Arrival
from stormfold.model.storm import Seed, Snapshot, TrackedAlert


def counts(storm: Snapshot) -> tuple[int, int, int, int]:
    """(total, firing, resolved, folded)."""
    return storm.total, storm.firing, storm.resolved, storm.folded


async def see(group: Group, *reports: Arrival) -> list[tuple[int, int, int, int]]:
    """The counts after each report, one call each."""
    seen = []
    for number, report in enumerate(reports):
        await group.fold(report, at=number)
        seen.append(counts(await group.look(at=number)))
    return seen


async def firing_alerts(group: Group, *reports: Arrival, **folding: Any) -> list[tuple[int, int]]:
    """(alerts that fire, all that fires) after each report, one call each."""
    seen = []
    for report in reports:
        await group.fold(report, at=100, **folding)
        storm = await group.look(at=100)
        seen.append((storm.firing_alerts, storm.firing))
    return seen


START = T0 // 1000
FIRED = Seed(
    epoch=1,
    closed=False,
    incarnation="before",
    total=5,
    folded=6,
    firing=4,
    resolved=1,
    opened_ms=T0 - 5000,
    alerts=4,
    firing_alerts=3,
    tracked_alerts=(
        TrackedAlert(alert("a").occurrence, START, firing=True),
        TrackedAlert(alert("b").occurrence, START, firing=True),
        TrackedAlert(alert("c").occurrence, START, firing=False),
    ),
    unknown_alerts=1,
)
"""Two alerts fire and one has resolved, a Signal fires, and one more alert, but nobody knows which."""
WITH_ALERTS = Seed(
    epoch=1,
    closed=False,
    incarnation="before",
    total=3,
    folded=4,
    firing_alerts=2,
    firing=2,
    resolved=1,
    opened_ms=T0 - 5000,
    alerts=3,
    tracked_alerts=FIRED.tracked_alerts,
    through=0,
)
"""The request holds three alerts, two of which fire."""
