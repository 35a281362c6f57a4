"""Events of StormGates."""

from collections.abc import Callable
from typing import Any

import kopf

from stormfold.api.resource import GROUP, VERSION
from stormfold.api.stormgate import StormGate
from stormfold.gate.gates import GateIndex


def register(
    handlers: kopf.OperatorRegistry,
    hand_over: Callable[..., None],
    gates: GateIndex,
) -> None:
    """Add the handler."""

    @kopf.on.event(GROUP, VERSION, StormGate.plural, registry=handlers)
    async def gate_event(type: str | None, body: kopf.Body, **_: Any) -> None:  # noqa: A002
        hand_over(gates.gone if type == "DELETED" else gates.seen, dict(body))
