"""Causes, as fold.lua takes them and Redis keeps them: which values signals have of attributes (pure).

A piece is JSON: how many signals, and of each attribute its name, the most frequent values, how many signals
have each, and how many at most have one that is left out. Of signals that are counted one by one a digit for
each says which value it has, 0 for another one or none. Where not each of them counts once, a second line
says how often: `1:1,3:2`.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from stormfold.api.resource import MAX_INT
from stormfold.model.arrival import Arrival, SignalRef
from stormfold.model.causes import COUNTED_VALUES, Counted
from stormfold.model.evidence import NameCount, short_name
from stormfold.model.limits import SEEN_SIGNALS
from stormfold.policy.causes import CountedCauses


def causes_arg(attributes: CountedCauses, arrivals: Sequence[Arrival]) -> str:
    """What signals, all of one kind, tell of the attributes; empty if none is counted."""
    if not attributes:
        return ""
    is_sum = isinstance(arrivals[0].ref, SignalRef)
    told: list[Any] = [len(arrivals)]
    for attribute, pick in attributes:
        values = [short_name(value) if (value := pick(arrival)) else "" for arrival in arrivals]
        counts = Counter(values)
        del counts[""]
        frequent = counts.most_common(COUNTED_VALUES + 1) if len(counts) > 1 else list(counts.items())
        left_out = frequent.pop()[1] if len(frequent) > COUNTED_VALUES else 0
        if is_sum:
            numbers: Any = [count for _, count in frequent]
        else:
            digit_of = {value: str(n) for n, (value, _) in enumerate(frequent, 1)}
            numbers = "".join([digit_of.get(value, "0") for value in values])
        told.append((attribute, [value for value, _ in frequent], numbers, left_out))
    return orjson.dumps(told).decode()


@dataclass(frozen=True, slots=True)
class Piece:
    """What some signals tell of one attribute."""

    attribute: str
    signals: int
    counts: Mapping[str, int]
    left_out: int
    """How many of them at most have another value."""


def pieces(text: str) -> Iterator[Piece]:
    """What Redis keeps of signals that it has counted, as `causes_arg` and causes.lua have written it."""
    told, _, written = text.partition("\n")
    signals, *attributes = orjson.loads(told)
    weights = {}
    for part in filter(None, written.split(",")):
        place, _, weight = part.partition(":")
        weights[int(place) - 1] = int(weight)
    for attribute, values, numbers, left_out in attributes:
        if not isinstance(numbers, str):
            counts = dict(zip(values, numbers, strict=True))
        elif weights:
            counts = _weighed(values, numbers, weights)
            # One of those that are left out may have the highest weight each time.
            left_out = left_out and sum(sorted(weights.values())[-left_out:])
        else:
            of_digit = Counter(numbers)
            counts = {value: of_digit[str(n)] for n, value in enumerate(values, 1)}
        yield Piece(attribute, sum(weights.values()) if weights else signals, counts, left_out)


def _weighed(values: Sequence[str], digits: str, weights: Mapping[int, int]) -> dict[str, int]:
    counts = Counter[str]()
    for place, weight in weights.items():
        if digits[place] != "0":
            counts[values[int(digits[place]) - 1]] += weight
    return dict(counts)


# --- what one storm tells the others


def seen_of(counted: Mapping[str, Counted]) -> str:
    """What a storm tells others of how common values are: as much as `SEEN_SIGNALS` of its signals would."""
    told: dict[str, list[str | int]] = {}
    for attribute, all_ in counted.items():
        of = all_.scaled(SEEN_SIGNALS)
        told[attribute] = [of.signals, of.floor]
        for value, count in of.values.items():
            told[attribute] += (value, *count)
    return orjson.dumps(told).decode() if told else ""


def counted_of(text: str) -> dict[str, Counted]:
    """What `seen_of` has written; nothing if somebody else has: it is about other storms."""
    try:
        return {attribute: _counted(flat) for attribute, flat in orjson.loads(text).items()}
    except (AttributeError, LookupError, TypeError, ValueError):
        return {}


def _counted(flat: Sequence[Any]) -> Counted:
    signals, floor, *rest = flat
    numbers = (signals, floor, *rest[1::3], *rest[2::3])
    if not all(isinstance(number, int) and 0 <= number <= MAX_INT for number in numbers):
        raise ValueError("no counts")
    counts = zip(rest[::3], rest[1::3], rest[2::3], strict=True)
    return Counted({value: NameCount(count, others) for value, count, others in counts}, floor, signals)
