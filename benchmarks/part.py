"""What the parts give and the page shows: figures, aims, tables, plots. All of it goes through JSON and
back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

LIMIT_SECONDS = 900
"""How long all parts together may take."""

Say = Callable[[str], None]
"""Takes one line for the person who waits."""
Cell = str | int | float | None
"""Of a table; None for what does not apply."""
Json = dict[str, Any]


@dataclass(frozen=True)
class Aim:
    """A bound for one figure, and why it is not held if it is not."""

    figure: str
    what: str
    unit: str
    at_most: float | None = None
    at_least: float | None = None
    reason: str = ""
    """Said when it falls short."""

    def held(self, measured: float) -> bool:
        """Whether the figure is within the bound."""
        if self.at_most is not None:
            return measured <= self.at_most
        return self.at_least is not None and measured >= self.at_least


@dataclass(frozen=True)
class Table:
    """Rows of cells, the first of which names the row."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    note: str = ""


@dataclass(frozen=True)
class Lines:
    """A plot of curves: name → points."""

    name: str
    title: str
    x: str
    y: str
    curves: Mapping[str, Sequence[tuple[float, float]]]
    log_x: bool = False
    log_y: bool = False
    kind: str = "lines"


@dataclass(frozen=True)
class Bars:
    """A plot of one length for each name."""

    name: str
    title: str
    x: str
    lengths: Mapping[str, float]
    log_x: bool = False
    kind: str = "bars"


Plot = Lines | Bars


@dataclass(frozen=True)
class Measured:
    """What one run of a part gave."""

    figures: Mapping[str, float]
    """What aims are held against."""
    tables: Sequence[Table] = ()
    plots: Sequence[Plot] = ()
    raw: Any = None


@dataclass(frozen=True)
class Result:
    """The same with where and when it was measured: the contents of `docs/benchmarks/<part>.json`."""

    part: str
    machine: Json
    """See `machine.describe`."""
    took_seconds: float
    measured: Measured

    def to_json(self) -> Json:
        """As `from_json` reads it."""
        head = {"part": self.part, "machine": self.machine, "took_seconds": round(self.took_seconds, 1)}
        return head | asdict(self.measured)

    @classmethod
    def from_json(cls, read: Json) -> Result:
        """What `to_json` wrote."""
        plots: list[Plot] = [
            Lines(**plot) if plot["kind"] == "lines" else Bars(**plot) for plot in read["plots"]
        ]
        tables = [Table(**table) for table in read["tables"]]
        measured = Measured(read["figures"], tables, plots, read["raw"])
        return cls(read["part"], read["machine"], read["took_seconds"], measured)


@dataclass(frozen=True)
class Part:
    """A part of the suite."""

    name: str
    title: str
    about: str
    """What is measured and how: Markdown, at the head of its section of the page."""
    measure: Callable[[Say], Measured]
    aims: Sequence[Aim] = field(default=())
