"""How well causes are told: mixtures of which the cause is known, and a table of what was said."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tests.harness.mixtures import ATTRIBUTES, FAULTS, Mixture, Values, mixture

from stormfold.model.causes import Counted
from stormfold.model.evidence import NameCount
from stormfold.request.causes import Cause

NOISES = (0.0, 0.3, 0.6)
Said = Sequence[tuple[str, str]]
"""Attribute and value of each cause that was claimed, the best first."""


def exactly(signals: Iterable[Values]) -> dict[str, Counted]:
    """All values of all attributes, counted one by one."""
    of = defaultdict[str, Counter[str]](Counter)
    total = 0
    for signal in signals:
        total += 1
        for attribute, value in signal.items():
            of[attribute][value] += 1
    return {
        attribute: Counted({value: NameCount(n) for value, n in of[attribute].items()}, signals=total)
        for attribute in ATTRIBUTES
    }


@dataclass
class Row:
    """What was said of the mixtures of one kind."""

    right: int = 0
    """The cause came first."""
    among: int = 0
    """It came, but not first."""
    none: int = 0
    """Nothing was claimed."""
    wrong: int = 0
    """Something else was claimed, and the cause was not."""

    @property
    def count(self) -> int:
        """How many there were."""
        return self.right + self.among + self.none + self.wrong

    def note(self, of: Mixture, said: Said) -> None:
        """Count what was said of one. `right` of a faultless one is that nothing was claimed."""
        if not said:
            if of.cause is None:
                self.right += 1
            else:
                self.none += 1
        elif of.cause == said[0]:
            self.right += 1
        elif of.cause in said:
            self.among += 1
        else:
            self.wrong += 1


@dataclass
class Table:
    """Rows by fault, noise and whether there is a background."""

    rows: dict[tuple[str, float, bool], Row] = field(default_factory=lambda: defaultdict(Row))

    def share(self, what: str, *, fault: bool, noise: float) -> float:
        """How many in a hundred of the mixtures with a fault, or of those without one."""
        rows = [
            row for (kind, loud, _), row in self.rows.items() if (kind in FAULTS) is fault and loud == noise
        ]
        return 100 * sum(getattr(row, what) for row in rows) / sum(row.count for row in rows)

    def __str__(self) -> str:
        lines = ["| fault | noise | others known | right | not first | none | wrong |", "|---" * 7 + "|"]
        for (fault, noise, background), row in self.rows.items():
            figures = f"{row.right} | {row.among} | {row.none} | {row.wrong}"
            lines.append(f"| {fault} | {noise:.0%} | {'yes' if background else 'no'} | {figures} |")
        return "\n".join(lines)


def cases(seeds: Iterable[int]) -> Iterable[tuple[tuple[str, float, bool], Mixture]]:
    """Each fault with each noise, and as many faultless ones as are of all faults at one noise."""
    for seed in seeds:
        for background in (True, False):
            for fault in FAULTS:
                for noise in NOISES:
                    yield (fault, noise, background), mixture(seed, fault, noise, background=background)
            for n in range(len(FAULTS)):
                of = mixture(len(FAULTS) * seed + n, None, 1.0, background=background)
                yield ("none", 1.0, background), of


def said_of(causes: Iterable[Cause]) -> list[tuple[str, str]]:
    """Attribute and value of causes."""
    return [(cause.attribute, cause.value) for cause in causes]


def attributes_of(signal: Mapping[str, str]) -> dict[str, str]:
    """The labels of a signal: what `labels.` names."""
    return {key.removeprefix("labels."): value for key, value in signal.items() if key.startswith("labels.")}
