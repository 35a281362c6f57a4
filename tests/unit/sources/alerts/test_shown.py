"""What a request shows of the alerts that senders post: each body, its first alert."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from tests.harness.values import NOBODY, T0, version

from stormfold.policy.router import Router
from stormfold.sources.alerts.parser import AlertParser

ROOT = Path(__file__).parents[4]
EXAMPLES = ROOT / "examples" / "alertmanager"
GRAPH = "http://prometheus.monitoring:9090/graph"
SHOWING = version().showing
Shown = tuple[str, str | None, str | None, str | None]
"""Name, summary, runbook, and where the alert was made."""

OURS: dict[str, Shown] = {
    "firing": ("KubePodCrashLooping", "A container of the pod crashes again and again.", None, GRAPH),
    "grafana": (
        "Checkout is slow",
        "The 99th percentile is over 2 s.",
        None,
        "https://grafana.example.org/alerting/grafana/cdq1x/view?orgId=1",
    ),
    "mixed-batch": ("KubePodCrashLooping", "A container of the pod crashes again and again.", None, GRAPH),
    "node": ("KubeNodeNotReady", "The node has not been ready for 15 minutes.", None, GRAPH),
    "one-bad-alert": (
        "TargetDown",
        "Prometheus cannot reach one in ten pods of the service.",
        None,
        GRAPH,
    ),
    "own-severities": ("PaymentsDown", "No payment has gone through for 2 minutes.", None, GRAPH),
    "resolved": ("KubePodCrashLooping", "A container of the pod crashes again and again.", None, GRAPH),
    "volume": ("KubePersistentVolumeFillingUp", "The volume has less than 3 % left.", None, GRAPH),
}
KUBERNAUT = "https://prometheus.kubernaut.io/graph?g0.expr="
FOREIGN: dict[str, Shown] = {
    "cpu-throttling-alert": (
        "CPUThrottlingHigh",
        "High CPU throttling detected",
        "https://runbooks.kubernaut.io/CPUThrottlingHigh",
        f"{KUBERNAUT}container_cpu_cfs_throttled_periods_total",
    ),
    "pod-crash-alert": (
        "PodCrashLooping",
        "Pod is crash looping",
        "https://runbooks.kubernaut.io/PodCrashLooping",
        f"{KUBERNAUT}kube_pod_container_status_restarts_total",
    ),
    "high-memory": (
        "HighMemoryUsage",
        "High memory usage on pod web-app-567abc",
        "https://wiki.kubernaut.io/runbooks/memory",
        "http://prometheus.kubernaut.io:9090/graph?g0.expr=memory_usage",
    ),
    "prometheus-alert-p0": (
        "DatabaseOutage",
        "Production database is unreachable",
        "https://runbooks.example.com/database-outage",
        "http://prometheus.example.com/graph?g0.expr=pg_up%7Binstance%3D%22postgres-primary%22%7D+%3D%3D+0&g0.tab=1",
    ),
}
"""Bodies that nobody of this project wrote; they are not part of it, and not on every machine."""
BODIES = {path.stem: path for path in sorted(EXAMPLES.glob("*.json"))}
FOREIGN_BODIES = {
    path.stem: path
    for base in ROOT.parents
    for path in sorted((base / "shared" / "data" / "kubernaut").rglob("*.json"))
    if path.stem in FOREIGN
}


def first_of(path: Path) -> Shown:
    """What a sample says of the first alert of a body."""
    body = AlertParser("ops", Router())(path.read_bytes(), post=NOBODY, now_ms=T0)
    sample = orjson.loads(SHOWING.sample(body.arrivals[0]))
    return sample["name"], *(sample.get(field) for field in ("summary", "runbookURL", "generatorURL"))


def test_each_example_has_a_row() -> None:
    assert BODIES.keys() == OURS.keys()


@pytest.mark.parametrize("name", OURS)
def test_example_shows_what_its_alerts_say(name: str) -> None:
    assert first_of(BODIES[name]) == OURS[name]


@pytest.mark.parametrize("name", FOREIGN_BODIES)
def test_body_of_another_project_shows_what_its_alerts_say(name: str) -> None:
    assert first_of(FOREIGN_BODIES[name]) == FOREIGN[name]


LONG = "x" * 300


@pytest.mark.parametrize(
    ("labels", "truncated"),
    [
        pytest.param({"alertname": "Down", "why": "x" * 256}, None, id="whole"),
        pytest.param({"alertname": "Down", "why": LONG}, True, id="a value"),
        pytest.param({"alertname": LONG}, True, id="its name"),
        pytest.param({"alertname": "Down", LONG: "x"}, True, id="the name of a label"),
    ],
)
def test_sample_of_an_alert_of_which_something_was_cut_when_it_was_read_says_so(
    labels: dict[str, str], truncated: bool | None
) -> None:
    alert = {"status": "firing", "labels": labels, "startsAt": "2026-01-01T00:00:00Z"}
    body = orjson.dumps({"version": "4", "alerts": [alert]})
    [arrival] = AlertParser("ops", Router())(body, post=NOBODY, now_ms=T0).arrivals
    assert orjson.loads(SHOWING.sample(arrival)).get("truncated") is truncated
