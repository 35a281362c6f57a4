"""Steering: judges all requests whenever a gate or a request has changed, and when a hold ends.

What makes a request stricter is written by `hold`, all the rest by `look`; neither waits for the other.
The first write of a request carries its decision, whichever replica makes it. Every later change is written
by the replica that leads. Two of them may believe that they lead, so each write names the resourceVersion of
what was judged, unless it makes a request stricter. Where a gate has places, the order of writes is a law:

    to let a request proceed    read the request → write the gate, with its place → write the request as read
    to take its place away      read the gate → write the request anew → write the gate as read
"""

import asyncio
import random
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from typing import Any, Generic

from prometheus_client import Gauge

from stormfold.api.decision import Verdict
from stormfold.api.stormgate import StormGate, StormGateStatus
from stormfold.gate.gates import FOREVER, Gate, GateIndex, Subject
from stormfold.gate.judging import FOR_A_PLACE, Gathered, judge
from stormfold.gate.nodes import Nodes
from stormfold.gate.passing import admitted
from stormfold.gate.placing import (
    Candidate,
    GateKey,
    Governed,
    R,
    Requests,
    by_gate,
    decisions,
    places_for,
    stricter,
)
from stormfold.gate.reporting import status
from stormfold.gate.rounds import LEAD_SECONDS, RETRY_MS, Rounds
from stormfold.gate.settling import Settling
from stormfold.gate.turns import in_turn
from stormfold.gate.writing import COUNT_SECONDS, DecisionWriter, GateWriter
from stormfold.kube import paths
from stormfold.kube.changes import version_number
from stormfold.kube.client import KubeClient
from stormfold.model.leading import Leader
from stormfold.model.moments import now_ms

HOLDS = 64
"""Requests that one round of holds writes, at most."""
ROUNDS_OF_HOLDS = 4
"""So many may be under way: a hold that comes now does not wait for the answers to those before."""
REPORTS = 64
"""Gates of which one look says something new, at most: the next look does not wait for a flood of them."""

DECISIONS = Gauge("stormfold_decisions", "RemediationRequests that are not closed, by verdict.", ["verdict"])
GATES = Gauge("stormfold_gates", "StormGates that are in force, by verdict.", ["verdict"])
JUDGED = Gauge("stormfold_judging_seconds", "CPU seconds of the last check of all requests and gates.")


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
        self._requests = requests
        self._holds = Rounds(leader, now_ms)
        """Of what makes requests stricter."""
        self._looks = Rounds(leader, now_ms)
        """Of all the rest: who may proceed, and what gates say."""
        self._nodes = Nodes(client, gates)
        self._stricter = DecisionWriter(gates, requests, self._holds)
        self._decisions = DecisionWriter(gates, requests, self._looks)
        self._writer = GateWriter(client, gates, self._looks)
        self.settling = Settling(gates, requests, self._nodes, self._writer, self._looks)
        """What takes places away."""

    def changed(self) -> None:
        """A gate has changed."""
        self._holds.changed.set()
        self._looks.changed.set()

    def observed(self, _: Governed) -> None:
        """A newer version of a request was seen."""
        self.changed()

    async def load(self) -> None:
        """Read all gates: before that, no request may be written."""
        gates, version = await self._client.list_all(paths.collection(StormGate.plural), Gate.read)
        self._gates.listed(gates, version_number(version))
        await self._nodes.count()

    async def run(self) -> None:
        """Judge for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._count_nodes(), name="nodes")
            tasks.create_task(self._while_leading(self._holds, self.hold, ROUNDS_OF_HOLDS), name="holds")
            tasks.create_task(self._while_leading(self._looks, self.look, 1), name="looks")

    async def _count_nodes(self) -> None:
        while True:
            if await self._nodes.count():
                self.changed()
            await asyncio.sleep(LEAD_SECONDS)

    async def _while_leading(
        self, rounds: Rounds, act: Callable[[], Coroutine[Any, Any, None]], at_once: int
    ) -> None:
        free = asyncio.Semaphore(at_once)
        async with asyncio.TaskGroup() as tasks:
            while True:
                await free.acquire()
                if await rounds.next():
                    tasks.create_task(act()).add_done_callback(lambda _: free.release())
                else:
                    free.release()
                    DECISIONS.clear()
                    GATES.clear()

    async def hold(self) -> None:
        """Write the verdicts that become stricter than what requests say, the strictest first. They wait for
        nothing that is read or written of places."""
        now = self._holds.now_ms()
        if not any(gate.holds or gate.is_settled for gate in self._gates.all()):
            return  # nothing could make a verdict stricter
        with self._holds.judging():
            judged = decisions(self._candidates(), now)
            holds = [
                (one, it)
                for one, it in judged
                if stricter(one.subject, it) and not self._stricter.leaves_out(one.subject.uid)
            ]
            holds.sort(key=lambda pair: (-pair[1].verdict.strictness, pair[1].reason in FOR_A_PLACE))
        if len(holds) > HOLDS:
            self._holds.changed.set()
        await self._stricter.write(holds[:HOLDS])

    async def look(self) -> None:
        """Judge all requests once, and write the gates and decisions that say something else, but for what
        `hold` writes. What could not be written is judged again."""
        now = self._looks.now_ms()
        ends = (hold.until_ms for gate in self._gates.all() for hold in gate.holds if not hold.is_over(now))
        self._looks.at(min(ends, default=FOREVER))
        with self._looks.judging():
            ones = self._candidates()
            governed = by_gate(ones)
        if await self.settling.settle(self.settling.gates(), governed, ones, now):
            with self._looks.judging():
                ones = self._candidates()
                governed = by_gate(ones)
        with self._looks.judging():
            decided = decisions(ones, now)
        JUDGED.set(self._looks.took)
        waiting = [one for one, it in decided if it.verdict is Verdict.HOLD]
        passing = [one for one, it in decided if it.verdict is Verdict.PROCEED]
        taking = places_for(waiting, governed, now)
        admitting = {subject.uid for subjects in taking.values() for subject in subjects}
        urgent = {one.subject.uid: one for one, it in decided if stricter(one.subject, it)}
        held = [
            (one, it)
            for one, it in decided
            if it.verdict is not Verdict.PROCEED
            and one.subject.uid not in urgent
            # Who is about to get a place is not told first that it has none.
            and one.subject.uid not in admitting
        ]
        free = [(one, it) for one, it in held if not self._stricter.leaves_out(one.subject.uid)]
        if len(free) < len(held):  # `hold` says all of the others, if nothing goes wrong
            self._looks.at(now + RETRY_MS)
        unsaid = await self._decisions.write(free)
        unsaid |= {uid for uid, one in urgent.items() if self._proceeds_still(one)}
        late = {
            gate.key
            for one in ones
            if one.subject.uid in unsaid
            for gate in one.gates
            if not gate.allows_for(one.subject.uid)
        }
        taken = [one for one in waiting if one.subject.uid in admitting]
        await self._let_proceed([*passing, *taken], taking, late, now)
        moves = {Verdict.PROCEED: len(taken), Verdict.HOLD: -len(taken)}
        for verdict in Verdict:
            number = sum(it.verdict is verdict for _, it in decided) + moves.get(verdict, 0)
            DECISIONS.labels(verdict=verdict.value).set(number)
        await self._report(governed, now)

    def _proceeds_still(self, one: Candidate[R]) -> bool:
        """Whether `hold` has not written meanwhile what it is to say."""
        newest = self._requests.newest(one.request)
        return newest is not None and newest.subject.proceeds

    def _candidates(self) -> list[Candidate[R]]:
        """The requests as they are known now, with the gates that govern them."""
        found = ((request, request.subject) for request in self._requests.begun())
        return [Candidate(request, subject, self._gates.of(subject)) for request, subject in found]

    async def _let_proceed(
        self,
        proceeding: Sequence[Candidate[R]],
        taking: Mapping[GateKey, Sequence[Subject]],
        late: Collection[GateKey],
        now: int,
    ) -> None:
        """Write the gates that let these proceed, and then what the requests say. The gates `late` let nobody
        proceed now: somebody may still say Proceed there for whom they do not allow."""
        newly = {one.subject.uid for one in proceeding if not one.subject.proceeds}
        guards = {
            gate.key: gate
            for one in proceeding
            if one.subject.uid in newly
            for gate in one.gates
            if gate.is_guarded
        }
        failed = guards.keys() & set(late)

        async def guard(gate: Gate) -> None:
            if not await self._writer.write(gate, admitted(gate, taking.get(gate.key, ()), now)):
                failed.add(gate.key)

        await in_turn([guards[key] for key in guards.keys() - failed], guard)
        decided = []
        for one in proceeding:
            if one.subject.uid in newly and any(gate.key in failed for gate in one.gates):
                continue
            decision = judge(Gathered(one.subject, self._gates.of(one.subject), now))
            if decision.verdict is Verdict.PROCEED:
                decided.append((one, decision))
        await self._decisions.write(decided)

    async def _report(self, governed: Mapping[GateKey, Sequence[Candidate[R]]], now: int) -> None:
        """Count the gates by verdict, and write the status of those that say something else."""
        verdicts = dict.fromkeys(Verdict, 0)
        news: list[tuple[Gate, StormGateStatus]] = []
        gates = self._gates.all()
        self._writer.keep(gates)
        for gate in gates:
            in_force = self._gates.is_in_force(gate)
            after = status(
                gate,
                in_force=in_force,
                governs_all=self._gates.governs_all(gate),
                governed=[one.subject for one in governed.get(gate.key, ())],
                nodes_denied=self._nodes.denied,
                now_ms=now,
            )
            if in_force and after.verdict:
                verdicts[after.verdict] += 1
            if after == gate.status:
                continue
            if self._writer.waits(gate, after):
                self._looks.at(now + int(COUNT_SECONDS * 1000))
            elif not self._looks.rests(gate.version):
                news.append((gate, after))
        for verdict, number in verdicts.items():
            GATES.labels(verdict=verdict.value).set(number)
        if len(news) > REPORTS:
            self._looks.changed.set()
        news = random.sample(news, min(len(news), REPORTS))  # none keeps the same others from theirs
        await in_turn(news, lambda pair: self._writer.write(*pair))
