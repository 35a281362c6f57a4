"""The same API server, and leaders that run as they do in the operator: with both loops, and each call, each
watch and each wait takes its time on a clock that jumps."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

from tests.harness.gate_world import Leader, Seen, Stored, World
from tests.harness.values import T0

from stormfold.api.decision import Decision, Verdict
from stormfold.gate.judging import Gathered, judge
from stormfold.kube.client import TIMEOUT_SECONDS
from stormfold.kube.errors import ApiUnavailableError, RefusedError


@dataclass
class TimedWorld(World):
    """What the API server has, and what it was asked."""

    answer_seconds: tuple[float, ...] = (0.005, 0.005, 0.01, 0.1)
    """What a call takes: one of these, by chance."""
    watch_seconds: tuple[float, ...] = (0.005,)
    """After how long a leader hears of a change."""
    refused: set[str] = field(default_factory=set)
    """Names of gates and requests whose status is refused."""
    unanswered: set[str] = field(default_factory=set)
    """Names of those that give no answer."""
    calls: Counter[str] = field(default_factory=Counter)
    """By name, what the API server was asked."""
    at_once: int = 0
    """Calls that wait for an answer now."""
    most_at_once: int = 0
    late: dict[str, float] = field(default_factory=dict)
    """UID of a request → seconds between a write of its decision and the answer."""
    against: Counter[Verdict] = field(default_factory=Counter)
    """Verdicts that were sent though the sender knew better."""

    def time_ms(self) -> int:
        return self.now_ms + round(asyncio.get_running_loop().time() * 1000)

    async def pause(self) -> None:
        await asyncio.sleep(self.rng.choice(self.answer_seconds))

    async def answer(self, name: str) -> bool:
        self.calls[name] += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            if name in self.unanswered:
                await asyncio.sleep(TIMEOUT_SECONDS)
                raise ApiUnavailableError("PATCH", 0, "TimeoutError", "no answer")
            lost = await super().answer(name)
        finally:
            self.at_once -= 1
        if name in self.refused:
            raise RefusedError("PATCH", 422, "Invalid", "somebody's policy")
        return lost

    async def decide(self, seen: Stored, decision: Decision, *, as_read: bool = True) -> Stored:
        stored = await super().decide(seen, decision, as_read=as_read)
        await asyncio.sleep(self.late.get(seen.subject.uid, 0.0))
        return stored

    def open(self, uid: str, **more: Any) -> None:
        super().open(uid, **more)
        self._tell(uid)

    def delete(self, uid: str) -> None:
        """Somebody deletes the request."""
        del self.requests[uid]
        self._tell(uid)

    def _store(self, request: Stored) -> None:
        super()._store(request)
        self._tell(request.subject.uid)

    def _store_gate(self, body: dict[str, Any]) -> None:
        super()._store_gate(body)
        loop = asyncio.get_running_loop()
        for leader in self.leaders:
            loop.call_later(self.rng.choice(self.watch_seconds), leader.gates.seen, body)

    def _tell(self, uid: str) -> None:
        loop = asyncio.get_running_loop()
        for leader in self.leaders:
            loop.call_later(self.rng.choice(self.watch_seconds), leader.see, uid)


class TimedLeader(Leader):
    """A replica that hears of all changes after a while."""

    def __init__(self, world: TimedWorld, *, clock_ms: int = 0) -> None:
        super().__init__(world, clock_ms=clock_ms)
        self._timed = world
        self._clock_ms = clock_ms
        self.leading = True
        self.judged = 0
        """How often it has looked at all requests."""
        self.gates.subscribe(self.steering)
        self.watch(share=1)

    def now_ms(self) -> int:
        """By its clock."""
        return self._timed.time_ms() + self._clock_ms

    async def decide(self, request: Seen, decision: Decision, *, now_ms: int) -> None:
        world, subject = self._timed, request.subject
        known = judge(Gathered(subject, self.gates.of(subject), self.now_ms()))
        if decision.verdict is not known.verdict and decision.reason != "PlaceLost":
            world.against[decision.verdict] += 1
        await super().decide(request, decision, now_ms=now_ms)

    def begun(self) -> Iterator[Seen]:
        self.judged += 1
        return super().begun()

    @contextlib.asynccontextmanager
    async def running(self, *, cpu_seconds: float = 0.0) -> AsyncIterator[None]:
        """While it does what it does for ever. Judging takes so much CPU, and no time: else a seed would
        differ by machine."""
        run = asyncio.create_task(self.steering.run())
        cpu = itertools.count(0.0, cpu_seconds)
        try:
            with patch("stormfold.gate.rounds.time.thread_time", side_effect=lambda: next(cpu)):
                yield
            if run.done():
                run.result()
        finally:
            run.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await run


def world_of(*gates: dict[str, Any], **more: Any) -> TimedWorld:
    bodies = {body["metadata"]["name"]: body for body in gates}
    return TimedWorld(random.Random(1), bodies, now_ms=T0, **more)


def verdict(world: TimedWorld, uid: str) -> Verdict | None:
    decision = world.requests[uid].subject.decision
    return decision and decision.verdict


def reason(world: TimedWorld, uid: str) -> str:
    decision = world.requests[uid].subject.decision
    return decision.reason if decision else ""


def said(world: TimedWorld, verdict: Verdict) -> int:
    decisions = [stored.subject.decision for stored in world.requests.values()]
    return sum(decision is not None and decision.verdict is verdict for decision in decisions)


async def until(reached: Callable[[], bool], *, within: float) -> None:
    """Wait for it by the clock that jumps."""
    for _ in range(round(within / 0.005)):
        if reached():
            return
        await asyncio.sleep(0.005)
    raise AssertionError(f"not within {within} s")


async def storm(world: TimedWorld, uid: str, seconds: float) -> None:
    """Something changes in one request twenty times a second."""
    for number in range(round(seconds * 20)):
        world.change(uid, resources=number)
        await asyncio.sleep(0.05)
