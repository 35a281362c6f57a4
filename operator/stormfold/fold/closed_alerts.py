"""ClosedAlerts: what Redis knows of the alerts of a storm that is closed."""

from collections.abc import Mapping
from dataclasses import dataclass

from stormfold.fold import keys
from stormfold.fold.connection import Connection
from stormfold.fold.errors import StoreContentError
from stormfold.fold.groups import UNREADABLE, Groups
from stormfold.model.group import partition
from stormfold.model.limits import KNOWN_ALERTS
from stormfold.model.storm import State, TrackedAlert


@dataclass(frozen=True, slots=True)
class ClosedAlerts:
    """The alerts that the next storm of a group knows before it, by their latest words."""

    alerts: Mapping[str, TrackedAlert]
    """By their ids. One that began anew and was discarded fires in no request."""
    complete: bool = True
    """Whether all alerts of the storm that fire are among them."""
    expired: bool = False
    """Nobody has spoken of any of them for a day, so that none is known any more."""


NONE_KNOWN = ClosedAlerts({}, complete=False)


def closed_alerts_of(
    storm: Mapping[str, str], before: Mapping[str, str], *, stale_after_ms: int, now_ms: int
) -> ClosedAlerts:
    """What the hash of a closed storm and that of its alerts say, as `lua/include/alert.lua` writes them."""
    heard_ms = int(storm.get("heard_ms") or 0)
    alerts: dict[str, TrackedAlert] = {}
    for id_, text in before.items():
        starts, _, said = text[1:].partition(",")
        state = "r" if said.endswith("d") else text[0]
        heard = max(int(said.rstrip("bcd")), heard_ms)
        stale = state == "s" or (state == "f" and heard + stale_after_ms <= now_ms)
        alerts[id_] = TrackedAlert(id_, int(starts), firing=state == "f" and not stale, stale=stale)
    complete = not int(storm.get("alerts_unknown") or 0) and len(before) < KNOWN_ALERTS
    return ClosedAlerts(alerts, complete, expired=not before)


class ClosedStorms:
    """Reads them, and forgets them.

    Every method may raise `StoreUnavailableError`: it may be repeated.
    """

    def __init__(self, connection: Connection, groups: Groups) -> None:
        self._connection = connection
        self._groups = groups

    async def alerts(
        self, group_hash: str, epoch: int, *, stale_after_ms: int, now_ms: int
    ) -> ClosedAlerts | None:
        """The alerts of a group that is closed at that epoch, as they are known now; none if it is at another
        one. None: Redis does not know the group, or what it held could not be read, and is deleted."""
        try:
            return await self._alerts(group_hash, epoch, stale_after_ms, now_ms)
        except (StoreContentError, *UNREADABLE) as exc:
            await self._groups.forget([group_hash], exc)
            return None

    async def _alerts(
        self, group_hash: str, epoch: int, stale_after_ms: int, now_ms: int
    ) -> ClosedAlerts | None:
        number = partition(group_hash)
        fields = "state", "epoch", "heard_ms", "alerts_unknown"
        async with self._connection.calling("reading alerts of a closed request"):
            pipeline = self._connection.pipeline()
            pipeline.hmget(keys.storm(number, group_hash), *fields)
            pipeline.hgetall(keys.before(number, group_hash))
            found, alerts = await pipeline.execute()
        storm = dict(zip(fields, found, strict=True))
        if storm["epoch"] is None:
            return None
        if (storm["state"], storm["epoch"]) != (State.CLOSED, str(epoch)):
            return NONE_KNOWN
        return closed_alerts_of(storm, alerts, stale_after_ms=stale_after_ms, now_ms=now_ms)

    async def forget_firing(self, group_hash: str, epoch: int) -> bool:
        """Forget those alerts that fire of a group that is closed at that epoch: they count anew. If it opens
        at the same moment, those that it has carried over stay known there. False: it is at another epoch, or
        open."""
        known = await self.alerts(group_hash, epoch, stale_after_ms=0, now_ms=0)
        if known is None or known is NONE_KNOWN:
            return known is None
        number = partition(group_hash)
        ids = [alert.id for alert in known.alerts.values() if alert.firing or alert.stale]
        async with self._connection.calling("forgetting alerts of a deleted request"):
            pipeline = self._connection.pipeline()
            if ids:
                pipeline.hdel(keys.before(number, group_hash), *ids)
            pipeline.delete(keys.beyond(number, group_hash))
            await pipeline.execute()
        return True
