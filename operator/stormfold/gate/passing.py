"""Passing: what a gate's breaker and budget let through. Pure.

Whoever leads calls `settled` first: it takes away places that are over, and moves the breaker. Then, of the
requests that wait for nothing but a place, `admitted` says which ones get one.
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto

import orjson

from stormfold.api.duration import format_duration
from stormfold.api.resource import MAX_INT
from stormfold.api.stormgate import Breaker, GateCounts, GateState, Place, StormGateStatus
from stormfold.gate.gates import FOREVER, Gate, Subject
from stormfold.model.moments import milliseconds, moment

UNCLAIMED_MS = 300_000
"""How long a request keeps its place that nobody claims."""
HOUR_MS = 3_600_000
MOST_PLACES = 100
"""Places of a gate that has only `budget.perHour`."""


class Outcome(Enum):
    """What became of a request that had a place."""

    SUCCEEDED = auto()
    """Its consumer reported Succeeded or Completed."""
    FAILED = auto()
    """Its consumer reported another terminal phase."""
    GONE = auto()
    """It was deleted, or closed by something else: that says nothing of the remediation."""


@dataclass(frozen=True, slots=True)
class Settled:
    """The gate after what has happened, and who is to be told first."""

    status: StormGateStatus
    told: tuple[str, ...]
    """UIDs of open requests that lose their place: each must say anew that it does not proceed before the
    gate is written, so that nobody who has read it before can let it proceed."""
    next_ms: int
    """When it changes by itself; `FOREVER` if it does not."""


def counts(gate: Gate, governed: Iterable[Subject], now_ms: int) -> GateCounts | None:
    """What the breaker counts; None without one."""
    breaker = gate.spec.breaker
    if breaker is None:
        return None
    since_ms = max(now_ms - breaker.within_ms, milliseconds(gate.status.counted_from))
    counted = [subject for subject in governed if subject.opened_ms >= since_ms]
    nodes = set[str]().union(*map(nodes_of, counted)) if breaker.percent_of_nodes else set()
    return GateCounts(
        open_requests=len(counted),
        resources=min(sum(subject.resources for subject in counted), MAX_INT),
        nodes=len(nodes),
    )


def nodes_of(subject: Subject) -> set[str]:
    """The nodes that a request is about, as far as it lists them."""
    nodes = {subject.node} if subject.node else set()
    if b'"Node"' in subject.affected:
        nodes |= {found["name"] for found in orjson.loads(subject.affected) if found.get("kind") == "Node"}
    return nodes


def exceeded(breaker: Breaker, counted: GateCounts, nodes: int | None) -> str:
    """Which limit is exceeded, as a sentence; empty: none. The cluster has so many nodes; None: unknown."""
    if breaker.open_requests and counted.open_requests > breaker.open_requests:
        return f"{counted.open_requests} requests within {breaker.within}, limit {breaker.open_requests}"
    if breaker.resources and counted.resources > breaker.resources:
        return f"{counted.resources} resources within {breaker.within}, limit {breaker.resources}"
    percent = breaker.percent_of_nodes
    if percent and nodes and 100 * counted.nodes > percent * nodes:
        return f"{counted.nodes} of {nodes} nodes within {breaker.within}, limit {percent} %"
    return ""


def settled(
    gate: Gate,
    governed: Mapping[str, Subject],
    *,
    ended: Mapping[str, Outcome],
    held: Collection[str],
    claimed_ms: Mapping[str, int],
    nodes: int | None,
    now_ms: int,
) -> Settled:
    """The gate after what has happened. `governed` are its open requests by UID, `ended` says what became of
    those with a place that are open no more, `held` are those that have one and yet may not proceed, and
    `claimed_ms` says when each was last seen claimed. A place is for who proceeds, or works already."""
    expiry = {
        place.uid: max(
            milliseconds(place.since), claimed_ms.get(place.uid, 0), governed[place.uid].claimed_until_ms
        )
        + UNCLAIMED_MS
        for place in gate.status.places
        if place.uid in governed and place.uid not in held and not governed[place.uid].is_claimed(now_ms)
    }
    expired = {uid for uid, at_ms in expiry.items() if now_ms >= at_ms}
    canary = next((place for place in gate.status.places if place.canary), None)
    state, message = _moved(
        gate, canary, governed=governed, ended=ended, expired=expired, nodes=nodes, now_ms=now_ms
    )
    needs_places = gate.has_budget or state is GateState.PROBING
    kept = tuple(
        place
        for place in gate.status.places
        if needs_places
        and place.uid in governed
        and (place.uid not in held or governed[place.uid].is_claimed(now_ms))
        and place.uid not in expired
        and not (place.canary and state is not GateState.PROBING)
    )
    begun = tuple(at for at in gate.status.begun if now_ms < milliseconds(at) + HOUR_MS)
    losers = *(uid for uid in gate.status.unclaimed if uid not in expired), *sorted(expired)
    unclaimed = tuple(uid for uid in losers if uid in governed)[-MOST_PLACES:]
    changes: dict[str, object] = {"places": kept, "begun": begun, "unclaimed": unclaimed}
    if gate.spec.breaker is None:
        changes |= {"state": None, "since": None, "message": "", "counted_from": None}
    elif state is not gate.status.state or message:
        changes |= {"state": state, "since": moment(now_ms), "message": message}
        if state is GateState.PASSING and gate.status.state is not None:
            changes["counted_from"] = moment(now_ms)
    status = gate.status.model_copy(update=changes)
    lost = {place.uid for place in gate.status.places} - {place.uid for place in kept}
    told = lost & governed.keys() if needs_places or state is GateState.TRIPPED else set()
    ends = [at_ms for uid, at_ms in expiry.items() if uid not in lost]
    ends += [subject.claimed_until_ms for subject in governed.values() if subject.is_claimed(now_ms)]
    ends += [milliseconds(at) + HOUR_MS for at in begun[:1]]
    if state is GateState.TRIPPED:
        ends.append(tripped_until(status, gate.spec.breaker))
    return Settled(status, tuple(sorted(told)), min(ends, default=FOREVER))


def keeping(before: StormGateStatus, after: StormGateStatus, untold: Collection[str]) -> StormGateStatus:
    """The gate after that, in which those keep their places that could not be told that they lose them. Other
    places are free, and the breaker trips. But nobody becomes the canary before each was told."""
    if untold and after.state is GateState.PROBING:
        return before
    kept = {place.uid: place for place in before.places if place.uid in untold}
    kept = {uid: place.model_copy(update={"canary": False}) for uid, place in kept.items()}
    kept |= {place.uid: place for place in after.places}
    places = tuple(kept[place.uid] for place in before.places if place.uid in kept)
    return after.model_copy(update={"places": places})


def tripped_until(status: StormGateStatus, breaker: Breaker | None) -> int:
    """When a tripped gate begins to probe, Unix ms."""
    return milliseconds(status.since) + (breaker.cooldown_ms if breaker else 0)


def _moved(
    gate: Gate,
    canary: Place | None,
    *,
    governed: Mapping[str, Subject],
    ended: Mapping[str, Outcome],
    expired: Collection[str],
    nodes: int | None,
    now_ms: int,
) -> tuple[GateState, str]:
    """The state of the breaker now; why, if it has changed or begun anew."""
    breaker, state = gate.spec.breaker, gate.state
    if breaker is None:
        return GateState.PASSING, ""
    match state:
        case GateState.PASSING:
            counted = counts(gate, governed.values(), now_ms)
            why = exceeded(breaker, counted, nodes) if counted else ""
            return (GateState.TRIPPED, why) if why else (GateState.PASSING, "")
        case GateState.TRIPPED:
            if now_ms < tripped_until(gate.status, breaker):
                return state, ""
            if not governed:
                return GateState.PASSING, "no request is open after cooldown"
            return GateState.PROBING, f"cooldown ({breaker.cooldown}) is over: one request tries"
    if canary is None:
        return (state, "") if governed else (GateState.PASSING, "no request is open any more")
    who = f"{canary.namespace}/{canary.name}"
    if canary.uid in expired:
        return GateState.TRIPPED, f"nobody has claimed the canary {who} for {format_duration(UNCLAIMED_MS)}"
    match ended.get(canary.uid):
        case Outcome.SUCCEEDED:
            return GateState.PASSING, f"the canary {who} succeeded"
        case Outcome.FAILED:
            return GateState.TRIPPED, f"the canary {who} failed"
        case Outcome.GONE if not governed:
            return GateState.PASSING, f"the canary {who} is gone, and no request is open any more"
    return state, ""


def order(subjects: Iterable[Subject], gates: Iterable[Gate], now_ms: int) -> list[Subject]:
    """Who gets a place first: who works already, then who has not lost one, then the highest severity, then
    the oldest. Of those that have lost one, who lost it first."""
    lost = {uid: number for gate in gates for number, uid in enumerate(gate.status.unclaimed, 1)}

    def key(one: Subject) -> tuple[bool, int, int, int, str]:
        return not one.is_claimed(now_ms), lost.get(one.uid, 0), -one.rank, one.opened_ms, one.uid

    return sorted(subjects, key=key)


@dataclass(slots=True)
class Room:
    """What places a gate has left within one look."""

    places: int
    hour: float
    working: int
    """Requests that are worked on without a place: they are taken into account."""
    canary: bool
    """The one place is that of the canary."""
    placed: frozenset[str]
    """UIDs of the requests that have a place: one of them may become the canary with it."""
    full: bool
    """Nobody gets a place, whatever is left of the budget."""

    @classmethod
    def of(cls, gate: Gate, governed: Sequence[Subject], now_ms: int) -> "Room":
        """The room of a gate that governs these open requests."""
        budget, status = gate.spec.budget, gate.status
        concurrent = (budget and budget.concurrent) or MOST_PLACES
        per_hour = (budget and budget.per_hour) or math.inf
        places = concurrent - len(status.places)
        probing = gate.state is GateState.PROBING
        full = gate.state is GateState.TRIPPED or (probing and any(place.canary for place in status.places))
        working = sum(one.is_claimed(now_ms) and one.uid not in gate.places for one in governed)
        hour = per_hour - len(status.begun)
        return cls(places, hour, 0 if probing else working, probing, gate.places, full)

    def has(self, subject: Subject, now_ms: int) -> bool:
        """Whether a request may have a place."""
        working = 0 if subject.is_claimed(now_ms) else self.working
        left = self.places - working > 0 and self.hour > 0
        return not self.full and (left or subject.uid in self.placed)

    def take(self, subject: Subject, now_ms: int) -> None:
        """It has one."""
        self.working = max(0, self.working - subject.is_claimed(now_ms))  # a probing gate counts none of them
        self.hour -= 1
        self.places -= 1
        self.full = self.canary


def admitted(gate: Gate, taking: Sequence[Subject], now_ms: int) -> StormGateStatus:
    """The gate when these have places; also if there are none, since each write has a turn of its own."""
    canary = gate.state is GateState.PROBING
    places = tuple(
        Place(uid=one.uid, namespace=one.namespace, name=one.name, since=moment(now_ms), canary=canary)
        for one in taking
    )
    taken = {place.uid for place in places}
    kept = tuple(place for place in gate.status.places if place.uid not in taken)
    begun = (*gate.status.begun, *(place.since for place in places if place.uid not in gate.places))
    return gate.status.model_copy(
        update={
            "places": (*kept, *places),
            "begun": begun if gate.spec.budget and gate.spec.budget.per_hour else (),
            "turn": gate.status.turn % MAX_INT + 1,  # the API server takes none that is higher
        }
    )
