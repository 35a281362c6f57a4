"""An API server of gates and requests in memory, and leaders that work on it with views of their own.

It keeps resourceVersions and refuses what is not about the current one, answers late, or not at all, and
shows each leader what others wrote after a while. So a thousand runs take seconds.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tests.harness.gates import OPERATOR_NAMESPACE, SUBJECT

from stormfold.api.decision import Decision, Verdict
from stormfold.api.stormgate import GateState, Place
from stormfold.gate.gates import Gate, GateIndex, Subject
from stormfold.gate.judging import Gathered, judge
from stormfold.gate.passing import Outcome
from stormfold.gate.steering import Steering
from stormfold.kube.errors import ApiUnavailableError, ConflictError, NotFoundError


@dataclass(frozen=True)
class Stored:
    """A request on the API server."""

    subject: Subject
    version: int
    outcome: Outcome | None = None
    """None: it is open."""


@dataclass
class World:
    """What the API server has."""

    rng: random.Random
    gates: dict[str, dict[str, Any]]
    """By name; all of them lie in the operator's namespace."""
    requests: dict[str, Stored] = field(default_factory=dict)
    now_ms: int = 0
    version: int = 100
    leaders: list[Leader] = field(default_factory=list)
    faults: float = 0.0
    """How often an answer does not come; half of the writes were done then."""
    most_proceeding: int = 0
    """The most requests that said Proceed at one time."""
    most_canaries: int = 0
    """The most canaries that a gate had at one time."""
    hold_back: str = ""
    """The next Proceed of this request is held back until `released`."""
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)
    beside_a_canary: int = 0
    """The most of them that a probing gate governed while its canary was one."""
    beyond_a_budget: int = 0
    """The most of them that a gate governed beyond its `budget.concurrent`."""
    stuck: bool = False
    """Whether nobody proceeded in the end, though nothing was wrong any more."""

    def next_version(self) -> int:
        """Of the next write."""
        self.version += 1
        return self.version

    def open(self, uid: str, **more: Any) -> None:
        """A new request, which says what its first write does. Leaders hear of it at once: within a cooldown
        each has."""
        subject = replace(SUBJECT, uid=uid, name=uid, opened_ms=self.now_ms, **more)
        gates = map(Gate.read, self.gates.values())
        governing = tuple(gate for gate in gates if gate.selects(subject))
        subject = replace(subject, decision=judge(Gathered(subject, governing, self.time_ms())))
        self.requests[uid] = Stored(subject, self.next_version())
        for leader in self.leaders:
            leader.see(uid)

    def change(self, uid: str, **more: Any) -> None:
        """Somebody else writes the request."""
        stored = self.requests[uid]
        self._store(Stored(replace(stored.subject, **more), self.next_version(), stored.outcome))

    def close(self, uid: str, outcome: Outcome) -> None:
        """The request is over."""
        self._store(Stored(self.requests[uid].subject, self.next_version(), outcome))

    def edit(self, name: str = "everything", **spec: Any) -> None:
        """Somebody changes a gate."""
        metadata = self.gates[name]["metadata"] | {"resourceVersion": str(self.next_version())}
        metadata["generation"] += 1
        self._store_gate(self.gates[name] | {"metadata": metadata, "spec": spec})

    def _store(self, request: Stored) -> None:
        self.requests[request.subject.uid] = request

    def _store_gate(self, body: dict[str, Any]) -> None:
        self.gates[body["metadata"]["name"]] = body

    def time_ms(self) -> int:
        """What a clock says that is right."""
        return self.now_ms

    def proceeding(self) -> list[str]:
        """Open requests that say Proceed."""
        return [
            uid
            for uid, stored in self.requests.items()
            if stored.outcome is None
            and stored.subject.decision
            and stored.subject.decision.verdict is Verdict.PROCEED
        ]

    def _note(self) -> None:
        proceeding = self.proceeding()
        self.most_proceeding = max(self.most_proceeding, len(proceeding))
        for gate in map(Gate.read, self.gates.values()):
            governed = [uid for uid in proceeding if gate.selects(self.requests[uid].subject)]
            canaries = {place.uid for place in gate.status.places if place.canary}
            self.most_canaries = max(self.most_canaries, len(canaries))
            if gate.state is GateState.PROBING and canaries.intersection(governed):
                self.beside_a_canary = max(self.beside_a_canary, len(governed))
            if gate.spec.budget and (most := gate.spec.budget.concurrent):
                self.beyond_a_budget = max(self.beyond_a_budget, len(governed) - most)

    async def _held_back(self, uid: str, decision: Decision) -> None:
        if self.hold_back == uid and decision.verdict is Verdict.PROCEED:
            self.hold_back = ""
            self.arrived.set()
            await self.released.wait()

    async def pause(self) -> None:
        """Let others go first for a while."""
        for _ in range(self.rng.choice((0, 0, 0, 1, 5, 200))):
            await asyncio.sleep(0)

    async def answer(self, name: str) -> bool:
        """Of a call about a gate or a request; whether the answer is lost after it is done.

        Raises:
            ApiError: nothing was done.
        """
        await self.pause()
        lost = self.rng.random() < self.faults
        if lost and self.rng.random() < 0.5:
            raise ApiUnavailableError("PATCH", 0, "Lost", "nothing was done")
        return lost

    async def merge_patch(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """A write of a gate's status."""
        assert path.endswith("/status")
        name = path.split("/")[-2]
        lost = await self.answer(name)
        metadata = self.gates[name]["metadata"]
        if body["metadata"]["resourceVersion"] != metadata["resourceVersion"]:
            raise ConflictError(path, 409, "Conflict", "changed")
        places = [place["uid"] for place in body["status"]["places"]]
        assert len(set(places)) == len(places), "the API server refuses two of one uid"
        status = {
            "metadata": metadata | {"resourceVersion": str(self.next_version())},
            "status": dict(body["status"]),
        }
        self._store_gate(self.gates[name] | status)
        self._note()
        if lost:
            raise ApiUnavailableError("PATCH", 0, "Lost", "it was done")
        return self.gates[name]

    async def decide(self, seen: Stored, decision: Decision, *, as_read: bool = True) -> Stored:
        """A write of a request's decision, only on the version that was seen if it is to be `as_read`."""
        uid = seen.subject.uid
        lost = await self.answer(uid)
        await self._held_back(uid, decision)
        stored = self.requests.get(uid)
        if stored is None:
            raise NotFoundError(uid, 404, "NotFound", "gone")
        if as_read and stored.version != seen.version:
            raise ConflictError(uid, 409, "Conflict", "changed")
        if decision == stored.subject.decision:
            return stored  # the API server makes no new version of what changes nothing
        again = Stored(replace(stored.subject, decision=decision), self.next_version(), stored.outcome)
        self._store(again)
        self._note()
        if lost:
            raise ApiUnavailableError("PATCH", 0, "Lost", "it was done")
        return again


class Leader:
    """A replica that leads, or believes so, with a clock and views of its own."""

    leading = True

    def __init__(self, world: World, *, clock_ms: int) -> None:
        """Its clock is `clock_ms` fast."""
        self._world = world
        world.leaders.append(self)
        self._views: dict[str, Stored] = {}
        self.gates = GateIndex(OPERATOR_NAMESPACE)
        self.steering: Steering[Seen] = Steering(
            world, self.gates, self, self, now_ms=lambda: world.time_ms() + clock_ms  # type: ignore[arg-type]
        )  # fmt: skip

    async def look(self) -> None:
        """All that it does when something has changed: both parts at the same time."""
        holding = asyncio.create_task(self.steering.hold())
        for _ in range(self._world.rng.choice((0, 0, 1, 5))):
            await asyncio.sleep(0)
        await self.steering.look()
        await holding

    def watch(self, *, share: float = 0.7) -> None:
        """Hear of a share of what has changed: of each object at some time."""
        rng = self._world.rng
        for body in self._world.gates.values():
            if rng.random() < share:
                self.gates.seen(body)
        for uid in {*self._world.requests, *self._views}:
            if rng.random() < share:
                self.see(uid)

    def see(self, uid: str) -> None:
        """Hear of a request."""
        stored = self._world.requests.get(uid)
        if stored is None:
            self._views.pop(uid, None)
        else:
            self._observe(stored)

    def _observe(self, stored: Stored) -> None:
        uid = stored.subject.uid
        if uid not in self._views or self._views[uid].version < stored.version:
            self._views[uid] = stored
            self.steering.observed(Seen(stored))

    def begun(self) -> Iterator[Seen]:
        """Its requests."""
        return (Seen(stored) for stored in list(self._views.values()) if stored.outcome is None)

    async def decide(self, request: Seen, decision: Decision, *, now_ms: int) -> None:
        """Write, and know what was written."""
        try:
            again = await self._world.decide(request.stored, decision)
        except (ConflictError, NotFoundError):
            self.see(request.stored.subject.uid)
            raise
        self._observe(again)

    def newest(self, request: Seen) -> Seen | None:
        """As it was seen last."""
        found = self._views.get(request.subject.uid)
        return Seen(found) if found and found.outcome is None else None

    async def hold(self, request: Seen, decision: Decision, *, now_ms: int) -> None:
        """Write on whatever the API server has."""
        assert decision.verdict is not Verdict.PROCEED
        self._observe(await self._world.decide(request.stored, decision, as_read=False))

    async def outcome(self, place: Place) -> Outcome | None:
        """As the API server has it."""
        await self._world.answer(place.uid)
        stored = self._world.requests.get(place.uid)
        self.see(place.uid)
        return stored.outcome if stored else Outcome.GONE


@dataclass(frozen=True)
class Seen:
    """A request as a leader saw it."""

    stored: Stored

    @property
    def subject(self) -> Subject:
        """What gates ask of it."""
        return self.stored.subject
