"""Placing: which of the requests that wait get a place in their gates. Pure."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from stormfold.api.decision import Decision, Verdict
from stormfold.api.stormgate import Place
from stormfold.gate.gates import Gate, Subject
from stormfold.gate.judging import Gathered, judge, waits_for
from stormfold.gate.passing import Outcome, Room, order


class Governed(Protocol):
    """A request that is not closed."""

    @property
    def subject(self) -> Subject:
        """What gates ask of it."""


R = TypeVar("R", bound=Governed)


class Requests(Protocol[R]):
    """The requests of this process."""

    def begun(self) -> Iterable[R]:
        """Those that are not closed and say something: the first write brings its decision."""

    async def decide(self, request: R, decision: Decision, *, now_ms: int) -> None:
        """Write a decision on a request as it was read.

        Raises:
            ConflictError: it has changed; it was read again.
            ApiError: it could not be done.
        """

    def newest(self, request: R) -> R | None:
        """What is known of it now; None if it is closed or gone."""

    async def hold(self, request: R, decision: Decision, *, now_ms: int) -> None:
        """Write one that is not Proceed, whatever has changed in the request since it was read.

        Raises:
            ConflictError: another request has its name now.
            NotFoundError: it is gone.
            ApiError: it could not be done.
        """

    async def outcome(self, place: Place) -> Outcome | None:
        """What became of a request, as the API server has it; None: it is open.

        Raises:
            ApiError: it could not be read.
        """


GateKey = tuple[str, str]
"""(namespace, name)."""


@dataclass(slots=True)
class Candidate(Generic[R]):
    """A request that is judged, with the gates that govern it now."""

    request: R
    subject: Subject
    gates: tuple[Gate, ...]

    @property
    def log_fields(self) -> dict[str, str]:
        """What each log line about it says."""
        return {"namespace": self.subject.namespace, "request": self.subject.name}


def decisions(ones: Iterable[Candidate[R]], now: int) -> list[tuple[Candidate[R], Decision]]:
    """What each is to say now."""
    return [(one, judge(Gathered(one.subject, one.gates, now))) for one in ones]


def stricter(subject: Subject, decision: Decision) -> bool:
    """Whether a decision is stricter than what the request says."""
    said = subject.decision
    before = said.verdict if said else Verdict.HOLD
    return decision.verdict.strictness > before.strictness


def without_right(gate: Gate, governed: Mapping[str, Candidate[R]], now: int) -> set[str]:
    """UIDs of the requests that have a place in the gate and may not proceed in spite of it."""
    return {
        uid
        for uid in gate.places & governed.keys()
        if judge(Gathered(governed[uid].subject, governed[uid].gates, now)).verdict is not Verdict.PROCEED
    }


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
