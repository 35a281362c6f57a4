"""Places: which groups may have a request, where a policy has as many open ones as `limits.openStorms`.

The first write of each request asks here. Only a group that needs a request takes a place. Where none is
free, the group waits in Redis, without a request, and the replica that leads ingest keeps the line: the
highest severity goes first, then the oldest. So the limit is exact within a replica. Two replicas that fill
the last place at the same moment may open one storm each.

The line is no state of its own: every group in it asks again after `ASK_AGAIN_SECONDS` at the latest, and at
once when another replica begins to lead.
"""

import asyncio
import heapq
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Protocol

from prometheus_client import Gauge

from stormfold.model.group import Group, PolicyId
from stormfold.model.leading import Leader
from stormfold.model.storm import Snapshot
from stormfold.policy.router import Router
from stormfold.request.backoff import RETRY_SECONDS
from stormfold.request.reading import Request

WAITING_MS = 3_600_000
"""How long a group waits for a place, at most: until then its Signals stay in the cluster."""
MAX_WAITING = 10_000
"""The most signals that wait in the namespace of their requests; beyond it the last in line are discarded."""
ASK_AGAIN_SECONDS = 60
"""A group that waits asks again after this long at the latest. One that does not is gone from Redis."""
NOT_LEADING_SECONDS = 1
"""A group that another replica than the leader has met is due again so soon, so that the leader meets it."""
LEFT_SECONDS = 3.0
"""So long that replica leaves the group alone: sweeps of all replicas are a second apart, so one that claimed
it again at once might do so each time before the leader."""
GRANT_SECONDS = 5.0
"""How long a place is kept for a group that may have it; its request is made by then, or cannot be made."""

GROUPS = Gauge(
    "stormfold_waiting_groups",
    "Groups that wait for a request, since their policy has reached limits.openStorms in the namespace.",
)
SIGNALS = Gauge("stormfold_waiting_signals", "Signals of waiting groups.")
OLDEST = Gauge(
    "stormfold_waiting_oldest_timestamp_seconds",
    "When the oldest waiting group began, in Unix seconds; 0 if none waits.",
)


Rank = tuple[int, int]
"""Severity, and how old; the higher goes first."""


class Answer(Enum):
    """What a group hears that needs a request."""

    GRANTED = auto()
    WAITS = auto()
    OVER = auto()
    """It has waited for as long as it may, or too much waits in its namespace: it is discarded."""


class Requests(Protocol):
    """The RemediationRequests, as far as they take places."""

    def open_in(self, policy: PolicyId, namespace: str) -> Collection[str]:
        """The groups of a policy that have an open request in a namespace."""


class Deadlines(Protocol):
    """Who looks at storms."""

    def make_due(self, group_hashes: Collection[str]) -> None:
        """Look at these storms now."""


@dataclass(slots=True)
class Waiting:
    """A group that waits."""

    severity: int
    opened_ms: int
    signals: int
    asked: float
    """When it asked last, by the monotonic clock."""
    over: bool = False
    """It is to be discarded when it asks again."""

    @property
    def rank(self) -> Rank:
        """The higher goes first."""
        return self.severity, -self.opened_ms


@dataclass(slots=True)
class Line:
    """What waits for the requests of one policy in one namespace."""

    waiting: dict[str, Waiting] = field(default_factory=dict)
    granted: dict[str, float] = field(default_factory=dict)
    """Group hash → until when a place is kept for it, by the monotonic clock."""

    @property
    def signals(self) -> int:
        """How many signals wait."""
        return sum(waiting.signals for waiting in self.waiting.values() if not waiting.over)


@dataclass(frozen=True, slots=True)
class Queued:
    """How much of a policy waits in one namespace."""

    namespace: str
    groups: int
    signals: int
    since_ms: int
    """When the oldest of the groups began."""


class Places:
    """Grants places, and keeps the line of those that wait for one."""

    def __init__(
        self,
        requests: Requests,
        policies: Router,
        *,
        deadlines: Deadlines,
        ingest: Leader,
        changed: asyncio.Event,
    ) -> None:
        """`changed` is set when groups of a policy begin to wait somewhere, or none waits any more."""
        self._requests = requests
        self._policies = policies
        self._deadlines = deadlines
        self._ingest = ingest
        self._changed = changed
        self._lines: dict[tuple[PolicyId, str], Line] = {}
        self._said: frozenset[tuple[PolicyId, str]] = frozenset()

    def ask(self, storm: Snapshot, group: Group, *, now_ms: int) -> Answer:
        """Whether the group may have a request now. A policy that is not in force has no limit."""
        of = group.policy, group.request_namespace
        if self._policies.open_storms(group.policy) is None:
            return Answer.GRANTED
        line = self._lines.setdefault(of, Line())
        before = line.waiting.get(storm.group_hash)
        if now_ms >= ends_ms(storm) or (before and before.over):
            line.waiting.pop(storm.group_hash, None)
            return Answer.OVER
        now = time.monotonic()
        line.waiting[storm.group_hash] = Waiting(storm.severity, storm.opened_ms, storm.folded, now)
        self._grant(of, line, now, asks=storm.group_hash)
        granted = storm.group_hash in line.granted
        if granted or not self._ingest.leading:  # the leader keeps the line
            del line.waiting[storm.group_hash]
        return Answer.GRANTED if granted else Answer.WAITS

    def ask_again_ms(self, storm: Snapshot, *, now_ms: int) -> int:
        """When a group that waits asks again, Unix ms."""
        seconds = ASK_AGAIN_SECONDS if self._ingest.leading else NOT_LEADING_SECONDS
        return min(now_ms + seconds * 1000, ends_ms(storm))

    def leave_seconds(self) -> float:
        """For how long this process leaves a group alone that waits."""
        return RETRY_SECONDS if self._ingest.leading else LEFT_SECONDS

    def over(self, storm: Snapshot, group: Group) -> None:
        """The group needs no request any more."""
        if line := self._lines.get((group.policy, group.request_namespace)):
            line.waiting.pop(storm.group_hash, None)
            line.granted.pop(storm.group_hash, None)

    def observed(self, request: Request) -> None:
        """A newer version of a request was seen: it may take a place, or free one."""
        of = request.policy, request.namespace
        if line := self._lines.get(of):
            if not request.closed:
                line.waiting.pop(request.group_hash, None)
            self._grant(of, line, time.monotonic())

    def look(self) -> None:
        """Grant what has become free, forget groups that are gone, and keep to `MAX_WAITING`: once a
        second."""
        now = time.monotonic()
        for of, line in list(self._lines.items()):
            open_ones = self._requests.open_in(*of)
            for group_hash, waiting in list(line.waiting.items()):
                if group_hash in open_ones or now - waiting.asked > 3 * ASK_AGAIN_SECONDS:
                    del line.waiting[group_hash]
            self._grant(of, line, now)
            if not (line.waiting or line.granted):
                del self._lines[of]
        for namespace in {namespace for _, namespace in self._lines}:
            self._keep_to_limit(namespace)
        self._note()

    def waiting_of(self, policy: PolicyId) -> list[Queued]:
        """What waits of a policy, by namespace."""
        return sorted(
            (
                Queued(
                    namespace,
                    len(line.waiting),
                    line.signals,
                    min(waiting.opened_ms for waiting in line.waiting.values()),
                )
                for (of, namespace), line in self._lines.items()
                if of == policy and line.waiting
            ),
            key=lambda queued: queued.namespace,
        )

    def _grant(self, of: tuple[PolicyId, str], line: Line, now: float, *, asks: str = "") -> None:
        """Let the first in line have what is free; the one that `asks` is being looked at already."""
        policy, _ = of
        now_open = self._requests.open_in(*of)
        for group_hash, until in line.granted.items():
            if until <= now:  # it did not come for its place, and asks again if it is there
                line.waiting.pop(group_hash, None)
        line.granted = {
            group_hash: until
            for group_hash, until in line.granted.items()
            if until > now and group_hash not in now_open
        }
        limit = self._policies.open_storms(policy)
        free = len(line.waiting) if limit is None else limit - len(now_open) - len(line.granted)
        if free <= 0:
            return
        wait = [
            (waiting.rank, group_hash)
            for group_hash, waiting in line.waiting.items()
            if group_hash not in line.granted and not waiting.over
        ]
        for _, group_hash in heapq.nlargest(free, wait):
            line.granted[group_hash] = now + GRANT_SECONDS
            if group_hash != asks:
                self._deadlines.make_due([group_hash])

    def _keep_to_limit(self, namespace: str) -> None:
        """Have the last in line discarded, but the first of each policy, however much that is."""
        lines = [line for (_, where), line in self._lines.items() if where == namespace]
        beyond = sum(line.signals for line in lines) - MAX_WAITING
        if beyond <= 0:
            return
        last: list[tuple[Rank, str, Waiting]] = []
        for line in lines:
            wait = sorted((one.rank, name, one) for name, one in line.waiting.items() if not one.over)
            last += wait[:-1]
        heapq.heapify(last)
        while last and beyond > 0:
            _, group_hash, waiting = heapq.heappop(last)
            beyond -= waiting.signals
            waiting.over = True
            self._deadlines.make_due([group_hash])

    def _note(self) -> None:
        wait = {of: line for of, line in self._lines.items() if line.waiting}
        GROUPS.set(sum(len(line.waiting) for line in wait.values()))
        SIGNALS.set(sum(line.signals for line in wait.values()))
        began = [waiting.opened_ms for line in wait.values() for waiting in line.waiting.values()]
        OLDEST.set(min(began, default=0) / 1000)
        if wait.keys() != self._said:
            self._said = frozenset(wait)
            self._changed.set()


def ends_ms(storm: Snapshot) -> int:
    """Until when a group waits for a place, Unix ms."""
    return max(storm.opened_ms, storm.window_ms) + max(WAITING_MS, storm.terms.within_ms)


def all_taken(policy: PolicyId, limit: int | None, namespace: str) -> str:
    """What is said of a group that waits for a place."""
    return f"policy {policy} has limits.openStorms ({limit}) open storms in namespace {namespace}"
