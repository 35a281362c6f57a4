"""Progress: how far Signals, or Events, have been read, how far all is durable, and what Redis may forget.

Signals are taken in the order of their resourceVersions and become durable in any order. The checkpoint is
just below the first that is not durable. After a restart, a Signal above the checkpoint may all the same be
one that was counted: a mark or an edit of its metadata has raised its resourceVersion. Redis tells such
Signals by their ids, so an id is kept until the Signal itself proves that it was counted: by its mark, or by
its creation before the checkpoint's.
"""

from collections import deque
from dataclasses import dataclass
from operator import attrgetter

from stormfold.model.checkpoint import Checkpoint

CREATION_MARGIN_SECONDS = 30
"""A creationTimestamp is taken before the resourceVersion, by the clock of one of several API servers: a
Signal created this much earlier than another also has the lower resourceVersion."""
SWEEP = 1024
"""So many are kept before those are dropped that lie behind one that must be kept longer."""


@dataclass(slots=True)
class Taken:
    """An occurrence taken in."""

    resource_version: int
    generation: int
    """Of an Event, its count."""
    created: int
    """Unix seconds, by the API server's clock."""
    durable: bool = False
    marked: bool = False
    gone: bool = False
    """Deleted, or followed by a newer occurrence: it cannot be mistaken for a new one."""
    met: bool = False
    """It was there when this process began, so that Redis may know it under any earlier resourceVersion."""
    edited_version: int = 0
    """The resourceVersion of its latest edit that is no new occurrence; 0 for none."""


class Progress:
    """The bookkeeping of the Signals, or of the Events."""

    def __init__(self) -> None:
        self.begin(Checkpoint())

    def begin(self, checkpoint: Checkpoint) -> None:
        """Begin at the checkpoint that the Lease carries, before anything is taken."""
        self._read = 0
        """All changes up to this resourceVersion have been taken in."""
        self._beginning = True
        """The first list has not been taken in: what comes may be in Redis already."""
        self._in_flight: deque[Taken] = deque()
        self._unproven: deque[Taken] = deque()
        self._sweep_at = self._sweep_in_flight_at = SWEEP
        self._start = self._kept = checkpoint
        self._created = checkpoint.created_before

    def begun(self) -> None:
        """The first list has been taken in: what comes from now on is not in Redis yet."""
        self._beginning = False

    @property
    def beginning(self) -> bool:
        """Whether the first list is still to be taken in."""
        return self._beginning

    def reach(self, resource_version: int) -> None:
        """All changes up to here have been taken in."""
        self._read = max(self._read, resource_version)

    def take(self, resource_version: int, *, generation: int, created: int) -> Taken:
        """Note an occurrence that is to be counted; the caller sets `durable`, `marked` and `gone` on what it
        gets."""
        taken = Taken(resource_version, generation, created, met=self._beginning)
        self._in_flight.append(taken)
        if len(self._in_flight) > self._sweep_in_flight_at:
            # Of those that are durable, behind one that is not, the latest says all that the others do.
            latest = max(
                (taken for taken in self._in_flight if taken.durable), key=attrgetter("created"), default=None
            )
            self._in_flight = deque(
                taken for taken in self._in_flight if not taken.durable or taken is latest
            )
            self._sweep_in_flight_at = max(SWEEP, 2 * len(self._in_flight))
        self._keep(taken)
        return taken

    def meet(self, resource_version: int, *, generation: int, created: int, marked: bool = False) -> Taken:
        """Note an occurrence that was `counted_before`: an edit may raise it above a later checkpoint."""
        taken = Taken(resource_version, generation, created, durable=True, marked=marked, met=True)
        self._keep(taken)
        return taken

    def _keep(self, taken: Taken) -> None:
        self._unproven.append(taken)
        if len(self._unproven) > self._sweep_at:
            self._unproven = deque(taken for taken in self._unproven if not self._proven(taken))
            self._sweep_at = max(SWEEP, 2 * len(self._unproven))

    def _advance(self) -> None:
        while self._in_flight and self._in_flight[0].durable:
            self._created = max(self._created, self._in_flight.popleft().created - CREATION_MARGIN_SECONDS)

    def checkpoint(self) -> Checkpoint:
        """How far everything is durable now."""
        self._advance()
        version = (
            self._in_flight[0].resource_version - 1
            if self._in_flight
            else max(self._start.resource_version, self._read)
        )
        return Checkpoint(version, self._created)

    def kept(self, checkpoint: Checkpoint) -> None:
        """The Lease now carries this checkpoint."""
        self._kept = checkpoint

    @property
    def kept_version(self) -> int:
        """The resourceVersion that the Lease carries."""
        return self._kept.resource_version

    def trim(self) -> int:
        """The resourceVersion up to which Redis may forget ids, and must refuse what comes again; 0 is
        none."""
        if self._beginning:
            return 0
        while self._unproven:
            taken = self._unproven[0]
            if not self._proven(taken):
                return 0 if taken.met else min(self._kept.resource_version, taken.resource_version - 1)
            self._unproven.popleft()
        return self._kept.resource_version

    def _proven(self, taken: Taken) -> bool:
        by_creation = taken.generation == 1 and taken.created < self._kept.created_before
        return taken.durable and (taken.gone or taken.marked or by_creation)

    def counted_before(
        self, resource_version: int, *, generation: int, created: int, edited: bool, marked: bool
    ) -> bool:
        """Whether an occurrence met at start was taken in, and durable, before.

        Only what was `edited` after its creation can be above the checkpoint all the same.
        """
        return (
            resource_version <= self._start.resource_version
            or marked
            or (edited and generation == 1 and created < self._start.created_before)
        )
