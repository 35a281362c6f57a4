"""Elsewhere: alerts that another group has counted, the overflow group or their own.

Which of the two an alert goes to depends on the storms that are open, and whoever posts it again may find others open.
The two groups are in different partitions, so that no script sees both: before an alert is folded, Redis is asked what
the other group knows of it.

Where two replicas take the same alert and know of different storms, one of them may fold it between the other's
question and its fold, which is milliseconds, or as long as its call to Redis hangs: then it counts in both requests.
"""

from collections.abc import Callable, Collection, Sequence

from stormfold.fold.store import Recalled, StormStore
from stormfold.model.group import Group, PolicyId
from stormfold.policy.grouping import overflow_group
from stormfold.policy.routing import Routed


class Elsewhere:
    """Asks for what is about to be folded."""

    def __init__(
        self,
        store: StormStore,
        *,
        has_begun: Callable[[str], bool],
        overflows: Collection[tuple[PolicyId, str]],
    ) -> None:
        """`has_begun` says whether this process has folded into the group's open storm; `overflows` are the policies and
        namespaces of which it knows an overflow storm."""
        self._store = store
        self._has_begun = has_begun
        self._overflows = overflows
        self._overflowed: set[tuple[PolicyId, str]] = set()
        """Those of whose overflow group Redis knew a storm, if only one that is over."""

    async def counted(self, taken: Sequence[Routed]) -> dict[int, tuple[Group, Recalled]]:
        """Places of the alerts that another group has counted, with that group and what is known of it.

        Raises:
            StoreError: see `StormStore.recall`.
        """
        asked: dict[str, list[int]] = {}
        others: dict[int, Group] = {}
        for place, routed in enumerate(taken):
            if other := self._other_group(routed):
                others[place] = other
                asked.setdefault(other.gid, []).append(place)
        if not asked:
            return {}
        found = await self._store.recall(
            {gid: [taken[place].arrival for place in places] for gid, places in asked.items()}
        )
        self._note({other: found[other.gid] for other in others.values()})
        return {
            place: (others[place], found[gid])
            for gid, places in asked.items()
            for place, counted in zip(places, found[gid].counted, strict=True)
            if counted
        }

    def _note(self, found: dict[Group, Recalled]) -> None:
        for other, known in found.items():
            if other.overflow:
                of = other.policy, other.request_namespace
                (self._overflowed.add if known.epoch else self._overflowed.discard)(of)

    def _other_group(self, routed: Routed) -> Group | None:
        """The group that may have counted an alert instead, if that is to be asked.

        What goes to a storm of its own group that this process has folded into needs no question as long as nothing is
        known of an overflow storm: it was asked about when the storm began here, and while that is open, its alerts
        come to it.
        """
        group = routed.group
        if routed.place or routed.recalled:
            return None
        if group.overflow:
            return routed.version.group(routed.arrival)
        of = group.policy, group.request_namespace
        if self._has_begun(group.gid) and of not in self._overflows and of not in self._overflowed:
            return None
        return overflow_group(group)
