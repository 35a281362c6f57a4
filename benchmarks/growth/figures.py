"""What the page shows of growth, reckoned from what each run cost."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from benchmarks.growth.cases import (
    AT,
    CURVES,
    DECADES,
    REPLICAS,
    STORMS,
    Case,
    beside_it,
    described,
    few_storms,
    small_storms,
)
from benchmarks.growth.runs import Cost
from benchmarks.part import Cell, Lines, Table

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
