"""Turns: of many gates or requests some are asked or written at once."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection
from typing import TypeVar

from stormfold.kube.errors import ApiError

AT_ONCE = 16
"""Gates or requests whose turn is at the same time."""

T = TypeVar("T")


async def in_turn(ones: Collection[T], act: Callable[[T], Awaitable[object]]) -> None:
    """Act on each, the first ones first.

    Raises:
        ApiError: the first that `act` raised; what had begun has ended, and nothing else has begun.
    """
    left, errors = deque(ones), list[ApiError]()

    async def take_turns() -> None:
        while left and not errors:
            try:
                await act(left.popleft())
            except ApiError as exc:
                errors.append(exc)

    async with asyncio.TaskGroup() as tasks:
        for number in range(min(AT_ONCE, len(left))):
            tasks.create_task(take_turns(), name=f"turns-{number}")
    if errors:
        raise errors[0]
