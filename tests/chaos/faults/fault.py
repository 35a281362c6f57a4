"""What all faults have in common: a moment, a duration, and subjects that one of them has at a time."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import ClassVar

from tests.chaos.accounting import Accounting
from tests.chaos.leading import Disturbance
from tests.chaos.world import ChaosWorld

REDIS, API = "redis", "api"
"""Subjects beside the operators. Whoever deletes a request holds `REDIS` until it is there again: it is made
of what Redis and the running operators know of it, and a known edge is that they lose that in the same
moment."""


@dataclass(frozen=True)
class Fault(ABC):
    """Something breaks `at` seconds, for so many `seconds`, and is mended."""

    at: float
    seconds: float
    kind: ClassVar[str]
    """As the table names it."""
    keeps_from_deciding: ClassVar[bool] = False
    """Whether nobody may be able to decide on requests meanwhile: decisions do without Redis."""

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
            began = time.time()
            await self.inject(world, accounting)
            accounting.fault(f"--- {self.kind}: over", world.seconds)
            operators = frozenset(
                one.replace(" ", "-") for one in self.subjects if one.startswith("operator")
            )
            if operators or API in self.subjects:
                world.disturbances.append(Disturbance(began, time.time(), operators))

    @property
    def detail(self) -> str:
        """For the history."""
        return f"{self.seconds:.1f} s"
