"""One group's storm on a real store: what the tests of the Redis tier say in one line."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from tests.harness.values import ARRIVAL, T0, TERMS

from lab.valkey import Valkey
from stormfold.fold import keys
from stormfold.fold.arguments import Fold, Reopening
from stormfold.fold.replies import AckWord, CloseWord, Folded, FreezeWord
from stormfold.fold.store import StormStore
from stormfold.model.arrival import AlertRef, Arrival, EventRef, SignalRef, Target
from stormfold.model.group import partition
from stormfold.model.storm import Detected, Seed, Snapshot, State, Terms

CLUSTER = "cluster-under-test"
GROUP_HASH = "00000000000000a7"


DISCARDED_AS = "DISCARDED:BELOW_THRESHOLD"
"""What those are told that `Group.discard` discards."""
SAVED = "saved:"
"""The prefix under which a test keeps a copy of what Redis had."""
COPY_KEYS = """
for _, key in ipairs(redis.call('KEYS', ARGV[2] .. '*')) do redis.call('DEL', key) end
for _, key in ipairs(redis.call('KEYS', ARGV[1] .. '*')) do
  redis.call('COPY', key, ARGV[2] .. string.sub(key, #ARGV[1] + 1))
end
"""
"""Puts copies of the keys with one prefix in the place of those with another."""


def fields_of(server: Valkey, storm_key: str) -> dict[str, str]:
    """The fields of a storm as `keys` lists them; none if it is not there."""
    flat = server.command("HGETALL", storm_key)
    assert isinstance(flat, list)
    return dict(zip(map(str, flat[::2]), map(str, flat[1::2]), strict=True))


def pod(name: str, namespace: str = "shop") -> Target:
    """A pod as the target of a signal."""
    return Target("v1", "Pod", name, namespace)


def signal(version: int, target: Target | str | None = "web-0", **changes: Any) -> Arrival:
    """The Signal with that resourceVersion, about a pod; `changes` are further fields of `Arrival`.

    It was seen as many ms after `T0` as its resourceVersion says.
    """
    fields: dict[str, Any] = {
        "ref": SignalRef("shop", f"signal-{version}", f"uid-{version}", 1, version),
        "target": pod(target) if isinstance(target, str) else target,
        "seen_ms": T0 + version,
    }
    return replace(ARRIVAL, **(fields | changes))


def signals(first: int, last: int, **changes: Any) -> list[Arrival]:
    """The Signals with the resourceVersions from `first` to `last`, each about a pod of its own."""
    return [signal(version, f"web-{version}", **changes) for version in range(first, last + 1)]


def alert(name: str, starts: int = 0, *, firing: bool = True, ends: int = 10_000, **changes: Any) -> Arrival:
    """The alert with that fingerprint that began `starts` s after `T0`; resolved, it ended `ends` s after."""
    return replace(
        ARRIVAL,
        ref=AlertRef(0, T0 // 1000 + starts, 0 if firing else T0 // 1000 + ends),
        fingerprint=name,
        firing=firing,
        target=None,
        **changes,
    )


def resolved(name: str, starts: int = 0, **changes: Any) -> Arrival:
    """The end of that alert."""
    return alert(name, starts, firing=False, **changes)


def event(uid: str, version: int, count: int, after: int = 0, **changes: Any) -> Arrival:
    """An Event at a resourceVersion, which has occurred so often."""
    return replace(ARRIVAL, ref=EventRef(uid, version, count, after), fingerprint=uid, **changes)


class Counted(str):
    """Equals every incarnation that begins like it: the end names the server."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and other.startswith(str(self))

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = str.__hash__


INCARNATION = Counted("incarnation")

OPENED = Snapshot(
    group_hash=GROUP_HASH,
    epoch=1,
    state=State.OPEN,
    incarnation=INCARNATION,
    origin="",
    terms=TERMS,
    opening="opening",
    total=1,
    folded=1,
    alerts=0,
    tracked_alerts=None,
    unknown_alerts=0,
    known_alerts=0,
    alerts_beyond=0,
    firing=1,
    resolved=0,
    firing_signals=1,
    approximate=False,
    severity=2,
    first_ms=T0 + 1,
    last_ms=T0 + 1,
    opened_ms=T0,
    arrived_ms=T0,
    window_ms=T0,
    detected=Detected.NO,
    rate_per_minute=1,
    resources=((pod("web-0"), 1),),
    resource_count=1,
    truncated=False,
    settled=False,
    revision=1,
    through=1,
    event_through=0,
    written=0,
    written_ms=0,
)
"""The storm that `signal(1)` opens at `T0`, where `one_incarnation` holds."""


@dataclass
class Group:
    """The storms of one group."""

    store: StormStore
    group_hash: str = GROUP_HASH
    terms: Terms = TERMS
    server: Valkey | None = None
    """Where the store's storms are."""

    @property
    def partition(self) -> int:
        """Where its keys are."""
        return partition(self.group_hash)

    @property
    def storm_key(self) -> str:
        """The key of its metadata."""
        return keys.storm(self.partition, self.group_hash)

    @property
    def ids_key(self) -> str:
        """The key of its ids."""
        return keys.ids(self.partition, self.group_hash)

    @property
    def due_key(self) -> str:
        """The key of its partition's deadlines."""
        return keys.due(self.partition)

    def fold_of(
        self,
        *arrivals: Arrival,
        known: tuple[int, int] = (0, 0),
        incarnation: str = "",
        seed: Seed | None = None,
        stale: str = "",
    ) -> Fold:
        """What `fold` sends; `known` is epoch and folded that Redis must know, `incarnation` its
        incarnation."""
        return Fold(
            self.group_hash,
            self.terms,
            "opening",
            arrivals,
            known_epoch=known[0],
            known_folded=known[1],
            known_incarnation=incarnation,
            stale=stale,
            seed=seed,
        )

    async def fold(
        self,
        *arrivals: Arrival,
        at: int = 0,
        known: tuple[int, int] = (0, 0),
        incarnation: str = "",
        seed: Seed | None = None,
        stale: str = "",
        reopening: Reopening | None = None,
    ) -> Folded:
        """Count in one call, `at` ms after `T0`."""
        fold = self.fold_of(*arrivals, known=known, incarnation=incarnation, seed=seed, stale=stale)
        fold = replace(fold, reopening=reopening)
        (answer,) = await self.store.fold(self.partition, [fold], now_ms=T0 + at)
        return answer

    async def claim(self, *, at: int) -> Snapshot | None:
        """The storm, if it is due `at` ms after `T0`."""
        claimed = await self.store.claim(self.partition, [self.group_hash], now_ms=T0 + at)
        return claimed[0] if claimed else None

    async def look(self, *, at: int) -> Snapshot:
        """The storm, due or not: it is made due."""
        await self.store.make_due([self.group_hash], now_ms=T0 + at)
        storm = await self.claim(at=at)
        assert storm is not None, "there is no such storm"
        return storm

    async def ack(
        self,
        storm: Snapshot,
        *,
        at: int,
        written: bool = True,
        settled: bool = False,
        next_look: int = 60_000,
        trim: int = 0,
    ) -> AckWord:
        """Note at `at` that the request holds the snapshot; times are ms after `T0`."""
        return await self.store.ack(
            storm,
            written=written,
            settled=settled,
            deadline_ms=T0 + next_look,
            now_ms=T0 + at,
            trim=trim,
        )

    async def freeze(
        self, storm: Snapshot, *, at: int, only_at_total: bool = False
    ) -> tuple[FreezeWord, Snapshot | None]:
        """Freeze the storm, `at` ms after `T0`."""
        return await self.store.freeze(
            storm,
            reason="MAX_DURATION_REACHED",
            expected_folded=storm.folded if only_at_total else None,
            now_ms=T0 + at,
        )

    async def discard(self, storm: Snapshot, *, forget_alerts: bool = False) -> CloseWord:
        """Make no request of the storm."""
        return await self.store.discard(storm, DISCARDED_AS, forget_alerts=forget_alerts)

    def note_another_server(self, field: str) -> None:
        """Let the storm name another server in a field: `incarnation` ends with the one that counted it,
        `discarded_by` is the one that discarded."""
        assert self.server is not None
        named = str(self.server.command("HGET", self.storm_key, field))
        self.server.command("HSET", self.storm_key, field, f"{named[:-4]}xxxx")

    async def freeze_and_close(self, *, at: int) -> Snapshot:
        """Close the open storm for good; gives its last snapshot."""
        word, frozen = await self.freeze(await self.look(at=at), at=at)
        assert frozen is not None, word
        assert await self.store.close_storm(frozen) is CloseWord.CLOSED
        return frozen
