"""Faults of Redis: it loses what it had, hangs, is full, or hands over to another server."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.accounting import Accounting
from tests.chaos.faults.fault import REDIS, Fault
from tests.chaos.stores import Cluster, WithSentinel, copy_disk, empty_disk
from tests.chaos.world import ChaosWorld

from lab.valkey import Valkey


class OnRedis(Fault):
    """A fault of the servers."""

    @property
    def subjects(self) -> tuple[str, ...]:
        """See `Fault`."""
        return (REDIS,)


async def empty(world: ChaosWorld) -> None:
    """FLUSHALL."""
    await asyncio.to_thread(world.store.on_primaries, "FLUSHALL")
    world.redis_lost()


class RedisEmptied(OnRedis):
    """FLUSHALL."""

    kind = "FLUSHALL"

    async def inject(self, world: ChaosWorld, accounting: Accounting) -> None:
        """See `Fault`."""
        await empty(world)


class ScriptsForgotten(OnRedis):
    """SCRIPT FLUSH."""

    kind = "SCRIPT FLUSH"

    async def inject(self, world: ChaosWorld, accounting: Accounting) -> None:
        """See `Fault`."""
        await asyncio.to_thread(world.store.on_primaries, "SCRIPT", "FLUSH")


@dataclass(frozen=True)
class RedisKilled(OnRedis):
    """SIGKILL of one server."""

    number: int = 0

    def server(self, world: ChaosWorld) -> Valkey:
        """Which one."""
        servers = world.store.primaries()
        return servers[self.number % len(servers)]


class RedisKept(RedisKilled):
    """It comes back with all that it had acknowledged."""

    kind = "Redis killed, back with its data"

    async def inject(self, world: ChaosWorld, accounting: Accounting) -> None:
        """See `Fault`."""
        # A storm is believed only from the server that counted it.
        world.redis_lost()
        await restart(self.server(world), self.seconds)


class RedisLost(RedisKilled):
    """It comes back empty."""

    kind = "Redis killed, back empty"

    async def inject(self, world: ChaosWorld, accounting: Accounting) -> None:
        """See `Fault`."""
        server = self.server(world)
        await asyncio.to_thread(server.kill)
        empty_disk(server)
        world.redis_lost()
        await restart(server, self.seconds)


@dataclass(frozen=True)
class RedisRestored(RedisKilled):
    """It comes back with what it had some seconds before: from a snapshot, or since the disk was behind."""

    kind = "Redis killed, back with old data"
    age: float = 0.0

    @property
    def detail(self) -> str:
        """See `Fault`."""
        return f"{self.seconds:.1f} s, with what it had {self.age:.1f} s before"

    async def inject(self, world: ChaosWorld, accounting: Accounting) -> None:
        """See `Fault`."""
        server = self.server(world)
        with tempfile.TemporaryDirectory(prefix="stormfold-chaos-disk-") as kept:
            await asyncio.to_thread(copy_disk, server, Path(kept))
            await asyncio.sleep(self.age)
            await asyncio.to_thread(server.kill)
            empty_disk(server)
            shutil.copytree(kept, server.directory, dirs_exist_ok=True)
        world.redis_lost()
        await restart(server, self.seconds)


@dataclass(frozen=True)
class FailOver(OnRedis):
    """The primary is killed, and its replica takes over: what it had not heard of is lost."""

    kind = "Sentinel fail-over"
    tail: float
    """For so long before, the replica hears of nothing."""

    @property
    def detail(self) -> str:
        """See `Fault`."""
        return f"{self.seconds:.1f} s, without the last {self.tail:.1f} s"

    async def inject(self, world: ChaosWorld, accounting: Accounting) -> None:
        """See `Fault`."""
        assert isinstance(world.store, WithSentinel)
        world.redis_lost()
        await asyncio.to_thread(world.store.fail_over, down=self.seconds, tail=self.tail)
        world.redis_lost()


@dataclass(frozen=True)
class SlotsMoved(OnRedis):
    """Partitions go to another node, key by key."""

    kind = "Cluster slots moved"
    partitions: tuple[int, ...]
    to: int

    @property
    def detail(self) -> str:
        """See `Fault`."""
        return f"{len(self.partitions)} partitions to node {self.to}"

    async def inject(self, world: ChaosWorld, accounting: Accounting) -> None:
        """See `Fault`."""
        assert isinstance(world.store, Cluster)
        world.redis_lost()
        for partition in self.partitions:
            await asyncio.to_thread(world.store.move, partition, self.to, pause=0.05)


class RedisFull(OnRedis):
    """Out of memory: what would write is refused."""

    kind = "Redis out of memory"

    async def inject(self, world: ChaosWorld, accounting: Accounting) -> None:
        """See `Fault`."""
        await asyncio.to_thread(world.store.on_primaries, "CONFIG", "SET", "maxmemory", "1mb")
        await asyncio.sleep(self.seconds)
        await asyncio.to_thread(world.store.on_primaries, "CONFIG", "SET", "maxmemory", "0")


class RedisHangs(OnRedis):
    """It takes seconds to answer anything."""

    kind = "Redis silent for seconds"

    async def inject(self, world: ChaosWorld, accounting: Accounting) -> None:
        """See `Fault`."""
        await asyncio.to_thread(world.store.on_primaries, "CLIENT", "PAUSE", int(self.seconds * 1000), "ALL")
        await asyncio.sleep(self.seconds)


async def restart(server: Valkey, seconds: float) -> None:
    """SIGKILL and, after the time, a start."""
    await asyncio.to_thread(server.kill)
    await asyncio.sleep(seconds)
    await asyncio.to_thread(server.start)
