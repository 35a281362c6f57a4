"""What the webhook takes: alerts from a socket to their RemediationRequests, and beside it a real
Alertmanager's API.

One replica with Valkey on the same machine; the alerts come from a process of its own, in bodies of 100 of
one group each, as a pair of Alertmanagers would post them with a token each. Each phase posts every body
once: when all are new, and when all are known. Then the same alerts go, in bodies of 100, to `/api/v2/alerts`
of an Alertmanager that has nobody to notify. CPU is counted from the first post to the last answer. All share
the cores, so the table ends with who used how much of the machine.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import uvloop

from benchmarks import alertmanager
from benchmarks.part import Aim, Cell, Measured, Part, Say, Table
from benchmarks.webhook.load import ALERTS, GROUPS
from benchmarks.webhook.phases import CONNECTIONS, POSTS, measure


def measure_part(say: Say) -> Measured:
    """All phases, and what reading and serving cost without what comes behind."""
    arguments = argparse.Namespace(posts=POSTS, connections=CONNECTIONS, profile=None)
    with tempfile.TemporaryDirectory(prefix="stormfold-bench-") as folder:
        rows = uvloop.run(measure(arguments, Path(folder)))
    say("reading and serving alone")
    reading = min(alertmanager.reading_us() for _ in range(alertmanager.ROUNDS))
    serving = min(uvloop.run(alertmanager.serving_us()) for _ in range(alertmanager.ROUNDS))
    ours, theirs = rows[0], rows[4]
    cells: list[list[Cell]] = []
    for row in rows:
        figures = row.figures()
        cpu = figures["cpu_us_per_alert"]
        shares = ", ".join(f"{name} {share:.0%}" for name, share in figures["share_of_machine"].items())
        cells.append(
            [
                row.name,
                figures["alerts_per_second"],
                next(iter(cpu.values())),
                figures["alerts_per_second_of_cpu"],
                cpu.get("valkey-server"),
                figures["answer_p50_ms"],
                figures["answer_p99_ms"],
                figures["refused_posts"],
                shares,
            ]
        )
    head = (
        *("phase", "alerts/s", "CPU µs an alert", "alerts/s of a core", "Redis CPU µs an alert"),
        *("answer p50 ms", "answer p99 ms", "posted again", "shares of the machine"),
    )
    note = (
        f"{POSTS * ALERTS:,} alerts of {GROUPS} groups in bodies of {ALERTS}, {CONNECTIONS} posts at once. "
        f"Without what "
        f"comes behind the webhook, serving takes {serving:.1f} µs an alert, {reading:.1f} of them to read "
        f"it."
    )
    return Measured(
        figures={
            "alerts_per_core": ours.per_core,
            "per_core_ratio": ours.per_core / theirs.per_core,
            "per_second_ratio": ours.per_second / theirs.per_second,
            "reading_us": reading,
            "serving_us": serving,
        },
        tables=[Table("", head, cells, note)],
        raw={row.name: row.figures() for row in rows},
    )


ABOUT = """
Alerts go from a socket to their requests and back, with both ways to acknowledge (`STORMFOLD_WEBHOOK_ACK`), first when all are new and then when all are known. The same alerts then go to
`/api/v2/alerts` of a real Alertmanager that has nobody to notify. The load is a process of its own; all share the cores.
"""  # noqa: E501
AIMS = (
    Aim(
        "alerts_per_core",
        "new alerts a second and core of the operator's CPU, ack: request",
        "",
        at_least=20_000,
        reason="of 64 µs an alert, to read it with its annotations takes 16",
    ),
    Aim(
        "per_core_ratio",
        "the same to what Alertmanager takes",
        "times",
        at_least=1,
        reason="machines differ: on an Intel Xeon, where Alertmanager takes 11,268, it was 1.64 times "
        "(2026-11-27, without annotations)",
    ),
    Aim(
        "per_second_ratio",
        "new alerts a second by the clock, to what Alertmanager takes",
        "times",
        at_least=1,
        reason="a replica is one process and has one core, of which Redis and the writes take their part; "
        "Alertmanager has both. "
        "The last answers of the run, too, wait for a write of their requests",
    ),
)
PART = Part("webhook", "The webhook", ABOUT, measure_part, AIMS)
