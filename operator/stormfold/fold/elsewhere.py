"""Elsewhere: how common values of attributes have been of late, as the storms of all partitions tell it."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping

from stormfold.fold import keys
from stormfold.fold.causes import counted_of
from stormfold.fold.connection import Connection
from stormfold.fold.errors import StoreContentError, class_of
from stormfold.model.causes import Commonness, Sum
from stormfold.model.group import PARTITIONS

FRESH_MS = 2000
"""What was read is not read again for so long."""


class Elsewhere:
    """What storms of the last hour have told, as far as it was asked for."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._read_ms = 0
        self._reading = asyncio.Lock()
        self._told: dict[str, str] = {}
        self._sums = defaultdict[str, Sum](Sum)

    async def refresh(self, *, now_ms: int, since_ms: int = 0) -> None:
        """Read it anew, unless that was just done, and after `since_ms`. Raises like `StormStore`."""
        newest_ms = max(since_ms, now_ms - FRESH_MS)
        if self._read_ms >= newest_ms:
            return
        async with self._reading:
            if self._read_ms < newest_ms:  # nobody has read it meanwhile
                self._take(await self._read(now_ms))
                self._read_ms = now_ms

    async def _read(self, now_ms: int) -> dict[str, str]:
        async with self._connection.calling("reading how common values are"):
            calls = self._connection.pipeline()
            for half_hour in (now_ms - keys.SEEN_MS, now_ms):
                for number in range(PARTITIONS):
                    calls.hgetall(keys.seen(number, half_hour))
            found = await calls.execute(raise_on_error=False)
            for some in found:
                if isinstance(some, Exception) and class_of(some) is not StoreContentError:
                    raise some
        return {storm: text for some in found if isinstance(some, dict) for storm, text in some.items()}

    def _take(self, told: dict[str, str]) -> None:
        """Have the sums say this: only what has changed is added or taken away."""
        before, self._told = self._told, told
        for storm, text in before.items():
            if told.get(storm) != text:
                for attribute, counted in counted_of(text).items():
                    self._sums[attribute].take(counted)
        for storm, text in told.items():
            if before.get(storm) != text:
                for attribute, counted in counted_of(text).items():
                    self._sums[attribute].add(counted)

    def than(self, group_hash: str, epoch: int) -> Mapping[str, Commonness]:
        """What all others than this one have told, as of now."""
        storm = f"{group_hash}:{epoch}"
        own = counted_of(self._told[storm]) if storm in self._told else {}
        return {
            attribute: of.without(own[attribute]) if attribute in own else of
            for attribute, of in self._sums.items()
        }
