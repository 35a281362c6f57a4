"""The part `store`: a storm in Redis four ways, on the same signals and the same server."""

from __future__ import annotations

import itertools

import uvloop
from tests.harness.redis_servers import found_servers

from benchmarks.part import Bars, Lines, Measured, Part, Say
from benchmarks.store.aims import ABOUT, AIMS
from benchmarks.store.figures import reckon, tables
from benchmarks.store.memory import FEW, FORMS, MANY, MAXMEMORY, SIZES, measure_bytes, measure_memory
from benchmarks.store.signals import measure_signals
from lab.valkey import Valkey


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


PART = Part("store", "The storm store", ABOUT, measure, AIMS)
