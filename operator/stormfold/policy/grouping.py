"""groupBy → Group."""

from collections.abc import Sequence

from stormfold.model.arrival import Arrival
from stormfold.model.group import OVERFLOW, Group, PolicyId

OWNER_KEYS = frozenset(("owner", "target.owner", "node"))
"""Entries of `groupBy` for which the arrival's `owner` or `node` must be filled in before it is routed."""


def value(key: str, arrival: Arrival) -> str | None:
    """What an arrival has under one entry of `groupBy`; None if it has nothing there, which is a value of its own."""
    if key.startswith("labels."):
        return arrival.labels.get(key.removeprefix("labels."))
    match key:
        case "name":
            return arrival.name
        case "namespace":
            return arrival.namespace
        case "severity":
            return arrival.severity.value
        case "source":
            return arrival.source
        case "target.kind":
            return arrival.target.kind if arrival.target else None
        case "target.name":
            return arrival.target.name if arrival.target else None
        case "owner" | "target.owner":
            return arrival.owner
        case "node":
            return arrival.node
    raise ValueError(f"groupBy has no key {key!r}")


def request_namespace(policy: PolicyId, named: str | None, arrival: Arrival) -> str:
    """Where the request lands: the policy's namespace, the one that a cluster policy names, or else the signal's."""
    return policy.namespace or named or arrival.namespace


def group(policy: PolicyId, group_by: Sequence[str], named: str | None, arrival: Arrival) -> Group:
    """The group of an arrival under a policy; `named` is the policy's `requestNamespace`."""
    return Group(
        policy,
        tuple((key, value(key, arrival)) for key in group_by),
        request_namespace(policy, named, arrival),
    )


def overflow_group(like: Group) -> Group:
    """The group that takes what is beyond `limits.openStorms`: one for each policy and request namespace."""
    return Group(like.policy, ((OVERFLOW, like.request_namespace),), like.request_namespace, overflow=True)
