"""Alerts from the webhook to the request: what is answered when, and what is counted, whatever breaks
meanwhile."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.api.conftest import OPERATOR_NAMESPACE
from tests.api.nothing_lost.conftest import NewReplica
from tests.harness.alert_sender import TAKEN, WITHIN_SECONDS, Sender
from tests.harness.eventually import eventually
from tests.harness.operator import OperatorProcess
from tests.harness.scene import at
from tests.harness.stage import Stage

from lab.valkey import Valkey
from stormfold.request.alert_list import decoded

ROOT = Path(__file__).parents[3]
KARMA = next(
    (
        path
        for base in ROOT.parents
        if (path := base / "shared" / "data" / "karma" / "0.31.0" / "groups.json").exists()
    ),
    None,
)
"""What a real Alertmanager answered; it is not part of the project, and not on every machine."""
FIELD = next((path for base in ROOT.parents if (path := base / "shared" / "cases").exists()), None)
"""Bodies that people have reported; likewise."""


@pytest.fixture
async def proxied(replica: NewReplica, sender: Sender, stage: Stage, tmp_path: Path) -> OperatorProcess:
    """A replica between the proxies of `stage`, with the sender's policy in force."""
    process: OperatorProcess = await replica(
        kubeconfig=stage.api_proxy.kubeconfig(tmp_path / "alerts"), redis_url=stage.redis_proxy.url
    )
    await sender.policy()
    await sender.accepted()
    return process


@pytest.fixture
async def process(replica: NewReplica, sender: Sender) -> OperatorProcess:
    """A replica that obeys the sender's policy."""
    process: OperatorProcess = await replica()
    await sender.policy()
    await process.obeys(1)
    return process


# --- what is answered when


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
    posts = [
        sender.posting(proxied, [sender.alert(f"pod-{number}-{part}") for part in range(5)])
        for number in range(60)
    ]
    assert await asyncio.gather(*posts) == [(200, {"accepted": 5, **TAKEN})] * 60
    assert await sender.counts() == [(1, "Open", 300, 300, 0)]
    writes = [seen for seen in stage.api_proxy.seen if seen.method == "PATCH" and "/status" in seen.path]
    assert len([seen for seen in writes if "/remediationrequests/" in seen.path]) <= 4


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


async def test_replica_that_stops_answers_what_it_has_taken(proxied: OperatorProcess, sender: Sender) -> None:
    posts = [sender.posting(proxied, [sender.alert(f"pod-{number}")]) for number in range(20)]
    received = "stormfold_signals_received_total"

    async def taken() -> float:
        return (await proxied.metrics()).total(received, source="alertmanager")

    await eventually(taken, lambda number: number == 20, within=WITHIN_SECONDS, what="all posts are taken")
    assert await proxied.terminate() == 0
    assert await asyncio.gather(*posts) == [(200, {"accepted": 1, **TAKEN})] * 20
    assert await sender.counts() == [(1, "Open", 20, 20, 0)]


# --- what is counted


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


# --- whatever breaks


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


# --- what others have sent


@pytest.mark.skipif(
    KARMA is None, reason="../shared/data/karma is not on this machine: only our own examples were posted"
)
async def test_groups_of_a_real_alertmanager_become_a_request_for_each_name(
    replica: NewReplica, sender: Sender
) -> None:
    process = await replica()
    sender.namespace = OPERATOR_NAMESPACE  # the alerts name none
    await sender.policy()
    await sender.accepted()
    assert KARMA is not None
    for group in json.loads(KARMA.read_text()):
        # Each alert stands in a group of each of two receivers.
        alerts = [alert | {"status": "firing"} for alert in group["alerts"]]
        status, answer = await sender.post(process, alerts)
        assert (status, answer["accepted"]) == (200, len(alerts))
    said = "spec.name status.signals.total status.signals.firing status.resources"
    found = await sender.counts(said)
    assert sorted((name, total, firing) for name, total, firing, _ in found) == [
        ("Free_Disk_Space_Too_Low", 1, 1),
        ("HTTP_Probe_Failed", 2, 2),
        ("Host_Down", 8, 8),
        ("Memory_Usage_Too_High", 1, 1),
    ]


async def test_own_examples_of_bodies_are_taken(replica: NewReplica, sender: Sender) -> None:
    process = await replica()
    await sender.policy()
    policy = {
        "apiVersion": "stormfold.dev/v1alpha1",
        "kind": "ClusterStormPolicy",
        "metadata": {"name": "all"},
        "spec": {
            "groupBy": ["name"],
            "requestNamespace": sender.namespace,
            "groupWait": "100ms",
            "severityMap": {"P0": "critical", "sev1": "high", "page": "high"},
        },
    }
    await sender.api.create(policy)
    await eventually(
        lambda: sender.api.get("ClusterStormPolicy", "all"),
        lambda seen: at(seen, "status.conditions.Accepted.status") == "True",
        within=WITHIN_SECONDS,
    )
    taken = {}
    for path in sorted((ROOT / "examples" / "alertmanager").glob("*.json")):
        status, answer = await process.post_alerts(json.loads(path.read_text()), token=sender.token)
        taken[path.stem] = (status, answer["accepted"], [refused["reason"] for refused in answer["rejected"]])
    await sender.api.delete("ClusterStormPolicy", "all")
    assert taken == {
        "firing": (200, 2, []),
        "grafana": (200, 2, []),
        "mixed-batch": (200, 5, []),
        "node": (200, 2, []),
        "one-bad-alert": (200, 2, ["InvalidAlert"]),
        "own-severities": (200, 4, []),
        "resolved": (200, 1, []),
        "volume": (200, 1, []),
    }
    said = "spec.name status.signals.total status.signals.firing status.signals.resolved status.severity"
    assert {name: counts for name, *counts in await sender.counts(said)} == {
        "BackupMissed": [1, 1, 0, "high"],
        "CPUThrottlingHigh": [1, 1, 0, "info"],
        "Checkout is slow": [1, 1, 0, "critical"],
        "DatasourceNoData": [1, 1, 0, "unknown"],
        "DiskSlow": [1, 1, 0, "critical"],
        "KubeDeploymentReplicasMismatch": [1, 1, 0, "warning"],
        "KubeHpaMaxedOut": [1, 1, 0, "warning"],
        "KubeJobFailed": [1, 1, 0, "warning"],
        "KubeNodeNotReady": [1, 1, 0, "critical"],
        "KubePersistentVolumeFillingUp": [1, 1, 0, "critical"],
        "KubePodCrashLooping": [2, 1, 1, "critical"],
        "NodeFilesystemAlmostOutOfSpace": [1, 1, 0, "warning"],
        "PaymentsDown": [1, 1, 0, "critical"],
        "SearchSlow": [1, 1, 0, "high"],
        "TargetDown": [1, 1, 0, "warning"],
        "Watchdog": [1, 1, 0, "unknown"],
    }


@pytest.mark.skipif(
    FIELD is None, reason="../shared/cases is not on this machine: only our own examples were posted"
)
async def test_bodies_that_others_have_refused_are_taken(replica: NewReplica, sender: Sender) -> None:
    process = await replica()
    await cluster_policy(sender, "all", groupBy=["name"], requestNamespace=sender.namespace)
    assert FIELD is not None
    taken = {}
    for case in ("a01-grafana-webhook", "a07-long-label-values", "a08-many-labels"):
        for path in sorted((FIELD / case).glob("*.json")):
            body = json.loads(path.read_text())
            status, answer = await process.post_alerts(body, token=sender.token)
            shortened = answer.get("shortened", {})
            taken[path.parent.name[:3], path.stem] = (
                (status, answer["accepted"] - len(body["alerts"]), answer["rejected"]),
                (shortened.get("labelsCut", 0), shortened.get("labelsLeftOut", 0)),
            )
    await sender.api.delete("ClusterStormPolicy", "all")
    every = (200, 0, [])
    assert taken == {
        ("a01", "payload-firing"): (every, (0, 0)),
        ("a01", "payload-firing-as-version-4"): (every, (0, 0)),
        ("a01", "payload-test"): (every, (0, 0)),
        ("a07", "payload-cgroup"): (every, (5, 0)),
        ("a07", "payload-query"): (every, (2, 0)),
        ("a08", "payload"): (every, (0, 0)),
    }


# --- namespaces that are not there


async def test_alert_of_a_namespace_that_does_not_exist_is_told_at_once_and_the_others_go_on(
    replica: NewReplica, sender: Sender
) -> None:
    process = await replica(environment={"STORMFOLD_WEBHOOK_WAIT_SECONDS": "30"})
    await sender.policy()
    await sender.accepted()
    await cluster_policy(sender, "all", groupBy=["name", "namespace"])
    new = f"{sender.namespace}-new"
    stray = [alert | {"labels": alert["labels"] | {"namespace": new}} for alert in sender.alerts(3)]
    message = f"the alert is about namespace '{new}', which does not exist"
    refusal = {"reason": "NamespaceNotFound", "message": message}
    status, answer = await sender.post(process, stray)
    assert (status, answer["reason"]) == (400, "NoAlertUsable")
    assert answer["message"] == f"no alert of 3 can be used; the first: {message}"
    assert answer["rejected"] == [{"index": index, **refusal} for index in range(3)]
    assert await sender.post(process, [stray[0], *sender.alerts(2)]) == (
        200,
        {"accepted": 2, "rejected": [{"index": 0, **refusal}], "discarded": [], "pending": []},
    )
    # It is taken as soon as somebody has made the namespace.
    await sender.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": new}})
    await eventually(
        lambda: sender.post(process, stray),
        lambda seen: seen == (200, {"accepted": 3, **TAKEN}),
        within=WITHIN_SECONDS,
        what="the namespace is known",
    )
    await sender.api.delete("ClusterStormPolicy", "all")


async def test_alert_of_a_namespace_that_was_just_made_is_taken(replica: NewReplica, sender: Sender) -> None:
    process = await replica()
    await cluster_policy(sender, "all", groupBy=["name", "namespace"])
    for number in range(5):
        new = f"{sender.namespace}-{number}"
        await sender.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": new}})
        alert = sender.alert("pod-1")
        alert["labels"]["namespace"] = new
        assert await sender.post(process, [alert]) == (200, {"accepted": 1, **TAKEN})
    await sender.api.delete("ClusterStormPolicy", "all")


async def test_policy_whose_requests_have_no_namespace_is_named_and_foreign_namespaces_do_no_harm(
    replica: NewReplica, sender: Sender
) -> None:
    process = await replica()
    alert = sender.alert("pod-1")
    alert["labels"]["namespace"] = "of-another-cluster"
    await cluster_policy(sender, "all", groupBy=["name"], requestNamespace=f"{sender.namespace}-not-there")
    status, answer = await sender.post(process, [alert])
    assert (status, [refused["reason"] for refused in answer["rejected"]]) == (
        400,
        ["RequestNamespaceNotFound"],
    )
    assert answer["rejected"][0]["message"] == (
        f"ClusterStormPolicy/all makes its requests in namespace '{sender.namespace}-not-there', which does "
        f"not "
        "exist: create it, or change requestNamespace"
    )
    await cluster_policy(sender, "all", groupBy=["name"], requestNamespace=sender.namespace)
    await eventually(
        lambda: sender.post(process, [alert]),
        lambda seen: seen == (200, {"accepted": 1, **TAKEN}),
        within=WITHIN_SECONDS,
        what="the policy names a namespace that is there",
    )
    await sender.api.delete("ClusterStormPolicy", "all")


async def cluster_policy(sender: Sender, name: str, **spec: Any) -> None:
    """Make a ClusterStormPolicy, or change it, and wait until it is in force."""
    known = await sender.api.get("ClusterStormPolicy", name)
    if known:
        await sender.api.patch("ClusterStormPolicy", name, None, {"spec": spec})
    else:
        await sender.api.create(
            {
                "apiVersion": "stormfold.dev/v1alpha1",
                "kind": "ClusterStormPolicy",
                "metadata": {"name": name},
                "spec": {"groupWait": "100ms"} | spec,
            }
        )
    generation = 1 + (known["metadata"]["generation"] if known else 0)
    await eventually(
        lambda: sender.api.get("ClusterStormPolicy", name),
        lambda seen: (
            at(seen, "status.observedGeneration") == generation
            and at(seen, "status.conditions.Accepted.status") == "True"
        ),
        within=WITHIN_SECONDS,
        what="the policy is in force",
    )
