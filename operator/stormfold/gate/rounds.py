"""Rounds: when all requests are looked at again."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Hashable, Iterator

from stormfold.gate.gates import FOREVER
from stormfold.model.leading import Leader
from stormfold.model.seldom import Seldom

GATHER_SECONDS = 0.02
"""How long changes are gathered: a hold is one change, and a storm is many."""
SHARE = 10
"""Between two rounds lies so many times the CPU that the first took: holds and looks take a tenth each,"""
LONGEST_PAUSE_SECONDS = 0.25
"""unless this is shorter: a hold that comes while others are written counts within a second, too."""
LEAD_SECONDS = 0.2
"""How often it is asked whether this replica leads."""
RETRY_SECONDS = 0.5
"""When it is tried again to read or write what the API server has refused, whatever else changes."""
RETRY_MS = int(RETRY_SECONDS * 1000)
TELL_SECONDS = 60.0
"""How often the log says of one thing that it is refused."""


class Rounds:
    """The next round comes when something has changed, when its time has come, and when this replica begins
    to lead, or leads no more."""

    def __init__(self, leader: Leader, now_ms: Callable[[], int]) -> None:
        self._leader = leader
        self.now_ms = now_ms
        self.changed = asyncio.Event()
        """Something is to be looked at as soon as may be."""
        self.next_ms = FOREVER
        """When to look again though nothing changes, UTC milliseconds."""
        self.took = 0.0
        """Seconds of CPU that this round took to judge, without what it waited for answers."""
        self.led = False
        """Whether this replica led when the last round began."""
        self._refused: dict[Hashable, int] = {}
        """What was refused → when, UTC milliseconds."""
        self._told = Seldom()

    @property
    def leading(self) -> bool:
        """Whether this replica leads now."""
        return self._leader.leading

    def at(self, when_ms: int) -> None:
        """Look again at that time, or earlier."""
        self.next_ms = min(self.next_ms, when_ms)

    def refused(self, what: Hashable) -> None:
        """The API server has refused something about this, or not answered: it rests for `RETRY_SECONDS`."""
        self._refused[what] = self.now_ms()
        self.rests(what)

    def tells(self, what: Hashable) -> bool:
        """Whether the log is to say that this was refused: once in `TELL_SECONDS`."""
        return self._told.tells(TELL_SECONDS, what)

    def rests(self, what: Hashable) -> bool:
        """Whether it is too early to ask again about this. There is a round when it no longer is."""
        left_ms = self._rest_ms(self._refused.get(what, 0))
        if left_ms:
            self.at(self.now_ms() + left_ms)
        return left_ms > 0

    def _rest_ms(self, refused_ms: int) -> int:
        passed_ms = self.now_ms() - refused_ms
        return RETRY_MS - passed_ms if 0 <= passed_ms < RETRY_MS else 0  # a clock may go back

    @contextlib.contextmanager
    def judging(self) -> Iterator[None]:
        """Around what takes CPU in a round."""
        began = time.thread_time()
        yield
        self.took += time.thread_time() - began

    async def next(self) -> bool:
        """Wait for the next round; whether this replica leads."""
        clock = asyncio.get_running_loop().time
        began = clock()
        while True:
            seconds = max(0.0, min(LEAD_SECONDS, (self.next_ms - self.now_ms()) / 1000))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self.changed.wait()
            due = self.now_ms() >= self.next_ms
            if self.changed.is_set() or due or self.leading is not self.led:
                break
        await asyncio.sleep(GATHER_SECONDS)
        # By now the last round has judged, if it runs beside this.
        await asyncio.sleep(began + min(SHARE * self.took, LONGEST_PAUSE_SECONDS) - clock())
        self.changed.clear()
        self._refused = {what: at for what, at in self._refused.items() if self._rest_ms(at)}
        self.next_ms, self.took, self.led = FOREVER, 0.0, self.leading
        return self.led
