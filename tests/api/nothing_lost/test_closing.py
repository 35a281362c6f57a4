"""Real Alertmanagers in front of two replicas: how long a request is open."""

from __future__ import annotations

from typing import Any

import pytest
from tests.api.conftest import NewAlertmanager
from tests.harness.eventually import eventually
from tests.harness.front import NAME, NODES, WITHIN_SECONDS, Front, delivered_again
from tests.harness.scene import rows

from lab.valkey import Valkey

on_the_current_one = pytest.mark.parametrize("alertmanager_program", ["current"], indirect=True)


async def closing(front: Front, name: str = NAME) -> list[tuple[Any, ...]]:
    """(epoch, phase, Closed, why, firing) of each request of a name."""
    return rows(
        await front.team.requests_of(name),
        "spec.epoch status.phase status.conditions.Closed.status status.conditions.Closed.reason"
        " status.signals.firing",
    )


async def come_to(front: Front, *expected: Any, name: str = NAME) -> None:
    """Wait until the one request of a name says this of its closing."""
    await eventually(
        lambda: closing(front, name),
        lambda seen: seen == [expected],
        within=WITHIN_SECONDS,
        what=f"{name} is {expected}",
    )


@pytest.mark.parametrize("policy", [{"closeAfter": "2s"}], ids=["closeAfter 2s"])
@pytest.mark.parametrize(
    ("alertmanager_program", "loses"),
    [
        pytest.param("current", False, id="current"),
        pytest.param("debian", False, id="debian"),
        pytest.param("current", True, id="Redis loses all"),
    ],
    indirect=["alertmanager_program"],
)
async def test_request_is_open_while_alerts_fire_and_closes_when_they_have_resolved(
    front: Front, alertmanager: NewAlertmanager, valkey: Valkey, loses: bool
) -> None:
    sender = await alertmanager(front.config(repeat_interval="600ms"))
    alerts = front.alerts(6)
    await sender.post(alerts)
    held = (1, "Settled", "False", "AlertsFiring", 6)
    await come_to(front, *held)
    if loses:
        valkey.command("FLUSHALL")
    # Signals that fire close for quiet: so long the alerts fire beyond closeAfter, and are repeated all the
    # time.
    await front.team.report("signals", 3)
    await come_to(front, 1, "Closed", "True", "QuietForCloseAfter", 3, name="signals")
    await delivered_again(sender, bodies=NODES * 2)
    await come_to(front, *held)
    (request,) = await front.team.requests_of(NAME)
    assert "close" not in request["status"]["deadlines"]
    await sender.post(alert.resolved() for alert in alerts[1:])
    await come_to(front, 1, "Settled", "False", "AlertsFiring", 1)
    await sender.post([alerts[0].resolved()])
    await come_to(front, 1, "Closed", "True", "QuietForCloseAfter", 0)


@on_the_current_one
@pytest.mark.parametrize(
    "policy", [{"closeAfter": "2s", "window": {"idle": "1s", "maxDuration": "12s"}}], ids=["maxDuration 12s"]
)
async def test_longest_duration_ends_a_request_whose_alerts_fire_for_ever(
    front: Front, alertmanager: NewAlertmanager
) -> None:
    sender = await alertmanager(front.config(repeat_interval="600ms"))
    await sender.post(front.alerts(6))
    await come_to(front, 1, "Settled", "False", "AlertsFiring", 6)
    await eventually(
        lambda: closing(front),
        lambda seen: seen[:1] == [(1, "Closed", "True", "MaxDurationReached", 6)],
        within=WITHIN_SECONDS,
        what="the first request is closed; the next one is made at once",
    )


# --- what holds it open is up to the policy


@on_the_current_one
@pytest.mark.parametrize(
    "policy", [{"closeAfter": "2s", "closeOn": "Quiet"}], ids=["closeOn Quiet, closeAfter 2s"]
)
async def test_alerts_hold_no_request_open_where_the_policy_closes_on_quiet(
    front: Front, alertmanager: NewAlertmanager
) -> None:
    sender = await alertmanager(front.config(repeat_interval="600ms"))
    await sender.post(front.alerts(6))
    await come_to(front, 1, "Closed", "True", "QuietForCloseAfter", 6)


@on_the_current_one
@pytest.mark.parametrize(
    "policy", [{"closeAfter": "2s", "closeOn": "Recovered"}], ids=["closeOn Recovered, closeAfter 2s"]
)
async def test_signals_hold_a_request_open_where_the_policy_closes_on_recovery(
    front: Front, alertmanager: NewAlertmanager
) -> None:
    sender = await alertmanager(front.config(repeat_interval="600ms"))
    await front.team.report("signals", 3)
    await come_to(front, 1, "Settled", "False", "StillFiring", 3, name="signals")
    # Meanwhile another request comes and goes: so long the Signals fire beyond closeAfter.
    alerts = front.alerts(6)
    await sender.post(alerts)
    await come_to(front, 1, "Settled", "False", "StillFiring", 6)
    await sender.post(alert.resolved() for alert in alerts)
    await come_to(front, 1, "Closed", "True", "QuietForCloseAfter", 0)
    await come_to(front, 1, "Settled", "False", "StillFiring", 3, name="signals")


STALE = "0 resolved, 6 alerts neither repeated nor resolved for staleAfter (6 s)"


@on_the_current_one
@pytest.mark.parametrize("loses", [False, True], ids=["Redis keeps all", "Redis loses all"])
@pytest.mark.parametrize(
    "policy", [{"closeAfter": "2s", "staleAfter": "6s"}], ids=["closeAfter 2s, staleAfter 6s"]
)
async def test_alerts_of_which_nobody_speaks_any_more_let_go(
    front: Front, alertmanager: NewAlertmanager, valkey: Valkey, loses: bool
) -> None:
    sender = await alertmanager(front.config(repeat_interval="600ms"))
    await sender.post(front.alerts(6))
    held = (1, "Settled", "False", "AlertsFiring", 6)
    await come_to(front, *held)
    # 2 posts a second and more: they are repeated for longer than staleAfter.
    await delivered_again(sender, bodies=2 * NODES * 12)
    await come_to(front, *held)
    await sender.stop()
    if loses:
        valkey.command("FLUSHALL")
    await come_to(front, 1, "Closed", "True", "QuietForCloseAfter", 0)
    of = "status.conditions.Recovered"
    said = rows(await front.team.requests_of(NAME), f"status.signals.stale {of}.status {of}.message")
    assert said == [(6, "Unknown", STALE)]
