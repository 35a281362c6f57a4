"""Stormfold's way to count signals into storms in Redis, and what all ways have in common."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from benchmarks.store import rivals
from benchmarks.store.storms import T0, Storm
from stormfold.fold.arguments import Fold
from stormfold.fold.replies import FoldWord, FreezeWord
from stormfold.fold.store import StormStore
from stormfold.model.arrival import Arrival
from stormfold.model.storm import Snapshot

RESOURCES = 25
"""Of each storm whose signals are timed."""
CLAIMS_AT_ONCE = 32
"""Storms in one call of claim.lua."""
AT_ONCE = 64
"""Calls under way while memory churns."""
CALL_SECONDS = 60.0
"""How long a call may take, on a machine that does much else."""
LATER_MS = T0 + 10**9
"""When storms are looked at while memory churns: all are due by then."""
Batch = Mapping[Storm, Sequence[Arrival]]


class Way(Protocol):
    """One way to count signals into storms in Redis."""

    commands: Sequence[str]
    """What it sends, as commandstats calls it."""

    async def fold(self, batch: Batch) -> None:
        """Count the signals of a batch."""


class Stormfold:
    """Our scripts, called as `fold.folding` calls them: one call for each partition of the batch."""

    commands: Sequence[str] = ("evalsha",)

    def __init__(self, store: StormStore) -> None:
        self._store = store
        self._known: dict[str, tuple[int, int, str]] = {}

    async def fold(self, batch: Batch) -> None:
        """Count signals of any storms; the calls of a batch travel together."""
        folds_of: dict[int, list[Fold]] = defaultdict(list)
        for storm, arrivals in batch.items():
            group = storm.group
            epoch, folded, incarnation = self._known.get(group.group_hash, (0, 0, ""))
            folds_of[group.partition].append(
                Fold(
                    group.group_hash,
                    storm.version.terms,
                    storm.opening,
                    arrivals,
                    known_epoch=epoch,
                    known_folded=folded,
                    known_incarnation=incarnation,
                )
            )
        now_ms = max(arrivals[-1].seen_ms for arrivals in batch.values())
        answers = await rivals.gathered(
            [self._store.fold(number, folds, now_ms=now_ms) for number, folds in folds_of.items()]
        )
        for folds, replies in zip(folds_of.values(), answers, strict=True):
            for fold, reply in zip(folds, replies, strict=True):
                assert reply.word is FoldWord.COUNTED, reply
                self._known[fold.group_hash] = reply.epoch, reply.folded, reply.incarnation

    async def make_durable(self, of: Sequence[Storm], *, trim: int) -> None:
        """Note that requests hold everything, so that ids may go."""

        async def settle(snapshot: Snapshot) -> None:
            await self._store.ack(
                snapshot, written=True, settled=False, deadline_ms=LATER_MS, now_ms=LATER_MS, trim=trim
            )

        await in_turns(settle, await self._looked_at(of))

    async def end(self, of: Sequence[Storm]) -> None:
        """Close storms whose requests hold everything, as the reconciler does."""

        async def close(snapshot: Snapshot) -> None:
            word, frozen = await self._store.freeze(
                snapshot, reason="MAX_DURATION_REACHED", expected_folded=None, now_ms=LATER_MS
            )
            assert word is FreezeWord.CLOSING, word
            assert frozen is not None
            await self._store.close_storm(frozen)
            del self._known[snapshot.group_hash]

        await in_turns(close, await self._looked_at(of))

    async def _looked_at(self, of: Sequence[Storm]) -> list[Snapshot]:
        claims = [
            (number, group_hashes[start : start + CLAIMS_AT_ONCE])
            for number, group_hashes in by_partition(of).items()
            for start in range(0, len(group_hashes), CLAIMS_AT_ONCE)
        ]
        snapshots: list[Snapshot] = []

        async def claim(what: tuple[int, list[Storm]]) -> None:
            number, some = what
            snapshots.extend(
                await self._store.claim(number, [storm.group.group_hash for storm in some], now_ms=LATER_MS)
            )

        await in_turns(claim, claims)
        assert len(snapshots) == len(of)
        return snapshots


def by_partition(of: Sequence[Storm]) -> dict[int, list[Storm]]:
    """Storms by where they are."""
    found: dict[int, list[Storm]] = defaultdict(list)
    for storm in of:
        found[storm.group.partition].append(storm)
    return found


async def in_turns(do: Any, items: Sequence[Any]) -> None:
    """Do it to each item, `AT_ONCE` at the same time."""
    todo = iter(items)

    async def some() -> None:
        for item in todo:
            await do(item)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(AT_ONCE):
            tasks.create_task(some())
