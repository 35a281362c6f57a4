"""Alerts while something breaks: none is lost, and none counts twice."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest
from tests.api.nothing_lost.conftest import NewReplica
from tests.harness.alert_sender import TAKEN, Sender
from tests.harness.eventually import eventually
from tests.harness.operator import OperatorProcess
from tests.harness.scene import WITHIN_SECONDS, at
from tests.harness.stage import Stage

from lab.valkey import Valkey
from stormfold.request.alert_list import decoded


async def test_replica_that_stops_answers_what_it_has_taken(proxied: OperatorProcess, sender: Sender) -> None:
    posts = [sender.posting(proxied, [sender.alert(f"pod-{number}")]) for number in range(20)]
    received = "stormfold_signals_received_total"

    async def taken() -> float:
        return (await proxied.metrics()).total(received, source="alertmanager")

    await eventually(taken, lambda number: number == 20, within=WITHIN_SECONDS, what="all posts are taken")
    assert await proxied.terminate() == 0
    assert await asyncio.gather(*posts) == [(200, {"accepted": 1, **TAKEN})] * 20
    assert await sender.counts() == [(1, "Open", 20, 20, 0)]


async def test_alert_posted_again_to_another_replica_when_the_first_was_killed_counts_once(
    proxied: OperatorProcess, replica: NewReplica, sender: Sender, stage: Stage
) -> None:
    other = await replica("replica-1")
    await other.obeys(1)
    write = stage.api_proxy.hold("PATCH", "/remediationrequests/.*/status")
    posted = sender.posting(proxied, sender.alerts(7))
    await eventually(write.arrived.is_set, within=WITHIN_SECONDS, what="the request is written")
    proxied.kill()
    with pytest.raises(aiohttp.ClientError):
        await posted
    write.release()
    taken = (200, {"accepted": 7, **TAKEN})
    await eventually(
        lambda: sender.post(other, sender.alerts(7)), lambda seen: seen == taken, within=WITHIN_SECONDS
    )
    assert await sender.counts() == [(1, "Open", 7, 7, 0)]


async def test_emptied_redis_loses_no_alert_and_counts_none_twice(
    replica: NewReplica, sender: Sender, valkey: Valkey
) -> None:
    replicas = [await replica("replica-0"), await replica("replica-1")]
    await sender.policy()
    for process in replicas:
        await process.obeys(1)
    await sender.post(replicas[0], sender.alerts(6))
    await sender.post(replicas[0], sender.alerts(6, name="Other"))
    valkey.command("FLUSHALL")
    # Two from before, which Alertmanager repeats, and three that are new.
    soon = {"startsAt": (datetime.now(UTC) + timedelta(seconds=60)).isoformat()}
    alerts = sender.alerts(2) + [sender.alert(f"new-{number}") | soon for number in range(3)]
    for process in replicas:
        assert await sender.post(process, alerts) == (200, {"accepted": 5, **TAKEN})
    await sender.post(replicas[1], [sender.alert("new", name="Other") | soon])
    exact = "spec.name status.signals.total status.conditions.Exact.status status.conditions.Exact.reason"
    await eventually(
        lambda: sender.counts(exact),
        lambda seen: (
            sorted(seen)
            == [("Other", 7, "True", "EachCountedOnce"), ("PodDown", 9, "True", "EachCountedOnce")]
        ),
        within=WITHIN_SECONDS,
        what="what came anew counts, and what was repeated does not",
    )


async def test_request_that_is_deleted_by_hand_is_made_again_with_its_alerts(
    process: OperatorProcess, sender: Sender
) -> None:
    await sender.post(process, sender.alerts(5))
    (request,) = await sender.requests()
    listed = request["status"]["withAlerts"]
    assert {alert.firing for alert in decoded(listed) or ()} == {True}
    await sender.api.delete("RemediationRequest", request["metadata"]["name"], sender.namespace)
    await eventually(
        sender.requests,
        lambda seen: (
            [at(one, "status.withAlerts") for one in seen] == [listed]
            and seen[0]["metadata"]["uid"] != request["metadata"]["uid"]
        ),
        within=WITHIN_SECONDS,
        what="the same list in another object",
    )


async def test_list_of_alerts_that_somebody_forged_is_told_and_the_storm_goes_on(
    process: OperatorProcess, sender: Sender, valkey: Valkey
) -> None:
    await sender.post(process, sender.alerts(5))
    (request,) = await sender.requests()
    forged = {"status": {"withAlerts": "AAAA"}}
    name = request["metadata"]["name"]
    await sender.api.patch("RemediationRequest", name, sender.namespace, forged, subresource="status")
    await eventually(sender.requests, lambda seen: seen[0]["status"]["withAlerts"] == "AAAA")
    valkey.command("FLUSHALL")
    await sender.post(process, [sender.alert("pod-9")])
    said = "status.signals.total status.conditions.Exact.status status.conditions.Exact.message"
    unknown = "up to 5 alerts may count twice: Redis lost which ones were counted"
    await sender.come_to([(6, "False", unknown)], said)
    await eventually(
        lambda: sender.api.list("Event", sender.namespace),
        lambda seen: [one["reason"] for one in seen].count("AlertListUnreadable") == 1,
        within=WITHIN_SECONDS,
        what="an Event",
    )
    assert (await process.metrics()).total("stormfold_alert_lists_unreadable_total") >= 1


async def test_redis_emptied_while_the_request_is_written_loses_nothing_and_repeats_nothing(
    proxied: OperatorProcess, sender: Sender, stage: Stage
) -> None:
    write = stage.api_proxy.hold("PATCH", "/remediationrequests/.*/status")
    posted = sender.posting(proxied, sender.alerts(7))
    await eventually(write.arrived.is_set, within=WITHIN_SECONDS, what="the request is written")
    stage.valkey.command("FLUSHALL")
    # They are folded again before it is known whether the write went well.
    await eventually(
        lambda: folded_again(proxied), lambda count: count >= 7, within=WITHIN_SECONDS, what="folded again"
    )
    write.release()
    assert await posted == (200, {"accepted": 7, **TAKEN})
    await sender.come_to([(1, 7, "True")], "spec.epoch status.signals.total status.conditions.Exact.status")


async def folded_again(process: OperatorProcess) -> float:
    """How many alerts were folded again."""
    return (await process.metrics()).total("stormfold_signals_refolded_total")
