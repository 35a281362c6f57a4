"""Schedule: which storms are due, and in which turn they are worked on.

A storm is due by Redis' sorted set. Who folds says when a partition has something due; a sweep of all
partitions each second finds what another replica left behind.

What is due is claimed only when it can be worked on at once, and the namespaces take turns: so the thousandth
storm of one delays the first of another by no more than a write, and a snapshot is as young as it can be. A
namespace in which writes are slow or fail leaves as many slots free as it has, and one in which they only
fail is tried with one storm a second.
"""

import asyncio
import heapq
import random
import time
from collections.abc import Callable, Collection, Iterable

from prometheus_client import Gauge

from stormfold.fairness import FairQueue, FairShare
from stormfold.fold.store import CLAIM_MS, StormStore
from stormfold.model.group import PARTITIONS, partition
from stormfold.model.moments import now_ms
from stormfold.request.backoff import Backoff, Line
from stormfold.request.places import ASK_AGAIN_SECONDS

SWEEP_SECONDS = 1.0
HINTED_MS = 2000
"""How far ahead it is kept that a partition has something due; what lies farther ahead the sweep finds."""
LOOK_MS = 50
"""Looks at what is due are this far apart, and each takes all partitions together: a storm whose write is
under way is due with every fold."""
LOOK_SECONDS = 20e-6
"""Looks are so much farther apart for each storm that waits for its turn: each is found again by every
look."""
STORMS_AT_ONCE = 16
"""Storms that are worked on at the same time, half of them of one namespace."""
STORMS_THROTTLED = 8
"""The same while the API server answers by 429. Whoever is told to wait tries again by chance, whereas who
waits here has a turn: so few of one namespace are tried beside another's."""
ASKED_AT_ONCE = 1000
"""Of so many storms Redis is asked in one call whether they had a request."""
MOST_REFUSED = 50_000
"""Of so many groups it is known that the API server refuses their requests; others are tried as if for the
first time."""

WAITING = Gauge("stormfold_storms_waiting", "Storms that are due and wait for their turn.")


class Schedule:
    """What is due."""

    def __init__(self, store: StormStore) -> None:
        self._store = store
        self._looks: list[int] = []
        """When to look next, Unix ms, the earliest first; `_expected` says where."""
        self._expected: dict[int, set[int]] = {}
        self._changed = asyncio.Event()
        self._next_look = 0.0
        self._turns: FairQueue[Line, str] = FairQueue()
        """Group hashes that are due."""
        self._waiting: set[str] = set()
        """Those in `_turns`."""
        self._busy: set[str] = set()
        self._to_make_due: set[str] = set()
        self._slots = FairShare[Line](STORMS_AT_ONCE)
        self._backoff = Backoff()
        self._refused: dict[str, None] = {}
        """Groups whose last write was refused, `MOST_REFUSED` at most, the oldest first."""

    # --- what becomes due

    def expect(self, number: int, due_ms: int) -> None:
        """Partition `number` has something due at that time; what lies farther ahead the sweep finds."""
        now = now_ms()
        if due_ms - now >= HINTED_MS:
            return
        look = -(-max(due_ms, now) // LOOK_MS) * LOOK_MS
        if look not in self._expected:
            self._expected[look] = set()
            heapq.heappush(self._looks, look)
            self._changed.set()
        self._expected[look].add(number)

    def make_due(self, group_hashes: Collection[str]) -> None:
        """Look at these storms now."""
        self._to_make_due.update(group_hashes)
        self._changed.set()

    async def take_over(self) -> None:
        """Look at once at what the last leader may have claimed, and what waits for a place: it is hidden for
        a while otherwise."""
        until_ms = now_ms() + max(CLAIM_MS, ASK_AGAIN_SECONDS * 1000)
        for group_hashes in (await self._store.due(range(PARTITIONS), now_ms=until_ms)).values():
            self._to_make_due.update(group_hashes)

    async def take_up(self, group_hashes: Collection[str]) -> None:
        """Of these open groups no request is known: look at once at those that had one. It was deleted while
        nobody watched.

        Raises:
            StoreError: see `StormStore`.
        """
        ordered = sorted(group_hashes)
        for first in range(0, len(ordered), ASKED_AT_ONCE):
            self.make_due(await self._store.with_request(ordered[first : first + ASKED_AT_ONCE]))

    def _can_be_made_due(self) -> set[str]:
        # A storm that is being worked on gets its next deadline at the end of that: made due before, it would
        # lose it.
        return self._to_make_due - self._busy

    async def tell_store(self) -> None:
        """Make due in Redis what was to be."""
        group_hashes = self._can_be_made_due()
        if not group_hashes:
            return
        now = now_ms()
        await self._store.make_due(group_hashes, now_ms=now)
        self._to_make_due -= group_hashes
        for group_hash in group_hashes:
            self.expect(partition(group_hash), now)

    async def look(self) -> Collection[list[str]]:
        """What is due in the partitions of which that was expected."""
        now = now_ms()
        if time.monotonic() < self._next_look:
            return ()
        numbers: set[int] = set()
        while self._looks and self._looks[0] <= now:
            numbers |= self._expected.pop(heapq.heappop(self._looks))
        if not numbers:
            return ()
        due = await self._store.due(sorted(numbers), now_ms=now)
        self._next_look = time.monotonic() + min(SWEEP_SECONDS, len(self._waiting) * LOOK_SECONDS)
        return due.values()

    async def pause(self, until: float) -> None:
        """Wait until something is due, has ended or is to be made due, or until then by the monotonic
        clock."""
        seconds = until - time.monotonic()
        if self._looks:
            next_look = self._looks[0] / 1000 - time.time()
            seconds = min(seconds, max(next_look, self._next_look - time.monotonic()))
        if self._can_be_made_due() or seconds <= 0:
            return
        self._changed.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            pass

    # --- who has the next turn

    def line_up(self, due: Iterable[list[str]], namespace_of: Callable[[str], str]) -> None:
        """These storms are due: each waits for the turn of its request's namespace."""
        for group_hashes in due:
            for group_hash in group_hashes:
                if group_hash not in self._waiting and group_hash not in self._busy:
                    self._waiting.add(group_hash)
                    self._turns.add(Line(namespace_of(group_hash), group_hash in self._refused), group_hash)
        WAITING.set(len(self._waiting))

    def start(self, *, throttled: bool) -> dict[int, dict[str, Line]]:
        """Those that are worked on from now on: partition → group hash → line. `throttled` says whether the
        API server asks for less."""
        self._slots.places = STORMS_THROTTLED if throttled else STORMS_AT_ONCE
        chosen: dict[int, dict[str, Line]] = {}
        # Thousands of namespaces may wait: they are not asked while there is no slot for any.
        while self._slots.taken < self._slots.places and (following := self._turns.pop_if(self._may_start)):
            line, group_hash = following
            self._waiting.discard(group_hash)
            self._busy.add(group_hash)
            self._slots.take(line)
            chosen.setdefault(partition(group_hash), {})[group_hash] = line
        WAITING.set(len(self._waiting))
        return chosen

    def _may_start(self, line: Line) -> bool:
        """Whether a storm of the line may be worked on now, beside those that are."""
        if self._backoff.is_failing(line):
            return not self._slots.of(line) and self._backoff.may_try(line, now=time.monotonic())
        return self._slots.free(line) > 0

    def leave_slot(self, line: Line) -> None:
        """A storm of the line is not worked on any more."""
        self._slots.give(line)
        self._changed.set()

    def end(self, group_hash: str) -> None:
        """The storm may be due again."""
        self._busy.discard(group_hash)
        self._changed.set()

    def written(self, group_hash: str, line: Line, *, made: bool) -> None:
        """A request of the line was written, or made."""
        self._refused.pop(group_hash, None)
        self._backoff.written(line, made=made)

    def failed(self, group_hash: str, line: Line, *, refused: bool) -> int:
        """The API server did not take a request of the line; gives how often in a row."""
        if refused:
            self._refused.pop(group_hash, None)
            self._refused[group_hash] = None
            if len(self._refused) > MOST_REFUSED:
                del self._refused[next(iter(self._refused))]
        now, chance = time.monotonic(), random.random()  # noqa: S311 - spreads load, hides nothing
        return self._backoff.failed(line, refused=refused, now=now, chance=chance)
