"""kopf's handlers: each hands over, in a line, to the thread of our own event loop."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import kopf

from stormfold.api.remediationrequest import RemediationRequest
from stormfold.api.resource import GROUP, VERSION
from stormfold.api.stormpolicy import ClusterStormPolicy, StormPolicy
from stormfold.request.index import RequestIndex
from stormfold.watches.policies import PolicyIntake
from stormfold.watches.session import Whole


@dataclass(frozen=True, slots=True)
class Listeners:
    """Whom handlers hand over to."""

    policies: PolicyIntake
    index: RequestIndex


def handlers(
    listeners: Listeners, hand_over: Callable[..., None]
) -> dict[tuple[str, str, str], Callable[..., Any]]:
    """The handler of each kind: group, version and plural. `hand_over` takes a function and its arguments."""
    policies, index = listeners.policies, listeners.index

    async def policy_event(**_: Any) -> None:
        hand_over(policies.changed)

    async def namespace_event(type: str | None, name: str, labels: kopf.Labels, **_: Any) -> None:  # noqa: A002
        hand_over(policies.namespace_changed, name, None if type == "DELETED" else dict(labels))

    async def request_event(type: str | None, body: kopf.Body, **_: Any) -> None:  # noqa: A002
        hand_over(index.gone if type == "DELETED" else index.seen, dict(body))

    return {
        (GROUP, VERSION, StormPolicy.plural): policy_event,
        (GROUP, VERSION, ClusterStormPolicy.plural): policy_event,
        ("", "v1", "namespaces"): namespace_event,  # policies select by their labels
        (GROUP, VERSION, RemediationRequest.plural): request_event,
    }


def listings(listeners: Listeners, hand_over: Callable[..., None]) -> dict[str, Whole]:
    """Who hears what a whole list has, by the plural of its kind. kopf lists anew where its watch has lost
    its place, and tells nobody of what is not there any more."""

    def requests_listed(uids: frozenset[str], resource_version: int) -> None:
        hand_over(listeners.index.listed, uids, resource_version)

    return {RemediationRequest.plural: requests_listed}
