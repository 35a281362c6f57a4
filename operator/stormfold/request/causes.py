"""Common causes: which values of attributes explain a storm, and how much that says (pure).

A cause covers most of the storm, and says something: its value is far more frequent here than otherwise. What
decides is what is sure: of an estimate the lower bound here, the upper bound elsewhere.
"""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from stormfold.api.resource import MAX_INT
from stormfold.fold.causes import pieces
from stormfold.model.causes import MIN_ELSEWHERE, NOTHING_COUNTED, Commonness, Counted, digest_of
from stormfold.model.evidence import NameCount

MIN_COVERAGE = 60
"""Percent of the signals that must have the value."""
MIN_SIGNALS = 5
"""With fewer signals of a value nothing is claimed."""
MIN_LIFT = 2
"""So many times as common as elsewhere a value must be."""
MIN_DEVIATIONS = 4.0
"""So many standard deviations above what is common: six attributes of many values are tried in each storm."""
MAX_CAUSES = 5
AS_GOOD = 0.9
"""A cause that explains nearly as much as the best one is as good: the policy's order decides then."""


@dataclass(frozen=True, slots=True)
class Cause:
    """A value that explains a storm."""

    attribute: str
    value: str
    signals: int
    """At least so many signals have it."""
    coverage: int
    """Percent of all signals, rounded down."""
    lift: int | None = None
    """So many times as common as elsewhere, rounded down; None: too little came elsewhere to tell."""
    approximate: bool = False
    """Whether more signals may have it."""


@dataclass(frozen=True, slots=True)
class _Candidate:
    cause: Cause
    score: float
    """How much it tells of each signal, in nats; 0 if it is not known how common it is elsewhere."""


def common_causes(
    order: Sequence[str],
    total: int,
    here: Mapping[str, Counted],
    elsewhere: Mapping[str, Commonness],
    *,
    held: Collection[tuple[str, str]] = (),
) -> list[Cause]:
    """The causes of a storm of `total` signals, the best first, at most `MAX_CAUSES`.

    `order` are the attributes of its policy, `here` what came of them, `elsewhere` what came in other storms.
    `held` are attribute and value of those that its request shows: where nothing is known of elsewhere, they
    stay while they cover it.
    """
    found: list[_Candidate] = []
    for attribute in order:
        counted = here.get(attribute, NOTHING_COUNTED)
        others = elsewhere.get(attribute, NOTHING_COUNTED)
        candidates = [
            _candidate((attribute, value), total, counted, others, held) for value in counted.values
        ]
        found += filter(None, candidates)
    return [candidate.cause for candidate in _ranked(found)][:MAX_CAUSES]


def _candidate(
    name: tuple[str, str], total: int, counted: Counted, others: Commonness, held: Collection[tuple[str, str]]
) -> _Candidate | None:
    signals, unsure = counted.values[name[1]]
    if signals < MIN_SIGNALS or signals > total or 100 * signals < MIN_COVERAGE * total:
        return None
    variety = len(counted.values) + others.values_beside(counted.values) + (counted.floor > 0)
    share, cause = signals / total, Cause(*name, signals, 100 * signals // total, approximate=unsure > 0)
    if others.signals < MIN_ELSEWHERE:
        # Without anything to compare with, all values that were seen are taken to be as common.
        says_something = name in held or _says_something(share, 1 / variety, total, math.inf)
        return _Candidate(cause, 0) if says_something else None
    usual = min(others.signals, max(1, others.most(name[1])))
    if variety < 2 or not _says_something(share, usual / others.signals, total, others.signals):
        return None
    lift = signals * others.signals // (total * usual)
    return _Candidate(replace(cause, lift=lift), _information(share, usual / others.signals))


def _says_something(share: float, usual: float, total: int, signals_elsewhere: float) -> bool:
    """Whether a share is so far above the usual one that chance does not explain it."""
    if share < MIN_LIFT * usual:
        return False
    variance = usual * (1 - usual) * (1 / total + 1 / signals_elsewhere)
    return share - usual >= MIN_DEVIATIONS * math.sqrt(variance)


def _information(share: float, usual: float) -> float:
    """What it tells of a signal that it is of this storm and not of another one: the divergence of one share
    from the other."""
    rest = (1 - share) * math.log((1 - share) / (1 - usual)) if share < 1 else 0
    return share * math.log(share / usual) + rest


def _ranked(found: list[_Candidate]) -> Iterator[_Candidate]:
    """The best first; of those that are as good the first in the policy's order."""
    left = list(found)
    while left:
        best = max(candidate.score for candidate in left)
        first = next(candidate for candidate in left if candidate.score >= AS_GOOD * best)
        left.remove(first)
        yield first


# --- what a request has counted


@dataclass(frozen=True, slots=True)
class Found:
    """What explains a storm, and what its request keeps to go on from."""

    causes: Sequence[Cause] = ()
    kept: str = ""


NONE_FOUND = Found()


@dataclass(frozen=True, slots=True)
class Held:
    """What a request says of causes."""

    kept: str = ""
    """What it keeps to go on from."""
    folded: int = 0
    """How much of the storm it had counted."""
    shown: Collection[tuple[str, str]] = ()
    """Attribute and value of the causes that it shows."""


NOTHING_HELD = Held()


def find(
    new: Mapping[int, str],
    order: Sequence[str],
    *,
    total: int,
    held: Held,
    elsewhere: Mapping[str, Commonness],
) -> Found:
    """What explains a storm of `total` signals whose policy counts the attributes `order`, by what its
    request holds, and what came since (`new`, as the evidence has it)."""
    counted, values = counted_on(decoded(held.kept, order), new, after=held.folded, total=total)
    values |= {digest_of(value): value for _, value in held.shown}
    shown = {(attribute, digest_of(value)) for attribute, value in held.shown}
    causes = common_causes(order, total, counted, elsewhere, held=shown)
    named = [replace(cause, value=values[cause.value]) for cause in causes if cause.value in values]
    return Found(named, encoded(counted, order))


def counted_on(
    held: Mapping[str, Counted], new: Mapping[int, str], *, after: int, total: int
) -> tuple[dict[str, Counted], dict[str, str]]:
    """What is counted of a storm of `total` signals: what its request holds, which had counted so much, and
    what came after that; and the values that came, by their digests. Nothing is known of signals that nobody
    has told of."""
    counted, values = dict(held), dict[str, str]()
    for at in sorted(new):
        if at <= after:
            continue
        for piece in pieces(new[at]):
            counts = {digest_of(value): count for value, count in piece.counts.items()}
            before = counted.get(piece.attribute, NOTHING_COUNTED)
            counted[piece.attribute] = before.and_then(counts, left_out=piece.left_out, signals=piece.signals)
            values |= zip(counts, piece.counts, strict=True)
    return {
        attribute: of.and_unknown(max(0, total - of.signals)) for attribute, of in counted.items()
    }, values


def encoded(counted: Mapping[str, Counted], order: Sequence[str]) -> str:
    """What a request keeps of it: for each attribute of the policy how many signals, how many may have a
    value that is not counted, and digest and counts of each that is."""
    if not counted:
        return ""
    flat: list[list[str | int]] = []
    for attribute in order:
        of = counted.get(attribute, NOTHING_COUNTED)
        flat.append([of.signals, of.floor])
        for digest, count in of.values.items():
            flat[-1] += (digest, *count)
    return orjson.dumps(flat).decode()


def decoded(text: str, order: Sequence[str]) -> dict[str, Counted]:
    """What `encoded` wrote; nothing if it is something else: anybody may have written into a status."""
    try:
        flat = orjson.loads(text or b"[]")
        return {attribute: _decoded(of) for attribute, of in zip(order, flat, strict=bool(flat))}
    except (ValueError, TypeError, LookupError):
        return {}


def _decoded(flat: Sequence[Any]) -> Counted:
    signals, floor = map(_believed, flat[:2])
    counts = zip(flat[2::3], flat[3::3], flat[4::3], strict=True)
    values = {str(digest): NameCount(_believed(of), _believed(others)) for digest, of, others in counts}
    return Counted(values, floor, signals)


def _believed(number: Any) -> int:
    if not isinstance(number, int) or not 0 <= number <= MAX_INT:
        raise ValueError("no count")
    return number
