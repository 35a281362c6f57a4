"""Faults: what breaks, when, and for how long. A seed makes a schedule; each fault is bounded, and mended by
itself.

Faults on the same subject wait for each other; those on different ones overlap as they fall.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import aiohttp
from tests.chaos.accounting import Accounting, Shown
from tests.chaos.stores import Cluster, WithSentinel, copy_disk, empty_disk
from tests.chaos.world import REFUSED, ChaosWorld
from tests.harness.api import ApiError
from tests.harness.api_proxy import Rule
from tests.harness.world import Replica

from lab.valkey import Valkey

REDIS, API = "redis", "api"
"""Subjects beside the operators. Whoever deletes a request holds `REDIS` until it is there again: it is made
of what Redis and the running operators know of it, and a known edge is that they lose that in the same
moment."""
REMADE_SECONDS = 120.0
"""So long further faults of Redis are held back at most, until a deleted request is there again: a second or
two, unless the machine does much else."""


@dataclass(frozen=True)
class Fault(ABC):
    """Something breaks `at` seconds, for so many `seconds`, and is mended."""

    at: float
    seconds: float
    kind: ClassVar[str]
    """As the table names it."""

    @property
    @abstractmethod
    def subjects(self) -> tuple[str, ...]:
        """What it works on, in the order in which they are locked."""

    @abstractmethod
    async def inject(self, world: ChaosWorld, accounting: Accounting) -> None:
        """Break it, wait, and mend it."""

    async def run(self, world: ChaosWorld, accounting: Accounting) -> None:
        """Wait for the moment and for whoever else works on the same, then break it."""
        await asyncio.sleep(max(0.0, self.at - world.seconds))
        async with AsyncExitStack() as stack:
            for subject in self.subjects:
                await stack.enter_async_context(world.lock(subject))
            accounting.fault(f"--- {self.kind} ({self.detail})", world.seconds)
            await self.inject(world, accounting)
            accounting.fault(f"--- {self.kind}: over", world.seconds)

    @property
    def detail(self) -> str:
        """For the history."""
        return f"{self.seconds:.1f} s"


# --- operators


@dataclass(frozen=True)
class OnOperator(Fault):
    """A fault of one operator."""

    number: int

    @property
    def subjects(self) -> tuple[str, ...]:
        """See `Fault`."""
        return (f"operator {self.number}",)

    @property
    def detail(self) -> str:
        """See `Fault`."""
        return f"operator {self.number}, {self.seconds:.1f} s"


class OperatorKilled(OnOperator):
    """SIGKILL, and it comes back."""

    kind = "operator killed"

    async def inject(self, world: ChaosWorld, accounting: Accounting) -> None:
        """See `Fault`."""
        await kill([world.replicas[self.number]], self.seconds)


class OperatorPaused(OnOperator):
    """SIGSTOP, then SIGCONT: it believes what it believed."""

    kind = "operator paused"

    async def inject(self, world: ChaosWorld, accounting: Accounting) -> None:
        """See `Fault`."""
        operator = world.replicas[self.number].operator
        if not operator.running:
            return
        with contextlib.suppress(ProcessLookupError):
            operator.pause()
        await asyncio.sleep(self.seconds)
        with contextlib.suppress(ProcessLookupError):
            operator.resume()


class ReplicaWithoutRedis(OnOperator):
    """One operator cannot reach Redis, the others can."""

    kind = "Redis out of one operator's reach"

    async def inject(self, world: ChaosWorld, accounting: Accounting) -> None:
        """See `Fault`."""
        proxy = world.replicas[self.number].proxy
        assert proxy is not None
        proxy.disconnect()
        await asyncio.sleep(self.seconds)
        proxy.reconnect()


class RepliesLost(OnOperator):
    """Redis does what it is told, and the operator does not hear of it."""

    kind = "replies of Redis lost"

    async def inject(self, world: ChaosWorld, accounting: Accounting) -> None:
        """See `Fault`."""
        proxy = world.replicas[self.number].proxy
        assert proxy is not None
        rule = proxy.cut("EVALSHA", when="after", times=6)
        await asyncio.sleep(self.seconds)
        proxy.remove(rule)


class SlowRedis(OnOperator):
    """Each script of one operator takes its time on the way."""

    kind = "Redis slow for one operator"

    async def inject(self, world: ChaosWorld, accounting: Accounting) -> None:
        """See `Fault`."""
        proxy = world.replicas[self.number].proxy
        assert proxy is not None
        rule = proxy.delay("EVALSHA", 0.7)
        await asyncio.sleep(self.seconds)
        proxy.remove(rule)


@dataclass(frozen=True)
class AllKilled(Fault):
    """Nobody runs; Redis may be emptied in that time."""

    kind = "all operators killed at once"
    redis_emptied: bool

    @property
    def subjects(self) -> tuple[str, ...]:
        """See `Fault`."""
        return (REDIS, "operator 0", "operator 1", "operator 2")

    @property
    def detail(self) -> str:
        """See `Fault`."""
        return f"{self.seconds:.1f} s, Redis {'emptied' if self.redis_emptied else 'kept'}"

    async def inject(self, world: ChaosWorld, accounting: Accounting) -> None:
        """See `Fault`."""
        killed = asyncio.create_task(kill(world.replicas, self.seconds))
        await asyncio.sleep(self.seconds / 2)
        if self.redis_emptied:
            await empty(world)
        await killed


async def kill(replicas: Sequence[Replica], seconds: float) -> None:
    """SIGKILL; after the time the kubelet may start them again."""
    for replica in replicas:
        replica.held_down = True
    for replica in replicas:
        await asyncio.to_thread(replica.operator.kill)
        if replica.proxy:
            # What it had sent and the proxy still holds is lost with it.
            replica.proxy.disconnect()
            replica.proxy.reconnect()
    await asyncio.sleep(seconds)
    for replica in replicas:
        replica.held_down = False


# --- Redis


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


# --- the API server


class OnApi(Fault):
    """A fault of the API server as all operators see it."""

    @property
    def subjects(self) -> tuple[str, ...]:
        """See `Fault`."""
        return (API,)


class ApiServerKilled(OnApi):
    """SIGKILL, and it comes back."""

    kind = "API server killed"

    async def inject(self, world: ChaosWorld, accounting: Accounting) -> None:
        """See `Fault`."""
        await asyncio.to_thread(world.control_plane.kill_apiserver)
        await asyncio.sleep(self.seconds)
        await asyncio.to_thread(world.control_plane.start_apiserver)


@dataclass(frozen=True)
class ApiAnswers(OnApi):
    """Some requests are answered by an error: before they were carried out, or although they were."""

    kind = "API answers 429, 500, 503, or none"
    status: int
    """0: the connection is cut instead of an answer."""
    carried_out: bool

    @property
    def detail(self) -> str:
        """See `Fault`."""
        return f"{self.status or 'cut'} {'after' if self.carried_out else 'before'}, {self.seconds:.1f} s"

    async def inject(self, world: ChaosWorld, accounting: Accounting) -> None:
        """See `Fault`."""
        proxy, when = world.api_proxy, "after" if self.carried_out else "before"
        if self.status:
            headers = {"Retry-After": "1"} if self.status == 429 else {}
            rule = proxy.respond("*", "", self.status, headers=headers, times=30, when=when)
        else:
            rule = proxy.cut("*", "", times=30, when=when)
        await self.keep(world, rule)

    async def keep(self, world: ChaosWorld, rule: Rule) -> None:
        """The rule holds for the time."""
        await asyncio.sleep(self.seconds)
        world.api_proxy.remove(rule)


class Conflicts(OnApi):
    """Each write of a status is told that somebody else was first."""

    kind = "conflicts on status"

    async def inject(self, world: ChaosWorld, accounting: Accounting) -> None:
        """See `Fault`."""
        reason = {"reason": "Conflict", "message": "the object has been modified"}
        rule = world.api_proxy.respond("PATCH", "remediationrequests/.*/status", 409, reason, times=12)
        await asyncio.sleep(self.seconds)
        world.api_proxy.remove(rule)


class WatchesCut(OnApi):
    """Every watch ends."""

    kind = "watches cut"

    async def inject(self, world: ChaosWorld, accounting: Accounting) -> None:
        """See `Fault`."""
        world.api_proxy.end_watches("")


class WatchesExpired(OnApi):
    """Every watch is told 410: what it was at is no longer there."""

    kind = "410 to watches"

    async def inject(self, world: ChaosWorld, accounting: Accounting) -> None:
        """See `Fault`."""
        status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Expired", "code": 410}
        gone = {"type": "ERROR", "object": status | {"message": "too old resource version"}}
        with contextlib.suppress(OSError, aiohttp.ClientError):
            await world.api_proxy.inject("", gone)


# --- requests


class RequestsDeleted(Fault):
    """Somebody deletes some open requests by hand."""

    kind = "requests deleted"

    @property
    def subjects(self) -> tuple[str, ...]:
        """See `Fault`."""
        return (REDIS,)

    async def inject(self, world: ChaosWorld, accounting: Accounting) -> None:
        """See `Fault`."""
        with contextlib.suppress(*REFUSED):
            for request in await world.requests():
                shown = Shown.read(request)
                if shown.phase in {"Open", "Settled"} and shown.total and await self._is_held(world, shown):
                    await self._delete(world, accounting, request["metadata"])
                    return

    async def _is_held(self, world: ChaosWorld, shown: Shown) -> bool:
        """Whether Redis has all that the request holds: it may have lost something a moment ago."""
        incarnation = shown.incarnation.partition(" ")[0]
        found = await asyncio.to_thread(world.store.storm, shown.group_hash)
        return (
            found.get("incarnation") == incarnation
            and int(found.get("total", 0)) + int(found.get("changes", 0)) >= shown.folded
        )

    async def _delete(self, world: ChaosWorld, accounting: Accounting, metadata: dict[str, str]) -> None:
        of_namespace = f"/apis/stormfold.dev/v1alpha1/namespaces/{metadata['namespace']}"
        path = f"{of_namespace}/remediationrequests/{metadata['name']}"
        just_this = {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
        try:
            # As it was read: a request that has been closed meanwhile would stay away, and rightly.
            await world.api.request("DELETE", path, {"preconditions": just_this})
        except ApiError:
            return
        accounting.fault(f"deleted {metadata['name']}", world.seconds)
        until = world.seconds + REMADE_SECONDS
        while world.seconds < until:
            await asyncio.sleep(0.2)
            with contextlib.suppress(*REFUSED):
                again = await world.api.get("RemediationRequest", metadata["name"], metadata["namespace"])
                if again and (again.get("status") or {}).get("phase"):
                    return


# --- the schedule of a seed


class Dice:
    """What a seed decides about faults."""

    def __init__(self, seed: int, seconds: float) -> None:
        self.dice = random.Random(f"faults {seed}")
        self._seconds = seconds

    def at(self) -> float:
        """A moment of the stream."""
        return self.dice.uniform(2.0, self._seconds - 2.0)

    def lasting(self, least: float, most: float) -> tuple[float, float]:
        """A moment, and for how long."""
        return self.at(), self.dice.uniform(least, most)

    def someone(self) -> int:
        """One of three."""
        return self.dice.randrange(3)

    def likely(self, chance: float = 0.5) -> bool:
        """Whether it is so."""
        return self.dice.random() < chance

    def times(self, least: int, most: int) -> range:
        """How often."""
        return range(self.dice.randint(least, most))


def scheduled(seed: int, run: str, *, seconds: float) -> list[Fault]:
    """The faults of a run, in the order of time."""
    d = Dice(seed, seconds)
    faults = [*_of_operators(d), *_of_any_redis(d), *_of_the_api(d)]
    match run:
        case "main":
            faults += _of_one_redis(d)
        case "sentinel":
            faults += [
                FailOver(*d.lasting(0.5, 2.0), d.dice.choice((0.0, d.dice.uniform(0.2, 1.5))))
                for _ in d.times(2, 3)
            ]
        case "cluster":
            faults += [
                *(
                    SlotsMoved(d.at(), 0.0, tuple(d.dice.sample(range(64), 12)), d.someone())
                    for _ in d.times(3, 4)
                ),
                *(RedisKept(*d.lasting(0.0, 3.0), d.someone()) for _ in d.times(1, 2)),
                *(RedisLost(*d.lasting(0.0, 2.0), d.someone()) for _ in d.times(0, 1)),
            ]
    return sorted(faults, key=lambda fault: fault.at)


def _of_operators(d: Dice) -> list[Fault]:
    return [
        *(OperatorKilled(*d.lasting(0.0, 3.0), d.someone()) for _ in d.times(2, 4)),
        *(OperatorPaused(*d.lasting(0.5, 7.0), d.someone()) for _ in d.times(1, 3)),
        *(AllKilled(*d.lasting(0.2, 2.0), d.likely()) for _ in d.times(0, 1)),
    ]


def _of_any_redis(d: Dice) -> list[Fault]:
    return [
        *(RedisEmptied(d.at(), 0.0) for _ in d.times(1, 2)),
        *(ScriptsForgotten(d.at(), 0.0) for _ in d.times(1, 3)),
        *(RedisFull(*d.lasting(1.0, 4.0)) for _ in d.times(1, 1)),
        *(RedisHangs(*d.lasting(1.0, 6.5)) for _ in d.times(1, 2)),
    ]


def _of_one_redis(d: Dice) -> list[Fault]:
    return [
        *(RedisKept(*d.lasting(0.0, 3.0)) for _ in d.times(1, 2)),
        *(RedisLost(*d.lasting(0.0, 2.0)) for _ in d.times(0, 1)),
        *(RedisRestored(*d.lasting(0.0, 2.0), age=d.dice.uniform(0.5, 5.0)) for _ in d.times(1, 1)),
        *(ReplicaWithoutRedis(*d.lasting(0.2, 5.0), d.someone()) for _ in d.times(1, 2)),
        *(RepliesLost(*d.lasting(0.5, 2.0), d.someone()) for _ in d.times(2, 3)),
        *(SlowRedis(*d.lasting(1.0, 4.0), d.someone()) for _ in d.times(1, 2)),
    ]


def _of_the_api(d: Dice) -> list[Fault]:
    statuses = (0, 429, 500, 503)
    return [
        *(ApiServerKilled(*d.lasting(0.0, 2.0)) for _ in d.times(0, 1)),
        *(ApiAnswers(*d.lasting(0.5, 2.0), d.dice.choice(statuses), d.likely()) for _ in d.times(2, 4)),
        *(Conflicts(*d.lasting(0.5, 3.0)) for _ in d.times(1, 2)),
        *(WatchesCut(d.at(), 0.0) for _ in d.times(1, 3)),
        *(WatchesExpired(d.at(), 0.0) for _ in d.times(1, 2)),
        *(RequestsDeleted(d.at(), 0.0) for _ in d.times(2, 4)),
    ]


def clock_offset(seed: int) -> float:
    """By how many seconds the clock of one operator is wrong, in a third of the seeds."""
    dice = random.Random(f"clock {seed}")
    if dice.random() >= 1 / 3:
        return 0.0
    return dice.choice((-30.0, 30.0)) * dice.uniform(0.2, 1.0)
