"""Lease: which process leads ingest, and how far everything is durable.

The rules of client-go's leader election: a holder is obeyed until its Lease has not changed for its duration
by our own clock, so clocks need not agree. The checkpoints ride on each renewal.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import orjson
from prometheus_client import Gauge

from stormfold.kube import paths
from stormfold.kube.client import KubeClient
from stormfold.kube.errors import (
    AlreadyExistsError,
    ApiError,
    ApiUnavailableError,
    ConflictError,
    NotFoundError,
    RefusedError,
)
from stormfold.model.checkpoint import Checkpoint, Checkpoints
from stormfold.model.seldom import Seldom

log = logging.getLogger(__name__)

NAME = "stormfold-ingest"
CHECKPOINT = "stormfold.dev/checkpoint"
"""Annotation: the two numbers of the `Checkpoint` of Signals, as JSON."""
EVENT_CHECKPOINT = "stormfold.dev/event-checkpoint"
"""Annotation: the same for Events."""
DURATION_SECONDS = 3
"""How long a Lease is obeyed without a sign of its holder: an upper bound of the fail-over time."""
LONGEST_SECONDS = 15.0
"""However long a Lease says that it is to be obeyed, it is for so long, or nobody might ever lead again."""
MOST_TRANSITIONS = 2**31 - 1
"""The highest number that the API server takes."""
RENEW_SECONDS = 1.0
"""How often it is renewed, and so how often the checkpoint is kept."""
TELL_SECONDS = 60.0
"""How often the log says that it may not be read."""
RELEASES = 3
"""How often a release is tried that something else has come before."""

LEADING = Gauge("stormfold_ingest_leading", "1 while this process takes in Signals and Events.")
CHECKPOINT_GAUGE = Gauge(
    "stormfold_checkpoint_resource_version",
    "The checkpoint of Signals, or Events, as last written.",
    ["kind"],
)


class LeaseLostError(Exception):
    """Another process leads, or may lead: stop leading."""


class Lease:
    """The Lease of whoever takes in Signals and Events."""

    def __init__(
        self,
        client: KubeClient,
        *,
        namespace: str,
        identity: str,
        first: Callable[[str], None],
        again: Callable[[], None],
    ) -> None:
        """`first` hears once who leads, when that is first known. `again` is called when we lead again, after
        a time in which the Lease had run out and nobody had taken it."""
        self._client = client
        self._again = again
        self._first: Callable[[str], None] | None = first
        self._collection = paths.leases(namespace)
        self._path = f"{self._collection}/{NAME}"
        self._namespace = namespace
        self._identity = identity
        self._held: dict[str, Any] | None = None
        self._renewed = 0.0
        self._waited = -math.inf
        self._has_read = False
        """Whether it could ever be read."""
        self._told = Seldom()
        LEADING.set(0)
        self._seen: tuple[tuple[Any, ...], float] = (), 0.0
        """How it was last read, and since when it is so, by the monotonic clock."""

    @property
    def leading(self) -> bool:
        """Whether the Lease is ours, with time left."""
        return self._held is not None and time.monotonic() - self._renewed < DURATION_SECONDS

    @property
    def standing_by(self) -> bool:
        """Whether we wait for the Lease, and would notice if it became ours to take."""
        return self._held is None and time.monotonic() - self._waited < DURATION_SECONDS

    async def acquire(self) -> Checkpoints:
        """Wait until the Lease is ours; gives the checkpoints that it carries.

        Raises:
            RefusedError: we may not write it, or not read it and never could. An API server that begins
                refuses us for a moment.
        """
        while True:
            left = RENEW_SECONDS / 2
            try:
                lease = await self._read_while_waiting()
                left = self._time_left(lease)
                if left <= 0:
                    return await self._take(lease)
                self._waited = time.monotonic()
            except RefusedError:
                raise
            except ApiError as exc:
                # Its holder could not be seen, nor renew: it has its full time again.
                self._seen = (), 0.0
                log.debug("Lease not acquired", extra={"error": str(exc)})
            await asyncio.sleep(min(left, RENEW_SECONDS / 2))

    async def _read_while_waiting(self) -> dict[str, Any]:
        """It, as it is; a refusal is no answer once it was read."""
        try:
            lease = await self._read()
        except RefusedError as exc:
            if not self._has_read:
                raise
            if self._told.tells(TELL_SECONDS):
                log.warning("Lease not read, trying again", extra={"lease": NAME, "error": str(exc)})
            raise ApiUnavailableError("reading the Lease", exc.status, exc.reason, exc.message) from exc
        self._has_read = True
        return lease

    def _time_left(self, lease: dict[str, Any]) -> float:
        """For how many seconds somebody else is to be obeyed still, as far as is known by now."""
        spec = lease["spec"]
        holder = spec.get("holderIdentity") or ""
        if holder in ("", self._identity):
            return 0.0
        state = (holder, spec.get("renewTime"), lease["metadata"].get("resourceVersion"))
        before, since = self._seen
        if state != before:
            self._tell(holder)
            if holder not in before[:1]:
                log.info("waiting for the Lease", extra={"lease": NAME, "holder": holder})
            self._seen = state, (since := time.monotonic())
        lasts = min(spec.get("leaseDurationSeconds") or DURATION_SECONDS, LONGEST_SECONDS)
        return since + lasts - time.monotonic()

    async def _take(self, lease: dict[str, Any]) -> Checkpoints:
        started = time.monotonic()
        self._held = await self._write(lease, None, acquire=True)
        self._renewed = started
        LEADING.set(1)
        self._tell(self._identity)
        log.info("leading ingest", extra={"lease": NAME})
        return checkpoints_of(lease)

    def _tell(self, leader: str) -> None:
        first, self._first = self._first, None
        if first:
            first(leader)

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
            raise LeaseLostError(f"Lease {NAME} is not held")
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
            log.warning("Lease not renewed, trying again", extra={"lease": NAME, "error": str(exc)})
            return
        had_run_out = not self.leading
        self._renewed = started
        for kind, checkpoint in (("Signal", current.signals), ("Event", current.events)):
            CHECKPOINT_GAUGE.labels(kind=kind).set(checkpoint.resource_version)
        kept(current)
        if had_run_out:
            self._again()

    async def _read_again(self) -> None:
        lease = await self._read()
        holder = lease["spec"].get("holderIdentity") or ""
        # Nobody holds it if it was deleted by hand: it is made anew, and ours with the next renewal.
        if holder not in ("", self._identity):
            self._held = None
            LEADING.set(0)
            raise LeaseLostError(f"Lease {NAME} was taken by {holder!r}")
        self._held = lease

    async def release(self, checkpoints: Checkpoints | None = None) -> None:
        """Leave the Lease to the next process at once, if it is ours; without checkpoints it keeps those it
        has.

        Errors are of no consequence: it runs out by itself.
        """
        self._held = None
        LEADING.set(0)
        # It is read first: a write may have been under way when we stopped, whose answer we have not heard.
        for _ in range(RELEASES):
            try:
                lease = await self._read()
                if lease["spec"].get("holderIdentity") == self._identity:
                    await self._write(lease, checkpoints, acquire=False, holder="")
            except ConflictError:
                continue
            except ApiError as exc:
                log.debug("Lease not released", extra={"lease": NAME, "error": str(exc)})
            return

    async def _read(self) -> dict[str, Any]:
        try:
            return await self._client.get(self._path)
        except NotFoundError:
            pass
        lease = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": NAME, "namespace": self._namespace},
            "spec": {"holderIdentity": "", "leaseDurationSeconds": DURATION_SECONDS},
        }
        try:
            return await self._client.create(self._collection, lease)
        except AlreadyExistsError:
            return await self._client.get(self._path)

    async def _write(
        self,
        lease: dict[str, Any],
        checkpoints: Checkpoints | None,
        *,
        acquire: bool,
        holder: str | None = None,
    ) -> dict[str, Any]:
        """Without checkpoints it keeps those that it has."""
        now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        spec = dict(lease["spec"])
        spec |= {
            "holderIdentity": self._identity if holder is None else holder,
            "leaseDurationSeconds": DURATION_SECONDS,
            "renewTime": now,
        }
        if acquire:
            spec["acquireTime"] = now
            spec["leaseTransitions"] = min((spec.get("leaseTransitions") or 0) + 1, MOST_TRANSITIONS)
        metadata = dict(lease["metadata"])
        if checkpoints:
            metadata["annotations"] = (metadata.get("annotations") or {}) | {
                CHECKPOINT: encoded(checkpoints.signals),
                EVENT_CHECKPOINT: encoded(checkpoints.events),
            }
        return await self._client.replace(self._path, {**lease, "metadata": metadata, "spec": spec})


def encoded(checkpoint: Checkpoint) -> str:
    return orjson.dumps((checkpoint.resource_version, checkpoint.created_before)).decode()


def _decoded(text: str | None) -> Checkpoint:
    """What `encoded` wrote; nothing, if somebody else has written there."""
    if text is None:
        return Checkpoint()
    try:
        match orjson.loads(text):
            case [int(version), int(created)]:
                return Checkpoint(max(0, version), max(0, created))
    except ValueError:
        pass
    log.error("the checkpoint of the Lease cannot be read: all Signals are read again", extra={"text": text})
    return Checkpoint()


def checkpoints_of(lease: dict[str, Any]) -> Checkpoints:
    """What the Lease says."""
    annotations = lease["metadata"].get("annotations") or {}
    return Checkpoints(_decoded(annotations.get(CHECKPOINT)), _decoded(annotations.get(EVENT_CHECKPOINT)))
