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
process.PORTS = given = [process.free_port() for _ in range(3)]
print([given.index(process.free_port()) for _ in range(4)])
"""
"""Of three ports two are kept: there is always one to be given again."""


def told_and_said(program: str, *arguments: int) -> tuple[str, str]:
    """What a Python of its own writes to stdout and stderr, all warnings included."""
    ended = subprocess.run(
        [sys.executable, "-Walways", "-c", program, *map(str, arguments)],
        check=True,
        capture_output=True,
        text=True,
    )
    return ended.stdout, ended.stderr


def unused_port() -> int:
    """A port that nobody has, of those that the kernel gives."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def test_port_is_given_once_although_nothing_listens_on_it_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    given = [free_port() for _ in range(3)]
    monkeypatch.setattr(process, "PORTS", [*given, other := unused_port()])

    assert free_port() == other


def test_port_is_not_given_by_another_process() -> None:
    given = [free_port() for _ in range(3)]
    other = unused_port()

    assert told_and_said(SCAN, *given, other) == (f"{other}\n", "")


def test_ports_are_given_back_the_oldest_first_and_all_at_the_end() -> None:
    assert told_and_said(MANY) == ("[0, 1, 2, 0]\n", "")


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
