"""The part `growth`: what a signal costs, from a thousand to a million of them, with more storms, replicas
and servers."""

from __future__ import annotations

import asyncio
import gc
import itertools
import logging
import statistics
import time
import uuid
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import uvloop
from tests.harness.invocation import number
from tests.harness.values import NOBODY

from benchmarks.part import Aim, Cell, Lines, Measured, Part, Say, Table
from lab.valkey import Valkey, ValkeyCluster
from stormfold.api.conditions import Reason
from stormfold.api.signal import Severity, SignalPhase
from stormfold.api.stormpolicy import PolicySpec
from stormfold.app import end_all
from stormfold.cli import keep_what_is_imported
from stormfold.fold.connection import Connection
from stormfold.fold.folder import Folder
from stormfold.fold.folding import FOLD_ERRORS, FOLD_SECONDS
from stormfold.fold.holding import Continuation, RequestPosition
from stormfold.fold.store import StormStore
from stormfold.model.arrival import Arrival, SignalRef, Source, Target, Verdict
from stormfold.model.group import PARTITIONS, PolicyId
from stormfold.model.opening import Opening
from stormfold.model.storm import Snapshot
from stormfold.policy.router import Router
from stormfold.policy.version import PolicyVersion
from stormfold.request.deciding import Reported
from stormfold.request.places import Places
from stormfold.request.reconciler import Reconciler
from stormfold.request.remediation import Phases
from stormfold.request.schedule import Schedule
from stormfold.request.writing import Outcome
from stormfold.sources.progress import Progress, Taken

POLICIES = 10
"""A policy has at most 10,000 storms open, so that 100,000 need ten."""
RESOURCES = 25
ACTIVE = 100
"""Storms whose signals come at the same time, where each has only few."""
CHUNK = 1000
"""Signals that are made at once."""
UNDER_WAY = 20_000
"""Signals that are not durable yet, at most: with more, a busy machine takes longer than a signal may wait
before it is folded again."""
CHECKPOINT_SECONDS = 1.0
DURABLE_SECONDS = 120.0
LABELS = {"container": "api", "job": "kube-state-metrics", "team": "payments"}
DURABLE = Verdict(SignalPhase.FOLDED, Reason.COUNTED, "counted")


# --- what comes


@dataclass(frozen=True)
class Load:
    """So many signals of so many storms; in the order of `waves`, or all storms in turn."""

    signals: int
    storms: int
    waves: bool = False
    """`ACTIVE` storms at a time get all that is theirs."""

    def order(self) -> Iterator[tuple[int, int]]:
        """Storm and pod of each signal."""
        active = ACTIVE if self.waves else self.storms
        each = self.signals // self.storms
        for first in range(0, self.storms, active):
            for pod in range(each):
                for storm in range(first, min(first + active, self.storms)):
                    yield storm, pod

    def arrivals(self, via: Source = NOBODY) -> Iterator[list[tuple[int, Arrival]]]:
        """The signals with their storms, some at a time; `via` hears what becomes of them."""
        versions = itertools.count(48_000_000)
        order = self.order()
        while some := list(itertools.islice(order, CHUNK)):
            yield [(storm, arrival(storm, pod, next(versions), via)) for storm, pod in some]


def arrival(storm: int, pod: int, version: int, via: Source) -> Arrival:
    """A new Signal about one of the pods of a storm's namespace."""
    namespace, name = f"payments-{storm:05}", f"checkout-api-7d9f8b6c5d-{pod % RESOURCES:05}"
    return Arrival(
        ref=SignalRef(namespace, f"signal-{version}", str(uuid.UUID(int=version << 32)), 1, version),
        name=f"KubePodCrashLooping{storm % POLICIES}",
        namespace=namespace,
        severity=Severity.CRITICAL,
        firing=True,
        target=Target("v1", "Pod", name, namespace),
        labels=LABELS,
        source="alertmanager",
        seen_ms=time.time_ns() // 1_000_000,
        fingerprint="",
        via=via,
    )


def policies() -> list[PolicyVersion]:
    """Each takes the signals of one name; no storm settles while this measures."""
    return [
        PolicyVersion(
            PolicyId("ClusterStormPolicy", "", f"trouble-{number}"),
            str(uuid.UUID(int=number)),
            1,
            PolicySpec.model_validate(
                {
                    "match": {"names": [f"KubePodCrashLooping{number}"]},
                    "window": {"idle": "30m"},
                    "closeAfter": "1h",
                    "limits": {"openStorms": 10_000, "resources": RESOURCES},
                }
            ),
        )
        for number in range(POLICIES)
    ]


# --- what is measured


class Written(NamedTuple):
    """A request that was written, as folders see it."""

    group_hash: str
    position: RequestPosition
    version: PolicyVersion
    namespace: str = ""
    closed: bool = False


class Requests:
    """In the place of the API server and what is known of it: each write is done at once, and each replica
    hears of it."""

    throttled = False

    def reported(self, *_: object) -> Reported:
        """Nothing."""
        return Reported()

    def __init__(self) -> None:
        self.folders: list[Folder] = []
        self.writes = 0
        self._held: dict[str, RequestPosition] = {}
        self._version = policies()[0]

    async def write(self, storm: Snapshot, *_: Any, **__: Any) -> Outcome:
        """The request holds the snapshot now."""
        self.writes += 1
        held = RequestPosition(storm.epoch, storm.incarnation, storm.folded, storm.origin)
        self._held[storm.group_hash] = held
        for folder in self.folders:
            folder.observed(Written(storm.group_hash, held, self._version))
        return Outcome.WRITTEN

    def position(self, group_hash: str, epoch: int) -> RequestPosition | None:
        """What a storm's request holds."""
        return self._held.get(group_hash)

    def continuation(self, group_hash: str) -> Continuation | None:
        """Nothing: Redis keeps all."""
        return None

    def holds(self, group_hash: str, arrival: Arrival) -> bool:
        """Nothing is read again."""
        return False

    def verdict(self, group_hash: str, epoch: int) -> Verdict:
        """What each signal is told."""
        return DURABLE

    def get(self, group_hash: str, epoch: int) -> Requests | None:
        """Whether there is a request, of which nobody has said anything."""
        return self if group_hash in self._held else None

    def latest(self, group_hash: str) -> None:
        """Asked only when Redis has lost something."""

    def opening(self, storm: Snapshot) -> Opening:
        """What opened a storm."""
        return Opening.decoded(storm.opening)

    def open_in(self, policy: PolicyId, namespace: str) -> Collection[str]:
        """None: there are as many places as storms."""
        return ()

    def update_gauges(self, now_ms: int) -> None:
        """There are none."""


class Replicas:
    """Folders and reconcilers that share Redis, and this process: what they use is compared, not how fast
    they are."""

    def __init__(self, connections: Sequence[Connection]) -> None:
        self.progress = Progress()
        self.progress.begun()
        self.requests = Requests()
        self.concluded = 0
        self.done = asyncio.Event()
        self.room = asyncio.Event()
        self.room.set()
        self.awaited = 0
        self._taken: dict[int, Taken] = {}
        self.stores = [StormStore(connection, cluster="bench") for connection in connections]
        self.folders: list[Folder] = []
        self._reconcilers: list[Reconciler] = []
        for store in self.stores:
            self._connect(store)
        self.requests.folders = self.folders

    def _connect(self, store: StormStore) -> None:
        router = Router()
        router.update(policies(), in_use=())
        requests: Any = self.requests
        schedule = Schedule(store)
        folder = Folder(store, router, requests, schedule)
        reconciler = Reconciler(
            store,
            requests,
            requests,
            folder=folder,
            schedule=schedule,
            ingest=self,
            phases=Phases.of((), ()),
            router=router,
            places=Places(requests, router, deadlines=schedule, ingest=self, changed=asyncio.Event()),
        )
        self.folders.append(folder)
        self._reconcilers.append(reconciler)

    async def fence(self) -> None:
        """Begin at checkpoint 0, as a new leader does."""
        await self.stores[0].fence(range(PARTITIONS), self.progress.kept_version)

    def parts(self) -> list[asyncio.Task[None]]:
        """All that runs."""
        parts = [part for folder in self.folders for part in folder.parts().values()]
        parts += [reconciler.run() for reconciler in self._reconcilers]
        return [asyncio.create_task(part) for part in (*parts, self._keep_checkpoint())]

    def take(self, arrivals: Sequence[tuple[int, Arrival]]) -> None:
        """Note that they are to be counted, as the intake does."""
        now = int(time.time())
        for _, one in arrivals:
            assert isinstance(one.ref, SignalRef)
            version = one.ref.resource_version
            self._taken[version] = self.progress.take(version, generation=1, created=now)
            self.progress.reach(version)
        if len(self._taken) >= UNDER_WAY:
            self.room.clear()

    # --- as what is taken in

    leading = True

    def trim(self) -> int:
        """Up to where Redis may forget."""
        return self.progress.trim()

    def fenced(self) -> int:
        """Up to where all is durable."""
        return self.progress.kept_version

    def current(self, arrival: Arrival) -> Arrival:
        """As it came."""
        return arrival

    def folded(self, arrival: Arrival) -> None:
        """Not of interest: it is durable only when a request holds it."""

    def delayed(self, arrival: Arrival, why: str) -> None:
        """Not of interest."""

    def waits(self, arrival: Arrival, why: str) -> bool:
        """It is held until it is durable."""
        return False

    def pending(self, arrival: Arrival, reason: Reason, message: str) -> bool:
        """It is held until it is durable."""
        return False

    def refused(self, arrival: Arrival, why: str) -> None:
        """Not of interest."""

    def durable(self, arrival: Arrival, verdict: Verdict) -> None:
        """Its request holds it."""
        assert verdict is DURABLE, verdict
        assert isinstance(arrival.ref, SignalRef)
        self._taken.pop(arrival.ref.resource_version).durable = True
        self.concluded += 1
        if len(self._taken) < UNDER_WAY:
            self.room.set()
        if self.concluded == self.awaited:
            self.done.set()

    async def _keep_checkpoint(self) -> None:
        while True:
            await asyncio.sleep(CHECKPOINT_SECONDS)
            self.progress.kept(self.progress.checkpoint())


@dataclass(frozen=True)
class Cost:
    """What a run took, of a signal but for `wall_seconds`."""

    operator_us: float
    """CPU, from an arrival to the word that it is durable."""
    redis_us: float
    wall_seconds: float
    writes: float
    """Of requests."""
    redis_mb: float
    """What all servers use at the end, with the ids of the last half minute."""
    batch: float
    """Signals in a call of fold.lua."""
    failed_calls: float
    """Folds that had no answer in time and were tried again: the machine was too busy."""
    began: float
    """Monotonic seconds."""

    @property
    def us(self) -> float:
        """CPU of both."""
        return self.operator_us + self.redis_us


async def run(servers: Sequence[Valkey], url: str, load: Load, replicas: int = 1) -> Cost:
    """Count all of the load into empty servers, as fast as they are folded."""
    for server in servers:
        server.command("FLUSHALL")
    gc.collect()
    async with AsyncExitStack() as stack:
        connections = [Connection.from_url(url) for _ in range(replicas)]
        for connection in connections:
            stack.push_async_callback(connection.close)
        team = Replicas(connections)
        await team.fence()
        team.awaited = load.signals
        parts = team.parts()
        stack.push_async_callback(end_all, parts)
        making, called = 0.0, calls()
        redis, wall, cpu = redis_seconds(servers), time.perf_counter(), time.process_time()
        chunks = load.arrivals(team)
        while True:
            before = time.process_time()
            made = next(chunks, None)
            making += time.process_time() - before
            if made is None:
                break
            team.take(made)
            for storm, one in made:
                assert await team.folders[storm % replicas].submit(one) is None, "there is room"
            await asyncio.sleep(0)
            await team.room.wait()
        async with asyncio.timeout(DURABLE_SECONDS):
            await team.done.wait()
        cpu, wall = time.process_time() - cpu - making, time.perf_counter() - wall
        redis = redis_seconds(servers) - redis
        return Cost(
            cpu / load.signals * 1e6,
            redis / load.signals * 1e6,
            wall,
            team.requests.writes / load.signals,
            sum(info(server, "memory", "used_memory") for server in servers) / 2**20,
            load.signals / (calls()[0] - called[0]),
            calls()[1] - called[1],
            time.monotonic() - wall,
        )


def redis_seconds(servers: Sequence[Valkey]) -> float:
    """CPU that they have used."""
    return sum(info(server, "cpu", f"used_cpu_{kind}") for server in servers for kind in ("user", "sys"))


def calls() -> tuple[float, float]:
    """Of fold.lua so far: all that were answered or failed, and those that failed."""
    found = {
        sample.name: sample.value
        for metric in (*FOLD_ERRORS.collect(), *FOLD_SECONDS.collect())
        for sample in metric.samples
        if sample.name.endswith(("_total", "_count"))
    }
    return found["stormfold_fold_duration_seconds_count"], found.get("stormfold_fold_errors_total", 0.0)


def info(server: Valkey, section: str, name: str) -> float:
    """One figure of INFO."""
    lines = str(server.command("INFO", section)).splitlines()
    return float(dict(line.split(":", 1) for line in lines if ":" in line)[name])


# --- the part

DECADES = (1_000, 10_000, 100_000, 1_000_000)
ROUNDS = {1_000: 7, 10_000: 3, 100_000: 1, 1_000_000: 1}
"""How often each number of signals is measured, for a median."""
AT = 100_000
"""Signals where something else grows than their number."""
BESIDE = 3
"""Rounds before and after a case that it is held against."""
LIMIT_SECONDS = 250
"""What would end later by what the tenth of it took is left out, unless BENCH_SECONDS says another time. All
cases take some twenty minutes."""


@dataclass(frozen=True)
class Case:
    """One point of a curve."""

    load: Load
    replicas: int = 1
    cluster: bool = False

    @property
    def tenth(self) -> Case:
        """By which it is foreseen how long this one takes: a tenth of the signals, or of the storms if each
        has but one."""
        load = self.load
        if load.storms == load.signals:
            return replace(self, load=replace(load, storms=load.storms // 10))
        storms = load.storms // 10 if load.waves else load.storms
        return replace(self, load=replace(load, signals=load.signals // 10, storms=storms))


def few_storms(signals: int, **where: Any) -> Case:
    """Of a hundred storms, however many signals there are."""
    return Case(Load(signals, 100), **where)


def small_storms(signals: int, **where: Any) -> Case:
    """Of ten signals each."""
    return Case(Load(signals, signals // 10, waves=True), **where)


SINGLE = ("100 storms", "10 signals a storm")
"""The curves on one server."""
CURVES: dict[str, dict[int, Case]] = {
    "100 storms": {signals: few_storms(signals) for signals in DECADES},
    "10 signals a storm": {signals: small_storms(signals) for signals in DECADES},
    "100 storms, Cluster": {signals: few_storms(signals, cluster=True) for signals in DECADES},
    "10 signals a storm, Cluster": {signals: small_storms(signals, cluster=True) for signals in DECADES},
}
"""By the number of signals."""
STORMS = {storms: Case(Load(AT, storms)) for storms in (10, 100, 1_000, 10_000, 100_000)}
REPLICAS = {
    (number, cluster): few_storms(AT, replicas=number, cluster=cluster)
    for cluster in (False, True)
    for number in (1, 2, 3)
}


def order() -> list[Case]:
    """Each case as often as it is measured: rounds of all small ones, then the most telling first, while
    there is time.

    What a large case is held against comes right before and after it, too (see `ratio`).
    """
    small = [case for curve in CURVES.values() for case in curve.values() if case.load.signals < AT]
    rounds = [
        case for number in range(max(ROUNDS.values())) for case in small if number < ROUNDS[case.load.signals]
    ]
    single = [case for name in SINGLE for case in CURVES[name].values()]
    large = [
        *sorted(single, key=lambda case: case.load.signals),
        *(REPLICAS[key] for key in ((1, True), (2, False), (3, False))),
        *(STORMS[storms] for storms in (10, 1_000, 10_000)),
        *REPLICAS.values(),
        *(case for curve in CURVES.values() for case in curve.values()),
        *STORMS.values(),
    ]
    bases: dict[Case, list[Case]] = defaultdict(list)
    for curve in CURVES.values():
        for case in curve.values():
            bases[case].append(curve[DECADES[0]])
    for case in REPLICAS.values():
        if case != REPLICAS[1, False]:
            bases[case].append(REPLICAS[1, False])
    for case in dict.fromkeys(large):
        if case.load.signals >= AT:
            beside = [beside_it(base) for base in bases[case]]
            missing = [some for some in beside if rounds[-len(some) :] != some]
            rounds += [*itertools.chain(*missing), case, *itertools.chain(*beside)]
    return rounds


def beside_it(base: Case) -> list[Case]:
    """What is measured before a case, and after it, to hold it against its base."""
    return [base] * (BESIDE if base.load.signals < AT else 1)


def measure(say: Say) -> Measured:
    """All of it."""
    logging.getLogger("stormfold").addHandler(logging.NullHandler())
    keep_what_is_imported()
    return uvloop.run(_measure(say))


async def _measure(say: Say) -> Measured:
    began, limit = time.monotonic(), number("BENCH_SECONDS", LIMIT_SECONDS)
    costs: dict[Case, list[Cost]] = {}
    with Valkey() as single, ValkeyCluster() as cluster:
        servers = {False: [single], True: cluster.nodes}
        urls = {
            False: single.url,
            True: cluster.url.replace("redis://", "redis+cluster://").removesuffix("/0"),
        }
        for case in order():
            left = limit - (time.monotonic() - began)
            foreseen = 10 * min((cost.wall_seconds for cost in costs.get(case.tenth, ())), default=0.0)
            if left < foreseen or left < 0:
                say(f"{described(case)}: left out, there is no time")
                continue
            cost = await run(servers[case.cluster], urls[case.cluster], case.load, case.replicas)
            costs.setdefault(case, []).append(cost)
            say(f"{described(case)}: {cost.us:.0f} µs of CPU a signal, {cost.wall_seconds:.1f} s")
    return Measured(reckon(costs), tables(costs), plots(costs), raw(costs))


def described(case: Case) -> str:
    """For whoever waits, and for `raw`."""
    load = case.load
    turns = f", {ACTIVE} at a time" if load.waves else ""
    replicas = f", {case.replicas} replicas" if case.replicas > 1 else ""
    where = ", Cluster" if case.cluster else ""
    return f"{load.signals:,} signals of {load.storms:,} storms{turns}{replicas}{where}"


Costs = Mapping[Case, Sequence[Cost]]


def median(costs: Costs, case: Case, what: str = "us") -> float | None:
    """Over its rounds; None if it was left out."""
    of = costs.get(case)
    return statistics.median(getattr(cost, what) for cost in of) if of else None


def ratio(costs: Costs, case: Case, base: Case) -> float | None:
    """How many times more a signal costs than in the rounds of the base right before and after it: a machine
    becomes slower and faster in these minutes by more than what is looked for."""
    of, bases = costs.get(case), costs.get(base)
    if not of or not bases:
        return None
    if case == base:
        return 1.0
    many = len(beside_it(base))
    ratios = []
    for cost in of:
        before = [one.us for one in bases if one.began < cost.began][-many:]
        after = [one.us for one in bases if one.began > cost.began][:many]
        ratios.append(cost.us / statistics.median(before + after))
    return statistics.median(ratios)


def reckon(costs: Costs) -> dict[str, float]:
    """What the aims are held against."""
    last, first = DECADES[-1], DECADES[0]
    found = {
        "few_storms_ratio": ratio(costs, few_storms(last), few_storms(first)),
        "small_storms_ratio": ratio(costs, small_storms(last), small_storms(first)),
        "small_storms_ratio_above_10000": ratio(costs, small_storms(last), small_storms(10_000)),
        "replicas_ratio": ratio(costs, REPLICAS[3, False], REPLICAS[1, False]),
        "cluster_ratio": ratio(costs, REPLICAS[1, True], REPLICAS[1, False]),
        "open_storms_ratio": ratio(costs, STORMS[100_000], STORMS[10]),
    }
    return {name: value for name, value in found.items() if value is not None}


def row(name: str, costs: Costs, case: Case, base: Case) -> list[Cell]:
    """A line of a table."""
    rounds = len(costs.get(case, ()))
    kinds = ("operator_us", "redis_us", "us")
    return [
        name,
        *(median(costs, case, kind) for kind in kinds),
        ratio(costs, case, base),
        median(costs, case, "batch"),
        median(costs, case, "writes"),
        median(costs, case, "redis_mb"),
        median(costs, case, "wall_seconds"),
        rounds,
        median(costs, case, "failed_calls"),
    ]


HEAD = (
    "operator µs",
    "Redis µs",
    "both",
    "to the first",
    "signals a call",
    "writes",
    "Redis MB",
    "seconds",
    "rounds",
    "retries",
)
NOTE = (
    "A thousand signals give each of 100 storms ten, and some 20 to a call. Ten thousand come at once, "
    "since so many may be under way, and fill the calls. Of more, some come as others become durable: about"
    " as many to a call, however many there are. *To the first* is to rounds of the first case right before"
    " and after, since machines become slower and faster by more than that. What has no figures was left "
    "out, since it would not have ended in time; nothing is extrapolated."
)


def tables(costs: Costs) -> list[Table]:
    """For the page."""
    by_signals = [
        row(f"{signals:,} signals, {name}", costs, case, curve[DECADES[0]])
        for name, curve in CURVES.items()
        for signals, case in curve.items()
    ]
    by_storms = [row(f"{storms:,} storms", costs, case, STORMS[10]) for storms, case in STORMS.items()]
    by_replicas = [
        row(f"{number}, {'Cluster of 3' if cluster else 'one server'}", costs, case, REPLICAS[1, False])
        for (number, cluster), case in REPLICAS.items()
    ]
    return [
        Table("CPU of a signal, by how many there are", ("", *HEAD), by_signals, NOTE),
        Table(
            f"CPU of a signal, {AT:,} of them, by the storms that are open at once",
            ("", *HEAD),
            by_storms,
            "All storms take turns, so that the more there are the fewer signals of one are folded, and "
            "written, together: "
            "with 100,000 a signal is a storm.",
        ),
        Table(
            f"CPU of a signal, {AT:,} of them in 100 storms, by replicas",
            ("replicas, Redis", *HEAD),
            by_replicas,
            "The replicas share a process here, so that their seconds say nothing.",
        ),
    ]


def plots(costs: Costs) -> list[Lines]:
    """For the page."""
    curves = {
        name: [(signals, us) for signals, case in curve.items() if (us := median(costs, case)) is not None]
        for name, curve in CURVES.items()
    }
    return [
        Lines("signals", "CPU of a signal", "signals", "µs, operator and Redis", curves, log_x=True),
        Lines(
            "storms",
            f"CPU of a signal, {AT:,} in all, all storms in turn",
            "storms",
            "µs, operator and Redis",
            {
                "one server": [
                    (n, us) for n, case in STORMS.items() if (us := median(costs, case)) is not None
                ]
            },
            log_x=True,
        ),
    ]


def raw(costs: Costs) -> dict[str, list[dict[str, float]]]:
    """Every round."""
    return {described(case): [asdict(cost) for cost in rounds] for case, rounds in costs.items()}


ABOUT = f"""
What grows is the number of signals, of storms, of replicas and of servers. Arrivals are made in memory and go through the operator's own routing, folder, scripts, reconciler and
checkpoint into Valkey, as fast as they become durable. At most {UNDER_WAY:,} are under way. In the place of the API server is a writer that says at once that the request holds what it is given.

In: routing among ten policies, batches, `fold.lua`, claims, deadlines, settling, ids and their trimming, the word that a signal is durable. Out: reading and decoding Signals, rendering and
writing requests, marks, retention, kopf, and what replicas hear of each other's requests over a watch: the parts `signals` and `webhook` measure those. CPU is that of the process, without
making the arrivals, and all that the servers used.

With 100 storms, each grows with the signals. With 10 signals a storm, 100 storms at a time get all of theirs: the storms grow with the signals, to 100,000 that are open.
"""  # noqa: E501
AIMS = (
    Aim("few_storms_ratio", "CPU of a signal, 10⁶ to 10³ of them, in 100 storms", "times", at_most=1.2),
    Aim(
        "small_storms_ratio",
        "CPU of a signal, 10⁶ to 10³ of them, 10 a storm, up to 10⁵ storms open",
        "times",
        at_most=1.2,
    ),
    Aim(
        "replicas_ratio",
        "CPU of a signal with 3 replicas to that with one",
        "times",
        at_most=1.2,
        reason="each replica gathers calls of its own, which hold fewer signals, and sweeps for itself",
    ),
    Aim(
        "cluster_ratio",
        "CPU of a signal on a Cluster of 3 to that on one server",
        "times",
        at_most=1.2,
        reason="three servers, each with calls of its own, which hold fewer signals",
    ),
)
PART = Part("growth", "Growth", ABOUT, measure, AIMS)
