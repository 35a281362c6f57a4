"""How the process ends its parts."""

import asyncio

from stormfold.app import end_all


async def test_part_that_loses_a_cancellation_is_told_again() -> None:
    told = 0

    async def hard_of_hearing() -> None:
        nonlocal told
        while told < 2:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                told += 1

    part = asyncio.create_task(hard_of_hearing())
    await asyncio.sleep(0)
    await end_all([part])
    assert (told, part.done()) == (2, True)
