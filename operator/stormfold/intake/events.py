"""Kubernetes Events of any type but Normal → arrivals, each occurrence once.

An Event is one object for many occurrences: whoever reports raises `count` (the API of core/v1) or `series.count`
(events.k8s.io/v1), and both are stored alike. So an arrival carries the occurrences that are new in its Event, and
Redis remembers the count of each Event for as long as the Event is there.
"""

import asyncio
import logging
import re
import time
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from prometheus_client import Counter, Gauge
from pydantic import ValidationError

from stormfold.api.conditions import Reason
from stormfold.api.resource import GROUP
from stormfold.api.signal import Severity, SignalPhase, SignalSpec
from stormfold.fold.folder import Folder
from stormfold.intake.checkpoint import Progress, ShardProgress, Taken
from stormfold.intake.enricher import Enricher
from stormfold.intake.listwatch import WATCH_ERRORS, Change, ListWatch, version_number
from stormfold.intake.rest import MISSED, Left, Rest
from stormfold.intake.signals import DISCARDED, RECEIVED, REJECTED
from stormfold.intake.taking import edited, take_apart
from stormfold.kube import paths
from stormfold.kube.client import KubeClient
from stormfold.kube.errors import ApiError
from stormfold.kube.lease import Lease
from stormfold.kube.preflight import denied_event_rights
from stormfold.kube.recorder import COMPONENT
from stormfold.model.arrival import Arrival, EventRef, Source, Verdict, object_target
from stormfold.policy.matching import EVENT_SOURCE

log = logging.getLogger(__name__)

SELECT = {"fieldSelector": "type!=Normal"}
"""What the API server is asked for: Normal Events, most of all, never come here."""
SEVERITIES = {"error": Severity.HIGH, "fatal": Severity.CRITICAL, "critical": Severity.CRITICAL}
"""Types, in lower case, that say more than Warning. Kubernetes has no others than Normal and Warning, and takes any."""
MAX_TYPE = 63
"""The longest word that a policy's `severityMap` has."""
NAMESPACES_OF_CLUSTER_SCOPED = frozenset(("default", "kube-system"))
"""Where Events about objects without a namespace lie: the API server takes them nowhere else."""
MAX_COUNT = 1_000_000
"""A count beyond it is not believed: nothing above it is counted."""
MAX_LABEL = 256
"""Longer texts are cut before they become labels."""
CONTINUED_SECONDS = 1800
"""An Event that has a count when it is created and began this much earlier continues one that has expired: the
reporter remembers the count for longer than the API server keeps the Event, by default an hour after its last change."""
RIGHTS_SECONDS = 30.0
"""How often it is looked whether rights that were missing have come."""

CONTAINER = re.compile(r"spec\.(?:containers|initContainers|ephemeralContainers)\{([^{}]{1,253})\}")
"""The fieldPath by which the kubelet names a container."""
IMAGE = re.compile(
    r"(?:Failed to (?:pull image|inspect image|apply default image tag)"
    r'|Container image(?= "[^"]*" is not present))'
    rf' "([^"\\\s]{{1,{MAX_LABEL}}})"'
)
"""The beginnings of the kubelet's warnings that name an image. `Error: ErrImagePull`, `Error: ImagePullBackOff` and what
an aggregated Event says, `(combined from similar events): …`, are none of them: an aggregated Event has the message of
its last occurrence only, and with a label from it the Event would change its group."""

NOT_GOVERNED = Counter(
    "stormfold_events_not_governed_total", "Occurrences of Kubernetes Events that no policy takes."
)
LIVE = Gauge(
    "stormfold_events_live", "Events in the cluster that are not Normal, while a policy takes Events."
)


@dataclass(frozen=True, slots=True)
class SeenEvent:
    """An Event as it was read."""

    uid: str
    namespace: str
    name: str
    resource_version: int
    created: int
    """Unix seconds, by the API server's clock."""
    began: int
    """Unix seconds, by the reporter's clock: its first occurrence, perhaps under an Event that has expired."""
    edited: bool
    """Something was written to it after its creation."""
    count: int
    """How often it has occurred, at least 1."""
    outcome: Arrival | Verdict | None
    """What it says, with all its occurrences; why that cannot be counted; None: it is left out without a word."""
    span_ms: int = 0
    """How long before its latest occurrence the first one under this Event was."""

    @property
    def generation(self) -> int:
        """Which occurrence of it."""
        return self.count

    @property
    def places(self) -> int:
        """What it takes to keep: see `Arrival.places`."""
        return self.outcome.places if isinstance(self.outcome, Arrival) else 1


class EventParser:
    """Reads Events. Left out are those that are Normal or of no type, that stormfold wrote, or about its kinds; the
    arrivals come through `via`."""

    def __init__(self, via: Source) -> None:
        self._via = via

    def __call__(self, body: dict[str, Any]) -> SeenEvent:
        """Read one."""
        metadata, series = body["metadata"], _object(body.get("series"))
        created = datetime.fromisoformat(metadata["creationTimestamp"]).timestamp()
        began = _first_time(body.get("firstTimestamp"), body.get("eventTime")) or created
        last = _first_time(series.get("lastObservedTime"), body.get("lastTimestamp"), body.get("eventTime"))
        count = min(_positive(series.get("count")) or _positive(body.get("count")) or 1, MAX_COUNT)
        version = version_number(metadata.get("resourceVersion"))
        # Never in the future and never before the Event was there, whatever the reporter's clock said.
        seen = max(created, min(last or created, time.time()))
        span_ms = int((seen - min(seen, max(created, began))) * 1000) if count > 1 else 0
        ref = EventRef(metadata["uid"], version, count, 0, span_ms)
        return SeenEvent(
            ref.uid,
            metadata.get("namespace", ""),
            metadata["name"],
            version,
            int(created),
            int(began),
            edited(metadata),
            count,
            _outcome(ref, body, metadata.get("namespace", ""), int(seen * 1000), self._via),
            span_ms,
        )


def _outcome(
    ref: EventRef, body: Mapping[str, Any], namespace: str, seen_ms: int, via: Source
) -> Arrival | Verdict | None:
    about, source = _object(body.get("involvedObject")), _object(body.get("source"))
    component = _text(body.get("reportingComponent")) or _text(source.get("component"))
    written = _text(body.get("type"), MAX_TYPE).strip()
    if (
        written.lower() in ("", "normal")
        or component == COMPONENT
        or _text(about.get("apiVersion")).partition("/")[0] == GROUP
    ):
        return None
    # Whoever may write Events in a namespace must not speak for another one. The API server sees to it for Events
    # without an eventTime only.
    speaks_of = _text(about.get("namespace"))
    if speaks_of != namespace and (speaks_of or namespace not in NAMESPACES_OF_CLUSTER_SCOPED):
        return _rejected(
            Reason.TARGET_IN_OTHER_NAMESPACE,
            f"involvedObject.namespace: {speaks_of!r} must be {namespace!r}, the Event's own namespace",
        )
    container = CONTAINER.fullmatch(_text(about.get("fieldPath")))
    image = IMAGE.match(_text(body.get("message"), 2 * MAX_LABEL))
    labels = {
        "component": component,
        "host": _text(source.get("host")),
        "container": container[1] if container else "",
        "image": image[1] if image else "",
    }
    fields: dict[str, Any] = {
        "name": body.get("reason") or "",
        "severity": SEVERITIES.get(written.lower(), Severity.WARNING),
        "labels": {name: value for name, value in labels.items() if value},
        "source": EVENT_SOURCE,
    }
    if about.get("kind") and about.get("name"):
        fields["target"] = {
            "apiVersion": about.get("apiVersion") or "v1",
            "kind": about["kind"],
            "name": about["name"],
            "namespace": speaks_of or None,
        }
    try:
        spec = SignalSpec.model_validate(fields)
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        return _rejected(Reason.INVALID_SIGNAL, f"as a Signal's spec, {where}: {first['msg']}")
    target = None
    if named := spec.target:
        target = object_target(named.api_version, named.kind, named.name, named.namespace)
    # One object with one reason is one instance, however many Events tell of it.
    identity = _text(about.get("uid")) or "/".join(
        (target.kind, target.namespace or "", target.name) if target else (namespace,)
    )
    return Arrival(
        ref=ref,
        name=spec.name,
        namespace=namespace,
        severity=spec.severity,
        firing=True,
        target=target,
        labels=spec.labels,
        source=spec.source,
        seen_ms=seen_ms,
        fingerprint=f"{identity}/{spec.name}",
        severity_text="" if written.lower() == "warning" else written,
        via=via,
    )


def _rejected(reason: Reason, message: str) -> Verdict:
    return Verdict(SignalPhase.REJECTED, reason, message[:1024])


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object, limit: int = MAX_LABEL) -> str:
    return value[:limit] if isinstance(value, str) else ""


def _positive(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _first_time(*texts: object) -> float | None:
    """The first that is a time, in Unix seconds; a year that Python does not know is none."""
    for text in texts:
        try:
            when = datetime.fromisoformat(text) if isinstance(text, str) else None
        except ValueError:
            continue
        if when and when.tzinfo:
            return when.timestamp()
    return None


@dataclass(slots=True)
class Known:
    """What this process knows of an Event."""

    taken: int
    """Its occurrences up to this one were taken in, or are not to be counted."""
    safe: int
    """Those up to this one are safe, or are not to be counted."""
    remembered: Taken | None = None
    """Under which resourceVersion Redis remembers its count, so that it must not forget it yet."""
    waiting: int = 0
    """How many arrivals are not safe yet. Until all are, Redis must not forget the Event, though it is gone."""
    gone: bool = False


class EventStream:
    """The Events of a shard: tells new occurrences from those that were counted, and keeps their progress."""

    def __init__(
        self,
        progress: ShardProgress,
        lease: Lease,
        *,
        client: KubeClient,
        enricher: Enricher,
        folder: Folder,
    ) -> None:
        """`progress` is of this stream alone: Events may lie in an etcd of their own. What the folder has no room for
        goes to the `rest`, until `retake`."""
        self._progress = progress
        self._lease = lease
        self._enricher = enricher
        self._folder = folder
        self.parse = EventParser(self)
        self.rest: Rest[SeenEvent] = Rest(client, kind="Event", collection=paths.events, parse=self.parse)
        self._known: dict[str, Known] = {}
        self._waiting: dict[tuple[str, int], tuple[Taken, int]] = {}
        """(uid, count) → what is not safe yet, and how many occurrences came with it."""
        self._live = 0

    async def take(self, change: Change[SeenEvent]) -> None:
        """Take in one change of the collection."""
        await take_apart(change, self._progress, take=self._take_item, forget=self._forget)
        LIVE.inc(len(self._known) - self._live)
        self._live = len(self._known)

    def _forget(self, uid: str) -> None:
        known = self._known.get(uid)
        if known is None:
            return
        known.gone = True
        MISSED.labels(kind="Event").inc(self._drop_left(uid, known))
        if not known.waiting:
            del self._known[uid]
            if known.remembered:
                known.remembered.gone = True

    def _drop_left(self, uid: str, known: Known) -> int:
        """What was left of an Event is gone, or comes with something newer; gives how many occurrences these are."""
        left = self.rest.drop(uid)
        if left is None:
            return 0
        taken, occurrences = self._waiting.pop((uid, left.generation))
        taken.safe = taken.gone = True
        known.waiting -= 1
        return occurrences

    async def _take_item(self, seen: SeenEvent) -> None:
        if seen.outcome is None:
            return
        progress = self._progress.of(seen.namespace)
        known = self._known.get(seen.uid)
        if known is None:
            before = _counted_before(progress, seen)
            known = self._known[seen.uid] = Known(before, before)
            if before == seen.count:
                known.remembered = progress.meet(
                    seen.resource_version, generation=seen.count, created=seen.created
                )
        known.gone = False
        new = seen.count - known.taken
        if new <= 0:
            return
        known.taken = seen.count
        ref = EventRef(seen.uid, seen.resource_version, seen.count, known.safe, seen.span_ms)
        taken = progress.take(seen.resource_version, generation=seen.count, created=seen.created)
        # Occurrences that were left come with these, if they were not read before.
        waiting = new + self._drop_left(seen.uid, known)
        self._waiting[ref.uid, ref.count] = taken, waiting
        known.waiting += 1
        if isinstance(seen.outcome, Verdict):
            log.debug("Event rejected", extra={"uid": ref.uid, "error": seen.outcome.message})
            self._conclude(ref, seen.outcome)
            return
        RECEIVED.labels(source=EVENT_SOURCE).inc(new)
        namespace = await self._submit(replace(seen.outcome, ref=ref), self.rest.waits)
        if namespace is not None:
            self.rest.leave(
                namespace, Left(seen.uid, seen.namespace, seen.name, seen.count, seen.resource_version)
            )

    async def retake(self, left: Left, seen: SeenEvent) -> None:
        """Take what was left, under the resourceVersion under which it was left: that is its place in its group."""
        known = self._known[left.uid]
        ref = EventRef(left.uid, left.resource_version, left.generation, known.safe, seen.span_ms)
        if not isinstance(seen.outcome, Arrival):
            self._conclude(ref, seen.outcome or _rejected(Reason.INVALID_SIGNAL, "now a Normal Event"))
            return
        namespace = await self._submit(replace(seen.outcome, ref=ref), self.rest.others_wait)
        if namespace is not None:
            self.rest.leave(namespace, left)
            if known.gone or known.taken > left.generation:
                self._drop_left(left.uid, known)

    async def _submit(self, arrival: Arrival, waits: Callable[[str], bool]) -> str | None:
        return await self._folder.submit(await self._enricher.enriched(arrival), waits)

    @property
    def leading(self) -> bool:
        """Whether the shard's Lease is ours."""
        return self._lease.leading

    def folded(self, arrival: Arrival) -> None:
        """Nothing: an Event is safe only once its request holds it."""

    def delayed(self, arrival: Arrival, why: str) -> None:
        """Nothing: an Event waits in the cluster for as long as it takes."""

    def refused(self, arrival: Arrival, why: str) -> None:
        """Nothing: it is said at a Signal of the group, if there is one."""

    def durable(self, arrival: Arrival, verdict: Verdict) -> None:
        """A request holds its occurrences, or none will."""
        assert isinstance(arrival.ref, EventRef)
        self._conclude(arrival.ref, verdict)

    def _conclude(self, ref: EventRef, verdict: Verdict) -> None:
        """The occurrences up to `ref.count` are safe: a request holds them, or none will."""
        taken, new = self._waiting.pop((ref.uid, ref.count))
        taken.safe = True
        if verdict.reason is Reason.NO_POLICY_MATCHES:
            NOT_GOVERNED.inc(new)
        elif verdict.phase is SignalPhase.REJECTED:
            REJECTED.labels(source=EVENT_SOURCE, reason=verdict.reason.value).inc(new)
        elif verdict.phase is SignalPhase.DISCARDED:
            DISCARDED.labels(source=EVENT_SOURCE, reason=verdict.reason.value).inc(new)
        known = self._known[ref.uid]
        if ref.count < known.safe or verdict.phase is SignalPhase.REJECTED:
            taken.gone = True  # Redis remembers a higher count, or it never heard of these occurrences
        else:
            if known.remembered:
                known.remembered.gone = True
            known.remembered = taken
        known.safe = max(known.safe, ref.count)
        known.waiting -= 1
        if known.gone:
            self._forget(ref.uid)

    def current(self, arrival: Arrival) -> Arrival:
        """The arrival without those of its occurrences that have become safe since it was made."""
        ref = arrival.ref
        known = self._known.get(ref.uid) if isinstance(ref, EventRef) else None
        if not isinstance(ref, EventRef) or known is None or known.safe <= ref.after:
            return arrival
        return replace(arrival, ref=replace(ref, after=min(known.safe, ref.count)))


def _counted_before(progress: Progress, seen: SeenEvent) -> int:
    """How many occurrences of an Event that is new to this process must not be counted any more.

    Where it says too few, Redis knows better: it remembers the count of each Event that is above the checkpoint.
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


class EventWatch:
    """Watches Events while a policy takes them."""

    def __init__(
        self,
        client: KubeClient,
        intake: EventStream,
        *,
        takes: Callable[[str], bool] = lambda namespace: True,
    ) -> None:
        """`takes` says of which namespaces."""
        self._client = client
        self._intake = intake
        self._events = ListWatch(
            client, paths.events(), kind="Event", parse=intake.parse, takes=takes, params=SELECT
        )
        self._wanted = asyncio.Event()

    def want(self, wanted: bool) -> None:
        """Say whether a policy takes Events. One that is not wanted any more ends with its next word or
        its end, a minute away at most."""
        if wanted:
            self._wanted.set()
        else:
            self._wanted.clear()

    async def run(self) -> None:
        """Watch for ever, whenever it is wanted."""
        while True:
            await self._wanted.wait()
            if not await self._allowed():
                await asyncio.sleep(RIGHTS_SECONDS)
                continue
            log.info("watching Events, since a policy takes them")
            async with aclosing(self._events.changes()) as changes:
                async for change in changes:
                    await self._intake.take(change)
                    # Between changes only: one that was taken in by halves would hold the checkpoint for ever.
                    if not self._wanted.is_set():
                        break
            log.info("not watching Events any more, since no policy takes them")

    async def _allowed(self) -> bool:
        """Whether we may watch, as far as one knows; if not, the log says what to do about it."""
        try:
            denied = await denied_event_rights(self._client)
        except ApiError:
            return True
        if denied:
            WATCH_ERRORS.labels(kind="Event", reason="refused").inc()
            log.error(
                "a policy takes Events, but they cannot be watched: apply manifests/components/events/rbac.yaml",
                extra={"denied": denied},
            )
        return not denied
