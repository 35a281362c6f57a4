"""What this process knows of storms: what it has folded into them, and what their requests hold."""

import math
from collections import deque
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from stormfold.fold.showing import NOTHING_TOLD, Told
from stormfold.model.arrival import Verdict
from stormfold.model.storm import Seed, Snapshot
from stormfold.policy.routing import Routed
from stormfold.policy.version import PolicyVersion

MAX_INCARNATIONS = 8
"""So many incarnations of  storm are remembered of what is in flight. Should a request come to hold an older
one, an alert counts again, and the request says so."""


@dataclass(slots=True)
class Storm:
    """A storm as this process knows it."""

    group_hash: str
    version: PolicyVersion | None = None
    namespace: str = ""
    """That of its request; empty while the version is not known."""
    epoch: int = 0
    """0: not folded into by this process; the next fold carries a seed."""
    request_epoch: int = 0
    """The latest epoch of the group's requests, as far as is known."""
    folded: int = 0
    incarnation: str = ""
    stale: str = ""
    """An incarnation that is to be replaced by what the request says."""
    in_flight: deque["InFlight"] = field(default_factory=deque)
    """What is folded but not durable, in order."""
    queued: int = 0
    """Signals that wait for their fold."""
    delay: str = ""
    """Why its request could not be written at the last try."""
    waits: str = ""
    """Why its group has no request yet, if it waits for others of its policy to close."""
    waits_since: float = 0.0
    """When the oldest signal in flight was folded, or folded again, by the monotonic clock."""
    told: Told = NOTHING_TOLD
    """What Redis was told of what its signals show."""
    telling: Told = NOTHING_TOLD
    """What it will have been told when the fold that is under way has counted something."""
    discarded_by: float = math.inf
    """By then somebody has discarded the group, if it has stayed below its threshold."""

    @property
    def is_out_of_date(self) -> bool:
        """Whether what Redis has is not to be trusted, or what is in flight was folded into an incarnation
        before the known one."""
        return bool(self.stale) or (
            bool(self.in_flight) and self.in_flight[0].last_counted.incarnation != self.incarnation
        )

    def forget(self) -> None:
        """Nothing is known of what Redis has."""
        self.epoch = self.folded = 0
        self.incarnation = ""
        self.told = NOTHING_TOLD

    def kept_as_it_says(self, verdict: Verdict) -> Verdict:
        """The verdict, with the storm's own word on how long its Signals are kept."""
        return replace(verdict, retention_ms=self.version.spec.retention_ms) if self.version else verdict


class Counted(NamedTuple):
    """That an incarnation of a storm has counted an arrival."""

    epoch: int
    incarnation: str
    ordinal: int

    def is_in(self, held: "RequestPosition") -> bool:
        """Whether the request holds so much of this incarnation."""
        return self.ordinal <= held.folded_of(self.epoch, self.incarnation)


class InFlight(NamedTuple):
    """An arrival that no request is known to hold."""

    routed: Routed
    counted_in: tuple[Counted, ...] = ()
    """Those that have counted it, the present one first and at most `MAX_INCARNATIONS`: a write of an earlier
    one may still be under way. None have if it waits for its first fold."""
    pending: bool = False
    """Whether its sender was told that its group has no request so far: it is kept beside the others."""

    @property
    def last_counted(self) -> Counted:
        """The present one."""
        return self.counted_in[0]

    def folded(self, counted: Counted) -> "InFlight":
        """The same after a fold; of an incarnation that had counted it before, what was said then stays."""
        if not self.counted_in:
            return InFlight(self.routed, (counted,), self.pending)
        earlier = [known for known in self.counted_in if known[:2] != counted[:2]]
        same = [known for known in self.counted_in if known[:2] == counted[:2]]
        counted_in = (*(same or [counted]), *earlier)[:MAX_INCARNATIONS]
        return InFlight(self.routed, counted_in, self.pending)

    def is_of(self, storm: Snapshot) -> bool:
        """Whether the snapshot has counted it."""
        return (self.last_counted.epoch, self.last_counted.incarnation) == (
            storm.epoch,
            storm.incarnation,
        ) and self.last_counted.ordinal <= storm.folded

    def is_in(self, held: "RequestPosition") -> bool:
        """Whether the request holds it."""
        return any(counted.is_in(held) for counted in self.counted_in)


class RequestPosition(NamedTuple):
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


@dataclass(frozen=True, slots=True)
class Continuation:
    """What a group's latest request says, to continue from if Redis has lost the storm."""

    seed: Seed
    version: PolicyVersion
    opening: str
