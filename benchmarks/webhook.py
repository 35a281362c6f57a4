"""What the webhook takes: alerts from a socket to their RemediationRequests, and beside it a real
Alertmanager's API.

One replica with Valkey on the same machine; the alerts come from a process of its own, in bodies of 100 of
one group each, as a pair of Alertmanagers would post them with a token each. Each phase posts every body
once: when all are new, and when all are known. Then the same alerts go, in bodies of 100, to `/api/v2/alerts`
of an Alertmanager that has nobody to notify. CPU is counted from the first post to the last answer. All share
the cores, so the table ends with who used how much of the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import orjson
import uvloop
from tests.harness.alertmanager import Alertmanager
from tests.harness.programs import alertmanager as alertmanager_program

from benchmarks import alertmanager
from benchmarks.alertmanager import alert
from benchmarks.cluster import (
    Operator,
    connected,
    cpu_seconds,
    make_namespace,
    prepare,
    say,
    servers,
)
from benchmarks.part import Aim, Cell, Measured, Part, Say, Table
from lab.building import ensure_binaries
from lab.controlplane import ControlPlane
from lab.process import free_port
from lab.valkey import Valkey
from stormfold.sources.alerts.heads import PATH

ALERTS = 100
"""In a body."""
GROUPS = 20
TOKEN = "0123456789abcdef"
POST_SECONDS = 90.0
"""How long one answer may take."""
AGAIN_SECONDS = 0.5
"""After this a body is posted again for which there was no room."""
PHASE_SECONDS = 180.0
QUIET_SECONDS = 3.0
"""Before a phase of the operator begins, so that its start and the last writes are over."""
CORES = os.cpu_count() or 1

POSTS = 800
CONNECTIONS = 400


# --- the load, in a process of its own


@dataclass(frozen=True)
class Load:
    """What is posted: so many bodies of alerts, of `GROUPS` namespaces with names of that kind in turn."""

    kind: str
    posts: int
    connections: int

    @property
    def alerts(self) -> int:
        """How many there are."""
        return self.posts * ALERTS

    @property
    def namespaces(self) -> list[str]:
        """With the default policy, each is a group."""
        return [f"{self.kind}-{number:02}" for number in range(GROUPS)]

    def bodies(self, *, api_v2: bool) -> Iterator[bytes]:
        """As Alertmanager posts them, or as they are posted to Alertmanager."""
        for post in range(self.posts):
            namespace = self.namespaces[post % GROUPS]
            alerts = [alert(post * ALERTS + number, namespace) for number in range(ALERTS)]
            if api_v2:
                fields = ("labels", "annotations", "startsAt", "generatorURL")
                yield orjson.dumps([{field: one[field] for field in fields} for one in alerts])
            else:
                yield orjson.dumps({"version": "4", "status": "firing", "alerts": alerts})


@dataclass(frozen=True)
class Posted:
    """What the load saw of one phase."""

    wall_seconds: float
    cpu_seconds: float
    """Its own."""
    answer_seconds: list[float]
    """From the first byte of a body to the last of the answer that takes it, in order."""
    accepted: int
    """Alerts that the answers say are accepted."""
    refused: int
    """Answers by 429 or 503: there was no room, and the body was posted again a little later."""


def generate(load: Load, port: int, path: str, tokens: Sequence[str], pipe: Connection) -> None:
    """What the process does: make the bodies, say so, and post them all whenever it is told to."""
    posts = [
        f"POST {path} HTTP/1.1\r\nHost: load\r\nAuthorization: Bearer {tokens[number % len(tokens)]}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        + body
        for number, body in enumerate(load.bodies(api_v2=path != PATH))
    ]
    pipe.send(None)
    while pipe.recv():
        pipe.send(uvloop.run(post_all(posts, port, load.connections)))


async def post_all(posts: list[bytes], port: int, connections: int) -> Posted:
    """Post each once; on each connection the next after the answer."""
    todo = iter(posts)
    answers: list[float] = []
    accepted = refused = 0

    async def some() -> None:
        nonlocal accepted, refused
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for post in todo:
            began = time.monotonic()
            while True:
                writer.write(post)
                async with asyncio.timeout(POST_SECONDS):
                    head = (await reader.readuntil(b"\r\n\r\n")).lower()
                    length = head.partition(b"content-length: ")[2].partition(b"\r\n")[0]
                    body = await reader.readexactly(int(length or 0))
                if head[:13] not in (b"http/1.1 503 ", b"http/1.1 429 "):
                    break
                refused += 1
                await asyncio.sleep(AGAIN_SECONDS)
            if not head.startswith(b"http/1.1 200 "):
                raise SystemExit(f"not taken: {head!r} {body[:500]!r}")
            answers.append(time.monotonic() - began)
            accepted += orjson.loads(body)["accepted"] if body else ALERTS
        writer.close()

    began, began_cpu = time.monotonic(), time.process_time()
    async with asyncio.timeout(PHASE_SECONDS), asyncio.TaskGroup() as tasks:
        for _ in range(connections):
            tasks.create_task(some())
    return Posted(
        time.monotonic() - began, time.process_time() - began_cpu, sorted(answers), accepted, refused
    )


class Generator:
    """The process that posts; `with` starts and ends it."""

    def __init__(self, load: Load, port: int, path: str, tokens: Sequence[str]) -> None:
        self._load = load
        self._pipe, its = multiprocessing.Pipe()
        self._process = multiprocessing.get_context("spawn").Process(
            target=generate, args=(load, port, path, tokens, its)
        )

    def __enter__(self) -> Generator:
        self._process.start()
        self._hear()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):  # it may have ended by itself
            self._pipe.send(False)
        self._process.join(POST_SECONDS)

    def post(self) -> Posted:
        """Let it post all; every alert must be accepted."""
        self._pipe.send(True)
        posted = self._hear()
        assert isinstance(posted, Posted)
        assert posted.accepted == self._load.alerts, posted.accepted
        return posted

    def _hear(self) -> object:
        try:
            return self._pipe.recv()
        except EOFError:
            raise SystemExit("the load ended before all was posted") from None


# --- figures


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


HEAD = (
    f"{'':34} {'alerts/s':>8} {'CPU µs':>7} {'alerts/s':>8} {'Redis':>7} {'answer':>8} {'answer':>8} "
    f"{'again':>5}  share of the machine\n"
    f"{'':34} {'':8} {'/alert':>7} {'/core':>8} {'µs/al.':>7} {'p50 ms':>8} {'p99 ms':>8}"
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


# --- the part


def measure_part(say: Say) -> Measured:
    """All phases, and what reading and serving cost without what comes behind."""
    arguments = argparse.Namespace(posts=POSTS, connections=CONNECTIONS, profile=None)
    with tempfile.TemporaryDirectory(prefix="stormfold-bench-") as folder:
        rows = uvloop.run(measure(arguments, Path(folder)))
    say("reading and serving alone")
    reading = min(alertmanager.reading_us() for _ in range(alertmanager.ROUNDS))
    serving = min(uvloop.run(alertmanager.serving_us()) for _ in range(alertmanager.ROUNDS))
    ours, theirs = rows[0], rows[4]
    cells: list[list[Cell]] = []
    for row in rows:
        figures = row.figures()
        cpu = figures["cpu_us_per_alert"]
        shares = ", ".join(f"{name} {share:.0%}" for name, share in figures["share_of_machine"].items())
        cells.append(
            [
                row.name,
                figures["alerts_per_second"],
                next(iter(cpu.values())),
                figures["alerts_per_second_of_cpu"],
                cpu.get("valkey-server"),
                figures["answer_p50_ms"],
                figures["answer_p99_ms"],
                figures["refused_posts"],
                shares,
            ]
        )
    head = (
        *("phase", "alerts/s", "CPU µs an alert", "alerts/s of a core", "Redis CPU µs an alert"),
        *("answer p50 ms", "answer p99 ms", "posted again", "shares of the machine"),
    )
    note = (
        f"{POSTS * ALERTS:,} alerts of {GROUPS} groups in bodies of {ALERTS}, {CONNECTIONS} posts at once. "
        f"Without what "
        f"comes behind the webhook, serving takes {serving:.1f} µs an alert, {reading:.1f} of them to read "
        f"it."
    )
    return Measured(
        figures={
            "alerts_per_core": ours.per_core,
            "per_core_ratio": ours.per_core / theirs.per_core,
            "per_second_ratio": ours.per_second / theirs.per_second,
            "reading_us": reading,
            "serving_us": serving,
        },
        tables=[Table("", head, cells, note)],
        raw={row.name: row.figures() for row in rows},
    )


ABOUT = """
Alerts go from a socket to their requests and back, with both ways to acknowledge (`STORMFOLD_WEBHOOK_ACK`), first when all are new and then when all are known. The same alerts then go to
`/api/v2/alerts` of a real Alertmanager that has nobody to notify. The load is a process of its own; all share the cores.
"""  # noqa: E501
AIMS = (
    Aim(
        "alerts_per_core",
        "new alerts a second and core of the operator's CPU, ack: request",
        "",
        at_least=20_000,
        reason="machines differ by half: on one on which Alertmanager takes 16,461 it was 22,409 "
        "(2026-11-24)",
    ),
    Aim("per_core_ratio", "the same to what Alertmanager takes", "times", at_least=1),
    Aim(
        "per_second_ratio",
        "new alerts a second by the clock, to what Alertmanager takes",
        "times",
        at_least=1,
        reason="a replica is one process and has one core, of which Redis and the writes take their part; "
        "Alertmanager has both. "
        "The last answers of the run, too, wait for a write of their requests",
    ),
)
PART = Part("webhook", "The webhook", ABOUT, measure_part, AIMS)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--posts", type=int, default=POSTS, help=f"bodies of {ALERTS} alerts (default: {POSTS})"
    )
    parser.add_argument(
        "--connections",
        type=int,
        default=CONNECTIONS,
        help=f"posts at once, of two callers (default: {CONNECTIONS})",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    parser.add_argument(
        "--profile", type=Path, metavar="FILE", help="only ack: request, with the operator under cProfile"
    )
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="stormfold-bench-") as folder:
        rows = uvloop.run(measure(arguments, Path(folder)))
    if arguments.json:
        print(json.dumps({row.name: row.figures() for row in rows}))
        return
    print(
        f"{arguments.posts * ALERTS:,} alerts of {GROUPS} groups in bodies of {ALERTS}, "
        f"{arguments.connections} at once, on {CORES} cores, load before {load:.1f}\n{HEAD}"
    )
    for row in rows:
        print(row.line())


if __name__ == "__main__":
    main()
