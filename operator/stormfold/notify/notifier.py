"""Notifier: while this replica leads, each Alertmanager knows of each open storm, and that a closed one is
over.

There is no queue. What each Alertmanager is to hear follows from the requests as they are now, so one that
was away is told all of it by the next post, and what it missed meanwhile does not matter any more.
"""

import asyncio
import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Protocol

import aiohttp
from prometheus_client import Counter

from stormfold.model.leading import Leader
from stormfold.notify.alertmanager import Alertmanager, NotToldError
from stormfold.notify.alerts import VALID, alert, ended, is_storm
from stormfold.request.reading import Request

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""How often it is asked what is to be said: so late people hear of a storm."""
REPEAT_SECONDS = VALID.total_seconds() / 3
MOST_BACKOFF_SECONDS = 30.0
"""How long it is waited at most after a post that failed."""
AT_ONCE = 500
"""Alerts in one post."""
REMEMBERED = 2 * VALID
"""A storm that was closed longer ago is not spoken of: Alertmanager has let it end by itself."""

Key = tuple[str, int]
"""Group hash and epoch."""
Said = tuple[Key, bool]
"""Of a storm, and whether it is open."""

POSTS = Counter("stormfold_notify_posts_total", "Posts to Alertmanagers about storms.", ["outcome"])
ALERTS = Counter(
    "stormfold_notify_alerts_total", "Alerts about storms that Alertmanagers have taken.", ["state"]
)


def pause_seconds(failures: int) -> float:
    """How long it is waited before an Alertmanager is told again that has failed so often in a row."""
    doublings = min(failures, 16)  # more of them would be no float any more after a night
    return min(LOOK_SECONDS * float(2**doublings), MOST_BACKOFF_SECONDS)


class Requests(Protocol):
    """The requests of this process."""

    def get(self, group_hash: str, epoch: int) -> Request | None:
        """The request of one storm, if it is there."""


class Storms:
    """The requests of which people are to hear: those that are open, and those that were closed lately."""

    def __init__(self) -> None:
        self._open: dict[Key, Request] = {}
        self._over: dict[Key, tuple[Request, datetime]] = {}
        """With the time at which they were closed."""

    def observed(self, request: Request) -> None:
        """A newer version of a request was seen."""
        if not is_storm(request):
            return
        key, end = (request.group_hash, request.epoch), ended(request)
        if end is None:
            self._open[key] = request
            return
        self._open.pop(key, None)
        if end > datetime.now(UTC) - REMEMBERED:
            self._over[key] = request, end

    def tidy(self, requests: Requests, now: datetime) -> None:
        """Forget those that were closed longer ago than `REMEMBERED`, and open ones that were deleted."""
        for key in [key for key, (_, end) in self._over.items() if end < now - REMEMBERED]:
            del self._over[key]
        for key in [key for key in self._open if requests.get(*key) is None]:
            del self._open[key]

    def now(self) -> Iterator[Said]:
        """What is to be said of each."""
        yield from ((key, True) for key in self._open)
        yield from ((key, False) for key in self._over)

    def request(self, key: Key, fires: bool) -> Request | None:
        """The request behind something that is to be said; None if that holds no longer."""
        return self._open.get(key) if fires else self._over[key][0] if key in self._over else None


class Told:
    """What one Alertmanager has taken."""

    def __init__(self) -> None:
        self._taken: dict[Said, float] = {}
        """With the time of the monotonic clock."""

    def due(self, storms: Storms, now: float) -> list[Said]:
        """What it is to be told at that time. What is over is said once."""
        long_ago = now - REPEAT_SECONDS
        return [
            said
            for said in storms.now()
            if (at := self._taken.get(said)) is None or (said[1] and at <= long_ago)
        ]

    def took(self, said: Iterable[Said], now: float) -> None:
        """It has taken that."""
        self._taken |= dict.fromkeys(said, now)

    def tidy(self, storms: Storms) -> None:
        """Forget what is not to be said any more."""
        current = set(storms.now())
        self._taken = {said: at for said, at in self._taken.items() if said in current}


class Notifier:
    """Tells each Alertmanager on its own: one that is away does not keep the others from hearing."""

    def __init__(self, alertmanagers: Sequence[Alertmanager], requests: Requests, leader: Leader) -> None:
        self._alertmanagers = alertmanagers
        self._requests = requests
        self._leader = leader
        self._storms = Storms()

    def observed(self, request: Request) -> None:
        """A newer version of a request was seen."""
        self._storms.observed(request)

    async def run(self) -> None:
        """Tell them for ever."""
        async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as tasks:
            for alertmanager in self._alertmanagers:
                tasks.create_task(self._tell(session, alertmanager), name=f"notify-{alertmanager.url}")
            while True:
                await asyncio.sleep(REPEAT_SECONDS)
                self._storms.tidy(self._requests, datetime.now(UTC))

    async def _tell(self, session: aiohttp.ClientSession, alertmanager: Alertmanager) -> None:
        told, failures = Told(), 0
        while True:
            await asyncio.sleep(pause_seconds(failures))
            if not self._leader.leading:
                told, failures = Told(), 0
                continue
            told.tidy(self._storms)
            try:
                await self._post(session, alertmanager, told)
                if failures:
                    log.info("Alertmanager accepts storms again", extra={"url": alertmanager.url})
                failures = 0
            except NotToldError as exc:
                POSTS.labels(outcome="failed").inc()
                if not failures:
                    log.warning(
                        "Alertmanager was not told of storms, trying again",
                        extra={"url": alertmanager.url, "error": str(exc)},
                    )
                failures += 1

    async def _post(self, session: aiohttp.ClientSession, alertmanager: Alertmanager, told: Told) -> None:
        """All that is due, `AT_ONCE` at a time. Raises `NotToldError`."""
        due = told.due(self._storms, time.monotonic())
        for first in range(0, len(due), AT_ONCE):
            if not self._leader.leading:
                return
            now = datetime.now(UTC)
            alerts = {
                said: alert(request, now)
                for said in due[first : first + AT_ONCE]
                if (request := self._behind(said))
            }
            if alerts:
                await alertmanager.post(session, list(alerts.values()))
                POSTS.labels(outcome="taken").inc()
                told.took(alerts, time.monotonic())
            for _, fires in alerts:
                ALERTS.labels(state="firing" if fires else "resolved").inc()

    def _behind(self, said: Said) -> Request | None:
        """The request of which it is still to be said. One that was deleted is not spoken of until it is made
        again."""
        key, fires = said
        return None if fires and self._requests.get(*key) is None else self._storms.request(key, fires)
