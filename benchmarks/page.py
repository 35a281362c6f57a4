"""`docs/benchmarks.md` from the results, by `page`: nothing else goes into it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from benchmarks.part import LIMIT_SECONDS, Aim, Cell, Json, Part, Result, Table

HEAD = """\
<!-- Generated from docs/benchmarks/*.json and the aims in benchmarks/: run `make bench`, or `make generate` for the page alone. -->
# Benchmarks

`make bench` measures all parts in at most {limit} s, `make bench PART={first}` one. In that time `growth` leaves out its largest cases: `make bench PART=growth BENCH_SECONDS=900` gives it more. What is below took {took:.0f} s. Each part was measured when and where it says, on servers of its own,
with the ways that it compares interleaved in one run. Ratios are what to go by; times are of that machine, which also ran the servers and the load.
"""  # noqa: E501


def read(folder: Path) -> list[Result]:
    """The results that were kept."""
    return [Result.from_json(json.loads(path.read_text())) for path in sorted(folder.glob("*.json"))]


def page(parts: Sequence[Part], results: Sequence[Result]) -> str:
    """The page: the aims of all parts first, then each part in the order of `parts`."""
    by_name = {result.part: result for result in results}
    measured = [(part, by_name[part.name]) for part in parts if part.name in by_name]
    took = sum(result.took_seconds for _, result in measured)
    aims = [row for part, result in measured for row in _aim_rows(part, result)]
    sections = [
        HEAD.format(took=took, limit=LIMIT_SECONDS, first=parts[0].name),
        _table(Table("Aims", ("part", "what", "aim", "measured", ""), aims)),
        *(_section(part, result) for part, result in measured),
    ]
    return "\n".join(sections)


def _aim_rows(part: Part, result: Result) -> list[list[Cell]]:
    rows: list[list[Cell]] = []
    for aim in part.aims:
        measured = result.measured.figures.get(aim.figure)
        shown = "–" if measured is None else f"{_cell(measured)} {aim.unit}".strip()
        rows.append(
            [f"[{part.name}](#{_anchor(part.title)})", aim.what, _bound(aim), shown, verdict(aim, measured)]
        )
    return rows


def verdict(aim: Aim, measured: float | None) -> str:
    """What the page says of an aim."""
    if measured is None:
        return "not measured"
    if aim.held(measured):
        return "held"
    return f"**fell short**: {aim.reason}" if aim.reason else "**fell short**"


def _bound(aim: Aim) -> str:
    sign, bound = ("≤", aim.at_most) if aim.at_most is not None else ("≥", aim.at_least)
    return f"{sign} {_cell(bound)} {aim.unit}".strip()


def _section(part: Part, result: Result) -> str:
    lines = [f"## {part.title}", "", part.about.strip(), "", _where(result.machine, result.took_seconds), ""]
    for table in result.measured.tables:
        lines += [_table(table, level=3)]
    for plot in result.measured.plots:
        lines += [f"![{plot.title}](benchmarks/{part.name}-{plot.name}.svg)", ""]
    return "\n".join([*lines, f"All figures: [{part.name}.json](benchmarks/{part.name}.json)", ""])


def _where(machine: Json, took_seconds: float) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    commit = f"commit {machine['commit']}" + (" with changes" if machine["changed"] else "")
    return (
        f"*{machine['date'][:16].replace('T', ' ')} UTC, {commit}, in {took_seconds:.0f} s; "
        f"{machine['cores']} cores of "
        f"{machine['cpu']}, {machine['memory_mb'] // 1024} GB, load before {machine['load_before']}; "
        f"`{versions}`*"
    )


def _table(table: Table, *, level: int = 2) -> str:
    title = [f"{'#' * level} {table.title}", ""] if table.title else []
    rows = [
        f"| {' | '.join(table.head)} |",
        f"|{'---|' * len(table.head)}",
        *(f"| {' | '.join(_cell(cell) for cell in row)} |" for row in table.rows),
    ]
    return "\n".join([*title, *rows, "", *([table.note, ""] if table.note else [])])


def _cell(cell: Cell) -> str:
    """Numbers with three significant digits, or all of them if they are whole."""
    if cell is None:
        return "–"
    if isinstance(cell, str):
        return cell
    if isinstance(cell, float) and cell != int(cell) and abs(cell) < 1000:
        return f"{cell:.{2 if abs(cell) < 10 else 1 if abs(cell) < 100 else 0}f}"
    return f"{cell:,.0f}"


def _anchor(title: str) -> str:
    return "".join(c for c in title.lower() if c.isalnum() or c in " -").replace(" ", "-")
