"""Retention: durable Signals are deleted once they have been kept long enough, or their namespace has too
many.

A Signal is deleted at exactly the version that was counted: one that was changed meanwhile stays, and is
counted. While many Signals arrive deletions wait, since the API server needs the time for creates; then they
catch up.
"""

import asyncio
import heapq
import itertools
import logging
import time
from collections import OrderedDict, defaultdict
from collections.abc import Coroutine
from dataclasses import replace

from prometheus_client import Counter, Gauge

from stormfold.api.signal import Signal
from stormfold.kube import paths
from stormfold.kube.client import KubeClient
from stormfold.kube.errors import ApiError, ConflictError, NotFoundError
from stormfold.model.arrival import SignalRef
from stormfold.sources.signals.rush import Rush

log = logging.getLogger(__name__)

DELETIONS_AT_ONCE = 4
"""Deletions under way at the same time: enough for hundreds a second, and little beside a storm's creates."""
DELETIONS_BEHIND = 100
"""For each so many that wait there is one more at the same time: an API server that is busy answers later,
and without this as many a second as half of what it takes were more than could be deleted."""
DELETIONS_AT_MOST = 32
TICK_SECONDS = 1.0
RUSH_WAIT_SECONDS = 0.1
"""How often deletions that wait look whether the rush is over."""
SWEEP = 1024
"""So many ends are kept beside those that are to come before the others, of Signals deleted earlier, are
dropped."""

DELETIONS = Counter(
    "stormfold_signal_deletions_total", "Deletions of Signals by what became of them.", ["outcome"]
)
KEPT = Gauge("stormfold_signals_kept", "Durable Signals that are still there.")
BACKLOG = Gauge("stormfold_signal_deletions_waiting", "Durable Signals whose deletion is due.")


class Retention:
    """Keeps the book of durable Signals and deletes them. `per_namespace` is how many are kept at most."""

    def __init__(self, client: KubeClient, *, per_namespace: int) -> None:
        self._client = client
        self._per_namespace = per_namespace
        self._kept: dict[str, SignalRef] = {}
        self._until: dict[str, float] = {}
        self._of_namespace: defaultdict[str, OrderedDict[str, None]] = defaultdict(OrderedDict)
        """Namespace → uids, the oldest first, without those that are to be deleted for being too many."""
        self._ends: list[tuple[float, int, str]] = []
        self._order = itertools.count()
        self._over: asyncio.Queue[str] = asyncio.Queue()
        self._queued: set[str] = set()
        self._rush = Rush()
        self._under_way = 0
        self._ended = asyncio.Event()

    def arrived(self, live: int) -> None:
        """A Signal is taken in: `live` are in the cluster now."""
        self._rush.arrived(time.monotonic(), live)

    def keep(self, ref: SignalRef, seconds: float) -> None:
        """The Signal is durable: keep it so long from now, unless its namespace has too many."""
        self._kept[ref.uid] = ref
        of_namespace = self._of_namespace[ref.namespace]
        of_namespace[ref.uid] = None
        of_namespace.move_to_end(ref.uid)
        self._end_at(ref.uid, time.monotonic() + seconds)
        while len(of_namespace) > self._per_namespace:
            self._end(of_namespace.popitem(last=False)[0])
        KEPT.set(len(self._kept))

    def changed(self, ref: SignalRef) -> None:
        """The Signal has a newer version; a raised generation is an occurrence that is not durable yet."""
        known = self._kept.get(ref.uid)
        if known is None:
            return
        if ref.generation > known.generation:
            self.forget(ref.uid)
        else:
            self._kept[ref.uid] = replace(known, resource_version=ref.resource_version)

    def forget(self, uid: str) -> None:
        """The Signal is gone, or no longer durable."""
        known = self._kept.pop(uid, None)
        if known is None:
            return
        self._until.pop(uid, None)
        of_namespace = self._of_namespace[known.namespace]
        of_namespace.pop(uid, None)
        if not of_namespace:
            del self._of_namespace[known.namespace]
        KEPT.set(len(self._kept))

    @property
    def ends(self) -> int:
        """How many ends are remembered: those of Signals that are kept, and of some that are gone."""
        return len(self._ends)

    def _end_at(self, uid: str, moment: float) -> None:
        self._until[uid] = moment
        heapq.heappush(self._ends, (moment, next(self._order), uid))
        if len(self._ends) > SWEEP + 2 * len(self._until):
            self._ends = [end for end in self._ends if self._until.get(end[2]) == end[0]]
            heapq.heapify(self._ends)

    def _end(self, uid: str) -> None:
        if uid not in self._queued:
            self._queued.add(uid)
            self._over.put_nowait(uid)
            BACKLOG.set(len(self._queued))

    def parts(self) -> dict[str, Coroutine[None, None, None]]:
        """What deletes for ever, by name."""
        return {"retention": self._watch_ends(), "deletions": self._delete_for_ever()}

    async def _watch_ends(self) -> None:
        while True:
            now = time.monotonic()
            while self._ends and self._ends[0][0] <= now:
                moment, _, uid = heapq.heappop(self._ends)
                if self._until.get(uid) == moment:
                    self._end(uid)
            await asyncio.sleep(TICK_SECONDS)

    async def _delete_for_ever(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            while True:
                uid = await self._over.get()
                while self._rush.holds_deletions(time.monotonic()):  # noqa: ASYNC110 (the clock ends a rush)
                    await asyncio.sleep(RUSH_WAIT_SECONDS)
                while self._under_way >= self._at_once():
                    self._ended.clear()
                    await self._ended.wait()
                self._under_way += 1
                tasks.create_task(self._delete(uid))

    def _at_once(self) -> int:
        return min(DELETIONS_AT_MOST, DELETIONS_AT_ONCE + self._over.qsize() // DELETIONS_BEHIND)

    async def _delete(self, uid: str) -> None:
        try:
            self._queued.discard(uid)
            BACKLOG.set(len(self._queued))
            if ref := self._kept.get(uid):
                await self._try(ref)
        finally:
            self._under_way -= 1
            self._ended.set()

    async def _try(self, ref: SignalRef) -> None:
        try:
            await self._client.delete(
                paths.item(Signal.plural, ref.name, ref.namespace),
                uid=ref.uid,
                resource_version=ref.resource_version,
            )
            DELETIONS.labels(outcome="deleted").inc()
            self.forget(ref.uid)
        except NotFoundError:
            DELETIONS.labels(outcome="gone").inc()
            self.forget(ref.uid)
        except ConflictError:
            # It was changed since: the watch will say how, and then it is either not durable or tried again.
            DELETIONS.labels(outcome="changed").inc()
            self._end_at(ref.uid, time.monotonic() + TICK_SECONDS)
        except ApiError as exc:
            DELETIONS.labels(outcome="failed").inc()
            log.debug("Signal not deleted, trying again", extra={"signal": ref.name, "error": str(exc)})
            self._end_at(ref.uid, time.monotonic() + 5 * TICK_SECONDS)
            await asyncio.sleep(TICK_SECONDS)
