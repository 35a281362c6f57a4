"""Groups: what Redis holds of them. What cannot be read is deleted, as if Redis had lost it.

Requests and what is in flight give it back, as after any loss.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from stormfold.fold import keys
from stormfold.fold.connection import Connection
from stormfold.fold.errors import StoreContentError
from stormfold.fold.replies import Told, snapshot_of
from stormfold.fold.scripts import Script
from stormfold.model.group import partition
from stormfold.model.storm import Snapshot

log = logging.getLogger(__name__)

UNREADABLE = (ArithmeticError, LookupError, TypeError, ValueError)
"""What reading an answer of Redis raises that no script of ours has written."""
STORM, SEEN = ":storm:", ":seen:"


class Groups:
    """Calls about groups, whatever somebody has written into their keys."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def run(
        self, doing: str, script: Script, key_names: Sequence[str], args: Sequence[str | int]
    ) -> Any:
        """Run a script; once more if it could not read something of its groups, which is deleted then.

        Raises:
            StoreError: see `StormStore`.
        """
        try:
            return await self._call(doing, script, key_names, args)
        except StoreContentError as exc:
            groups = [key.partition(STORM)[2] for key in key_names if STORM in key]
            await self.forget(groups, exc, (key for key in key_names if SEEN in key))
            return await self._call(doing, script, key_names, args)

    async def _call(
        self, doing: str, script: Script, key_names: Sequence[str], args: Sequence[str | int]
    ) -> Any:
        async with self._connection.calling(doing):
            return await script(self._connection.scripts, list(key_names), list(args))

    async def snapshots(self, told: Mapping[str, Told], now_ms: int) -> list[Snapshot]:
        """What scripts say of storms, by their groups; one that cannot be read is deleted."""
        found: list[Snapshot] = []
        for group_hash, reply in told.items():
            try:
                found.append(snapshot_of(group_hash, reply, now_ms))
            except UNREADABLE as exc:
                await self.forget([group_hash], exc)
        return found

    async def forget(self, group_hashes: Sequence[str], why: Exception, others: Iterable[str] = ()) -> None:
        """Delete all that Redis holds of groups of one partition, since it cannot be read, and these keys."""
        log.error(
            "what Redis holds of storms cannot be read: it is deleted, and given back from their requests",
            extra={"groups": len(group_hashes), "groupHash": (*group_hashes, "")[0], "error": str(why)},
        )
        names = [name for one in group_hashes for name in keys.of_group(partition(one), one)]
        if names := [*names, *others]:
            async with self._connection.calling("deleting what cannot be read"):
                await self._connection.client.delete(*names)
