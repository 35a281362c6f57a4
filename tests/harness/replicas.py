"""Replicas: real folders, indexes and writers of requests on one Redis and one API server, driven step by
step.

A test says when a replica folds, when it hears of requests and what it writes. So every order of these steps
can be tried, in milliseconds, where processes would have to be stopped and slowed down.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Any, Self, cast

from tests.harness.failing_redis import Fate, Line, Servers
from tests.harness.requests import Requests
from tests.harness.values import PHASES, T0, Nobody

from stormfold.api.reason import Reason
from stormfold.api.reasons.requests import RequestReason
from stormfold.api.reasons.signals import SignalReason
from stormfold.api.remediationrequest import RequestPhase
from stormfold.api.signal import SignalPhase
from stormfold.fold.elsewhere import Elsewhere
from stormfold.fold.folder import Folder
from stormfold.fold.folding import encoded
from stormfold.fold.holding import Continuation, RequestPosition
from stormfold.fold.replies import CloseWord
from stormfold.fold.store import StormStore
from stormfold.fold.storms import OVERDUE_SECONDS
from stormfold.gate.gates import GateIndex
from stormfold.kube.errors import ConflictError
from stormfold.kube.recorder import Recorder
from stormfold.model.arrival import AlertRef, Arrival, Verdict
from stormfold.model.group import Group
from stormfold.model.storm import Snapshot, State
from stormfold.policy.router import Router
from stormfold.policy.routing import Place
from stormfold.policy.version import PolicyVersion
from stormfold.request.index import RequestIndex
from stormfold.request.reading import Request
from stormfold.request.reopening import reopening_of
from stormfold.request.writing import Outcome, RequestWriter, was_behind

DISCARDED = Verdict(SignalPhase.DISCARDED, SignalReason.BELOW_THRESHOLD, "below the threshold")
"""What the signals of a group are told that makes no request."""
FOR_EVER = 10 * T0
"""A time by which everything is due."""


class Clock:
    """The time that folders see; it moves when a test says so."""

    def __init__(self) -> None:
        self.passed_ms = 0

    def unix_ms(self) -> int:
        """Milliseconds of the Unix epoch."""
        return T0 + self.passed_ms

    def time(self) -> float:
        """As `time.time`."""
        return self.unix_ms() / 1000

    def monotonic(self) -> float:
        """As `time.monotonic`."""
        return self.passed_ms / 1000


class Replica(Nobody):
    """What one process has of a group: its folder, its index of requests, and what it has claimed."""

    def __init__(
        self,
        servers: Servers,
        requests: Requests,
        clock: Clock,
        version: PolicyVersion,
        group: Group,
        *,
        tell: Callable[[Arrival, Verdict], None],
    ) -> None:
        self._requests = requests
        self._clock = clock
        self._line = Line(servers)
        self._version = version
        self._folding: asyncio.Task[Any] | None = None
        self.store = cast("StormStore", self._line)
        self.group = group
        self.claimed: list[tuple[Snapshot, Request | None]] = []
        """Each with the group's latest request as it was known before the claim."""
        self._tell = tell
        self.index = RequestIndex(self)
        client = cast("Any", requests)
        self._writer = RequestWriter(
            client,
            self.index,
            Recorder(client, identity="replica"),
            phases=PHASES,
            elsewhere=Elsewhere(client),
            gates=GateIndex("stormfold-system"),
        )
        router = Router()
        router.update([version], in_use=())
        self.folder = Folder(self.store, router, self, self)
        self.index.subscribe(self.folder)

    # --- as the source of what comes to it

    def pending(self, arrival: Arrival, reason: Reason, message: str) -> bool:
        """Who posts alerts does not wait."""
        return isinstance(arrival.ref, AlertRef)

    def durable(self, arrival: Arrival, verdict: Verdict) -> None:
        """It is told."""
        self._tell(arrival, verdict)

    # --- as the schedule, and as the index, whose verdict is the epoch alone

    def expect(self, number: int, due_ms: int) -> None:
        """A test says when it is looked."""

    def make_due(self, group_hashes: Collection[str]) -> None:
        """A test says when it is looked."""

    def position(self, group_hash: str, epoch: int) -> RequestPosition | None:
        """How much the request of that epoch holds."""
        return self.index.position(group_hash, epoch)

    def continuation(self, group_hash: str) -> Continuation | None:
        """What the latest request says."""
        return self.index.continuation(group_hash)

    def holds(self, group_hash: str, arrival: Arrival) -> bool:
        """Whether requests have counted it."""
        return self.index.holds(group_hash, arrival)

    def listed_in(self, alert: Arrival) -> Place | None:
        """Where the open request is that lists it."""
        return self.index.listed_in(alert)

    def verdict(self, group_hash: str, epoch: int) -> Verdict:
        """Which epoch holds it."""
        return Verdict(SignalPhase.FOLDED, SignalReason.COUNTED, str(epoch))

    # --- the incarnation of the process

    async def started(self) -> Self:
        """The replica, when it has read the requests and knows of the storms, as `App` does it at start."""
        self.hear_of_requests()
        self.folder.adopt(await self._open_groups(), list(self.index.open_requests()))
        return self

    async def _open_groups(self) -> list[str]:
        """The groups that have a storm, without asking the partitions that have none in these tests."""
        number = self.group.partition
        return (await self.store.due([number], now_ms=FOR_EVER)).get(number, [])

    async def end(self) -> None:
        """End what is under way, as if the process were killed."""
        if self._folding:
            self._folding.cancel()
            await asyncio.gather(self._folding, return_exceptions=True)

    def hear_of_requests(self) -> None:
        """See the requests as they are now, and which were deleted."""
        for body in self._requests.deleted:
            self.index.gone(body)
        for body in self._requests.bodies.values():
            self.index.seen(body)

    # --- folding

    async def fold(self, fate: Fate = Fate.ANSWERED) -> None:
        """Fold what waits, up to a batch; a call that was delayed goes on before."""
        await self.go_on()
        self._line.fate = fate
        self._folding = asyncio.create_task(self.folder.fold_next(self.group.partition))
        waiting = asyncio.create_task(self._line.waits.wait())
        await asyncio.wait({self._folding, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        self._line.fate = Fate.ANSWERED
        if not self._line.waits.is_set():
            await self.go_on()

    async def reopen(self) -> None:
        """Open the group's next storm if its request is closed and alerts still fire, as far as this replica
        has heard."""
        over = self.index.over(self.group.group_hash)
        fold = reopening_of(over, self._version) if over else None
        if fold:
            await self.store.fold(self.group.partition, [fold], now_ms=self._clock.unix_ms())

    async def go_on(self) -> None:
        """Let the call that was delayed go on, if there is one, until all is done that it was for."""
        if self._folding:
            folding, self._folding = self._folding, None
            self._line.goes_on.set()
            await folding

    async def sweep(self, fenced: int | None) -> None:
        """Look whether Redis has lost the partition, and for what has waited too long, as `Reconciler`
        does."""
        self._clock.passed_ms += int(OVERDUE_SECONDS * 1000) + 1
        number = self.group.partition
        if number in (await self.store.sweep(now_ms=self._clock.unix_ms(), fenced=fenced is not None)).lost:
            if fenced is not None:
                await self.store.fence([number], fenced)
            self.folder.partition_lost(number)
        self.folder.look_again_at_stale()
        for group_hash in self.folder.storms.missing_in(await self._open_groups()):
            self.folder.look_again(group_hash)

    # --- requests, as `Reconciler` writes them

    async def claim(self) -> None:
        """Take the storm, if there is one, due or not."""
        known = self.index.latest(self.group.group_hash)
        await self.store.make_due([self.group.group_hash], now_ms=0)
        is_there = known and not known.closed and not known.deleted
        storms = await self.store.claim(
            self.group.partition,
            [self.group.group_hash],
            now_ms=self._clock.unix_ms(),
            without_request=() if is_there else (self.group.group_hash,),
        )
        self.claimed += [(storm, known) for storm in storms]

    async def freeze(self, storm: Snapshot) -> Snapshot | None:
        """Begin to close a storm; gives what it holds in the end, or None if it is another one by now."""
        _, frozen = await self.store.freeze(
            storm,
            reason=RequestReason.MAX_DURATION_REACHED.name,
            expected_folded=None,
            now_ms=self._clock.unix_ms(),
        )
        return frozen

    async def write(self, storm: Snapshot, known: Request | None, *, noted: bool, trim: int) -> bool:
        """Write the snapshot into its request; unless it is `noted`, the replica dies before Redis hears of
        it.

        False if it is not written, most often because the request holds something that the snapshot does not.
        """
        closing = storm.state is State.CLOSING
        phase = RequestPhase.CLOSED if closing else RequestPhase.OPEN
        reason = RequestReason.MAX_DURATION_REACHED if closing else None
        try:
            outcome = await self._writer.write(storm, phase, closed_for=reason, now_ms=self._clock.unix_ms())
        except ConflictError:
            return False  # it has read again, and tries again
        if outcome is Outcome.BEHIND:
            if was_behind(storm, phase, known):
                latest = self.index.latest(storm.group_hash)
                assert latest is not None
                self.folder.mark_stale(latest, storm.incarnation)
            return False
        if noted and closing:
            await self.store.close_storm(storm)
            self.folder.closed(storm.group_hash)
        elif noted:
            now = self._clock.unix_ms()
            await self.store.ack(storm, written=True, settled=False, deadline_ms=now, now_ms=now, trim=trim)
        return True

    async def finds_request_of(self, storm: Snapshot) -> bool:
        """Whether there is one already, which another replica may have made."""
        return await self._writer.finds(storm)

    async def discard(self, storm: Snapshot, *, heard: bool) -> None:
        """Make no request of the storm; unless it is `heard` the replica dies before it can tell so."""
        word = await self.store.discard(storm, encoded(DISCARDED))
        if not heard:
            return
        if word is CloseWord.CLOSED:
            self.folder.released(storm, DISCARDED)
        elif word not in {CloseWord.MOVED, CloseWord.CLAIMED}:
            self.folder.look_again(storm.group_hash)
