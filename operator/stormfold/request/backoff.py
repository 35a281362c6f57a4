"""Back-off: when the requests of a namespace are tried again after the API server did not take them.

A group whose request was refused stands in a line apart, which is tried with one storm at a time, less and
less often. It holds up neither the first try of another group, so that people soon read at each why it has no
request, nor the requests that are there.
"""

from dataclasses import dataclass
from typing import NamedTuple

FAILING = 8
"""After so many failures that are no refusals, with no write between them, a namespace is tried with one
storm at a time."""
RETRY_SECONDS = 1.0
"""When a storm is looked at again after the API server or Redis failed."""
LONGEST_SECONDS = 30.0
"""The longest wait between two tries of a line of refused groups."""
JITTER = 0.25
"""So much of a wait is left to chance, at most: replicas and namespaces do not come together."""


class Line(NamedTuple):
    """Storms of a namespace that have their turns together."""

    namespace: str
    """That of their requests."""
    refused: bool
    """Whether the API server refused their last writes."""


@dataclass(slots=True)
class _Trouble:
    wait: float = 0.0
    next_try: float = 0.0
    failures: int = 0


class Backoff:
    """How long lines wait after failures. `now` is a clock that never goes back, in seconds."""

    def __init__(self) -> None:
        self._troubles: dict[Line, _Trouble] = {}

    def is_failing(self, line: Line) -> bool:
        """Whether the line only fails, so that one storm of it is tried at a time."""
        trouble = self._troubles.get(line)
        return trouble is not None and (line.refused or trouble.failures >= FAILING)

    def may_try(self, line: Line, *, now: float) -> bool:
        """Whether a line that is failing may be tried now."""
        trouble = self._troubles.get(line)
        return trouble is None or now >= trouble.next_try

    def written(self, line: Line, *, made: bool) -> None:
        """A write of the line went well, of a request that was made now or was there.

        That one can be made frees the refused ones. A write to one that was there does not: a full quota
        takes it.
        """
        self._troubles.pop(line, None)
        if made:
            self._troubles.pop(Line(line.namespace, refused=True), None)

    def failed(self, line: Line, *, refused: bool, now: float, chance: float) -> int:
        """A write failed; gives how many did in a row. `chance` is from 0 to 1.

        The wait of refused groups doubles with each try that is `refused` after it. What may pass by itself,
        as an API server that is away, is tried again each second.
        """
        hit = Line(line.namespace, refused=True) if refused else line
        trouble = self._troubles.setdefault(hit, _Trouble())
        trouble.failures += 1
        if refused and trouble.wait and (not line.refused or now < trouble.next_try):
            return trouble.failures  # it was begun before, or is the first try of its group
        doubled = 2 * trouble.wait if refused else 0.0
        trouble.wait = min(max(RETRY_SECONDS, doubled), LONGEST_SECONDS)
        trouble.next_try = now + trouble.wait * (1 - JITTER * chance)
        return trouble.failures
