"""What is open while signals are routed, and where they go."""

from __future__ import annotations

from dataclasses import dataclass

from tests.harness.values import cluster_version

from stormfold.model.arrival import Arrival, Verdict
from stormfold.model.group import Group
from stormfold.policy.routing import Place, Routed


@dataclass(frozen=True)
class Open:
    """What is open, as a value."""

    group_hashes: frozenset[str] = frozenset()
    held: frozenset[str] = frozenset()
    listed: Place | None = None

    def is_open(self, group_hash: str) -> bool:
        """Whether the group has an open storm."""
        return group_hash in self.group_hashes

    def holds(self, group_hash: str, arrival: Arrival) -> bool:
        """Whether requests of the group have counted it."""
        return group_hash in self.held

    def listed_in(self, alert: Arrival) -> Place | None:
        """Where an open request lists it."""
        return self.listed


NOTHING_OPEN = Open()
DEFAULT = cluster_version()
OF_DEFAULT = Group(DEFAULT.id, (("name", "PodDown"), ("namespace", "shop")), "shop")


def routed(found: Routed | Verdict) -> Routed:
    """The same, which is no verdict."""
    assert isinstance(found, Routed)
    return found
