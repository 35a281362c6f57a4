"""What fold.lua is told of the storms of a batch, as its header says."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from stormfold.fold.resources import common_prefix, encoded_resource, resource_base, resource_field
from stormfold.model.arrival import AlertRef, Arrival, EventRef, SignalRef
from stormfold.model.storm import Seed, State, Terms

CLOSED_FOLDED = 2**53 - 1
"""With this much folded a closed request is newer than whatever Redis has of its epoch."""


@dataclass(frozen=True, slots=True)
class Fold:
    """What is to be counted into one storm."""

    group_hash: str
    terms: Terms
    opening: str
    arrivals: Sequence[Arrival]
    """Signals, and Events, in the order of their resourceVersions."""
    sure: frozenset[int] = frozenset()
    """Places of those of which the caller is sure that no request holds them, if the storm has `basis` as
    origin."""
    basis: str = ""
    known_epoch: int = 0
    """The epoch that Redis must know; 0: the caller knows of no storm."""
    known_folded: int = 0
    known_incarnation: str = ""
    stale: str = ""
    """An incarnation that the request does not descend to, to be replaced by the seed."""
    seed: Seed | None = None


def fold_args(fold: Fold, incarnation: str) -> list[str | int]:
    """One storm with its signals; an incarnation that begins with them is called `incarnation`."""
    args: list[str | int] = [
        fold.group_hash,
        fold.terms.encoded(),
        fold.opening,
        fold.known_epoch,
        fold.known_folded,
        fold.known_incarnation,
        fold.stale,
        fold.basis,
    ]
    if seed := fold.seed:
        folded = CLOSED_FOLDED if seed.closed else seed.folded
        fields = seed_fields(seed, fold.terms, incarnation)
        args += (seed.epoch, folded, orjson.dumps(fields).decode())
    else:
        args += (0, 0, "")
    signals = sum_args(fold.arrivals) or _each_args(fold)
    args.append(len(signals))
    args += signals
    return args


def _signal_args(arrival: Arrival, *, sure: bool) -> tuple[str | int, ...]:
    """What fold.lua is told of one signal, as its header says."""
    ref = arrival.ref
    instance: str | int = ""
    if isinstance(ref, AlertRef):
        version, flags = ref.starts_ms, f"a{arrival.firing + 2 * sure}"
        if ref.left_out:
            flags += f",{ref.left_out}"
    else:
        version, instance = ref.resource_version, arrival.instance
        flags = (
            f"e{ref.after},{ref.count},{ref.span_ms}" if isinstance(ref, EventRef) else f"{arrival.firing:d}"
        )
    return (
        version,
        arrival.occurrence,
        flags,
        arrival.severity.rank,
        arrival.seen_ms,
        encoded_resource(arrival.target),
        instance,
    )


def _each_args(fold: Fold) -> list[str | int]:
    """All signals one by one."""
    args: list[str | int] = [len(fold.arrivals), 0]
    for place, arrival in enumerate(fold.arrivals):
        args += _signal_args(arrival, sure=place in fold.sure)
    return args


def sum_args(arrivals: Sequence[Arrival]) -> list[str | int] | None:
    """The sum of Signals as fold.lua's header says, and in short each of them.

    None if there are other arrivals among them, or one comes twice; and of one alone, whose sum is no
    shorter.
    """
    if len(arrivals) < 2:
        return None
    versions: list[int] = []
    for arrival in arrivals:
        if not isinstance(arrival.ref, SignalRef):
            return None
        versions.append(arrival.ref.resource_version)
    ids = [arrival.occurrence for arrival in arrivals]
    if len(set(ids)) < len(ids):
        return None
    firing = [arrival.firing for arrival in arrivals]
    severities = [arrival.severity.rank for arrival in arrivals]
    seen = [arrival.seen_ms for arrival in arrivals]
    about = [encoded_resource(arrival.target) for arrival in arrivals]
    instances = [arrival.instance for arrival in arrivals]
    resources = Counter(about)
    resources.pop("", None)
    lasting = dict(zip(instances, firing, strict=True))
    resource_places = {"": 0, **{resource: place for place, resource in enumerate(resources, 1)}}
    instance_places = {instance: place for place, instance in enumerate(lasting, 1)}

    args: list[str | int] = [len(ids), 1, min(versions), max(versions)]
    several = len(resources) < resources.total()
    args += (sum(firing), max(severities), min(seen), max(seen))
    prefix = common_prefix(resources)
    args += (prefix, len(resources), len(resources) if several else 0)
    args += [resource[len(prefix) :] for resource in resources]
    if several:
        args += resources.values()
    args.append(len(lasting))
    args += [2 * instance + fires for instance, fires in lasting.items()]
    for pair in zip(versions, ids, strict=True):
        args += pair
    each = (
        firing,
        severities,
        seen,
        [resource_places[resource] for resource in about],
        [instance_places[instance] for instance in instances],
    )
    args.append(orjson.dumps(each).decode())
    return args


def seed_fields(seed: Seed, terms: Terms, incarnation: str) -> dict[str, str | int | dict[str, int]]:
    """What a storm that goes on from its request begins with in Redis: its fields, and its resources as
    `rs`."""
    # An alert that began later than all that were counted is none of them, whatever anybody's clock says.
    lost = {"la": seed.latest_start_ms, "ls": seed.latest_start_ms} if seed.latest_start_ms else {}
    if seed.closed:
        return {
            "e": seed.epoch,
            "s": State.CLOSED,
            "g": seed.incarnation,
            "w": seed.folded,
            **_floors(seed),
            **lost,
        }
    fields: dict[str, str | int | dict[str, int]] = {
        **lost,
        "e": seed.epoch,
        "s": State.OPEN,
        "g": incarnation,
        "og": seed.origin,
        "na": seed.alerts,
        "mb": seed.repeats,
        "t": seed.total,
        "n": seed.folded - seed.total,
        "nf": max(seed.firing, 1),
        "xf": seed.firing,
        "xr": seed.resolved,
        **({"xa": seed.firing_alerts} if seed.firing_alerts else {}),
        **({"lo": seed.left_out} if seed.left_out else {}),
        "v": seed.severity,
        "o": seed.opened_ms,
        "a": seed.first_ms - seed.opened_ms,
        "z": seed.last_ms - seed.opened_ms,
        "l": seed.arrived_ms - seed.opened_ms,
        "ws": seed.opened_ms,
        **({"d": seed.detected} if seed.detected else {}),
        "rc": len(seed.resources),
        **({"tr": 1} if seed.truncated else {}),
        "hb": seed.resource_count,
        "w": seed.folded,
        "lw": seed.written_ms,
        **({"q": 1} if seed.settled else {}),
        "re": seed.revision - 1,
        "k": terms.encoded(),
        **_floors(seed),
        **({"p": seed.through} if seed.through else {}),
        **({"pe": seed.event_through} if seed.event_through else {}),
    }
    resources = {encoded_resource(target): signals for target, signals in seed.resources.items()}
    base = resource_base(next(iter(resources), ""))
    if base:
        fields["b"] = base
    fields["rs"] = {resource_field(resource, base): signals for resource, signals in resources.items()}
    return fields


def _floors(seed: Seed) -> dict[str, str | int]:
    return {
        **({"fl": seed.through} if seed.through else {}),
        **({"fle": seed.event_through} if seed.event_through else {}),
    }
