"""Signals: resources → arrivals, each occurrence once."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from prometheus_client import Counter, Gauge
from pydantic import ValidationError

from stormfold.api.conditions import Reason
from stormfold.api.resource import API_VERSION
from stormfold.api.signal import Signal, SignalPhase, SignalSpec, SignalState
from stormfold.fold.folder import Folder
from stormfold.intake.alertmanager import FUTURE_MS
from stormfold.intake.checkpoint import ShardProgress, Taken
from stormfold.intake.enricher import Enricher
from stormfold.intake.listwatch import Change, Listed, version_number
from stormfold.intake.rest import MISSED, Left, Rest
from stormfold.intake.taking import edited, take_apart
from stormfold.intake.targets import NAMESPACE_NAME
from stormfold.kube import paths
from stormfold.kube.client import KubeClient
from stormfold.kube.lease import Lease
from stormfold.kube.recorder import About, Recorder
from stormfold.model.arrival import Arrival, SignalRef, Source, Verdict, object_target

FUTURE = timedelta(milliseconds=FUTURE_MS)

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


@dataclass(frozen=True, slots=True)
class Seen:
    """A `Signal` resource as it was read."""

    ref: SignalRef
    created: int
    """Unix seconds."""
    edited: bool
    """Something was written to it after its creation."""
    marked: bool
    """Its status says where this generation went."""
    outcome: Arrival | Verdict
    """What it says, or why it says nothing that can be counted."""

    @property
    def uid(self) -> str:
        """Which object it is."""
        return self.ref.uid

    @property
    def generation(self) -> int:
        """Which occurrence of it."""
        return self.ref.generation

    @property
    def resource_version(self) -> int:
        """Which version of it."""
        return self.ref.resource_version

    @property
    def places(self) -> int:
        """What it takes to keep: see `Arrival.places`."""
        return self.outcome.places if isinstance(self.outcome, Arrival) else 1


class SignalParser:
    """Reads `Signal` resources. `operator_namespace` is the one whose Signals may speak for others; the arrivals come
    through `via`."""

    def __init__(self, operator_namespace: str, via: Source) -> None:
        self._operator_namespace = operator_namespace
        self._via = via

    def __call__(self, body: dict[str, Any]) -> Seen:
        """Read one; what is wrong with it becomes a `Rejected` verdict."""
        metadata = body["metadata"]
        status = body.get("status") or {}
        generation = int(metadata.get("generation") or 1)
        ref = SignalRef(
            metadata.get("namespace", ""),
            metadata["name"],
            metadata["uid"],
            generation,
            version_number(metadata.get("resourceVersion")),
        )
        created = datetime.fromisoformat(metadata["creationTimestamp"])
        return Seen(
            ref,
            int(created.timestamp()),
            edited(metadata),
            bool(status.get("phase")) and status.get("observedGeneration", 0) >= generation,
            self._outcome(ref, created, body.get("spec") or {}),
        )

    def _outcome(self, ref: SignalRef, created: datetime, fields: dict[str, Any]) -> Arrival | Verdict:
        try:
            spec = SignalSpec.model_validate(fields)
        except ValidationError as exc:
            first = exc.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            return _rejected(Reason.INVALID_SIGNAL, f"spec.{where}: {first['msg']}")
        target = spec.target
        speaks_for = (target.namespace if target else None) or ref.namespace
        if ref.namespace not in (speaks_for, self._operator_namespace):
            return _rejected(
                Reason.TARGET_IN_OTHER_NAMESPACE,
                f"spec.target.namespace: {speaks_for!r} must be {ref.namespace!r}, the Signal's own namespace; "
                f"only Signals in {self._operator_namespace!r} may speak for others",
            )
        if not NAMESPACE_NAME.fullmatch(speaks_for):
            return _rejected(
                Reason.INVALID_SIGNAL, f"spec.target.namespace: {speaks_for!r} is no name of a namespace"
            )
        now = datetime.now(UTC)
        if spec.starts_at and spec.starts_at > now + FUTURE:
            return _rejected(
                Reason.STARTS_IN_FUTURE,
                f"spec.startsAt: {spec.starts_at.isoformat()} must not lie more than 5 minutes ahead",
            )
        happened = created if ref.generation == 1 else now
        return Arrival(
            ref=ref,
            name=spec.name,
            namespace=speaks_for,
            severity=spec.severity,
            firing=spec.state is SignalState.FIRING,
            target=object_target(target.api_version, target.kind, target.name, target.namespace)
            if target
            else None,
            labels=spec.labels,
            source=spec.source,
            seen_ms=int(happened.timestamp() * 1000),
            fingerprint=spec.fingerprint or "",
            via=self._via,
        )


def _rejected(reason: Reason, message: str) -> Verdict:
    return Verdict(SignalPhase.REJECTED, reason, message[:1024])


class Keeper(Protocol):
    """Who looks after Signals that are taken in: their marks, and their deletion."""

    def durable(self, ref: SignalRef, verdict: Verdict, stream: "SignalStream") -> None:
        """Where an occurrence went. `stream` hears whether that is marked."""

    def keep(self, ref: SignalRef, arrival: Arrival | None, created: int) -> None:
        """It was counted before this process began. `created` is in Unix seconds."""

    def changed(self, ref: SignalRef) -> None:
        """A Signal has a newer version."""

    def forget(self, uid: str) -> None:
        """A Signal is gone."""


class SignalStream:
    """The Signals of a shard: tells new occurrences from what was counted, and keeps the progress of the shard."""

    def __init__(
        self,
        progress: ShardProgress,
        lease: Lease,
        *,
        client: KubeClient,
        operator_namespace: str,
        enricher: Enricher,
        folder: Folder,
        keeper: Keeper,
        recorder: Recorder,
    ) -> None:
        """What the folder has no room for goes to the `rest`, until `retake`."""
        self._progress = progress
        self._lease = lease
        self._enricher = enricher
        self._folder = folder
        self._keeper = keeper
        self._recorder = recorder
        self.parse = SignalParser(operator_namespace, self)
        self.rest: Rest[Seen] = Rest(
            client,
            kind="Signal",
            collection=lambda namespace: paths.collection(Signal.plural, namespace),
            parse=self.parse,
        )
        self._taken: dict[str, Taken] = {}
        """uid → its latest occurrence."""
        self._waiting: dict[tuple[str, int], Taken] = {}
        """(uid, generation) → an occurrence that is not safe yet."""
        self._live = 0
        self.listed = False
        """Whether the first list has been taken in."""

    async def take(self, change: Change[Seen]) -> None:
        """Take in one change of the collection."""
        await take_apart(change, self._progress, take=self._take_item, forget=self._forget)
        self.listed = self.listed or isinstance(change, Listed)
        if len(self._taken) != self._live:
            LIVE.inc(len(self._taken) - self._live)
            self._live = len(self._taken)

    def _forget(self, uid: str) -> None:
        taken = self._taken.pop(uid, None)
        if taken:
            self._leave(uid, taken)
        self._drop_left(uid)
        self._keeper.forget(uid)

    def _leave(self, uid: str, taken: Taken) -> None:
        """The occurrence is gone: whatever became of it, nothing is left that could say so."""
        taken.gone = True
        if (uid, taken.generation) not in self._waiting:
            taken.safe = True

    def _drop_left(self, uid: str) -> None:
        """Nobody can read any more what was left of a Signal."""
        if left := self.rest.drop(uid):
            self._waiting.pop((uid, left.generation)).safe = True
            MISSED.labels(kind="Signal").inc()

    async def _take_item(self, seen: Seen) -> None:
        ref = seen.ref
        progress = self._progress.of(ref.namespace)
        before = self._taken.get(ref.uid)
        if before and ref.generation <= before.generation:
            before.marked = before.marked or seen.marked
            before.edited_version = ref.resource_version
            self._keeper.changed(ref)
            return
        if before is None and progress.counted_before(
            ref.resource_version,
            generation=ref.generation,
            created=seen.created,
            edited=seen.edited,
            marked=seen.marked,
        ):
            self._taken[ref.uid] = progress.meet(
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
            self._drop_left(ref.uid)
        taken = progress.take(ref.resource_version, generation=ref.generation, created=seen.created)
        self._taken[ref.uid] = self._waiting[ref.uid, ref.generation] = taken
        self._keeper.changed(ref)
        if isinstance(seen.outcome, Verdict):
            # What is wrong with it the next leader sees as well.
            taken.safe = True
            self._conclude(ref, seen.outcome)
            return
        RECEIVED_SIGNALS.inc()
        namespace = await self._submit(seen.outcome, self.rest.waits)
        if namespace is not None:
            left = Left(ref.uid, ref.namespace, ref.name, ref.generation, ref.resource_version)
            if self.rest.leave(namespace, left):
                self._say_that_it_waits(ref, namespace)

    async def retake(self, left: Left, seen: Seen) -> None:
        """Take what was left, under the resourceVersion under which it was left: that is its place in its group."""
        ref = replace(seen.ref, resource_version=left.resource_version)
        if isinstance(seen.outcome, Verdict):
            self._conclude(ref, seen.outcome)
            return
        namespace = await self._submit(replace(seen.outcome, ref=ref), self.rest.others_wait)
        if namespace is not None:
            self.rest.leave(namespace, left)
            if self._waiting[left.uid, left.generation].gone:
                self._drop_left(left.uid)

    @property
    def leading(self) -> bool:
        """Whether the shard's Lease is ours."""
        return self._lease.leading

    def current(self, arrival: Arrival) -> Arrival:
        """The same: of a Signal, an occurrence stays what it is."""
        return arrival

    def folded(self, arrival: Arrival) -> None:
        """Nothing: a Signal is safe only once its request holds it."""

    def delayed(self, arrival: Arrival, why: str) -> None:
        """Nothing: a Signal waits in the cluster for as long as it takes."""

    def refused(self, arrival: Arrival, why: str) -> None:
        """An Event at it says why its request cannot be written."""
        assert isinstance(arrival.ref, SignalRef)
        self._recorder.record_once(_about(arrival.ref), "Warning", Reason.REQUEST_REFUSED, why)

    def durable(self, arrival: Arrival, verdict: Verdict) -> None:
        """A request holds it, or none will."""
        assert isinstance(arrival.ref, SignalRef)
        self._conclude(arrival.ref, verdict)

    def _conclude(self, ref: SignalRef, verdict: Verdict) -> None:
        """Its request holds an occurrence: it is safe. Or none does: it is safe once its status says why, or cannot."""
        taken = self._waiting.pop((ref.uid, ref.generation))
        taken.safe = taken.safe or taken.gone or verdict.phase is SignalPhase.FOLDED
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
            self._recorder.record_once(_about(ref), "Warning", verdict.reason, verdict.message)

    async def _submit(self, arrival: Arrival, waits: Callable[[str], bool]) -> str | None:
        return await self._folder.submit(await self._enricher.enriched(arrival), waits)

    def _say_that_it_waits(self, ref: SignalRef, namespace: str) -> None:
        self._recorder.record_once(
            _about(ref),
            "Warning",
            Reason.NO_ROOM,
            f"as many signals as may wait for requests in namespace {namespace}: this one and those after it stay in "
            "the cluster and are counted when there is room",
        )

    def marked(self, ref: SignalRef) -> None:
        """The Signal's status now says where this occurrence went."""
        taken = self._taken.get(ref.uid)
        if taken and taken.generation == ref.generation:
            taken.marked = taken.safe = True

    def unmarkable(self, ref: SignalRef) -> None:
        """The API server refuses the mark for good: the checkpoint must not wait for it."""
        taken = self._taken.get(ref.uid)
        if taken and taken.generation == ref.generation:
            taken.safe = True


def _about(ref: SignalRef) -> About:
    return About(API_VERSION, "Signal", ref.name, ref.namespace, ref.uid)
