"""One run: a load is counted into empty servers, and what that took."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from benchmarks.growth.load import Load
from benchmarks.growth.replicas import Replicas
from lab.valkey import Valkey
from stormfold.app import end_all
from stormfold.fold.connection import Connection
from stormfold.fold.folding import FOLD_ERRORS, FOLD_SECONDS

DURABLE_SECONDS = 120.0


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
        for part in parts:
            if part.done():
                part.result()
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
