"""PolicyVersion: one generation of a policy, ready to be asked."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from stormfold.api.stormpolicy import BelowThreshold, MissingKeys, PolicySpec
from stormfold.model.arrival import Arrival
from stormfold.model.group import Group, PolicyId
from stormfold.model.opening import Opening
from stormfold.model.storm import Terms
from stormfold.policy import causes, grouping, showing
from stormfold.policy.matching import Matcher, labels_matched, matcher, takes_events


@dataclass(frozen=True)
class PolicyVersion:
    """What a policy said at one generation. A storm goes on under the version that opened it."""

    id: PolicyId
    uid: str
    generation: int
    spec: PolicySpec

    @property
    def key(self) -> tuple[str, int]:
        """(uid, generation): which version of which policy."""
        return self.uid, self.generation

    @cached_property
    def terms(self) -> Terms:
        """The numbers that Redis keeps with each storm."""
        spec = self.spec
        return Terms(
            threshold_signals=spec.threshold.signals,
            threshold_resources=spec.threshold.resources or 0,
            within_ms=spec.threshold.within_ms,
            group_wait_ms=spec.group_wait_ms,
            discard=spec.below_threshold is BelowThreshold.DISCARD,
            idle_ms=spec.window.idle_ms,
            max_duration_ms=spec.window.max_duration_ms,
            close_after_ms=spec.close_after_ms,
            resources=spec.limits.resources,
            close_on=spec.close_on,
            stale_after_ms=spec.stale_after_ms,
        )

    @cached_property
    def showing(self) -> showing.Showing:
        """What its requests may show of signals."""
        return showing.showing(self.spec, self.id.namespace)

    @cached_property
    def counted_attributes(self) -> tuple[str, ...]:
        """The attributes whose values it counts, in its order."""
        return tuple(attribute for attribute, _ in self.showing.causes)

    @cached_property
    def spec_json(self) -> str:
        """The spec without what is at its default, for `Opening`."""
        return self.spec.model_dump_json(by_alias=True, exclude_defaults=True)

    @cached_property
    def needs_owners(self) -> bool:
        """Whether its groups depend on the owner or the node of targets."""
        return not grouping.OWNER_KEYS.isdisjoint(self.spec.group_by)

    @cached_property
    def wants_owners(self) -> bool:
        """Whether owners and nodes are to be known, so that its groups depend on them or it counts them."""
        return self.needs_owners or causes.asks_for_owners(self.spec)

    @cached_property
    def labels_used(self) -> frozenset[str]:
        """Names of the labels of a signal by which it matches and groups, and of those that are counted."""
        keys = (*self.spec.group_by, *self.counted_attributes)
        return labels_matched(self.spec.match) | grouping.labels_grouped(keys)

    @cached_property
    def governs(self) -> Matcher:
        """Whether the policy takes an arrival: it speaks for the policy's namespace, and `match` takes it."""
        return matcher(self.spec.match, self.id.namespace)

    @cached_property
    def group(self) -> Callable[[Arrival], Group]:
        """An arrival's group under this version; its severity is mapped already."""
        return grouping.grouper(self.id, self.spec.group_by, self.spec.request_namespace)

    @cached_property
    def takes_events(self) -> bool:
        """Whether the policy may take Kubernetes Events, so that they must be watched."""
        return takes_events(self.spec.match)

    @property
    def precedence(self) -> tuple[bool, int, str]:
        """Sorts versions: namespaced before cluster-wide, then the higher priority, then the name."""
        return (not self.id.namespace, -self.spec.priority, self.id.name)

    def takes(self, group: Group) -> bool:
        """Whether an arrival of the group stays here, though another policy may match it too."""
        return not group.missing or self.spec.missing_keys is MissingKeys.GROUP

    def opening(self, group: Group, arrival: Arrival) -> Opening:
        """What is fixed if the arrival opens a storm."""
        target = grouping.grouped_target(group.values, arrival.target)
        return Opening(
            group, self.uid, self.generation, self.spec_json, arrival.name, arrival.severity, target
        )
