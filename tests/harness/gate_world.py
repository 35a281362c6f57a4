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

from tests.harness.gates import OPERATOR_NAMESPACE, SUBJECT, gate_body

from stormfold.api.decision import Decision, Verdict
from stormfold.api.stormgate import Place
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
    gate: dict[str, Any] = field(default_factory=gate_body)
    requests: dict[str, Stored] = field(default_factory=dict)
    now_ms: int = 0
    version: int = 100
    leaders: list[Leader] = field(default_factory=list)
    faults: float = 0.0
    """How often an answer does not come; half of the writes were done then."""
    most_proceeding: int = 0
    """The most requests that said Proceed at one time."""
    hold_back: str = ""
    """The next Proceed of this request is held back until `released`."""
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)
    beside_a_canary: int = 0
    """The most of them while the canary of a probing gate was one."""

    def next_version(self) -> int:
        """Of the next write."""
        self.version += 1
        return self.version

    def open(self, uid: str, **more: Any) -> None:
        """A new request, which says what its first write does. Leaders hear of it at once: within a cooldown
        each has."""
        subject = replace(SUBJECT, uid=uid, name=uid, opened_ms=self.now_ms, **more)
        decision = judge(Gathered(subject, (Gate.read(self.gate),), self.now_ms))
        subject = replace(subject, decision=decision)
        self.requests[uid] = Stored(subject, self.next_version())
        for leader in self.leaders:
            leader.see(uid)

    def change(self, uid: str, **more: Any) -> None:
        """Somebody else writes the request."""
        stored = self.requests[uid]
        self.requests[uid] = Stored(replace(stored.subject, **more), self.next_version(), stored.outcome)

    def close(self, uid: str, outcome: Outcome) -> None:
        """The request is over."""
        self.requests[uid] = Stored(self.requests[uid].subject, self.next_version(), outcome)

    def edit(self, **spec: Any) -> None:
        """Somebody changes the gate."""
        metadata = self.gate["metadata"] | {"resourceVersion": str(self.next_version())}
        metadata["generation"] += 1
        self.gate = self.gate | {"metadata": metadata, "spec": spec}

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
        status = self.gate.get("status") or {}
        canaries = [place["uid"] for place in status.get("places", ()) if place["canary"]]
        if status.get("state") == "Probing" and set(canaries) & set(proceeding):
            self.beside_a_canary = max(self.beside_a_canary, len(proceeding))

    async def _held_back(self, uid: str, decision: Decision) -> None:
        if self.hold_back == uid and decision.verdict is Verdict.PROCEED:
            self.hold_back = ""
            self.arrived.set()
            await self.released.wait()

    async def answer(self) -> bool:
        """Let others go first for a while; whether the answer is lost before anything is done.

        Raises:
            ApiUnavailableError: nothing was done.
        """
        for _ in range(self.rng.choice((0, 0, 0, 1, 5, 200))):
            await asyncio.sleep(0)
        lost = self.rng.random() < self.faults
        if lost and self.rng.random() < 0.5:
            raise ApiUnavailableError("PATCH", 0, "Lost", "nothing was done")
        return lost

    async def merge_patch(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """A write of the gate's status."""
        assert path.endswith("/status")
        lost = await self.answer()
        metadata = self.gate["metadata"]
        if body["metadata"]["resourceVersion"] != metadata["resourceVersion"]:
            raise ConflictError(path, 409, "Conflict", "changed")
        self.gate = self.gate | {
            "metadata": metadata | {"resourceVersion": str(self.next_version())},
            "status": dict(body["status"]),
        }
        self._note()
        if lost:
            raise ApiUnavailableError("PATCH", 0, "Lost", "it was done")
        return self.gate

    async def decide(self, seen: Stored, decision: Decision) -> Stored:
        """A write of a request's decision."""
        lost = await self.answer()
        uid = seen.subject.uid
        await self._held_back(uid, decision)
        stored = self.requests.get(uid)
        if stored is None:
            raise NotFoundError(uid, 404, "NotFound", "gone")
        if stored.version != seen.version:
            raise ConflictError(uid, 409, "Conflict", "changed")
        if decision == stored.subject.decision:
            return stored  # the API server makes no new version of what changes nothing
        again = Stored(replace(stored.subject, decision=decision), self.next_version(), stored.outcome)
        self.requests[uid] = again
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
            world, self.gates, self, self, now_ms=lambda: world.now_ms + clock_ms  # type: ignore[arg-type]
        )  # fmt: skip

    def watch(self, *, share: float = 0.7) -> None:
        """Hear of a share of what has changed: of each object at some time."""
        rng = self._world.rng
        if rng.random() < share:
            self.gates.seen(self._world.gate)
        for uid in {*self._world.requests, *self._views}:
            if rng.random() < share:
                self.see(uid)

    def see(self, uid: str) -> None:
        """Hear of a request."""
        stored = self._world.requests.get(uid)
        if stored is None:
            self._views.pop(uid, None)
        elif uid not in self._views or self._views[uid].version < stored.version:
            self._views[uid] = stored

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
        if self._views[again.subject.uid].version < again.version:
            self._views[again.subject.uid] = again

    async def outcome(self, place: Place) -> Outcome | None:
        """As the API server has it."""
        await self._world.answer()
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
