"""People hear of each storm by one alert of a real Alertmanager, and that it is over."""

from __future__ import annotations

import secrets
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.api.conftest import NewAlertmanager, NewOperator
from tests.harness import certificates
from tests.harness.alert_sender import Sender
from tests.harness.alertmanager import Alertmanager, Config, config, pod_alerts
from tests.harness.api import Api
from tests.harness.eventually import eventually
from tests.harness.operator import OperatorProcess
from tests.harness.receiver import Receiver
from tests.harness.team import POLICY, Team

NAME = "CrashLooping"
WITHIN_SECONDS = 60.0
CONSTANTS = {"stormfold.notify.notifier.REPEAT_SECONDS": 1.0}
URL = "STORMFOLD_NOTIFY_ALERTMANAGER_URL"

on_the_current_one = pytest.mark.parametrize("alertmanager_program", ["current"], indirect=True)


@pytest.fixture
async def people() -> AsyncIterator[Receiver]:
    """Where Alertmanager sends its notifications."""
    async with Receiver().running() as receiver:
        yield receiver


def routed(replicas: list[OperatorProcess], token: Path, people: Receiver) -> Config:
    """All alerts go to the replicas; StormOpen goes to people as well."""
    made = config([replica.webhook_url for replica in replicas], token_file=token)
    made["route"]["routes"] = [
        {
            "receiver": "people",
            "matchers": ["alertname=StormOpen"],
            "group_by": ["namespace", "request"],
            "group_wait": "100ms",
            "continue": True,
        },
        {"receiver": "stormfold"},
    ]
    made["receivers"].append({"name": "people", "webhook_configs": [{"url": people.url}]})
    return made


def heard(people: Receiver) -> list[tuple[str, int]]:
    """(status, number of alerts) of each notification."""
    return [(delivery.body["status"], len(delivery.body["alerts"])) for delivery in people.deliveries]


async def told(replica: OperatorProcess, state: str = "firing") -> float:
    """How many alerts of a state Alertmanagers have taken from it."""
    return (await replica.metrics()).total("stormfold_notify_alerts_total", state=state)


async def told_again(replica: OperatorProcess) -> None:
    """Wait until it has told of a storm three times more."""
    before = await told(replica)
    await eventually(lambda: told(replica), lambda seen: seen >= before + 3, within=WITHIN_SECONDS)


async def close(api: Api, request: dict[str, Any]) -> None:
    """As people do by hand."""
    metadata = request["metadata"]
    closing = {"metadata": {"annotations": {"stormfold.dev/close": "true"}}}
    await api.patch("RemediationRequest", metadata["name"], metadata["namespace"], closing)


async def knows(alertmanager: Alertmanager) -> list[str]:
    """Of which requests it says that a storm is open."""
    alerts = await alertmanager.alerts()
    return [alert["labels"]["request"] for alert in alerts if alert["labels"]["alertname"] == "StormOpen"]


async def summaries(alertmanager: Alertmanager) -> list[str]:
    """What its alerts about storms say."""
    alerts = await alertmanager.alerts()
    return [
        alert["annotations"]["summary"] for alert in alerts if alert["labels"]["alertname"] == "StormOpen"
    ]


async def test_storm_of_300_alerts_is_one_notification_also_when_the_leader_dies_and_one_when_it_closes(
    *,
    api: Api,
    operator: NewOperator,
    alertmanager: NewAlertmanager,
    people: Receiver,
    namespace: str,
    tmp_path: Path,
) -> None:
    token = tmp_path / "token"
    token.write_text(secrets.token_hex(16))
    first, second = replicas = [
        await operator(identity=f"replica-{n}", webhook_token_file=token, constants=CONSTANTS, start=False)
        for n in range(2)
    ]
    sender = await alertmanager(routed(replicas, token, people))
    team = Team(api, namespace)
    await team.policy()
    for replica in replicas:
        replica.set(**{URL: sender.url})
        await replica.start()
        await replica.obeys(1)
    await sender.post(pod_alerts(NAME, 300, namespace=namespace))
    await eventually(lambda: team.totals(NAME), lambda seen: seen == [300], within=WITHIN_SECONDS)
    await eventually(lambda: heard(people), lambda seen: seen == [("firing", 1)], within=WITHIN_SECONDS)
    [request] = await team.requests()
    [alert] = people.deliveries[0].body["alerts"]
    assert alert["labels"] == {
        "alertname": "StormOpen",
        "stormfold_storm": "true",
        "namespace": namespace,
        "request": request["metadata"]["name"],
        "policy": POLICY,
        "severity": "critical",
        "group_name": NAME,
        "group_namespace": namespace,
    }
    assert NAME in alert["annotations"]["summary"]
    await eventually(
        lambda: summaries(sender),
        lambda seen: [summary.partition(" on ")[0] for summary in seen] == ["300 signals"],
        within=WITHIN_SECONDS,
    )
    await told_again(first)
    assert await told(second) == 0
    first.kill()
    await told_again(second)
    assert heard(people) == [("firing", 1)]

    # It came back to the webhook as well, and is told from what it is about.
    async def rejected() -> float:
        return (await second.metrics()).total("stormfold_signals_rejected_total", reason="LoopDetected")

    await eventually(rejected, within=WITHIN_SECONDS, what="it came back")
    await close(api, request)
    await eventually(
        lambda: heard(people), lambda seen: seen == [("firing", 1), ("resolved", 1)], within=WITHIN_SECONDS
    )
    assert [request["spec"]["name"] for request in await team.requests()] == [NAME]
    assert await knows(sender) == []


@on_the_current_one
async def test_alertmanager_that_was_away_is_told_all_of_it_and_keeps_nobody_from_anything(
    *, operator: NewOperator, alertmanager: NewAlertmanager, people: Receiver, sender: Sender
) -> None:
    away, there = [await alertmanager(config(urls, group_by=["request"])) for urls in ([people.url], [])]
    await away.stop()
    replica = await operator(
        webhook_token_file=sender.token_file,
        environment={URL: f"{away.url},{there.url}"},
        constants=CONSTANTS | {"stormfold.notify.notifier.MOST_BACKOFF_SECONDS": 2.0},
    )
    await sender.policy(threshold={"signals": 5, "within": "1h"})
    await sender.accepted()
    for name in ("First", "Second"):
        status, _ = await sender.post(replica, sender.alerts(6, name=name))
        assert status == 200
    first, second = await sender.requests()
    names = sorted(request["metadata"]["name"] for request in (first, second))
    await eventually(lambda: knows(there), lambda seen: sorted(seen) == names, within=WITHIN_SECONDS)

    async def failed() -> float:
        return (await replica.metrics()).total("stormfold_notify_posts_total", outcome="failed")

    await eventually(failed, lambda seen: seen >= 3, within=WITHIN_SECONDS)
    await close(sender.api, first)
    gone = first["metadata"]["name"]
    await eventually(
        lambda: knows(there), lambda seen: seen == [n for n in names if n != gone], within=WITHIN_SECONDS
    )
    await away.start()
    await eventually(
        lambda: knows(away), lambda seen: seen == [n for n in names if n != gone], within=WITHIN_SECONDS
    )
    # Of the one that was over by then nothing is said.
    await eventually(lambda: heard(people), lambda seen: seen == [("firing", 1)], within=WITHIN_SECONDS)
    assert people.deliveries[0].body["commonLabels"]["request"] == second["metadata"]["name"]
    assert [line["message"] for line in replica.log_lines() if "lertmanager" in line["message"]] == [
        "Alertmanager was not told of storms, trying again",
        "Alertmanager accepts storms again",
    ]


@on_the_current_one
async def test_group_below_its_threshold_is_no_storm_that_people_hear_of(
    *, operator: NewOperator, alertmanager: NewAlertmanager, people: Receiver, sender: Sender
) -> None:
    listener = await alertmanager(config([people.url]))
    replica = await operator(
        webhook_token_file=sender.token_file, environment={URL: listener.url}, constants=CONSTANTS
    )
    await sender.policy(threshold={"signals": 5, "within": "1h"})
    await sender.accepted()
    await sender.post(replica, sender.alerts(4, name="Few"))
    await sender.post(replica, sender.alerts(5, name="Many"))
    await told_again(replica)
    few_and_many = {
        request["spec"]["name"]: request["metadata"]["name"] for request in await sender.requests()
    }
    assert sorted(few_and_many) == ["Few", "Many"]
    assert await knows(listener) == [few_and_many["Many"]]


async def test_token_and_authority_are_read_from_their_files(
    operator: NewOperator, sender: Sender, tmp_path: Path
) -> None:
    pair = certificates.pair(tmp_path, "localhost")
    trust = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trust.load_cert_chain(pair.certificate, pair.key)
    token = tmp_path / "bearer"
    token.write_text("first\n")
    async with Receiver(trust, host="localhost", path="/am/api/v2/alerts").running() as listener:
        replica = await operator(
            webhook_token_file=sender.token_file,
            environment={
                URL: listener.url.removesuffix("/api/v2/alerts"),
                "STORMFOLD_NOTIFY_TOKEN_FILE": str(token),
                "STORMFOLD_NOTIFY_CA_FILE": str(pair.certificate),
            },
            constants=CONSTANTS,
        )
        await sender.policy(threshold={"signals": 5, "within": "1h"})
        await sender.accepted()
        await sender.post(replica, sender.alerts(5))

        def tokens() -> set[str | None]:
            return {delivery.authorization for delivery in listener.deliveries}

        await eventually(tokens, lambda seen: seen == {"Bearer first"}, within=WITHIN_SECONDS)
        token.write_text("second")
        await eventually(
            tokens, lambda seen: seen == {"Bearer first", "Bearer second"}, within=WITHIN_SECONDS
        )


async def test_post_that_brings_back_only_alerts_about_storms_is_answered_by_200(
    operator: NewOperator, sender: Sender
) -> None:
    replica = await operator(webhook_token_file=sender.token_file)
    ours = sender.alert("pod-0", name="StormOpen")
    ours["labels"]["stormfold_storm"] = "true"
    status, answer = await sender.post(replica, [ours])
    assert (status, answer["accepted"]) == (200, 0)
    assert [(one["index"], one["reason"]) for one in answer["rejected"]] == [(0, "LoopDetected")]
    status, answer = await sender.post(replica, [ours, {"status": "firing"}])
    assert (status, answer["reason"]) == (400, "NoAlertUsable")
