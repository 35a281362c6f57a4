"""Servers as child processes: a loopback port, a log file, a start that is waited for, an end by process
id."""

from __future__ import annotations

import atexit
import contextlib
import os
import random
import signal
import socket
import subprocess
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, Self

PORTS = range(20_000, 32_000)
"""Where loopback ports are taken from: below the range that kernels hand to outgoing connections, so that no
connection takes a server's port while the server is being restarted."""

KEPT = 500
"""Ports that are kept, the last of them: each takes a file descriptor."""

POLL_SECONDS = 0.02

INTERRUPTED = 130
"""Exit code of a program that starts servers, after Ctrl-C or SIGTERM, as shells give it."""

_kept: deque[socket.socket] = deque()


@atexit.register
def _give_back() -> None:
    """Without it, Python warns of each socket after a program's last line."""
    while _kept:
        _kept.pop().close()


class Started(Protocol):
    """What is started when a `with` begins, and stopped when it ends."""

    def start(self) -> None:
        """Start it; returns when it is ready."""

    def stop(self) -> None:
        """End it and remove what it made."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class ServerError(RuntimeError):
    """A server did not come up, or went away; the message ends with the last lines of its log."""


def free_port() -> int:
    """A loopback TCP port that nothing listens on, kept for whoever asked, also while its server is away.

    A socket that has SO_REUSEADDR and does not listen is in nobody's way who sets it too, as servers do; to
    whoever looks for a port, in this process or another, it is in use. So no two servers that start at the
    same time get the same port.
    """
    while True:
        port = random.choice(PORTS)  # noqa: S311 - a port, not a secret
        keeper = socket.socket()
        try:
            keeper.bind(("127.0.0.1", port))
        except OSError:
            keeper.close()
            continue
        # Only now, so that it cannot share the port of another keeper.
        keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if len(_kept) == KEPT:
            _kept.popleft().close()
        _kept.append(keeper)
        return port


def tail(path: Path, lines: int = 15) -> str:
    """The last lines of a log, or a word that there are none."""
    text = path.read_text(errors="replace") if path.exists() else ""
    return "\n".join(text.splitlines()[-lines:]) or "(its log is empty)"


class Server:
    """One server process in a session of its own, so that Ctrl-C reaches only the program that started it.

    `environment` is added to this program's own.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        log: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, **(environment or {})},
            )

    @property
    def pid(self) -> int:
        """The process id, also after the end."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process is still there."""
        return self._process.poll() is None

    def wait_until(self, ready: Callable[[], bool], *, within_seconds: float) -> None:
        """Return once `ready` says so; `OSError` from it means not yet.

        Raises:
            ServerError: the process ended, or the time is over.
        """
        deadline = time.monotonic() + within_seconds
        while True:
            with contextlib.suppress(OSError):
                if ready():
                    return
            if not self.running:
                raise ServerError(
                    f"{self.name} ended with {self._process.returncode} while starting:\n{tail(self.log)}"
                )
            if time.monotonic() > deadline:
                raise ServerError(f"{self.name} is not ready after {within_seconds:g} s:\n{tail(self.log)}")
            time.sleep(POLL_SECONDS)

    def kill(self) -> None:
        """End the process at once, as a crash would; nothing if it has ended."""
        self._process.kill()
        self._process.wait()

    def stop(self, *, grace_seconds: float = 5.0) -> int:
        """End the process politely, then at once; its exit code."""
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(grace_seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            return self._process.returncode
