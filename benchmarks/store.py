"""The part `store`: a storm in Redis four ways, on the same signals and the same server."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import orjson
import uvloop
from redis.exceptions import OutOfMemoryError
from tests.harness.redis_servers import found_servers

from benchmarks import rivals
from benchmarks.part import Aim, Bars, Cell, Lines, Measured, Part, Say, Table
from benchmarks.storms import T0, Storm, endless, policy, storms
from lab.valkey import Valkey
from stormfold.fold import keys
from stormfold.fold.arguments import Fold
from stormfold.fold.connection import Connection
from stormfold.fold.errors import StoreFullError
from stormfold.fold.replies import FoldWord, FreezeWord
from stormfold.fold.store import StormStore
from stormfold.model.arrival import Arrival
from stormfold.model.storm import Snapshot

MAXMEMORY = "512mb"
RESOURCES = 25
"""Of each storm whose signals are timed."""
ROUNDS = 7
SIZES = (10, 25, 50, 100, 1000)
MANY = 10_000
FEW = 100
GROWTH = (1, 7, 13, 19, 25)
"""How many resources a storm has after each of its writes, while memory churns."""
CLAIMS_AT_ONCE = 32
"""Storms in one call of claim.lua."""
CHURNS = 2
"""How often a third of all storms ends and others take their place."""
AT_ONCE = 64
"""Calls under way while memory churns."""
CALL_SECONDS = 60.0
"""How long a call may take, on a machine that does much else."""
LATER_MS = T0 + 10**9
"""When storms are looked at while memory churns: all are due by then."""

Batch = Mapping[Storm, Sequence[Arrival]]


class Way(Protocol):
    """One way to count signals into storms in Redis."""

    commands: Sequence[str]
    """What it sends, as commandstats calls it."""

    async def fold(self, batch: Batch) -> None:
        """Count the signals of a batch."""


class Stormfold:
    """Our scripts, called as `fold.folding` calls them: one call for each partition of the batch."""

    commands: Sequence[str] = ("evalsha",)

    def __init__(self, store: StormStore) -> None:
        self._store = store
        self._known: dict[str, tuple[int, int, str]] = {}

    async def fold(self, batch: Batch) -> None:
        """Count signals of any storms; the calls of a batch travel together."""
        folds_of: dict[int, list[Fold]] = defaultdict(list)
        for storm, arrivals in batch.items():
            group = storm.group
            epoch, folded, incarnation = self._known.get(group.group_hash, (0, 0, ""))
            folds_of[group.partition].append(
                Fold(
                    group.group_hash,
                    storm.version.terms,
                    storm.opening,
                    arrivals,
                    known_epoch=epoch,
                    known_folded=folded,
                    known_incarnation=incarnation,
                )
            )
        now_ms = max(arrivals[-1].seen_ms for arrivals in batch.values())
        answers = await rivals.gathered(
            [self._store.fold(number, folds, now_ms=now_ms) for number, folds in folds_of.items()]
        )
        for folds, replies in zip(folds_of.values(), answers, strict=True):
            for fold, reply in zip(folds, replies, strict=True):
                assert reply.word is FoldWord.COUNTED, reply
                self._known[fold.group_hash] = reply.epoch, reply.folded, reply.incarnation

    async def make_durable(self, of: Sequence[Storm], *, trim: int) -> None:
        """Note that requests hold everything, so that ids may go."""

        async def settle(snapshot: Snapshot) -> None:
            await self._store.ack(
                snapshot, written=True, settled=False, deadline_ms=LATER_MS, now_ms=LATER_MS, trim=trim
            )

        await in_turns(settle, await self._looked_at(of))

    async def end(self, of: Sequence[Storm]) -> None:
        """Close storms whose requests hold everything, as the reconciler does."""

        async def close(snapshot: Snapshot) -> None:
            word, frozen = await self._store.freeze(
                snapshot, reason="MAX_DURATION_REACHED", expected_folded=None, now_ms=LATER_MS
            )
            assert word is FreezeWord.CLOSING, word
            assert frozen is not None
            await self._store.close_storm(frozen)
            del self._known[snapshot.group_hash]

        await in_turns(close, await self._looked_at(of))

    async def _looked_at(self, of: Sequence[Storm]) -> list[Snapshot]:
        claims = [
            (number, group_hashes[start : start + CLAIMS_AT_ONCE])
            for number, group_hashes in by_partition(of).items()
            for start in range(0, len(group_hashes), CLAIMS_AT_ONCE)
        ]
        snapshots: list[Snapshot] = []

        async def claim(what: tuple[int, list[Storm]]) -> None:
            number, some = what
            snapshots.extend(
                await self._store.claim(number, [storm.group.group_hash for storm in some], now_ms=LATER_MS)
            )

        await in_turns(claim, claims)
        assert len(snapshots) == len(of)
        return snapshots


def by_partition(of: Sequence[Storm]) -> dict[int, list[Storm]]:
    """Storms by where they are."""
    found: dict[int, list[Storm]] = defaultdict(list)
    for storm in of:
        found[storm.group.partition].append(storm)
    return found


async def in_turns(do: Any, items: Sequence[Any]) -> None:
    """Do it to each item, `AT_ONCE` at the same time."""
    todo = iter(items)

    async def some() -> None:
        for item in todo:
            await do(item)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(AT_ONCE):
            tasks.create_task(some())


# --- what a signal costs


@dataclass
class Course:
    """One way, with the batches that it gets."""

    name: str
    way: Way
    of: list[Storm]
    batch: int
    slice: int
    """Signals in a round."""
    signals: Iterator[tuple[Storm, Arrival]] = field(init=False)
    rounds: list[dict[str, float]] = field(default_factory=list)
    """µs a signal: `client`, `redis` (all that the server used), `commands` (what it says its commands took),
    `wall`."""

    def __post_init__(self) -> None:
        self.signals = endless(self.of, RESOURCES)

    def batches(self) -> list[Batch]:
        """Those of the next round."""
        made: list[Batch] = []
        for _ in range(self.slice // self.batch):
            batch: dict[Storm, list[Arrival]] = {}
            for storm, arrival in itertools.islice(self.signals, self.batch):
                batch.setdefault(storm, []).append(arrival)
            made.append(batch)
        return made

    async def run(self, client: Any) -> None:
        """One round."""
        batches = self.batches()
        await client.config_resetstat()
        used = await redis_cpu(client)
        wall, cpu = time.perf_counter(), time.process_time()
        for batch in batches:
            await self.way.fold(batch)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        used = await redis_cpu(client) - used
        stats = await client.info("commandstats")
        commands = sum(stats.get(f"cmdstat_{name}", {}).get("usec", 0) for name in self.way.commands)
        count = self.slice // self.batch * self.batch
        self.rounds.append(
            {
                "client": cpu / count * 1e6,
                "redis": used / count * 1e6,
                "commands": commands / count,
                "wall": wall / count * 1e6,
            }
        )

    def median(self, what: str) -> float:
        """Over the rounds."""
        return statistics.median(one[what] for one in self.rounds)


async def redis_cpu(client: Any) -> float:
    """Seconds that the server has used."""
    info = await client.info("cpu")
    return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])


async def courses(connection: Connection) -> list[Course]:
    """All ways, with their storms in Redis."""
    version = policy(RESOURCES)
    calls = connection.scripts
    whole = rivals.InLua(calls, "request", rivals.OBJECT_LUA)
    small = rivals.InLua(calls, "metadata", rivals.METADATA_LUA)
    ten = storms(10, version)
    for storm in ten:
        await connection.client.set(
            f"request:{storm.group.group_hash}", orjson.dumps(rivals.request(storm, RESOURCES))
        )
        await connection.client.set(
            f"metadata:{storm.group.group_hash}", orjson.dumps(rivals.metadata(storm, RESOURCES))
        )
    for way in (whole, small):
        await way.load()
    ours = [
        Stormfold(StormStore(connection, cluster="bench")) for _ in range(5)
    ]  # they share Redis, not storms
    spare = storms(2000, version)
    there = spare[10].group.partition
    elsewhere = [storm for storm in spare if storm.group.partition == there]
    more = storms(200, version, partition=there)[len(elsewhere) :]
    together = [*elsewhere, *more]
    return [
        Course(
            "30 KB JSON, get-modify-set", rivals.GetModifySet(calls, orjson.loads, orjson.dumps), ten, 1, 300
        ),
        Course(
            "the same by Python's own json", rivals.GetModifySet(calls, json.loads, json.dumps), ten, 1, 300
        ),
        Course("30 KB JSON, Lua with cjson", whole, ten, 1, 300),
        Course("2 KB JSON, Lua with cjson", small, ten, 1, 2000),
        Course("stormfold, one signal a call", ours[0], spare[20:30], 1, 2000),
        Course("30 KB JSON in Lua, batches of 200, 10 storms", whole, ten, 200, 2000),
        Course("2 KB JSON in Lua, batches of 200, 10 storms", small, ten, 200, 4000),
        Course("stormfold, batches of 200, 10 storms of one partition", ours[1], together[:10], 200, 4000),
        Course(
            "stormfold, batches of 500, 100 storms of one partition", ours[2], together[10:110], 500, 10_000
        ),
        Course("stormfold, batches of 200, 10 storms of 10 partitions", ours[3], spare[30:40], 200, 4000),
        Course("stormfold, batches of 500, 100 storms of 64 partitions", ours[4], spare[40:140], 500, 10_000),
    ]


async def measure_signals(server: Valkey, say: Say) -> list[Course]:
    """Rounds in which each way has its turn."""
    connection = Connection.from_url(server.url, timeout_seconds=CALL_SECONDS)
    runs = await courses(connection)
    for course in runs:  # their storms get all their resources
        for _ in range(2):
            await course.run(connection.client)
        course.rounds.clear()
    for number in range(ROUNDS):
        say(f"what a signal costs, round {number + 1} of {ROUNDS}")
        for course in runs:
            if isinstance(course.way, Stormfold):
                # As after each checkpoint; it is not part of what is timed.
                for storm in course.of:
                    await connection.client.delete(keys.ids(storm.group.partition, storm.group.group_hash))
            await course.run(connection.client)
    await connection.close()
    return runs


# --- what a storm takes


FORMS = ("30 KB JSON", "2 KB JSON", "stormfold")


async def measure_bytes(server: Valkey) -> dict[str, dict[int, int]]:
    """MEMORY USAGE of all that is kept of a storm, key names included: form → resources → bytes."""
    connection = Connection.from_url(server.url, timeout_seconds=CALL_SECONDS)
    client = connection.client
    way = Stormfold(StormStore(connection, cluster="bench"))
    used: dict[str, dict[int, int]] = defaultdict(dict)

    async def memory(*names: str) -> int:
        return sum([await client.memory_usage(name, samples=0) or 0 for name in names])

    for number, size in enumerate(SIZES):
        storm = storms(number + 1, policy(min(size, 100)))[number]
        group_hash, partition = storm.group.group_hash, storm.group.partition
        for form, made in zip(FORMS, (rivals.request, rivals.metadata), strict=False):
            await client.set(f"{form}:{group_hash}", orjson.dumps(made(storm, size)))
            used[form][size] = await memory(f"{form}:{group_hash}")
        signals = [storm.signal(pod, 48_000_000 + n) for n, pod in enumerate(storm.pods(size))]
        for start in range(0, size, 250):
            await way.fold({storm: signals[start : start + 250]})
        names = [
            *(
                key(partition, group_hash)
                for key in (
                    keys.storm,
                    keys.resources,
                    keys.ids,
                    keys.hll,
                    keys.instances,
                    keys.opening,
                    keys.events,
                    keys.alerts,
                    keys.before,
                    keys.beyond,
                )
            ),
            # Shared by the storms of a partition; here this one bears all of it.
            keys.due(partition),
        ]
        used["stormfold, its ids not trimmed"][size] = await memory(*names)
        await way.make_durable([storm], trim=48_000_000 + size - 1)
        used["stormfold"][size] = await memory(*names)
    await connection.close()
    return {form: dict(sizes) for form, sizes in used.items()}


class Texts:
    """JSON of any storm at any size of `GROWTH`, cheaply: that of one storm with another's names in it."""

    def __init__(self, form: str) -> None:
        made = rivals.request if form == FORMS[0] else rivals.metadata
        self._model = Storm(99_999, policy(RESOURCES))
        self._texts = {size: orjson.dumps(made(self._model, size)) for size in GROWTH}

    def of(self, storm: Storm, size: int) -> bytes:
        """With a description as long as it happens to be."""
        text = self._texts[size].replace(self._model.namespace.encode(), storm.namespace.encode())
        return text[:-1] + b',"note":"' + b"x" * (storm.number * 7 % 200) + b'"}'


async def churn_json(connection: Connection, form: str, count: int) -> None:
    """Storms of JSON text grow, end, and others grow in their place."""
    texts, client = Texts(form), connection.client

    async def write(step: tuple[Storm, int]) -> None:
        await client.set(f"{form}:{step[0].number}", texts.of(*step))

    async def end(storm: Storm) -> None:
        await client.delete(f"{form}:{storm.number}")

    async def grow(some: list[Storm]) -> None:
        for size in GROWTH:
            await in_turns(write, [(storm, size) for storm in some])

    async def end_all(some: list[Storm]) -> None:
        await in_turns(end, some)

    await churn(count, grow, end_all)


async def churn_ours(connection: Connection, count: int) -> None:
    """The same by our scripts, with everything durable at the end."""
    way = Stormfold(StormStore(connection, cluster="bench"))
    versions = itertools.count(48_000_000)

    async def grow(some: list[Storm]) -> None:
        for low, high in itertools.pairwise((0, *GROWTH)):
            batches = [
                {
                    storm: [storm.signal(pod, next(versions)) for pod in storm.pods(RESOURCES)[low:high]]
                    for storm in piece
                }
                for of in by_partition(some).values()
                for piece in (of[start : start + 40] for start in range(0, len(of), 40))
            ]
            await in_turns(way.fold, batches)
        await way.make_durable(some, trim=next(versions))

    await churn(count, grow, way.end)


async def churn(count: int, grow: Any, end: Any) -> None:
    """`CHURNS` times a random third ends and new ones grow."""
    chosen, version = random.Random(count), policy(RESOURCES)
    numbers = itertools.count()
    alive = [Storm(next(numbers), version) for _ in range(count)]
    chosen.shuffle(alive)
    await grow(alive)
    for _ in range(CHURNS):
        chosen.shuffle(alive)
        third = len(alive) // 3
        await end(alive[:third])
        fresh = [Storm(next(numbers), version) for _ in range(third)]
        await grow(fresh)
        alive = alive[third:] + fresh


async def measure_memory(binary: Path, form: str, count: int) -> dict[str, float] | None:
    """INFO memory of a server of its own after the churn; None if that many do not fit."""
    with Valkey(binary, maxmemory=MAXMEMORY) as server:
        connection = Connection.from_url(server.url, timeout_seconds=CALL_SECONDS)
        info: dict[str, Any] | None = None
        try:
            empty = (await connection.client.info("memory"))["used_memory"]
            await (
                churn_ours(connection, count) if form == "stormfold" else churn_json(connection, form, count)
            )
            info = await connection.client.info("memory")
        except* (OutOfMemoryError, StoreFullError):
            pass
        finally:
            await connection.close()
    if info is None:
        return None
    jemalloc = str(info["mem_allocator"]).startswith("jemalloc")
    return {
        "used_mb": info["used_memory"] / 2**20,
        "used_bytes_per_storm": (info["used_memory"] - empty) / count,
        "peak_mb": info["used_memory_peak"] / 2**20,
        "rss_mb": info["used_memory_rss"] / 2**20,
        # Where the allocator is not jemalloc, the server does not know it and says 1.
        **({"allocator_fragmentation": info["allocator_frag_ratio"]} if jemalloc else {}),
        "rss_to_used": info["mem_fragmentation_ratio"],
    }


# --- the part


def measure(say: Say) -> Measured:
    """All of it."""
    return uvloop.run(_measure(say))


async def _measure(say: Say) -> Measured:
    servers = found_servers()
    with Valkey(maxmemory=MAXMEMORY) as server:
        runs = await measure_signals(server, say)
        server.command("FLUSHALL")
        say(f"bytes of a storm of {', '.join(map(str, SIZES))} resources")
        sizes = await measure_bytes(server)
    memory: dict[str, dict[str, float] | None] = {}
    for (name, binary), form, count in itertools.product(servers.items(), FORMS, (FEW, MANY)):
        if name == "valkey" and len(servers) > 1 and form != FORMS[2]:
            continue  # the rivals are measured where the allocator's fragmentation is known
        say(f"memory of {count:,} storms after churn, {form}, on {name}")
        memory[f"{name}, {form}, {count:,} storms"] = await measure_memory(binary, form, count)
    figures = reckon(runs, sizes, memory)
    return Measured(
        figures,
        tables=tables(runs, sizes, memory),
        plots=[
            Bars(
                "redis-cpu",
                "Redis CPU of a signal",
                "µs, logarithmic",
                {course.name: round(course.median("redis"), 2) for course in runs},
                log_x=True,
            ),
            Lines(
                "bytes",
                "Bytes of a storm",
                "resources",
                "bytes",
                {form: list(of.items()) for form, of in sizes.items()},
                log_x=True,
                log_y=True,
            ),
        ],
        raw={
            "signals": {
                course.name: [{what: round(us, 2) for what, us in one.items()} for one in course.rounds]
                for course in runs
            },
            "bytes": sizes,
            "memory": memory,
        },
    )


def reckon(
    runs: list[Course],
    sizes: dict[str, dict[int, int]],
    memory: dict[str, dict[str, float] | None],
) -> dict[str, float]:
    """What the aims are held against."""
    modified, _, whole, _, single, _, _, ten, hundred, *_ = runs
    of_ours = {name: used for name, used in memory.items() if used and "stormfold" in name}
    fragmentation = [
        used["allocator_fragmentation"] for used in of_ours.values() if "allocator_fragmentation" in used
    ]
    return {
        "less_memory_percent": 100 * (1 - sizes["stormfold"][25] / sizes[FORMS[0]][25]),
        "redis_us_10_storms": ten.median("redis"),
        "redis_us_100_storms": hundred.median("redis"),
        "redis_cpu_ratio": ratio(whole, ten, "redis"),
        "wall_ratio_single": ratio(modified, single, "wall"),
        "storms_10000_mb": max(used["used_mb"] for name, used in of_ours.items() if f"{MANY:,}" in name),
        "rss_to_used": max(used["rss_to_used"] for name, used in of_ours.items() if f"{MANY:,}" in name),
        **({"allocator_fragmentation": max(fragmentation)} if fragmentation else {}),
    }


def ratio(one: Course, other: Course, what: str) -> float:
    """How many times more the one takes: the median over the rounds, in each of which both had their turn."""
    return statistics.median(a[what] / b[what] for a, b in zip(one.rounds, other.rounds, strict=True))


def tables(
    runs: list[Course],
    sizes: dict[str, dict[int, int]],
    memory: dict[str, dict[str, float] | None],
) -> list[Table]:
    """For the page."""
    first = runs[0]
    per_signal: list[list[Cell]] = [
        [
            course.name,
            *(course.median(what) for what in ("client", "redis", "commands", "wall")),
            f"{ratio(first, course, 'redis'):,.1f}",
            f"{ratio(first, course, 'wall'):,.1f}",
        ]
        for course in runs
    ]
    base = sizes[FORMS[0]]
    of_storm: list[list[Cell]] = [
        [form, *of.values(), f"{100 * (1 - of[25] / base[25]):.1f} %"] for form, of in sizes.items()
    ]
    whole: list[list[Cell]] = [
        [name, "does not fit", *[None] * 5]
        if used is None
        else [
            name,
            used["used_mb"],
            used["used_bytes_per_storm"],
            used["peak_mb"],
            used["rss_mb"],
            used.get("allocator_fragmentation"),
            used["rss_to_used"],
        ]
        for name, used in memory.items()
    ]
    return [
        Table(
            "µs of a signal",
            (
                "way",
                "client CPU",
                "Redis CPU",
                "of it in commands",
                "wall",
                "less Redis CPU, times",
                "faster, times",
            ),
            per_signal,
            f"Medians of {ROUNDS} rounds, in each of which every way has its turn; the ratios are to the "
            f"first row, in the same round.",
        ),
        Table(
            "Bytes of a storm, by its resources",
            ("form", *(f"{size:,}" for size in SIZES), "less at 25"),
            of_storm,
            "`MEMORY USAGE` of all its keys on Valkey. stormfold lists up to `limits.resources` (here as "
            "many as there are, at most 100) and counts the rest by a HyperLogLog.",
        ),
        Table(
            f"{FEW:,} and {MANY:,} open storms of {RESOURCES} resources after churn, in a {MAXMEMORY} server",
            (
                "server, form",
                "used MB",
                "used bytes a storm",
                "peak MB",
                "resident MB",
                "allocator fragmentation",
                "resident to used",
            ),
            whole,
            f"Every storm grows in {len(GROWTH)} writes; {CHURNS} times a third of all ends and others grow. "
            f"Only a server built with jemalloc knows its fragmentation; the embedded Valkey is not. An "
            f"almost empty server is resident with more than it uses.",
        ),
    ]


ABOUT = f"""
The same signals about storms of {RESOURCES} pods go to the same server ({MAXMEMORY}), over the same client and connection, one caller at a time. The ways:

* the whole request as a Kubernetes object of 30 KB, read, changed in the client (orjson) and written back. It goes without WATCH, as it was done, which spares it a round trip and all retries;
* the same object changed by a Lua script with cjson;
* a JSON text of 2 KB with only what has to be known of a storm, changed by such a script;
* stormfold's `fold.lua`, one signal a call, and in batches as the operator sends them. It alone also knows signals that come twice, windows, thresholds, deadlines and lost storms.

A batch of the other scripts, for fairness, is one call for each storm with all its signals, and the calls travel together. Redis CPU is all that the server used, network included.
"""  # noqa: E501
IN_LUA = (
    "one SADD, HMGET and HSET a storm, which count nothing, take half as much with 10 storms and a quarter "
    "with 100. Of ours the arguments are a quarter to a third, "
    "the ids a fifth to a quarter, reading and writing storms a fifth to a third (decision 0026)"
)
AIMS = (
    Aim(
        "less_memory_percent",
        "less memory than the 30 KB object, at 25 resources, once ids are trimmed (claimed elsewhere: 93)",
        "%",
        at_least=95,
    ),
    Aim(
        "redis_us_10_storms",
        "Redis CPU a signal, 10 storms in a batch of 200",
        "µs",
        at_most=5,
        reason=IN_LUA,
    ),
    Aim(
        "redis_us_100_storms",
        "Redis CPU a signal, 100 storms in a batch of 500",
        "µs",
        at_most=8,
        reason=IN_LUA,
    ),
    Aim(
        "redis_cpu_ratio",
        "less Redis CPU a signal in batches of 200 than the 30 KB object in Lua",
        "times",
        at_least=50,
        reason="as above",
    ),
    Aim(
        "wall_ratio_single",
        "faster than get-modify-set, one signal a call (claimed elsewhere: 7.8)",
        "times",
        at_least=8,
        reason="a call costs the client alone some 150 µs for any content, and an eighth of "
        "get-modify-set by orjson is less; "
        "signals of a storm travel in batches",
    ),
    Aim("storms_10000_mb", "10,000 open storms, all that the server uses", "MB", at_most=32),
    Aim(
        "allocator_fragmentation",
        "allocator fragmentation with 100 and with 10,000 storms (jemalloc)",
        "",
        at_most=1.3,
    ),
    Aim(
        "rss_to_used",
        "resident to used memory with 10,000 storms (claimed elsewhere: under 5)",
        "",
        at_most=5,
    ),
)

PART = Part("store", "The storm store", ABOUT, measure, AIMS)
