"""What the alerts that others have sent are about. They are not part of this project, and not on every
machine."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from stormfold.sources.alerts.targets import target_and_namespace

ROOT = Path(__file__).parents[4]
DATA = next(
    (base / "shared" / "data" for base in ROOT.parents[:2] if (base / "shared" / "data").exists()), None
)

pytestmark = pytest.mark.skipif(
    DATA is None, reason="../shared/data is not on this machine: nothing was read"
)

KUBERNAUT = {
    ("CPUThrottlingHigh", "Pod/production/backend-api-7f8d9c6b5a-456def"): 1,
    ("CPUThrottlingHigh", "Pod/staging/api-gateway-6d4b79c5f9-abcdef"): 1,
    ("DatabaseOutage", "Pod/production/postgres-primary-0"): 1,
    ("HighMemoryUsage", "Pod/production/app-xyz-abc123"): 1,
    ("HighMemoryUsage", "Pod/production/frontend-5d6b7c8d9f-123abc"): 1,
    ("HighMemoryUsage", "Pod/production/web-app-567abc"): 1,
    ("HighMemoryUsage", "Pod/production/webapp-deployment-5c7d8f9b4c-xyz123"): 2,
    ("PodCrashLooping", "Pod/production/api-server-789def"): 1,
    ("PodCrashLooping", "Pod/production/payment-service-7b9d5c4f6-qwerty"): 1,
    ("PodNotReady", "Pod/production/database-backup-cronjob-789ghi"): 1,
    ("ProductionOutage", "Pod/production/api-server-xyz"): 1,
}
KARMA = {
    ("Free_Disk_Space_Too_Low", "Instance//server5"): 2,
    ("HTTP_Probe_Failed", "Instance//web1"): 2,
    ("HTTP_Probe_Failed", "Instance//web2"): 2,
    **{("Host_Down", f"Instance//server{n}"): 2 for n in range(1, 9)},
    ("Memory_Usage_Too_High", "Instance//server2"): 2,
}
"""Each alert stands there once for each of two receivers."""


def about(alerts: list[dict[str, Any]]) -> Counter[tuple[str, str]]:
    """Alert name and target → how many alerts."""
    found: Counter[tuple[str, str]] = Counter()
    for alert in alerts:
        target, _ = target_and_namespace(alert["labels"])
        assert target is not None, alert
        found[alert["labels"]["alertname"], f"{target.kind}/{target.namespace or ''}/{target.name}"] += 1
    return found


def test_alerts_of_kubernaut_are_about_pods() -> None:
    assert DATA is not None
    alerts: list[dict[str, Any]] = []
    for path in sorted((DATA / "kubernaut").rglob("*.json")):
        if path.stem != "invalid-payload":  # malformed on purpose
            alerts += json.loads(path.read_text())["alerts"]
    assert about(alerts) == KUBERNAUT


def test_alerts_of_karma_are_about_hosts_outside_of_the_cluster() -> None:
    assert DATA is not None
    groups = json.loads((DATA / "karma" / "0.31.0" / "groups.json").read_text())
    assert about([alert for group in groups for alert in group["alerts"]]) == KARMA
