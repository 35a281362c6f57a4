"""Real Alertmanagers in front of two replicas: alerts that fire on after their request was closed open the
next one, unless its end says that nothing is to be done."""

from __future__ import annotations

import asyncio
from datetime import datetime
from itertools import pairwise
from typing import Any

import pytest
from tests.api.conftest import NewAlertmanager
from tests.harness.api import Api
from tests.harness.eventually import eventually
from tests.harness.front import NAME, NODES, WITHIN_SECONDS, Front, delivered_again
from tests.harness.reopening import AGAIN, FIRST, SOON, come_to, ends, listed, said
from tests.harness.scene import at, rows

from lab.valkey import Valkey
from stormfold.request.reopening import TRY_AGAIN_MS

AGAIN_SAYS = "6 alerts of the request before still firing"
pytestmark = pytest.mark.parametrize("alertmanager_program", ["current"], indirect=True)


@pytest.fixture
def policy() -> dict[str, Any]:
    """Under it, groups open again soon."""
    return dict(SOON)


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
    lines = [line for replica in front.replicas for line in replica.log_lines()]
    [opened] = [line for line in lines if line["message"].startswith("alerts of a closed request still fire")]
    assert (opened["namespace"], opened["request"]) == (front.team.namespace, closed["metadata"]["name"])
    assert (opened["policy"], opened["what"]) == (closed["spec"]["policyRef"]["name"], NAME)
    await delivered_again(*pair, bodies=NODES * 2 * 2)
    assert await said(front) == [FIRST, AGAIN], "repeats count nothing"
    over = [alert.resolved() for alert in alerts]
    await asyncio.gather(*(sender.post(over) for sender in pair))
    await come_to(front, FIRST, (2, "Closed", 0, 0, "StillFiring"))


async def test_alerts_that_end_for_want_of_news_and_fire_again_after_the_close_open_the_next_request(
    front: Front, alertmanager: NewAlertmanager
) -> None:
    """Their start stays the same: Prometheus was cut off, and Alertmanager took them for resolved."""
    sender = await alertmanager(front.config(repeat_interval="600ms"))
    alerts = front.alerts(6)
    await sender.post(alerts)
    await come_to(front, (1, "Settled", *FIRST[2:]))
    await sender.post(alert.resolved() for alert in alerts)
    over = (1, "Closed", 6, 0, "NewSignals")
    await come_to(front, over)
    await sender.post(alerts)
    closed, again = await come_to(front, over, AGAIN)
    assert again["spec"]["previousRef"] == {"name": closed["metadata"]["name"]}
    assert (again["spec"]["name"], again["status"]["summary"]) == (NAME, AGAIN_SAYS)
    await sender.post(alert.resolved() for alert in alerts)
    await come_to(front, over, (2, "Closed", 0, 0, "StillFiring"))


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
    for before, after in pairwise(found):
        ended = datetime.fromisoformat(at(before, "status.conditions.Closed.lastTransitionTime"))
        waited = (datetime.fromisoformat(after["spec"]["openedAt"]) - ended).total_seconds()
        assert waited < TRY_AGAIN_MS / 2000, "the first try opens it"
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
