"""Kubernetes Events of any type but Normal → arrivals, each occurrence once.

An Event is one object for many occurrences: whoever reports raises `count` (the API of core/v1) or
`series.count` (events.k8s.io/v1), and both are stored alike. So an arrival carries the occurrences that are
new in its Event, and Redis remembers the count of each Event for as long as the Event is there.
"""

import logging
from dataclasses import dataclass, replace

from prometheus_client import Counter, Gauge

from stormfold.api.reasons.signals import SignalReason
from stormfold.api.signal import SignalPhase
from stormfold.enrich.enricher import Enricher
from stormfold.fold.folder import Folder
from stormfold.kube import paths
from stormfold.kube.client import KubeClient
from stormfold.model.arrival import Arrival, EventRef, Verdict
from stormfold.policy.matching import EVENT_SOURCE
from stormfold.sources.backlog import MISSED, Backlog, Deferred
from stormfold.sources.events.parser import EventParser, SeenEvent, rejected
from stormfold.sources.progress import Progress, Taken
from stormfold.sources.signals.stream import DISCARDED, RECEIVED, REJECTED
from stormfold.sources.watched import WatchedSource

log = logging.getLogger(__name__)

CONTINUED_SECONDS = 1800
"""An Event that has a count when it is created and began this much earlier continues one that has expired:
the reporter remembers the count for longer than the API server keeps the Event, by default an hour after its
last change."""
NOT_GOVERNED = Counter(
    "stormfold_events_not_governed_total", "Occurrences of Kubernetes Events that no policy takes."
)
LIVE = Gauge(
    "stormfold_events_live", "Events in the cluster that are not Normal, while a policy takes Events."
)


@dataclass(slots=True)
class Known:
    """What this process knows of an Event."""

    taken: int
    """Its occurrences up to this one were taken in, or are not to be counted."""
    durable: int
    """Those up to this one are durable, or are not to be counted."""
    remembered: Taken | None = None
    """Under which resourceVersion Redis remembers its count, so that it must not forget it yet."""
    waiting: int = 0
    """How many arrivals are not durable yet. Until all are, Redis must not forget the Event, though it is
    gone."""
    gone: bool = False


class EventStream(WatchedSource[SeenEvent]):
    """The Events: tells new occurrences from those that were counted, and keeps their progress."""

    def __init__(
        self,
        progress: Progress,
        *,
        client: KubeClient,
        enricher: Enricher,
        folder: Folder,
    ) -> None:
        """`progress` is of this stream alone: Events may lie in an etcd of their own. What the folder has no
        room for goes to the `backlog`, until `resume`."""
        super().__init__(progress, enricher=enricher, folder=folder)
        self.parse = EventParser(self)
        self.backlog: Backlog[SeenEvent] = Backlog(
            client, kind="Event", collection=paths.events, parse=self.parse
        )
        self._known: dict[str, Known] = {}
        self._waiting: dict[tuple[str, int], tuple[Taken, int]] = {}
        """(uid, count) → what is not durable yet, and how many occurrences came with it."""

    def _forget(self, uid: str) -> None:
        known = self._known.get(uid)
        if known is None:
            return
        known.gone = True
        MISSED.labels(kind="Event").inc(self._drop_deferred(uid, known))
        if not known.waiting:
            del self._known[uid]
            LIVE.dec()
            if known.remembered:
                known.remembered.gone = True

    def _drop_deferred(self, uid: str, known: Known) -> int:
        """What was left of an Event is gone, or comes with something newer; gives how many occurrences these
        are."""
        deferred = self.backlog.drop(uid)
        if deferred is None:
            return 0
        taken, occurrences = self._waiting.pop((uid, deferred.generation))
        taken.durable = taken.gone = True
        known.waiting -= 1
        return occurrences

    async def _take_item(self, seen: SeenEvent) -> None:
        if seen.outcome is None:
            return
        known = self._known.get(seen.uid)
        if known is None:
            before = _counted_before(self._progress, seen)
            known = self._known[seen.uid] = Known(before, before)
            LIVE.inc()
            if before == seen.count:
                known.remembered = self._progress.meet(
                    seen.resource_version, generation=seen.count, created=seen.created
                )
        known.gone = False
        new = seen.count - known.taken
        if new <= 0:
            return
        known.taken = seen.count
        ref = EventRef(seen.uid, seen.resource_version, seen.count, known.durable, seen.span_ms)
        taken = self._progress.take(seen.resource_version, generation=seen.count, created=seen.created)
        # Occurrences that were left come with these, if they were not read before.
        waiting = new + self._drop_deferred(seen.uid, known)
        self._waiting[ref.uid, ref.count] = taken, waiting
        known.waiting += 1
        if isinstance(seen.outcome, Verdict):
            log.debug("Event rejected", extra={"uid": ref.uid, "error": seen.outcome.message})
            self._conclude(ref, seen.outcome)
            return
        RECEIVED.labels(source=EVENT_SOURCE).inc(new)
        namespace = await self._submit(replace(seen.outcome, ref=ref), self.backlog.waits)
        if namespace is not None:
            self.backlog.defer(
                namespace, Deferred(seen.uid, seen.namespace, seen.name, seen.count, seen.resource_version)
            )

    async def resume(self, deferred: Deferred, seen: SeenEvent) -> None:
        """Take what was left, under the resourceVersion under which it was left: that is its place in its
        group."""
        known = self._known[deferred.uid]
        ref = EventRef(
            deferred.uid, deferred.resource_version, deferred.generation, known.durable, seen.span_ms
        )
        if not isinstance(seen.outcome, Arrival):
            self._conclude(ref, seen.outcome or rejected(SignalReason.INVALID_SIGNAL, "now a Normal Event"))
            return
        namespace = await self._submit(replace(seen.outcome, ref=ref), self.backlog.others_wait)
        if namespace is not None:
            self.backlog.defer(namespace, deferred)
            if known.gone or known.taken > deferred.generation:
                self._drop_deferred(deferred.uid, known)

    def durable(self, arrival: Arrival, verdict: Verdict) -> None:
        """A request holds its occurrences, or none will."""
        assert isinstance(arrival.ref, EventRef)
        self._conclude(arrival.ref, verdict)

    def _conclude(self, ref: EventRef, verdict: Verdict) -> None:
        """The occurrences up to `ref.count` are durable: a request holds them, or none will."""
        taken, new = self._waiting.pop((ref.uid, ref.count))
        taken.durable = True
        if verdict.reason is SignalReason.NO_POLICY_MATCHES:
            NOT_GOVERNED.inc(new)
        elif verdict.phase is SignalPhase.REJECTED:
            REJECTED.labels(source=EVENT_SOURCE, reason=verdict.reason.value).inc(new)
        elif verdict.phase is SignalPhase.DISCARDED:
            DISCARDED.labels(source=EVENT_SOURCE, reason=verdict.reason.value).inc(new)
        known = self._known[ref.uid]
        if ref.count < known.durable or verdict.phase is SignalPhase.REJECTED:
            taken.gone = True  # Redis remembers a higher count, or it never heard of these occurrences
        else:
            if known.remembered:
                known.remembered.gone = True
            known.remembered = taken
        known.durable = max(known.durable, ref.count)
        known.waiting -= 1
        if known.gone:
            self._forget(ref.uid)

    def current(self, arrival: Arrival) -> Arrival:
        """The arrival without those of its occurrences that have become durable since it was made."""
        ref = arrival.ref
        known = self._known.get(ref.uid) if isinstance(ref, EventRef) else None
        if not isinstance(ref, EventRef) or known is None or known.durable <= ref.after:
            return arrival
        return replace(arrival, ref=replace(ref, after=min(known.durable, ref.count)))


def _counted_before(progress: Progress, seen: SeenEvent) -> int:
    """How many occurrences of an Event that is new to this process must not be counted any more.

    Where it says too few, Redis knows better: it remembers the count of each Event that is above the
    checkpoint.
    """

    def counted(occurrences: int) -> bool:
        return progress.counted_before(
            seen.resource_version,
            generation=occurrences,
            created=seen.created,
            edited=seen.edited,
            marked=False,
        )

    if counted(seen.count):
        return seen.count
    if counted(1):
        return 1
    if seen.created - seen.began >= CONTINUED_SECONDS:
        return seen.count - 1
    return 0
