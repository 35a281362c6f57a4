"""Credentials: asked for before they end and after a 401, once for all who wait, and not too often."""

from __future__ import annotations

import asyncio
import logging
import math
import threading
from pathlib import Path

import pytest
from tests.harness.eventually import eventually

from stormfold.kube.credentials import (
    AGAIN_SECONDS,
    EARLY_SECONDS,
    Credential,
    Credentials,
    Fixed,
    TokenFile,
)
from stormfold.kube.errors import CredentialError


def asked() -> bool:
    """Whether a plugin is being asked."""
    return any(thread.name == "credentials" for thread in threading.enumerate())


class Plugin:
    """Gives token after token, each for `life` seconds of a clock that stands still; fails while told to."""

    quick = False

    def __init__(self, life: float = 900.0) -> None:
        self.now = 1000.0
        self.life = life
        self.calls = 0
        self.failing = False
        self.gate = threading.Event()
        self.gate.set()
        self.credentials = Credentials(self, clock=lambda: self.now)

    def fetch(self) -> Credential:
        self.gate.wait(10)
        self.calls += 1
        if self.failing:
            raise CredentialError("log in first")
        return Credential(f"Bearer {self.calls}", ends=self.now + self.life)

    async def token(self) -> str:
        return (await self.credentials.get()).authorization.removeprefix("Bearer ")

    async def called(self, times: int) -> None:
        """Wait until a call that nobody waits for has been made, and its answer is known."""
        await eventually(lambda: self.calls >= times and not asked())


async def test_all_who_wait_get_the_answer_of_one_call() -> None:
    plugin = Plugin()
    plugin.gate.clear()
    waiting = asyncio.gather(*(plugin.token() for _ in range(100)))
    await asyncio.sleep(0)
    plugin.gate.set()
    assert (set(await waiting), plugin.calls) == ({"1"}, 1)
    assert [await plugin.token() for _ in range(100)] == ["1"] * 100
    assert plugin.calls == 1


async def test_caller_that_is_cancelled_takes_the_answer_from_nobody() -> None:
    plugin = Plugin()
    plugin.gate.clear()
    first, second = asyncio.create_task(plugin.token()), asyncio.create_task(plugin.token())
    await asyncio.sleep(0)
    first.cancel()
    plugin.gate.set()
    assert (await second, plugin.calls) == ("1", 1)


async def test_answer_that_comes_while_somebody_is_about_to_ask_is_taken_by_them_too() -> None:
    plugin = Plugin()
    answered, noted = threading.Event(), threading.Event()

    def clock() -> float:
        if threading.current_thread().name == "credentials":  # the answer is there, and is being noted
            answered.set()
            noted.wait(10)
        elif answered.is_set():  # somebody has found none, and waits for the lock
            threading.Timer(0.05, noted.set).start()
        return plugin.now

    plugin.credentials = Credentials(plugin, clock=clock)
    first = asyncio.create_task(plugin.token())
    await asyncio.to_thread(answered.wait, 10)
    assert (await plugin.token(), await first, plugin.calls) == ("1", "1", 1)


@pytest.mark.parametrize(
    ("life", "early"), [(30.0, 3.0), (900.0, EARLY_SECONDS), (math.inf, 0.0), (4.0, 4.0 - AGAIN_SECONDS)]
)
async def test_they_are_asked_for_before_they_end_and_used_meanwhile(life: float, early: float) -> None:
    plugin = Plugin(life)
    await plugin.token()
    if math.isinf(life):
        plugin.now += 1e9
        assert (await plugin.token(), plugin.calls) == ("1", 1)
        return
    plugin.now += life - early - 0.001
    assert await plugin.token() == "1"
    assert plugin.calls == 1
    plugin.now += 0.002
    plugin.gate.clear()
    if early > 0:
        assert [await plugin.token() for _ in range(10)] == ["1"] * 10
        plugin.gate.set()
        await plugin.called(2)
    plugin.gate.set()
    assert (await plugin.token(), plugin.calls) == ("2", 2)


async def test_failure_to_renew_is_said_once_a_minute_while_they_last(
    caplog: pytest.LogCaptureFixture,
) -> None:
    plugin = Plugin(900.0)
    await plugin.token()
    plugin.failing = True
    plugin.now += 900 - EARLY_SECONDS + 1
    with caplog.at_level(logging.WARNING):
        for call in range(2, 7):
            assert await plugin.token() == "1"
            await plugin.called(call)
            plugin.now += AGAIN_SECONDS
    assert caplog.messages == ["credentials not renewed, those before are still used"]
    assert [getattr(record, "error", "") for record in caplog.records] == ["log in first"]


async def test_when_they_have_ended_the_words_of_the_plugin_are_the_error_and_it_is_not_asked_each_time() -> (
    None
):
    plugin = Plugin(900.0)
    await plugin.token()
    plugin.failing = True
    plugin.now += 901
    for _ in range(3):
        with pytest.raises(CredentialError, match=r"^log in first$"):
            await plugin.token()
    assert plugin.calls == 2
    plugin.failing = False
    plugin.now += AGAIN_SECONDS
    assert (await plugin.token(), plugin.calls) == ("3", 3)


async def test_after_a_401_all_get_the_same_new_ones_and_the_plugin_is_not_asked_for_each() -> None:
    plugin = Plugin()
    refused = await plugin.credentials.get()
    assert not await plugin.credentials.renew(refused)  # just given: asking again would bring nothing else
    plugin.now += AGAIN_SECONDS
    answers = await asyncio.gather(*(plugin.credentials.renew(refused) for _ in range(20)))
    assert (answers, plugin.calls, await plugin.token()) == ([True] * 20, 2, "2")
    assert not await plugin.credentials.renew(await plugin.credentials.get())
    assert plugin.calls == 2


async def test_what_is_fixed_cannot_be_renewed() -> None:
    credentials = Credentials(Fixed(Credential("Bearer a")))
    assert not await credentials.renew(await credentials.get())


async def test_token_file_is_read_again_each_second_and_at_once_after_a_401(tmp_path: Path) -> None:
    now = 1000.0
    file = tmp_path / "token"
    file.write_text("one\n")
    credentials = Credentials(TokenFile(file), clock=lambda: now)
    one = await credentials.get()
    file.write_text("two\n")
    assert (await credentials.get()).authorization == "Bearer one"
    assert await credentials.renew(one)
    two = await credentials.get()
    assert two.authorization == "Bearer two"
    assert not await credentials.renew(two)
    file.write_text("three\n")
    now += 1.0
    assert (await credentials.get()).authorization == "Bearer three"


@pytest.mark.parametrize("text", ["", " \n", None])
async def test_token_file_without_a_token_leaves_the_one_before(text: str | None, tmp_path: Path) -> None:
    now = 1000.0
    file = tmp_path / "token"
    credentials = Credentials(TokenFile(file), clock=lambda: now)
    said = f"^the token file {file} (is empty$|cannot be read)"
    if text is not None:
        file.write_text(text)
    with pytest.raises(CredentialError, match=said):
        await credentials.get()
    file.write_text("one")
    now += AGAIN_SECONDS
    assert (await credentials.get()).authorization == "Bearer one"
    if text is None:
        file.unlink()
    else:
        file.write_text(text)
    now += 1.0
    assert (await credentials.get()).authorization == "Bearer one"


def test_secrets_are_not_shown() -> None:
    assert "secret" not in repr(Credential("Bearer secret", ends=1.0))
