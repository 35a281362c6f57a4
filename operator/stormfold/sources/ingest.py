"""Ingest: takes in Signals and Events while the Lease is ours. One replica does, for all."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Protocol

from stormfold.api.signal import Signal
from stormfold.enrich.enricher import Enricher
from stormfold.fold.folder import Folder
from stormfold.fold.patience import until_done
from stormfold.fold.store import StormStore
from stormfold.kube import paths
from stormfold.kube.client import KubeClient
from stormfold.kube.lease import Lease
from stormfold.kube.listwatch import ListWatch
from stormfold.kube.recorder import Recorder
from stormfold.model.checkpoint import Checkpoints
from stormfold.model.group import PARTITIONS
from stormfold.settings import Settings
from stormfold.sources.events.stream import EventStream
from stormfold.sources.events.watch import EventWatch
from stormfold.sources.progress import Progress
from stormfold.sources.signals.stream import Keeper, SignalStream


class Deadlines(Protocol):
    """Who looks at storms."""

    async def take_over(self) -> None:
        """Look at once at what the last leader may have claimed."""


class Ingest:
    """The Lease, the two streams that it is about, and how far each is durable."""

    def __init__(
        self,
        client: KubeClient,
        store: StormStore,
        settings: Settings,
        *,
        enricher: Enricher,
        folder: Folder,
        keeper: Keeper,
        recorder: Recorder,
        deadlines: Deadlines,
        policies_changed: asyncio.Event,
        first_leader: Callable[[str], None],
    ) -> None:
        """`policies_changed` is set when this process begins to lead, and when it leads again: who leads
        writes what becomes of policies. `first_leader` hears once who leads, when that is first known."""
        self._store = store
        self._folder = folder
        self._deadlines = deadlines
        self._policies_changed = policies_changed
        self._lease = Lease(
            client,
            namespace=settings.namespace,
            identity=settings.identity,
            first=first_leader,
            again=policies_changed.set,
        )
        self._signal_progress, self._event_progress = Progress(), Progress()
        self._signals = SignalStream(
            self._signal_progress,
            client=client,
            operator_namespace=settings.namespace,
            enricher=enricher,
            folder=folder,
            keeper=keeper,
            recorder=recorder,
        )
        self._events = EventStream(self._event_progress, client=client, enricher=enricher, folder=folder)
        self._signal_watch = ListWatch(
            client, paths.collection(Signal.plural), kind="Signal", parse=self._signals.parse
        )
        self._event_watch = EventWatch(client, self._events)
        self._begun = False
        self._taking: list[asyncio.Task[None]] = []

    def parts(self) -> dict[str, Coroutine[None, None, None]]:
        """What runs for ever, by name."""
        return {"ingest": self._run()}

    @property
    def leading(self) -> bool:
        """Whether the Lease is ours, with time left: this process speaks for all."""
        return self._lease.leading

    @property
    def caught_up(self) -> bool:
        """Whether this process leads and has routed all that an earlier leader may have counted."""
        events_read = self._events.listed or not self._event_watch.wanted
        deferred = len(self._signals.backlog) + len(self._events.backlog)
        return self._lease.leading and self._signals.listed and events_read and not deferred

    def not_ready(self) -> dict[str, str]:
        """What keeps the process from being ready."""
        if self._lease.leading:
            if not self._signal_watch.fresh:
                return {"watch": "the watch of Signals has heard nothing for 2 minutes"}
            if not self._signals.listed:
                return {"intake": "Signals have not been listed yet"}
        elif not self._lease.standing_by:
            return {"lease": "the Lease cannot be read, so somebody else may lead ingest"}
        return {}

    def want_events(self, wanted: bool) -> None:
        """Say whether a policy takes Events."""
        self._event_watch.want(wanted)

    def fenced(self) -> int | None:
        """The resourceVersion up to which all Signals are durable, as our Lease says; None while it is not
        ours."""
        return self._signal_progress.kept_version if self._begun and self._lease.leading else None

    def trim(self) -> int:
        """The resourceVersion up to which Redis may forget ids; 0 is none."""
        return self._signal_progress.trim() if self._begun else 0

    async def _run(self) -> None:
        """Wait for the Lease, begin where all was durable, and take in until it is lost.

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
            await until_done(lambda: self._store.fence(range(PARTITIONS), self._signal_progress.kept_version))
            self._begun = True
            await self._take_over()
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

    async def _take_over(self) -> None:
        """Look after what the last leader left."""
        group_hashes = await until_done(self._store.open_groups)
        self._folder.adopt(group_hashes, ())
        await until_done(self._deadlines.take_over)
        self._policies_changed.set()

    def _checkpoints(self) -> Checkpoints:
        return Checkpoints(self._signal_progress.checkpoint(), self._event_progress.checkpoint())

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
        """Leave the Lease to the next process, with how far all is durable; `parts` must have ended."""
        await self._lease.release(self._checkpoints() if self._begun else None)
