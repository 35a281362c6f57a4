"""Steering: judges all requests whenever a gate or a request has changed, and when a hold ends.

The first write of a request carries its decision, whichever replica makes it. Every later change is written
by the replica that leads. Two of them may believe that they lead, so each write names the resourceVersion of
what was judged, and where a gate has places, the order of writes is a law:

    to let a request proceed    read the request → write the gate, with its place → write the request as read
    to take its place away      read the gate → write the request anew → write the gate as read
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Generic, Protocol

from prometheus_client import Counter, Gauge

from stormfold.api.decision import Decision, Verdict
from stormfold.api.stormgate import Place, StormGate
from stormfold.gate.gates import FOREVER, Gate, GateIndex, Subject
from stormfold.gate.judging import Gathered, judge, place_lost
from stormfold.gate.passing import Outcome, admitted, settled
from stormfold.gate.placing import Candidate, GateKey, Governed, R, by_gate, places_for
from stormfold.gate.reporting import status
from stormfold.gate.writing import COUNT_SECONDS, GateWriter
from stormfold.kube import paths
from stormfold.kube.client import KubeClient
from stormfold.kube.errors import ApiError, ConflictError, NotFoundError, RefusedError
from stormfold.model.moments import now_ms

log = logging.getLogger(__name__)

GATHER_SECONDS = 0.02
"""How long changes are gathered: a hold is one change, and a storm is many."""
SHARE = 10
"""Between two looks lies so many times what the last one took: a tenth of the CPU at most."""
LOOK_SECONDS = 1.0
"""How often it is asked whether this replica leads."""
RESYNC_SECONDS = 60.0
"""How often gates are listed, and nodes counted: a deletion may be missed while disconnected."""
AT_ONCE = 16
"""Decisions that are written at the same time."""

DECISIONS = Gauge("stormfold_decisions", "RemediationRequests that are not closed, by verdict.", ["verdict"])
GATES = Gauge("stormfold_gates", "StormGates that are in force, by verdict.", ["verdict"])
JUDGED = Gauge("stormfold_judging_seconds", "How long the last look at all requests and gates took.")
WRITES = Counter("stormfold_decision_writes_total", "Writes of decisions beside other writes.", ["outcome"])


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

    async def outcome(self, place: Place) -> Outcome | None:
        """What became of a request, as the API server has it; None: it is open.

        Raises:
            ApiError: it could not be read.
        """


class Leader(Protocol):
    """Who leads."""

    @property
    def leading(self) -> bool:
        """Whether this process speaks for all."""


class Steering(Generic[R]):
    """Judges, and writes what has changed."""

    def __init__(
        self,
        client: KubeClient,
        gates: GateIndex,
        requests: Requests[R],
        leader: Leader,
        *,
        now_ms: Callable[[], int] = now_ms,
    ) -> None:
        self._client = client
        self._gates = gates
        self._writer = GateWriter(client, gates)
        self._requests = requests
        self._leader = leader
        self._now_ms = now_ms
        self._changed = asyncio.Event()
        self._led = False
        self._next_ms = FOREVER
        self._took = 0.0
        """Seconds that the last look took to judge."""
        self._nodes: int | None = None
        self._nodes_denied = False
        self._claimed_ms: dict[str, int] = {}
        """UID of a request with a place → when it was last seen claimed."""
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
        if self._wants_nodes():
            await self._count_nodes()

    async def _count_nodes(self) -> None:
        try:
            page = await self._client.get(paths.built_in("", "nodes"), limit="1")
            rest = (page.get("metadata") or {}).get("remainingItemCount") or 0
            self._nodes, self._nodes_denied = len(page.get("items") or ()) + rest, False
        except RefusedError:
            self._nodes, self._nodes_denied = None, True

    async def run(self) -> None:
        """Judge for ever."""
        while True:
            await self._wait()
            began = time.monotonic()
            try:
                if began - self._resynced > RESYNC_SECONDS or self._lacks_nodes():
                    await self.load()
                    self._resynced = began
                if self._leader.leading:
                    await self.look()
                elif self._led:
                    DECISIONS.clear()
                    GATES.clear()
                if not self._leader.leading:
                    self._next_ms = FOREVER
                self._led = self._leader.leading
            except ApiError as exc:
                log.warning("gates or decisions not read or written, trying again", extra={"error": str(exc)})
                self._changed.set()
                await asyncio.sleep(LOOK_SECONDS)

    def _lacks_nodes(self) -> bool:
        return self._wants_nodes() and self._nodes is None and not self._nodes_denied

    def _wants_nodes(self) -> bool:
        return any(gate.counts_nodes for gate in self._gates.all())

    async def _wait(self) -> None:
        """Until something has changed, or the next hold ends, or this replica may have begun to lead."""
        while True:
            seconds = max(0.0, min(LOOK_SECONDS, (self._next_ms - self._now_ms()) / 1000))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._changed.wait()
            due = self._now_ms() >= self._next_ms or time.monotonic() - self._resynced > RESYNC_SECONDS
            if self._changed.is_set() or due or self._leader.leading is not self._led:
                break
        await asyncio.sleep(max(GATHER_SECONDS, SHARE * self._took))
        self._changed.clear()

    async def look(self) -> None:
        """Judge all requests once, and write the gates and decisions that say something else.

        Raises:
            ApiError: the API server does not answer, or refuses; what was not written is judged again.
        """
        now, began = self._now_ms(), time.perf_counter()
        self._next_ms = min(
            (hold.until_ms for gate in self._gates.all() for hold in gate.holds if not hold.is_over(now)),
            default=FOREVER,
        )
        ones = self._ones((request, request.subject) for request in self._requests.begun())
        governed = by_gate(ones)
        moved = False
        for gate in self._gates.all():
            if self._gates.is_in_force(gate) and (gate.is_guarded or gate.status.places or gate.status.state):
                moved |= await self._settle(gate, governed.get(gate.key, ()), ones, now)
        if moved:
            ones = self._ones((one.request, one.subject) for one in ones)
            governed = by_gate(ones)
        decided = [(one, judge(Gathered(one.subject, one.gates, now))) for one in ones]
        self._took = time.perf_counter() - began
        JUDGED.set(self._took)
        waiting = [one for one, it in decided if it.verdict is Verdict.HOLD]
        passing = [one for one, it in decided if it.verdict is Verdict.PROCEED]
        taking = places_for(waiting, governed, now)
        admitting = {subject.uid for subjects in taking.values() for subject in subjects}
        # Who is about to get a place is not told first that it has none.
        holds = [
            (one, it)
            for one, it in decided
            if it.verdict is not Verdict.PROCEED
            and not (one.subject.uid in admitting and not one.subject.proceeds)
        ]
        holds.sort(key=lambda pair: -pair[1].verdict.strictness)
        unwritten = await self._write(holds, now)
        late = {gate.key for one in ones if one.subject.uid in unwritten for gate in one.gates}
        taken = [one for one in waiting if one.subject.uid in admitting]
        await self._let_proceed([*passing, *taken], taking, late, now)
        moves = {Verdict.PROCEED: len(taken), Verdict.HOLD: -len(taken)}
        for verdict in Verdict:
            number = sum(it.verdict is verdict for _, it in decided) + moves.get(verdict, 0)
            DECISIONS.labels(verdict=verdict.value).set(number)
        await self._report(governed, now)

    def _ones(self, found: Iterable[tuple[R, Subject]]) -> list[Candidate[R]]:
        """Requests with the gates that govern them now."""
        return [Candidate(request, subject, self._gates.of(subject)) for request, subject in found]

    async def _settle(
        self, gate: Gate, governed: Collection[Candidate[R]], ones: Collection[Candidate[R]], now: int
    ) -> bool:
        """Take away the places that are over, and move the breaker; whether the gate was written."""
        by_uid = {one.subject.uid: one for one in governed}
        ended = {}
        for place in gate.status.places:
            if one := by_uid.get(place.uid):
                if one.subject.is_claimed(now):
                    self._claimed_ms[place.uid] = now
            elif (outcome := await self._requests.outcome(place)) is not None:
                ended[place.uid] = outcome
                self._claimed_ms.pop(place.uid, None)
            elif all(one.subject.uid != place.uid for one in ones):
                return False  # it is open, and is seen in a moment
        after = settled(
            gate,
            {uid: one.subject for uid, one in by_uid.items()},
            ended=ended,
            claimed_ms=self._claimed_ms,
            nodes=self._nodes,
            now_ms=now,
        )
        self._next_ms = min(self._next_ms, after.next_ms)
        if after.status == gate.status:
            return False
        for uid in after.expired:
            one = by_uid[uid]
            try:
                await self._requests.decide(one.request, place_lost(gate, one.subject, now), now_ms=now)
            except (ConflictError, NotFoundError):
                self._changed.set()
                return False
        if after.expired:
            self._changed.set()  # what they say now is only that they lost their place
        if not await self._writer.write(gate, after.status):
            self._changed.set()
            return False
        return True

    async def _let_proceed(
        self,
        proceeding: Sequence[Candidate[R]],
        taking: Mapping[GateKey, Sequence[Subject]],
        late: Collection[GateKey],
        now: int,
    ) -> None:
        """Write the gates that let these proceed, and then what the requests say. In the gates `late`
        somebody may still say Proceed who does not."""
        newly = {one.subject.uid for one in proceeding if not one.subject.proceeds}
        guards = {
            gate.key: gate
            for one in proceeding
            if one.subject.uid in newly
            for gate in one.gates
            if gate.is_guarded
        }
        failed = guards.keys() & set(late)
        for key in sorted(guards.keys() - failed):
            if not await self._writer.write(guards[key], admitted(guards[key], taking.get(key, ()), now)):
                failed.add(key)
                self._changed.set()
        decided = []
        for one in proceeding:
            if one.subject.uid in newly and any(gate.key in failed for gate in one.gates):
                continue
            decision = judge(Gathered(one.subject, self._gates.of(one.subject), now))
            if decision.verdict is Verdict.PROCEED:
                decided.append((one, decision))
        await self._write(decided, now)

    async def _write(self, decided: Collection[tuple[Candidate[R], Decision]], now: int) -> set[str]:
        """Write the decisions that say something else; gives the UIDs of those that could not be written."""
        slots = asyncio.Semaphore(AT_ONCE)
        failed: set[str] = set()

        async def write(one: Candidate[R], decision: Decision) -> None:
            async with slots:
                try:
                    await self._requests.decide(one.request, decision, now_ms=now)
                    WRITES.labels(outcome="written").inc()
                    return
                except (ConflictError, NotFoundError):
                    WRITES.labels(outcome="conflict").inc()
                    self._changed.set()
                except ApiError as exc:
                    WRITES.labels(outcome="refused").inc()
                    subject = one.subject
                    log.warning(
                        "decision not written, trying again",
                        extra={"namespace": subject.namespace, "request": subject.name, "error": str(exc)},
                    )
                    self._next_ms = min(self._next_ms, self._now_ms() + int(LOOK_SECONDS * 1000))
                failed.add(one.subject.uid)

        async with asyncio.TaskGroup() as tasks:
            for one, decision in decided:
                if decision != one.subject.decision:
                    tasks.create_task(write(one, decision), name=f"decision-{one.subject.name}")
        return failed

    async def _report(self, governed: Mapping[GateKey, Sequence[Candidate[R]]], now: int) -> None:
        """Write the status of each gate that says something else."""
        verdicts = dict.fromkeys(Verdict, 0)
        gates = self._gates.all()
        self._writer.keep(gates)
        for gate in gates:
            in_force = self._gates.is_in_force(gate)
            after = status(
                gate,
                in_force=in_force,
                governs_all=self._gates.governs_all(gate),
                governed=[one.subject for one in governed.get(gate.key, ())],
                nodes_denied=self._nodes_denied,
                now_ms=now,
            )
            if in_force and after.verdict:
                verdicts[after.verdict] += 1
            if after == gate.status:
                continue
            if self._writer.waits(gate, after):
                self._next_ms = min(self._next_ms, now + int(COUNT_SECONDS * 1000))
            elif not await self._writer.write(gate, after):
                self._changed.set()  # the watch brings the newer one
        for verdict, number in verdicts.items():
            GATES.labels(verdict=verdict.value).set(number)
