"""A rest for intakes of tests: by default nothing is ever left."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from stormfold.intake.rest import Rest


def rest(
    kind: str = "Signal", *, client: object = None, parse: Callable[[dict[str, Any]], Any] = lambda body: body
) -> Rest[Any]:
    """A rest that reads of `client`."""
    return Rest(cast("Any", client), kind=kind, collection=lambda namespace: namespace, parse=parse)
