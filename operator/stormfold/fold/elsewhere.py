"""Elsewhere: alerts that another group has counted, the overflow group or their own.

Which of the two an alert goes to depends on the storms that are open, and whoever posts it again may find
others open. The two groups are in different partitions, so that no script sees both: before an alert is
folded, Redis is asked what the other group knows of it.

What the other group's request may hold, and Redis has lost, nobody can tell one by one: such an alert is
counted, and the request says that it may count twice.

Where two replicas take the same alert and know of different storms, one of them may fold it between the
other's question and its fold, which is milliseconds, or as long as its call to Redis hangs: then it counts in
both requests.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from stormfold.fold.replies import Recalled
from stormfold.fold.store import StormStore
from stormfold.fold.storms import Requests, Storms
from stormfold.model.arrival import AlertRef
from stormfold.model.group import Group, PolicyId
from stormfold.policy.grouping import overflow_group
from stormfold.policy.routing import Routed


@dataclass
class Found:
    """What was found of a batch, by places in it."""

    counted: dict[int, tuple[Group, Recalled]] = field(default_factory=dict)
    """Those that another group has counted, with that group and what is known of it."""
    doubtful: set[int] = field(default_factory=set)
    """Those that it may have counted."""


class Elsewhere:
    """Asks for what is about to be folded."""

    def __init__(self, store: StormStore, storms: Storms, requests: Requests) -> None:
        self._store = store
        self._storms = storms
        self._requests = requests
        self._overflowed: set[tuple[PolicyId, str]] = set()
        """Those of whose overflow group Redis knew a storm, if only one that is over."""

    async def find(self, taken: Sequence[Routed]) -> Found:
        """Ask about a batch.

        Raises:
            StoreError: see `StormStore.recall`.
        """
        asked: dict[Group, list[int]] = {}
        for place, routed in enumerate(taken):
            if other := self._other_group(routed):
                asked.setdefault(other, []).append(place)
        found = Found()
        if not asked:
            return found
        answers = await self._store.recall(
            {other.group_hash: [taken[place].arrival for place in places] for other, places in asked.items()}
        )
        for other, places in asked.items():
            known = answers[other.group_hash]
            self._note(other, known)
            latest = self._latest_start_ms(other.group_hash, known)
            for place, counted in zip(places, known.counted, strict=True):
                ref = taken[place].arrival.ref
                if counted:
                    found.counted[place] = other, known
                elif isinstance(ref, AlertRef) and ref.starts_ms <= latest:
                    found.doubtful.add(place)
        return found

    def _latest_start_ms(self, group_hash: str, known: Recalled) -> int:
        """What began up to then the group may have counted though Redis does not know it."""
        if (request := self._requests.continuation(group_hash)) is None:
            return known.latest_start_ms
        seed = request.seed
        same = known.epoch == seed.epoch and (known.closed or known.incarnation == seed.incarnation)
        if same or known.epoch > seed.epoch:
            return known.latest_start_ms
        return max(known.latest_start_ms, seed.latest_start_ms)

    def _note(self, other: Group, known: Recalled) -> None:
        if other.overflow:
            of = other.policy, other.request_namespace
            (self._overflowed.add if known.epoch else self._overflowed.discard)(of)

    def _other_group(self, routed: Routed) -> Group | None:
        """The group that may have counted an alert instead, if that is to be asked.

        What goes to a storm of its own group that this process has folded into needs no question as long as
        nothing is known of an overflow storm: it was asked about when the storm began here, and while that is
        open, its alerts come to it.
        """
        group = routed.group
        if routed.place or routed.recalled:
            return None
        if group.overflow:
            return routed.version.group(routed.arrival)
        of = group.policy, group.request_namespace
        has_begun = self._storms[group.group_hash].epoch > 0
        if has_begun and of not in self._storms.overflows and of not in self._overflowed:
            return None
        return overflow_group(group)
