"""What a storm takes: the bytes of its keys, and what a server uses after many have come and gone."""

from __future__ import annotations

import itertools
import random
from collections import defaultdict
from pathlib import Path
from typing import Any

import orjson
from redis.exceptions import OutOfMemoryError

from benchmarks.store import rivals
from benchmarks.store.storms import Storm, policy, storms
from benchmarks.store.ways import CALL_SECONDS, RESOURCES, Stormfold, by_partition, in_turns
from lab.valkey import Valkey
from stormfold.fold import keys
from stormfold.fold.connection import Connection
from stormfold.fold.errors import StoreFullError
from stormfold.fold.store import StormStore

MAXMEMORY = "512mb"
SIZES = (10, 25, 50, 100, 1000)
MANY = 10_000
FEW = 100
GROWTH = (1, 7, 13, 19, 25)
"""How many resources a storm has after each of its writes, while memory churns."""
CHURNS = 2
"""How often a third of all storms ends and others take their place."""
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
