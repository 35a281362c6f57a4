"""Faults of operators: they are killed or stopped, and what lies between them and Redis is cut or slow."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from tests.chaos.accounting import Accounting
from tests.chaos.faults.fault import REDIS, Fault
from tests.chaos.faults.redis import empty
from tests.chaos.world import ChaosWorld
from tests.harness.world import Replica


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
    keeps_from_deciding = True

    async def inject(self, world: ChaosWorld, accounting: Accounting) -> None:
        """See `Fault`."""
        await kill([world.replicas[self.number]], self.seconds)


class OperatorPaused(OnOperator):
    """SIGSTOP, then SIGCONT: it believes what it believed."""

    kind = "operator paused"
    keeps_from_deciding = True

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
    keeps_from_deciding = True
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
