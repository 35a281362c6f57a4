"""Lease: which process leads an ingest shard, and how far everything is safe.

The rules of client-go's leader election: a holder is obeyed until its Lease has not changed for its duration by our
own clock, so clocks need not agree. The checkpoint rides on each renewal.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from prometheus_client import Gauge

from stormfold.kube import paths
from stormfold.kube.client import KubeClient
from stormfold.kube.errors import AlreadyExistsError, ApiError, ConflictError, NotFoundError, RefusedError

log = logging.getLogger(__name__)

CHECKPOINT = "stormfold.dev/checkpoint"
"""Annotation: the resourceVersion up to which every Signal of the shard is safe."""
CREATED_BEFORE = "stormfold.dev/checkpoint-created-before"
"""Annotation: Signals created before this time, by the API server's clock, have a resourceVersion up to the checkpoint
at their creation, in Unix seconds."""
EVENT_CHECKPOINT = "stormfold.dev/event-checkpoint"
EVENT_CREATED_BEFORE = "stormfold.dev/event-checkpoint-created-before"
"""Annotations: the same for Events."""
DURATION_SECONDS = 4
"""How long a Lease is obeyed without a sign of its holder: an upper bound of the fail-over time."""
RENEW_SECONDS = 1.0
"""How often it is renewed, and so how often the checkpoint is kept."""
RELEASES = 3
"""How often a release is tried that something else has come before."""

LEADING = Gauge("stormfold_ingest_leading", "1 while this process leads an ingest shard.", ["shard"])
CHECKPOINT_GAUGE = Gauge(
    "stormfold_checkpoint_resource_version",
    "The checkpoint of Signals, or of Events, as last written.",
    ["shard", "kind"],
)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far an ingest shard is safe."""

    resource_version: int = 0
    created_before: int = 0
    """Unix seconds; see `CREATED_BEFORE`."""


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """How far each stream of an ingest shard is safe; resourceVersions of two streams cannot be compared."""

    signals: Checkpoint = Checkpoint()
    events: Checkpoint = Checkpoint()


class LeaseLostError(Exception):
    """Another process leads, or may lead: stop leading."""


class Lease:
    """The Lease of one ingest shard."""

    def __init__(self, client: KubeClient, *, namespace: str, shard: int, identity: str) -> None:
        self._client = client
        self._collection = paths.leases(namespace)
        self._namespace = namespace
        self.name = f"stormfold-ingest-{shard}"
        self._shard = str(shard)
        self._identity = identity
        self._held: dict[str, Any] | None = None
        self._renewed = 0.0
        self._obeyed = -math.inf

    @property
    def leading(self) -> bool:
        """Whether the Lease is ours, with time left."""
        return self._held is not None and time.monotonic() - self._renewed < DURATION_SECONDS

    @property
    def standing_by(self) -> bool:
        """Whether somebody else holds the Lease, and we would notice if that ended."""
        return self._held is None and time.monotonic() - self._obeyed < DURATION_SECONDS

    async def acquire(self) -> Checkpoints:
        """Wait until the Lease is ours; gives the checkpoints that the last holder left."""
        seen: tuple[Any, ...] = ()
        since = 0.0
        while True:
            try:
                lease = await self._read()
                spec = lease["spec"]
                holder = spec.get("holderIdentity") or ""
                mark = (holder, spec.get("renewTime"), lease["metadata"].get("resourceVersion"))
                if mark != seen:
                    if holder not in ("", self._identity, *seen[:1]):
                        log.info("waiting for the Lease", extra={"lease": self.name, "holder": holder})
                    seen, since = mark, time.monotonic()
                duration = spec.get("leaseDurationSeconds") or DURATION_SECONDS
                if holder in ("", self._identity) or time.monotonic() - since > duration:
                    started = time.monotonic()
                    checkpoints = _checkpoints(lease)
                    self._held = await self._write(lease, checkpoints, acquire=True)
                    self._renewed = started
                    LEADING.labels(shard=self._shard).set(1)
                    log.info(
                        "leading ingest",
                        extra={"lease": self.name, "checkpoint": checkpoints.signals.resource_version},
                    )
                    return checkpoints
                self._obeyed = time.monotonic()
            except RefusedError:
                raise
            except ApiError as exc:
                log.debug("Lease not acquired", extra={"lease": self.name, "error": str(exc)})
            await asyncio.sleep(RENEW_SECONDS / 2)

    async def keep(self, checkpoints: Callable[[], Checkpoints], kept: Callable[[Checkpoints], None]) -> None:
        """Renew for as long as it can be done, with the checkpoints of the moment; `kept` hears what was written.

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
            # Nobody else can have got an answer that we could see: go on until somebody takes it. Two leaders that
            # overlap do no harm, fold tells what was counted.
            log.warning("Lease not renewed, trying again", extra={"lease": self.name, "error": str(exc)})
            return
        self._renewed = started
        for kind, checkpoint in (("Signal", current.signals), ("Event", current.events)):
            CHECKPOINT_GAUGE.labels(shard=self._shard, kind=kind).set(checkpoint.resource_version)
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
        """Leave the Lease to the next process at once, if it is ours; without checkpoints it keeps those it has.

        Errors are of no consequence: it runs out by itself.
        """
        self._held = None
        LEADING.labels(shard=self._shard).set(0)
        # It is read first: a write may have been under way when we stopped, whose answer we have not heard.
        for _ in range(RELEASES):
            try:
                lease = await self._read()
                if lease["spec"].get("holderIdentity") == self._identity:
                    await self._write(lease, checkpoints or _checkpoints(lease), acquire=False, holder="")
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
        metadata["annotations"] = (metadata.get("annotations") or {}) | {
            CHECKPOINT: str(checkpoints.signals.resource_version),
            CREATED_BEFORE: str(checkpoints.signals.created_before),
            EVENT_CHECKPOINT: str(checkpoints.events.resource_version),
            EVENT_CREATED_BEFORE: str(checkpoints.events.created_before),
        }
        return await self._client.replace(
            f"{self._collection}/{self.name}", {**lease, "metadata": metadata, "spec": spec}
        )


def _checkpoints(lease: dict[str, Any]) -> Checkpoints:
    annotations = lease["metadata"].get("annotations") or {}

    def number(name: str) -> int:
        text = annotations.get(name, "")
        return int(text) if text.isascii() and text.isdigit() else 0

    return Checkpoints(
        Checkpoint(number(CHECKPOINT), number(CREATED_BEFORE)),
        Checkpoint(number(EVENT_CHECKPOINT), number(EVENT_CREATED_BEFORE)),
    )
