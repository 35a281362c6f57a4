"""Queue: arrivals that wait for their fold, one lane a partition, within the share of their request's
namespace."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable

from prometheus_client import Gauge

from stormfold.fairness import FairShare
from stormfold.fold.holding import InFlight, Storm
from stormfold.fold.storms import Storms
from stormfold.model.arrival import Arrival, Verdict
from stormfold.model.group import PARTITIONS, partition
from stormfold.policy.router import Router
from stormfold.policy.routing import Routed

TURN = 32
"""Signals that a group has in a batch before the next group has its turn."""
MAX_HELD = 50_000
"""The most signals that are kept here, half of them for one namespace: what is beyond waits where it came
from. One with long texts counts as several: see `Arrival.places`."""

MAX_PENDING = 10_000
"""The most places that pending alerts take beside those, half of them for one namespace. An alert beyond that
is known to Redis alone."""

IN_FLIGHT = Gauge("stormfold_signals_in_flight", "Signals that were taken in and that no request holds yet.")
PENDING = Gauge(
    "stormfold_alerts_pending",
    "Alerts that were answered as pending: their group needs no request so far.",
)


class Lane:
    """What waits in one partition. One batch is under way at a time, so each group keeps its order; groups
    take turns."""

    def __init__(self) -> None:
        self.waiting: dict[str, deque[Routed]] = {}
        """group_hash → what waits, the group whose turn is next first."""
        self.under_way: list[Routed] = []
        """What is being folded."""
        self.again: set[str] = set()
        """Storms to be looked at even without a new signal."""
        self.work = asyncio.Event()

    def add(self, routed: Routed) -> None:
        """Put an arrival behind those of its group."""
        self.waiting.setdefault(routed.group.group_hash, deque()).append(routed)
        self.work.set()

    def take(self, limit: int) -> list[Routed]:
        """The next arrivals, up to `TURN` of each group in its turn."""
        taken: list[Routed] = []
        while self.waiting and len(taken) < limit:
            group_hash = next(iter(self.waiting))
            waiting = self.waiting.pop(group_hash)
            taken += [waiting.popleft() for _ in range(min(TURN, limit - len(taken), len(waiting)))]
            if waiting:
                self.waiting[group_hash] = waiting
        return taken


class Queue:
    """Routes arrivals to their groups and keeps them until they are folded and durable.

    There is room for so many and no more. It is shared out by the namespace of the request, which all signals
    of a group have in common: where requests cannot be made, signals pile up, and another namespace must not
    wait for that.
    """

    def __init__(self, router: Router, storms: Storms) -> None:
        self._router = router
        self._storms = storms
        self._share = FairShare[str](MAX_HELD)
        self._pending_share = FairShare[str](MAX_PENDING)
        self._held = self._pending = 0
        """How many arrivals are held, and how many of them are pending."""
        self.lanes = [Lane() for _ in range(PARTITIONS)]

    def capacity(self, namespace: str) -> int:
        """How many more signals are taken whose requests are made in the namespace."""
        return self._share.free(namespace)

    def take(self, arrival: Arrival, waits: Callable[[str], bool]) -> str | None:
        """Route an arrival and queue it. Gives the namespace of its request if that has no room, or if others
        of it wait before: then nothing is kept."""
        routed = self._router.route(arrival, self._storms)
        if isinstance(routed, Verdict):
            arrival.via.durable(arrival, routed)
            return None
        namespace = routed.group.request_namespace
        if waits(namespace) or not self._share.free(namespace):
            return namespace
        self.add(routed)
        return None

    def take_again(self, arrivals: Iterable[Arrival]) -> None:
        """Route anew what has waited for a storm to close: the next one opens under the policies of its own
        time."""
        for arrival in arrivals:
            routed = self._router.route(arrival, self._storms)
            if isinstance(routed, Verdict):
                arrival.via.durable(arrival, routed)
            else:
                self.add(routed)
        self.note()

    def add(self, routed: Routed) -> None:
        """Queue an arrival, also beyond what there is room for."""
        group = routed.group
        storm = self._storms.get(group.group_hash)
        if storm is None:
            storm = self._storms.open(group.group_hash, routed.version, group.request_namespace)
        elif storm.version is None:
            storm.version, storm.namespace = routed.version, group.request_namespace
        storm.queued += 1
        self._share.take(group.request_namespace, routed.original.places)
        self._held += 1
        self.lanes[group.partition].add(routed)

    def take_back(self, storm: Storm) -> list[Arrival]:
        """What waits of a storm's group; it is not queued any more."""
        waiting = self.lanes[partition(storm.group_hash)].waiting.pop(storm.group_hash, ())
        storm.queued -= len(waiting)
        return [self.give_back(InFlight(routed)) for routed in waiting]

    def give_back(self, item: InFlight) -> Arrival:
        """The arrival as it came; its place is free."""
        arrival = item.routed.original
        share = self._pending_share if item.pending else self._share
        share.give(item.routed.group.request_namespace, arrival.places)
        self._held -= 1
        self._pending -= item.pending
        return arrival

    def release(self, item: InFlight, verdict: Verdict) -> None:
        """Say what has become of an arrival; its place is free."""
        arrival = self.give_back(item)
        arrival.via.durable(arrival, verdict)

    def send_back(self, item: InFlight, why: str) -> bool:
        """Tell the sender of an alert that its group waits; whether it is not held here any more."""
        arrival = item.routed.original
        if not arrival.via.waits(arrival, why):
            return False
        self.give_back(item)
        return True

    def set_aside(self, item: InFlight) -> InFlight | None:
        """A pending alert, kept where it takes no place from others; None if there is no place for it."""
        if item.pending:
            return item
        namespace, places = item.routed.group.request_namespace, item.routed.original.places
        self.give_back(item)
        if self._pending_share.free(namespace) < places:
            return None
        self._pending_share.take(namespace, places)
        self._held += 1
        self._pending += 1
        return item._replace(pending=True)

    def look_again(self, group_hash: str) -> None:
        """Make sure that Redis still has the storm, and give it back if not."""
        if self._storms.is_open(group_hash):
            lane = self.lanes[partition(group_hash)]
            lane.again.add(group_hash)
            lane.work.set()

    def note(self) -> None:
        """More or fewer are held than before; for many at once this is called once."""
        IN_FLIGHT.set(self._held)
        PENDING.set(self._pending)
