"""Shard: takes in the Signals and Events of some segments, while its Lease is ours."""

import asyncio
from collections.abc import Awaitable, Callable

from stormfold.api.signal import Signal
from stormfold.enrich.enricher import Enricher
from stormfold.fold.folder import Folder
from stormfold.fold.patience import until_done
from stormfold.fold.store import StormStore
from stormfold.kube import paths
from stormfold.kube.client import KubeClient
from stormfold.kube.lease import Checkpoints, Lease
from stormfold.kube.listwatch import ListWatch
from stormfold.kube.recorder import Recorder
from stormfold.model.group import PARTITIONS
from stormfold.model.segment import segment
from stormfold.sources.events.stream import EventStream
from stormfold.sources.events.watch import EventWatch
from stormfold.sources.progress import ShardProgress
from stormfold.sources.signals.stream import Keeper, SignalStream


class Shard:
    """One ingest shard."""

    def __init__(
        self,
        client: KubeClient,
        store: StormStore,
        lease: Lease,
        segments: range,
        *,
        operator_namespace: str,
        enricher: Enricher,
        folder: Folder,
        keeper: Keeper,
        recorder: Recorder,
    ) -> None:
        self._store = store
        self._lease = lease
        self._segments = segments
        self._folder = folder
        self._signal_progress, self._event_progress = ShardProgress(segments), ShardProgress(segments)
        self._signals = SignalStream(
            self._signal_progress,
            lease,
            client=client,
            operator_namespace=operator_namespace,
            enricher=enricher,
            folder=folder,
            keeper=keeper,
            recorder=recorder,
        )
        self._events = EventStream(
            self._event_progress, lease, client=client, enricher=enricher, folder=folder
        )
        self._signal_watch = ListWatch(
            client,
            paths.collection(Signal.plural),
            kind="Signal",
            parse=self._signals.parse,
            takes=self._takes,
        )
        self._event_watch = EventWatch(client, self._events, takes=self._takes)
        self._begun = False
        self._taking: list[asyncio.Task[None]] = []

    def _takes(self, namespace: str) -> bool:
        return segment(namespace) in self._segments

    @property
    def leading(self) -> bool:
        """Whether the Lease is ours, with time left."""
        return self._lease.leading

    def not_ready(self) -> dict[str, str]:
        """What keeps the process from being ready."""
        if self._lease.leading:
            if not self._signal_watch.fresh:
                return {"watch": "the watch of Signals has heard nothing for 2 minutes"}
            if not self._signals.listed:
                return {"intake": "Signals have not been listed yet"}
        elif not self._lease.standing_by:
            return {"lease": "the API server does not answer, so somebody else may lead ingest"}
        return {}

    def want_events(self, wanted: bool) -> None:
        """Say whether a policy takes Events."""
        self._event_watch.want(wanted)

    def fenced(self) -> dict[int, int]:
        """Segment → the resourceVersion up to which all is durable, as our Lease says; nothing while it is
        not ours."""
        return self._signal_progress.kept_versions() if self._begun and self._lease.leading else {}

    def trim(self) -> dict[int, int]:
        """Segment → the resourceVersion up to which Redis may forget ids."""
        return self._signal_progress.trim() if self._begun else {}

    async def run(self, begins: Callable[[], Awaitable[None]]) -> None:
        """Wait for the Lease, begin where everything was durable, and take in until it is lost.

        `begins` is awaited when the Lease is ours and before anything is taken in.

        Raises:
            LeaseLostError: somebody else leads.
        """
        found = await self._lease.acquire()
        self._signal_progress.begin(found.signals)
        self._event_progress.begin(found.events)
        signals, events = self._signals, self._events
        async with asyncio.TaskGroup() as tasks:
            # First of all: what follows waits for Redis, and the Lease does not.
            tasks.create_task(self._lease.keep(self._checkpoints, self._kept), name="lease")
            await until_done(
                lambda: self._store.fence(range(PARTITIONS), self._signal_progress.kept_versions())
            )
            self._begun = True
            await begins()
            self._taking = [
                tasks.create_task(self._take_signals(), name="signals"),
                tasks.create_task(self._event_watch.run(), name="event-watch"),
                tasks.create_task(
                    signals.backlog.run(self._folder.capacity, signals.resume), name="signals-deferred"
                ),
                tasks.create_task(
                    events.backlog.run(self._folder.capacity, events.resume), name="events-deferred"
                ),
            ]

    def _checkpoints(self) -> Checkpoints:
        return Checkpoints(self._signal_progress.checkpoints(), self._event_progress.checkpoints())

    def _kept(self, checkpoints: Checkpoints) -> None:
        self._signal_progress.kept(checkpoints.signals)
        self._event_progress.kept(checkpoints.events)

    async def _take_signals(self) -> None:
        async for change in self._signal_watch.changes():
            await self._signals.take(change)

    def stop_taking(self) -> None:
        """Take nothing more in."""
        for task in self._taking:
            task.cancel()

    async def release(self) -> None:
        """Leave the Lease to the next process, with how far everything is durable; `run` must have ended."""
        await self._lease.release(self._checkpoints() if self._begun else None)
