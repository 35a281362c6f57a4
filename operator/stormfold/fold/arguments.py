"""What fold.lua is told of the storms of a batch, as its header says: in pieces, each of one kind."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from operator import attrgetter
from typing import Protocol

from stormfold.fold.resources import encoded_resource, shared_prefix
from stormfold.fold.seeds import Args, seed_args, terms_fields
from stormfold.fold.showing import NONE_SHOWN, Shown
from stormfold.model.arrival import AlertRef, Arrival, EventRef, SignalRef
from stormfold.model.storm import Seed, Terms


@dataclass(frozen=True, slots=True)
class Reopening:
    """That a group is to open its next storm, if alerts of its closed request still fire."""

    epoch: int
    """That of the closed request."""
    severity: int
    """The highest that it has seen."""


@dataclass(frozen=True, slots=True)
class Fold:
    """What is to be counted into one storm."""

    group_hash: str
    terms: Terms
    opening: str
    arrivals: Sequence[Arrival]
    """Signals, and Events, in the order of their resourceVersions."""
    known_epoch: int = 0
    """The epoch that Redis must know; 0: the caller knows of no storm."""
    known_folded: int = 0
    known_incarnation: str = ""
    stale: str = ""
    """An incarnation that the request does not descend to, to be replaced by the seed."""
    seed: Seed | None = None
    shown: Shown = NONE_SHOWN
    reopening: Reopening | None = None
    """It comes without arrivals."""


class Known(Protocol):
    """What Redis said of a storm."""

    @property
    def open(self) -> bool:
        """Whether there is one that is open; what follows is of that."""

    @property
    def epoch(self) -> int:
        """Which it is."""

    @property
    def folded(self) -> int:
        """How much it has counted."""

    @property
    def incarnation(self) -> str:
        """Its incarnation."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Some signals of one kind, one after the other in a fold."""

    fold: Fold
    places: range
    kind: str

    @property
    def arrivals(self) -> Sequence[Arrival]:
        """Its signals."""
        return self.fold.arrivals[self.places.start : self.places.stop]

    def each(self) -> "list[Piece]":
        """Each of its signals as a piece of its own."""
        return [Piece(self.fold, range(place, place + 1), self.kind) for place in self.places]

    def apart(self, *, known: Known) -> "list[Piece]":
        """The same, to be counted into what Redis has been found to have."""
        if not known.open:
            return self.each()
        fold = replace(
            self.fold,
            known_epoch=known.epoch,
            known_folded=known.folded,
            known_incarnation=known.incarnation,
        )
        return replace(self, fold=fold).each()


def pieces_of(fold: Fold) -> Iterator[Piece]:
    """The pieces of a fold, one at least; Signals of which one comes twice are a piece each."""
    if not fold.arrivals:
        yield Piece(fold, range(0), "reopening" if fold.reopening else "signals")
    first = 0
    for kind, run in groupby(fold.arrivals, attrgetter("ref.kind")):
        arrivals = list(run)
        piece = Piece(fold, range(first, first + len(arrivals)), kind)
        first += len(arrivals)
        if kind == "signals" and len({arrival.occurrence for arrival in arrivals}) < len(arrivals):
            yield from piece.each()
        else:
            yield piece


def piece_args(piece: Piece) -> Args:
    """One piece, as the header says."""
    fold = piece.fold
    opens = _opening_args(fold) if fold.seed or not fold.known_epoch else []
    seed = seed_args(fold.seed, fold.terms) if fold.seed else []
    signals = _ARGS[piece.kind](piece)
    shown = fold.shown.args(piece.arrivals) if signals[0] else []
    return [
        fold.group_hash,
        fold.known_epoch,
        fold.known_folded,
        fold.known_incarnation,
        fold.stale,
        piece.kind,
        len(opens),
        len(seed),
        len(signals),
        len(shown),
        *opens,
        *seed,
        *signals,
        *shown,
    ]


def _opening_args(fold: Fold) -> Args:
    args: Args = [fold.opening]
    for field, value in terms_fields(fold.terms).items():
        args += (field, value)
    return args


def _sum_args(piece: Piece) -> Args:
    """The sum of Signals."""
    arrivals = piece.arrivals
    if not arrivals:
        return [0]
    versions = [arrival.ref.resource_version for arrival in arrivals if isinstance(arrival.ref, SignalRef)]
    firing = [arrival.firing for arrival in arrivals]
    seen = [arrival.seen_ms for arrival in arrivals]
    resources = Counter(encoded_resource(arrival.target) for arrival in arrivals if arrival.target)
    lasting = {arrival.instance: arrival.firing for arrival in arrivals}
    several = len(resources) < resources.total()
    prefix = shared_prefix(resources)
    args: Args = [
        len(arrivals),
        min(versions),
        max(versions),
        sum(firing),
        max(arrival.severity.rank for arrival in arrivals),
        min(seen),
        max(seen),
        prefix,
        len(resources),
        len(resources) if several else 0,
    ]
    args += [resource[len(prefix) :] for resource in resources]
    if several:
        args += resources.values()
    args.append(len(lasting))
    args += [2 * instance + fires for instance, fires in lasting.items()]
    for arrival, version in zip(arrivals, versions, strict=True):
        args += (-version, arrival.occurrence)
    return args


def _listed(piece: Piece) -> tuple[str, list[str]]:
    """The resource of each signal, and what they begin with."""
    resources = [encoded_resource(arrival.target) for arrival in piece.arrivals]
    return shared_prefix({resource for resource in resources if resource}), resources


def _alert_args(piece: Piece) -> Args:
    prefix, resources = _listed(piece)
    args: Args = [len(piece.arrivals), prefix]
    for arrival, resource in zip(piece.arrivals, resources, strict=True):
        ref = arrival.ref
        assert isinstance(ref, AlertRef)
        args += (arrival.occurrence, ref.starts_s, int(arrival.firing), ref.ends_s, ref.left_out)
        args += (arrival.severity.rank, arrival.seen_ms, resource)
    return args


def _event_args(piece: Piece) -> Args:
    prefix, resources = _listed(piece)
    args: Args = [len(piece.arrivals), prefix]
    for arrival, resource in zip(piece.arrivals, resources, strict=True):
        ref = arrival.ref
        assert isinstance(ref, EventRef)
        args += (ref.resource_version, arrival.occurrence, ref.after, ref.count, arrival.severity.rank)
        args += (arrival.seen_ms, ref.span_ms, resource, arrival.instance)
    return args


def _reopening_args(piece: Piece) -> Args:
    reopening = piece.fold.reopening
    assert reopening is not None
    return [reopening.epoch, reopening.severity, piece.fold.terms.stale_after_ms]


_ARGS = {
    "signals": _sum_args,
    "alerts": _alert_args,
    "events": _event_args,
    "reopening": _reopening_args,
}
