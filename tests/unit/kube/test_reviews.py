"""What is remembered of reviews, for how long, and how often is asked."""

from __future__ import annotations

import asyncio

import pytest

from stormfold.kube import reviews
from stormfold.kube.errors import ApiUnavailableError
from stormfold.kube.reviews import ALLOWED_SECONDS, AT_ONCE, DENIED_SECONDS, REMEMBERED, WAITING, Memory


class Clock:
    """Time as the memory sees it."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(reviews, "monotonic", clock)
    return clock


class Asked:
    """An answer, and how often it was asked for; it waits while `open` is not set."""

    def __init__(self, said: bool | Exception = True) -> None:
        self.said = said
        self.times = 0
        self.open = asyncio.Event()
        self.open.set()
        self.begun = asyncio.Event()

    async def __call__(self) -> bool:
        self.times += 1
        self.begun.set()
        await self.open.wait()
        if isinstance(self.said, Exception):
            raise self.said
        return self.said


UNAVAILABLE = ApiUnavailableError("POST /reviews", 503, "", "away")


@pytest.mark.parametrize(("said", "seconds"), [(True, ALLOWED_SECONDS), (False, DENIED_SECONDS)])
async def test_answer_is_remembered_for_its_time(clock: Clock, said: bool, seconds: float) -> None:
    memory: Memory[bool] = Memory("access")
    ask = Asked(said)
    assert await memory.answer("a", ask) is said
    clock.now += seconds - 0.1
    assert (await memory.answer("a", ask), ask.times) == (said, 1)
    clock.now += 0.1
    assert (await memory.answer("a", ask), ask.times) == (said, 2)


async def test_another_answer_takes_the_place_of_the_first(clock: Clock) -> None:
    memory: Memory[bool] = Memory("access")
    assert await memory.answer("a", Asked(True)) is True
    clock.now += ALLOWED_SECONDS
    assert await memory.answer("a", Asked(False)) is False
    assert await memory.answer("a", Asked(True)) is False
    clock.now += DENIED_SECONDS
    assert await memory.answer("a", Asked(True)) is True


async def test_many_who_want_to_know_the_same_ask_once() -> None:
    memory: Memory[bool] = Memory("access")
    ask = Asked()
    assert await asyncio.gather(*(memory.answer("a", ask) for _ in range(100))) == [True] * 100
    assert ask.times == 1


async def test_failure_is_told_to_all_who_wait_and_not_remembered() -> None:
    memory: Memory[bool] = Memory("access")
    ask = Asked(UNAVAILABLE)
    told = await asyncio.gather(*(memory.answer("a", ask) for _ in range(3)), return_exceptions=True)
    assert (told, ask.times) == ([UNAVAILABLE] * 3, 1)
    ask.said = True
    assert (await memory.answer("a", ask), ask.times) == (True, 2)


async def test_whoever_asked_first_may_go_away() -> None:
    memory: Memory[bool] = Memory("access")
    ask = Asked()
    ask.open.clear()
    first = asyncio.create_task(memory.answer("a", ask))
    second = asyncio.create_task(memory.answer("a", ask))
    await asyncio.wait_for(ask.begun.wait(), 5)
    first.cancel()
    ask.open.set()
    assert await second is True
    assert ask.times == 1
    assert first.cancelled()


async def test_made_up_keys_push_out_no_good_ones() -> None:
    memory: Memory[bool] = Memory("token")
    good, bad = Asked(True), Asked(False)
    await memory.answer("good", good)
    for number in range(REMEMBERED + 1):
        await memory.answer(number, bad)
    assert bad.times == REMEMBERED + 1
    await memory.answer("good", good)
    assert good.times == 1
    await memory.answer(REMEMBERED, bad)
    assert bad.times == REMEMBERED + 1
    await memory.answer(0, bad)
    assert bad.times == REMEMBERED + 2


async def test_only_so_many_are_asked_at_once() -> None:
    memory: Memory[bool] = Memory("token")
    ask = Asked()
    ask.open.clear()
    waiting = [asyncio.create_task(memory.answer(number, ask)) for number in range(AT_ONCE + 5)]
    for _ in range(10):
        await asyncio.sleep(0)
    assert ask.times == AT_ONCE
    ask.open.set()
    assert await asyncio.gather(*waiting) == [True] * (AT_ONCE + 5)


async def test_made_up_keys_wait_in_bounds_and_let_those_pass_that_had_a_yes(clock: Clock) -> None:
    memory: Memory[bool] = Memory("token")
    good = Asked(True)
    await memory.answer("good", good)
    clock.now += ALLOWED_SECONDS
    slow = Asked(False)
    slow.open.clear()
    flood = [asyncio.create_task(memory.answer(number, slow)) for number in range(WAITING)]
    await asyncio.wait_for(slow.begun.wait(), 5)
    for task in flood:
        task.cancel()  # whoever asked goes at once, and what was asked goes on
    with pytest.raises(ApiUnavailableError, match=f"{WAITING} others wait"):
        await memory.answer("one more", slow)
    assert await memory.answer("good", good) is True
    assert (good.times, slow.times) == (2, AT_ONCE)
    slow.open.set()
    assert await asyncio.wait_for(memory.answer(WAITING - 1, slow), 5) is False
    assert await memory.answer("one more", slow) is False
