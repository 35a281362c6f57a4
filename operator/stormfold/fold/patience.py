"""Patience: what is asked of Redis outside of the loops that come round again is asked until it is done."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from stormfold.fold.errors import StoreError, StoreFullError, StoreUnavailableError

log = logging.getLogger(__name__)
T = TypeVar("T")
FAILURES = (StoreUnavailableError, StoreFullError)

RETRY_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0)
"""Waits between tries, the last one for all that follow."""


def noted(exc: StoreError, attempt: int) -> None:
    """Log the first failure of a call."""
    if attempt == 0:
        log.warning("a call to Redis failed, trying again", extra={"error": str(exc)})


async def until_done(
    ask: Callable[[], Awaitable[T]], *, failed: Callable[[StoreError, int], None] = noted
) -> T:
    """What `ask` gives, asked again while Redis does not answer, refuses for now or is full.

    `failed` hears of each failure and how many went before.

    Raises:
        StoreConfigError: no wait helps.
    """
    attempt = 0
    while True:
        try:
            return await ask()
        except FAILURES as exc:
            failed(exc, attempt)
        await asyncio.sleep(RETRY_SECONDS[min(attempt, len(RETRY_SECONDS) - 1)])
        attempt += 1
