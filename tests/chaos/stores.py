"""Stores: Redis in its three forms, where operators find it, and what can be done to it. All calls block."""

from __future__ import annotations

import contextlib
import shutil
from abc import ABC, abstractmethod
from typing import Self

from stormfold.demo.process import ServerError
from stormfold.demo.valkey import Valkey

DURABLE = {"appendonly": "yes", "appendfsync": "everysec"}
"""What is acknowledged has been written to the kernel: a SIGKILL loses none of it."""


def empty_disk(server: Valkey) -> None:
    """Take away what a server that has ended wrote to disk, so that it comes back empty."""
    for path in server.directory.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.suffix == ".rdb":
            path.unlink()


class Store(ABC):
    """What all forms have in common; `with` starts and removes the servers."""

    @property
    @abstractmethod
    def url(self) -> str:
        """What operators are given."""

    @abstractmethod
    def start(self) -> None:
        """Start all servers, and return when they can be used."""

    @abstractmethod
    def stop(self) -> None:
        """End all servers and remove their folders."""

    @abstractmethod
    def primaries(self) -> list[Valkey]:
        """Those that take writes now."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def on_primaries(self, *command: str | int) -> None:
        """One command to each; who does not answer is passed over."""
        for server in self.primaries():
            with contextlib.suppress(OSError, ServerError):
                server.command(*command)


class Single(Store):
    """One server that writes to disk."""

    def __init__(self) -> None:
        self.server = Valkey(settings=DURABLE)

    @property
    def url(self) -> str:
        """See `Store`."""
        return self.server.url

    def start(self) -> None:
        """See `Store`."""
        self.server.start()

    def stop(self) -> None:
        """See `Store`."""
        self.server.stop()

    def primaries(self) -> list[Valkey]:
        """See `Store`."""
        return [self.server]
