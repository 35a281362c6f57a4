"""Storms: what this process knows of the storms that are open, by group."""

import math
import time
from collections.abc import Collection, Iterator
from typing import Protocol

from prometheus_client import Gauge

from stormfold.fold.holding import Continuation, RequestPosition, Storm
from stormfold.model.arrival import Arrival, Verdict
from stormfold.model.group import partition
from stormfold.policy.routing import OpenStorms, Place
from stormfold.policy.version import PolicyVersion

OVERDUE_SECONDS = 10.0
"""What is in flight for this long is folded again: nothing happens if Redis kept it."""

OPEN_STORMS = Gauge("stormfold_storms_open", "Groups that have an open request or wait for one.")


class Requests(Protocol):
    """The RemediationRequests, as far as folding asks for them."""

    def position(self, group_hash: str, epoch: int) -> RequestPosition | None:
        """How much of which incarnation the request of that epoch holds."""

    def continuation(self, group_hash: str) -> Continuation | None:
        """What the group's latest request says, to continue from."""

    def verdict(self, group_hash: str, epoch: int) -> Verdict:
        """What a signal is told that the request of that epoch holds."""

    def holds(self, group_hash: str, arrival: Arrival) -> bool:
        """Whether the group's requests have counted a Signal or an Event, as far as they tell."""

    def listed_in(self, alert: Arrival) -> Place | None:
        """Where the open request is that lists the alert."""


class Storms(OpenStorms):
    """The storms that are open, or wait for their first fold; what routing asks of them."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests
        self._storms: dict[str, Storm] = {}

    def __getitem__(self, group_hash: str) -> Storm:
        return self._storms[group_hash]

    def __iter__(self) -> Iterator[Storm]:
        return iter(list(self._storms.values()))

    def get(self, group_hash: str) -> Storm | None:
        """The group's storm, if it has one."""
        return self._storms.get(group_hash)

    def is_open(self, group_hash: str) -> bool:
        """Whether the group has a storm, or waits for one."""
        return group_hash in self._storms

    def holds(self, group_hash: str, arrival: Arrival) -> bool:
        """Whether the group's requests have counted a Signal or an Event, as far as they tell."""
        return self._requests.holds(group_hash, arrival)

    def listed_in(self, alert: Arrival) -> Place | None:
        """Where the open request is that lists the alert."""
        return self._requests.listed_in(alert)

    def namespace_of(self, group_hash: str) -> str:
        """Where the request of a group is made; empty if that is not known."""
        storm = self._storms.get(group_hash)
        return storm.namespace if storm else ""

    def waits(self, group_hash: str) -> bool:
        """Whether the group was last heard of as waiting until others are closed."""
        storm = self._storms.get(group_hash)
        return storm is not None and storm.waits != ""

    def versions_in_use(self) -> set[tuple[str, int]]:
        """(uid, generation) of the policies that open storms hold to."""
        return {storm.version.key for storm in self._storms.values() if storm.version}

    def can_become_durable(self) -> bool:
        """Whether something is in flight that a request would hold; a group that waits for its threshold, or
        for others to close, does not count."""
        return any(
            storm.version
            and not storm.version.terms.discard
            and not storm.waits
            and any(not item.pending for item in storm.in_flight)
            for storm in self._storms.values()
        )

    def in_flight(self) -> list[str]:
        """Groups of which something is folded but not durable."""
        return [storm.group_hash for storm in self._storms.values() if storm.in_flight]

    def of_partition(self, number: int) -> list[str]:
        """The groups of a partition."""
        return [group_hash for group_hash in self._storms if partition(group_hash) == number]

    def missing_in(self, group_hashes: Collection[str]) -> set[str]:
        """Groups that have a storm here, and none in Redis, which has those of `group_hashes`."""
        return {group_hash for group_hash, storm in self._storms.items() if storm.version} - set(group_hashes)

    def overdue(self) -> list[str]:
        """Groups with something that is in flight for too long, or that somebody else may have discarded.
        Each is named once, until that is so anew."""
        now, found = time.monotonic(), []
        for storm in self._storms.values():
            if storm.in_flight and (now - storm.waits_since > OVERDUE_SECONDS or now > storm.discarded_by):
                storm.waits_since, storm.discarded_by = now, math.inf
                found.append(storm.group_hash)
        return found

    # --- opening and closing

    def open(self, group_hash: str, version: PolicyVersion | None, namespace: str) -> Storm:
        """A storm of the group, under a version if that is known; what was known of one is replaced."""
        storm = self._storms[group_hash] = Storm(group_hash, version, namespace)
        OPEN_STORMS.set(len(self._storms))
        return storm

    def drop(self, storm: Storm) -> None:
        """The group has no storm any more."""
        del self._storms[storm.group_hash]
        OPEN_STORMS.set(len(self._storms))
