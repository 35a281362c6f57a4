"""Redis as replicas have it: a server that another one takes over from, and calls whose answer is lost or
late."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from enum import Enum, auto
from typing import Any, cast

from tests.harness.folding import CLUSTER, COPY_KEYS, SAVED

from lab.valkey import Valkey
from stormfold.fold.connection import Connection
from stormfold.fold.errors import StoreUnavailableError
from stormfold.fold.keys import PREFIX
from stormfold.fold.store import StormStore


class Servers:
    """Redis: the first server, until the next one takes over from it."""

    def __init__(self, servers: Sequence[Valkey]) -> None:
        self._servers = servers
        self._connections = [Connection.from_url(server.url) for server in servers]
        self._stores = [StormStore(connection, cluster=CLUSTER) for connection in self._connections]
        self._at = 0

    def begin(self) -> None:
        """Let the first server be Redis, and empty."""
        self._at = 0
        self.empty()

    @property
    def primary(self) -> Valkey:
        """The server that is Redis now."""
        return self._servers[self._at]

    @property
    def store(self) -> StormStore:
        """The store on it."""
        return self._stores[self._at]

    @property
    def can_take_over(self) -> bool:
        """Whether there is a server left that has not been Redis yet."""
        return self._at + 1 < len(self._servers)

    def empty(self) -> None:
        """Redis loses all it has, and its copy."""
        self.primary.command("FLUSHALL")

    def copy(self) -> None:
        """Make a copy of what Redis has, as a replica of it or a file on disk is one."""
        self.primary.command("EVAL", COPY_KEYS, 0, PREFIX, SAVED)

    def take_over(self) -> None:
        """A fail-over, or a restart: the next server has what was copied last, and another run id."""
        before, after = self.primary, self._servers[self._at + 1]
        after.command("FLUSHALL")
        names = cast("list[str]", before.command("KEYS", f"{SAVED}*"))
        if names:
            before.command("MIGRATE", "127.0.0.1", after.port, "", 0, 5000, "COPY", "KEYS", *names)
            after.command("EVAL", COPY_KEYS, 0, SAVED, PREFIX)
        self._at += 1

    async def close(self) -> None:
        """Close all connections."""
        for connection in self._connections:
            await connection.close()


class Fate(Enum):
    """What becomes of the next call that folds."""

    ANSWERED = auto()
    LOST = auto()
    """It is done, and the answer does not arrive."""
    DELAYED = auto()
    """It waits until the test lets it go, and then is done."""
    ANSWER_DELAYED = auto()
    """It is done, and the answer waits until the test lets it go."""


class Line:
    """A replica's store: that of the server that is Redis at the time of each call."""

    def __init__(self, servers: Servers) -> None:
        self._servers = servers
        self.fate = Fate.ANSWERED
        self.waits = asyncio.Event()
        """A call that folds waits to be let go."""
        self.goes_on = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._servers.store, name)

    async def fold(self, number: int, folds: Sequence[Any], *, now_ms: int) -> Any:
        """As `StormStore.fold`, with the fate of this call."""
        fate, self.fate = self.fate, Fate.ANSWERED
        if fate is Fate.DELAYED:
            await self._wait()
        reply = await self._servers.store.fold(number, folds, now_ms=now_ms)
        if fate is Fate.ANSWER_DELAYED:
            await self._wait()
        if fate is Fate.LOST:
            raise StoreUnavailableError("the answer was lost")
        return reply

    async def _wait(self) -> None:
        self.goes_on.clear()
        self.waits.set()
        await self.goes_on.wait()
        self.waits.clear()
