"""Turns: so many at once, the first ones first, and none after an error."""

from __future__ import annotations

import asyncio

import pytest

from stormfold.gate.turns import AT_ONCE, in_turn
from stormfold.kube.errors import ApiError, ConflictError

MANY = range(2 * AT_ONCE + 3)


async def test_first_ones_begin_and_the_others_follow_when_one_has_ended() -> None:
    begun: list[int] = []
    gates = {number: asyncio.Event() for number in MANY}

    async def act(number: int) -> None:
        begun.append(number)
        await gates[number].wait()

    turns = asyncio.create_task(in_turn(MANY, act))
    for _ in range(5):
        await asyncio.sleep(0)
    assert begun == [*range(AT_ONCE)]
    gates[7].set()
    for _ in range(5):
        await asyncio.sleep(0)
    assert begun == [*range(AT_ONCE + 1)]
    for gate in gates.values():
        gate.set()
    await turns
    assert begun == [*MANY]


async def test_after_an_error_what_has_begun_ends_and_nothing_else_begins() -> None:
    begun: list[int] = []
    ended: list[int] = []

    async def act(number: int) -> None:
        begun.append(number)
        await asyncio.sleep(0)
        if number in {3, 5}:
            raise ConflictError("PATCH", 409, "Conflict", f"number {number}")
        await asyncio.sleep(0)
        ended.append(number)

    with pytest.raises(ApiError, match="number 3"):
        await in_turn(MANY, act)
    assert begun == [*range(AT_ONCE)]
    assert sorted(ended) == [number for number in range(AT_ONCE) if number not in {3, 5}]


async def test_nothing_is_done_for_none() -> None:
    async def act(_: int) -> None:
        raise AssertionError

    await in_turn([], act)
