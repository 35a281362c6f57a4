"""Ports of loopback: each is given once, and whoever it was given to can listen on it again and again."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from lab import process
from lab.process import free_port

SCAN = """
import sys
from lab import process
process.PORTS = [int(port) for port in sys.argv[1:]]
print(process.free_port())
"""

MANY = """
from lab import process
process.KEPT = 2
process.PORTS = range(30_000, 31_000)
first, second, third = (process.free_port() for _ in range(3))
held = [keeper.getsockname()[1] for keeper in process._kept]
process.PORTS = [first]
print([{first: 1, second: 2, third: 3}[port] for port in [*held, process.free_port()]])
"""
"""Of three ports two are kept, the last; the first is there to be given again."""


def told_and_said(program: str, *arguments: int) -> tuple[str, str]:
    """What a Python of its own writes to stdout and stderr, all warnings included."""
    ended = subprocess.run(
        [sys.executable, "-Walways", "-c", program, *map(str, arguments)],
        check=True,
        capture_output=True,
        text=True,
    )
    return ended.stdout, ended.stderr


def test_port_is_given_once_although_nothing_listens_on_it_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    given = [free_port() for _ in range(3)]
    monkeypatch.setattr(process, "PORTS", [*given, other := free_port()])
    process._kept.pop().close()

    assert free_port() == other


def test_port_is_not_given_by_another_process() -> None:
    given = [free_port() for _ in range(3)]
    other = free_port()
    process._kept.pop().close()

    assert told_and_said(SCAN, *given, other) == (f"{other}\n", "")


def test_ports_are_given_back_the_oldest_first_and_all_at_the_end() -> None:
    assert told_and_said(MANY) == ("[2, 3, 1]\n", "")


def test_whoever_it_was_given_to_listens_on_it_and_again_after_a_restart() -> None:
    port = free_port()

    for _ in range(2):
        with (
            socket.create_server(("127.0.0.1", port)) as server,
            socket.create_connection(("127.0.0.1", port)) as client,
        ):
            accepted, _ = server.accept()
            accepted.close()
            assert client.recv(1) == b""
