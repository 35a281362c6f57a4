"""Measures the named parts, or all: `python -m benchmarks [part …]`. `--page` only writes page and plots
anew."""

from __future__ import annotations

import argparse
import json
import sys
import time

from tests.harness import invocation

from benchmarks import machine, page, plots
from benchmarks.part import LIMIT_SECONDS, Part, Result
from benchmarks.parts import PARTS

DOCS = machine.ROOT / "docs"
FOLDER = DOCS / "benchmarks"


def main() -> int:
    """Measure, keep, draw, and print how each aim came out."""
    parser = argparse.ArgumentParser(prog="make bench PART=…", description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="part", help=f"one of {', '.join(p.name for p in PARTS)}")
    parser.add_argument("--page", action="store_true", help="measure nothing")
    arguments = parser.parse_args()
    unknown = set(arguments.parts) - {part.name for part in PARTS}
    if unknown:
        parser.error(f"no part is called {', '.join(sorted(unknown))}")
    chosen = [part for part in PARTS if not arguments.parts or part.name in arguments.parts]
    FOLDER.mkdir(exist_ok=True)
    began = time.monotonic()
    for part in () if arguments.page else chosen:
        keep(measure(part))
    results = page.read(FOLDER)
    for result in results:
        for plot in result.measured.plots:
            plots.draw(plot, FOLDER / f"{result.part}-{plot.name}.svg")
    (DOCS / "benchmarks.md").write_text(page.page(PARTS, results))
    for part in chosen:
        for result in results:
            if result.part == part.name:
                print_aims(part, result)
    took = time.monotonic() - began
    allowed = "" if arguments.parts or arguments.page else f" (at most {LIMIT_SECONDS} s)"
    print(f"docs/benchmarks.md is written; all of it took {took:.0f} s{allowed}", file=sys.stderr)
    return 0


def measure(part: Part) -> Result:
    """One part, with its progress on stderr."""
    began = time.monotonic()

    def say(line: str) -> None:
        print(f"[{time.monotonic() - began:5.0f} s] {part.name}: {line}", file=sys.stderr, flush=True)

    say(part.title)
    where = machine.describe()
    measured = part.measure(say)
    return Result(part.name, where, time.monotonic() - began, measured)


def keep(result: Result) -> None:
    """Write `docs/benchmarks/<part>.json`; plots of an earlier run go."""
    for old in FOLDER.glob(f"{result.part}-*.svg"):
        old.unlink()
    text = json.dumps(result.to_json(), indent=1, ensure_ascii=False)
    (FOLDER / f"{result.part}.json").write_text(text + "\n")


def print_aims(part: Part, result: Result) -> None:
    """For whoever waits."""
    for aim in part.aims:
        measured = result.measured.figures.get(aim.figure)
        bound = f"≤ {aim.at_most:g}" if aim.at_most is not None else f"≥ {aim.at_least:g}"
        shown = "–" if measured is None else f"{measured:.4g}"
        word = page.verdict(aim, measured).partition(":")[0].strip("*")
        print(f"{part.name:8} {word:12} {shown:>9} {aim.unit:4} {bound:9} {aim.what}")


if __name__ == "__main__":
    invocation.run(main)
