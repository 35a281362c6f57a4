"""Leading: when somebody decided, as the Lease says it, and when nobody could. Pure. Times are Unix time."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from tests.harness.verdicts import Interval

GAP_SECONDS = 2.0
"""A Lease is renewed each second. Where it was not for longer, nobody led, or who led had no time."""
SLOW_SECONDS = 0.5
"""An API server that takes longer for a read is too slow for a verdict within a second."""


@dataclass(frozen=True, slots=True)
class Disturbance:
    """Something was broken of what decisions need."""

    begin: float
    end: float
    operators: frozenset[str] = frozenset()
    """Identities of those that did not run; none: the API server, as operators see it."""


class Renewals:
    """When the Lease was renewed, and by whom, as a watch tells it."""

    def __init__(self) -> None:
        self._times: list[tuple[float, str]] = []
        self._last = ""

    def seen(self, event: Mapping[str, Any], at: float, *, listed: bool = False) -> None:
        """A change of the Lease."""
        spec = event["object"]["spec"]
        if spec.get("holderIdentity") and spec.get("renewTime") != self._last:
            self._last = str(spec.get("renewTime"))
            self._times.append((at, spec["holderIdentity"]))

    def gone(self, uid: str, number: int, at: float) -> None:
        """The Lease was deleted: nobody does that here."""

    def holder(self, at: float) -> str:
        """Who had renewed it last at a moment; nobody before the first time."""
        return next((holder for time, holder in reversed(self._times) if time <= at), "")

    def first(self, after: float, *, but: Collection[str] = ()) -> float:
        """The first one after a moment by somebody else; infinite if there is none."""
        return next((at for at, holder in self._times if at > after and holder not in but), math.inf)

    def excused(self, disturbances: Iterable[Disturbance]) -> Iterator[Interval]:
        """When nobody could decide: from each disturbance to the next renewal by one that runs, or, if it is
        of the API server, to the next one after its end."""
        for one in disturbances:
            after_all = self.first(one.end)
            others = self.first(one.begin, but=one.operators) if one.operators else after_all
            yield one.begin, min(after_all, others)
        for (before, _), (after, _) in pairwise(self._times):
            if after - before > GAP_SECONDS:
                yield before, after


class Waits:
    """For how long the main thread of each operator has waited for a CPU: the kernel counts it."""

    def __init__(self) -> None:
        self._samples: dict[str, list[tuple[float, float]]] = {}
        """Identity → (when, seconds so far)."""

    def note(self, identity: str, at: float, seconds: float) -> None:
        """What the kernel has counted so far."""
        self._samples.setdefault(identity, []).append((at, seconds))

    def of_leaders(self, renewals: Renewals) -> Iterator[Interval]:
        """As much of the time between each two samples as who led then waited for a CPU."""
        for identity, samples in self._samples.items():
            for (since, before), (at, after) in pairwise(samples):
                waited = min(after - before, at - since)  # less than 0: it was started anew
                if waited > 0 and renewals.holder(since) == identity:
                    yield since, since + waited
