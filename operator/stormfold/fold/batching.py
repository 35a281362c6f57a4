"""Folder: arrivals → one batch per partition → the store; keeps what is not yet safe.

What has been folded is kept here until its request holds it, so that it can be folded again when Redis turns out
to have lost it: when the storm has another incarnation than the one it was folded into. Groups share nothing, and the
Signals of one group are folded in the order of their resourceVersions: that is what makes `through` in a request's
status enough to continue from.

There is room for so many and no more. It is shared out by the namespace of the request, which all signals of a group
have in common: where requests cannot be made, signals pile up, and another namespace must not wait for that.
"""

import asyncio
import logging
import math
import time
from collections import Counter as Tally
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import chain
from typing import TypeVar

from prometheus_client import Counter, Gauge, Histogram

from stormfold.api.conditions import Reason
from stormfold.api.signal import SignalPhase
from stormfold.fold.arguments import Fold
from stormfold.fold.elsewhere import Elsewhere
from stormfold.fold.errors import StoreError, StoreFullError
from stormfold.fold.holding import NOT_SURE, Continuation, Held, Lane, Life, Storm, Sureness, Unsafe, places
from stormfold.fold.patience import until_done
from stormfold.fold.replies import Folded, FoldWord, Recalled
from stormfold.fold.room import Room
from stormfold.fold.store import StormStore
from stormfold.model.arrival import AlertRef, Arrival, Span, Verdict
from stormfold.model.group import PARTITIONS, Group, PolicyId, partition
from stormfold.model.storm import Snapshot
from stormfold.policy.routing import OpenStorms, Routed
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
MAX_HELD = 50_000
"""The most signals that are kept here, half of them for one namespace: what is beyond waits where it came from. One with
long texts counts as several: see `Arrival.places`."""
STALE_SECONDS = 10.0
"""What is not safe after this long is folded again: nothing happens if Redis kept it."""
DISCARDED_SECONDS = 1.0
"""So long after a group is to be discarded by any replica, the others that hold its signals ask what became of it."""

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
HELD = Gauge("stormfold_signals_unsafe", "Signals taken in whose request does not hold them yet.")
OVERFLOWS = Gauge(
    "stormfold_overflow_storms_open", "Storms that count what is beyond limits.openStorms of a policy."
)
OPEN_STORMS = Gauge("stormfold_storms_open", "Groups that have a storm or wait for one.")


class Folder(OpenStorms):
    """Takes arrivals in and tells, once each, what became of them."""

    def __init__(
        self,
        store: StormStore,
        *,
        route: Callable[[Arrival, OpenStorms], Routed | Verdict],
        continuation: Callable[[str], Continuation | None],
        held: Callable[[str, int], Held | None],
        closed_spans: Callable[[str, str], Sequence[Span]],
        leads: Callable[[Arrival], bool],
        renewed: Callable[[Arrival], Arrival],
        tell: Callable[[Arrival, Verdict], None],
        safe_verdict: Callable[[str, int], Verdict],
        hint: Callable[[int, int], None],
    ) -> None:
        """Connect the folder.

        `continuation` gives what a group's latest request says, `held` what that of an epoch holds, `closed_spans` what
        those that are closed have counted of a stream, `safe_verdict` where a gid and epoch lead; `leads` says whether
        a Signal or Event is ours to take in now; `renewed` gives an arrival as it is to be folded now; `hint` takes a
        partition and when something is due there, in Unix ms.
        """
        self._store = store
        self._route = route
        self._continuation = continuation
        self._request_holds = held
        self._closed_spans = closed_spans
        self._leads = leads
        self._renewed = renewed
        self._tell = tell
        self._safe_verdict = safe_verdict
        self._hint = hint
        self._storms: dict[str, Storm] = {}
        self._open: Tally[tuple[PolicyId, str]] = Tally()
        self._overflows: set[tuple[PolicyId, str]] = set()
        self._elsewhere = Elsewhere(
            store,
            continuation=continuation,
            has_begun=lambda gid: self._storms[gid].epoch > 0,
            overflows=self._overflows,
        )
        self._lanes = [Lane() for _ in range(PARTITIONS)]
        self._room = Room(MAX_HELD)
        self._held = 0
        """How many arrivals are in the room."""
        self._submitted = 0
        self.overflow_changed: Callable[[], None] = lambda: None
        """Hears that an overflow storm has opened or gone."""
        self._memory = asyncio.Event()
        self._memory.set()

    # --- what routing asks

    def is_open(self, gid: str) -> bool:
        """Whether the group has a storm, or waits for one."""
        return gid in self._storms

    def open_count(self, policy: PolicyId, namespace: str) -> int:
        """How many groups of a policy have one with its request in a namespace, without the overflow group."""
        return self._open[policy, namespace]

    def first(self, gid: str, stream: str) -> int | None:
        """The lowest resourceVersion of a stream that went to the group's open storm, if that is known."""
        storm = self._storms.get(gid)
        return storm.since.get(stream) if storm else None

    def closed_spans(self, gid: str, stream: str) -> Sequence[Span]:
        """What the group's last storms that are closed have counted of a stream."""
        return self._closed_spans(gid, stream)

    def overflows(self, policy: PolicyId) -> list[str]:
        """The namespaces in which a policy has an overflow storm that is open, in alphabetical order."""
        return sorted(namespace for version, namespace in self._overflows if version == policy)

    def namespace_of(self, gid: str) -> str:
        """Where the request of a group is made; empty if that is not known."""
        storm = self._storms.get(gid)
        return storm.namespace if storm else ""

    def versions_in_use(self) -> set[tuple[str, int]]:
        """(uid, generation) of the policies that open storms hold to."""
        return {storm.version.key for storm in self._storms.values() if storm.version}

    # --- signals in

    async def submit(
        self, arrival: Arrival, waits: Callable[[str], bool] = lambda namespace: False
    ) -> str | None:
        """Route an arrival and queue it, unless its request's namespace has no room, or others of it wait before:
        then nothing is kept, and the namespace is given."""
        refused = self._take(arrival, waits)
        self._note_held()
        self._submitted += 1
        if self._submitted % BATCH == 0:
            await asyncio.sleep(0)  # a long list must not keep the others from their turn
        return refused

    def offer(self, arrivals: Sequence[Arrival]) -> list[Arrival]:
        """Route and queue arrivals at once; gives those for which there is no room."""
        refused = [arrival for arrival in arrivals if self._take(arrival, lambda _: False) is not None]
        self._note_held()
        return refused

    def room(self, namespace: str) -> int:
        """How many more signals are taken whose requests are made in the namespace."""
        return self._room.left(namespace)

    def _take(self, arrival: Arrival, waits: Callable[[str], bool]) -> str | None:
        routed = self._route(arrival, self)
        if isinstance(routed, Verdict):
            self._tell(arrival, routed)
            return None
        namespace = routed.group.request_namespace
        if waits(namespace) or not self._room.left(namespace):
            return namespace
        self._enqueue(routed)
        return None

    def _enqueue(self, routed: Routed) -> None:
        group = routed.group
        storm = self._storms.get(group.gid)
        if storm is None:
            storm = self._open_storm(
                group.gid, routed.version, group.request_namespace, overflow=group.overflow
            )
        elif storm.version is None:
            self._name_version(storm, routed.version, group.request_namespace, overflow=group.overflow)
        storm.queued += 1
        if place := routed.place:
            storm.reaches({place.stream: place.resource_version})
        self._room.take(group.request_namespace, routed.original.places)
        self._held += 1
        self._lanes[group.partition].add(routed)

    def _open_storm(
        self, gid: str, version: PolicyVersion | None, namespace: str, *, overflow: bool
    ) -> Storm:
        storm = self._storms[gid] = Storm(gid)
        if version:
            self._name_version(storm, version, namespace, overflow=overflow)
        OPEN_STORMS.set(len(self._storms))
        return storm

    def _name_version(self, storm: Storm, version: PolicyVersion, namespace: str, *, overflow: bool) -> None:
        storm.version, storm.namespace, storm.overflow = version, namespace, overflow
        if overflow:
            self._overflows.add((version.id, namespace))
            self._note_overflows()
        else:
            self._open[version.id, namespace] += 1

    def _drop_storm(self, storm: Storm) -> None:
        del self._storms[storm.gid]
        OPEN_STORMS.set(len(self._storms))
        if storm.version is None:
            return
        of = storm.version.id, storm.namespace
        if storm.overflow:
            self._overflows.discard(of)
            self._note_overflows()
            return
        self._open[of] -= 1
        if not self._open[of]:
            del self._open[of]

    def _note_overflows(self) -> None:
        OVERFLOWS.set(len(self._overflows))
        self.overflow_changed()

    def _note_held(self) -> None:
        """More or fewer are held than before; for many at once this is called once."""
        HELD.set(self._held)

    def adopt(self, gids: Iterable[str], versions: Mapping[str, tuple[PolicyVersion, str, bool]]) -> None:
        """Take over storms found at start: in Redis (`gids`), or as open requests (with version, namespace, and if
        overflow)."""
        for gid in gids:
            if gid not in self._storms:
                self._open_storm(gid, None, "", overflow=False)
        for gid, (version, namespace, overflow) in versions.items():
            known = self._storms.get(gid)
            if known:
                self._drop_storm(known)
            storm = self._open_storm(gid, version, namespace, overflow=overflow)
            if known:
                storm.reaches(known.since)  # that of its request, which was observed
            self.look_again(gid)

    def count_since(self, since: Mapping[str, Mapping[str, int]]) -> None:
        """Hear what storms in Redis have counted: gid → stream → the oldest resourceVersion. Routing asks for it, so
        that whoever begins to take in must know."""
        for gid, streams in since.items():
            if storm := self._storms.get(gid):
                storm.reaches(streams)

    def look_again(self, gid: str) -> None:
        """Make sure that Redis still has the storm, and give it back if not."""
        if gid in self._storms:
            lane = self._lanes[partition(gid)]
            lane.again.add(gid)
            lane.work.set()

    def can_become_safe(self) -> bool:
        """Whether something is unsafe that a request would hold; a group that waits for its threshold does not count."""
        return any(
            storm.unsafe and storm.version and not storm.version.terms.discard
            for storm in self._storms.values()
        )

    def waiting(self, gid: str) -> Iterator[Arrival]:
        """What is folded of a group but not safe, the newest first."""
        storm = self._storms.get(gid)
        return (item.routed.original for item in reversed(storm.unsafe)) if storm else iter(())

    def unsafe_gids(self) -> list[str]:
        """Groups of which something is folded but not safe."""
        return [storm.gid for storm in self._storms.values() if storm.unsafe]

    def mistrust(
        self, gid: str, incarnation: str, version: PolicyVersion, *, namespace: str, overflow: bool
    ) -> None:
        """What Redis has of the group does not descend from its request: replace it by what that says."""
        storm = self._storms.get(gid) or self._open_storm(gid, version, namespace, overflow=overflow)
        storm.distrusted = incarnation
        self.look_again(gid)

    def partition_lost(self, number: int) -> None:
        """Redis has lost a partition: give its storms back."""
        for gid in self._storms:
            if partition(gid) == number:
                self.look_again(gid)

    def missing_in(self, gids: Collection[str]) -> set[str]:
        """Groups that have a storm here, and none in Redis, which has those of `gids`."""
        return {gid for gid, storm in self._storms.items() if storm.version} - set(gids)

    def look_again_at_stale(self) -> None:
        """Fold again what has waited too long, and what somebody else may have discarded."""
        now = time.monotonic()
        for storm in self._storms.values():
            if storm.unsafe and (now - storm.waits_since > STALE_SECONDS or now > storm.discarded_by):
                storm.waits_since, storm.discarded_by = now, math.inf
                self.look_again(storm.gid)

    def memory_full(self, full: bool) -> None:
        """Stop folding while Redis has little memory left; the intake then fills up and waits."""
        if full:
            self._memory.clear()
        else:
            self._memory.set()

    # --- words back

    def observed(
        self,
        gid: str,
        held: Held,
        version: PolicyVersion,
        *,
        namespace: str,
        overflow: bool,
        closed: bool,
        since: Mapping[str, int],
    ) -> None:
        """A request was seen, whoever wrote it: what it holds is safe. `since` is the oldest of each stream that it
        has counted."""
        storm = self._storms.get(gid)
        if storm is None:
            if closed:
                return
            storm = self._open_storm(gid, version, namespace, overflow=overflow)
        if not closed and storm.epoch <= held.epoch:
            storm.reaches(since)
        verdict: Verdict | None = None
        while storm.unsafe and storm.unsafe[0].is_in(held):
            verdict = verdict or self._safe_verdict(gid, held.epoch)
            self._release(storm.unsafe.popleft().routed, verdict)
        self._note_held()
        if storm.unsafe:
            storm.waits_since = time.monotonic()
            life = storm.unsafe[0].life
            if life.epoch <= held.epoch and life.incarnation != held.incarnation:
                self.look_again(gid)
        if closed and storm.epoch <= held.epoch:
            self.closed(gid)

    def closed(self, gid: str) -> None:
        """The storm's request is closed: the next signal opens the next epoch."""
        storm = self._storms.get(gid)
        if storm is None:
            return
        storm.forget()
        storm.since.clear()
        waiting = self._unqueue(storm)
        if not storm.queued and not storm.unsafe:
            self._drop_storm(storm)
        self._enqueue_anew(waiting)

    def _enqueue_anew(self, arrivals: Iterable[Arrival]) -> None:
        overflows: dict[str, Lane] = {}
        for arrival in arrivals:
            routed = self._route(arrival, self)
            if isinstance(routed, Verdict):
                self._tell(arrival, routed)
                continue
            self._enqueue(routed)
            if routed.group.overflow:
                overflows[routed.group.gid] = self._lanes[routed.group.partition]
        for gid, lane in overflows.items():
            lane.put_in_order(gid)  # it has waited behind its own group's storm, while others came here
        self._note_held()

    def _unqueue(self, storm: Storm) -> list[Arrival]:
        waiting = self._lanes[partition(storm.gid)].queue.pop(storm.gid, ())
        storm.queued -= len(waiting)
        return [self._given_back(routed) for routed in waiting]

    def _given_back(self, routed: Routed) -> Arrival:
        self._room.give(routed.group.request_namespace, routed.original.places)
        self._held -= 1
        return routed.original

    def released(self, snapshot: Snapshot, verdict: Verdict) -> None:
        """No request takes what the snapshot has counted: tell all that is in it, and forget the storm."""
        storm = self._storms.get(snapshot.gid)
        if storm is None:
            return
        told = [item for item in storm.unsafe if item.is_of(snapshot)]
        storm.unsafe = deque(item for item in storm.unsafe if not item.is_of(snapshot))
        verdict = _kept_as_by(storm, verdict)
        for item in told:
            self._release(item.routed, verdict)
        self._note_held()
        if storm.incarnation in ("", snapshot.incarnation):
            self.closed(snapshot.gid)
        if storm.unsafe:
            self.look_again(snapshot.gid)

    def _release(self, routed: Routed, verdict: Verdict) -> None:
        self._tell(self._given_back(routed), verdict)

    # --- batches out

    def parts(self) -> dict[str, Coroutine[None, None, None]]:
        """What folds for ever, by name: one task for each partition."""
        return {f"fold-{number}": self._run_lane(number) for number in range(PARTITIONS)}

    @property
    def idle(self) -> bool:
        """Whether nothing waits for its fold."""
        return not any(storm.queued for storm in self._storms.values())

    async def _run_lane(self, number: int) -> None:
        lane = self._lanes[number]
        full = False
        while True:
            await lane.work.wait()
            if not full:
                await asyncio.sleep(_linger_seconds(time.monotonic()))
            await self._memory.wait()
            full = await self.fold_next(number)

    async def fold_next(self, number: int) -> bool:
        """Fold the next batch of a partition, and look at what is to be looked at again; True if the batch was full.

        Only one call for a partition may be under way: each group then keeps its order.
        """
        lane = self._lanes[number]
        lane.under_way = lane.take(BATCH, self._readiness(lane))
        again, lane.again = lane.again, set()
        full = len(lane.under_way) == BATCH
        if lane.under_way or again:
            await self._fold_batch(number, lane.under_way, again)
            lane.under_way = []
        if not (lane.queue or lane.again):
            lane.work.clear()
        return full

    def _readiness(self, lane: Lane) -> Callable[[Routed], bool]:
        """Which arrivals may be folded now.

        The overflow group comes last: what it has counted of a stream is taken to be all that is not in groups of their
        own, so what came before and goes to those is folded before.
        """
        if not any(self._storms[gid].overflow for gid in lane.queue):
            return lambda routed: True
        ahead: dict[tuple[PolicyId, str, str], int] = {}
        for other in self._lanes:
            for routed in (*other.under_way, *chain.from_iterable(other.queue.values())):
                if not routed.group.overflow and (place := routed.place):
                    key = routed.version.id, routed.group.request_namespace, place.stream
                    ahead[key] = min(place.resource_version, ahead.get(key, place.resource_version))

        def ready(routed: Routed) -> bool:
            place = routed.place
            if not routed.group.overflow or place is None:
                return True
            first = ahead.get((routed.version.id, routed.group.request_namespace, place.stream))
            return first is None or place.resource_version < first

        return ready

    async def _fold_batch(self, number: int, taken: list[Routed], again: set[str]) -> None:
        elsewhere = await self._answered(number, lambda: self._elsewhere.find(taken))
        batches: dict[str, list[Routed]] = {gid: [] for gid in again if gid in self._storms}
        for place, routed in enumerate(taken):
            # A group of which nothing stays is looked at all the same: it may have no storm.
            batch = batches.setdefault(routed.group.gid, [])
            if place in elsewhere.counted:
                self._send_on(routed, *elsewhere.counted[place])
            else:
                batch.append(replace(routed, doubtful=True) if place in elsewhere.doubtful else routed)
        closing = False
        for gid in [gid for gid in batches if self._storms[gid].is_out_of_date]:
            closing = await self._fold_again(number, gid, batches.pop(gid)) or closing
        for gid, reply in (await self._fold(number, batches)).items():
            if reply.word is FoldWord.LOST:
                closing = await self._fold_again(number, gid, batches[gid]) or closing
            else:
                closing = self._note(gid, [Unsafe(routed) for routed in batches[gid]], reply) or closing
        if closing:
            await asyncio.sleep(CLOSING_SECONDS)

    def _send_on(self, routed: Routed, group: Group, known: Recalled) -> None:
        """Let an alert go to the group that has counted it; if that storm is over, it is safe."""
        self._storms[routed.group.gid].queued -= 1
        if known.closed:
            self._release(routed, self._safe_verdict(group.gid, known.epoch))
        else:
            self._given_back(routed)
            self._enqueue(replace(routed, group=group, recalled=True))
        self._note_held()

    async def _fold_again(self, number: int, gid: str, batch: list[Routed]) -> bool:
        """Fold all that is not safe once more, in order and with a seed: Redis has lost the storm."""
        items = [Unsafe(routed) for routed in batch]
        while storm := self._storms.get(gid):
            request = self._continuation(gid)
            seed = request.seed if request else None
            lost = list(storm.unsafe)
            if lost:
                log.warning("Redis lost a storm, folding it again", extra={"gid": gid, "signals": len(lost)})
            REFOLDED.inc(len(lost))
            storm.forget()
            storm.unsafe.clear()
            storm.queued += len(lost)
            items = self._release_held(storm, lost + items)
            sure = [item.is_surely_not_in(seed) for item in items]
            for start in range(0, max(1, len(items)), BATCH):
                piece = items[start : start + BATCH]
                sureness = Sureness(places(sure[start : start + BATCH]), seed.origin if seed else "")
                routed = [item.routed for item in piece]
                reply = (await self._fold(number, {gid: routed}, sureness)).get(gid)
                if reply is None:
                    return False
                if reply.word is FoldWord.LOST:
                    items = items[start:]
                    break
                if reply.word is FoldWord.CLOSING:
                    return self._note(gid, items[start:], reply)
                self._note(gid, piece, reply)
            else:
                return False
        return False

    def _release_held(self, storm: Storm, items: list[Unsafe]) -> list[Unsafe]:
        """Tell those that a request holds by now, and give the others."""
        left = []
        epoch_of = self._epoch_that_holds(storm.gid)
        for item in items:
            if epoch := epoch_of(item):
                storm.queued -= 1
                self._release(item.routed, self._safe_verdict(storm.gid, epoch))
            else:
                left.append(item)
        return left

    def _epoch_that_holds(self, gid: str) -> Callable[[Unsafe], int]:
        """Which request holds an arrival by one of its lives, 0 for none; for as long as nothing is awaited."""
        held = cache(lambda epoch: self._request_holds(gid, epoch))

        def epoch_of(item: Unsafe) -> int:
            epochs = {life.epoch for life in item.lives}
            return next((epoch for epoch in epochs if (held_ := held(epoch)) and item.is_in(held_)), 0)

        return epoch_of

    async def _fold(
        self, number: int, batches: Mapping[str, list[Routed]], sureness: Sureness = NOT_SURE
    ) -> dict[str, Folded]:
        folds = [fold for gid, routed in batches.items() if (fold := self._prepared(gid, routed, sureness))]
        if not folds:
            return {}
        # Of two leaders that overlap each may route such a signal to another group.
        movable = [
            routed.arrival
            for routed in (chain.from_iterable(batches.values()) if self._overflows else ())
            if (routed.version.id, routed.group.request_namespace) in self._overflows and routed.place
        ]

        async def call() -> list[Folded]:
            while not all(map(self._leads, movable)):  # noqa: ASYNC110 (the clock ends a Lease)
                await asyncio.sleep(LINGER_SECONDS)
            with FOLD_SECONDS.time():
                # What some wait for may have become safe meanwhile, and Redis have lost it since.
                renewed = [
                    replace(fold, arrivals=[self._renewed(arrival) for arrival in fold.arrivals])
                    for fold in folds
                ]
                return await self._store.fold(number, renewed, now_ms=int(time.time() * 1000))

        replies = await self._answered(number, call)
        return {fold.gid: reply for fold, reply in zip(folds, replies, strict=True)}

    async def _answered(self, number: int, ask: Callable[[], Awaitable[T]]) -> T:
        """What the store says to a step of folding, tried again until it answers."""

        def failed(exc: StoreError, attempt: int) -> None:
            FOLD_ERRORS.labels(reason="full" if isinstance(exc, StoreFullError) else "unavailable").inc()
            if attempt == 0:
                log.warning("fold failed, trying again", extra={"partition": number, "error": str(exc)})

        return await until_done(ask, failed=failed)

    def _prepared(self, gid: str, batch: list[Routed], sureness: Sureness) -> Fold | None:
        storm = self._storms[gid]
        request = None if storm.epoch else self._continuation(gid)
        if request and not request.seed.closed:
            version, opening = request.version, request.opening
        elif batch:
            version = batch[0].version
            opening = version.opening(batch[0].group, batch[0].arrival).encoded()
        elif storm.version:
            version, opening = storm.version, ""
        else:
            return None  # Redis alone knows this group: it is looked at when it is due
        return Fold(
            gid,
            version.terms,
            opening,
            [routed.arrival for routed in batch],
            sure=sureness.places,
            basis=sureness.basis,
            doubtful=places([routed.doubtful for routed in batch]),
            known_epoch=storm.epoch,
            known_folded=storm.folded,
            known_incarnation=storm.incarnation,
            distrusted=storm.distrusted,
            seed=request.seed if request else None,
        )

    def _note(self, gid: str, batch: list[Unsafe], reply: Folded) -> bool:
        """Take in what fold said of one storm; True if its signals must wait until it is closed."""
        storm = self._storms.get(gid)
        if storm is None:
            return False  # closed while we looked at it again
        storm.queued -= len(batch)
        if reply.word is FoldWord.CLOSING:
            self._wait_for_closing(storm, [item.routed for item in batch])
            return True
        storm.distrusted = ""
        if reply.open:
            storm.epoch, storm.folded, storm.incarnation = reply.epoch, reply.folded, reply.incarnation
        else:
            storm.forget()
        FOLDED.inc(len(batch))
        if reply.due_ms:
            self._hint(partition(gid), reply.due_ms)
        if storm.version and storm.version.terms.discard and not reply.written:
            wait = storm.version.terms.within_ms / 1000 + DISCARDED_SECONDS
            storm.discarded_by = min(storm.discarded_by, time.monotonic() + wait)
        if batch and not storm.unsafe:
            storm.waits_since = time.monotonic()
        held = self._request_holds(gid, reply.epoch)
        # What was safe before is in an earlier request, as long as the open storm has none.
        safe_epoch = reply.epoch - (reply.open and held is None)
        safe = max(reply.written, held.folded_of(reply.epoch, reply.incarnation) if held else 0)
        verdict = cache(lambda epoch: self._safe_verdict(gid, epoch))
        epoch_of = self._epoch_that_holds(gid)
        for place, (item, ordinal) in enumerate(zip(batch, reply.ordinals, strict=True)):
            routed = item.routed
            if item.lives and (epoch := epoch_of(item)):
                # The write of an earlier life has succeeded meanwhile: this life will not be written.
                self._release(routed, verdict(epoch))
                continue
            if place in reply.discarded:
                self._release(routed, _kept_as_by(storm, _discarded(reply.discarded_as)))
                continue
            ref = routed.arrival.ref
            if isinstance(ref, AlertRef):
                ref.waiter.folded(ref.index)
            if ordinal > safe:
                life = Life(reply.epoch, reply.incarnation, ordinal, place in reply.doubtful)
                storm.unsafe.append(item.folded(life))
            else:
                self._release(routed, verdict(reply.epoch if ordinal else safe_epoch))
        self._note_held()
        if not reply.open and not storm.queued and not storm.unsafe:
            self._drop_storm(storm)
        return False

    def _wait_for_closing(self, storm: Storm, batch: list[Routed]) -> None:
        # What waits is routed anew: the next storm opens under the policies of its own time.
        waiting = [self._given_back(routed) for routed in batch] + self._unqueue(storm)
        self._enqueue_anew(waiting)


def _linger_seconds(now: float) -> float:
    """Until the first beat that is far enough away."""
    return LINGER_SECONDS + BEAT_SECONDS - now % BEAT_SECONDS


def encoded(verdict: Verdict) -> str:
    """What Redis keeps of what a discarded group was told."""
    return f"{verdict.phase.name}:{verdict.reason.name}"


def _discarded(text: str) -> Verdict:
    """What `encoded` wrote, for a signal of which only Redis knows that it was discarded."""
    phase, _, reason = text.partition(":")
    return Verdict(SignalPhase[phase], Reason[reason], "no request was made of its group")


def _kept_as_by(storm: Storm, verdict: Verdict) -> Verdict:
    """The verdict, with the storm's own word on how long its Signals are kept."""
    return replace(verdict, retention_ms=storm.version.spec.retention_ms) if storm.version else verdict
