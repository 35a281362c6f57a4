"""Sweeper: a look at all of Redis each second, for what nobody here has expected."""

import logging
import time
from collections.abc import Collection

from prometheus_client import Gauge

from stormfold.fold.folder import Folder
from stormfold.fold.store import StormStore
from stormfold.model.leading import Leader
from stormfold.model.moments import now_ms
from stormfold.request.index import RequestIndex
from stormfold.request.places import Places

log = logging.getLogger(__name__)

COMPARISON_SECONDS = 5.0
"""How often the storms that are known here are compared with those that Redis has."""
FULL = 0.9
"""The share of maxmemory at which the intake stops."""

REDIS_MEMORY = Gauge(
    "stormfold_redis_memory_ratio", "Used share of maxmemory of the fullest server; 0 without a limit."
)


class Sweeper:
    """Finds what is due, what Redis has lost, and whether it has memory left."""

    def __init__(
        self, store: StormStore, index: RequestIndex, *, folder: Folder, ingest: Leader, places: Places
    ) -> None:
        self._store = store
        self._index = index
        self._folder = folder
        self._ingest = ingest
        self._places = places
        self._missing: set[str] = set()
        """Groups whose storms Redis lacked at the last comparison."""
        self._next_comparison = 0.0

    async def sweep(self) -> Collection[list[str]]:
        """The storms that are due, by partition; what Redis has lost is given back.

        Raises:
            StoreError: see `StormStore`.
        """
        fenced = self._ingest.fenced()
        found = await self._store.sweep(now_ms=now_ms(), fenced=fenced is not None)
        self._index.update_gauges(now_ms())
        self._places.look()
        if found.lost:
            if fenced is not None:
                log.warning(
                    "Redis has lost partitions, giving them back", extra={"partitions": len(found.lost)}
                )
                await self._store.fence(sorted(found.lost), fenced)
            for number in found.lost:
                self._folder.partition_lost(number)
        self._folder.look_again_at_stale()
        if time.monotonic() >= self._next_comparison:
            self._next_comparison = time.monotonic() + COMPARISON_SECONDS
            await self._compare()
        memory = await self._store.memory()
        REDIS_MEMORY.set(memory.ratio)
        full = memory.ratio >= FULL
        if full:
            log.error(
                "Redis is almost full: intake waits; raise maxmemory", extra={"ratio": round(memory.ratio, 3)}
            )
        self._folder.memory_full(full)
        return found.due.values()

    async def _compare(self) -> None:
        """Give back the storms that Redis lacks though it has their partition, as after a restart with old
        data: without a signal or a deadline nobody else would notice. One that is missing only now is about
        to open, or to close."""
        missing = self._folder.storms.missing_in(await self._store.open_groups())
        for group_hash in missing & self._missing:
            self._folder.look_again(group_hash)
        self._missing = missing
