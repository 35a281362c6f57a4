"""Folder: arrivals in, and the word back to each, once, when a request holds it or none will.

`queue` routes and keeps what waits, `storms` what is known of each group, `folding` puts batches into Redis.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Sequence
from itertools import islice
from typing import Protocol

from stormfold.fold.folding import BATCH, Deadlines, Folding
from stormfold.fold.holding import RequestPosition, Storm
from stormfold.fold.queue import Queue
from stormfold.fold.store import StormStore
from stormfold.fold.storms import Requests, Storms
from stormfold.model.arrival import Arrival, SignalRef, Verdict
from stormfold.model.storm import Snapshot
from stormfold.policy.router import Router
from stormfold.policy.version import PolicyVersion

TOLD = 1000
"""How many of a group hear at once that its request cannot be written: the newest, for which somebody may
wait."""


class RequestView(Protocol):
    """What the folder hears of a RemediationRequest."""

    @property
    def group_hash(self) -> str:
        """The group's id."""

    @property
    def version(self) -> PolicyVersion:
        """The policy as it was when the storm opened."""

    @property
    def namespace(self) -> str:
        """Where it lies."""

    @property
    def closed(self) -> bool:
        """Whether it is over for good."""

    @property
    def position(self) -> RequestPosition:
        """How much of which incarnation it holds."""


class Folder:
    """Takes arrivals in and tells, once each, what became of them."""

    def __init__(self, store: StormStore, router: Router, requests: Requests, deadlines: Deadlines) -> None:
        self.storms = Storms(requests)
        self._requests = requests
        self._queue = Queue(router, self.storms)
        self._folding = Folding(store, self._queue, self.storms, requests, deadlines)
        self._submitted = 0

    def parts(self) -> dict[str, Coroutine[None, None, None]]:
        """What folds for ever, by name: one task for each partition."""
        return self._folding.parts()

    async def fold_next(self, number: int) -> bool:
        """One step of the part of a partition: see `Folding.fold_next`."""
        return await self._folding.fold_next(number)

    @property
    def idle(self) -> bool:
        """Whether nothing waits for its fold."""
        return not any(storm.queued for storm in self.storms)

    # --- signals in

    def capacity(self, namespace: str) -> int:
        """How many more signals are taken whose requests are made in the namespace."""
        return self._queue.capacity(namespace)

    async def submit(
        self, arrival: Arrival, waits: Callable[[str], bool] = lambda namespace: False
    ) -> str | None:
        """Route an arrival and queue it, unless its request's namespace has no room, or others of it wait
        before: then nothing is kept, and the namespace is given."""
        refused = self._queue.take(arrival, waits)
        self._queue.note()
        self._submitted += 1
        if self._submitted % BATCH == 0:
            await asyncio.sleep(0)  # a long list must not keep the others from their turn
        return refused

    def offer(self, arrivals: Sequence[Arrival]) -> list[Arrival]:
        """Route and queue arrivals at once; gives those for which there is no room."""
        refused = [arrival for arrival in arrivals if self._queue.take(arrival, lambda _: False) is not None]
        self._queue.note()
        return refused

    # --- what Redis has

    def adopt(self, group_hashes: Iterable[str], requests: Iterable[RequestView]) -> None:
        """Take over storms found at start: in Redis (`group_hashes`), or as open requests."""
        for group_hash in group_hashes:
            if not self.storms.is_open(group_hash):
                self.storms.open(group_hash, None, "")
        for request in requests:
            self._open(request)
            self.look_again(request.group_hash)

    def _open(self, request: RequestView) -> Storm:
        storm = self.storms.open(request.group_hash, request.version, request.namespace)
        storm.request_epoch = request.position.epoch
        return storm

    def look_again(self, group_hash: str) -> None:
        """Make sure that Redis still has the storm, and give it back if not."""
        self._queue.look_again(group_hash)

    def look_again_at_stale(self) -> None:
        """Fold again what has waited too long, and what somebody else may have discarded."""
        for group_hash in self.storms.overdue():
            self.look_again(group_hash)

    def partition_lost(self, number: int) -> None:
        """Redis has lost a partition: give its storms back."""
        for group_hash in self.storms.of_partition(number):
            self.look_again(group_hash)

    def mark_stale(self, request: RequestView, incarnation: str) -> None:
        """What Redis has of the group does not descend from its request: replace it by what that says."""
        storm = self.storms.get(request.group_hash) or self._open(request)
        storm.stale = incarnation
        storm.request_epoch = max(storm.request_epoch, request.position.epoch)
        self.look_again(request.group_hash)

    def memory_full(self, full: bool) -> None:
        """Stop folding while Redis has little memory left; the intake then fills up and waits."""
        if full:
            self._folding.memory.clear()
        else:
            self._folding.memory.set()

    # --- words back

    def observed(self, request: RequestView) -> None:
        """A request was seen, whoever wrote it: what it holds is durable."""
        held = request.position
        storm = self.storms.get(request.group_hash)
        if storm is None:
            if request.closed:
                return
            storm = self._open(request)
        storm.delay = ""
        if not request.closed:
            storm.waits = ""
        storm.request_epoch = max(storm.request_epoch, held.epoch)
        verdict: Verdict | None = None
        while storm.in_flight and storm.in_flight[0].is_in(held):
            verdict = verdict or self._requests.verdict(storm.group_hash, held.epoch)
            self._queue.release(storm.in_flight.popleft(), verdict)
        self._queue.note()
        if storm.in_flight:
            storm.waits_since = time.monotonic()
            counted = storm.in_flight[0].last_counted
            if counted.epoch <= held.epoch and counted.incarnation != held.incarnation:
                self.look_again(storm.group_hash)
        # An earlier request may be heard of again at any time.
        if request.closed and max(storm.epoch, storm.request_epoch) <= held.epoch:
            self.closed(storm.group_hash)

    def delayed(self, group_hash: str, why: str, *, lasts: bool) -> None:
        """The group's request cannot be written now. Whoever waits for it hears why, also who comes later; if
        that may last, people see it at one of its Signals."""
        storm = self.storms.get(group_hash)
        if storm is None:
            return
        storm.delay = why
        shown: Arrival | None = None
        for item in islice(reversed(storm.in_flight), TOLD):
            arrival = item.routed.original
            arrival.via.delayed(arrival, why)
            if isinstance(arrival.ref, SignalRef):
                shown = arrival
        if shown and lasts:
            shown.via.refused(shown, why)

    def waits(self, group_hash: str, why: str) -> None:
        """The group waits until others of its policy are closed. Who posts alerts of it is told so, and posts
        them again; nothing else of it is held here than what is read again."""
        storm = self.storms.get(group_hash)
        if storm is None:
            return
        storm.waits = why
        storm.in_flight = deque(item for item in storm.in_flight if not self._queue.send_back(item, why))
        self._queue.note()

    def closed(self, group_hash: str) -> None:
        """The storm's request is closed: the next signal opens the next epoch."""
        storm = self.storms.get(group_hash)
        if storm is None:
            return
        storm.forget()
        waiting = self._queue.take_back(storm)
        if not storm.queued and not storm.in_flight:
            self.storms.drop(storm)
        self._queue.take_again(waiting)

    def released(self, snapshot: Snapshot, verdict: Verdict) -> None:
        """No request takes what the snapshot has counted: tell all that is in it, and forget the storm."""
        storm = self.storms.get(snapshot.group_hash)
        if storm is None:
            return
        told = [item for item in storm.in_flight if item.is_of(snapshot)]
        storm.in_flight = deque(item for item in storm.in_flight if not item.is_of(snapshot))
        verdict = storm.kept_as_it_says(verdict)
        for item in told:
            self._queue.release(item, verdict)
        self._queue.note()
        if storm.incarnation in ("", snapshot.incarnation):
            self.closed(snapshot.group_hash)
        if storm.in_flight:
            self.look_again(snapshot.group_hash)
