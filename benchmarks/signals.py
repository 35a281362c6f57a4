"""The part `signals`: what a storm of Signals costs the operator, the API server, etcd and Valkey, and how
soon it is known."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson
import uvloop

from benchmarks.cluster import (
    Operator,
    at_once,
    connected,
    cpu_seconds,
    make_namespace,
    prepare,
    servers,
    until,
)
from benchmarks.in_memory import PARSE, folder_of, stream_of
from benchmarks.part import Aim, Bars, Cell, Json, Lines, Measured, Part, Say, Table
from lab.building import ensure_binaries
from lab.controlplane import ControlPlane
from lab.valkey import Valkey
from stormfold.api.remediationrequest import RemediationRequest
from stormfold.api.resource import API_VERSION
from stormfold.api.signal import Signal
from stormfold.api.stormpolicy import PolicySpec
from stormfold.app import end_all
from stormfold.fold import keys
from stormfold.fold.connection import Connection
from stormfold.kube import paths
from stormfold.kube.changes import Changed
from stormfold.kube.client import KubeClient
from stormfold.kube.errors import ConflictError
from stormfold.model.arrival import Arrival
from stormfold.model.group import PolicyId
from stormfold.policy.version import PolicyVersion
from stormfold.request.schedule import STORMS_AT_ONCE
from stormfold.sources.signals.retention import DELETIONS_AT_ONCE

CREATES_AT_ONCE = 50
SIGNALS = 3000
"""Of each storm."""
GROUPS = (20, 2000)
ROUNDS = 3
LIMIT_SECONDS = 100.0
"""After this no further round begins; there is always one."""
SLOW_MS = 1
"""A command of Redis that takes longer is noted in its SLOWLOG."""
LATENCY_MS = 5
"""What holds Redis up for longer is noted by its latency monitor."""
REST_SECONDS = 2.0
REST_SHARE = 0.1
"""Of a core: an operator that uses less has nothing to do."""
PROBED = 20
"""Of so many Signals one is looked for in Redis from its acknowledgement on."""
LOOK_SECONDS = 0.01
EXACT_LOOK_SECONDS = 0.05
"""Each look costs the operator some 2 ms of CPU."""
LIFE_LOOK_SECONDS = 0.5
"""The same for the life of a few Signals, where it does not matter when they are exact, and each look
would."""
FOLDED_IN_MEMORY = 5000
WRITES = 1000
BURST = 150
"""Signals at once where each is marked: fewer than wait for their mark."""
BURSTS = 3
LIVES = 2
"""How often their whole life is measured, with and without marks."""
POLICY = {"window": {"idle": "1h"}, "closeAfter": "2h", "limits": {"openStorms": 10_000}}
"""So that no storm of one round is written in another."""
VERSION = PolicyVersion(
    PolicyId("ClusterStormPolicy", "", "default"),
    "uid",
    1,
    PolicySpec.model_validate({"groupBy": ["name", "namespace"]}),
)
"""What the groups of the cluster's policy are reckoned by."""


# --- what comes


def signal_manifest(name: str, namespace: str, trouble: str, pod: str) -> dict[str, Any]:
    """A Signal in the size and form that an alerting system would give it."""
    return {
        "apiVersion": API_VERSION,
        "kind": "Signal",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "name": trouble,
            "severity": "critical",
            "state": "Firing",
            "source": "alertmanager",
            "target": {"apiVersion": "v1", "kind": "Pod", "name": pod, "namespace": namespace},
            "labels": {
                "alertname": trouble,
                "cluster": "eu-central-1",
                "container": "checkout",
                "job": "kube-state-metrics",
                "prometheus": "monitoring/k8s",
                "team": "payments",
            },
            "annotations": {
                "summary": "Pod is crash looping.",
                "description": f"Pod {namespace}/{pod} (checkout) is in waiting state CrashLoopBackOff.",
                "runbook": "https://runbooks.example.com/kubernetes/pod-crash-looping",
            },
        },
    }


@dataclass
class Storm:
    """Signals of `groups` groups in a namespace of their own."""

    namespace: str
    signals: int
    groups: int

    def manifests(self) -> Iterator[dict[str, Any]]:
        """The Signals, group by group in turn, each about a pod of its own."""
        for n in range(self.signals):
            trouble = f"KubePodCrashLooping{n % self.groups}"
            pod = f"checkout-api-7d9f8b6c5d-{n // self.groups:05x}"
            yield signal_manifest(f"{trouble.lower()}-{n:05d}", self.namespace, trouble, pod)

    async def create(self, client: KubeClient, probes: Probes | None = None) -> float:
        """Create all, as fast as they are taken; gives the seconds that it took."""
        path = paths.collection(Signal.plural, self.namespace)
        manifests = list(enumerate(self.manifests()))

        async def create(numbered: tuple[int, dict[str, Any]]) -> None:
            number, manifest = numbered
            created = await client.create(path, manifest)
            if probes and number % PROBED == 0:
                probes.look_for(created)

        started = time.monotonic()
        await at_once(CREATES_AT_ONCE, create, manifests)
        return time.monotonic() - started

    async def check(self, client: KubeClient) -> None:
        """The requests hold every Signal once."""
        items, _ = await client.list_all(paths.collection(RemediationRequest.plural, self.namespace), dict)
        totals = [(item.get("status") or {}).get("signals", {}).get("total", 0) for item in items]
        if (len(items), sum(totals)) != (self.groups, self.signals):
            raise SystemExit(f"{self}: {len(items)} requests with {sum(totals)} signals")


class Probes:
    """Looks for some Signals in Redis: when their fold is there."""

    def __init__(self, tasks: asyncio.TaskGroup, connection: Connection) -> None:
        self._tasks = tasks
        self._client = connection.client
        self.lags: list[float] = []
        """Seconds from the acknowledgement of the create."""

    def look_for(self, created: dict[str, Any]) -> None:
        """The Signal was acknowledged just now."""
        arrival = PARSE(created).outcome
        assert isinstance(arrival, Arrival)
        self._tasks.create_task(self._look_for(arrival, time.monotonic()))

    async def _look_for(self, arrival: Arrival, since: float) -> None:
        group = VERSION.group(arrival)
        key, member = keys.ids(group.partition, group.group_hash), arrival.occurrence
        while await self._client.zscore(key, member) is None:  # noqa: ASYNC110 - Redis sets no event
            await asyncio.sleep(LOOK_SECONDS)
        self.lags.append(time.monotonic() - since)


# --- creates, with the operator and without it


@dataclass(frozen=True)
class Round:
    """What one storm cost; `cpu` is µs a Signal by who used it, until the last was acknowledged or, with the
    operator, exact."""

    groups: int
    watched: bool
    """By the operator."""
    creates_per_second: float
    cpu: Mapping[str, float]
    exact_seconds: float | None = None
    """From the last acknowledgement until requests held everything."""
    lags: Sequence[float] = ()
    writes: float = 0
    """Of requests."""
    fold_calls: float = 0
    redis_calls: float = 0
    """Of all clients, for a Signal."""


@dataclass
class Scene:
    """All that runs while this measures."""

    client: KubeClient
    operator: Operator
    valkey: Valkey
    connection: Connection
    rounds: list[Round] = field(default_factory=list)

    def cpu(self, *, watched: bool) -> dict[str, float]:
        """Seconds used so far."""
        used = {name: cpu_seconds(pid) for name, pid in servers().items()}
        if watched:
            threads = self.operator.cpu_seconds()
            used |= {"operator": sum(threads.values()), "of it kopf": threads["kopf"]}
        return used

    async def storm(self, number: int, groups: int, *, watched: bool) -> None:
        """A storm as fast as the API server takes it."""
        namespace = f"{'watched' if watched else 'alone'}-{groups}-{number}"
        storm = Storm(namespace, SIGNALS, groups)
        await make_namespace(self.client, namespace)
        if watched:
            await self.at_rest()
        before = self.operator.metrics() if watched else {}
        calls, cpu = redis_calls(self.valkey), self.cpu(watched=watched)
        exact: float | None = None
        lags: list[float] = []
        if watched:
            async with asyncio.TaskGroup() as tasks:
                probes = Probes(tasks, self.connection)
                creating = await storm.create(self.client, probes)
                acknowledged = time.monotonic()
                await self.until_exact(before, SIGNALS, look_seconds=EXACT_LOOK_SECONDS)
                exact = time.monotonic() - acknowledged
            lags = probes.lags
        else:
            creating = await storm.create(self.client)
        used = self.cpu(watched=watched)
        after = self.operator.metrics() if watched else {}
        if watched:
            await storm.check(self.client)
        self.rounds.append(
            Round(
                groups,
                watched,
                SIGNALS / creating,
                {name: (used[name] - cpu[name]) / SIGNALS * 1e6 for name in used},
                exact,
                lags,
                grown(before, after, "stormfold_request_writes_total"),
                grown(before, after, "stormfold_fold_duration_seconds_count"),
                (redis_calls(self.valkey) - calls) / SIGNALS,
            )
        )

    async def at_rest(self) -> None:
        """Wait until the operator has done with all that came before: its start, and Signals that were
        there."""

        async def rests() -> bool:
            used = sum(self.operator.cpu_seconds().values())
            await asyncio.sleep(REST_SECONDS)
            used = sum(self.operator.cpu_seconds().values()) - used
            now = await asyncio.to_thread(self.operator.metrics)
            return now["stormfold_signals_in_flight"] == 0 and used < REST_SHARE * REST_SECONDS

        await until(rests, "the operator rests")

    async def until_exact(
        self, before: Mapping[str, float], signals: int, *, look_seconds: float, marked: bool = False
    ) -> None:
        """Wait until the operator has taken in so many Signals more, and requests hold them."""

        async def exact() -> bool:
            await asyncio.sleep(look_seconds)
            now = await asyncio.to_thread(self.operator.metrics)
            return (
                grown(before, now, "stormfold_signals_received_total") == signals
                and now["stormfold_signals_in_flight"] == 0
                and (not marked or grown(before, now, "stormfold_marks_total") == signals)
            )

        await until(exact, f"requests hold {signals} signals more")

    def of(self, groups: int, *, watched: bool) -> list[Round]:
        """The rounds of one kind."""
        return [one for one in self.rounds if (one.groups, one.watched) == (groups, watched)]


def grown(before: Mapping[str, float], after: Mapping[str, float], name: str) -> float:
    """By how much a metric has grown."""
    return after.get(name, 0.0) - before.get(name, 0.0)


def redis_calls(valkey: Valkey) -> float:
    """Scripts that were called, from outside."""
    lines = str(valkey.command("INFO", "commandstats")).splitlines()
    stats = dict(line.split(":", 1) for line in lines if ":" in line)
    return sum(
        int(value.split(",")[0].removeprefix("calls="))
        for name, value in stats.items()
        if name.startswith(("cmdstat_evalsha", "cmdstat_eval"))
    )


def watch_redis(valkey: Valkey) -> None:
    """Let it note what is slow from now on."""
    valkey.command("CONFIG", "SET", "slowlog-log-slower-than", SLOW_MS * 1000, "slowlog-max-len", 10_000)
    valkey.command("CONFIG", "SET", "latency-monitor-threshold", LATENCY_MS)
    valkey.command("SLOWLOG", "RESET")
    valkey.command("LATENCY", "RESET")
    valkey.command("CONFIG", "RESETSTAT")


def what_held_redis_up(valkey: Valkey) -> dict[str, float]:
    """Since `watch_redis`: scripts, those that were slow and the slowest of them, and what the latency
    monitor noted."""
    slow: Any = valkey.command("SLOWLOG", "GET", -1)
    latest: Any = valkey.command("LATENCY", "LATEST")
    return {
        "scripts": redis_calls(valkey),
        "slow_commands": len(slow),
        "slowest_command_ms": max((entry[2] for entry in slow), default=0) / 1000,
        "latency_events": len(latest),
        "worst_latency_ms": max((event[3] for event in latest), default=0),
    }


# --- a Signal's whole life


async def measure_life(scene: Scene, namespace: str, *, marked: bool) -> dict[str, float]:
    """µs of CPU a Signal, from its create to its deletion, by who used it."""
    client = scene.client
    await make_namespace(client, namespace)
    path = paths.collection(Signal.plural, namespace)
    await scene.at_rest()
    cpu = scene.cpu(watched=True)
    manifests = list(Storm(namespace, BURST * BURSTS, GROUPS[0]).manifests())

    async def create(manifest: dict[str, Any]) -> None:
        await client.create(path, manifest)

    for start in range(0, len(manifests), BURST):
        before = scene.operator.metrics()
        await at_once(CREATES_AT_ONCE, create, manifests[start : start + BURST])
        await scene.until_exact(before, BURST, look_seconds=LIFE_LOOK_SECONDS, marked=marked)
    items, _ = await client.list_all(path, dict)
    await at_once(DELETIONS_AT_ONCE, deletion(client, namespace), items)
    used = scene.cpu(watched=True)
    return {name: (used[name] - cpu[name]) / len(manifests) * 1e6 for name in used}


def deletion(client: KubeClient, namespace: str) -> Any:
    """Deletes exactly the version of a Signal that was read, as retention does; of one that was marked since,
    the next."""

    async def delete(item: dict[str, Any]) -> None:
        metadata = item["metadata"]
        path = paths.item(Signal.plural, metadata["name"], namespace)
        try:
            await client.delete(path, uid=metadata["uid"], resource_version=int(metadata["resourceVersion"]))
        except ConflictError:
            await delete(await client.get(path))

    return delete


# --- parts of the way


async def measure_fold(valkey: Valkey, signals: int, batch: int) -> float:
    """Our own CPU from an event of the watch to its acknowledged fold, in batches of that many; µs a
    signal."""
    connection = Connection.from_url(valkey.url)
    folder = folder_of(connection, VERSION)
    stream = stream_of(folder, ["fold"])
    groups = 10
    events = [
        orjson.dumps({"type": "ADDED", "object": as_stored(manifest, version)})
        for version, manifest in enumerate(Storm("fold", signals, groups).manifests(), start=1)
    ]

    async def idle() -> bool:
        return folder.idle

    parts = [asyncio.create_task(part, name=name) for name, part in folder.parts().items()]
    began = time.process_time()
    for start in range(0, signals, batch * groups):
        for event in events[start : start + batch * groups]:
            await stream.take(Changed(stream.parse(orjson.loads(event)["object"])))
        await until(idle, "the batch is folded")
    used = time.process_time() - began
    await end_all(parts)
    await connection.close()
    valkey.command("FLUSHALL")
    return round(used / signals * 1e6, 1)


def as_stored(manifest: dict[str, Any], version: int) -> dict[str, Any]:
    """The Signal with what the API server adds to it."""
    now = "2026-01-01T00:00:00Z"
    fields: dict[str, Any] = {f"f:{name}": {} for name in manifest["spec"]} | {
        f"f:{n}": {} for n in manifest["spec"]["labels"]
    }
    write = {"manager": "bench", "operation": "Update", "time": now, "fieldsV1": {"f:spec": fields}}
    added = {
        "uid": f"0b5c2f0e-6c1d-4a52-8d7e-{version:012x}",
        "generation": 1,
        "resourceVersion": str(version),
        "creationTimestamp": now,
        "managedFields": [write],
    }
    return manifest | {"metadata": manifest["metadata"] | added}


async def measure_writes(client: KubeClient, count: int) -> dict[str, float]:
    """Client CPU of a status patch and of a deletion, by the client and as many at once as in the
    operator."""
    namespace = "writes"
    await make_namespace(client, namespace)
    path = paths.collection(Signal.plural, namespace)
    made: list[dict[str, Any]] = [
        await client.create(path, signal_manifest(f"s-{n:05d}", namespace, "Nothing", f"pod-{n}"))
        for n in range(count)
    ]
    status = {
        "phase": "Folded",
        "reason": "Counted",
        "message": "counted in RemediationRequest writes/storm-0123456789abcdef-1",
        "remediationRequest": {"namespace": namespace, "name": "storm-0123456789abcdef-1"},
        "observedGeneration": 1,
    }
    patched: list[dict[str, Any]] = []

    async def patch(item: dict[str, Any]) -> None:
        metadata = item["metadata"]
        answer = await client.merge_patch(
            paths.status(Signal.plural, metadata["name"], namespace),
            {"metadata": {"uid": metadata["uid"]}, "status": status},
        )
        patched.append(answer)

    began = time.process_time()
    await at_once(STORMS_AT_ONCE, patch, made)
    patching = time.process_time() - began
    began = time.process_time()
    await at_once(DELETIONS_AT_ONCE, deletion(client, namespace), patched)
    deleting = time.process_time() - began
    return {
        "patch_client_us": round(patching / count * 1e6, 1),
        "delete_client_us": round(deleting / count * 1e6, 1),
    }


# --- the part


def measure(say: Say) -> Measured:
    """All of it."""
    with tempfile.TemporaryDirectory(prefix="stormfold-bench-") as folder:
        return uvloop.run(_measure(Path(folder), say))


async def _measure(folder: Path, say: Say) -> Measured:
    figures: dict[str, float] = {}
    async with AsyncExitStack() as stack:
        valkey = stack.enter_context(Valkey())
        say(
            "from watch to fold, in batches of 3, 6 and 30, before an API server takes its share of the cores"
        )
        # Few Signals for many groups; what 500 creates a second give for 10 groups; a burst after a pause.
        for name, batch in (("small", 3), ("middling", 6), ("large", 30)):
            figures[f"watch_to_fold_us_{name}"] = await measure_fold(valkey, FOLDED_IN_MEMORY, batch)
        control_plane = stack.enter_context(ControlPlane(ensure_binaries()))
        client = await stack.enter_async_context(connected(control_plane))
        connection = Connection.from_url(valkey.url)
        stack.push_async_callback(connection.close)
        await prepare(client, **POLICY)
        say(f"{WRITES:,} status patches, and deletions")
        figures |= await measure_writes(client, WRITES)

        def operator(**settings: str) -> Operator:
            return Operator(control_plane, valkey, folder / "operator.log", None, **settings)

        scene = Scene(client, operator(), valkey, connection)
        stack.callback(lambda: scene.operator.stop())  # noqa: PLW0108 - there are several
        lives: dict[bool, list[dict[str, float]]] = {False: [], True: []}
        for number in range(LIVES):
            for marked in (False, True) if number % 2 == 0 else (True, False):
                say(f"life of {BURST * BURSTS} Signals, {'each marked' if marked else 'none marked'}")
                scene.operator = operator(STORMFOLD_MARKS_PER_SECOND="1000" if marked else "1")
                await scene.operator.start()
                namespace = f"{'marked' if marked else 'plain'}-{number}"
                lives[marked].append(await measure_life(scene, namespace, marked=marked))
                scene.operator.stop()
        watch_redis(valkey)
        scene.operator = operator()
        began = time.monotonic()
        for number in range(ROUNDS):
            if number and time.monotonic() - began > LIMIT_SECONDS:
                say(f"round {number + 1} of {ROUNDS} is left out, there is no time")
                break
            for watched in (False, True) if number % 2 == 0 else (True, False):
                if watched:
                    await scene.operator.start()
                for groups in GROUPS if watched else GROUPS[:1]:
                    beside = f"of {groups:,} groups beside the operator" if watched else "without it"
                    say(f"round {number + 1} of {ROUNDS}: {SIGNALS:,} Signals {beside}")
                    await scene.storm(number, groups, watched=watched)
                    if not number and watched and groups == GROUPS[0]:
                        figures |= await measure_memory(scene, say)
                scene.operator.stop()
        figures |= what_held_redis_up(valkey)
        return Measured(
            reckon(figures, scene, lives), tables(figures, scene, lives), plots(scene), raw(scene, lives)
        )


async def measure_memory(scene: Scene, say: Say) -> dict[str, float]:
    """What the operator takes with the Signals that are there, and when it comes back to them."""
    say("the operator begins again with what is there")
    rss = scene.operator.rss_mb()
    scene.operator.stop()
    began = time.monotonic()
    await scene.operator.start()
    return {
        "restart_seconds": time.monotonic() - began,
        "rss_mb": rss,
        "rss_mb_after_restart": scene.operator.rss_mb(),
        "signals_at_restart": scene.operator.metrics()["stormfold_signals_live"],
    }


def median(rounds: Sequence[Round], what: str) -> float:
    """Over rounds."""
    return float(statistics.median(getattr(one, what) for one in rounds))


def cpu_of(costs: Sequence[Mapping[str, float]], who: str) -> float:
    """The median of what one of them used, µs a Signal."""
    return statistics.median(cost.get(who, 0.0) for cost in costs)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest that so large a share is not above."""
    in_order = sorted(values)
    return in_order[min(len(in_order) - 1, int(len(in_order) * share))]


def creates_ratio(scene: Scene, groups: int) -> float:
    """Creates a second beside the operator to those without it: the median over the rounds, each of which has
    both."""
    both = zip(scene.of(groups, watched=True), scene.of(GROUPS[0], watched=False), strict=True)
    return statistics.median(one.creates_per_second / other.creates_per_second for one, other in both)


def lags_ms(scene: Scene, groups: int) -> list[float]:
    """Of all rounds."""
    return [lag * 1e3 for one in scene.of(groups, watched=True) for lag in one.lags]


Lives = Mapping[bool, Sequence[Mapping[str, float]]]
"""Whether each Signal was marked → what each round cost."""


def reckon(figures: Mapping[str, float], scene: Scene, lives: Lives) -> dict[str, float]:
    """What the aims are held against."""
    found = dict(figures)
    for groups in GROUPS:
        watched = scene.of(groups, watched=True)
        lags = lags_ms(scene, groups)
        found |= {
            f"exact_seconds_{groups}": median(watched, "exact_seconds"),
            f"creates_ratio_{groups}": creates_ratio(scene, groups),
            f"operator_us_{groups}": cpu_of([one.cpu for one in watched], "operator"),
            f"fold_lag_p50_ms_{groups}": percentile(lags, 0.5),
            f"fold_lag_p99_ms_{groups}": percentile(lags, 0.99),
        }
    found["operator_us_marked"] = cpu_of(lives[True], "operator")
    found["life_ratio"] = statistics.median(
        plain["kube-apiserver"] / marked["kube-apiserver"]
        for plain, marked in zip(lives[False], lives[True], strict=True)
    )
    return found


WHO = ("operator", "of it kopf", "kube-apiserver", "etcd", "valkey-server")


def tables(figures: Mapping[str, float], scene: Scene, lives: Lives) -> list[Table]:
    """For the page."""
    storms: list[list[Cell]] = []
    for groups, watched in ((GROUPS[0], False), *((groups, True) for groups in GROUPS)):
        rounds = scene.of(groups, watched=watched)
        cpu = [one.cpu for one in rounds]
        lags = lags_ms(scene, groups) if watched else []
        storms.append(
            [
                f"{groups:,} groups, beside the operator" if watched else "without it",
                median(rounds, "creates_per_second"),
                *(cpu_of(cpu, who) if watched or who not in WHO[:2] else None for who in WHO),
                median(rounds, "exact_seconds") if watched else None,
                percentile(lags, 0.5) if watched else None,
                percentile(lags, 0.99) if watched else None,
                median(rounds, "writes") if watched else None,
                median(rounds, "redis_calls") if watched else None,
            ]
        )
    lifetimes: list[list[Cell]] = [
        ["each marked" if marked else "none marked", *(cpu_of(lives[marked], who) for who in WHO)]
        for marked in (False, True)
    ]
    steps: list[list[Cell]] = [
        [
            "watch to acknowledged fold, in batches of 3; 6; 30",
            joined(
                figures, "µs", "watch_to_fold_us_small", "watch_to_fold_us_middling", "watch_to_fold_us_large"
            ),
        ],
        [
            "a status patch, 16 at once; a deletion, 4 at once: CPU of the client",
            joined(figures, "µs", "patch_client_us", "delete_client_us"),
        ],
        [
            f"resident memory with, and after a restart with, {figures['signals_at_restart']:,.0f} Signals",
            joined(figures, "MB", "rss_mb", "rss_mb_after_restart"),
        ],
        ["that restart until it is ready", joined(figures, "s", "restart_seconds")],
        [
            (
                f"SLOWLOG of the storms above: {figures['scripts']:,.0f} scripts, of them longer than "
                f"{SLOW_MS} ms; the slowest"
            ),
            f"{figures['slow_commands']:,.0f}; {figures['slowest_command_ms']:.1f} ms",
        ],
        [
            f"LATENCY LATEST after them: kinds of events longer than {LATENCY_MS} ms; the longest",
            f"{figures['latency_events']:,.0f}; {figures['worst_latency_ms']:,.0f} ms",
        ],
    ]
    return [
        Table(
            f"{SIGNALS:,} Signals, {CREATES_AT_ONCE} creates at once",
            (
                "",
                "creates/s",
                *(f"{who}, µs" for who in WHO),
                "exact after, s",
                "fold lag p50, ms",
                "p99, ms",
                "request writes",
                "scripts a Signal",
            ),
            storms,
            f"Medians of {len(scene.of(GROUPS[0], watched=True))} rounds that take turns. CPU is that of a "
            f"Signal, until the last create was acknowledged or, beside the operator, everything was exact. "
            f"The lag is that of every {PROBED}th Signal, from the acknowledgement of its create until Redis "
            f"has counted it.",
        ),
        Table(
            "µs of CPU for the life of a Signal: created, counted, deleted",
            ("", *WHO),
            lifetimes,
            f"{BURSTS} bursts of {BURST} Signals of {GROUPS[0]} groups, {LIVES} times; the client deletes "
            f"them as retention does. With marks, each Signal's status says where it went.",
        ),
        Table("Single steps", ("", "measured"), steps),
    ]


def joined(figures: Mapping[str, float], unit: str, *names: str) -> str:
    """Some figures in one cell."""
    return "; ".join(f"{figures[name]:,.{1 if figures[name] < 100 else 0}f} {unit}" for name in names)


def plots(scene: Scene) -> list[Bars | Lines]:
    """For the page."""
    lengths = {
        f"{who}, {groups:,} groups": round(cpu_of([one.cpu for one in scene.of(groups, watched=True)], who))
        for groups in GROUPS
        for who in WHO
        if who != "of it kopf"
    }
    return [Bars("cpu", "CPU of a Signal until everything is exact", "µs", lengths)]


def raw(scene: Scene, lives: Lives) -> Json:
    """Every round; of the lags some."""
    return {
        "storms": [asdict(one) | {"lags": [round(lag, 3) for lag in one.lags]} for one in scene.rounds],
        "lives": {"marked" if marked else "plain": list(of) for marked, of in lives.items()},
    }


ABOUT = """
A real kube-apiserver with etcd, a Valkey and one operator, all on loopback. Signals of 0.7 KB are created as fast as the API server takes them, by the operator's own client in a process
of its own. All of them share the machine, so that creates beside the operator are held against creates without it, in rounds that take turns.

For orientation: a Go controller (controller-runtime) did the same in memory, on a machine of this kind. It took 0.37 ms of its CPU a Signal without marks and 1.17 ms with them, and 44 to 51 MB.
It was exact 1.0 to 1.2 s after the last create. It was not part of these runs.
"""  # noqa: E501
NO_CORE_LEFT = (
    "creates at full speed take both cores of the machine by themselves, so that "
    "all else that runs waits, and slows them"
)
SPREAD = (
    "no step stands out any more ([profile](profile.md)): reading and taking in a "
    "Signal is a quarter of it, and so is writing requests"
)
ONCE_A_SECOND = (
    "a request is written once a second at most, so that the last signals of some of "
    "20 wait nearly as long. The rest is their fold and the write"
)
AIMS = (
    Aim(
        "exact_seconds_20",
        "requests are exact after the last create, 20 groups (Go, in memory: 1.0 to 1.2)",
        "s",
        at_most=1.0,
        reason=ONCE_A_SECOND,
    ),
    Aim(
        "operator_us_20",
        "CPU of the operator a Signal, 20 groups (Go: 370)",
        "µs",
        at_most=370,
        reason=SPREAD,
    ),
    Aim(
        "operator_us_marked",
        "the same with each Signal marked, deletions included (Go: 1,170)",
        "µs",
        at_most=1170,
        reason=SPREAD,
    ),
    Aim(
        "creates_ratio_20",
        "creates beside the operator to those without it, 20 groups",
        "",
        at_least=0.9,
        reason=NO_CORE_LEFT,
    ),
    Aim("creates_ratio_2000", "the same with 2,000 groups", "", at_least=0.9, reason=NO_CORE_LEFT),
    Aim(
        "fold_lag_p99_ms_20",
        "from an acknowledged create to the fold, p99, 20 groups",
        "ms",
        at_most=300,
        reason=NO_CORE_LEFT,
    ),
    Aim(
        "life_ratio",
        "CPU of the API server for the life of a Signal, to that with a mark on each",
        "",
        at_most=0.7,
    ),
    Aim("watch_to_fold_us_large", "CPU from watch to acknowledged fold, in batches of 30", "µs", at_most=250),
    Aim(
        "watch_to_fold_us_small",
        "the same in batches of 3",
        "µs",
        at_most=250,
        reason="a call costs the client some 150 µs for any content",
    ),
    Aim("patch_client_us", "CPU of the client for a status patch", "µs", at_most=500),
    Aim("delete_client_us", "CPU of the client for a deletion", "µs", at_most=500),
    Aim(
        "rss_mb_after_restart",
        "resident memory after a restart with 6,000 Signals",
        "MB",
        at_most=150,
    ),
)
PART = Part("signals", "The way of a Signal", ABOUT, measure, AIMS)
