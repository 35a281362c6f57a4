"""Causes: which attributes of signals a policy has counted, since they may explain a storm (pure)."""

from collections.abc import Sequence

from stormfold.api.stormpolicy import PolicySpec
from stormfold.model.arrival import Arrival, EventRef
from stormfold.model.evidence import is_secret
from stormfold.policy.grouping import OF_LABELS, OWNER_KEYS, Picker, picker

DEFAULT = ("node", "owner", "namespace", "labels.image", "labels.zone", "labels.cluster")
"""What is counted if the policy does not say."""
SAME = {"target.owner": "owner"}
"""Entries that are another name of one."""

CountedCauses = Sequence[tuple[str, Picker]]
"""The attributes, and what gives a signal's value of each."""


def counted_causes(spec: PolicySpec, policy_namespace: str = "") -> CountedCauses:
    """The attributes that are counted, in the policy's order: none by which it groups, since all signals of a
    storm agree in those, nor the namespace of a policy that has one; and no label that looks like a
    secret."""
    grouped = {SAME.get(key, key) for key in spec.group_by} | ({"namespace"} if policy_namespace else set())
    wanted = DEFAULT if spec.causes is None else dict.fromkeys(SAME.get(key, key) for key in spec.causes)
    return tuple(
        (key, _node if key == "node" else _picker(key))
        for key in wanted
        if key not in grouped and not (key.startswith(OF_LABELS) and is_secret(key))
    )


def asks_for_owners(spec: PolicySpec) -> bool:
    """Whether the policy names `owner` or `node`. By default they are counted as far as they are known."""
    return not OWNER_KEYS.isdisjoint(spec.causes or ())


def _picker(key: str) -> Picker:
    """What gives a signal's value; of a label also by what others about the same tell."""
    if not key.startswith(OF_LABELS):
        return picker(key)
    label = key.removeprefix(OF_LABELS)
    return lambda arrival: arrival.labels.get(label) or (arrival.hints.get(label) if arrival.hints else None)


def _node(arrival: Arrival) -> str | None:
    """The node of the target; if that is not known, what the signal itself says."""
    if arrival.node:
        return arrival.node
    if arrival.target and arrival.target.kind == "Node":
        return arrival.target.name
    return arrival.labels.get("node") or (
        arrival.labels.get("host") if isinstance(arrival.ref, EventRef) else None
    )
