"""Alerts that fire, through losses of Redis: none is forgotten while it fires, none counts twice, and none
holds its request for ever."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from tests.harness.folding import Group, signal
from tests.harness.values import ARRIVAL, T0

from lab.valkey import Valkey
from stormfold.model.arrival import AlertRef, Arrival
from stormfold.model.storm import Seed, Snapshot
from stormfold.request.alert_list import decoded, encoded

ALERTS = 6
STEPS = 60


def report(number: int, starts: int, *, firing: bool) -> Arrival:
    """What a sender says of an alert that began so many seconds after `T0`."""
    ref = AlertRef(0, T0 // 1000 + starts, 0 if firing else T0 // 1000 + STEPS)
    return replace(ARRIVAL, ref=ref, fingerprint=f"alert-{number}", firing=firing, target=None)


def seed_of(storm: Snapshot, listed: str) -> Seed:
    """What the request says that was written from a snapshot, with its list of alerts."""
    return Seed(
        epoch=storm.epoch,
        closed=False,
        incarnation=storm.incarnation,
        total=storm.total,
        folded=storm.folded,
        firing=storm.firing,
        resolved=storm.resolved,
        opened_ms=storm.opened_ms,
        alerts=storm.alerts,
        tracked_alerts=decoded(listed) or (),
        unknown_alerts=storm.unlisted_alerts,
        firing_alerts=storm.firing_alerts,
        through=storm.through,
    )


@pytest.mark.parametrize("chance", range(20))
async def test_alerts_that_fire_are_known_through_losses_and_all_ends_let_go(
    group: Group, redis: Valkey, chance: int
) -> None:
    """A sender like Alertmanager: it tells the end of a start before the next start of the same alert."""
    dice = random.Random(chance)
    began = dict.fromkeys(range(ALERTS), -1)
    """Alert → its latest start, below 0 while it does not fire."""
    held: Snapshot | None = None
    listed, version, starts = "", 0, 0
    for at in range(1, STEPS):
        number = dice.randrange(ALERTS)
        match dice.choice(("begin", "repeat", "end", "signal", "lose")):
            case "begin" if began[number] < 0:
                began[number] = at
                starts += 1
                await group.fold(report(number, at, firing=True), at=at)
            case "repeat" if began[number] >= 0:
                await group.fold(report(number, began[number], firing=True), at=at)
            case "end" if began[number] >= 0:
                await group.fold(report(number, began[number], firing=False), at=at)
                began[number] = -1
            case "signal":
                version += 1
                await group.fold(signal(version, firing=dice.random() < 0.5), at=at)
            case "lose" if held:
                # The request holds all of it: each step is written.
                redis.command("FLUSHALL")
                await group.fold(seed=seed_of(held, listed), at=at)
        if version or max(began.values()) >= 0 or held:
            held = await group.look(at=at)
            if held.tracked_alerts is not None:
                listed = encoded(held.tracked_alerts)
            await group.ack(held, at=at)
            assert held.total == starts + version
            assert held.firing_alerts == sum(start >= 0 for start in began.values())
            assert held.firing >= held.firing_alerts
    for number, start in began.items():
        if start >= 0:
            await group.fold(report(number, start, firing=False), at=STEPS)
    if held:
        assert (await group.look(at=STEPS)).firing_alerts == 0
