"""Real Alertmanagers in front of two replicas: alerts that fire on after their request was closed open the
next one, unless its end says that nothing is to be done."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.api.conftest import NewAlertmanager
from tests.harness.api import Api, Manifest
from tests.harness.eventually import eventually
from tests.harness.front import NAME, NODES, WITHIN_SECONDS, Front, delivered_again
from tests.harness.scene import at, rows

from lab.valkey import Valkey
from stormfold.request.alert_list import decoded

on_the_current_one = pytest.mark.parametrize("alertmanager_program", ["current"], indirect=True)
pytestmark = on_the_current_one

SOON = {"closeAfter": "2s", "reopenAfter": {"succeeded": "3s", "failed": "3s"}}
FIRST = (1, "Closed", 6, 6, "NewSignals")
AGAIN = (2, "Settled", 0, 6, "StillFiring")


@pytest.fixture
def policy() -> dict[str, Any]:
    """Under it, groups open again soon."""
    return dict(SOON)


async def said(front: Front) -> list[tuple[Any, ...]]:
    """(epoch, phase, total, firing, why it opened) of each request, the first epoch first."""
    found = await front.team.requests()
    return sorted(
        rows(found, "spec.epoch status.phase status.signals.total status.signals.firing spec.reason")
    )


async def come_to(front: Front, *expected: tuple[Any, ...]) -> list[Manifest]:
    """Wait until the requests say so, the first epoch first."""
    await eventually(
        lambda: said(front),
        lambda seen: seen == list(expected),
        within=WITHIN_SECONDS,
        what=f"requests are {expected}",
    )
    return sorted(await front.team.requests(), key=lambda request: request["spec"]["epoch"])


async def ends(api: Api, request: Manifest, phase: str) -> None:
    """What a consumer reports."""
    metadata = request["metadata"]
    done = {"status": {"remediation": {"phase": phase}}}
    where = ("RemediationRequest", metadata["name"], metadata["namespace"])
    await api.patch(*where, done, subresource="status")


def listed(request: Manifest) -> list[bool]:
    """Of each alert in the request's list, whether it fires."""
    return [alert.firing for alert in decoded(request["status"]["withAlerts"]) or ()]


async def test_failed_robot_hides_no_outage(front: Front, alertmanager: NewAlertmanager, api: Api) -> None:
    """Through a pair of Alertmanagers that have lost each other."""
    pair = [await alertmanager(front.config(repeat_interval="600ms")) for _ in range(2)]
    alerts = front.alerts(6)
    await asyncio.gather(*(sender.post(alerts) for sender in pair))
    [first] = await come_to(front, (1, "Settled", *FIRST[2:]))
    await ends(api, first, "Failed")
    closed, again = await come_to(front, FIRST, AGAIN)
    assert again["spec"]["previousRef"] == {"name": closed["metadata"]["name"]}
    assert (listed(again), at(again, "status.continuation.firingAlerts")) == ([True] * 6, 6)
    assert at(again, "spec.policyRef") == at(closed, "spec.policyRef")
    await delivered_again(*pair, bodies=NODES * 2 * 2)
    assert await said(front) == [FIRST, AGAIN], "repeats count nothing"
    over = [alert.resolved() for alert in alerts]
    await asyncio.gather(*(sender.post(over) for sender in pair))
    await come_to(front, FIRST, (2, "Closed", 0, 0, "StillFiring"))


@pytest.mark.parametrize("phase", ["Succeeded", "aborted"])
async def test_alert_that_begins_in_the_next_request_counts_there(
    front: Front, alertmanager: NewAlertmanager, api: Api, phase: str
) -> None:
    sender = await alertmanager(front.config(repeat_interval="600ms"))
    alerts = front.alerts(6)
    await sender.post(alerts)
    [first] = await come_to(front, (1, "Settled", *FIRST[2:]))
    await ends(api, first, phase)
    await come_to(front, FIRST, AGAIN)
    await sender.post([*front.alerts(9)[2::3], *(alert.resolved() for alert in alerts[:2])])
    found = await come_to(front, FIRST, (2, "Settled", 3, 7, "StillFiring"))
    assert found[1]["status"]["signals"]["resolved"] == 2


@pytest.mark.parametrize(
    "policy",
    [SOON | {"window": {"idle": "500ms", "maxDuration": "5s"}}],
    ids=["maxDuration 5s"],
)
async def test_longest_duration_is_followed_at_once_as_long_as_alerts_fire(
    front: Front, alertmanager: NewAlertmanager
) -> None:
    sender = await alertmanager(front.config(repeat_interval="600ms"))
    alerts = front.alerts(6)
    await sender.post(alerts)

    async def third() -> list[tuple[Any, ...]]:
        return (await said(front))[2:3]

    await eventually(third, lambda seen: seen == [(3, "Settled", 0, 6, "StillFiring")], within=WITHIN_SECONDS)
    found = sorted(await front.team.requests(), key=lambda request: request["spec"]["epoch"])
    assert rows(found[:2], "status.phase status.signals.total status.conditions.Closed.reason") == [
        ("Closed", 6, "MaxDurationReached"),
        ("Closed", 0, "MaxDurationReached"),
    ]
    await sender.post(alert.resolved() for alert in alerts)

    async def open_ones() -> list[tuple[Any, ...]]:
        return [row for row in await said(front) if row[1] != "Closed"]

    await eventually(open_ones, lambda seen: seen == [], within=WITHIN_SECONDS, what="all are over")
    epochs = len(await said(front))
    await front.team.report("signals", 3)
    await delivered_again(sender, bodies=0)
    assert len([row for row in await said(front) if row[4] != "NewSignals"]) == epochs - 1


@pytest.mark.parametrize("how", ["Skipped", "cancelled", "annotation"])
async def test_end_that_says_that_nothing_is_to_be_done_holds_until_something_new_comes(
    front: Front, alertmanager: NewAlertmanager, api: Api, how: str
) -> None:
    sender = await alertmanager(front.config(repeat_interval="600ms"))
    await sender.post(front.alerts(6))
    [first] = await come_to(front, (1, "Settled", *FIRST[2:]))
    if how == "annotation":
        metadata = first["metadata"]
        asks = {"metadata": {"annotations": {"stormfold.dev/close": "true"}}}
        await api.patch("RemediationRequest", metadata["name"], metadata["namespace"], asks)
    else:
        await ends(api, first, how)
    await come_to(front, FIRST)
    # 2 posts a second of each group: for longer than reopenAfter.
    await delivered_again(sender, bodies=2 * NODES * 8)
    assert await said(front) == [FIRST]
    await sender.post(front.alerts(7)[2:3])
    await come_to(front, FIRST, (2, "Settled", 1, 7, "NewSignals"))


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


@pytest.mark.parametrize("policy", [SOON | {"reopenAfter": {"failed": "12s"}}], ids=["reopenAfter 12s"])
async def test_ends_that_come_while_the_request_is_closed_are_noted_in_it(
    front: Front, alertmanager: NewAlertmanager, api: Api, valkey: Valkey
) -> None:
    sender = await alertmanager(front.config(repeat_interval="600ms"))
    alerts = front.alerts(6)
    await sender.post(alerts)
    [first] = await come_to(front, (1, "Settled", *FIRST[2:]))
    await ends(api, first, "Failed")
    await come_to(front, FIRST)
    await sender.post(alert.resolved() for alert in alerts[:4])
    [closed] = await come_to(front, (1, "Closed", 6, 2, "NewSignals"))
    assert at(closed, "status.conditions.Recovered.message") == "2 firing, 4 resolved"
    assert sorted(listed(closed)) == [False] * 4 + [True] * 2
    valkey.command("FLUSHALL")
    _, again = await come_to(front, (1, "Closed", 6, 2, "NewSignals"), (2, "Settled", 0, 2, "StillFiring"))
    assert sum(listed(again)) == 2
    await ends(api, again, "Failed")
    await come_to(front, (1, "Closed", 6, 2, "NewSignals"), (2, "Closed", 0, 2, "StillFiring"))
    await sender.post(alert.resolved() for alert in alerts[4:])
    over = await come_to(front, (1, "Closed", 6, 2, "NewSignals"), (2, "Closed", 0, 0, "StillFiring"))
    assert at(over[1], "status.conditions.Recovered.status") == "True"


async def test_policy_that_is_gone_opens_nothing_and_one_that_changed_goes_by_its_new_words(
    front: Front, alertmanager: NewAlertmanager, api: Api
) -> None:
    sender = await alertmanager(front.config(repeat_interval="600ms"))
    await sender.post(front.alerts(6))
    [first] = await come_to(front, (1, "Settled", *FIRST[2:]))
    namespace = front.team.namespace
    [policy] = await api.list("StormPolicy", namespace)
    await api.delete("StormPolicy", policy["metadata"]["name"], namespace)
    for replica in front.replicas:
        await replica.obeys(0)
    await ends(api, first, "Failed")
    await come_to(front, FIRST)
    await delivered_again(sender, bodies=2 * NODES * 8)
    assert await said(front) == [FIRST]
    await front.team.policy(**SOON | {"closeAfter": "30m"})
    _, again = await come_to(front, FIRST, AGAIN)
    assert again["spec"]["policy"]["closeAfter"] == "30m"
    assert again["spec"]["policyRef"]["uid"] != first["spec"]["policyRef"]["uid"]


@pytest.mark.parametrize(
    "policy",
    [SOON | {"closeAfter": "20s", "limits": {"openStorms": 1}}],
    ids=["openStorms 1, closeAfter 20s"],
)
async def test_group_that_opens_again_waits_for_a_place_visibly(
    front: Front, alertmanager: NewAlertmanager, api: Api
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
    assert len(await front.team.requests(NAME)) == 1
    # That one closes for quiet, and leaves it.
    await eventually(
        lambda: said(front), lambda seen: AGAIN in seen, within=WITHIN_SECONDS, what="the group is open again"
    )
