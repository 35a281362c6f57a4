"""What the page shows of the storm store, reckoned from what was measured."""

from __future__ import annotations

import statistics

from benchmarks.part import Cell, Table
from benchmarks.store.memory import CHURNS, FEW, FORMS, GROWTH, MANY, MAXMEMORY, SIZES
from benchmarks.store.signals import ROUNDS, Course
from benchmarks.store.ways import RESOURCES


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
