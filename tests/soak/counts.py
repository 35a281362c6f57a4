"""Counts: what was sent against what requests say, pod by pod where all of them are listed. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from tests.soak.stream import GROUPS, Group

Place = tuple[str, str]
"""Name of the group and pod, or '' for all pods of a group that has more than are listed."""
BY_NAME = {group.name: group for group in GROUPS}


def place_of(group: Group, pod: str) -> Place:
    """Where a signal about that pod is counted."""
    return group.name, pod if group.listed else ""


class Counts:
    """Both sides. What a request said last counts, also once it was deleted."""

    def __init__(self) -> None:
        self.sent: Counter[Place] = Counter()
        self.problems: list[str] = []
        self._requests: dict[str, Counter[Place]] = {}
        self._phases: dict[str, str] = {}

    def observe(self, requests: Iterable[Mapping[str, Any]]) -> None:
        """Take in what requests say now."""
        for request in requests:
            name, status = request["metadata"]["name"], request.get("status") or {}
            counted = counted_by(request)
            before = self._requests.get(name, Counter())
            if counted.total() < before.total():
                self.problems.append(f"{name} went back from {before.total()} to {counted.total()}")
            self._requests[name] = counted
            self._phases[name] = status.get("phase", "")

    @property
    def requests(self) -> int:
        """How many there were."""
        return len(self._requests)

    @property
    def open(self) -> list[str]:
        """The requests that are not closed."""
        return [name for name, phase in self._phases.items() if phase != "Closed"]

    @property
    def wrong(self) -> bool:
        """Whether a signal is missing, or counted twice, or a request went back."""
        return bool(self.lost() or self.twice() or self.problems)

    def counted(self) -> Counter[Place]:
        """The sum over all requests."""
        return sum(self._requests.values(), Counter())

    def lost(self) -> int:
        """How many signals are in no request."""
        return (self.sent - self.counted()).total()

    def twice(self) -> int:
        """How many are counted more than once."""
        return (self.counted() - self.sent).total()


def counted_by(request: Mapping[str, Any]) -> Counter[Place]:
    """What one request holds."""
    group = BY_NAME[request["spec"]["name"]]
    status = request.get("status") or {}
    if not group.listed:
        return Counter({(group.name, ""): (status.get("signals") or {}).get("total", 0)})
    return Counter({(group.name, one["name"]): one["signals"] for one in status.get("resources") or ()})
