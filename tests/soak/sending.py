"""Sending: Signals at full speed or at a rate, alerts of each group one post after the other."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from tests.harness.world import answer_of, posting
from tests.soak.counts import Counts, place_of
from tests.soak.stream import ALERTS, GROUPS, Group, Turns, alert, signal
from tests.soak.world import SoakWorld

from stormfold.api.signal import Signal
from stormfold.kube import paths

CREATES_AT_ONCE = 50
BETWEEN_POSTS_SECONDS = 0.5
REPEATED = 4
"""Each fourth post goes to the other replica, too, after it was answered."""


@dataclass
class Sender:
    """Sends until it is told to stop, and notes what was taken."""

    world: SoakWorld
    counts: Counts
    created: int = 0
    posted: int = 0
    """Alerts, each once."""
    refused: Counter[int] = field(default_factory=Counter)
    """Answers to posts other than 200, 0 for none; they are sent again."""

    def __post_init__(self) -> None:
        self._turns = Turns()
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._began

    async def create(self, seconds: float, *, per_second: float | None = None) -> float:
        """Create Signals for so long, as fast as they are taken unless a rate is given; how many a second it
        was."""
        began, before = time.monotonic(), self.created
        due = began

        async def some() -> None:
            nonlocal due
            while (now := time.monotonic()) < began + seconds:
                if per_second:
                    wait, due = due - now, due + 1 / per_second
                    await asyncio.sleep(max(0.0, wait))
                await self._create_next()

        async with asyncio.TaskGroup() as tasks:
            for _ in range(CREATES_AT_ONCE):
                tasks.create_task(some())
        return (self.created - before) / (time.monotonic() - began)

    async def _create_next(self) -> None:
        group, number = self._turns.next(self.seconds)
        self.counts.sent[place_of(group, group.pod(number))] += 1
        await self.world.client.create(
            paths.collection(Signal.plural, group.namespace), signal(group, number)
        )
        self.created += 1

    async def post(self, stop: asyncio.Event) -> None:
        """Post alerts about every second group while it has a storm, until it is time to stop."""
        async with (
            posting() as session,
            asyncio.TaskGroup() as tasks,
        ):
            for group in GROUPS:
                if group.alerts_too:
                    tasks.create_task(self._post_of(group, session, stop))

    async def _post_of(self, group: Group, session: aiohttp.ClientSession, stop: asyncio.Event) -> None:
        post = 0
        while not stop.is_set():
            await asyncio.sleep(BETWEEN_POSTS_SECONDS)
            if not group.has_storm(self.seconds):
                continue
            places = [post * ALERTS + place for place in range(ALERTS)]
            starts = time.time()

            def body(*, firing: bool, places: list[int] = places, starts: float = starts) -> Any:
                alerts = [alert(group, place, starts=starts, firing=firing) for place in places]
                return {"version": "4", "alerts": alerts}

            self.counts.sent.update(place_of(group, group.pod(place)) for place in places)
            self.posted += ALERTS
            await self._until_taken(session, body(firing=True), post)
            if post % REPEATED == 0:
                await self._until_taken(session, body(firing=True), post + 1)
            await self._until_taken(session, body(firing=False), post)
            post += 1

    async def _until_taken(self, session: aiohttp.ClientSession, body: Any, replica: int) -> None:
        operators = self.world.operators
        while (
            code := (await answer_of(session, operators[replica % len(operators)].webhook_url, body))[0]
        ) != 200:
            self.refused[code] += 1
            await asyncio.sleep(BETWEEN_POSTS_SECONDS)
            replica += 1
