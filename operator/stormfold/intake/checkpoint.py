"""Progress: how far a shard's stream has been read, how far it is safe, and what Redis may forget.

Signals are taken in the order of their resourceVersions and become safe in any order. The checkpoint is just below
the first that is not safe. After a restart, a Signal above the checkpoint may all the same be one that was counted:
a mark or an edit of its metadata has raised its resourceVersion. Redis tells such Signals by their ids, so an id is
kept until the Signal itself proves that it was counted: by its mark, or by its creation before the checkpoint's.
"""

from collections import deque
from dataclasses import dataclass

from stormfold.kube.lease import Checkpoint

CREATION_MARGIN_SECONDS = 30
"""A creationTimestamp is taken before the resourceVersion, by the clock of one of several API servers: a Signal
created this much earlier than another also has the lower resourceVersion."""


@dataclass(slots=True)
class Taken:
    """An occurrence taken in."""

    resource_version: int
    generation: int
    created: int
    """Unix seconds, by the API server's clock."""
    safe: bool = False
    marked: bool = False
    gone: bool = False
    """Deleted, or followed by a newer occurrence: it cannot be mistaken for a new one."""


class Progress:
    """The bookkeeping of one ingest shard."""

    def __init__(self) -> None:
        self._unsafe: deque[Taken] = deque()
        self._unproven: deque[Taken] = deque()
        self.begin(Checkpoint())

    def begin(self, checkpoint: Checkpoint) -> None:
        """Begin at the checkpoint that the shard's Lease carries, before anything is taken."""
        self._start = self._kept = checkpoint
        self._read = checkpoint.resource_version
        self._created = checkpoint.created_before

    def reach(self, resource_version: int) -> None:
        """All changes up to here have been taken in."""
        self._read = max(self._read, resource_version)

    def take(self, resource_version: int, *, generation: int, created: int) -> Taken:
        """Note an occurrence that is to be counted; the caller sets `safe`, `marked` and `gone` on what it gets."""
        taken = Taken(resource_version, generation, created)
        self._unsafe.append(taken)
        self._unproven.append(taken)
        self.reach(resource_version)
        return taken

    @property
    def unsafe(self) -> bool:
        """Whether something taken in is not safe yet."""
        self._advance()
        return bool(self._unsafe)

    def _advance(self) -> None:
        while self._unsafe and self._unsafe[0].safe:
            self._created = max(self._created, self._unsafe.popleft().created - CREATION_MARGIN_SECONDS)

    def checkpoint(self) -> Checkpoint:
        """How far everything is safe now."""
        self._advance()
        version = self._unsafe[0].resource_version - 1 if self._unsafe else self._read
        return Checkpoint(version, self._created)

    def kept(self, checkpoint: Checkpoint) -> None:
        """The Lease now carries this checkpoint."""
        self._kept = checkpoint

    @property
    def kept_version(self) -> int:
        """The resourceVersion that the Lease carries."""
        return self._kept.resource_version

    def trim(self) -> int:
        """The resourceVersion up to which Redis may forget ids, and must refuse what comes again."""
        while self._unproven:
            taken = self._unproven[0]
            by_creation = taken.generation == 1 and taken.created < self._kept.created_before
            if not (taken.safe and (taken.gone or taken.marked or by_creation)):
                return min(self._kept.resource_version, taken.resource_version - 1)
            self._unproven.popleft()
        return self._kept.resource_version

    def counted_before(
        self, resource_version: int, *, generation: int, created: int, edited: bool, marked: bool
    ) -> bool:
        """Whether an occurrence met at start was taken in, and safe, before.

        Only what was `edited` after its creation can be above the checkpoint all the same.
        """
        return (
            resource_version <= self._start.resource_version
            or marked
            or (edited and generation == 1 and created < self._start.created_before)
        )
