"""Waiting for the state of the world, the only way in which tests wait."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar, overload

import aiohttp

T = TypeVar("T")

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.02, 0.25
PAUSE_SHARE = 0.08
"""Of what was waited so far, each pause has so much: each look costs the server that it asks, and what takes
long may be seen a little late."""
PATIENCE = 3
"""A machine may be so many times slower than a quiet one before a wait fails: who waits for a state does not
measure. What has to come in time is measured, in tests that are `timed`."""
NOT_YET = (OSError, TimeoutError, aiohttp.ClientError)
"""From `read` these count as seen, not as a failure: a server that is being restarted answers so."""


@overload
async def eventually(
    read: Callable[[], Awaitable[T]],
    holds: Callable[[T], object] = ...,
    *,
    within: float = ...,
    what: str = ...,
    patience: float = ...,
) -> T: ...
@overload
async def eventually(
    read: Callable[[], T],
    holds: Callable[[T], object] = ...,
    *,
    within: float = ...,
    what: str = ...,
    patience: float = ...,
) -> T: ...
async def eventually(
    read: Callable[[], T | Awaitable[T]],
    holds: Callable[[T], object] = bool,
    *,
    within: float = 15.0,
    what: str = "",
    patience: float = PATIENCE,
) -> T:
    """What `read` gave as soon as `holds` says yes to it; `within` is in seconds, on a quiet machine; with a
    `patience` of 1 on each.

    Raises:
        AssertionError: it did not come to hold in time; says `what` was waited for and what was last seen.
    """
    began = time.monotonic()
    while True:
        seen: object
        try:
            answer = read()
            value: T = await answer if inspect.isawaitable(answer) else answer
            if holds(value):
                return value
            seen = value
        except NOT_YET as error:
            seen = error
        waited = time.monotonic() - began
        if waited > patience * within:
            raise AssertionError(f"not within {within:g} s: {what or 'the condition'}; last seen: {seen!r}")
        await asyncio.sleep(min(FIRST_PAUSE_SECONDS + waited * PAUSE_SHARE, LONGEST_PAUSE_SECONDS))
