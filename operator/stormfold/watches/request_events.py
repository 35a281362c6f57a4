"""Events of RemediationRequests: the consumer's words, and deletions by hand."""

from collections.abc import Callable
from typing import Any

import kopf

from stormfold.api.remediationrequest import RemediationRequest
from stormfold.api.resource import GROUP, VERSION
from stormfold.request.index import RequestIndex


def register(
    handlers: kopf.OperatorRegistry,
    hand_over: Callable[..., None],
    index: RequestIndex,
) -> None:
    """Add the handler."""

    @kopf.on.event(GROUP, VERSION, RemediationRequest.plural, registry=handlers)
    async def request_event(type: str | None, body: kopf.Body, **_: Any) -> None:  # noqa: A002
        hand_over(index.gone if type == "DELETED" else index.seen, dict(body))
