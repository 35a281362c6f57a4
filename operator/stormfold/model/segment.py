"""Segment: a fixed share of the namespaces, and the unit that ingest shards divide among themselves.

What is counted of a segment is known by one resourceVersion, in the Lease as in each request. So the number
of shards may change at any time: segments change hands, and nothing that was written depends on who held
them.
"""

from functools import lru_cache
from zlib import crc32

SEGMENTS = 16
"""How many there are, and so the most shards. A constant: Leases, requests and Redis tell of them by
number."""


@lru_cache(maxsize=8192)
def segment(namespace: str) -> int:
    """The segment of a namespace: 0 … 15."""
    return crc32(namespace.encode()) % SEGMENTS


def stream(segment: int, *, of_events: bool) -> str:
    """The name of what comes in order of a segment: its Signals, or its Events."""
    return f"e{segment}" if of_events else str(segment)


STREAMS = tuple(
    stream(number, of_events=of_events) for of_events in (False, True) for number in range(SEGMENTS)
)


def segments_of(shard: int, shards: int) -> range:
    """The segments of one of so many shards."""
    return range(shard, SEGMENTS, shards)
