"""Causes: how often values of attributes have come, as bounded counters tell it (pure).

Counters know a value by its digest: what is kept of values does not say what they are until one is a cause.
"""

from binascii import b2a_base64
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from typing import Protocol

from stormfold.model.evidence import NameCount

MIN_ELSEWHERE = 50
"""With fewer signals elsewhere it is not known how common a value is."""
COUNTED_VALUES = 4
"""Values of an attribute that are counted one by one in a storm."""


class Commonness(Protocol):
    """How common the values of one attribute are."""

    @property
    def signals(self) -> int:
        """How many signals were looked at."""

    def most(self, value: str) -> int:
        """How many signals may have the value."""

    def values_beside(self, some: Collection[str]) -> int:
        """How many values there are that are not among some."""


@dataclass(frozen=True, slots=True)
class Counted:
    """The most frequent values of one attribute, counted by space-saving."""

    values: Mapping[str, NameCount] = field(default_factory=dict)
    """How many signals have each: at least `signals`, and at most `others` more."""
    floor: int = 0
    """How many signals may have a value that is not among them."""
    signals: int = 0
    """How many signals were looked at, whether they have the attribute or not."""

    def most(self, value: str) -> int:
        """How many signals may have the value."""
        count = self.values.get(value)
        return count.signals + count.others if count else self.floor

    def and_unknown(self, signals: int) -> "Counted":
        """The same with so many more signals of which nothing is known."""
        if not signals:
            return self
        values = {value: of._replace(others=of.others + signals) for value, of in self.values.items()}
        return Counted(values, self.floor + signals, self.signals + signals)

    def and_then(self, counts: Mapping[str, int], *, left_out: int, signals: int) -> "Counted":
        """The same with so many more signals, of which these have these values. Any other value has come at
        most `left_out` times among them. The `COUNTED_VALUES` that may be the most frequent are kept."""
        values = {
            value: NameCount(of.signals + counts[value], of.others)
            if value in counts
            else NameCount(of.signals, of.others + left_out)
            for value, of in self.values.items()
        }
        for value, count in counts.items():
            if value not in values:
                values[value] = NameCount(count, self.floor)
        floor = self.floor + left_out
        if len(values) > COUNTED_VALUES:
            in_order = sorted(values, key=lambda value: (-sum(values[value]), value))
            floor = max(floor, sum(values[in_order[COUNTED_VALUES]]))
            values = {value: values[value] for value in in_order[:COUNTED_VALUES]}
        return Counted(values, floor, self.signals + signals)

    def values_beside(self, some: Collection[str]) -> int:
        """How many values there are that are not among some."""
        return len(self.values) - sum(value in self.values for value in some)

    def scaled(self, most: int) -> "Counted":
        """What so many of the signals tell: the same shares, rounded towards what is less sure."""
        if self.signals <= most:
            return self
        values = {}
        for value, of in self.values.items():
            low, high = of.signals * most // self.signals, -(-sum(of) * most // self.signals)
            values[value] = NameCount(low, high - low)
        return Counted(values, -(-self.floor * most // self.signals), most)


NOTHING_COUNTED = Counted()


class Sum:
    """What several have counted apart, added up: what it answers does not take longer the more values there
    are. A value that one of them does not have may have come there as often as its `floor`."""

    def __init__(self) -> None:
        self.signals = self._floor = 0
        self._beyond_floor = Counter[str]()
        """How many signals more than `_floor` may have each value."""
        self._parts = Counter[str]()
        """How many have counted each value."""

    def add(self, part: Counted) -> None:
        """One more has counted this."""
        self._change(part, 1)

    def take(self, part: Counted) -> None:
        """It is not to count any more; it was added before."""
        self._change(part, -1)

    def _change(self, part: Counted, times: int) -> None:
        self.signals += times * part.signals
        self._floor += times * part.floor
        for value, count in part.values.items():
            self._beyond_floor[value] += times * (sum(count) - part.floor)
            self._parts[value] += times
            if not self._parts[value]:
                del self._parts[value], self._beyond_floor[value]

    def most(self, value: str) -> int:
        """How many signals may have the value."""
        return self._floor + self._beyond_floor.get(value, 0)

    def values_beside(self, some: Collection[str]) -> int:
        """How many values there are that are not among some."""
        return len(self._parts) - sum(value in self._parts for value in some)

    def only_in(self, part: Counted) -> Collection[str]:
        """The values that none has counted but this part, which was added."""
        return [value for value in part.values if self._parts[value] == 1]

    def without(self, part: Counted) -> "Rest":
        """The same without one that was added."""
        return Rest(self, part)


@dataclass(frozen=True, slots=True)
class Rest:
    """A sum without one part of it."""

    whole: Sum
    part: Counted

    @property
    def signals(self) -> int:
        """How many signals were looked at."""
        return self.whole.signals - self.part.signals

    def most(self, value: str) -> int:
        """How many signals may have the value."""
        return self.whole.most(value) - self.part.most(value)

    def values_beside(self, some: Collection[str]) -> int:
        """How many values there are that are not among some."""
        gone = sum(value not in some for value in self.whole.only_in(self.part))
        return self.whole.values_beside(some) - gone


@lru_cache(4096)
def digest_of(value: str) -> str:
    """48 bits that stand for a value, as 8 characters."""
    return b2a_base64(blake2b(value.encode(errors="replace"), digest_size=6).digest())[:8].decode()
