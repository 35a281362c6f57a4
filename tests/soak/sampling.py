"""Sampling: what processes and Redis use, from /proc, /metrics and INFO."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Sequence
from pathlib import Path

import aiohttp
from tests.harness.operator import OperatorProcess
from tests.soak.report import Figure, Sample
from tests.soak.world import OPERATORS, SoakWorld

EVERY_SECONDS = 2.0
MB = 2**20
CONNECTIONS = 8
"""To the API server more or less, by how many calls were under way at once in the last minutes: each is kept
for a while."""


def figures(per_second: float) -> Sequence[Figure]:
    """All that is sampled. A second of the stream may be more under way at the end.

    Signals that are there are counted ones that wait for their deletion, as many as the API server leaves
    over at this moment; that each is deleted is seen at the end.
    """
    of_operators = [
        figure
        for number in range(OPERATORS)
        for figure in (
            Figure(f"operator {number}: resident memory", "MB", 2),
            Figure(f"operator {number}: open files", "", CONNECTIONS),
            Figure(f"operator {number}: sockets of them", "", CONNECTIONS),
            Figure(f"operator {number}: threads", "", 0),
        )
    ]
    return [
        *of_operators,
        Figure("Redis: used memory", "MB", 0.1),
        Figure("Redis: keys", "", 10),
        Figure("signals in flight", "", per_second),
        Figure("Signals that are there", "", None),
        Figure("open storms", "", 2),
    ]


async def sample(world: SoakWorld) -> Sample:
    """The figures of this moment."""
    read: dict[str, float] = {}
    in_flight = live = 0.0
    open_storms = 0.0
    for number, operator in enumerate(world.operators):
        for name, value in of_process(operator).items():
            read[f"operator {number}: {name}"] = value
        metrics = await operator.metrics()
        in_flight += metrics.total("stormfold_signals_in_flight")
        # The leader alone reads Signals, and each replica knows the storms that it has folded into.
        live = max(live, metrics.total("stormfold_signals_live"))
        open_storms = max(open_storms, metrics.total("stormfold_storms_open"))
    memory = str(await asyncio.to_thread(world.valkey.command, "INFO", "memory"))
    keys = await asyncio.to_thread(world.valkey.command, "DBSIZE")
    assert isinstance(keys, int)
    used = re.search(r"^used_memory:(\d+)", memory, re.MULTILINE)
    assert used is not None
    return read | {
        "Redis: used memory": int(used[1]) / MB,
        "Redis: keys": keys,
        "signals in flight": in_flight,
        "Signals that are there": live,
        "open storms": open_storms,
    }


def of_process(operator: OperatorProcess) -> dict[str, float]:
    """What the kernel knows of an operator."""
    process = Path(f"/proc/{operator.pid}")
    status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
    files, sockets = 0, 0
    for file in (process / "fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            sockets += str(file.readlink()).startswith("socket:")
            files += 1
    return {
        "resident memory": int(status["VmRSS"].split()[0]) / 1024,
        "open files": files,
        "sockets of them": sockets,
        "threads": int(status["Threads"]),
    }


async def keep_sampling(world: SoakWorld, samples: list[Sample]) -> None:
    """Add a sample every `EVERY_SECONDS`, for ever, but while an operator is not there."""
    while True:
        with contextlib.suppress(OSError, TimeoutError, aiohttp.ClientError):
            samples.append(await sample(world))
        await asyncio.sleep(EVERY_SECONDS)
