"""Folders and reconcilers that share Redis and this process; requests that are written at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from tests.harness.values import Nobody

from benchmarks.growth.load import policies
from stormfold.api.reasons.signals import SignalReason
from stormfold.api.signal import SignalPhase
from stormfold.fold.connection import Connection
from stormfold.fold.elsewhere import Elsewhere
from stormfold.fold.folder import Folder
from stormfold.fold.holding import Continuation, RequestPosition
from stormfold.fold.store import StormStore
from stormfold.model.arrival import Arrival, SignalRef, Verdict
from stormfold.model.group import PARTITIONS, PolicyId
from stormfold.model.opening import Opening
from stormfold.model.storm import Snapshot
from stormfold.policy.router import Router
from stormfold.policy.version import PolicyVersion
from stormfold.request.deciding import Reported
from stormfold.request.places import Places
from stormfold.request.reconciler import Reconciler
from stormfold.request.remediation import Phases
from stormfold.request.schedule import Schedule
from stormfold.request.writing import Outcome
from stormfold.sources.progress import Progress, Taken

UNDER_WAY = 20_000
"""Signals that are not durable yet, at most: with more, a busy machine takes longer than a signal may wait
before it is folded again."""
CHECKPOINT_SECONDS = 1.0
DURABLE = Verdict(SignalPhase.FOLDED, SignalReason.COUNTED, "counted")


class Written(NamedTuple):
    """A request that was written, as folders see it."""

    group_hash: str
    position: RequestPosition
    version: PolicyVersion
    namespace: str = ""
    closed: bool = False


class Requests:
    """In the place of the API server and what is known of it: each write is done at once, and each replica
    hears of it."""

    throttled = False

    def reported(self, *_: object) -> Reported:
        """Nothing."""
        return Reported()

    def __init__(self) -> None:
        self.folders: list[Folder] = []
        self.writes = 0
        self._held: dict[str, RequestPosition] = {}
        self._version = policies()[0]

    async def write(self, storm: Snapshot, *_: Any, **__: Any) -> Outcome:
        """The request holds the snapshot now."""
        self.writes += 1
        held = RequestPosition(storm.epoch, storm.incarnation, storm.folded, storm.origin)
        self._held[storm.group_hash] = held
        for folder in self.folders:
            folder.observed(Written(storm.group_hash, held, self._version))
        return Outcome.WRITTEN

    def position(self, group_hash: str, epoch: int) -> RequestPosition | None:
        """What a storm's request holds."""
        return self._held.get(group_hash)

    def continuation(self, group_hash: str) -> Continuation | None:
        """Nothing: Redis keeps all."""
        return None

    def holds(self, group_hash: str, arrival: Arrival) -> bool:
        """Nothing is read again."""
        return False

    def verdict(self, group_hash: str, epoch: int) -> Verdict:
        """What each signal is told."""
        return DURABLE

    def get(self, group_hash: str, epoch: int) -> Requests | None:
        """Whether there is a request, of which nobody has said anything."""
        return self if group_hash in self._held else None

    def told_others(self) -> str:
        """Nothing: its alerts share no cause with those of others."""
        return ""

    def over(self, group_hash: str) -> None:
        """No request is closed."""

    def latest(self, group_hash: str) -> None:
        """Asked only when Redis has lost something."""

    def opening(self, storm: Snapshot) -> Opening:
        """What opened a storm."""
        return Opening.decoded(storm.opening)

    def open_in(self, policy: PolicyId, namespace: str) -> Collection[str]:
        """None: there are as many places as storms."""
        return ()

    def update_gauges(self, now_ms: int) -> None:
        """There are none."""


class Replicas(Nobody):
    """Folders and reconcilers that share Redis, and this process: what they use is compared, not how fast
    they are."""

    def __init__(self, connections: Sequence[Connection]) -> None:
        self.progress = Progress()
        self.progress.begun()
        self.requests = Requests()
        self.concluded = 0
        self.done = asyncio.Event()
        self.room = asyncio.Event()
        self.room.set()
        self.awaited = 0
        self._taken: dict[int, Taken] = {}
        self.stores = [StormStore(connection, cluster="bench") for connection in connections]
        self.folders: list[Folder] = []
        self._reconcilers: list[Reconciler] = []
        for store, connection in zip(self.stores, connections, strict=True):
            self._connect(store, connection)
        self.requests.folders = self.folders

    def _connect(self, store: StormStore, connection: Connection) -> None:
        router = Router()
        router.update(policies(), in_use=())
        requests: Any = self.requests
        schedule = Schedule(store)
        folder = Folder(store, router, requests, schedule)
        reconciler = Reconciler(
            store,
            requests,
            requests,
            folder=folder,
            schedule=schedule,
            ingest=self,
            phases=Phases.of((), ()),
            router=router,
            places=Places(requests, router, deadlines=schedule, ingest=self, changed=asyncio.Event()),
            elsewhere=Elsewhere(connection),
        )
        self.folders.append(folder)
        self._reconcilers.append(reconciler)

    async def fence(self) -> None:
        """Begin at checkpoint 0, as a new leader does."""
        await self.stores[0].fence(range(PARTITIONS), self.progress.kept_version)

    def parts(self) -> list[asyncio.Task[None]]:
        """All that runs."""
        parts = [part for folder in self.folders for part in folder.parts().values()]
        parts += [reconciler.run() for reconciler in self._reconcilers]
        tasks = [asyncio.create_task(part) for part in (*parts, self._keep_checkpoint())]
        for task in tasks:
            task.add_done_callback(self._ended)
        return tasks

    def _ended(self, part: asyncio.Task[None]) -> None:
        """One has failed, since none ends by itself: nothing more comes to be durable."""
        self.room.set()
        self.done.set()

    def take(self, arrivals: Sequence[tuple[int, Arrival]]) -> None:
        """Note that they are to be counted, as the intake does."""
        now = int(time.time())
        for _, one in arrivals:
            assert isinstance(one.ref, SignalRef)
            version = one.ref.resource_version
            self._taken[version] = self.progress.take(version, generation=1, created=now)
            self.progress.reach(version)
        if len(self._taken) >= UNDER_WAY:
            self.room.clear()

    # --- as what is taken in

    leading = True

    def trim(self) -> int:
        """Up to where Redis may forget."""
        return self.progress.trim()

    def fenced(self) -> int:
        """Up to where all is durable."""
        return self.progress.kept_version

    def durable(self, arrival: Arrival, verdict: Verdict) -> None:
        """Its request holds it."""
        assert verdict is DURABLE, verdict
        assert isinstance(arrival.ref, SignalRef)
        self._taken.pop(arrival.ref.resource_version).durable = True
        self.concluded += 1
        if len(self._taken) < UNDER_WAY:
            self.room.set()
        if self.concluded == self.awaited:
            self.done.set()

    async def _keep_checkpoint(self) -> None:
        while True:
            await asyncio.sleep(CHECKPOINT_SECONDS)
            self.progress.kept(self.progress.checkpoint())
