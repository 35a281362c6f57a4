"""What evidence costs: the same alerts and Signals with annotations under a policy that shows and counts all,
and without them under one that shows nothing.

One operator with one Valkey takes all of it. The ways take turns, in rounds, each with groups of its own; CPU
is counted from the first post or create until requests hold everything and `REST_SECONDS` more. CPU times
grow when other work shares the cores, so the lowest of all rounds counts.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import uvloop

from benchmarks.alertmanager import alert
from benchmarks.cluster import (
    Operator,
    at_once,
    connected,
    make_namespace,
    prepare,
    servers,
    until,
)
from benchmarks.part import Aim, Cell, Measured, Part, Say, Table
from benchmarks.signals.load import CREATES_AT_ONCE, signal_manifest
from benchmarks.webhook.load import ALERTS, post_all
from benchmarks.webhook.phases import TOKEN
from lab.building import ensure_binaries
from lab.controlplane import ControlPlane
from lab.process import free_port
from lab.valkey import Valkey
from stormfold.api.remediationrequest import RemediationRequest
from stormfold.api.resource import API_VERSION
from stormfold.api.signal import Signal
from stormfold.api.stormpolicy import ClusterStormPolicy
from stormfold.kube import paths
from stormfold.kube.client import KubeClient
from stormfold.sources.alerts.heads import PATH

ROUNDS = {"alerts": 13, "Signals": 7}
"""Of which the first does not count."""
POSTS, CONNECTIONS = 50, 20
SIGNALS, GROUPS = 400, 5
REST_SECONDS = 1.2
"""Before it is read who used how much: the last writes are over then."""
NOTHING = {"evidence": {"samples": 0, "labels": [], "annotations": []}, "causes": []}
ARM = "arm"
"""The label by which a policy takes its share."""


@dataclass(frozen=True)
class Way:
    """Signals, and what is done about what they show."""

    name: str
    annotated: bool
    policy: Mapping[str, Any] = field(default_factory=dict)

    def of(self, shown: dict[str, Any], texts: Sequence[str]) -> dict[str, Any]:
        """An alert or the spec of a Signal, with its texts or without them."""
        made = {key: value for key, value in shown.items() if self.annotated or key not in texts}
        return made | {"labels": shown["labels"] | {ARM: self.name}}


WAYS = (
    Way("nothing", annotated=False, policy=NOTHING),
    Way("labels", annotated=False),
    Way("all", annotated=True),
)
"""`nothing` is shown or counted; `labels` are, and causes, of what has no annotations; `all` is."""
BASE, WHOLE = WAYS[0].name, WAYS[-1].name


def posts(way: Way, namespaces: Sequence[str]) -> Iterator[bytes]:
    """The alerts of a turn, a body for each namespace in turn, as Alertmanager posts them."""
    for post in range(POSTS):
        namespace = namespaces[post % len(namespaces)]
        alerts = [
            way.of(alert(post * ALERTS + number, namespace), ("annotations", "generatorURL"))
            for number in range(ALERTS)
        ]
        yield posted(orjson.dumps({"version": "4", "status": "firing", "alerts": alerts}))


def posted(body: bytes) -> bytes:
    """A body with its head."""
    head = f"POST {PATH} HTTP/1.1\r\nHost: load\r\nAuthorization: Bearer {TOKEN}\r\n"
    return f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def cpu_seconds(pid: int) -> float:
    """CPU that a process has used, to the nanosecond."""
    stats = (task / "schedstat" for task in Path(f"/proc/{pid}/task").iterdir())
    return sum(int(stat.read_text().split()[0]) for stat in stats) / 1e9


Costs = dict[str, dict[str, list[float]]]
"""Whose CPU → way → µs a signal, round by round."""


async def add_policies(client: KubeClient) -> None:
    """One for each way."""
    for way in WAYS:
        match = {"labelSelector": {"matchLabels": {ARM: way.name}}}
        spec = {"groupBy": ["name", "namespace"], "retention": "1h", "match": match, "window": {"idle": "1h"}}
        body = {"apiVersion": API_VERSION, "kind": "ClusterStormPolicy", "metadata": {"name": way.name}}
        body["spec"] = spec | {"closeAfter": "2h", **way.policy}
        await client.create(paths.collection(ClusterStormPolicy.plural), body)


@dataclass
class Scene:
    """All that runs while this measures."""

    client: KubeClient
    operator: Operator
    port: int
    say: Say

    async def cost(self, count: int, do: Callable[[], Awaitable[Any]]) -> dict[str, float]:
        """µs of CPU a signal, by whose it is, of doing that."""
        pids = {"operator": self.operator.pid, "Redis": servers()["valkey-server"]}
        before = {name: cpu_seconds(pid) for name, pid in pids.items()}
        await do()
        await asyncio.sleep(REST_SECONDS)
        return {name: (cpu_seconds(pid) - before[name]) / count * 1e6 for name, pid in pids.items()}

    async def alerts(self, way: Way, number: int) -> dict[str, float]:
        """Post the alerts of a turn."""
        namespaces = [f"{way.name}-{number}-{group}" for group in range(GROUPS)]
        for namespace in namespaces:
            await make_namespace(self.client, namespace)
        bodies = list(posts(way, namespaces))

        async def post() -> None:
            taken = await post_all(bodies, self.port, CONNECTIONS)
            assert taken.accepted == POSTS * ALERTS, taken.accepted

        return await self.cost(POSTS * ALERTS, post)

    async def signals(self, way: Way, number: int) -> dict[str, float]:
        """Create the Signals of a turn, and wait until requests hold them."""
        namespace = f"{way.name}-signals-{number}"
        await make_namespace(self.client, namespace)
        path = paths.collection(Signal.plural, namespace)
        made = []
        for n in range(SIGNALS):
            manifest = signal_manifest(f"{n:05}", namespace, f"Trouble{n % GROUPS}", f"pod-{n:05}")
            made.append(manifest | {"spec": way.of(manifest["spec"], ("annotations",))})

        async def create(manifest: dict[str, Any]) -> None:
            await self.client.create(path, manifest)

        async def held() -> bool:
            await asyncio.sleep(0.2)
            found, _ = await self.client.list_all(
                paths.collection(RemediationRequest.plural, namespace), lambda item: item.get("status") or {}
            )
            return bool(sum(status.get("signals", {}).get("total", 0) for status in found) == SIGNALS)

        async def all_of_it() -> None:
            await at_once(CREATES_AT_ONCE, create, made)
            await until(held, f"requests hold the Signals of {namespace}")

        return await self.cost(SIGNALS, all_of_it)


async def measure(say: Say, folder: Path) -> dict[str, Costs]:
    """All rounds, of alerts and of Signals."""
    costs: dict[str, Costs] = {"alerts": {}, "Signals": {}}
    secret, port = folder / "token", free_port()
    secret.write_text(TOKEN)
    with Valkey() as valkey, ControlPlane(ensure_binaries()) as control_plane:
        async with connected(control_plane) as client:
            await prepare(client)
            await add_policies(client)
            operator = Operator(
                control_plane,
                valkey,
                folder / "operator.log",
                None,
                STORMFOLD_WEBHOOK_PORT=str(port),
                STORMFOLD_WEBHOOK_SECRET_FILE=str(secret),
            )
            await operator.start()
            scene = Scene(client, operator, port, say)
            try:
                for kind, take in (("alerts", scene.alerts), ("Signals", scene.signals)):
                    for number in range(ROUNDS[kind]):
                        turn = [WAYS[(number + n) % len(WAYS)] for n in range(len(WAYS))]
                        took = {way.name: await take(way, number) for way in turn}
                        say(f"{kind}, round {number}: {_said(took)}")
                        if number:
                            _note(costs[kind], took)
            finally:
                operator.stop()
    return costs


def _said(took: Mapping[str, Mapping[str, float]]) -> str:
    return ", ".join(f"{way.name} {took[way.name]['operator']:.1f} µs" for way in WAYS)


def _note(costs: Costs, took: Mapping[str, Mapping[str, float]]) -> None:
    for way, used in took.items():
        for whose, microseconds in used.items():
            costs.setdefault(whose, {}).setdefault(way, []).append(microseconds)


def ratio(costs: Mapping[str, Sequence[float]], way: str) -> float:
    """How many times as much as without evidence."""
    return min(costs[way]) / min(costs[BASE])


def measure_part(say: Say) -> Measured:
    """All of it."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="stormfold-bench-") as folder:
        found = uvloop.run(measure(say, Path(folder)))
    say(f"took {time.monotonic() - began:.0f} s")
    rows: list[list[Cell]] = []
    figures = {}
    for kind, costs in found.items():
        for whose, of in costs.items():
            each = [min(of[way.name]) for way in WAYS]
            rows.append([f"{kind}, {whose}", *each, ratio(of, WAYS[1].name), ratio(of, WHOLE)])
            figures[f"{kind}_{whose}".lower()] = ratio(of, WHOLE)
    head = ("CPU µs", "nothing", "labels and causes", "all", "labels to nothing", "all to nothing")
    rounds = f"{ROUNDS['alerts'] - 1} rounds of {POSTS * ALERTS:,} alerts"
    note = f"The lowest of {rounds}, and of {ROUNDS['Signals'] - 1} of {SIGNALS} Signals, for each way."
    return Measured(figures=figures, tables=[Table("", head, rows, note)], raw=found)


ABOUT = """
The same alerts and Signals come in three ways, which take turns. The first has no annotations, and its policy shows no samples, labels or annotations and counts no causes. The second has no annotations, under the default policy.
The third has them. One operator takes all of it; CPU is counted from the first until requests hold the last. Alerts are those of kube-state-metrics, with a summary, a runbook and a `generatorURL`.
"""  # noqa: E501
AIMS = (
    Aim("alerts_operator", "operator's CPU of an alert, to that without evidence", "times", at_most=1.15),
    Aim("signals_operator", "operator's CPU of a Signal, to that without evidence", "times", at_most=1.15),
    Aim("alerts_redis", "Redis' CPU of an alert, to that without evidence", "times", at_most=1.25),
    Aim("signals_redis", "Redis' CPU of a Signal, to that without evidence", "times", at_most=1.25),
)
PART = Part("evidence", "What evidence costs", ABOUT, measure_part, AIMS)
