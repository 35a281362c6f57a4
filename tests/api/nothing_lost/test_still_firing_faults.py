"""The same as `test_still_firing`, whatever breaks or is missing between the close and the next request."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.api.conftest import NewAlertmanager
from tests.harness.api import Api
from tests.harness.eventually import eventually
from tests.harness.front import NAME, NODES, WITHIN_SECONDS, Front, delivered_again
from tests.harness.reopening import AGAIN, FIRST, LATER, SOON, come_to, ends, listed, said
from tests.harness.scene import at, rows

from lab.valkey import Valkey

pytestmark = pytest.mark.parametrize("alertmanager_program", ["current"], indirect=True)


@pytest.fixture
def policy() -> dict[str, Any]:
    """Under it, groups open again soon."""
    return dict(SOON)


@pytest.mark.parametrize("policy", [LATER], ids=["reopenAfter 8s"])
@pytest.mark.parametrize("fault", ["both restart", "one dies", "Redis loses all", "both, and Redis"])
async def test_group_opens_again_whatever_breaks_while_its_request_is_closed(
    front: Front, alertmanager: NewAlertmanager, api: Api, valkey: Valkey, fault: str
) -> None:
    sender = await alertmanager(front.config(repeat_interval="600ms"))
    alerts = front.alerts(6)
    await sender.post(alerts)
    [first] = await come_to(front, (1, "Settled", *FIRST[2:]))
    await ends(api, first, "TimedOut")
    await come_to(front, FIRST)
    if fault != "Redis loses all":
        for replica in front.replicas[: 1 if fault == "one dies" else 2]:
            replica.kill()
    if "Redis" in fault:
        valkey.command("FLUSHALL")
    if fault.startswith("both"):
        await asyncio.gather(*(replica.start() for replica in front.replicas))
    _, again = await come_to(front, FIRST, AGAIN)
    assert listed(again) == [True] * 6
    await sender.post(alert.resolved() for alert in alerts)
    await come_to(front, FIRST, (2, "Closed", 0, 0, "StillFiring"))


@pytest.mark.parametrize(
    "policy",
    [LATER | {"closeAfter": "20s", "limits": {"openStorms": 1}}],
    ids=["openStorms 1, closeAfter 20s"],
)
@pytest.mark.parametrize("ends_first", [False, True], ids=["fires on", "ends before it has a request"])
async def test_group_that_opens_again_waits_for_a_place_visibly(
    front: Front, alertmanager: NewAlertmanager, api: Api, ends_first: bool
) -> None:
    sender = await alertmanager(front.config(repeat_interval="600ms"))
    await sender.post(front.alerts(6))
    [first] = await come_to(front, (1, "Settled", *FIRST[2:]))
    await ends(api, first, "Failed")
    await come_to(front, FIRST)
    # Another group takes the place.
    await front.team.report("signals", 3)
    await eventually(lambda: front.team.totals("signals"), lambda seen: seen == [3], within=WITHIN_SECONDS)

    async def waiting() -> Any:
        [policy] = await api.list("StormPolicy", front.team.namespace)
        return at(policy, "status.conditions.GroupsWaiting.status")

    await eventually(waiting, lambda seen: seen == "True", within=WITHIN_SECONDS, what="it waits visibly")
    assert len(await front.team.requests_of(NAME)) == 1
    if ends_first:
        await sender.post(alert.resolved() for alert in front.alerts(6))
        # Its place is free when that one has closed.
        await eventually(
            lambda: said(front),
            lambda seen: (1, "Closed", 3, 3, "NewSignals") in seen,
            within=WITHIN_SECONDS,
            what="the other group's request is closed",
        )
        await come_to(front, (1, "Closed", 3, 3, "NewSignals"), (1, "Closed", 6, 0, "NewSignals"))
        found = await front.team.requests_of(NAME)
        assert rows(found, "status.conditions.Recovered.status") == [("True",)]
        return
    # That one closes for quiet, and leaves it.
    await eventually(
        lambda: said(front), lambda seen: AGAIN in seen, within=WITHIN_SECONDS, what="the group is open again"
    )


@pytest.mark.parametrize("loses", [False, True], ids=["Redis keeps all", "Redis loses all"])
@pytest.mark.parametrize("policy", [SOON | {"staleAfter": "6s"}], ids=["staleAfter 6s"])
async def test_alerts_of_a_closed_request_of_which_nobody_speaks_any_more_are_stale(
    front: Front, alertmanager: NewAlertmanager, api: Api, valkey: Valkey, loses: bool
) -> None:
    sender = await alertmanager(front.config(repeat_interval="600ms"))
    await sender.post(front.alerts(6))
    [first] = await come_to(front, (1, "Settled", *FIRST[2:]))
    await ends(api, first, "Skipped")
    await come_to(front, FIRST)
    # 2 posts a second of each group: they are repeated for longer than staleAfter.
    await delivered_again(sender, bodies=2 * NODES * 8)
    assert await said(front) == [FIRST]
    await sender.stop()
    if loses:
        valkey.command("FLUSHALL")
    [closed] = await come_to(front, (1, "Closed", 6, 0, "NewSignals"))
    recovered = at(closed, "status.conditions.Recovered")
    assert (at(closed, "status.signals.stale"), recovered["status"]) == (6, "Unknown")
    assert recovered["message"] == "0 resolved, 6 alerts neither repeated nor resolved for staleAfter (6 s)"
    assert listed(closed) == [False] * 6


@pytest.mark.parametrize("phase", ["Failed", "Skipped"])
@pytest.mark.parametrize("policy", [SOON | {"reopenAfter": {"failed": "1h"}}], ids=["reopenAfter 1h"])
async def test_closed_request_that_is_deleted_hides_no_alert(
    front: Front, alertmanager: NewAlertmanager, api: Api, phase: str
) -> None:
    """What fires is in no request any more: it counts anew, in the next one."""
    sender = await alertmanager(front.config(repeat_interval="600ms"))
    await sender.post(front.alerts(6))
    [first] = await come_to(front, (1, "Settled", *FIRST[2:]))
    await ends(api, first, phase)
    [closed] = await come_to(front, FIRST)
    await delivered_again(sender, bodies=NODES)
    assert await said(front) == [FIRST]
    await api.delete("RemediationRequest", closed["metadata"]["name"], front.team.namespace)
    await come_to(front, (2, "Settled", 6, 6, "NewSignals"))
    await delivered_again(sender, bodies=2 * NODES)
    assert await said(front) == [(2, "Settled", 6, 6, "NewSignals")]
