"""Signals: resources → arrivals, each occurrence once."""

from dataclasses import replace
from typing import Protocol

from prometheus_client import Counter, Gauge

from stormfold.api.reasons.signals import SignalReason
from stormfold.api.resource import API_VERSION
from stormfold.api.signal import Signal, SignalPhase
from stormfold.api.site import see
from stormfold.enrich.enricher import Enricher
from stormfold.fold.folder import Folder
from stormfold.kube import paths
from stormfold.kube.client import KubeClient
from stormfold.kube.recorder import About, Recorder
from stormfold.model.arrival import Arrival, SignalRef, Verdict
from stormfold.sources.backlog import MISSED, Backlog, Deferred
from stormfold.sources.progress import Progress, Taken
from stormfold.sources.signals.parser import Seen, SignalParser
from stormfold.sources.watched import WatchedSource

RECEIVED = Counter(
    "stormfold_signals_received_total",
    "Occurrences of signals taken in, each once; alerts each time that they are posted.",
    ["source"],
)
REJECTED = Counter(
    "stormfold_signals_rejected_total", "Signals that cannot be counted.", ["source", "reason"]
)
DISCARDED = Counter(
    "stormfold_signals_discarded_total",
    "Signals whose group made no request; alerts each time that they are posted.",
    ["source", "reason"],
)
RECEIVED_SIGNALS = RECEIVED.labels(source="signal")
LIVE = Gauge("stormfold_signals_live", "Signal resources in the cluster.")


class Keeper(Protocol):
    """Who looks after Signals that are taken in: their marks, and their deletion."""

    def arrived(self, live: int) -> None:
        """A new occurrence is taken in: `live` Signals are in the cluster now."""

    def durable(self, ref: SignalRef, verdict: Verdict, stream: "SignalStream") -> None:
        """Where an occurrence went. `stream` hears whether that is marked."""

    def keep(self, ref: SignalRef, arrival: Arrival | None, created: int) -> None:
        """It was counted before this process began. `created` is in Unix seconds."""

    def changed(self, ref: SignalRef) -> None:
        """A Signal has a newer version."""

    def forget(self, uid: str) -> None:
        """A Signal is gone."""


class SignalStream(WatchedSource[Seen]):
    """The Signals: tells new occurrences from what was counted, and keeps their progress."""

    def __init__(
        self,
        progress: Progress,
        *,
        client: KubeClient,
        operator_namespace: str,
        enricher: Enricher,
        folder: Folder,
        keeper: Keeper,
        recorder: Recorder,
    ) -> None:
        """What the folder has no room for goes to the `backlog`, until `resume`."""
        super().__init__(progress, enricher=enricher, folder=folder)
        self._keeper = keeper
        self._recorder = recorder
        self.parse = SignalParser(operator_namespace, self)
        self.backlog: Backlog[Seen] = Backlog(
            client,
            kind="Signal",
            collection=lambda namespace: paths.collection(Signal.plural, namespace),
            parse=self.parse,
        )
        self._taken: dict[str, Taken] = {}
        """uid → its latest occurrence."""
        self._waiting: dict[tuple[str, int], Taken] = {}
        """(uid, generation) → an occurrence that is not durable yet."""

    def _forget(self, uid: str) -> None:
        taken = self._taken.pop(uid, None)
        if taken:
            LIVE.dec()
            self._leave(uid, taken)
        self._drop_deferred(uid)
        self._keeper.forget(uid)

    def _leave(self, uid: str, taken: Taken) -> None:
        """The occurrence is gone: whatever became of it, nothing is left that could say so."""
        taken.gone = True
        if (uid, taken.generation) not in self._waiting:
            taken.durable = True

    def _drop_deferred(self, uid: str) -> None:
        """Nobody can read any more what was left of a Signal."""
        if deferred := self.backlog.drop(uid):
            self._waiting.pop((uid, deferred.generation)).durable = True
            MISSED.labels(kind="Signal").inc()

    async def _take_item(self, seen: Seen) -> None:
        ref = seen.ref
        before = self._taken.get(ref.uid)
        if before and ref.generation <= before.generation:
            before.marked = before.marked or seen.marked
            before.edited_version = ref.resource_version
            self._keeper.changed(ref)
            return
        if before is None:
            LIVE.inc()
        if before is None and self._progress.counted_before(
            ref.resource_version,
            generation=ref.generation,
            created=seen.created,
            edited=seen.edited,
            marked=seen.marked,
        ):
            self._taken[ref.uid] = self._progress.meet(
                ref.resource_version, generation=ref.generation, created=seen.created, marked=seen.marked
            )
            if isinstance(seen.outcome, Verdict) and not seen.marked:
                # The last leader may have been killed before its status could say so.
                self._tell(ref, seen.outcome)
            else:
                arrival = None if isinstance(seen.outcome, Verdict) else seen.outcome
                self._keeper.keep(ref, arrival, seen.created)
            return
        if before:
            self._leave(ref.uid, before)
            self._drop_deferred(ref.uid)
        taken = self._progress.take(ref.resource_version, generation=ref.generation, created=seen.created)
        self._taken[ref.uid] = self._waiting[ref.uid, ref.generation] = taken
        self._keeper.arrived(len(self._taken))
        self._keeper.changed(ref)
        if isinstance(seen.outcome, Verdict):
            # What is wrong with it the next leader sees as well.
            taken.durable = True
            self._conclude(ref, seen.outcome)
            return
        RECEIVED_SIGNALS.inc()
        namespace = await self._submit(seen.outcome, self.backlog.waits)
        if namespace is not None:
            deferred = Deferred(ref.uid, ref.namespace, ref.name, ref.generation, ref.resource_version)
            if self.backlog.defer(namespace, deferred):
                self._say_that_it_waits(ref, namespace)

    async def resume(self, deferred: Deferred, seen: Seen) -> None:
        """Take what was left, under the resourceVersion under which it was left: that is its place in its
        group."""
        ref = replace(seen.ref, resource_version=deferred.resource_version)
        if isinstance(seen.outcome, Verdict):
            self._conclude(ref, seen.outcome)
            return
        namespace = await self._submit(replace(seen.outcome, ref=ref), self.backlog.others_wait)
        if namespace is not None:
            self.backlog.defer(namespace, deferred)
            if self._waiting[deferred.uid, deferred.generation].gone:
                self._drop_deferred(deferred.uid)

    def refused(self, arrival: Arrival, why: str) -> None:
        """An Event at it says why its request cannot be written."""
        assert isinstance(arrival.ref, SignalRef)
        self._recorder.record_once(_about(arrival.ref), "Warning", SignalReason.REQUEST_REFUSED, why)

    def durable(self, arrival: Arrival, verdict: Verdict) -> None:
        """A request holds it, or none will."""
        assert isinstance(arrival.ref, SignalRef)
        self._conclude(arrival.ref, verdict)

    def _conclude(self, ref: SignalRef, verdict: Verdict) -> None:
        """Its request holds an occurrence: it is durable. Or none does: it is durable once its status says
        why, or cannot."""
        taken = self._waiting.pop((ref.uid, ref.generation))
        taken.durable = taken.durable or taken.gone or verdict.phase is SignalPhase.FOLDED
        if verdict.phase is SignalPhase.REJECTED:
            REJECTED.labels(source="signal", reason=verdict.reason.value).inc()
        elif verdict.phase is SignalPhase.DISCARDED:
            DISCARDED.labels(source="signal", reason=verdict.reason.value).inc()
        if taken.edited_version:
            ref = replace(ref, resource_version=taken.edited_version)
        self._tell(ref, verdict)

    def _tell(self, ref: SignalRef, verdict: Verdict) -> None:
        self._keeper.durable(ref, verdict, self)
        if verdict.phase is SignalPhase.REJECTED:
            said = see(verdict.reason, verdict.message)
            self._recorder.record_once(_about(ref), "Warning", verdict.reason, said)

    def _say_that_it_waits(self, ref: SignalRef, namespace: str) -> None:
        self._recorder.record_once(_about(ref), "Warning", SignalReason.NO_ROOM, no_room(namespace))

    def is_latest(self, ref: SignalRef) -> bool:
        """Whether the Signal is there, and has no newer occurrence."""
        return self._latest(ref) is not None

    def marked(self, ref: SignalRef) -> None:
        """The Signal's status now says where this occurrence went."""
        if taken := self._latest(ref):
            taken.marked = taken.durable = True

    def unmarkable(self, ref: SignalRef) -> None:
        """The API server refuses the mark for good: the checkpoint must not wait for it."""
        if taken := self._latest(ref):
            taken.durable = True

    def _latest(self, ref: SignalRef) -> Taken | None:
        """The occurrence, unless the Signal is gone or has a newer one."""
        taken = self._taken.get(ref.uid)
        return taken if taken and taken.generation == ref.generation else None


def _about(ref: SignalRef) -> About:
    return About(API_VERSION, "Signal", ref.name, ref.namespace, ref.uid)


def no_room(namespace: str) -> str:
    """What the Event about a Signal says whose namespace is at its limit."""
    return see(
        SignalReason.NO_ROOM,
        f"namespace {namespace} has too many signals that wait for a request. This Signal stays in the "
        "cluster and is counted later. Find out why the namespace's requests are not written",
    )
