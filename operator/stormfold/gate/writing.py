"""Writers: the status of gates and the decisions of requests, each written as it was read."""

import contextlib
import logging
import time
from collections.abc import Collection, Iterator
from typing import Any, Generic

from prometheus_client import Counter

from stormfold.api.decision import Decision
from stormfold.api.stormgate import StormGate, StormGateStatus
from stormfold.gate.gates import Gate, GateIndex, Subject
from stormfold.gate.judging import FOR_A_PLACE, Gathered, judge
from stormfold.gate.placing import Candidate, R, Requests, stricter
from stormfold.gate.rounds import Rounds
from stormfold.gate.turns import in_turn
from stormfold.kube import paths
from stormfold.kube.client import KubeClient
from stormfold.kube.errors import ApiError, ConflictError, NotFoundError

log = logging.getLogger(__name__)

COUNT_SECONDS = 10.0
"""A status in which only figures have changed is written so often."""

WRITES = Counter("stormfold_decision_writes_total", "Writes of decisions beside other writes.", ["outcome"])


class GateWriter:
    """Writes the status of gates; what it wrote, the index knows."""

    def __init__(self, client: KubeClient, gates: GateIndex, rounds: Rounds) -> None:
        self._client = client
        self._gates = gates
        self._rounds = rounds
        self._written: dict[tuple[str, str], float] = {}
        """Gate → when it was written last, by the monotonic clock."""

    @contextlib.contextmanager
    def alone(self, gate: Gate) -> Iterator[None]:
        """Around what is asked about one gate: that it is refused, or not answered, stops no other, and this
        version of the gate rests."""
        try:
            yield
        except ApiError as exc:
            if self._rounds.tells(gate.key):
                log.warning("gate not written, trying again", extra={"gate": str(gate), "error": str(exc)})
            self._rounds.refused(gate.version)

    async def write(self, gate: Gate, after: StormGateStatus) -> bool:
        """Make its status say that; whether it is known to. If not, it is looked at again."""
        if self._rounds.rests(gate.version):
            return False
        metadata = gate.metadata
        # A merge patch keeps what it does not name: what is absent has to be named.
        status: dict[str, Any] = after.model_dump(mode="json", by_alias=True)
        status["conditions"] = [condition.manifest() for condition in after.conditions]
        body = {"metadata": {"resourceVersion": metadata.resource_version}, "status": status}
        path = paths.status(StormGate.plural, metadata.name, metadata.namespace)
        with self.alone(gate):
            try:
                self._gates.seen(await self._client.merge_patch(path, body))
            except (ConflictError, NotFoundError):
                self._rounds.refused(gate.version)  # the watch brings the newer one
                return False
            self._written[gate.key] = time.monotonic()
            return True
        return False

    def waits(self, gate: Gate, after: StormGateStatus) -> bool:
        """Whether it can wait, since only figures have changed."""
        before = gate.status
        figures: dict[str, Any] = {"requests": before.requests}
        if before.counts is not None:
            figures["counts"] = before.counts
        return after.model_copy(update=figures) == before and self._early(gate)

    def _early(self, gate: Gate) -> bool:
        return time.monotonic() - self._written.get(gate.key, -COUNT_SECONDS) < COUNT_SECONDS

    def keep(self, gates: list[Gate]) -> None:
        """Forget all gates but these."""
        self._written = {gate.key: self._written[gate.key] for gate in gates if gate.key in self._written}


class DecisionWriter(Generic[R]):
    """Writes decisions on requests that say something else."""

    def __init__(self, gates: GateIndex, requests: Requests[R], rounds: Rounds) -> None:
        self._gates = gates
        self._requests = requests
        self._rounds = rounds
        self._under_way: dict[str, bool] = {}
        """UIDs of the requests that are being written, or wait for their turn, and whether a round has left
        one out for that."""

    def leaves_out(self, uid: str) -> bool:
        """Whether a round is to leave out what is under way already: there is another one after that."""
        if uid in self._under_way:
            self._under_way[uid] = True
        return uid in self._under_way

    async def write(self, decided: Collection[tuple[Candidate[R], Decision]]) -> set[str]:
        """Write these, the first ones first; gives the UIDs of the requests that may not say it yet. Each is
        judged again when its turn comes, and is left to the next round if the verdict is another one then, or
        to another replica if that leads.
        """
        failed: set[str] = set()

        async def act(pair: tuple[Candidate[R], Decision]) -> None:
            (one, decision), now = pair, self._rounds.now_ms()
            again = judge(Gathered(one.subject, self._gates.of(one.subject), now))
            still = again.verdict is decision.verdict and self._rounds.leading
            try:
                if not still or not await self._write(one, again, now):
                    failed.add(one.subject.uid)
            finally:
                if self._under_way.pop(one.subject.uid, False) or not still:
                    self._rounds.changed.set()

        news = [
            (one, decision)
            for one, decision in decided
            if decision != one.subject.decision or not one.subject.mirrored
        ]
        self._under_way |= {one.subject.uid: False for one, _ in news}
        await in_turn(news, act)
        return failed

    async def _write(self, one: Candidate[R], decision: Decision, now: int) -> bool:
        uid = one.subject.uid
        if self._rounds.rests(uid):
            return False
        try:
            await self._decide(one, decision, now)
        except (ConflictError, NotFoundError):
            WRITES.labels(outcome="conflict").inc()
            self._rounds.changed.set()
        except ApiError as exc:
            WRITES.labels(outcome="refused").inc()
            if self._rounds.tells(uid):
                log.warning("decision not written, trying again", extra=one.log_fields | {"error": str(exc)})
            self._rounds.refused(uid)
        else:
            WRITES.labels(outcome="written").inc()
            return True
        return False

    async def _decide(self, one: Candidate[R], decision: Decision, now: int) -> None:
        """Write a decision on a request as it was read. A stricter one is written whatever others write
        meanwhile: it needs no version, since it lets nobody proceed. What else is to be said follows."""
        newest, again = self._newest(one, now)
        if newest is None or not newest.subject.busy or not _needs_no_version(newest.subject, again):
            try:
                await self._requests.decide(one.request, decision, now_ms=now)
            except ConflictError:
                newest, again = self._newest(one, now)
                if newest is None or not _needs_no_version(newest.subject, again):
                    raise
            else:
                return
        await self._requests.hold(newest, again, now_ms=now)
        newest, then = self._newest(one, now)
        if newest is not None and then.verdict is again.verdict:
            with contextlib.suppress(ConflictError):  # then it follows with the next look
                await self._requests.decide(newest, then, now_ms=now)

    def _newest(self, one: Candidate[R], now: int) -> tuple[R | None, Decision]:
        """What is known of a request by now, and what it is to say; None: it is closed or gone."""
        newest = self._requests.newest(one.request)
        subject = newest.subject if newest is not None else one.subject
        return newest, judge(Gathered(subject, self._gates.of(subject), now))


def _needs_no_version(subject: Subject, decision: Decision) -> bool:
    """Who only lacks a place may have got one since."""
    return stricter(subject, decision) and decision.reason not in FOR_A_PLACE
