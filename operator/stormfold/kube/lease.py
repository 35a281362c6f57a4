"""Lease: which process leads an ingest shard, and how far everything is durable.

The rules of client-go's leader election: a holder is obeyed until its Lease has not changed for its duration
by our own clock, so clocks need not agree. The checkpoints ride on each renewal.

Each Lease tells of segments, and that all up to a checkpoint is durable stays true for ever. So whoever
begins takes the highest checkpoint that any Lease has of a segment, and the number of shards may change; it
waits until nobody holds a Lease for another number of them.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson
from prometheus_client import Gauge

from stormfold.kube import paths
from stormfold.kube.client import KubeClient
from stormfold.kube.errors import AlreadyExistsError, ApiError, ConflictError, NotFoundError, RefusedError
from stormfold.model.segment import SEGMENTS

log = logging.getLogger(__name__)

CHECKPOINTS = "stormfold.dev/checkpoints"
"""Annotation: segment → the two numbers of a `Checkpoint` of Signals, as JSON."""
EVENT_CHECKPOINTS = "stormfold.dev/event-checkpoints"
"""Annotation: the same for Events."""
SHARDS = "stormfold.dev/shards"
"""Annotation: how many shards the last holder divided the segments among."""
DURATION_SECONDS = 3
"""How long a Lease is obeyed without a sign of its holder: an upper bound of the fail-over time."""
RENEW_SECONDS = 1.0
"""How often it is renewed, and so how often the checkpoint is kept."""
VACANT_SECONDS = 5.0
"""How long a Lease that nobody holds stays free for a replica that leads no shard."""
RELEASES = 3
"""How often a release is tried that something else has come before."""

LEADING = Gauge("stormfold_ingest_leading", "1 while this process leads an ingest shard.", ["shard"])
CHECKPOINT_GAUGE = Gauge(
    "stormfold_checkpoint_resource_version",
    "The least checkpoint of the shard's Signals, or Events, as last written.",
    ["shard", "kind"],
)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far a segment is durable."""

    resource_version: int = 0
    """Everything up to it is."""
    created_before: int = 0
    """What was created before this time, by the API server's clock, had a resourceVersion up to the
    checkpoint at its creation; Unix seconds."""


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """Segment → how far it is durable; resourceVersions of Signals and of Events cannot be compared."""

    signals: Mapping[int, Checkpoint] = field(default_factory=dict)
    events: Mapping[int, Checkpoint] = field(default_factory=dict)


class LeaseLostError(Exception):
    """Another process leads, or may lead: stop leading."""


def lease_name(shard: int) -> str:
    """The name of an ingest shard's Lease."""
    return f"stormfold-ingest-{shard}"


class Lease:
    """The Lease of one ingest shard, of so many `shards`.

    Whoever `leads_others` leaves one that was given back, or never held, to those that lead none: they are
    started together, or one after the other in a roll-out.
    """

    def __init__(
        self,
        client: KubeClient,
        *,
        namespace: str,
        shard: int,
        shards: int = 1,
        identity: str,
        leads_others: Callable[[], bool] = lambda: False,
    ) -> None:
        self._client = client
        self._collection = paths.leases(namespace)
        self._namespace = namespace
        self.name = lease_name(shard)
        self._shard, self._shards = str(shard), str(shards)
        self._others = [lease_name(other) for other in range(SEGMENTS) if other != shard]
        self._identity = identity
        self._leads_others = leads_others
        self.wanted = False
        """Whether it is ours, or just being taken."""
        self._held: dict[str, Any] | None = None
        self._renewed = 0.0
        self._waited = -math.inf
        LEADING.labels(shard=self._shard).set(0)
        self._seen: dict[str, tuple[tuple[Any, ...], float]] = {}
        """Name of a Lease → how it was last read, and since when it is so, by the monotonic clock."""

    @property
    def leading(self) -> bool:
        """Whether the Lease is ours, with time left."""
        return self._held is not None and time.monotonic() - self._renewed < DURATION_SECONDS

    @property
    def standing_by(self) -> bool:
        """Whether we wait for the Lease, and would notice if it became ours to take."""
        return self._held is None and time.monotonic() - self._waited < DURATION_SECONDS

    async def acquire(self) -> Checkpoints:
        """Wait until the Lease is ours; gives the checkpoints of all segments that any Lease tells of."""
        vacant_since: float | None = None
        while True:
            left = RENEW_SECONDS / 2
            try:
                lease = await self._read()
                held = bool(lease["spec"].get("holderIdentity"))
                vacant_since = None if held else vacant_since or time.monotonic()
                left = self._time_left(lease)
                if left <= 0:
                    others = await self._read_others()
                    left = self._time_until_gone(others)
                    # Asked last, with no wait until it is wanted: another shard of ours may have come before.
                    if vacant_since and self._leads_others():
                        left = max(left, vacant_since + VACANT_SECONDS - time.monotonic())
                    if left <= 0:
                        return await self._take(lease, others)
                self._waited = time.monotonic()
            except RefusedError:
                raise
            except ApiError as exc:
                self.wanted = False
                # Its holder could not be seen, nor renew: it has its full time again.
                self._seen.clear()
                log.debug("Lease not acquired", extra={"lease": self.name, "error": str(exc)})
            await asyncio.sleep(min(left, RENEW_SECONDS / 2))

    def _time_left(self, lease: dict[str, Any]) -> float:
        """For how many seconds somebody else is to be obeyed still, as far as is known by now."""
        name, spec = lease["metadata"]["name"], lease["spec"]
        holder = spec.get("holderIdentity") or ""
        if holder in ("", self._identity):
            return 0.0
        state = (holder, spec.get("renewTime"), lease["metadata"].get("resourceVersion"))
        before, since = self._seen.get(name, ((), 0.0))
        if state != before:
            if holder not in before[:1]:
                log.info("waiting for the Lease", extra={"lease": name, "holder": holder})
            self._seen[name] = state, (since := time.monotonic())
        return since + (spec.get("leaseDurationSeconds") or DURATION_SECONDS) - time.monotonic()

    def _time_until_gone(self, others: Iterable[dict[str, Any]]) -> float:
        """For how many seconds somebody who leads with another number of shards is to be obeyed still."""
        left = [
            self._time_left(lease)
            for lease in others
            if (lease["metadata"].get("annotations") or {}).get(SHARDS, self._shards) != self._shards
        ]
        return max(left, default=0.0)

    async def _read_others(self) -> list[dict[str, Any]]:
        found = []
        for name in self._others:
            with suppress(NotFoundError):
                found.append(await self._client.get(f"{self._collection}/{name}"))
        return found

    async def _take(self, lease: dict[str, Any], others: Iterable[dict[str, Any]]) -> Checkpoints:
        self.wanted = True
        started = time.monotonic()
        self._held = await self._write(lease, Checkpoints(), acquire=True)
        self._renewed = started
        LEADING.labels(shard=self._shard).set(1)
        checkpoints = highest(checkpoints_of(found) for found in (lease, *others))
        log.info("leading ingest", extra={"lease": self.name})
        return checkpoints

    async def keep(self, checkpoints: Callable[[], Checkpoints], kept: Callable[[Checkpoints], None]) -> None:
        """Renew for as long as it can be done, with the checkpoints of the moment; `kept` hears what was
        written.

        Raises:
            LeaseLostError: somebody else has taken it.
        """
        while True:
            await self.renew(checkpoints, kept)
            await asyncio.sleep(RENEW_SECONDS)

    async def renew(
        self, checkpoints: Callable[[], Checkpoints], kept: Callable[[Checkpoints], None]
    ) -> None:
        """Renew once; see `keep`."""
        if self._held is None:
            raise LeaseLostError(f"Lease {self.name} is not held")
        started = time.monotonic()
        current = checkpoints()
        try:
            async with asyncio.timeout(DURATION_SECONDS / 2):
                try:
                    self._held = await self._write(self._held, current, acquire=False)
                except (ConflictError, NotFoundError):
                    await self._read_again()
                    return
        except (ApiError, TimeoutError) as exc:
            # Nobody else can have got an answer that we could see: go on until somebody takes it. Two leaders
            # that overlap do no harm, fold tells what was counted.
            log.warning("Lease not renewed, trying again", extra={"lease": self.name, "error": str(exc)})
            return
        self._renewed = started
        for kind, checkpoints_of in (("Signal", current.signals), ("Event", current.events)):
            least = min((each.resource_version for each in checkpoints_of.values()), default=0)
            CHECKPOINT_GAUGE.labels(shard=self._shard, kind=kind).set(least)
        kept(current)

    async def _read_again(self) -> None:
        lease = await self._read()
        holder = lease["spec"].get("holderIdentity") or ""
        # Nobody holds it if it was deleted by hand: it is made anew, and ours with the next renewal.
        if holder not in ("", self._identity):
            self._held = None
            LEADING.labels(shard=self._shard).set(0)
            raise LeaseLostError(f"Lease {self.name} was taken by {holder!r}")
        self._held = lease

    async def release(self, checkpoints: Checkpoints | None = None) -> None:
        """Leave the Lease to the next process at once, if it is ours; without checkpoints it keeps those it
        has.

        Errors are of no consequence: it runs out by itself.
        """
        self._held = None
        LEADING.labels(shard=self._shard).set(0)
        # It is read first: a write may have been under way when we stopped, whose answer we have not heard.
        for _ in range(RELEASES):
            try:
                lease = await self._read()
                if lease["spec"].get("holderIdentity") == self._identity:
                    await self._write(lease, checkpoints or Checkpoints(), acquire=False, holder="")
            except ConflictError:
                continue
            except ApiError as exc:
                log.debug("Lease not released", extra={"lease": self.name, "error": str(exc)})
            return

    async def _read(self) -> dict[str, Any]:
        try:
            return await self._client.get(f"{self._collection}/{self.name}")
        except NotFoundError:
            pass
        lease = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self.name, "namespace": self._namespace},
            "spec": {"holderIdentity": "", "leaseDurationSeconds": DURATION_SECONDS},
        }
        try:
            return await self._client.create(self._collection, lease)
        except AlreadyExistsError:
            return await self._client.get(f"{self._collection}/{self.name}")

    async def _write(
        self, lease: dict[str, Any], checkpoints: Checkpoints, *, acquire: bool, holder: str | None = None
    ) -> dict[str, Any]:
        now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        spec = dict(lease["spec"])
        spec |= {
            "holderIdentity": self._identity if holder is None else holder,
            "leaseDurationSeconds": DURATION_SECONDS,
            "renewTime": now,
        }
        if acquire:
            spec["acquireTime"] = now
            spec["leaseTransitions"] = (spec.get("leaseTransitions") or 0) + 1
        metadata = dict(lease["metadata"])
        # What it says of segments that are not ours any more stays.
        kept = checkpoints_of(lease)
        metadata["annotations"] = (metadata.get("annotations") or {}) | {
            SHARDS: self._shards,
            CHECKPOINTS: _encoded({**kept.signals, **checkpoints.signals}),
            EVENT_CHECKPOINTS: _encoded({**kept.events, **checkpoints.events}),
        }
        return await self._client.replace(
            f"{self._collection}/{self.name}", {**lease, "metadata": metadata, "spec": spec}
        )


def _encoded(checkpoints: Mapping[int, Checkpoint]) -> str:
    return orjson.dumps(
        {str(segment): (each.resource_version, each.created_before) for segment, each in checkpoints.items()}
    ).decode()


def _decoded(text: str | None) -> dict[int, Checkpoint]:
    """What `_encoded` wrote; nothing, if somebody else has written there."""
    try:
        return {
            int(segment): Checkpoint(max(0, int(version)), max(0, int(created)))
            for segment, (version, created) in orjson.loads(text or "{}").items()
        }
    except (ValueError, TypeError, AttributeError):
        log.error("the checkpoints of a Lease cannot be read: Signals are folded again", extra={"text": text})
        return {}


def checkpoints_of(lease: dict[str, Any]) -> Checkpoints:
    """What a Lease says of segments."""
    annotations = lease["metadata"].get("annotations") or {}
    return Checkpoints(_decoded(annotations.get(CHECKPOINTS)), _decoded(annotations.get(EVENT_CHECKPOINTS)))


def highest(found: Iterable[Checkpoints]) -> Checkpoints:
    """Of each segment the highest checkpoint: all of them are true."""
    signals: dict[int, Checkpoint] = {}
    events: dict[int, Checkpoint] = {}
    for checkpoints in found:
        for highest, those in ((signals, checkpoints.signals), (events, checkpoints.events)):
            for segment, checkpoint in those.items():
                highest[segment] = max(
                    highest.get(segment, checkpoint), checkpoint, key=lambda each: each.resource_version
                )
    return Checkpoints(signals, events)
