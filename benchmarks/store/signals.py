"""What a signal costs: each way gets its batches, and all take turns."""

from __future__ import annotations

import itertools
import json
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson

from benchmarks.part import Say
from benchmarks.store import rivals
from benchmarks.store.storms import Storm, endless, policy, storms
from benchmarks.store.ways import CALL_SECONDS, RESOURCES, Batch, Stormfold, Way
from lab.valkey import Valkey
from stormfold.fold import keys
from stormfold.fold.connection import Connection
from stormfold.fold.store import StormStore
from stormfold.model.arrival import Arrival

PARTITION = 7
"""That of the storms which share one."""
ROUNDS = 7


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
    spare = storms(140, version)
    together = storms(110, version, partition=PARTITION, first=len(spare))
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
    ours = [storm.group for course in runs if isinstance(course.way, Stormfold) for storm in course.of]
    assert len(set(ours)) == len(ours), "two courses share a storm, so that signals come twice"
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
