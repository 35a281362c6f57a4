"""Seldom: what happens again and again is told once in a while of each thing."""

import math
import time
from collections.abc import Hashable

MOST = 10_000
"""The most things of which it is known when they were told."""


class Seldom:
    """When things were told last, by the monotonic clock."""

    def __init__(self) -> None:
        self._told: dict[Hashable, float] = {}
        """The one that was told longest ago comes first."""

    def tells(self, seconds: float, what: Hashable = None) -> bool:
        """Whether this was not told for so many seconds: then it counts as told now."""
        now = time.monotonic()
        if now - self._told.get(what, -math.inf) < seconds:
            return False
        self._told.pop(what, None)
        self._told[what] = now
        if len(self._told) > MOST:
            del self._told[next(iter(self._told))]
        return True
