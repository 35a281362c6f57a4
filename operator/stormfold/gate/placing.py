"""Placing: which of the requests that wait get a place in their gates. Pure."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from stormfold.gate.gates import Gate, Subject
from stormfold.gate.judging import Gathered, waits_for
from stormfold.gate.passing import Room, order


class Governed(Protocol):
    """A request that is not closed."""

    @property
    def subject(self) -> Subject:
        """What gates ask of it."""


R = TypeVar("R", bound=Governed)
GateKey = tuple[str, str]
"""(namespace, name)."""


@dataclass(slots=True)
class Candidate(Generic[R]):
    """A request that is judged, with the gates that govern it now."""

    request: R
    subject: Subject
    gates: tuple[Gate, ...]


def by_gate(ones: Iterable[Candidate[R]]) -> dict[GateKey, list[Candidate[R]]]:
    """The requests that each gate governs."""
    governed: dict[GateKey, list[Candidate[R]]] = {}
    for one in ones:
        for gate in one.gates:
            governed.setdefault(gate.key, []).append(one)
    return governed


def places_for(
    waiting: Collection[Candidate[R]], governed: dict[GateKey, list[Candidate[R]]], now: int
) -> dict[GateKey, list[Subject]]:
    """Which requests get a place, by gate: those that wait for nothing else, if each gate has room."""
    by_uid = {one.subject.uid: one for one in waiting if any(gate.is_guarded for gate in one.gates)}
    rooms: dict[GateKey, Room] = {}
    taking: dict[GateKey, list[Subject]] = {}
    gates = {gate.key: gate for one in by_uid.values() for gate in one.gates}.values()
    for subject in order((one.subject for one in by_uid.values()), gates, now):
        needs = waits_for(Gathered(subject, by_uid[subject.uid].gates, now)) or ()
        for gate in needs:
            if gate.key not in rooms:
                rooms[gate.key] = Room.of(gate, [one.subject for one in governed[gate.key]], now)
        if needs and all(rooms[gate.key].has(subject, now) for gate in needs):
            for gate in needs:
                rooms[gate.key].take(subject, now)
                taking.setdefault(gate.key, []).append(subject)
    return taking
