"""What the webhook takes, as a table or as JSON: `python -m benchmarks.webhook [--posts …]`."""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path

import uvloop

from benchmarks.webhook.load import ALERTS, GROUPS
from benchmarks.webhook.phases import CONNECTIONS, CORES, POSTS, measure

HEAD = (
    f"{'':34} {'alerts/s':>8} {'CPU µs':>7} {'alerts/s':>8} {'Redis':>7} {'answer':>8} {'answer':>8} "
    f"{'again':>5}  share of the machine\n"
    f"{'':34} {'':8} {'/alert':>7} {'/core':>8} {'µs/al.':>7} {'p50 ms':>8} {'p99 ms':>8}"
)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--posts", type=int, default=POSTS, help=f"bodies of {ALERTS} alerts (default: {POSTS})"
    )
    parser.add_argument(
        "--connections",
        type=int,
        default=CONNECTIONS,
        help=f"posts at once, of two callers (default: {CONNECTIONS})",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    parser.add_argument(
        "--profile", type=Path, metavar="FILE", help="only ack: request, with the operator under cProfile"
    )
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="stormfold-bench-") as folder:
        rows = uvloop.run(measure(arguments, Path(folder)))
    if arguments.json:
        print(json.dumps({row.name: row.figures() for row in rows}))
        return
    print(
        f"{arguments.posts * ALERTS:,} alerts of {GROUPS} groups in bodies of {ALERTS}, "
        f"{arguments.connections} at once, on {CORES} cores, load before {load:.1f}\n{HEAD}"
    )
    for row in rows:
        print(row.line())


if __name__ == "__main__":
    main()
