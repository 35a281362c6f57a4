"""Alerts from the webhook to the request: what is answered when, and what is counted."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.api.nothing_lost.conftest import NewReplica
from tests.harness.alert_sender import TAKEN, Sender
from tests.harness.eventually import eventually
from tests.harness.operator import OperatorProcess
from tests.harness.scene import WITHIN_SECONDS
from tests.harness.stage import Stage

from lab.valkey import Valkey


async def test_answer_comes_when_the_request_holds_the_alerts_and_not_before(
    replica: NewReplica, sender: Sender, stage: Stage, tmp_path: Path
) -> None:
    process = await replica(kubeconfig=stage.api_proxy.kubeconfig(tmp_path / "alerts"))
    await sender.policy()
    await sender.accepted()
    write = stage.api_proxy.hold("PATCH", "/remediationrequests/.*/status")
    posted = sender.posting(process, sender.alerts(7))
    await eventually(write.arrived.is_set, within=WITHIN_SECONDS, what="the request is written")
    assert not posted.done()
    write.release()
    assert await posted == (200, {"accepted": 7, **TAKEN})
    assert await sender.counts() == [(1, "Open", 7, 7, 0)]


async def test_answer_comes_after_the_fold_where_the_settings_say_so(
    replica: NewReplica, sender: Sender, stage: Stage, tmp_path: Path
) -> None:
    process = await replica(
        kubeconfig=stage.api_proxy.kubeconfig(tmp_path / "alerts"),
        environment={"STORMFOLD_WEBHOOK_ACK": "redis"},
    )
    await sender.policy()
    await sender.accepted()
    write = stage.api_proxy.hold("POST", "/remediationrequests")
    assert await sender.post(process, sender.alerts(7)) == (200, {"accepted": 7, **TAKEN})
    assert await sender.counts() == []
    await eventually(write.arrived.is_set, within=WITHIN_SECONDS, what="the request is made")
    write.release()
    await sender.come_to([(1, "Open", 7, 7, 0)])


async def test_many_posts_of_one_storm_share_its_writes(
    proxied: OperatorProcess, sender: Sender, stage: Stage
) -> None:
    began = time.monotonic()
    posts = [
        sender.posting(proxied, [sender.alert(f"pod-{number}-{part}") for part in range(5)])
        for number in range(60)
    ]
    assert await asyncio.gather(*posts) == [(200, {"accepted": 5, **TAKEN})] * 60
    elapsed = time.monotonic() - began
    assert await sender.counts() == [(1, "Open", 300, 300, 0)]
    writes = [seen for seen in stage.api_proxy.seen if seen.method == "PATCH" and "/status" in seen.path]
    # One at once, and one a second.
    assert len([seen for seen in writes if "/remediationrequests/" in seen.path]) <= 2 + elapsed


async def test_alerts_that_are_not_durable_in_time_are_refused_and_counted_once_when_they_come_again(
    replica: NewReplica, sender: Sender, stage: Stage, tmp_path: Path
) -> None:
    process = await replica(
        kubeconfig=stage.api_proxy.kubeconfig(tmp_path / "alerts"),
        environment={"STORMFOLD_WEBHOOK_WAIT_SECONDS": "0.5"},
    )
    await sender.policy()
    await sender.accepted()
    away = stage.api_proxy.respond("POST", "/remediationrequests", 503, times=None)
    status, answer = await sender.post(process, sender.alerts(7))
    assert (status, answer["reason"]) == (503, "NotDurableInTime")
    stage.api_proxy.remove(away)

    async def again() -> tuple[int, Any]:
        return await sender.post(process, sender.alerts(7))

    taken = (200, {"accepted": 7, **TAKEN})
    await eventually(again, lambda answer: answer == taken, within=WITHIN_SECONDS, what="they are taken")
    assert await sender.counts() == [(1, "Open", 7, 7, 0)]


async def test_alert_counts_once_through_any_replica_and_its_end_is_taken_off_firing(
    replica: NewReplica, sender: Sender
) -> None:
    replicas = [await replica("replica-0"), await replica("replica-1")]
    await sender.policy()
    for process in replicas:
        await process.obeys(1)
    both = [sender.post(process, sender.alerts(9)) for process in replicas for _ in range(3)]
    assert await asyncio.gather(*both) == [(200, {"accepted": 9, **TAKEN})] * 6
    assert await sender.counts() == [(1, "Open", 9, 9, 0)]
    ends = [sender.alert(f"pod-{number}", firing=False) for number in range(4)]
    for process in replicas:
        assert await sender.post(process, ends) == (200, {"accepted": 4, **TAKEN})
        assert await sender.counts() == [(1, "Open", 9, 5, 4)]
    assert await sender.post(replicas[0], [sender.alert("pod-0", began=60)]) == (
        200,
        {"accepted": 1, **TAKEN},
    )
    assert await sender.counts() == [(1, "Open", 10, 6, 3)]


async def test_start_that_moves_back_is_the_same_alert_and_an_end_ends_it(
    replica: NewReplica, sender: Sender
) -> None:
    """Two Prometheus servers evaluate one rule: Alertmanager posts the earlier start of the two."""
    one, other = await replica("replica-0"), await replica("replica-1")
    await sender.policy()
    for process in (one, other):
        await process.obeys(1)
    now = datetime.now(UTC)
    first, earlier = now.isoformat(), (now - timedelta(seconds=30)).isoformat()
    alerts = sender.alerts(5)
    for process, starts in ((one, first), (other, earlier), (one, first), (other, earlier)):
        status, _ = await sender.post(process, [alert | {"startsAt": starts} for alert in alerts])
        assert status == 200
    counted = "status.signals.total status.signals.firing status.signals.resolved"
    assert await sender.counts(counted) == [(5, 5, 0)]
    ends = {"status": "resolved", "startsAt": earlier, "endsAt": datetime.now(UTC).isoformat()}
    await sender.post(one, [alert | ends for alert in alerts])
    await sender.come_to([(5, 0, 5)], counted)


async def test_alert_that_was_resolved_for_want_of_news_fires_again_with_its_start(
    process: OperatorProcess, sender: Sender
) -> None:
    (fires,) = sender.alerts(1)
    ends = fires | {"status": "resolved", "endsAt": datetime.now(UTC).isoformat()}
    for report in (fires, ends, fires):
        assert (await sender.post(process, [report]))[0] == 200
    said = "status.signals.total status.signals.firing status.conditions.Recovered.status"
    await sender.come_to([(1, 1, "False")], said)


async def test_alerts_and_signals_of_a_group_are_one_storm(replica: NewReplica, sender: Sender) -> None:
    process = await replica()
    await sender.policy()
    await sender.accepted()
    await sender.post(process, sender.alerts(5))
    signal = {
        "apiVersion": "stormfold.dev/v1alpha1",
        "kind": "Signal",
        "metadata": {"name": "by-hand", "namespace": sender.namespace},
        "spec": {"name": "PodDown", "target": {"kind": "Pod", "name": "pod-9"}},
    }
    await sender.api.create(signal)
    await sender.come_to([(1, "Open", 6, 6, 0)])
    assert await sender.post(process, sender.alerts(5)) == (200, {"accepted": 5, **TAKEN})
    assert await sender.counts() == [(1, "Open", 6, 6, 0)]


async def test_repeat_of_an_alert_opens_no_storm_after_its_own_is_closed(
    replica: NewReplica, sender: Sender
) -> None:
    process = await replica()
    await sender.policy()
    await sender.accepted()
    await sender.post(process, sender.alerts(5))
    (request,) = await sender.requests()
    done = {"status": {"remediation": {"phase": "Succeeded"}}}
    name = request["metadata"]["name"]
    await sender.api.patch("RemediationRequest", name, sender.namespace, done, subresource="status")
    await sender.come_to([(1, "Closed", 5, 5, 0)])
    assert await sender.post(process, sender.alerts(5)) == (200, {"accepted": 5, **TAKEN})
    assert await sender.counts() == [(1, "Closed", 5, 5, 0)]
    assert await sender.post(process, [sender.alert("pod-9")]) == (200, {"accepted": 1, **TAKEN})
    assert await sender.counts() == [(1, "Closed", 5, 5, 0), (2, "Open", 1, 6, 0)], "the five fire on"


async def test_alert_that_no_policy_governs_is_said_to_be_rejected(
    replica: NewReplica, sender: Sender
) -> None:
    process = await replica()
    status, answer = await sender.post(process, sender.alerts(1))
    assert (status, answer["accepted"]) == (200, 0)
    assert [refusal["reason"] for refusal in answer["rejected"]] == ["NoPolicyMatches"]


@pytest.mark.parametrize("emptied", [False, True], ids=["Redis kept", "Redis emptied"])
async def test_alerts_stay_in_the_request_that_lists_them_when_their_policy_is_gone(
    replica: NewReplica, sender: Sender, valkey: Valkey, emptied: bool
) -> None:
    before = await replica("replica-0")
    await sender.policy()
    await before.obeys(1)
    await sender.post(before, sender.alerts(5))
    await sender.come_to([(1, "Open", 5, 5, 0)])
    await sender.api.delete("StormPolicy", "team", sender.namespace)
    before.kill()
    if emptied:
        valkey.command("FLUSHALL")
    after = await replica("replica-1")
    await sender.policy(groupBy=["namespace"])
    await after.obeys(1)
    # They are repeated, their starts move back, and one ends. One is new: its storm is open.
    for began in (0, -30):
        assert (await sender.post(after, sender.alerts(5, began=began)))[0] == 200
    ends = {"endsAt": datetime.now(UTC).isoformat()}
    await sender.post(after, [sender.alert("pod-0", firing=False) | ends, sender.alert("pod-9")])
    said = "status.signals.total status.signals.firing status.signals.resolved status.conditions.Exact.status"
    await sender.come_to([(6, 5, 1, "True")], said)
