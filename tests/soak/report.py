"""Report: the thirds of a run side by side, and which figures are flat. Pure, but for printing."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

GROWTH = 1.05
"""How much more than in the middle may be there at the end."""

Sample = Mapping[str, float]
"""Figures of one moment, by name."""


@dataclass(frozen=True)
class Figure:
    """What is sampled; `slack` may be there at the end beyond the middle, even if it is more than `GROWTH`
    allows. None: it is shown and not judged."""

    name: str
    unit: str
    slack: float | None


@dataclass(frozen=True)
class Course:
    """A figure over the run: the medians of its thirds."""

    figure: Figure
    begin: float
    middle: float
    end: float

    @classmethod
    def of(cls, figure: Figure, samples: Sequence[Sample]) -> Course:
        """From at least three samples, in their order."""
        values = [sample[figure.name] for sample in samples]
        cuts = [len(values) * third // 3 for third in range(4)]
        return cls(
            figure,
            *(statistics.median(values[low:high]) for low, high in itertools.pairwise(cuts)),
        )

    @property
    def flat(self) -> bool:
        """Whether it does not grow, or may."""
        if self.figure.slack is None:
            return True
        return self.end <= max(self.middle * GROWTH, self.middle + self.figure.slack)


def show(courses: Sequence[Course], lines: Sequence[tuple[str, str]], console: Console) -> None:
    """The table at the end; `lines` are what else is to be said."""
    table = Table(box=SIMPLE_HEAD, title="soak, medians of the thirds", title_justify="left")
    table.add_column("")
    for head in ("begin", "middle", "end", "end to middle"):
        table.add_column(head, justify="right")
    table.add_column("")
    for course in courses:
        change = f"{100 * (course.end / course.middle - 1):+.1f} %" if course.middle else "–"
        table.add_row(
            f"{course.figure.name}, {course.figure.unit}" if course.figure.unit else course.figure.name,
            *(
                f"{value:,.1f}" if value % 1 else f"{value:,.0f}"
                for value in (course.begin, course.middle, course.end)
            ),
            change,
            "shown" if course.figure.slack is None else "flat" if course.flat else "NOT FLAT",
        )
    console.print(table)
    for name, said in lines:
        console.print(f"{name:>56}  {said}", highlight=False, soft_wrap=True)
