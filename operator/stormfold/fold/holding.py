"""What this process knows of storms: what it has folded into them, and what their requests hold."""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from stormfold.model.storm import Seed, Snapshot
from stormfold.policy.routing import Routed
from stormfold.policy.version import PolicyVersion

TURN = 32
"""Signals that a group has in a batch before the next group has its turn."""
MAX_LIVES = 8
"""So many lives of its storm are remembered of what is not safe. Should a request come to hold an older one, an alert
counts again, and the request says so."""


@dataclass(slots=True)
class Storm:
    """A storm as this process knows it."""

    gid: str
    version: PolicyVersion | None = None
    namespace: str = ""
    """That of its request; empty while the version is not known."""
    overflow: bool = False
    epoch: int = 0
    """0: not folded into by this process; the next fold carries a seed."""
    folded: int = 0
    incarnation: str = ""
    distrusted: str = ""
    """An incarnation that is to be replaced by what the request says."""
    unsafe: deque["Unsafe"] = field(default_factory=deque)
    """What is folded but not safe, in order."""
    queued: int = 0
    """Signals that wait for their fold."""
    waits_since: float = 0.0
    """When the oldest unsafe signal was folded, or folded again, by the monotonic clock."""
    since: dict[str, int] = field(default_factory=dict)
    """Stream → the oldest resourceVersion that went to the storm that is open, as far as is known."""
    discarded_by: float = math.inf
    """By then somebody has discarded the group, if it has stayed below its threshold."""

    @property
    def is_out_of_date(self) -> bool:
        """Whether what Redis has is not to be trusted, or what is unsafe was folded into a life before the known one."""
        return bool(self.distrusted) or (
            bool(self.unsafe) and self.unsafe[0].life.incarnation != self.incarnation
        )

    def forget(self) -> None:
        """Nothing is known of what Redis has."""
        self.epoch = self.folded = 0
        self.incarnation = ""

    def reaches(self, since: Mapping[str, int]) -> None:
        """Note what the open storm has counted."""
        for stream, version in since.items():
            self.since[stream] = min(version, self.since.get(stream, version))


class Life(NamedTuple):
    """That a life of a storm has counted an arrival."""

    epoch: int
    incarnation: str
    ordinal: int
    doubtful: bool = False
    """An alert that may have been counted in a life before this one."""

    def is_in(self, held: "Held") -> bool:
        """Whether the request holds so much of this life."""
        return self.ordinal <= held.folded_of(self.epoch, self.incarnation)


class Unsafe(NamedTuple):
    """An arrival that no request is known to hold."""

    routed: Routed
    lives: tuple[Life, ...] = ()
    """Those that have counted it, the present one first and at most `MAX_LIVES`: a write of an earlier one may still be
    under way. None have if it waits for its first fold."""

    @property
    def life(self) -> Life:
        """The present one."""
        return self.lives[0]

    def folded(self, life: Life) -> "Unsafe":
        """The same after a fold; of a life that had counted it before, what was said then stays."""
        if not self.lives:
            return Unsafe(self.routed, (life,))
        earlier = [known for known in self.lives if known[:2] != life[:2]]
        same = [known for known in self.lives if known[:2] == life[:2]]
        return Unsafe(self.routed, (*(same or [life]), *earlier)[:MAX_LIVES])

    def is_of(self, storm: Snapshot) -> bool:
        """Whether the snapshot has counted it."""
        return (self.life.epoch, self.life.incarnation) == (
            storm.epoch,
            storm.incarnation,
        ) and self.life.ordinal <= storm.folded

    def is_in(self, held: "Held") -> bool:
        """Whether the request holds it."""
        return any(life.is_in(held) for life in self.lives)

    def is_surely_not_in(self, seed: Seed | None) -> bool:
        """Whether what the group's latest request holds, `is_in` having said no, came about without it."""
        if not self.lives:
            return False
        if seed is None or self.life.epoch > seed.epoch:
            return not self.life.doubtful
        return any(
            not life.doubtful and (life.epoch, life.incarnation) == (seed.epoch, seed.incarnation)
            for life in self.lives
        )


class Held(NamedTuple):
    """What a request holds: how much of which incarnation, and what that was continued from."""

    epoch: int
    incarnation: str
    folded: int
    origin: str

    def folded_of(self, epoch: int, incarnation: str) -> int:
        """How much of that incarnation: what has an ordinal up to this."""
        if epoch != self.epoch:
            return 0
        if incarnation == self.incarnation:
            return self.folded
        origin, _, folded = self.origin.rpartition(":")
        return int(folded or 0) if incarnation == origin else 0


class Sureness(NamedTuple):
    """Which signals of a batch no request holds, if it was `basis` from which their storm was continued."""

    places: frozenset[int]
    basis: str


NOT_SURE = Sureness(frozenset(), "")


def places(flags: Sequence[bool]) -> frozenset[int]:
    """Where the flags are set."""
    return frozenset(place for place, flag in enumerate(flags) if flag)


@dataclass(frozen=True, slots=True)
class Continuation:
    """What a group's latest request says, to continue from if Redis has lost the storm."""

    seed: Seed
    version: PolicyVersion
    opening: str


class Lane:
    """The queue of one partition. One batch is under way at a time, so each group keeps its order; groups take turns."""

    def __init__(self) -> None:
        self.queue: dict[str, deque[Routed]] = {}
        """gid → what waits, the group whose turn is next first."""
        self.under_way: list[Routed] = []
        """What is being folded."""
        self.again: set[str] = set()
        """Storms to be looked at even without a new signal."""
        self.work = asyncio.Event()

    def add(self, routed: Routed) -> None:
        """Put an arrival behind those of its group."""
        self.queue.setdefault(routed.group.gid, deque()).append(routed)
        self.work.set()

    def put_in_order(self, gid: str) -> None:
        """Put what waits of a group into the order of resourceVersions, as far as it has any."""
        self.queue[gid] = deque(
            sorted(
                self.queue[gid], key=lambda routed: place.resource_version if (place := routed.place) else 0
            )
        )

    def take(self, limit: int, ready: Callable[[Routed], bool]) -> list[Routed]:
        """The next arrivals, up to `TURN` of each group in its turn; of a group none behind one that is not ready."""
        taken: list[Routed] = []
        blocked: dict[str, deque[Routed]] = {}
        while self.queue and len(taken) < limit:
            gid = next(iter(self.queue))
            waiting = self.queue.pop(gid)
            left = min(TURN, limit - len(taken))
            while left and waiting and ready(waiting[0]):
                taken.append(waiting.popleft())
                left -= 1
            if waiting:
                (blocked if left else self.queue)[gid] = waiting
        self.queue = blocked | self.queue
        return taken
