"""Alerts as real senders post them, and alerts of namespaces that are not there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.api.conftest import OPERATOR_NAMESPACE
from tests.api.nothing_lost.conftest import NewReplica
from tests.harness.alert_sender import TAKEN, Sender
from tests.harness.eventually import eventually
from tests.harness.scene import WITHIN_SECONDS, at

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


async def test_alert_of_a_namespace_that_does_not_exist_is_told_at_once_and_the_others_go_on(
    replica: NewReplica, sender: Sender
) -> None:
    process = await replica(environment={"STORMFOLD_WEBHOOK_WAIT_SECONDS": "30"})
    await sender.policy()
    await sender.accepted()
    await cluster_policy(sender, "all", groupBy=["name", "namespace"])
    new = f"{sender.namespace}-new"
    stray = [alert | {"labels": alert["labels"] | {"namespace": new}} for alert in sender.alerts(3)]
    message = f"the alert is about namespace '{new}', which does not exist: fix that label in the alert"
    refusal = {"reason": "NamespaceNotFound", "message": message}
    status, answer = await sender.post(process, stray)
    assert (status, answer["reason"]) == (400, "NoAlertUsable")
    assert answer["message"] == f"no alert of 3 can be used; the first: {message}"
    assert answer["rejected"] == [{"index": index, **refusal} for index in range(3)]
    assert await sender.post(process, [stray[0], *sender.alerts(2)]) == (
        200,
        {"accepted": 2, "rejected": [{"index": 0, **refusal}], "discarded": [], "pending": []}
        | {"docs": "https://stormfold.dev/reasons/"},
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
