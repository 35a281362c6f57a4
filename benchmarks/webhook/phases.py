"""Each phase: all of the load is posted once, and who used how much CPU meanwhile."""

from __future__ import annotations

import argparse
import asyncio
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.harness.alertmanager import Alertmanager
from tests.harness.programs import alertmanager as alertmanager_program

from benchmarks.cluster import Operator, connected, cpu_seconds, make_namespace, prepare, say, servers
from benchmarks.webhook.load import POST_SECONDS, Generator, Load, Posted
from lab.building import ensure_binaries
from lab.controlplane import ControlPlane
from lab.process import free_port
from lab.valkey import Valkey
from stormfold.sources.alerts.heads import PATH

TOKEN = "0123456789abcdef"
QUIET_SECONDS = 3.0
"""Before a phase of the operator begins, so that its start and the last writes are over."""
CORES = os.cpu_count() or 1
POSTS = 800
CONNECTIONS = 400


@dataclass(frozen=True)
class Row:
    """One phase."""

    name: str
    alerts: int
    posted: Posted
    cpu: dict[str, float]
    """CPU seconds by who used them: first the server that is measured."""

    @property
    def per_second(self) -> float:
        """Alerts."""
        return self.alerts / self.posted.wall_seconds

    @property
    def per_core(self) -> float:
        """Alerts for each second of CPU that the server used."""
        return self.alerts / next(iter(self.cpu.values()))

    def figures(self) -> dict[str, Any]:
        """All of it."""
        answers = self.posted.answer_seconds
        return {
            "alerts_per_second": round(self.per_second),
            "alerts_per_second_of_cpu": round(self.per_core),
            "cpu_us_per_alert": {name: round(used / self.alerts * 1e6, 1) for name, used in self.cpu.items()},
            "share_of_machine": {
                name: round(used / self.posted.wall_seconds / CORES, 3) for name, used in self.cpu.items()
            },
            "answer_p50_ms": round(answers[len(answers) // 2] * 1e3),
            "answer_p99_ms": round(answers[len(answers) * 99 // 100] * 1e3),
            "refused_posts": self.posted.refused,
        }

    def line(self) -> str:
        """For the table."""
        figures = self.figures()
        cpu = figures["cpu_us_per_alert"]
        shares = ", ".join(f"{name} {share:.0%}" for name, share in figures["share_of_machine"].items())
        return (
            f"{self.name:34} {figures['alerts_per_second']:>8,} {next(iter(cpu.values())):>7} "
            f"{figures['alerts_per_second_of_cpu']:>8,} {cpu.get('valkey-server', '–'):>7} "
            f"{figures['answer_p50_ms']:>8,} {figures['answer_p99_ms']:>8,} {figures['refused_posts']:>5}  "
            f"{shares}"
        )


def measure_phase(name: str, load: Load, generator: Generator, server: str, pid: int) -> Row:
    """Post all of the load once, to the server with that pid."""
    say(name)
    pids = {server: pid, **servers()}
    before = {name: cpu_seconds(pid) for name, pid in pids.items()}
    posted = generator.post()
    used = {name: cpu_seconds(pid) - before[name] for name, pid in pids.items()}
    return Row(name, load.alerts, posted, {**used, "load": posted.cpu_seconds})


async def measure_webhook(
    control_plane: ControlPlane, valkey: Valkey, folder: Path, load: Load, *, ack: str, profile: Path | None
) -> list[Row]:
    """The operator with that way to acknowledge: new alerts, and the same again."""
    secret = folder / "token"
    secret.write_text(TOKEN)
    port = free_port()
    operator = Operator(
        control_plane,
        valkey,
        folder / f"operator-{ack}.log",
        profile,
        STORMFOLD_WEBHOOK_PORT=str(port),
        STORMFOLD_WEBHOOK_SECRET_FILE=str(secret),
        STORMFOLD_WEBHOOK_ACK=ack,
        STORMFOLD_WEBHOOK_WAIT_SECONDS=f"{POST_SECONDS:g}",
    )
    await operator.start()
    try:
        with Generator(load, port, PATH, (TOKEN, control_plane.token)) as generator:
            rows = []
            for what in ("new", "known"):
                await asyncio.sleep(QUIET_SECONDS)
                name = f"ack: {ack}, {what} alerts"
                rows.append(
                    await asyncio.to_thread(measure_phase, name, load, generator, "operator", operator.pid)
                )
            return rows
    finally:
        operator.stop()


async def measure_alertmanager(folder: Path, load: Load) -> list[Row]:
    """A real one of the same alerts, alone but for the load: new ones, and the same again."""
    receives = {
        "route": {"receiver": "nobody", "group_by": ["alertname", "namespace"]},
        "receivers": [{"name": "nobody"}],
    }
    server = Alertmanager(alertmanager_program("current"), receives, folder / "alertmanager")
    await server.start()
    try:
        with Generator(load, server.port, "/api/v2/alerts", (TOKEN,)) as generator:
            return [
                await asyncio.to_thread(
                    measure_phase, f"Alertmanager, {what} alerts", load, generator, "alertmanager", server.pid
                )
                for what in ("new", "known")
            ]
    finally:
        await server.stop()


async def measure(arguments: argparse.Namespace, folder: Path) -> list[Row]:
    """All phases, one after the other."""
    rows: list[Row] = []
    with Valkey() as valkey, ControlPlane(ensure_binaries()) as control_plane:
        async with connected(control_plane) as client:
            await prepare(client)
            for ack in ("request", "redis"):
                load = Load(ack, arguments.posts, arguments.connections)
                for namespace in load.namespaces:
                    await make_namespace(client, namespace)
                rows += await measure_webhook(
                    control_plane, valkey, folder, load, ack=ack, profile=arguments.profile
                )
                if arguments.profile:
                    return rows
    return rows + await measure_alertmanager(folder, Load("request", arguments.posts, arguments.connections))
