"""What the page says of the way of a Signal, and what it is held to."""

from __future__ import annotations

from benchmarks.part import Aim

ABOUT = """
A real kube-apiserver with etcd, a Valkey and one operator, all on loopback. Signals of 0.7 KB are created as fast as the API server takes them, by the operator's own client in a process
of its own. All of them share the machine, so that creates beside the operator are held against creates without it, in rounds that take turns.

For orientation: a Go controller (controller-runtime) did the same in memory, on a machine of this kind. It took 0.37 ms of its CPU a Signal without marks and 1.17 ms with them, and 44 to 51 MB.
It was exact 1.0 to 1.2 s after the last create. It was not part of these runs.
"""  # noqa: E501
NO_CORE_LEFT = (
    "creates at full speed take both cores of the machine by themselves, so that "
    "all else that runs waits, and slows them"
)
SPREAD = (
    "no step stands out any more ([profile](profile.md)): reading and taking in a "
    "Signal is a quarter of it, and so is writing requests"
)
ONCE_A_SECOND = (
    "a request is written once a second at most, so that the last signals of some of "
    "20 wait nearly as long. The rest is their fold and the write"
)
AIMS = (
    Aim(
        "exact_seconds_20",
        "requests are exact after the last create, 20 groups (Go, in memory: 1.0 to 1.2)",
        "s",
        at_most=1.0,
        reason=ONCE_A_SECOND,
    ),
    Aim(
        "operator_us_20",
        "CPU of the operator a Signal, 20 groups (Go: 370)",
        "µs",
        at_most=370,
        reason=SPREAD,
    ),
    Aim(
        "operator_us_marked",
        "the same with each Signal marked, deletions included (Go: 1,170)",
        "µs",
        at_most=1170,
        reason=SPREAD,
    ),
    Aim(
        "creates_ratio_20",
        "creates beside the operator to those without it, 20 groups",
        "",
        at_least=0.9,
        reason=NO_CORE_LEFT,
    ),
    Aim("creates_ratio_2000", "the same with 2,000 groups", "", at_least=0.9, reason=NO_CORE_LEFT),
    Aim(
        "fold_lag_p99_ms_20",
        "from an acknowledged create to the fold, p99, 20 groups",
        "ms",
        at_most=300,
        reason=NO_CORE_LEFT,
    ),
    Aim(
        "life_ratio",
        "CPU of the API server for the life of a Signal, to that with a mark on each",
        "",
        at_most=0.7,
    ),
    Aim("watch_to_fold_us_large", "CPU from watch to acknowledged fold, in batches of 30", "µs", at_most=250),
    Aim(
        "watch_to_fold_us_small",
        "the same in batches of 3",
        "µs",
        at_most=250,
        reason="a call costs the client some 150 µs for any content",
    ),
    Aim("patch_client_us", "CPU of the client for a status patch", "µs", at_most=500),
    Aim("delete_client_us", "CPU of the client for a deletion", "µs", at_most=500),
    Aim(
        "rss_mb_after_restart",
        "resident memory after a restart with 6,000 Signals",
        "MB",
        at_most=150,
    ),
)
