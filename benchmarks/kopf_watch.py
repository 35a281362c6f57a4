"""The part `kopf`: the same fold from an `@kopf.on.event` handler and from our own list and watch."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import statistics
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe
from typing import Any

import kopf
import uvloop

from benchmarks.cluster import at_once, connected, make_namespace, prepare
from benchmarks.in_memory import PARSE, folder_of, stream_of
from benchmarks.part import Aim, Bars, Cell, Measured, Part, Say, Table
from benchmarks.signals.load import CREATES_AT_ONCE, Storm
from lab.building import ensure_binaries
from lab.controlplane import ControlPlane
from lab.valkey import Valkey
from stormfold.api.resource import GROUP, VERSION
from stormfold.api.signal import Signal
from stormfold.api.stormpolicy import PolicySpec
from stormfold.fold.connection import Connection
from stormfold.fold.folder import Folder
from stormfold.fold.folding import FOLDED
from stormfold.kube import paths
from stormfold.kube.client import KubeClient
from stormfold.kube.listwatch import ListWatch
from stormfold.model.arrival import Arrival
from stormfold.model.group import PolicyId
from stormfold.policy.version import PolicyVersion
from stormfold.watches.kopf_thread import settings as our_settings

OURS, KOPF, TUNED = "own list and watch", "kopf as it comes", "kopf tuned"
WAYS = (OURS, KOPF, TUNED)
ROUNDS = 3
LIVE = 1500
"""Signals that are created while somebody watches."""
THERE = 3000
"""Signals that are there when somebody begins to watch."""
GROUPS = 10
WARM_UP = 20
WITHIN_SECONDS = 120.0
POLL_SECONDS = 0.02
"""Between looks at how much is folded, as rare as the lag allows: they cost CPU, too."""


# --- who watches, in a process of its own


def tuned() -> kopf.OperatorSettings:
    """Our own settings of kopf, and what besides makes it faster for objects of which each is seen once."""
    chosen = our_settings()
    chosen.queueing.idle_timeout = 0.01
    return chosen


def plain() -> kopf.OperatorSettings:
    """As it comes, but that it writes no Events of its own."""
    chosen = kopf.OperatorSettings()
    chosen.posting.enabled = False
    return chosen


@contextlib.asynccontextmanager
async def folding(redis_url: str) -> AsyncIterator[Folder]:
    """The folder as the operator has it; what is folded stays in flight, since nobody writes requests."""
    connection = Connection.from_url(redis_url)
    version = PolicyVersion(PolicyId("ClusterStormPolicy", "", "default"), "uid", 1, PolicySpec())
    folder = folder_of(connection, version)
    parts = [asyncio.create_task(part, name=name) for name, part in folder.parts().items()]
    yield folder
    for part in parts:
        part.cancel()
    await connection.close()


async def watch(client: KubeClient, namespace: str, folder: Folder) -> None:
    """Our way."""
    stream = stream_of(folder, [namespace])
    signals = ListWatch(
        client,
        paths.collection(Signal.plural, namespace),
        kind="Signal",
        parse=stream.parse,
    )
    async for change in signals.changes():
        await stream.take(change)


async def operate(namespace: str, folder: Folder, settings: kopf.OperatorSettings) -> None:
    """kopf's way: a handler that reads the Signal as we do, and submits it."""
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
        return kopf.login_with_kubeconfig(**kwargs)

    @kopf.on.event(GROUP, VERSION, Signal.plural, registry=registry)
    async def fold(event: Any, **_: Any) -> None:
        if event["type"] != "DELETED":
            outcome = PARSE(event["object"]).outcome
            assert isinstance(outcome, Arrival), outcome
            await folder.submit(outcome)

    await kopf.operator(registry=registry, settings=settings, standalone=True, namespaces=[namespace])


def watcher(way: str, control_plane: Any, redis_url: str, namespace: str, pipe: Pipe) -> None:
    """What the process does: watch, and whenever it is told a number, say when so many more are folded."""
    uvloop.run(_watcher(way, control_plane, redis_url, namespace, pipe))


async def _watcher(way: str, kubeconfig: Any, redis_url: str, namespace: str, pipe: Pipe) -> None:
    async with folding(redis_url) as folder, connected(kubeconfig) as client:
        pipe.send(None)
        count = await asyncio.to_thread(pipe.recv)
        wall, cpu, base = time.monotonic(), time.process_time(), 0.0
        if way == OURS:
            watching = asyncio.create_task(watch(client, namespace, folder))
        else:
            settings = plain() if way == KOPF else tuned()
            watching = asyncio.create_task(operate(namespace, folder, settings))
        while count:
            while FOLDED._value.get() < base + count:  # noqa: SLF001 - the counter of this very process
                if watching.done():
                    raise SystemExit(f"{way} ended: {watching.exception()!r}")
                await asyncio.sleep(POLL_SECONDS)
            pipe.send((time.monotonic(), time.monotonic() - wall, time.process_time() - cpu))
            count = await asyncio.to_thread(pipe.recv)
            wall, cpu, base = time.monotonic(), time.process_time(), FOLDED._value.get()  # noqa: SLF001
    os._exit(0)  # kopf would take its time, and may not end at all


class Kubeconfig:
    """What `connected` needs of a control plane, in another process."""

    def __init__(self, control_plane: ControlPlane) -> None:
        self.kubeconfig = control_plane.kubeconfig


@dataclass
class Watcher:
    """That process, seen from here."""

    pipe: Pipe

    def expect(self, count: int) -> None:
        """Begin to count time and CPU."""
        self.pipe.send(count)

    async def folded(self) -> tuple[float, float, float]:
        """(when by the monotonic clock, seconds, CPU seconds) once all that were expected are folded."""
        if not await asyncio.to_thread(self.pipe.poll, WITHIN_SECONDS):
            raise SystemExit(f"not folded within {WITHIN_SECONDS:g} s")
        moment, wall, cpu = self.pipe.recv()
        return moment, wall, cpu


@contextlib.contextmanager
def watching(way: str, control_plane: ControlPlane, valkey: Valkey, namespace: str) -> Iterator[Watcher]:
    """A process that has imported everything and waits for the first number."""
    valkey.command("FLUSHALL")
    pipe, its = multiprocessing.Pipe()
    os.environ["KUBECONFIG"] = str(control_plane.kubeconfig)
    process = multiprocessing.get_context("spawn").Process(
        target=watcher, args=(way, Kubeconfig(control_plane), valkey.url, namespace, its)
    )
    process.start()
    try:
        pipe.recv()
        yield Watcher(pipe)
    finally:
        process.kill()
        process.join()


# --- figures


@dataclass
class Run:
    """One way in one round."""

    live_cpu_us: float
    lag_ms: float
    """From the last create to the last fold."""
    list_cpu_us: float
    list_per_second: float


async def create(client: KubeClient, storm: Storm, first: int, last: int) -> None:
    """Some of the storm's Signals."""
    path = paths.collection(Signal.plural, storm.namespace)

    async def one(manifest: dict[str, Any]) -> None:
        await client.create(path, manifest)

    await at_once(CREATES_AT_ONCE, one, list(storm.manifests())[first:last])


async def measure_way(
    client: KubeClient, control_plane: ControlPlane, valkey: Valkey, way: str, number: int
) -> Run:
    """Signals that come while it watches, then those that are there when it begins."""
    storm = Storm(f"live-{number}-{WAYS.index(way)}", WARM_UP + LIVE, GROUPS)
    await make_namespace(client, storm.namespace)
    with watching(way, control_plane, valkey, storm.namespace) as live:
        live.expect(WARM_UP)
        await create(client, storm, 0, WARM_UP)
        await live.folded()
        live.expect(LIVE)
        await create(client, storm, WARM_UP, WARM_UP + LIVE)
        created = time.monotonic()
        moment, _, live_cpu = await live.folded()
    with watching(way, control_plane, valkey, "there") as listing:
        listing.expect(THERE)
        _, list_wall, list_cpu = await listing.folded()
    return Run(
        live_cpu_us=live_cpu / LIVE * 1e6,
        lag_ms=max(0.0, moment - created) * 1e3,
        list_cpu_us=list_cpu / THERE * 1e6,
        list_per_second=THERE / list_wall,
    )


async def _measure(say: Say) -> Measured:
    runs: dict[str, list[Run]] = {way: [] for way in WAYS}
    with Valkey() as valkey, ControlPlane(ensure_binaries()) as control_plane:
        async with connected(control_plane) as client:
            await prepare(client)
            say(f"creating {THERE:,} Signals to be found")
            there = Storm("there", THERE, GROUPS)
            await make_namespace(client, there.namespace)
            await create(client, there, 0, THERE)
            for number in range(ROUNDS):
                for way in WAYS:
                    say(f"round {number + 1} of {ROUNDS}, {way}")
                    runs[way].append(await measure_way(client, control_plane, valkey, way, number))
    return reckon(runs)


def reckon(runs: dict[str, list[Run]]) -> Measured:
    """Medians, and ratios of the rounds."""

    def median(way: str, what: str) -> float:
        return float(statistics.median(getattr(run, what) for run in runs[way]))

    def ratio(way: str, what: str) -> float:
        pairs = zip(runs[way], runs[OURS], strict=True)
        return float(statistics.median(getattr(theirs, what) / getattr(ours, what) for theirs, ours in pairs))

    rows: list[list[Cell]] = [
        [
            way,
            median(way, "live_cpu_us"),
            f"{1e6 / median(way, 'live_cpu_us'):,.0f}",
            f"{ratio(way, 'live_cpu_us'):.1f}",
            median(way, "lag_ms"),
            median(way, "list_cpu_us"),
            f"{median(way, 'list_per_second'):,.0f}",
            f"{ratio(way, 'list_cpu_us'):.1f}",
        ]
        for way in WAYS
    ]
    return Measured(
        figures={
            "cpu_ratio_live": ratio(TUNED, "live_cpu_us"),
            "cpu_ratio_list": ratio(TUNED, "list_cpu_us"),
            "own_cpu_us": median(OURS, "live_cpu_us"),
            "own_lag_ms": median(OURS, "lag_ms"),
        },
        tables=[
            Table(
                "",
                (
                    "way",
                    "CPU µs an event, live",
                    "events/s of a core",
                    "times ours",
                    "last fold after last create, ms",
                    "CPU µs an event, listed",
                    "events/s, listed",
                    "times ours",
                ),
                rows,
                f"Medians of {ROUNDS} rounds, in each of which every way has its turn: {LIVE:,} Signals "
                f"created {CREATES_AT_ONCE} at once "
                f"while it watches, and a start with {THERE:,} that are there. Both include parsing, routing "
                f"and the folds in batches.",
            )
        ],
        plots=[
            Bars(
                "cpu",
                "CPU of an event, from the watch to Redis",
                "µs",
                {
                    f"{way}, {what}": round(median(way, f"{what}_cpu_us"), 1)
                    for way in WAYS
                    for what in ("live", "list")
                },
            )
        ],
        raw={way: [vars(run) for run in of] for way, of in runs.items()},
    )


def measure(say: Say) -> Measured:
    """All of it."""
    return uvloop.run(_measure(say))


ABOUT = """
The same Signals of a real kube-apiserver go to the same folder (`fold.folder`, on Valkey), once from our list and watch and once from an `@kopf.on.event` handler.
The handler parses them with our parser and submits them. Each runs in a process of its own. kopf runs twice: as it comes, and tuned (our settings of it, by which it makes no diffs, and workers that end at once). Our way also keeps the checkpoint.
Not in these figures: kopf's queues have no bound, and it does not notice what was deleted while it was disconnected.
"""  # noqa: E501
AIMS = (
    Aim(
        "cpu_ratio_live",
        "CPU of an event: kopf tuned, to ours, Signals that come while it watches",
        "times",
        at_least=1,
    ),
    Aim("cpu_ratio_list", "the same for Signals that are there at the start", "times", at_least=1),
)
PART = Part("kopf", "Against plain kopf", ABOUT, measure, AIMS)
