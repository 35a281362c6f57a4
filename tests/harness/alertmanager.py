"""Real Alertmanagers, one or a pair, on loopback: what they are told, what they tell, and what they count."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from tests.harness.eventually import eventually
from tests.harness.operator import Metrics

from lab.process import Server, free_port, tail

Config = dict[str, Any]

START_SECONDS = 30.0


@dataclass(frozen=True)
class Alert:
    """One alert as Prometheus would post it; (labels, `starts_at`) is what a receiver is to count once."""

    labels: dict[str, str]
    starts_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    ends_at: datetime | None = None
    """None: it fires, for as long as Alertmanager's `resolve_timeout` says."""

    def resolved(self) -> Alert:
        """The same alert, over since now."""
        return replace(self, ends_at=datetime.now(UTC))

    def manifest(self) -> dict[str, Any]:
        """The alert in the words of the API, version 2."""
        ends = {} if self.ends_at is None else {"endsAt": self.ends_at.isoformat()}
        return {
            "labels": self.labels,
            "annotations": {"summary": f"{self.labels['alertname']} of {self.labels.get('pod', 'all')}"},
            "startsAt": self.starts_at.isoformat(),
            **ends,
        }


def pod_alerts(name: str, count: int, *, first: int = 0, **labels: str) -> list[Alert]:
    """One alert about each of `count` pods."""
    return [
        Alert({"alertname": name, "severity": "critical", "pod": f"pod-{number:05}", **labels})
        for number in range(first, first + count)
    ]


def config(
    urls: Sequence[str],
    *,
    token_file: Path | None = None,
    ca_file: Path | None = None,
    group_by: Sequence[str] = ("alertname", "namespace"),
    group_wait: str = "300ms",
    group_interval: str = "500ms",
    repeat_interval: str = "1h",
) -> Config:
    """A configuration with one receiver that sends everything to every URL, quicker than any in earnest."""
    http: Config = {}
    if token_file is not None:
        http["authorization"] = {"credentials_file": str(token_file)}
    if ca_file is not None:
        http["tls_config"] = {"ca_file": str(ca_file)}
    hooks = [{"url": url, "send_resolved": True, "max_alerts": 0, "http_config": http} for url in urls]
    route = {
        "receiver": "stormfold",
        "group_by": list(group_by),
        "group_wait": group_wait,
        "group_interval": group_interval,
        "repeat_interval": repeat_interval,
    }
    return {"route": route, "receivers": [{"name": "stormfold", "webhook_configs": hooks}]}


class Alertmanager:
    """One Alertmanager process with a folder of its own for configuration, data and log; `start` and `stop`
    it.

    With `cluster` it listens for others, and with `peer` it joins one that does. A member of a cluster leaves
    it to the one before it for `peer_timeout` to send, so it sends nothing where that one succeeds.
    """

    def __init__(
        self,
        program: Path,
        configuration: Config | str,
        folder: Path,
        *,
        cluster: bool = False,
        peer: Alertmanager | None = None,
        peer_timeout: str = "5s",
    ) -> None:
        folder.mkdir()
        text = configuration if isinstance(configuration, str) else yaml.safe_dump(configuration)
        (folder / "alertmanager.yml").write_text(text)
        self.log = folder / "alertmanager.log"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.cluster_address = f"127.0.0.1:{free_port()}" if cluster or peer else ""
        self._command: list[str | Path] = [
            program,
            f"--config.file={folder / 'alertmanager.yml'}",
            f"--storage.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            f"--cluster.listen-address={self.cluster_address}",
        ]
        if self.cluster_address:
            self._command += [
                f"--cluster.advertise-address={self.cluster_address}",
                "--cluster.gossip-interval=50ms",
                "--cluster.settle-timeout=2s",
                f"--cluster.peer-timeout={peer_timeout}",
            ]
        if peer is not None:
            self._command.append(f"--cluster.peer={peer.cluster_address}")
        self._members = 1 if peer is None else 2
        self._server: Server | None = None

    @property
    def pid(self) -> int:
        """Of the process that was started last."""
        assert self._server is not None, "the Alertmanager was not started"
        return self._server.pid

    async def start(self) -> None:
        """Start it and wait until it is ready; a second member, until both know each other and are settled.

        Raises:
            AssertionError: it ended, or is not ready in time; says what it logged.
        """
        self._server = Server("alertmanager", self._command, self.log)
        await eventually(self._ready_or_ended, within=START_SECONDS, what="the Alertmanager is ready")
        assert self._server.running, f"the Alertmanager ended while starting:\n{tail(self.log)}"

    async def stop(self) -> None:
        """End it politely; nothing if it was not started."""
        if self._server is not None:
            await asyncio.to_thread(self._server.stop)

    async def post(self, alerts: Iterable[Alert]) -> None:
        """Tell it of alerts, all in one body, as Prometheus does."""
        async with (
            aiohttp.ClientSession(self.url) as session,
            session.post("/api/v2/alerts", json=[alert.manifest() for alert in alerts]) as response,
        ):
            assert response.status == 200, await response.text()

    async def alerts(self) -> list[dict[str, Any]]:
        """The alerts that it knows and that are not over."""
        async with aiohttp.ClientSession(self.url) as session, session.get("/api/v2/alerts") as response:
            found: list[dict[str, Any]] = await response.json()
            return found

    async def metrics(self) -> Metrics:
        """What `/metrics` says now."""
        async with aiohttp.ClientSession(self.url) as session, session.get("/metrics") as response:
            return Metrics.parse(await response.text())

    async def sent(self) -> int:
        """How many notifications it has tried to deliver, each once however often it was repeated."""
        return int((await self.metrics()).total("alertmanager_notifications_total", integration="webhook"))

    async def attempts(self) -> tuple[int, int]:
        """How many HTTP requests it made for that, and how many of them failed."""
        metrics = await self.metrics()
        prefix = "alertmanager_notification_requests"
        return (
            int(metrics.total(f"{prefix}_total", integration="webhook")),
            int(metrics.total(f"{prefix}_failed_total", integration="webhook")),
        )

    async def looks(self) -> int:
        """How often it has looked into its notes whether a group needs a notification, and did or did not
        send one."""
        return int((await self.metrics()).total("alertmanager_nflog_queries_total"))

    async def _ready_or_ended(self) -> bool:
        assert self._server is not None
        if not self._server.running:
            return True
        async with (
            aiohttp.ClientSession(self.url) as session,
            session.get("/-/ready") as ready,
            session.get("/api/v2/status") as response,
        ):
            cluster = (await response.json())["cluster"]
            alone = not self.cluster_address
            settled = cluster["status"] == "ready" and len(cluster["peers"]) >= self._members
            return ready.status == 200 and (alone or settled)


class NewAlertmanager:
    """Starts Alertmanagers of a program and waits until each is ready; the options of a call are those of
    `Alertmanager`."""

    def __init__(self, program: Path, folder: Path) -> None:
        self._program = program
        self._folder = folder
        self.made: list[Alertmanager] = []

    async def __call__(self, configuration: Config | str, **options: Any) -> Alertmanager:
        """One more, with a folder of its own."""
        one = Alertmanager(
            self._program, configuration, self._folder / f"alertmanager-{len(self.made)}", **options
        )
        self.made.append(one)
        await one.start()
        return one
