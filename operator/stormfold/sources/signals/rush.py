"""Rush: whether Signals arrive so fast that their deletion has to wait. Pure: the time is an argument."""

from collections import deque

RUSH_SIGNALS = 400
RUSH_SECONDS = 2.0
"""It is a rush while so many Signals arrived within so many seconds: 200 a second. Below that, an API server
that creates several hundred a second deletes as many beside."""
LIVE_AT_MOST = 10_000
"""With so many Signals in the cluster, deletions go on even in a rush: about 10 MB in etcd."""


class Rush:
    """The moments of the latest arrivals, and how many Signals there were at the last one."""

    def __init__(self) -> None:
        self._latest: deque[float] = deque(maxlen=RUSH_SIGNALS)
        self._live = 0

    def arrived(self, now: float, live: int) -> None:
        """A Signal arrives. `now` is in seconds of a monotonic clock, `live` how many Signals there are."""
        self._latest.append(now)
        self._live = live

    def holds_deletions(self, now: float) -> bool:
        """Whether deletions wait: the latest Signals came fast, and there is room for more."""
        fast = len(self._latest) == RUSH_SIGNALS and now - self._latest[0] < RUSH_SECONDS
        return fast and self._live < LIVE_AT_MOST
