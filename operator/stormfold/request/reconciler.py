"""Reconciler: claim → decide → write → ack; that a request holds a signal goes back through the index."""

import asyncio
import logging
import time
from collections.abc import Mapping

from prometheus_client import Counter, Histogram

from stormfold.api.reason import Reason
from stormfold.api.reasons.signals import SignalReason
from stormfold.api.remediationrequest import RequestPhase
from stormfold.api.signal import SignalPhase
from stormfold.fold.elsewhere import Elsewhere
from stormfold.fold.errors import StoreFullError, StoreUnavailableError
from stormfold.fold.folder import Folder
from stormfold.fold.replies import AckWord, CloseWord, FreezeWord
from stormfold.fold.store import StormStore
from stormfold.kube.errors import ApiError, RefusedError
from stormfold.model.arrival import Verdict
from stormfold.model.group import partition
from stormfold.model.leading import Leader
from stormfold.model.limits import SEEN_SIGNALS
from stormfold.model.moments import now_ms
from stormfold.model.storm import Snapshot
from stormfold.policy.router import Router
from stormfold.request.absences import NAMESPACE_GONE, NAMESPACE_MISSING, NAMESPACE_SECONDS, Absences
from stormfold.request.backoff import RETRY_SECONDS, Line
from stormfold.request.deciding import Close, Discard, Finish, Reported, Wait, Write, decide
from stormfold.request.discarding import Discarder
from stormfold.request.index import RequestIndex
from stormfold.request.places import Answer, Places, all_taken
from stormfold.request.reading import Request
from stormfold.request.refusals import Refusals
from stormfold.request.remediation import Phases
from stormfold.request.reopening import stops
from stormfold.request.schedule import SWEEP_SECONDS, Schedule
from stormfold.request.sweeping import Sweeper
from stormfold.request.writing import Outcome, RequestWriter, was_behind

log = logging.getLogger(__name__)

CLAIMED = Counter("stormfold_storms_claimed_total", "How often a storm that was due was looked at.")
FAILED = Counter(
    "stormfold_storms_failed_total", "How often a storm could not be written. It is tried again.", ["reason"]
)
CLOSED = Counter("stormfold_storms_closed_total", "Storms closed.", ["reason"])
LAG = Histogram(
    "stormfold_request_lag_seconds",
    "From a storm's latest arrival to the write that holds it, without what waits for limits.openStorms.",
    buckets=(0.1, 0.25, 0.5, 1, 1.5, 2, 3, 5, 10, 30, 60),
)


class Reconciler:
    """Works on what is due."""

    def __init__(
        self,
        store: StormStore,
        index: RequestIndex,
        writer: RequestWriter,
        *,
        folder: Folder,
        schedule: Schedule,
        ingest: Leader,
        phases: Phases,
        router: Router,
        places: Places,
        elsewhere: Elsewhere,
    ) -> None:
        """`phases` are those of `status.remediation` that are understood. `router` hears of a namespace that
        is not there though a request was to be made in it."""
        self._store = store
        self._index = index
        self._writer = writer
        self._folder = folder
        self._schedule = schedule
        self._ingest = ingest
        self._phases = phases
        self._router = router
        self._places = places
        self._elsewhere = elsewhere
        self._refusals = Refusals(folder)
        self._discarder = Discarder(store, index, writer, folder=folder, schedule=schedule, places=places)
        self._absences = Absences()
        self._pausing: set[str] = set()
        """Groups that wait for a place: each is left alone for a while."""
        self._sweeper = Sweeper(store, index, folder=folder, ingest=ingest, places=places)

    async def run(self) -> None:
        """Work for ever."""
        next_sweep = 0.0
        async with asyncio.TaskGroup() as tasks:
            while True:
                try:
                    await self._schedule.tell_store()
                    if time.monotonic() >= next_sweep:
                        self._schedule.line_up(await self._sweeper.sweep(), self._namespace_of)
                        next_sweep = time.monotonic() + SWEEP_SECONDS
                    self._schedule.line_up(await self._schedule.look(), self._namespace_of)
                    await self._start(tasks)
                except (StoreUnavailableError, StoreFullError) as exc:
                    FAILED.labels(reason="redis").inc()
                    log.warning("Redis does not answer or refuses, trying again", extra={"error": str(exc)})
                    await asyncio.sleep(RETRY_SECONDS)
                    continue
                await self._schedule.pause(next_sweep)

    def _namespace_of(self, group_hash: str) -> str:
        """Where the group's request is made, as far as it is known before the claim."""
        request = self._index.latest(group_hash)
        return self._folder.storms.namespace_of(group_hash) or (
            request.resource.metadata.namespace if request else ""
        )

    async def _start(self, tasks: asyncio.TaskGroup) -> None:
        """Claim as many storms as may be worked on now, and begin."""
        chosen = self._schedule.start(throttled=self._writer.throttled)
        await asyncio.gather(
            *(self._claim(tasks, number, group_hashes) for number, group_hashes in chosen.items())
        )

    def _end(self, group_hashes: Mapping[str, Line]) -> None:
        """These storms, with their lines, are not worked on any more."""
        for group_hash, line in group_hashes.items():
            self._schedule.end(group_hash)
            self._schedule.leave_slot(line)

    async def _claim(self, tasks: asyncio.TaskGroup, number: int, group_hashes: dict[str, Line]) -> None:
        known = {group_hash: self._index.latest(group_hash) for group_hash in group_hashes}
        without = {group_hash for group_hash, one in known.items() if not one or not one.is_open}
        try:
            storms = await self._store.claim(number, list(known), now_ms=now_ms(), without_request=without)
        except BaseException:
            self._schedule.make_due(group_hashes)  # they may be hidden by a claim whose answer was lost
            self._end(group_hashes)
            raise
        claimed = {storm.group_hash for storm in storms}
        ended = group_hashes.keys() - claimed
        self._end({group_hash: group_hashes[group_hash] for group_hash in ended})
        for storm in storms:
            CLAIMED.inc()
            tasks.create_task(
                self._reconcile(storm, known[storm.group_hash], group_hashes[storm.group_hash]),
                name=f"storm-{storm.group_hash}",
            )

    async def _reconcile(self, storm: Snapshot, known: Request | None, line: Line) -> None:
        """Look at a storm; `known` is the group's latest request as it was known before the claim."""
        try:
            failed = await self._try(storm, known, line)
        finally:
            self._schedule.leave_slot(line)
        try:
            if failed:
                await asyncio.sleep(RETRY_SECONDS)
                self._schedule.make_due([storm.group_hash])
            elif storm.group_hash in self._pausing:
                self._pausing.discard(storm.group_hash)
                await asyncio.sleep(self._places.leave_seconds())
        finally:
            self._schedule.end(storm.group_hash)

    async def _try(self, storm: Snapshot, known: Request | None, line: Line) -> bool:
        """Whether the API server or Redis failed, so that it is to be tried again."""
        there = self._index.get(storm.group_hash, storm.epoch)
        try:
            if await self._act(storm, known):
                self._schedule.written(storm.group_hash, line, made=there is None)
        except ApiError as exc:
            FAILED.labels(reason="api").inc()
            failures = self._schedule.failed(storm.group_hash, line, refused=isinstance(exc, RefusedError))
            self._refusals.note(storm, line.namespace, exc, failures)
            return True
        except (StoreUnavailableError, StoreFullError) as exc:
            FAILED.labels(reason="redis").inc()
            log.warning(
                "storm not reconciled, trying again",
                extra=self._index.log_fields(storm, line.namespace) | {"error": str(exc)},
            )
            return True
        except (ArithmeticError, LookupError, TypeError, ValueError):
            # A storm that cannot be written must not stop the others; it is claimed again by itself.
            FAILED.labels(reason="defect").inc()
            log.exception(
                "storm not reconciled: please report this",
                extra=self._index.log_fields(storm, line.namespace),
            )
        return False

    async def _act(self, storm: Snapshot, known: Request | None) -> bool:
        """Do what is to be done about a storm; whether that was a write of its request, which went well."""
        request = self._index.get(storm.group_hash, storm.epoch)
        now, made_ms = now_ms(), request.made_ms if request else 0
        reported = request.reported(self._phases, storm.revision, now) if request else Reported()
        before = self._index.over(storm.group_hash)
        decision = decide(
            storm,
            has_request=request is not None,
            reported=reported,
            now_ms=now,
            made_ms=made_ms,
            held_ms=request.held_ms(now) if request else 0,
            stopped=before is not None and stops(before, self._phases),
        )
        match decision:
            case Wait(deadline):
                await self._ack(storm, written=False, settled=False, deadline_ms=deadline)
            case Write(phase, deadline):
                if request is None and not storm.written and not await self._has_place(storm):
                    return False
                await self._write(storm, phase, deadline, known)
            case Close(reason, unless_grown):
                await self._close(storm, reason, known, unless_grown=unless_grown)
            case Finish(reason):
                await self._finish(storm, reason, known)
            case Discard(reason, message):
                await self._discarder.discard_unless_found(storm, reason, message)
        return isinstance(decision, Write | Close | Finish)

    async def _has_place(self, storm: Snapshot) -> bool:
        """Whether a group may have its first request now; if not, it waits, or has waited for too long."""
        now, group = now_ms(), self._writer.opening(storm).group
        if (answer := self._places.ask(storm, group, now_ms=now)) is Answer.GRANTED:
            return True
        limit = self._router.open_storms(group.policy)
        why = all_taken(group.policy, limit, group.request_namespace)
        if answer is Answer.WAITS:
            self._folder.waits(storm.group_hash, why)
            again_ms = self._places.ask_again_ms(storm, now_ms=now)
            await self._ack(storm, written=False, settled=False, deadline_ms=again_ms)
            self._pausing.add(storm.group_hash)
        else:
            await self._discarder.discard_unless_found(storm, SignalReason.OPEN_STORMS_REACHED, why)
        return False

    async def _ack(self, storm: Snapshot, *, written: bool, settled: bool, deadline_ms: int) -> None:
        word = await self._store.ack(
            storm,
            written=written,
            settled=settled,
            deadline_ms=deadline_ms,
            now_ms=now_ms(),
            trim=self._ingest.trim(),
            seen=self._told_others(storm) if written else "",
        )
        if word is AckWord.ACKED:
            self._schedule.expect(partition(storm.group_hash), deadline_ms)
        elif word is AckWord.MORE:
            self._schedule.expect(partition(storm.group_hash), now_ms() + 1000 if written else now_ms())

    def _told_others(self, storm: Snapshot) -> str:
        """What other storms are to know of one; its first signals tell enough."""
        request = self._index.get(storm.group_hash, storm.epoch)
        return request.told_others() if request and storm.written < SEEN_SIGNALS else ""

    async def _write(
        self, storm: Snapshot, phase: RequestPhase, deadline_ms: int, known: Request | None
    ) -> None:
        waited = self._folder.storms.waits(storm.group_hash)
        # The last write of a storm that is quiet knows what others have told until its last signal.
        since_ms = storm.arrived_ms if phase is RequestPhase.SETTLED else 0
        await self._elsewhere.refresh(now_ms=now_ms(), since_ms=since_ms)
        outcome = await self._writer.write(storm, phase, closed_for=None, now_ms=now_ms())
        match outcome:
            case Outcome.WRITTEN:
                self._absences.over(self._namespace_of(storm.group_hash))
                if storm.folded > storm.written and not waited:
                    LAG.observe(max(0, now_ms() - storm.arrived_ms) / 1000)
                settled = phase is RequestPhase.SETTLED and not storm.settled
                await self._ack(storm, written=True, settled=settled, deadline_ms=deadline_ms)
            case Outcome.BEHIND:
                self._mark_stale(storm, phase, known)
            case Outcome.NO_NAMESPACE:
                self._router.namespace_changed(self._namespace_of(storm.group_hash), None)
                await self._wait_for_namespace(storm)

    async def _wait_for_namespace(self, storm: Snapshot) -> None:
        now = now_ms()
        # One that was being deleted for long may be made again at once.
        absent = self._absences.since(self._namespace_of(storm.group_hash), now)
        if now < max(storm.opened_ms, absent) + NAMESPACE_SECONDS * 1000:
            await self._ack(storm, written=False, settled=False, deadline_ms=now + 1000)
            return
        await self._discarder.discard(
            storm,
            Verdict(
                SignalPhase.REJECTED,
                SignalReason.REQUEST_NAMESPACE_NOT_FOUND,
                NAMESPACE_MISSING,
            ),
            SignalReason.REQUEST_NAMESPACE_NOT_FOUND,
        )

    def _mark_stale(self, storm: Snapshot, phase: RequestPhase, known: Request | None) -> None:
        """Have what Redis holds replaced by what the request says, unless it may have grown since the
        claim."""
        request = self._index.latest(storm.group_hash)
        if request is None:
            return
        if not was_behind(storm, phase, known):
            self._schedule.make_due([storm.group_hash])  # Redis may hold all of it
            return
        log.warning(
            "Redis holds less than the request",
            extra=request.log_fields | {"folded": request.folded, "foldedInRedis": storm.folded},
        )
        self._folder.mark_stale(request, storm.incarnation)

    async def _close(
        self, storm: Snapshot, reason: Reason, known: Request | None, *, unless_grown: bool
    ) -> None:
        word, frozen = await self._store.freeze(
            storm,
            reason=reason.name,
            expected_folded=storm.folded if unless_grown else None,
            now_ms=now_ms(),
        )
        if frozen is not None:
            await self._finish(frozen, reason, known)
        elif word is FreezeWord.MOVED:
            self._schedule.make_due([storm.group_hash])

    async def _finish(self, storm: Snapshot, reason: Reason, known: Request | None) -> None:
        outcome = await self._writer.write(storm, RequestPhase.CLOSED, closed_for=reason, now_ms=now_ms())
        if outcome is Outcome.BEHIND:
            self._mark_stale(storm, RequestPhase.CLOSED, known)
            return
        word = await self._store.close_storm(storm)
        if word is CloseWord.CLOSED:
            CLOSED.labels(reason=reason.value).inc()
        elif word is CloseWord.MOVED:
            self._schedule.make_due([storm.group_hash])
        if outcome is not Outcome.WRITTEN:
            self._folder.released(
                storm,
                Verdict(
                    SignalPhase.REJECTED,
                    SignalReason.REQUEST_NAMESPACE_NOT_FOUND,
                    NAMESPACE_GONE,
                ),
            )
        self._folder.closed(storm.group_hash)

    def drain(self) -> None:
        """Make everything due that is in flight; whoever stops waits until it is durable."""
        self._schedule.make_due(self._folder.storms.in_flight())
