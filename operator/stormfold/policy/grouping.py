"""groupBy → Group."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from operator import attrgetter

from stormfold.model.arrival import Arrival, Target
from stormfold.model.group import Group, PolicyId

OWNER_KEYS = frozenset(("owner", "target.owner", "node"))
"""Entries of `groupBy` for which the arrival's `owner` or `node` must be filled in before it is routed."""
OWNER_VERSIONS = {
    "Pod": "v1",
    "ReplicationController": "v1",
    "Node": "v1",
    "Deployment": "apps/v1",
    "ReplicaSet": "apps/v1",
    "StatefulSet": "apps/v1",
    "DaemonSet": "apps/v1",
    "Job": "batch/v1",
    "CronJob": "batch/v1",
}
REMEMBERED = 1024
"""Groups that a policy remembers: to name one anew for each of its signals costs several times as much."""

Picker = Callable[[Arrival], str | None]
"""Gives what an arrival has under one entry of `groupBy`; None if it has nothing there."""


OF_LABELS = "labels."
"""What an entry of `groupBy` begins with that is about a label."""


def labels_grouped(group_by: Sequence[str]) -> frozenset[str]:
    """The names of the labels that `groupBy` is about."""
    return frozenset(key.removeprefix(OF_LABELS) for key in group_by if key.startswith(OF_LABELS))


def picker(key: str) -> Picker:
    """The picker of that entry of `groupBy`. Of one that only another version knows, whose requests are still
    there, nothing has a value."""
    if key.startswith(OF_LABELS):
        label = key.removeprefix(OF_LABELS)
        return lambda arrival: arrival.labels.get(label)
    match key:
        case "name" | "namespace" | "source" | "owner" | "node":
            return attrgetter(key)
        case "severity":
            return lambda arrival: arrival.severity.value
        case "target.kind":
            return lambda arrival: arrival.target.kind if arrival.target else None
        case "target.name":
            return lambda arrival: arrival.target.name if arrival.target else None
        case "target.owner":
            return attrgetter("owner")
    return lambda _: None


def grouper(policy: PolicyId, group_by: Sequence[str], named: str | None) -> Callable[[Arrival], Group]:
    """Gives the group of an arrival under a policy; `named` is the policy's `requestNamespace`.

    The request lands in the policy's namespace, the one that a cluster policy names, or else the signal's.
    """
    pickers = [picker(key) for key in group_by]

    @lru_cache(REMEMBERED)
    def group_of(request_namespace: str, *values: str | None) -> Group:
        return Group(policy, tuple(zip(group_by, values, strict=True)), request_namespace)

    def group(arrival: Arrival) -> Group:
        request_namespace = policy.namespace or named or arrival.namespace
        return group_of(request_namespace, *[pick(arrival) for pick in pickers])

    return group


def grouped_target(values: Sequence[tuple[str, str | None]], first: Target | None) -> Target | None:
    """The object that a group is about: the owner or the node by which its policy groups, else the target of
    its first signal."""
    for key, value in values:
        if key in ("owner", "target.owner") and value:
            return _owner(value, first)
    node = next((value for key, value in values if key == "node" and value), None)
    return Target("v1", "Node", node) if node else first


def _owner(owner: str, target: Target | None) -> Target:
    """The object that `owner` names. Its version is known of the usual kinds, and if it is the target
    itself."""
    kind, _, rest = owner.partition("/")
    if target and target.kind == kind and f"/{rest}".endswith(f"/{target.name}"):
        return target
    namespace, _, name = rest.rpartition("/")
    return Target(OWNER_VERSIONS.get(kind, ""), kind, name, namespace or None)
