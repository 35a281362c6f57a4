"""How the long programs of the Makefile are called, and how they end."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest
from tests.harness.invocation import number, whole_number, word

from lab.process import INTERRUPTED

PROGRAM = """
import asyncio, signal
from tests.harness import invocation

async def work():
    try:
        print("begun", flush=True)
        await asyncio.sleep(60)
    finally:
        print("cleaned up", flush=True)

signal.signal(signal.SIGINT, signal.default_int_handler)
invocation.run(lambda: asyncio.run(work()))
"""
"""Takes SIGINT as if it ran in a terminal: a shell lets what it starts in the background ignore it, and these
tests may run there."""


@pytest.mark.parametrize("ends_it", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_what_was_started(ends_it: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "begun\n"
        program.send_signal(ends_it)
        told, said = program.communicate(timeout=30)
    assert (program.returncode, told, said) == (
        INTERRUPTED,
        "cleaned up\n",
        "interrupted; what was started has ended\n",
    )


@pytest.mark.parametrize(("text", "value"), [(None, 10), ("", 10), ("3", 3), ("0.5", 0.5), ("1e3", 1000)])
def test_number_of_the_environment(monkeypatch: pytest.MonkeyPatch, text: str | None, value: float) -> None:
    monkeypatch.delenv("MINUTES", raising=False)
    if text is not None:
        monkeypatch.setenv("MINUTES", text)
    assert number("MINUTES", 10) == value


@pytest.mark.parametrize("text", ["ten", "0", "-1", "nan", "inf"])
def test_what_is_no_number_ends_with_a_word_on_it(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("MINUTES", text)
    with pytest.raises(
        SystemExit, match=f"^MINUTES={text}: it must be a number above 0, such as MINUTES=10$"
    ):
        number("MINUTES", 10)


def test_half_a_seed_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEEDS", "1.5")
    with pytest.raises(SystemExit, match=r"^SEEDS=1\.5: it must be a whole number, such as SEEDS=10$"):
        whole_number("SEEDS", 10)


def test_word_is_one_of_those_that_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RUN", raising=False)
    assert word("RUN", ("main", "cluster")) == "main"
    monkeypatch.setenv("RUN", "cluster")
    assert word("RUN", ("main", "cluster")) == "cluster"
    monkeypatch.setenv("RUN", "clutser")
    with pytest.raises(SystemExit, match=r"^RUN=clutser: it must be one of main, cluster$"):
        word("RUN", ("main", "cluster"))
