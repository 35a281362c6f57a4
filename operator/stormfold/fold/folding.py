"""Folding: batches out of the queue, into Redis, and what its answers say of each signal.

What has been folded stays in flight until its request holds it, so that it can be folded again when Redis
turns out to have lost it: when the storm has another incarnation than the one it was folded into. Groups
share nothing, and the Signals of one group are folded in the order of their resourceVersions: that is what
makes `through` in a request's status enough to continue from.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import replace
from functools import cache
from typing import Protocol, TypeVar

from prometheus_client import Counter, Histogram

from stormfold.api.reason import Reason
from stormfold.api.reasons.signals import SignalReason
from stormfold.api.signal import SignalPhase
from stormfold.fold.arguments import Fold
from stormfold.fold.errors import StoreError, StoreFullError
from stormfold.fold.holding import Counted, InFlight, Storm
from stormfold.fold.patience import until_done
from stormfold.fold.queue import Queue
from stormfold.fold.replies import Folded, FoldWord
from stormfold.fold.showing import shown
from stormfold.fold.store import StormStore
from stormfold.fold.storms import Requests, Storms
from stormfold.model.arrival import Verdict
from stormfold.model.group import PARTITIONS, partition
from stormfold.policy.routing import Routed
from stormfold.policy.version import PolicyVersion

log = logging.getLogger(__name__)
T = TypeVar("T")

BATCH = 256
"""The most signals in one call: what a script does without making other clients of Redis wait noticeably."""
LINGER_SECONDS = 0.1
"""How long a partition gathers signals, at least, before they are folded: a storm then costs few calls."""
BEAT_SECONDS = 0.05
"""All partitions fold by the beat of one clock: their calls then travel together (`fold.pipelining`)."""
CLOSING_SECONDS = 0.1
"""How long signals wait for a storm that is being closed before it is tried again."""
DISCARDED_SECONDS = 1.0
"""So long after a group is to be discarded by any replica, the others that hold its signals ask what became
of it."""

FOLDED = Counter("stormfold_signals_folded_total", "Signals that Redis has acknowledged, repeats included.")
FOLD_SECONDS = Histogram(
    "stormfold_fold_duration_seconds",
    "One call of fold.lua, a batch for one partition.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5),
)
FOLD_ERRORS = Counter(
    "stormfold_fold_errors_total", "Calls of fold.lua that failed and are tried again.", ["reason"]
)
REFOLDED = Counter("stormfold_signals_refolded_total", "Signals folded again because Redis had lost them.")


class Deadlines(Protocol):
    """Who looks at storms when they are due."""

    def expect(self, number: int, due_ms: int) -> None:
        """A partition has something due then, Unix ms."""


class Folding:
    """Folds what is queued, one task a partition."""

    def __init__(
        self, store: StormStore, queue: Queue, storms: Storms, requests: Requests, deadlines: Deadlines
    ) -> None:
        self._store = store
        self._queue = queue
        self._storms = storms
        self._requests = requests
        self._deadlines = deadlines
        self.memory = asyncio.Event()
        """Set while Redis has memory for more."""
        self.memory.set()

    def parts(self) -> dict[str, Coroutine[None, None, None]]:
        """What folds for ever, by name."""
        return {f"fold-{number}": self._run_lane(number) for number in range(PARTITIONS)}

    async def _run_lane(self, number: int) -> None:
        lane = self._queue.lanes[number]
        full = False
        while True:
            await lane.work.wait()
            if not full:
                await asyncio.sleep(_linger_seconds(time.monotonic()))
            await self.memory.wait()
            full = await self.fold_next(number)

    async def fold_next(self, number: int) -> bool:
        """Fold the next batch of a partition, and look at what is to be looked at again; True if the batch
        was full.

        Only one call for a partition may be under way: each group then keeps its order.
        """
        lane = self._queue.lanes[number]
        lane.under_way = lane.take(BATCH)
        again, lane.again = lane.again, set()
        full = len(lane.under_way) == BATCH
        if lane.under_way or again:
            await self._fold_batch(number, lane.under_way, again)
            lane.under_way = []
        if not (lane.waiting or lane.again):
            lane.work.clear()
        return full

    async def _fold_batch(self, number: int, taken: list[Routed], again: set[str]) -> None:
        batches: dict[str, list[Routed]] = {
            group_hash: [] for group_hash in again if self._storms.is_open(group_hash)
        }
        for routed in taken:
            batches.setdefault(routed.group.group_hash, []).append(routed)
        closing = False
        for group_hash in [group_hash for group_hash in batches if self._storms[group_hash].is_out_of_date]:
            closing = await self._fold_again(number, group_hash, batches.pop(group_hash)) or closing
        for group_hash, reply in (await self._fold(number, batches)).items():
            if reply.word is FoldWord.LOST:
                closing = await self._fold_again(number, group_hash, batches[group_hash]) or closing
            else:
                items = [InFlight(routed) for routed in batches[group_hash]]
                closing = self._note(group_hash, items, reply) or closing
        if closing:
            await asyncio.sleep(CLOSING_SECONDS)

    async def _fold_again(self, number: int, group_hash: str, batch: list[Routed]) -> bool:
        """Fold all that is in flight once more, in order and with a seed: Redis has lost the storm."""
        items = [InFlight(routed) for routed in batch]
        while storm := self._storms.get(group_hash):
            lost = list(storm.in_flight)
            if lost:
                log.warning(
                    "Redis lost a storm, counting its signals again",
                    extra={"groupHash": group_hash, "signals": len(lost)},
                )
            REFOLDED.inc(len(lost))
            storm.forget()
            storm.in_flight.clear()
            storm.queued += len(lost)
            items = self._release_held(storm, lost + items)
            for start in range(0, max(1, len(items)), BATCH):
                piece = items[start : start + BATCH]
                routed = [item.routed for item in piece]
                reply = (await self._fold(number, {group_hash: routed})).get(group_hash)
                if reply is None:
                    return False
                if reply.word is FoldWord.LOST:
                    items = items[start:]
                    break
                if reply.word is FoldWord.CLOSING:
                    return self._note(group_hash, items[start:], reply)
                self._note(group_hash, piece, reply)
            else:
                return False
        return False

    def _release_held(self, storm: Storm, items: list[InFlight]) -> list[InFlight]:
        """Tell those that a request holds by now, and give the others."""
        left = []
        epoch_of = self._epoch_that_holds(storm.group_hash)
        for item in items:
            if epoch := epoch_of(item):
                storm.queued -= 1
                self._queue.release(item, self._requests.verdict(storm.group_hash, epoch))
            else:
                left.append(item)
        return left

    def _epoch_that_holds(self, group_hash: str) -> Callable[[InFlight], int]:
        """Which request holds an arrival by one of its incarnations, 0 for none; for as long as nothing is
        awaited."""
        held = cache(lambda epoch: self._requests.position(group_hash, epoch))

        def epoch_of(item: InFlight) -> int:
            epochs = {counted.epoch for counted in item.counted_in}
            return next((epoch for epoch in epochs if (held_ := held(epoch)) and item.is_in(held_)), 0)

        return epoch_of

    async def _fold(self, number: int, batches: Mapping[str, list[Routed]]) -> dict[str, Folded]:
        folds = [
            fold for group_hash, routed in batches.items() if (fold := self._prepared(group_hash, routed))
        ]
        if not folds:
            return {}

        async def call() -> list[Folded]:
            with FOLD_SECONDS.time():
                # What some wait for may have become durable meanwhile, and Redis have lost it since.
                renewed = [
                    replace(fold, arrivals=[arrival.via.current(arrival) for arrival in fold.arrivals])
                    for fold in folds
                ]
                return await self._store.fold(number, renewed, now_ms=int(time.time() * 1000))

        replies = await self._answered(number, call)
        return {fold.group_hash: reply for fold, reply in zip(folds, replies, strict=True)}

    async def _answered(self, number: int, ask: Callable[[], Awaitable[T]]) -> T:
        """What the store says to a step of folding, tried again until it answers."""

        def failed(exc: StoreError, attempt: int) -> None:
            FOLD_ERRORS.labels(reason="full" if isinstance(exc, StoreFullError) else "unavailable").inc()
            if attempt == 0:
                log.warning("counting failed, trying again", extra={"partition": number, "error": str(exc)})

        return await until_done(ask, failed=failed)

    def _prepared(self, group_hash: str, batch: list[Routed]) -> Fold | None:
        storm = self._storms[group_hash]
        request = None if storm.epoch else self._requests.continuation(group_hash)
        if request and not request.seed.closed:
            version, opening = request.version, request.opening
        elif batch:
            version = batch[0].version
            opening = version.opening(batch[0].group, batch[0].arrival).encoded()
        elif storm.version:
            version, opening = storm.version, ""
        else:
            return None  # Redis alone knows this group: it is looked at when it is due
        arrivals = [routed.arrival for routed in batch]
        showing = shown(version.showing, storm.told, arrivals)
        # With a seed it is not known whether it is these arrivals that are counted.
        storm.telling = storm.told if request else showing.telling
        return Fold(
            group_hash,
            version.terms,
            opening,
            arrivals,
            known_epoch=storm.epoch,
            known_folded=storm.folded,
            known_incarnation=storm.incarnation,
            stale=storm.stale,
            seed=request.seed if request else None,
            shown=showing,
        )

    def _note(self, group_hash: str, batch: list[InFlight], reply: Folded) -> bool:
        """Take in what fold said of one storm; True if its signals must wait until it is closed."""
        storm = self._storms.get(group_hash)
        if storm is None:
            return False  # closed while we looked at it again
        storm.queued -= len(batch)
        if reply.word is FoldWord.CLOSING:
            self._wait_for_closing(storm, batch)
            return True
        storm.stale = ""
        if reply.open:
            storm.epoch, storm.folded, storm.incarnation = reply.epoch, reply.folded, reply.incarnation
            if reply.due_ms:
                storm.told = storm.telling
        else:
            storm.forget()
        FOLDED.inc(len(batch))
        if reply.due_ms:
            self._deadlines.expect(partition(group_hash), reply.due_ms)
        if storm.version and reply.undecided not in (None, SignalReason.GROUP_WAIT):
            wait = storm.version.terms.within_ms / 1000 + DISCARDED_SECONDS
            storm.discarded_by = min(storm.discarded_by, time.monotonic() + wait)
        if batch and not storm.in_flight:
            storm.waits_since = time.monotonic()
        held = self._requests.position(group_hash, reply.epoch)
        # What was durable before is in an earlier request, as long as the open storm has none.
        durable_epoch = reply.epoch - (reply.open and held is None)
        durable = max(reply.written, held.folded_of(reply.epoch, reply.incarnation) if held else 0)
        pending = None
        if reply.undecided and not held and storm.version:
            pending = reply.undecided, pending_message(reply.undecided, storm.version)
        verdict = cache(lambda epoch: self._requests.verdict(group_hash, epoch))
        epoch_of = self._epoch_that_holds(group_hash)
        for place, (item, ordinal) in enumerate(zip(batch, reply.ordinals, strict=True)):
            if item.counted_in and (epoch := epoch_of(item)):
                # The write of an earlier incarnation has succeeded meanwhile: this incarnation will not be
                # written.
                self._queue.release(item, verdict(epoch))
                continue
            if place in reply.discarded:
                self._queue.release(item, storm.kept_as_it_says(discarded_before(reply.discarded_as)))
                continue
            if ordinal > durable:
                counted = Counted(reply.epoch, reply.incarnation, ordinal)
                self._hold(storm, item.folded(counted), pending)
            else:
                item.routed.original.via.folded(item.routed.original)
                self._queue.release(item, verdict(reply.epoch if ordinal else durable_epoch))
        self._queue.note()
        if not reply.open and not storm.queued and not storm.in_flight:
            self._storms.drop(storm)
        return False

    def _hold(self, storm: Storm, item: InFlight, pending: tuple[Reason, str] | None) -> None:
        """Keep what Redis has counted until a request holds it, as far as it is to be held here. `pending`
        says why no request is to be made so far."""
        arrival = item.routed.original
        if pending and arrival.via.pending(arrival, *pending):
            kept = self._queue.set_aside(item)
        else:
            arrival.via.folded(arrival)
            kept = None if storm.waits and self._queue.send_back(item, storm.waits) else item
        if kept is None:
            return
        storm.in_flight.append(kept)
        if storm.delay:
            arrival.via.delayed(arrival, storm.delay)

    def _wait_for_closing(self, storm: Storm, batch: list[InFlight]) -> None:
        # What waits is routed anew: the next storm opens under the policies of its own time.
        waiting = [self._queue.give_back(item) for item in batch] + self._queue.take_back(storm)
        self._queue.take_again(waiting)


def _linger_seconds(now: float) -> float:
    """Until the first beat that is far enough away."""
    return LINGER_SECONDS + BEAT_SECONDS - now % BEAT_SECONDS


def encoded(verdict: Verdict) -> str:
    """What Redis keeps of what a discarded group was told."""
    return f"{verdict.phase.name}:{verdict.reason.name}"


def discarded_before(text: str) -> Verdict:
    """What `encoded` wrote, for a signal of which only Redis knows that it was discarded."""
    phase, _, reason = text.partition(":")
    return Verdict(SignalPhase[phase], SignalReason[reason], "its group got no request")


def pending_message(reason: Reason, version: PolicyVersion) -> str:
    """What is said of an alert that is pending."""
    terms = version.terms
    within = f"{terms.within_ms / 1000:g} s"
    if reason is SignalReason.NOTHING_FIRING:
        return f"nothing of its group fires; if nothing does within {within}, the alert is discarded"
    if reason is SignalReason.GROUP_WAIT:
        return f"its request is made when groupWait ({terms.group_wait_ms / 1000:g} s) is over"
    threshold = f"{terms.threshold_signals} signals"
    if terms.threshold_resources:
        threshold += f" or {terms.threshold_resources} resources"
    return (
        f"its group is below the threshold of {version.id} ({threshold} within {within}): "
        "if it stays so, the alert is discarded"
    )
