"""What the bodies of real senders become, alert by alert."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import pytest
from tests.harness.webhook_bodies import parse

from stormfold.model.arrival import AlertRef, Target
from stormfold.sources.alerts.parser import BodyError

ROOT = Path(__file__).parents[4]
EXAMPLES = ROOT / "examples" / "alertmanager"
FOREIGN = [
    path
    for base in ROOT.parents[:2]
    for path in sorted((base / "shared" / "data" / "kubernaut").rglob("*.json"))
]
"""Bodies that nobody of this project wrote; they are not part of it, and not on every machine."""
Row = tuple[str, str, str, str, str]
"""Name, namespace, severity or its word, state, target; of a refused alert only what is wrong."""


def rows(path: Path) -> list[Row | str]:
    """What each alert of a body became, in its order."""
    body = parse(path.read_bytes(), now_ms=int(datetime(2026, 12, 1, tzinfo=UTC).timestamp() * 1000))
    found: dict[int, Row | str] = {refusal.index: refusal.message for refusal in body.refusals}
    for arrival in body.arrivals:
        target = arrival.target
        found[cast("AlertRef", arrival.ref).index] = (
            arrival.name,
            arrival.namespace,
            arrival.severity_text or arrival.severity.value,
            "firing" if arrival.firing else "resolved",
            f"{target.kind}/{target.name}" if target else "",
        )
    return [found[index] for index in sorted(found)]


EXAMPLE_ROWS: dict[str, list[Row | str]] = {
    "firing.json": [
        ("KubePodCrashLooping", "shop", "critical", "firing", "Pod/checkout-7c9b5d6f48-8hx2v"),
        ("KubePodCrashLooping", "shop", "critical", "firing", "Pod/checkout-7c9b5d6f48-k4mzd"),
    ],
    "resolved.json": [
        ("KubePodCrashLooping", "shop", "critical", "resolved", "Pod/checkout-7c9b5d6f48-8hx2v")
    ],
    "mixed-batch.json": [
        ("KubePodCrashLooping", "shop", "critical", "resolved", "Pod/checkout-7c9b5d6f48-8hx2v"),
        ("KubeDeploymentReplicasMismatch", "shop", "warning", "firing", "Deployment/checkout"),
        ("KubeJobFailed", "batch", "warning", "firing", "Job/nightly-report-29207400"),
        ("CPUThrottlingHigh", "shop", "info", "firing", "Pod/api-6b7f8d9c5-tq2wn"),
        ("Watchdog", "ops", "none", "firing", ""),
    ],
    "own-severities.json": [
        ("PaymentsDown", "shop", "P0", "firing", "Deployment/payments"),
        ("SearchSlow", "search", "sev1", "firing", "StatefulSet/index"),
        ("BackupMissed", "batch", "page", "firing", "CronJob/backup"),
        ("DiskSlow", "platform", "critical", "firing", "DaemonSet/log-shipper"),
    ],
    "node.json": [
        ("KubeNodeNotReady", "monitoring", "critical", "firing", "Node/worker-7"),
        ("NodeFilesystemAlmostOutOfSpace", "monitoring", "warning", "firing", "Node/worker-7"),
    ],
    "volume.json": [
        (
            "KubePersistentVolumeFillingUp",
            "shop",
            "critical",
            "firing",
            "PersistentVolumeClaim/data-orders-db-0",
        )
    ],
    "grafana.json": [
        ("Checkout is slow", "shop", "critical", "firing", "Pod/checkout-7c9b5d6f48-8hx2v"),
        ("DatasourceNoData", "shop", "unknown", "firing", "Namespace/shop"),
    ],
    "one-bad-alert.json": [
        ("TargetDown", "shop", "warning", "firing", "Service/orders"),
        "labels: must have an alertname",
        ("KubeHpaMaxedOut", "shop", "warning", "firing", "HorizontalPodAutoscaler/orders"),
    ],
}


@pytest.mark.parametrize("name", EXAMPLE_ROWS)
def test_example_becomes(name: str) -> None:
    assert rows(EXAMPLES / name) == EXAMPLE_ROWS[name]


def test_every_example_is_in_the_table() -> None:
    assert {path.name for path in EXAMPLES.iterdir()} == set(EXAMPLE_ROWS)


@pytest.mark.skipif(
    not FOREIGN, reason="../shared/data/kubernaut is not on this machine: only our own examples were read"
)
def test_bodies_of_others_become_what_their_labels_say() -> None:
    read = 0
    for path in FOREIGN:
        try:
            alerts = json.loads(path.read_bytes())["alerts"]
        except ValueError:
            with pytest.raises(BodyError):
                parse(path.read_bytes())
            continue
        body = parse(path.read_bytes(), now_ms=int(datetime(2026, 12, 1, tzinfo=UTC).timestamp() * 1000))
        assert body.refusals == [], path
        for alert, arrival in zip(alerts, body.arrivals, strict=True):
            labels = alert["labels"]
            assert arrival.target == Target("v1", "Pod", labels["pod"], labels["namespace"]), path
            assert arrival.labels == labels
            assert (arrival.name, arrival.fingerprint) == (labels["alertname"], alert["fingerprint"])
            assert arrival.firing == (alert["status"] == "firing")
            assert (arrival.severity_text or arrival.severity) == labels["severity"]
            started = datetime.fromisoformat(alert["startsAt"]).timestamp()
            assert cast("AlertRef", arrival.ref).starts_s == math.floor(started)
            read += 1
    assert read > 0
