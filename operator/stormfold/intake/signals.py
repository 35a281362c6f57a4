"""Signals: resources → arrivals, each occurrence once."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from prometheus_client import Counter, Gauge
from pydantic import ValidationError

from stormfold.api.conditions import Reason
from stormfold.api.signal import SignalPhase, SignalSpec, SignalState
from stormfold.intake.alertmanager import FUTURE_MS
from stormfold.intake.checkpoint import ShardProgress, Taken
from stormfold.intake.listwatch import Change, Listed, version_number
from stormfold.intake.rest import MISSED, Left, Rest
from stormfold.intake.taking import edited, take_apart
from stormfold.intake.targets import NAMESPACE_NAME
from stormfold.model.arrival import Arrival, SignalRef, Verdict, object_target

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
    """Reads `Signal` resources. `operator_namespace` is the one whose Signals may speak for others."""

    def __init__(self, operator_namespace: str) -> None:
        self._operator_namespace = operator_namespace

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
        )


def _rejected(reason: Reason, message: str) -> Verdict:
    return Verdict(SignalPhase.REJECTED, reason, message[:1024])


class SignalIntake:
    """Tells new occurrences from what was counted, and keeps the progress of the shard."""

    def __init__(
        self,
        progress: ShardProgress,
        *,
        submit: Callable[[Arrival, Callable[[str], bool]], Awaitable[str | None]],
        rest: Rest[Seen],
        concluded: Callable[[SignalRef, Verdict], None],
        kept: Callable[[Seen], None],
        changed: Callable[[SignalRef], None],
        deleted: Callable[[str], None],
    ) -> None:
        """Connect the intake.

        `submit` takes what is to be counted, or gives the namespace of its request, of which it is told whether
        others wait before it: then it goes to the `rest`, until `retake`. `concluded` hears where an occurrence went, `kept` of one that was
        counted before this process began, `changed` and `deleted` of Signals that are there or gone.
        """
        self._progress = progress
        self._submit = submit
        self._rest = rest
        self._concluded = concluded
        self._kept = kept
        self._changed = changed
        self._deleted = deleted
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
        self._deleted(uid)

    def _leave(self, uid: str, taken: Taken) -> None:
        """The occurrence is gone: whatever became of it, nothing is left that could say so."""
        taken.gone = True
        if (uid, taken.generation) not in self._waiting:
            taken.safe = True

    def _drop_left(self, uid: str) -> None:
        """Nobody can read any more what was left of a Signal."""
        if left := self._rest.drop(uid):
            self._waiting.pop((uid, left.generation)).safe = True
            MISSED.labels(kind="Signal").inc()

    async def _take_item(self, seen: Seen) -> None:
        ref = seen.ref
        progress = self._progress.of(ref.namespace)
        before = self._taken.get(ref.uid)
        if before and ref.generation <= before.generation:
            before.marked = before.marked or seen.marked
            before.edited_version = ref.resource_version
            self._changed(ref)
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
                self._concluded(ref, seen.outcome)
            else:
                self._kept(seen)
            return
        if before:
            self._leave(ref.uid, before)
            self._drop_left(ref.uid)
        taken = progress.take(ref.resource_version, generation=ref.generation, created=seen.created)
        self._taken[ref.uid] = self._waiting[ref.uid, ref.generation] = taken
        self._changed(ref)
        if isinstance(seen.outcome, Verdict):
            # What is wrong with it the next leader sees as well.
            taken.safe = True
            self.conclude(ref, seen.outcome)
            return
        RECEIVED_SIGNALS.inc()
        namespace = await self._submit(seen.outcome, self._rest.waits)
        if namespace is not None:
            self._rest.leave(
                namespace, Left(ref.uid, ref.namespace, ref.name, ref.generation, ref.resource_version)
            )

    async def retake(self, left: Left, seen: Seen) -> None:
        """Take what was left, under the resourceVersion under which it was left: that is its place in its group."""
        ref = replace(seen.ref, resource_version=left.resource_version)
        if isinstance(seen.outcome, Verdict):
            self.conclude(ref, seen.outcome)
            return
        namespace = await self._submit(replace(seen.outcome, ref=ref), self._rest.others_wait)
        if namespace is not None:
            self._rest.leave(namespace, left)
            if self._waiting[left.uid, left.generation].gone:
                self._drop_left(left.uid)

    def conclude(self, ref: SignalRef, verdict: Verdict) -> None:
        """Its request holds an occurrence: it is safe. Or none does: it is safe once its status says why, or cannot say it."""
        taken = self._waiting.pop((ref.uid, ref.generation))
        taken.safe = taken.safe or taken.gone or verdict.phase is SignalPhase.FOLDED
        if verdict.phase is SignalPhase.REJECTED:
            REJECTED.labels(source="signal", reason=verdict.reason.value).inc()
        elif verdict.phase is SignalPhase.DISCARDED:
            DISCARDED.labels(source="signal", reason=verdict.reason.value).inc()
        if taken.edited_version:
            ref = replace(ref, resource_version=taken.edited_version)
        self._concluded(ref, verdict)

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
