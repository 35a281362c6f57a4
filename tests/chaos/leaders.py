"""Leaders: when nobody led, as the Leases say. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from tests.chaos.ledger import Manifest


class Gap(NamedTuple):
    """From the last sign of a leader to the first of the next one, in seconds from the beginning."""

    begin: float
    end: float


class Leaders:
    """When nobody led, as the Leases say. They are looked at now and then, and on a loaded machine seldom: a
    new leader may have begun at any time between two looks, and nobody may have led for long before."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, str, float]] = {}
        """Lease → its transitions, when it was renewed by its holder's clock, and when that was seen."""

    def look(self, leases: Iterable[Manifest], at: float) -> list[Gap]:
        """Note what the Leases say; gives when nobody led, for each that has changed hands since."""
        gaps = []
        for lease in leases:
            name, spec = lease["metadata"]["name"], lease["spec"]
            transitions, renewed = spec.get("leaseTransitions") or 0, str(spec.get("renewTime"))
            before = self._seen.get(name)
            if before and before[0] != transitions:
                gaps.append(Gap(before[2], at))
            if before is None or before[:2] != (transitions, renewed):
                self._seen[name] = (transitions, renewed, at)
        return gaps
