"""Reconciler: claim → decide → write → settle; the word *safe* goes back through the index.

A storm is due by Redis' sorted set. A hint says when a partition has something due; a sweep of all partitions each
second finds what another replica left behind, and partitions that Redis has lost.

What is due is claimed only when it can be worked on at once, and the namespaces take turns: so the thousandth storm of
one delays the first of another by no more than a write, and a snapshot is as young as it can be. A namespace in which
writes are slow or fail leaves as many slots free as it has, and one in which they only fail is tried with one storm a
second.
"""

import asyncio
import heapq
import logging
import time
from collections import Counter as Tally
from collections.abc import Callable, Collection, Iterable, Mapping

from prometheus_client import Counter, Gauge, Histogram

from stormfold.api.conditions import Reason
from stormfold.api.remediationrequest import RequestPhase
from stormfold.api.signal import SignalPhase
from stormfold.fold.batching import Folder, encoded
from stormfold.fold.errors import StoreFullError, StoreUnavailableError
from stormfold.fold.replies import CloseWord, ForgetWord, SettleWord
from stormfold.fold.room import Room
from stormfold.fold.store import CLAIM_MS, StormStore
from stormfold.kube.errors import ApiError
from stormfold.model.arrival import Verdict
from stormfold.model.group import PARTITIONS, partition
from stormfold.model.storm import Snapshot
from stormfold.request.deciding import Close, Discard, Finish, Wait, Write, decide
from stormfold.request.index import Request, RequestIndex, version_of
from stormfold.request.refusals import Refusals
from stormfold.request.turns import Turns
from stormfold.request.writing import Outcome, RequestWriter, was_behind

log = logging.getLogger(__name__)

SWEEP_SECONDS = 1.0
COMPARISON_SECONDS = 5.0
"""How often the storms that are known here are compared with those that Redis has."""
HINTED_MS = 2000
"""How far ahead a hint is kept."""
LOOK_MS = 50
"""Looks at what is due are this far apart, and each takes all partitions together: a storm whose write is under way
is due with every fold."""
LOOK_SECONDS = 20e-6
"""Looks are so much farther apart for each storm that waits for its turn: each is found again by every look."""
STORMS_AT_ONCE = 16
"""Storms that are worked on at the same time, half of them of one namespace."""
STORMS_THROTTLED = 8
"""The same while the API server answers by 429. Whoever is told to wait tries again by chance, whereas who waits here
has a turn: so few of one namespace are tried beside another's."""
FAILING = 8
"""After so many failures, with no write between them, a namespace is tried with one storm each `RETRY_SECONDS`."""
RETRY_SECONDS = 1.0
"""When a storm is looked at again after the API server or Redis failed."""
NAMESPACE_SECONDS = 60.0
"""How long a request waits for its namespace to be made."""
FULL = 0.9
"""The share of maxmemory at which the intake stops."""

CLAIMED = Counter("stormfold_storms_claimed_total", "Storms looked at since they were due.")
FAILED = Counter(
    "stormfold_storms_failed_total", "Looks at a storm that failed and are repeated.", ["reason"]
)
CLOSED = Counter("stormfold_storms_closed_total", "Storms closed.", ["reason"])
DISCARDED = Counter("stormfold_groups_discarded_total", "Groups that made no request.", ["reason"])
LAG = Histogram(
    "stormfold_request_lag_seconds",
    "From a storm's last arrival to the write that holds it.",
    buckets=(0.1, 0.25, 0.5, 1, 1.5, 2, 3, 5, 10, 30, 60),
)
WAITING = Gauge("stormfold_storms_waiting", "Storms that are due and wait for their turn.")
REDIS_MEMORY = Gauge(
    "stormfold_redis_memory_ratio", "Used share of maxmemory of the fullest server; 0 without a limit."
)


def now_ms() -> int:
    """The operator's clock."""
    return int(time.time() * 1000)


class Reconciler:
    """Works on what is due."""

    def __init__(
        self,
        store: StormStore,
        index: RequestIndex,
        writer: RequestWriter,
        *,
        terminal_phases: Collection[str],
        trim: Callable[[], Mapping[int, int]],
        fenced: Callable[[], Mapping[int, int]],
        throttled: Callable[[], bool] = lambda: False,
        namespace_gone: Callable[[str], None] = lambda name: None,
        refused: Callable[[str, str, bool], None] = lambda *_: None,
    ) -> None:
        """`terminal_phases` are those of `status.remediation` after which nobody works on the storm any more; any
        other, and none, is not terminal. `trim` gives the resourceVersions up to which ids may be forgotten, `fenced`
        those that our Leases carry, both by the segments that we lead. `throttled` says whether the API server asks for less;
        `namespace_gone` hears of a namespace that is not there though a request was to be made in it; for `refused` see
        `Refusals`."""
        self._store = store
        self._index = index
        self._writer = writer
        self._terminal_phases = frozenset(terminal_phases)
        self._trim = trim
        self._fenced = fenced
        self._throttled = throttled
        self._namespace_gone = namespace_gone
        self._refusals = Refusals(refused)
        self._folder: Folder | None = None
        self._hints: list[int] = []
        """When to look next, Unix ms, the earliest first; `_due` says where."""
        self._due: dict[int, set[int]] = {}
        self._hinted = asyncio.Event()
        self._next_look = 0.0
        self._turns: Turns[str] = Turns()
        """Gids that are due."""
        self._waiting: set[str] = set()
        """Those in `_turns`."""
        self._busy: set[str] = set()
        self._slots = Room(STORMS_AT_ONCE)
        self._failures: Tally[str] = Tally()
        """Namespace → failures since the last write there."""
        self._next_try: dict[str, float] = {}
        """When a namespace is tried again that is failing, by the monotonic clock."""
        self._hasten: set[str] = set()
        self._absent: dict[str, int] = {}
        """Namespaces that are not there → since when they were not, Unix ms."""
        self._missing: set[str] = set()
        """Groups whose storms Redis lacked at the last comparison."""
        self._next_comparison = 0.0

    @property
    def folder(self) -> Folder:
        """Who folds; set once, by `connect`."""
        assert self._folder is not None
        return self._folder

    def connect(self, folder: Folder) -> None:
        """Name the folder that hears what is written and lost."""
        self._folder = folder

    def hint(self, number: int, due_ms: int) -> None:
        """Partition `number` has something due at that time; what lies farther ahead the sweep finds."""
        now = now_ms()
        if due_ms - now >= HINTED_MS:
            return
        look = -(-max(due_ms, now) // LOOK_MS) * LOOK_MS
        if look not in self._due:
            self._due[look] = set()
            heapq.heappush(self._hints, look)
            self._hinted.set()
        self._due[look].add(number)

    async def take_over(self) -> None:
        """Look at once at what the last leader may have claimed: it is hidden for a while otherwise."""
        for gids in (await self._store.due(range(PARTITIONS), now_ms=now_ms() + CLAIM_MS)).values():
            self._hasten.update(gids)

    def needs_look(self, gid: str) -> None:
        """Somebody else has changed or deleted the group's request: look at its storm now."""
        self._hasten.add(gid)
        self._hinted.set()

    async def run(self) -> None:
        """Work for ever."""
        next_sweep = 0.0
        async with asyncio.TaskGroup() as tasks:
            while True:
                try:
                    await self._hasten_all()
                    if time.monotonic() >= next_sweep:
                        await self._sweep()
                        next_sweep = time.monotonic() + SWEEP_SECONDS
                    await self._look()
                    await self._start(tasks)
                except (StoreUnavailableError, StoreFullError) as exc:
                    FAILED.labels(reason="redis").inc()
                    log.warning("Redis does not answer or refuses, trying again", extra={"error": str(exc)})
                    await asyncio.sleep(RETRY_SECONDS)
                    continue
                await self._pause(next_sweep)

    async def _pause(self, next_sweep: float) -> None:
        seconds = next_sweep - time.monotonic()
        if self._hints:
            until_hint = self._hints[0] / 1000 - time.time()
            seconds = min(seconds, max(until_hint, self._next_look - time.monotonic()))
        if self._to_hasten() or seconds <= 0:
            return
        self._hinted.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._hinted.wait()
        except TimeoutError:
            pass

    def _to_hasten(self) -> set[str]:
        # A storm that is being worked on gets its next deadline at the end of that: hastened before, it would lose it.
        return self._hasten - self._busy

    async def _hasten_all(self) -> None:
        gids = self._to_hasten()
        if not gids:
            return
        now = now_ms()
        await self._store.hasten(gids, now_ms=now)
        self._hasten -= gids
        for gid in gids:
            self.hint(partition(gid), now)

    async def _compare(self) -> None:
        """Give back the storms that Redis lacks though it has their partition, as after a restart with old data: without
        a signal or a deadline nobody else would notice. One that is missing only now is about to open, or to close."""
        missing = self.folder.missing_in(await self._store.open_gids())
        for gid in missing & self._missing:
            self.folder.look_again(gid)
        self._missing = missing

    async def _sweep(self) -> None:
        fenced = self._fenced()
        found = await self._store.sweep(now_ms=now_ms(), led=fenced)
        self._index.update_gauge()
        if found.lost:
            if fenced:
                log.warning(
                    "Redis has lost partitions, giving them back", extra={"partitions": len(found.lost)}
                )
                await self._store.fence(sorted(found.lost), fenced)
            for number in found.lost:
                self.folder.partition_lost(number)
        self.folder.look_again_at_stale()
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
        self.folder.memory_full(full)
        self._line_up(found.due.values())

    async def _look(self) -> None:
        """Find what is due in the partitions that were hinted at."""
        now = now_ms()
        if time.monotonic() < self._next_look:
            return
        numbers: set[int] = set()
        while self._hints and self._hints[0] <= now:
            numbers |= self._due.pop(heapq.heappop(self._hints))
        if numbers:
            self._line_up((await self._store.due(sorted(numbers), now_ms=now)).values())
            self._next_look = time.monotonic() + min(SWEEP_SECONDS, len(self._waiting) * LOOK_SECONDS)

    def _line_up(self, due: Iterable[list[str]]) -> None:
        for gids in due:
            for gid in gids:
                if gid not in self._waiting and gid not in self._busy:
                    self._waiting.add(gid)
                    self._turns.add(self._namespace_of(gid), gid)
        WAITING.set(len(self._waiting))

    def _namespace_of(self, gid: str) -> str:
        """Where the group's request is made, as far as it is known before the claim."""
        request = self._index.latest(gid)
        return self.folder.namespace_of(gid) or (request.resource.metadata.namespace if request else "")

    def _may_start(self, namespace: str) -> bool:
        """Whether a storm of the namespace may be worked on now, beside those that are."""
        if self._failures[namespace] < FAILING:
            return self._slots.left(namespace) > 0
        return not self._slots.of(namespace) and time.monotonic() >= self._next_try[namespace]

    async def _start(self, tasks: asyncio.TaskGroup) -> None:
        """Claim as many storms as may be worked on now, and begin."""
        self._slots.places = STORMS_THROTTLED if self._throttled() else STORMS_AT_ONCE
        chosen: dict[int, dict[str, str]] = {}
        # Thousands of namespaces may wait: they are not asked while there is no slot for any.
        while self._slots.taken < self._slots.places and (following := self._turns.pop_if(self._may_start)):
            namespace, gid = following
            self._waiting.discard(gid)
            self._busy.add(gid)
            self._slots.take(namespace)
            chosen.setdefault(partition(gid), {})[gid] = namespace
        WAITING.set(len(self._waiting))
        await asyncio.gather(*(self._claim(tasks, number, gids) for number, gids in chosen.items()))

    def _end(self, gids: dict[str, str]) -> None:
        """These storms, with their namespaces, are not worked on any more."""
        self._busy.difference_update(gids)
        for namespace in gids.values():
            self._slots.give(namespace)

    async def _claim(self, tasks: asyncio.TaskGroup, number: int, gids: dict[str, str]) -> None:
        known = {gid: self._index.latest(gid) for gid in gids}
        try:
            storms = await self._store.claim(number, list(gids), now_ms=now_ms())
        except BaseException:
            self._hasten.update(gids)  # they may be hidden by a claim whose answer was lost
            self._end(gids)
            raise
        claimed = {storm.gid for storm in storms}
        self._end({gid: namespace for gid, namespace in gids.items() if gid not in claimed})
        for storm in storms:
            CLAIMED.inc()
            tasks.create_task(
                self._reconcile(storm, known[storm.gid], gids[storm.gid]), name=f"storm-{storm.gid}"
            )

    async def _reconcile(self, storm: Snapshot, known: Request | None, namespace: str) -> None:
        """Look at a storm; `known` is the group's latest request as it was known before the claim."""
        try:
            failed = await self._try(storm, known, namespace)
        finally:
            self._slots.give(namespace)
            self._hinted.set()
        try:
            if failed:
                await asyncio.sleep(RETRY_SECONDS)
                self._hasten.add(storm.gid)
        finally:
            self._busy.discard(storm.gid)
            self._hinted.set()

    async def _try(self, storm: Snapshot, known: Request | None, namespace: str) -> bool:
        """Whether the API server or Redis failed, so that it is to be tried again."""
        try:
            if await self._act(storm, known):
                self._refusals.over(namespace, self._failures[namespace])
                del self._failures[namespace]
                self._next_try.pop(namespace, None)
        except ApiError as exc:
            FAILED.labels(reason="api").inc()
            self._failures[namespace] += 1
            self._next_try[namespace] = time.monotonic() + RETRY_SECONDS
            self._refusals.note(storm, namespace, exc, self._failures[namespace])
            return True
        except (StoreUnavailableError, StoreFullError) as exc:
            FAILED.labels(reason="redis").inc()
            log.warning("storm not reconciled, trying again", extra={"gid": storm.gid, "error": str(exc)})
            return True
        except (ValueError, LookupError):
            # A storm that cannot be written must not stop the others; it is claimed again by itself.
            FAILED.labels(reason="defect").inc()
            log.exception("storm not reconciled: please report this", extra={"gid": storm.gid})
        return False

    async def _act(self, storm: Snapshot, known: Request | None) -> bool:
        """Do what is to be done about a storm; whether that was a write of its request, which went well."""
        request = self._index.get(storm.gid, storm.epoch)
        decision = decide(
            storm,
            has_request=request is not None,
            remediation_finished=request is not None and request.remediation_phase in self._terminal_phases,
            now_ms=now_ms(),
        )
        match decision:
            case Wait(deadline):
                await self._settle(storm, written=False, settled=False, deadline_ms=deadline)
            case Write(phase, deadline):
                await self._write(storm, phase, deadline, known)
            case Close(reason, unless_grown):
                await self._close(storm, reason, known, unless_grown=unless_grown)
            case Finish(reason):
                await self._finish(storm, reason, known)
            case Discard(reason, message):
                if await self._writer.finds(storm):
                    self._hasten.add(storm.gid)
                else:
                    await self._discard(storm, Verdict(SignalPhase.DISCARDED, reason, message))
        return isinstance(decision, Write | Close | Finish)

    async def _settle(self, storm: Snapshot, *, written: bool, settled: bool, deadline_ms: int) -> None:
        word = await self._store.settle(
            storm,
            written=written,
            settled=settled,
            deadline_ms=deadline_ms,
            now_ms=now_ms(),
            trim=self._trim(),
        )
        if word is SettleWord.SETTLED:
            self.hint(partition(storm.gid), deadline_ms)
        elif word is SettleWord.MORE:
            self.hint(partition(storm.gid), now_ms() + 1000 if written else now_ms())

    async def _write(
        self, storm: Snapshot, phase: RequestPhase, deadline_ms: int, known: Request | None
    ) -> None:
        outcome = await self._writer.write(storm, phase, closed_for=None, now_ms=now_ms())
        match outcome:
            case Outcome.WRITTEN:
                self._absent.pop(self._namespace_of(storm.gid), None)
                if storm.folded > storm.written:
                    LAG.observe(max(0, now_ms() - storm.arrived_ms) / 1000)
                settled = phase is RequestPhase.SETTLED and not storm.settled
                await self._settle(storm, written=True, settled=settled, deadline_ms=deadline_ms)
            case Outcome.BEHIND:
                self._mistrust(storm, phase, known)
            case Outcome.NO_NAMESPACE:
                self._namespace_gone(self._namespace_of(storm.gid))
                await self._wait_for_namespace(storm)

    async def _wait_for_namespace(self, storm: Snapshot) -> None:
        now = now_ms()
        # One that was being deleted for long may be made again at once.
        absent = self._absent.setdefault(self._namespace_of(storm.gid), now)
        if now < max(storm.opened_ms, absent) + NAMESPACE_SECONDS * 1000:
            await self._settle(storm, written=False, settled=False, deadline_ms=now + 1000)
            return
        await self._discard(
            storm,
            Verdict(
                SignalPhase.REJECTED,
                Reason.REQUEST_NAMESPACE_NOT_FOUND,
                f"the namespace for the request was not there for {NAMESPACE_SECONDS:.0f} s; "
                "create it, or mend requestNamespace of the policy",
            ),
        )

    def _mistrust(self, storm: Snapshot, phase: RequestPhase, known: Request | None) -> None:
        """Have what Redis holds replaced by what the request says, unless it may have grown since the claim."""
        request = self._index.latest(storm.gid)
        if request is None:
            return
        if not was_behind(storm, phase, known):
            self._hasten.add(storm.gid)  # Redis may hold all of it
            return
        log.warning(
            "Redis does not hold what the request does",
            extra={"gid": storm.gid, "redis": storm.folded, "request": request.folded},
        )
        spec = request.resource.spec
        self.folder.mistrust(
            storm.gid,
            storm.incarnation,
            version_of(spec),
            namespace=request.resource.metadata.namespace,
            overflow=spec.overflow,
        )

    async def _close(
        self, storm: Snapshot, reason: Reason, known: Request | None, *, unless_grown: bool
    ) -> None:
        word, frozen = await self._store.close(
            storm,
            reason=reason.name,
            expected_folded=storm.folded if unless_grown else None,
            now_ms=now_ms(),
        )
        if frozen is not None:
            await self._finish(frozen, reason, known)
        elif word is CloseWord.MOVED:
            self._hasten.add(storm.gid)

    async def _finish(self, storm: Snapshot, reason: Reason, known: Request | None) -> None:
        outcome = await self._writer.write(storm, RequestPhase.CLOSED, closed_for=reason, now_ms=now_ms())
        if outcome is Outcome.BEHIND:
            self._mistrust(storm, RequestPhase.CLOSED, known)
            return
        word = await self._store.forget_closed(storm)
        if word is ForgetWord.FORGOTTEN:
            CLOSED.labels(reason=reason.value).inc()
        elif word is ForgetWord.MOVED:
            self._hasten.add(storm.gid)
        if outcome is not Outcome.WRITTEN:
            self.folder.released(
                storm,
                Verdict(
                    SignalPhase.REJECTED,
                    Reason.REQUEST_NAMESPACE_NOT_FOUND,
                    "the namespace of the request is gone",
                ),
            )
        self.folder.closed(storm.gid)

    async def _discard(self, storm: Snapshot, verdict: Verdict) -> None:
        word = await self._store.discard(storm, encoded(verdict))
        if word is ForgetWord.FORGOTTEN:
            DISCARDED.labels(reason=verdict.reason.value).inc()
            self.folder.released(storm, verdict)
        elif word is ForgetWord.MOVED:
            self._hasten.add(storm.gid)
        else:
            self.folder.look_again(storm.gid)

    async def drain(self) -> None:
        """Make everything due that is not safe; whoever stops waits until it is."""
        for gid in self.folder.unsafe_gids():
            self.needs_look(gid)
