"""What fold.lua is told of the storms of a batch, as its header says: in pieces, each of one kind."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Protocol

from stormfold.api.stormpolicy import CloseOn
from stormfold.fold.resources import encoded_resource, resource_field, shared_prefix
from stormfold.fold.showing import NONE_SHOWN, Shown
from stormfold.model.arrival import AlertRef, Arrival, EventRef, SignalRef
from stormfold.model.storm import Seed, State, Terms

CLOSED_FOLDED = 2**53 - 1
"""With this much folded a closed request is newer than whatever Redis has of its epoch."""

Args = list[str | int]


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


def _kind(arrival: Arrival) -> str:
    if isinstance(arrival.ref, SignalRef):
        return "signals"
    return "alerts" if isinstance(arrival.ref, AlertRef) else "events"


def pieces_of(fold: Fold) -> Iterator[Piece]:
    """The pieces of a fold, one at least; Signals of which one comes twice are a piece each."""
    if not fold.arrivals:
        yield Piece(fold, range(0), "reopening" if fold.reopening else "signals")
    first = 0
    for kind, run in groupby(fold.arrivals, _kind):
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
    seed = _seed_args(fold.seed, fold.terms) if fold.seed else []
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


def terms_fields(terms: Terms) -> dict[str, int | str]:
    """The terms as fields of a storm, without those that are 0, and `close_on` if it is not Auto."""
    fields: dict[str, int | str] = {
        "threshold_signals": terms.threshold_signals,
        "threshold_resources": terms.threshold_resources,
        "within_ms": terms.within_ms,
        "group_wait_ms": terms.group_wait_ms,
        "discard": int(terms.discard),
        "idle_ms": terms.idle_ms,
        "max_duration_ms": terms.max_duration_ms,
        "close_after_ms": terms.close_after_ms,
        "resource_limit": terms.resources,
        "close_on": "" if terms.close_on is CloseOn.AUTO else terms.close_on.value,
        "stale_after_ms": terms.stale_after_ms,
    }
    return {field: value for field, value in fields.items() if value}


# --- signals


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


# --- seeds


def _seed_args(seed: Seed, terms: Terms) -> Args:
    parts: tuple[Mapping[str, str | int], ...] = (
        seed_fields(seed, terms),
        {} if seed.closed else seed_resources(seed),
        seed_alerts(seed),
        seed_names(seed),
    )
    args: Args = [
        seed.epoch,
        CLOSED_FOLDED if seed.closed else seed.folded,
        f"{seed.incarnation}:{seed.folded}" if seed.closed else "",
        *(2 * len(pairs) for pairs in parts),
    ]
    for pairs in parts:
        for field, value in pairs.items():
            args += (field, value)
    return args


def seed_fields(seed: Seed, terms: Terms) -> dict[str, str | int]:
    """What a storm that goes on from its request begins with in Redis, without its incarnation."""
    fields: dict[str, str | int] = {
        "epoch": seed.epoch,
        "state": State.CLOSED if seed.closed else State.OPEN,
        "signals_floor": seed.through,
        "events_floor": seed.event_through,
        "alerts_unknown": seed.unknown_alerts,
    }
    if not seed.closed:
        fields |= _open_fields(seed) | terms_fields(terms)
    told = {field: value for field, value in fields.items() if value not in (0, "")}
    if not seed.closed and seed.resources:
        told["resource_prefix"] = _prefix_of(seed)
    return told


def seed_alerts(seed: Seed) -> dict[str, str]:
    """The same of its alerts; the last word of each came when the request was last told of anything."""
    said = max(0, seed.arrived_ms)
    return {
        alert.id: f"{'f' if alert.firing else 'r'}{alert.starts_s},{said}" for alert in seed.tracked_alerts
    }


def seed_names(seed: Seed) -> dict[str, str]:
    """The same of the names of its signals, as names.lua writes them."""
    return {
        name: f"{of.signals + of.others} {of.others}" if of.others else str(of.signals)
        for name, of in seed.names.items()
    }


def _prefix_of(seed: Seed) -> str:
    return shared_prefix([encoded_resource(target) for target in seed.resources])


def _open_fields(seed: Seed) -> dict[str, str | int]:
    firing = sum(alert.firing for alert in seed.tracked_alerts)
    resolved = min(len(seed.tracked_alerts) - firing, seed.resolved)
    return {
        "origin": seed.origin,
        "alerts": seed.alerts,
        "alerts_firing": firing,
        "alerts_resolved": resolved,
        "alerts_stale": seed.stale_alerts,
        "still_firing": int(seed.still_firing),
        "total": seed.total,
        "changes": seed.folded - seed.total,
        "firing_signals": max(seed.firing, 1),
        "estimated_firing": max(0, seed.firing - firing),
        "estimated_resolved": max(0, seed.resolved - resolved),
        "estimated_firing_alerts": max(0, seed.firing_alerts - firing),
        "left_out": seed.left_out,
        "severity": seed.severity,
        "opened_ms": seed.opened_ms,
        "first_ms": seed.first_ms,
        "last_ms": seed.last_ms,
        "arrived_ms": seed.arrived_ms,
        "detected": seed.detected,
        "truncated": int(seed.truncated),
        "resources_at_least": seed.resource_count,
        "names_floor": seed.names_floor,
        "sampled": seed.sampled,
        "written": seed.folded,
        "written_ms": seed.written_ms,
        "settled": int(seed.settled),
        "reopened": seed.revision - 1,
        "signals_last": seed.through,
        "events_last": seed.event_through,
    }


def seed_resources(seed: Seed) -> dict[str, int]:
    """The same of its listed resources."""
    prefix = _prefix_of(seed)
    return {
        resource_field(encoded_resource(target), prefix): signals
        for target, signals in seed.resources.items()
    }
