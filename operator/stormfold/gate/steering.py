"""Steering: judges all requests whenever a gate or a request has changed, and when a hold ends.

The first write of a request carries its decision, whichever replica makes it (`first`). Every later change is
written by the replica that leads, so that two replicas that have heard of a gate at different times do not
undo each other's decisions. What the leader writes names the resourceVersion that it has judged.
"""

import asyncio
import logging
import time
from collections.abc import Collection, Iterable
from typing import Generic, Protocol, TypeVar

from prometheus_client import Counter, Gauge

from stormfold.api.decision import Decision, Verdict
from stormfold.api.stormgate import StormGate, StormGateStatus
from stormfold.gate.gates import FOREVER, Gate, GateIndex, Subject
from stormfold.gate.judging import Gathered, judge
from stormfold.gate.reporting import status
from stormfold.kube import paths
from stormfold.kube.client import KubeClient
from stormfold.kube.errors import ApiError, ConflictError, NotFoundError

log = logging.getLogger(__name__)

GATHER_SECONDS = 0.02
"""How long changes are gathered: a hold is one change, and a storm is many."""
SHARE = 10
"""Between two looks lies so many times what the last one took: a tenth of the CPU at most."""
LOOK_SECONDS = 1.0
"""How often it is asked whether this replica leads."""
RESYNC_SECONDS = 60.0
"""How often gates are listed: a deletion may be missed while disconnected."""
AT_ONCE = 16
"""Decisions that are written at the same time."""
COUNT_SECONDS = 10.0
"""A status of a gate in which only the number of requests has changed is written so often."""

DECISIONS = Gauge("stormfold_decisions", "RemediationRequests that are not closed, by verdict.", ["verdict"])
GATES = Gauge("stormfold_gates", "StormGates that are in force, by verdict.", ["verdict"])
JUDGED = Gauge("stormfold_judging_seconds", "How long the last look at all requests and gates took.")
WRITES = Counter("stormfold_decision_writes_total", "Writes of decisions beside other writes.", ["outcome"])


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


class Leader(Protocol):
    """Who leads."""

    @property
    def leading(self) -> bool:
        """Whether this process speaks for all."""


def now_ms() -> int:
    """The operator's clock."""
    return int(time.time() * 1000)


class Steering(Generic[R]):
    """Judges, and writes what has changed."""

    def __init__(self, client: KubeClient, gates: GateIndex, requests: Requests[R], leader: Leader) -> None:
        self._client = client
        self._gates = gates
        self._requests = requests
        self._leader = leader
        self._changed = asyncio.Event()
        self._led = False
        self._next_ms = FOREVER
        self._took = 0.0
        """Seconds of the last look."""
        self._counted: dict[tuple[str, str], float] = {}
        """Gate → when its status was written last, by the monotonic clock."""
        self._resynced = time.monotonic()

    def changed(self) -> None:
        """A gate has changed."""
        self._changed.set()

    def observed(self, _: Governed) -> None:
        """A newer version of a request was seen."""
        self._changed.set()

    async def load(self) -> None:
        """Read all gates: before that, no request may be written."""
        gates, version = await self._client.list_all(paths.collection(StormGate.plural), Gate.read)
        self._gates.listed(gates, version)

    async def run(self) -> None:
        """Judge for ever."""
        while True:
            await self._wait()
            began = time.monotonic()
            try:
                if began - self._resynced > RESYNC_SECONDS:
                    await self.load()
                    self._resynced = began
                if self._leader.leading:
                    await self.look()
                elif self._led:
                    DECISIONS.clear()
                    GATES.clear()
                self._led = self._leader.leading
            except ApiError as exc:
                log.warning("gates or decisions not read or written, trying again", extra={"error": str(exc)})
                self._changed.set()
                await asyncio.sleep(LOOK_SECONDS)

    async def _wait(self) -> None:
        """Until something has changed, or the next hold ends, or this replica may have begun to lead."""
        while True:
            seconds = max(0.0, min(LOOK_SECONDS, (self._next_ms - now_ms()) / 1000))
            try:
                async with asyncio.timeout(seconds):
                    await self._changed.wait()
            except TimeoutError:
                pass
            due = now_ms() >= self._next_ms or time.monotonic() - self._resynced > RESYNC_SECONDS
            if self._changed.is_set() or due or self._leader.leading is not self._led:
                break
        await asyncio.sleep(max(GATHER_SECONDS, SHARE * self._took))
        self._changed.clear()

    async def look(self) -> None:
        """Judge all requests once, and write the gates and decisions that say something else."""
        now, began = now_ms(), time.perf_counter()
        decided: list[tuple[R, Decision]] = []
        verdicts = dict.fromkeys(Verdict, 0)
        governed: dict[tuple[str, str], int] = {}
        for request in self._requests.begun():
            subject = request.subject
            gates = self._gates.of(subject)
            for gate in gates:
                governed[gate.key] = governed.get(gate.key, 0) + 1
            decision = judge(Gathered(subject, gates, now))
            verdicts[decision.verdict] += 1
            if decision != subject.decision:
                decided.append((request, decision))
        self._took = time.perf_counter() - began
        JUDGED.set(self._took)
        for verdict, number in verdicts.items():
            DECISIONS.labels(verdict=verdict.value).set(number)
        decided.sort(key=lambda pair: -pair[1].verdict.strictness)
        self._next_ms = self._next_end(now)
        await self._write(decided, now)
        await self._report(governed, now)

    def _next_end(self, now: int) -> int:
        ends = (hold.until_ms for gate in self._gates.all() for hold in gate.holds if not hold.is_over(now))
        return min(ends, default=FOREVER)

    async def _write(self, decided: Collection[tuple[R, Decision]], now: int) -> None:
        """What could not be written is judged again: the API server may ask for less, or refuse one."""
        slots = asyncio.Semaphore(AT_ONCE)

        async def write(request: R, decision: Decision) -> None:
            async with slots:
                try:
                    await self._requests.decide(request, decision, now_ms=now)
                    WRITES.labels(outcome="written").inc()
                except (ConflictError, NotFoundError):
                    WRITES.labels(outcome="conflict").inc()
                    self._changed.set()
                except ApiError as exc:
                    WRITES.labels(outcome="refused").inc()
                    subject = request.subject
                    log.warning(
                        "decision not written, trying again",
                        extra={"namespace": subject.namespace, "request": subject.name, "error": str(exc)},
                    )
                    self._next_ms = min(self._next_ms, now_ms() + int(LOOK_SECONDS * 1000))

        async with asyncio.TaskGroup() as tasks:
            for request, decision in decided:
                tasks.create_task(write(request, decision), name=f"decision-{request.subject.name}")

    async def _report(self, governed: dict[tuple[str, str], int], now: int) -> None:
        """Write the status of each gate that says something else."""
        verdicts = dict.fromkeys(Verdict, 0)
        gates = self._gates.all()
        self._counted = {gate.key: self._counted.get(gate.key, 0.0) for gate in gates}
        for gate in gates:
            in_force = self._gates.is_in_force(gate)
            after = status(
                gate,
                in_force=in_force,
                governs_all=self._gates.governs_all(gate),
                requests=governed.get(gate.key, 0),
                now_ms=now,
            )
            if in_force and after.verdict:
                verdicts[after.verdict] += 1
            if self._is_to_be_written(gate, after):
                await self._patch(gate, after)
        for verdict, number in verdicts.items():
            GATES.labels(verdict=verdict.value).set(number)

    def _is_to_be_written(self, gate: Gate, after: StormGateStatus) -> bool:
        if after == gate.status:
            return False
        only_counts = after.model_copy(update={"requests": gate.status.requests}) == gate.status
        if only_counts and time.monotonic() - self._counted[gate.key] < COUNT_SECONDS:
            self._next_ms = min(self._next_ms, now_ms() + int(COUNT_SECONDS * 1000))
            return False
        return True

    async def _patch(self, gate: Gate, after: StormGateStatus) -> None:
        metadata = gate.metadata
        body = {"metadata": {"resourceVersion": metadata.resource_version}, "status": after.manifest()}
        path = paths.status(StormGate.plural, metadata.name, metadata.namespace)
        try:
            self._gates.seen(await self._client.merge_patch(path, body))
            self._counted[gate.key] = time.monotonic()
        except (ConflictError, NotFoundError):
            self._changed.set()  # the watch brings the newer one
