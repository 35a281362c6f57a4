"""Shard: takes in the Signals and Events of some segments, while its Lease is ours."""

import asyncio
from collections.abc import Awaitable, Callable

from stormfold.api.signal import Signal
from stormfold.fold.patience import until_done
from stormfold.fold.store import StormStore
from stormfold.intake.checkpoint import ShardProgress
from stormfold.intake.events import EventIntake, EventParser, EventWatch, SeenEvent
from stormfold.intake.listwatch import ListWatch
from stormfold.intake.rest import Left, Rest
from stormfold.intake.signals import Seen, SignalIntake, SignalParser
from stormfold.kube import paths
from stormfold.kube.client import KubeClient
from stormfold.kube.lease import Checkpoints, Lease
from stormfold.model.arrival import Arrival, SignalRef, Verdict
from stormfold.model.group import PARTITIONS
from stormfold.model.segment import segment


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
        begins: Callable[[], Awaitable[None]],
        room: Callable[[str], int],
        submit: Callable[[Arrival, Callable[[str], bool]], Awaitable[str | None]],
        held_back: Callable[[str, Left], None],
        concluded: Callable[[SignalRef, Verdict], None],
        kept: Callable[[Seen], None],
        changed: Callable[[SignalRef], None],
        deleted: Callable[[str], None],
    ) -> None:
        """Connect the shard.

        `begins` is awaited when the Lease is ours and before anything is taken in. `room` gives how much a namespace
        has, `held_back` hears of the first Signal for which one has none; for the rest see `SignalIntake`.
        """
        self._store = store
        self._lease = lease
        self._segments = segments
        self._signal_progress, self._event_progress = ShardProgress(segments), ShardProgress(segments)
        self._begins = begins
        self._room = room
        parse = SignalParser(operator_namespace)
        self._signals = ListWatch(
            client, paths.collection(Signal.plural), kind="Signal", parse=parse, takes=self._takes
        )
        self._rest: Rest[Seen] = Rest(
            client,
            kind="Signal",
            collection=lambda namespace: paths.collection(Signal.plural, namespace),
            parse=parse,
            held_back=held_back,
        )
        self.signals = SignalIntake(
            self._signal_progress,
            submit=submit,
            rest=self._rest,
            concluded=concluded,
            kept=kept,
            changed=changed,
            deleted=deleted,
        )
        self._event_rest: Rest[SeenEvent] = Rest(
            client, kind="Event", collection=paths.events, parse=EventParser()
        )
        self.events = EventIntake(self._event_progress, submit=submit, rest=self._event_rest)
        self._event_watch = EventWatch(client, self.events, takes=self._takes)
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
            if not self._signals.fresh:
                return {"watch": "the watch of Signals has heard nothing for 2 minutes"}
            if not self.signals.listed:
                return {"intake": "Signals have not been listed yet"}
        elif not self._lease.standing_by:
            return {"lease": "the API server does not answer, so somebody else may lead ingest"}
        return {}

    def want_events(self, wanted: bool) -> None:
        """Say whether a policy takes Events."""
        self._event_watch.want(wanted)

    def fenced(self) -> dict[int, int]:
        """Segment → the resourceVersion up to which all is safe, as our Lease says; nothing while it is not ours."""
        return self._signal_progress.kept_versions() if self._begun and self._lease.leading else {}

    def trim(self) -> dict[int, int]:
        """Segment → the resourceVersion up to which Redis may forget ids."""
        return self._signal_progress.trim() if self._begun else {}

    async def run(self) -> None:
        """Wait for the Lease, begin where everything was safe, and take in until it is lost.

        Raises:
            LeaseLostError: somebody else leads.
        """
        found = await self._lease.acquire()
        self._signal_progress.begin(found.signals)
        self._event_progress.begin(found.events)
        async with asyncio.TaskGroup() as tasks:
            # First of all: what follows waits for Redis, and the Lease does not.
            tasks.create_task(self._lease.keep(self._checkpoints, self._kept), name="lease")
            await until_done(
                lambda: self._store.fence(range(PARTITIONS), self._signal_progress.kept_versions())
            )
            self._begun = True
            await self._begins()
            self._taking = [
                tasks.create_task(self._take_signals(), name="signals"),
                tasks.create_task(self._event_watch.run(), name="event-watch"),
                tasks.create_task(self._rest.run(self._room, self.signals.retake), name="signals-held-back"),
                tasks.create_task(
                    self._event_rest.run(self._room, self.events.retake), name="events-held-back"
                ),
            ]

    def _checkpoints(self) -> Checkpoints:
        return Checkpoints(self._signal_progress.checkpoints(), self._event_progress.checkpoints())

    def _kept(self, checkpoints: Checkpoints) -> None:
        self._signal_progress.kept(checkpoints.signals)
        self._event_progress.kept(checkpoints.events)

    async def _take_signals(self) -> None:
        async for change in self._signals.changes():
            await self.signals.take(change)

    def stop_taking(self) -> None:
        """Take nothing more in."""
        for task in self._taking:
            task.cancel()

    async def release(self) -> None:
        """Leave the Lease to the next process, with how far everything is safe; `run` must have ended."""
        await self._lease.release(self._checkpoints() if self._begun else None)
