"""Events of policies, and of namespaces, which policies select by their labels."""

from collections.abc import Callable
from typing import Any

import kopf

from stormfold.api.resource import GROUP, VERSION
from stormfold.api.stormpolicy import ClusterStormPolicy, StormPolicy
from stormfold.watches.policies import PolicyIntake


def register(
    handlers: kopf.OperatorRegistry,
    hand_over: Callable[..., None],
    policies: PolicyIntake,
) -> None:
    """Add the handlers."""

    @kopf.on.event(GROUP, VERSION, StormPolicy.plural, registry=handlers)
    @kopf.on.event(GROUP, VERSION, ClusterStormPolicy.plural, registry=handlers)
    async def policy_event(**_: Any) -> None:
        hand_over(policies.changed)

    @kopf.on.event("", "v1", "namespaces", registry=handlers)
    async def namespace_event(type: str | None, name: str, labels: kopf.Labels, **_: Any) -> None:  # noqa: A002
        hand_over(policies.namespace_changed, name, None if type == "DELETED" else dict(labels))
