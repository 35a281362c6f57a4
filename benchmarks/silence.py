"""Whether anything alerts in normal operation, with a real Alertmanager and the shipped receiver.

Some alerts fire all the time, some come and go below a threshold that discards, two storms come, one of which
ends. The metrics of the Alertmanager and of the operator are read every 15 s, and promtool holds them against
the shipped rules and those of kube-prometheus about notifications that fail.

    .venv/bin/python -m benchmarks.silence      # MINUTES=3 for less
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from tests.harness import invocation, programs
from tests.harness.alertmanager import Alert, Alertmanager
from tests.harness.manifests import MANIFESTS
from tests.harness.operator import Metrics, OperatorProcess
from tests.harness.world import OPERATOR_NAMESPACE, Replica, World, begun

from lab.building import ensure_binaries
from lab.valkey import Valkey

SCRAPE_SECONDS = 15
RESENT_SECONDS = 30
"""Prometheus tells of an alert that fires about so often."""
RULES = MANIFESTS / "components" / "monitoring" / "prometheusrule.yaml"
CONFIG = MANIFESTS / "alertmanager" / "alertmanager.yml"
DEFAULT_POLICY = MANIFESTS / "base" / "default-policy.yaml"
FAILED = "rate(alertmanager_notifications_failed_total[5m])"
MADE = "rate(alertmanager_notifications_total[5m])"
NOTIFICATIONS = {
    "name": "alertmanager",
    "rules": [
        {
            "alert": "AlertmanagerFailedToSendAlerts",
            "expr": f"{FAILED} / ignoring (reason) group_left {MADE} > 0.01",
            "for": "5m",
        },
        {
            "alert": "AlertmanagerClusterFailedToSendAlerts",
            "expr": f"min by (integration) ({FAILED} / ignoring (reason) group_left {MADE}) > 0.01",
            "for": "5m",
        },
    ],
}
"""What kube-prometheus says of notifications that fail."""


@dataclass(frozen=True)
class Trouble:
    """An alert that fires from one second to another."""

    name: str
    namespace: str
    pod: str
    begins: float
    ends: float

    def alert(self, began: datetime, second: float) -> Alert:
        """As Prometheus tells of it in a second."""
        labels = {"alertname": self.name, "severity": "warning", "namespace": self.namespace, "pod": self.pod}
        starts = began + timedelta(seconds=self.begins)
        ends = began + timedelta(seconds=self.ends) if second >= self.ends else None
        return Alert(labels, starts, ends)


def troubles(seconds: float) -> Iterator[Trouble]:
    """What goes on in so many seconds: `batch` discards what stays below five within a minute."""
    yield Trouble("Watchdog", "monitoring", "prometheus-0", 0, seconds)
    for number in range(6):
        yield Trouble("KubePodNotReady", "shop", f"web-{number}", 0, seconds)
    for number in range(3):
        yield Trouble("CPUThrottlingHigh", "batch", f"job-{number}", 0, seconds)
    for number, begins in enumerate(range(5, int(seconds), 20)):
        yield Trouble("KubeJobFailed", "batch", f"run-{number}", begins, begins + 30)
    for number, begins in enumerate(range(10, int(seconds), 60)):
        yield Trouble("KubePodCrashLooping", "shop", f"cart-{number}", begins, begins + 40)
    for number in range(60):
        yield Trouble("KubeContainerWaiting", "batch", f"many-{number}", seconds * 0.2, seconds * 0.45)
    for number in range(200):
        yield Trouble("TargetDown", "shop", f"all-{number}", seconds * 0.6, seconds)


@dataclass
class Scraped:
    """What Prometheus would have of one process: series → its value at each scrape."""

    instance: str
    url: str
    scrapes: int = 0
    series: dict[str, list[float | None]] = field(default_factory=dict)
    last: Metrics = field(default_factory=lambda: Metrics(()))

    async def scrape(self, session: aiohttp.ClientSession, began: float) -> None:
        """Read all once more. A time of the clock is told from the beginning on, as promtool's clock is."""
        async with session.get(f"{self.url}/metrics") as response:
            self.last = Metrics.parse(await response.text())
        for name, labels, value in self.last.samples:
            if not name.startswith(("stormfold_", "alertmanager_notifications_")):
                continue
            named = {**labels, "instance": self.instance}
            text = ",".join(f"{key}={json.dumps(value)}" for key, value in sorted(named.items()))
            values = self.series.setdefault(f"{name}{{{text}}}", [])
            values += [None] * (self.scrapes - len(values))
            values.append(value - began if name.endswith("_timestamp_seconds") and value else value)
        self.scrapes += 1

    def input_series(self) -> list[dict[str, str]]:
        """As promtool reads them."""
        return [
            {"series": series, "values": " ".join("_" if v is None else f"{v:.6f}" for v in values)}
            for series, values in self.series.items()
        ]


def fired(promtool: Path, folder: Path, scraped: list[Scraped], seconds: float) -> list[str]:
    """The alerts that fired at a full minute, as promtool tells of them."""
    groups = [*yaml.safe_load(RULES.read_text())["spec"]["groups"], NOTIFICATIONS]
    (folder / "rules.yaml").write_text(yaml.safe_dump({"groups": groups}))
    names = sorted({rule["alert"] for group in groups for rule in group["rules"]})
    found = []
    for name in names:
        asked = [{"alertname": name, "eval_time": f"{m}m"} for m in range(1, int(seconds // 60) + 1)]
        test = {
            "interval": f"{SCRAPE_SECONDS}s",
            "input_series": [series for one in scraped for series in one.input_series()],
            "alert_rule_test": asked,
        }
        tests = {"rule_files": ["rules.yaml"], "evaluation_interval": "15s", "tests": [test]}
        (folder / "tests.yaml").write_text(yaml.safe_dump(tests))
        command: list[str | Path] = [promtool, "test", "rules", folder / "tests.yaml"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        said = done.stdout + done.stderr
        if done.returncode:
            found.append(name if f"alertname: {name}" in said else f"{name}: {said}")
    return found


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[tuple[World, OperatorProcess]]:
    """An API server, a Valkey, an operator, the shipped policy and one that discards."""
    async with begun(ensure_binaries(), folder, ("shop", "batch", "monitoring")) as (stack, plane, api):
        valkey = stack.enter_context(Valkey())
        world = World(plane, api, folder)
        operator = OperatorProcess(
            redis_url=valkey.url,
            kubeconfig=plane.kubeconfig,
            log=folder / "operator.log",
            namespace=OPERATOR_NAMESPACE,
            webhook_token_file=world.token_file,
        )
        stack.callback(operator.kill)
        await world.start([Replica(operator)])
        await api.create(yaml.safe_load(DEFAULT_POLICY.read_text()))
        discard = {"groupBy": ["name"], "belowThreshold": "Discard"}
        await world.apply("batch", [{"kind": "StormPolicy", "namespace": "batch", "spec": discard}])
        await operator.obeys(2)
        yield world, operator


def shipped(url: str, token_file: Path) -> dict[str, Any]:
    """The configuration that is shipped, for this operator and its secret."""
    config: dict[str, Any] = yaml.safe_load(CONFIG.read_text())
    (receiver,) = [one for one in config["receivers"] if one["name"] == "stormfold"]
    (hook,) = receiver["webhook_configs"]
    hook["url"] = url
    hook["http_config"]["authorization"]["credentials_file"] = str(token_file)
    return config


async def measured(minutes: float, folder: Path) -> dict[str, Any]:
    """The figures of so many minutes."""
    seconds = minutes * 60
    async with running(folder) as (world, operator), aiohttp.ClientSession() as session:
        config = shipped(operator.webhook_url, world.token_file)
        sender = Alertmanager(programs.current_alertmanager(), config, folder / "alertmanager")
        await sender.start()
        try:
            scraped = [Scraped("alertmanager", sender.url), Scraped("operator", operator.url)]
            began, began_wall = time.monotonic(), datetime.now(UTC)
            waiting = list(troubles(seconds))
            due = {trouble: trouble.begins for trouble in waiting}
            for step in range(int(seconds / 5) + 1):
                second = step * 5.0
                await asyncio.sleep(max(0.0, began + second - time.monotonic()))
                told = [trouble for trouble, at in due.items() if at <= second]
                if told:
                    await sender.post([trouble.alert(began_wall, second) for trouble in told])
                for trouble in told:
                    over = second >= trouble.ends
                    due[trouble] = seconds * 2 if over else min(second + RESENT_SECONDS, trouble.ends)
                if step % (SCRAPE_SECONDS // 5) == 0:
                    for one in scraped:
                        await one.scrape(session, began_wall.timestamp())
            alerting = await asyncio.to_thread(fired, programs.promtool(), folder, scraped, seconds)
            made = await sender.attempts()
            failed = scraped[0].last.total("alertmanager_notifications_failed_total", integration="webhook")
            said = scraped[1].last
            return {
                "minutes": minutes,
                "alerts": len(waiting) - 1,
                "notifications": await sender.sent(),
                "notifications_failed": int(failed),
                "posts": made[0],
                "posts_failed": made[1],
                "discarded": int(said.total("stormfold_signals_discarded_total")),
                "requests": len(await world.api.list("RemediationRequest")),
                "alerting": alerting,
            }
        finally:
            await sender.stop()


def main() -> int:
    """Print one JSON line; 1 if something alerted."""
    with tempfile.TemporaryDirectory(prefix="stormfold-silence-") as folder:
        figures = asyncio.run(measured(invocation.number("MINUTES", 10), Path(folder)))
    print(json.dumps(figures))
    return 1 if figures["alerting"] else 0


if __name__ == "__main__":
    invocation.run(main)
