"""What the page shows of the way of a Signal, reckoned from the rounds."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from benchmarks.part import Bars, Cell, Json, Lines, Table
from benchmarks.signals.load import CREATES_AT_ONCE, GROUPS, PROBED, SIGNALS
from benchmarks.signals.redis_watch import LATENCY_MS, SLOW_MS
from benchmarks.signals.scene import Round, Scene
from benchmarks.signals.steps import BURST, BURSTS, LIVES


def median(rounds: Sequence[Round], what: str) -> float:
    """Over rounds."""
    return float(statistics.median(getattr(one, what) for one in rounds))


def cpu_of(costs: Sequence[Mapping[str, float]], who: str) -> float:
    """The median of what one of them used, µs a Signal."""
    return statistics.median(cost.get(who, 0.0) for cost in costs)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest that so large a share is not above."""
    in_order = sorted(values)
    return in_order[min(len(in_order) - 1, int(len(in_order) * share))]


def creates_ratio(scene: Scene, groups: int) -> float:
    """Creates a second beside the operator to those without it: the median over the rounds, each of which has
    both."""
    both = zip(scene.of(groups, watched=True), scene.of(GROUPS[0], watched=False), strict=True)
    return statistics.median(one.creates_per_second / other.creates_per_second for one, other in both)


def lags_ms(scene: Scene, groups: int) -> list[float]:
    """Of all rounds."""
    return [lag * 1e3 for one in scene.of(groups, watched=True) for lag in one.lags]


Lives = Mapping[bool, Sequence[Mapping[str, float]]]
"""Whether each Signal was marked → what each round cost."""


def reckon(figures: Mapping[str, float], scene: Scene, lives: Lives) -> dict[str, float]:
    """What the aims are held against."""
    found = dict(figures)
    for groups in GROUPS:
        watched = scene.of(groups, watched=True)
        lags = lags_ms(scene, groups)
        found |= {
            f"exact_seconds_{groups}": median(watched, "exact_seconds"),
            f"creates_ratio_{groups}": creates_ratio(scene, groups),
            f"operator_us_{groups}": cpu_of([one.cpu for one in watched], "operator"),
            f"fold_lag_p50_ms_{groups}": percentile(lags, 0.5),
            f"fold_lag_p99_ms_{groups}": percentile(lags, 0.99),
        }
    found["operator_us_marked"] = cpu_of(lives[True], "operator")
    found["life_ratio"] = statistics.median(
        plain["kube-apiserver"] / marked["kube-apiserver"]
        for plain, marked in zip(lives[False], lives[True], strict=True)
    )
    return found


WHO = ("operator", "of it kopf", "kube-apiserver", "etcd", "valkey-server")


def tables(figures: Mapping[str, float], scene: Scene, lives: Lives) -> list[Table]:
    """For the page."""
    storms: list[list[Cell]] = []
    for groups, watched in ((GROUPS[0], False), *((groups, True) for groups in GROUPS)):
        rounds = scene.of(groups, watched=watched)
        cpu = [one.cpu for one in rounds]
        lags = lags_ms(scene, groups) if watched else []
        storms.append(
            [
                f"{groups:,} groups, beside the operator" if watched else "without it",
                median(rounds, "creates_per_second"),
                *(cpu_of(cpu, who) if watched or who not in WHO[:2] else None for who in WHO),
                median(rounds, "exact_seconds") if watched else None,
                percentile(lags, 0.5) if watched else None,
                percentile(lags, 0.99) if watched else None,
                median(rounds, "writes") if watched else None,
                median(rounds, "redis_calls") if watched else None,
            ]
        )
    lifetimes: list[list[Cell]] = [
        ["each marked" if marked else "none marked", *(cpu_of(lives[marked], who) for who in WHO)]
        for marked in (False, True)
    ]
    steps: list[list[Cell]] = [
        [
            "watch to acknowledged fold, in batches of 3; 6; 30",
            joined(
                figures, "µs", "watch_to_fold_us_small", "watch_to_fold_us_middling", "watch_to_fold_us_large"
            ),
        ],
        [
            "a status patch, 16 at once; a deletion, 4 at once: CPU of the client",
            joined(figures, "µs", "patch_client_us", "delete_client_us"),
        ],
        [
            f"resident memory with, and after a restart with, {figures['signals_at_restart']:,.0f} Signals",
            joined(figures, "MB", "rss_mb", "rss_mb_after_restart"),
        ],
        ["that restart until it is ready", joined(figures, "s", "restart_seconds")],
        [
            (
                f"SLOWLOG of the storms above: {figures['scripts']:,.0f} scripts, of them longer than "
                f"{SLOW_MS} ms; the slowest"
            ),
            f"{figures['slow_commands']:,.0f}; {figures['slowest_command_ms']:.1f} ms",
        ],
        [
            f"LATENCY LATEST after them: kinds of events longer than {LATENCY_MS} ms; the longest",
            f"{figures['latency_events']:,.0f}; {figures['worst_latency_ms']:,.0f} ms",
        ],
    ]
    return [
        Table(
            f"{SIGNALS:,} Signals, {CREATES_AT_ONCE} creates at once",
            (
                "",
                "creates/s",
                *(f"{who}, µs" for who in WHO),
                "exact after, s",
                "fold lag p50, ms",
                "p99, ms",
                "request writes",
                "scripts a Signal",
            ),
            storms,
            f"Medians of {len(scene.of(GROUPS[0], watched=True))} rounds that take turns. CPU is that of a "
            f"Signal, until the last create was acknowledged or, beside the operator, everything was exact. "
            f"The lag is that of every {PROBED}th Signal, from the acknowledgement of its create until Redis "
            f"has counted it.",
        ),
        Table(
            "µs of CPU for the life of a Signal: created, counted, deleted",
            ("", *WHO),
            lifetimes,
            f"{BURSTS} bursts of {BURST} Signals of {GROUPS[0]} groups, {LIVES} times; the client deletes "
            f"them as retention does. With marks, each Signal's status says where it went.",
        ),
        Table("Single steps", ("", "measured"), steps),
    ]


def joined(figures: Mapping[str, float], unit: str, *names: str) -> str:
    """Some figures in one cell."""
    return "; ".join(f"{figures[name]:,.{1 if figures[name] < 100 else 0}f} {unit}" for name in names)


def plots(scene: Scene) -> list[Bars | Lines]:
    """For the page."""
    lengths = {
        f"{who}, {groups:,} groups": round(cpu_of([one.cpu for one in scene.of(groups, watched=True)], who))
        for groups in GROUPS
        for who in WHO
        if who != "of it kopf"
    }
    return [Bars("cpu", "CPU of a Signal until everything is exact", "µs", lengths)]


def raw(scene: Scene, lives: Lives) -> Json:
    """Every round; of the lags some."""
    return {
        "storms": [asdict(one) | {"lags": [round(lag, 3) for lag in one.lags]} for one in scene.rounds],
        "lives": {"marked" if marked else "plain": list(of) for marked, of in lives.items()},
    }
