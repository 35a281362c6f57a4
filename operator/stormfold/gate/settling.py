"""Settling: the places of gates that are over are taken away, and breakers move."""

import asyncio
import logging
import random
from collections.abc import Collection, Mapping, Sequence
from typing import Generic

from stormfold.api.stormgate import Place
from stormfold.gate.gates import Gate, GateIndex
from stormfold.gate.judging import place_lost
from stormfold.gate.nodes import Nodes
from stormfold.gate.passing import Outcome, keeping, settled
from stormfold.gate.placing import Candidate, GateKey, R, Requests, without_right
from stormfold.gate.rounds import Rounds
from stormfold.gate.turns import AT_ONCE, in_turn
from stormfold.gate.writing import GateWriter
from stormfold.kube.errors import ApiError, ConflictError, NotFoundError

log = logging.getLogger(__name__)


class Settling(Generic[R]):
    """Settles gates with a breaker, a budget or places that are left of one."""

    def __init__(
        self, gates: GateIndex, requests: Requests[R], nodes: Nodes, writer: GateWriter, rounds: Rounds
    ) -> None:
        self._gates = gates
        self._requests = requests
        self._nodes = nodes
        self._writer = writer
        self._rounds = rounds
        self.claimed_ms: dict[str, int] = {}
        """UID of a request with a place → when it was last seen claimed, UTC milliseconds."""
        self._slots = asyncio.Semaphore(AT_ONCE)
        """For what is asked about requests: of all gates together so much at once."""

    def gates(self) -> list[Gate]:
        """Those that are settled now; when requests without a place were claimed is forgotten."""
        found = [gate for gate in self._gates.all() if self._gates.is_in_force(gate) and gate.is_settled]
        placed = {uid for gate in found for uid in gate.places}
        self.claimed_ms = {uid: at for uid, at in self.claimed_ms.items() if uid in placed}
        return found

    async def settle(
        self,
        gates: Sequence[Gate],
        governed: Mapping[GateKey, Sequence[Candidate[R]]],
        ones: Collection[Candidate[R]],
        now: int,
    ) -> bool:
        """Settle these; whether a gate or a request was written."""
        known = {one.subject.uid for one in ones}
        written = False

        async def act(gate: Gate) -> None:
            nonlocal written
            if self._rounds.rests(gate.version):
                return
            with self._writer.alone(gate):
                if await self._settle(gate, governed.get(gate.key, ()), known, now):
                    written = True

        await in_turn(random.sample(gates, len(gates)), act)  # none keeps the same others from their turn
        return written

    async def _settle(
        self, gate: Gate, governed: Collection[Candidate[R]], known: Collection[str], now: int
    ) -> bool:
        """Settle one; whether it or a request was written."""
        by_uid = {one.subject.uid: one for one in governed}
        for uid in gate.places & by_uid.keys():
            if by_uid[uid].subject.is_claimed(now):
                self.claimed_ms[uid] = now
        ended: dict[str, Outcome] = {}
        unseen: list[Place] = []

        async def read(place: Place) -> None:
            async with self._slots:
                outcome = await self._requests.outcome(place)
            if outcome is not None:
                ended[place.uid] = outcome
            elif place.uid not in known:
                unseen.append(place)

        await in_turn([place for place in gate.status.places if place.uid not in by_uid], read)
        if unseen:
            return False  # they are open, and are seen in a moment
        after = settled(
            gate,
            {uid: one.subject for uid, one in by_uid.items()},
            ended=ended,
            held=without_right(gate, by_uid, now),
            claimed_ms=self.claimed_ms,
            nodes=self._nodes.number,
            now_ms=now,
        )
        self._rounds.at(after.next_ms)
        if after.status == gate.status:
            return False
        told: set[str] = set()

        async def take_away(uid: str) -> None:
            async with self._slots:
                if await self._told(gate, by_uid[uid], now):
                    told.add(uid)

        await in_turn(after.told, take_away)
        if told:
            self._rounds.changed.set()  # what they say now is only that they lost their place
        status = keeping(gate.status, after.status, set(after.told) - told)
        written = status != gate.status and await self._writer.write(gate, status)
        return written or bool(told)

    async def _told(self, gate: Gate, one: Candidate[R], now: int) -> bool:
        """Let a request say that it lost its place; whether it does. If not, it is asked again."""
        if self._rounds.rests(one.subject.uid):
            return False
        try:
            await self._requests.decide(one.request, place_lost(gate, one.subject, now), now_ms=now)
        except (ConflictError, NotFoundError):
            self._rounds.changed.set()
        except ApiError as exc:
            if self._rounds.tells(one.subject.uid):
                log.warning("place not taken away, trying again", extra=one.log_fields | {"error": str(exc)})
            self._rounds.refused(one.subject.uid)
        else:
            return True
        return False
