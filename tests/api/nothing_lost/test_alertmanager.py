"""Real Alertmanagers in front of two replicas: whatever arrives how often, each alert is counted once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.api.conftest import NewAlertmanager
from tests.harness.eventually import eventually
from tests.harness.front import NAME, NODES, WITHIN_SECONDS, Front, delivered, delivered_again
from tests.harness.redis_proxy import RedisProxy
from tests.harness.scene import rows

on_the_current_one = pytest.mark.parametrize("alertmanager_program", ["current"], indirect=True)


async def test_alert_that_both_replicas_get_again_and_again_is_counted_once(
    front: Front, alertmanager: NewAlertmanager
) -> None:
    sender = await alertmanager(front.config(repeat_interval="600ms"))
    await sender.post(front.alerts(60))
    await front.come_to(60)
    # Each group to each replica at least three times more.
    await delivered_again(sender, bodies=3 * NODES * 2)
    assert await front.counts() == [(1, 60, 60, 0, "False")]


async def test_resolved_alerts_are_told_from_those_that_still_fire(
    front: Front, alertmanager: NewAlertmanager
) -> None:
    sender = await alertmanager(front.config(repeat_interval="600ms"))
    alerts = front.alerts(60)
    await sender.post(alerts)
    await front.come_to(60)
    await sender.post(alert.resolved() for alert in alerts[::2])
    await front.come_to(60, resolved=30)
    await sender.post(alert.resolved() for alert in alerts[1::2])
    await front.come_to(60, resolved=60)


@on_the_current_one
async def test_alert_that_fires_anew_is_counted_anew(front: Front, alertmanager: NewAlertmanager) -> None:
    sender = await alertmanager(front.config())
    alerts = front.alerts(6)
    await sender.post(alerts)
    await front.come_to(6)
    await sender.post(alert.resolved() for alert in alerts)
    await front.come_to(6, resolved=6)
    await sender.post(front.alerts(6))
    await front.come_to(12, firing=6)


async def test_pair_that_has_lost_each_other_counts_like_one(
    front: Front, alertmanager: NewAlertmanager
) -> None:
    pair = [await alertmanager(front.config(repeat_interval="600ms")) for _ in range(2)]
    alerts = front.alerts(60)
    await asyncio.gather(*(sender.post(alerts) for sender in pair))
    await front.come_to(60)
    await delivered_again(*pair, bodies=2 * NODES * 2 * 2)
    assert await front.counts() == [(1, 60, 60, 0, "False")]
    over = [alert.resolved() for alert in alerts[:40]]
    await asyncio.gather(*(sender.post(over) for sender in pair))
    await front.come_to(60, resolved=40)
    assert min([await delivered(sender) for sender in pair]) >= NODES * 2, "both have sent"


@on_the_current_one
async def test_each_of_a_pair_may_have_a_replica_of_its_own(
    front: Front, alertmanager: NewAlertmanager
) -> None:
    pair = [await alertmanager(front.config(number)) for number in range(2)]
    alerts = front.alerts(60)
    await asyncio.gather(*(sender.post(alerts) for sender in pair))
    await eventually(lambda: delivered(*pair), lambda seen: seen >= 2 * NODES, within=WITHIN_SECONDS)
    await front.come_to(60)


@on_the_current_one
async def test_second_of_a_cluster_goes_on_where_the_first_one_ended(
    front: Front, alertmanager: NewAlertmanager
) -> None:
    first = await alertmanager(front.config(repeat_interval="2s"), cluster=True)
    second = await alertmanager(front.config(repeat_interval="2s"), peer=first, peer_timeout="1s")
    alerts = front.alerts(30)
    await asyncio.gather(first.post(alerts), second.post(alerts))
    await front.come_to(30)
    await first.stop()
    await second.post(alert.resolved() for alert in alerts)
    await front.come_to(30, resolved=30)


@on_the_current_one
async def test_alerts_that_are_refused_while_redis_is_away_are_counted_once_it_is_back(
    front: Front, alertmanager: NewAlertmanager, redis_proxy: RedisProxy
) -> None:
    sender = await alertmanager(front.config())
    alerts = front.alerts(60)
    await sender.post(alerts[:30])
    await front.come_to(30)
    redis_proxy.disconnect()
    await sender.post(alerts)
    await eventually(sender.attempts, lambda seen: seen[1] >= 2, within=WITHIN_SECONDS, what="two refusals")
    redis_proxy.reconnect()
    await front.come_to(60)


@on_the_current_one
async def test_replica_that_was_away_counts_nothing_twice(
    front: Front, alertmanager: NewAlertmanager
) -> None:
    first, _ = front.replicas
    sender = await alertmanager(front.config(repeat_interval="600ms"))
    first.kill()
    await sender.post(front.alerts(60))
    await front.come_to(60)
    await first.start()
    await delivered_again(sender, bodies=2 * NODES * 2)
    assert await front.counts() == [(1, 60, 60, 0, "False")]


@pytest.mark.parametrize(
    "policy",
    [{"belowThreshold": "Discard", "threshold": {"signals": 5, "within": "1h"}}],
    ids=["5 within 1h"],
)
async def test_alerts_below_a_threshold_that_discards_fail_no_notification(
    front: Front, alertmanager: NewAlertmanager
) -> None:
    sender = await alertmanager(front.config(repeat_interval="600ms"))
    await sender.post(front.alerts(4))
    await delivered_again(sender, bodies=3 * NODES * 2)
    assert await front.counts() == []
    await sender.post(front.alerts(5))
    await front.come_to(5)
    assert (await sender.attempts())[1] == 0


LEAVES_OUT = "a sender left 2 alerts out of a post, which are in no request: set its max_alerts to 0"


async def test_alerts_that_a_sender_leaves_out_are_said_in_the_request(
    front: Front, alertmanager: NewAlertmanager
) -> None:
    told = front.config(repeat_interval="600ms")
    for receiver in told["receivers"]:
        for hook in receiver["webhook_configs"]:
            hook["max_alerts"] = 5
    sender = await alertmanager(told)
    # Of each node 7 alerts, of which 5 come.
    await sender.post(front.alerts(7 * NODES))
    await front.come_to(5 * NODES)
    await eventually(
        lambda: _exact(front),
        lambda seen: seen == [("False", "AlertsLeftOut", LEAVES_OUT)],
        within=WITHIN_SECONDS,
    )


async def _exact(front: Front) -> list[tuple[Any, ...]]:
    of = "status.conditions.Exact"
    return rows(await front.team.requests_of(NAME), f"{of}.status {of}.reason {of}.message")
