"""A folder on a real Redis, without streams and without an API server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from tests.harness.eventually import eventually
from tests.harness.folding import CLUSTER, Group, signal
from tests.harness.values import T0

from stormfold.api.reason import Reason
from stormfold.api.reasons.signals import SignalReason
from stormfold.api.signal import SignalPhase
from stormfold.api.stormpolicy import PolicySpec
from stormfold.app import end_all
from stormfold.fold.connection import Connection
from stormfold.fold.folder import Folder
from stormfold.fold.holding import Continuation, RequestPosition
from stormfold.fold.store import StormStore
from stormfold.model.arrival import AlertRef, Arrival, Verdict
from stormfold.model.group import PolicyId
from stormfold.model.storm import Seed, Snapshot, TrackedAlert
from stormfold.policy.router import Router
from stormfold.policy.routing import Place
from stormfold.policy.version import PolicyVersion

POLICY = PolicyVersion(
    PolicyId("StormPolicy", "shop", "all"), "policy-uid", 1, PolicySpec(group_by=("name",))
)
OTHERS = PolicyVersion(PolicyId("StormPolicy", "ops", "all"), "others-uid", 1, PolicySpec())
"""That of another namespace."""
GROUP = POLICY.group(signal(1))
NOW = T0 * 2
"""Later than the folder's clock will be, which is that of the machine: whatever there is, is due."""


def alerts(first: int, last: int) -> list[Arrival]:
    """The alerts with these numbers, which began at the same time."""
    return [
        replace(signal(number), ref=AlertRef(number, T0 // 1000), fingerprint=f"alert-{number}")
        for number in range(first, last + 1)
    ]


def number_of(arrival: Arrival) -> int:
    """The resourceVersion, or the number of an alert."""
    return arrival.ref.index if isinstance(arrival.ref, AlertRef) else arrival.ref.resource_version


def counted_in(epoch: int) -> Verdict:
    """What a signal is told that is in the request of that epoch."""
    return Verdict(SignalPhase.FOLDED, SignalReason.COUNTED, f"storm {epoch}")


NOTHING = RequestPosition(1, "", 0, "")
"""What a request holds that says nothing yet."""


@dataclass(frozen=True)
class View:
    """A request, as a folder hears of it."""

    position: RequestPosition = NOTHING
    group_hash: str = GROUP.group_hash
    version: PolicyVersion = POLICY
    namespace: str = "shop"
    closed: bool = False


@asynccontextmanager
async def folding(url: str) -> AsyncIterator[tuple[StormStore, Callable[[Folder], None]]]:
    """A store on that Redis, and what lets a folder fold into it until the end."""
    connection = Connection.from_url(url)
    parts: set[asyncio.Task[None]] = set()

    def let_fold(folder: Folder) -> None:
        parts.update(asyncio.create_task(part, name=name) for name, part in folder.parts().items())

    try:
        yield StormStore(connection, cluster=CLUSTER), let_fold
    finally:
        await end_all(parts)
        await connection.close()


@dataclass(eq=False)
class World:
    """A folder, and all that it works with: the test says what requests hold. It is the source of what it
    submits."""

    store: StormStore
    policy: PolicyVersion = POLICY
    requests: dict[str, Continuation] = field(default_factory=dict)
    told: list[tuple[int, str]] = field(default_factory=list)
    """(resourceVersion or number of an alert, message) in the order of the telling."""
    folded_numbers: list[int] = field(default_factory=list)
    """The same of what Redis has counted, or knew."""
    delays: list[tuple[int, str]] = field(default_factory=list)
    """Who was told why the request cannot be written now."""
    pendings: list[tuple[int, Reason, str]] = field(default_factory=list)
    """Who was told why no request of its group is to be made so far."""
    expected: list[int] = field(default_factory=list)
    """Partitions that have something due."""
    held: RequestPosition | None = None
    renewals: dict[int, Arrival] = field(default_factory=dict)
    """resourceVersion → the signal as it is to be folded now."""

    def __post_init__(self) -> None:
        router = Router()
        router.update([self.policy, OTHERS], in_use=())
        self.folder = Folder(self.store, router, self, self)
        self.group = Group(self.store, GROUP.group_hash, POLICY.terms)

    # --- as the source of what it submits

    def current(self, arrival: Arrival) -> Arrival:
        """As it is to be folded now."""
        renewed = self.renewals.get(number_of(arrival))
        return replace(renewed, via=self) if renewed else arrival

    def folded(self, arrival: Arrival) -> None:
        """Redis has counted it."""
        self.folded_numbers.append(number_of(arrival))

    def delayed(self, arrival: Arrival, why: str) -> None:
        """Its request cannot be written now."""
        self.delays.append((number_of(arrival), why))

    def waits(self, arrival: Arrival, why: str) -> bool:
        """It is held until it is durable."""
        return False

    def pending(self, arrival: Arrival, reason: Reason, message: str) -> bool:
        """Its group has no request so far; an alert is answered."""
        self.pendings.append((number_of(arrival), reason, message))
        return isinstance(arrival.ref, AlertRef)

    def refused(self, arrival: Arrival, why: str) -> None:
        """Not of interest."""

    def durable(self, arrival: Arrival, verdict: Verdict) -> None:
        """A request holds it."""
        self.told.append((number_of(arrival), verdict.message))

    # --- as the index of requests

    def position(self, group_hash: str, epoch: int) -> RequestPosition | None:
        """How much the request of that epoch holds."""
        return self.held if self.held and self.held.epoch == epoch else None

    def continuation(self, group_hash: str) -> Continuation | None:
        """What the latest request says."""
        return self.requests.get(group_hash)

    def holds(self, group_hash: str, arrival: Arrival) -> bool:
        """Nothing is read again."""
        return False

    def listed_in(self, alert: Arrival) -> Place | None:
        """No request lists an alert."""
        return None

    def verdict(self, group_hash: str, epoch: int) -> Verdict:
        """What a signal is told that is in the request of that epoch."""
        return counted_in(epoch)

    # --- as the schedule

    def expect(self, number: int, due_ms: int) -> None:
        """A partition has something due."""
        self.expected.append(number)

    # --- what a test does

    def through(self, *arrivals: Arrival) -> list[Arrival]:
        """The arrivals, as they come through this."""
        return [replace(arrival, via=self) for arrival in arrivals]

    async def take(
        self, arrival: Arrival, waits: Callable[[str], bool] = lambda namespace: False
    ) -> str | None:
        """Hand a signal in, whether it is taken or not."""
        return await self.folder.submit(replace(arrival, via=self), waits)

    async def submit(self, *arrivals: Arrival) -> None:
        """Hand signals in and wait until they are folded."""
        for arrival in arrivals:
            await self.take(arrival)
        await self.idle()

    async def idle(self) -> None:
        """Wait until nothing waits for its fold."""
        await eventually(lambda: self.folder.idle, what="all is folded")

    async def storm(self) -> Snapshot | None:
        """What Redis has."""
        await self.store.make_due([GROUP.group_hash], now_ms=0)
        storms = await self.store.claim(GROUP.partition, [GROUP.group_hash], now_ms=NOW)
        return storms[0] if storms else None

    async def counted(self) -> tuple[int, int]:
        """Epoch and total of what Redis has, (0, 0) if nothing."""
        storm = await self.storm()
        return (storm.epoch, storm.total) if storm else (0, 0)

    def request_says(self, seed: Seed) -> None:
        """Let the index hold a request."""
        opening = POLICY.opening(GROUP, signal(1)).encoded()
        self.requests[GROUP.group_hash] = Continuation(seed, POLICY, opening)

    async def incarnation(self) -> str:
        """The storm's incarnation in Redis."""
        storm = await self.storm()
        assert storm is not None
        return storm.incarnation

    def observe(self, epoch: int, folded: int, incarnation: str, origin: str = "") -> None:
        """Let the folder see that a request holds so much of that incarnation."""
        self.held = RequestPosition(epoch, incarnation, folded, origin)
        self.folder.observed(View(self.held))

    def mark_stale(self, incarnation: str) -> None:
        """Let the folder know that what Redis has does not descend from the request."""
        self.folder.mark_stale(View(), incarnation)

    async def written(self, epoch: int, folded: int) -> None:
        """Let the folder see that a request holds so much of what is in Redis."""
        self.observe(epoch, folded, await self.incarnation())

    async def freeze(self) -> Snapshot:
        """Begin to close the storm."""
        storm = await self.storm()
        assert storm is not None
        _, frozen = await self.store.freeze(
            storm, reason="MAX_DURATION_REACHED", expected_folded=None, now_ms=NOW
        )
        assert frozen is not None
        return frozen


def of_alerts(number: int, incarnation: str) -> Seed:
    """What a request says that holds so many alerts of an incarnation."""
    return Seed(
        epoch=1,
        closed=False,
        incarnation=incarnation,
        total=number,
        folded=number,
        firing=number,
        alerts=number,
        tracked_alerts=[
            TrackedAlert(alert.occurrence, T0 // 1000, firing=True) for alert in alerts(1, number)
        ],
    )


@asynccontextmanager
async def running(url: str, policy: PolicyVersion = POLICY) -> AsyncIterator[World]:
    """A world that folds into that Redis."""
    async with folding(url) as (store, let_fold):
        world = World(store, policy)
        let_fold(world.folder)
        yield world
