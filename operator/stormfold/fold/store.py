"""StormStore: the storms in Redis, and the only caller of the scripts.

Every method may raise `StoreUnavailableError` (no answer, whether it was done is not known: all of them may be
repeated), `StoreFullError` and `StoreConfigError`.
"""

import asyncio
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import takewhile
from secrets import token_urlsafe
from typing import Any

import orjson

from stormfold.fold import keys, scripts
from stormfold.fold.connection import Connection, Memory
from stormfold.fold.errors import StoreConfigError
from stormfold.model.arrival import AlertRef, Arrival, EventRef, SignalRef, Target
from stormfold.model.group import PARTITIONS, partition
from stormfold.model.segment import SEGMENTS, STREAMS
from stormfold.model.storm import Detected, Seed, Snapshot, State, Terms

CLAIM_MS = 10_000
"""How long a claimed storm is hidden from other replicas; what is not settled by then is due again."""
DUE_AT_ONCE = 4096
"""The most storms of a partition that one look finds due: so many that those of one namespace hide no other's."""
REMEMBER_SECONDS = 7 * 24 * 3600
"""How long the epoch of a closed storm stays in Redis. Only garbage collection: after it, the request's own epoch counts."""

SEPARATOR = "\x1f"
"""Between the parts of a resource."""
CLOSED_FOLDED = 2**53 - 1
"""With this much folded a closed request is newer than whatever Redis has of its epoch."""
KNOW_SECONDS = 24 * 3600
"""How long the alerts and Events of a closed storm are known one by one; each repeat of one begins it anew."""


class FoldWord(StrEnum):
    """What fold.lua says of one storm."""

    COUNTED = "counted"
    LOST = "lost"
    CLOSING = "closing"


class SettleWord(StrEnum):
    """What settle.lua says."""

    SETTLED = "settled"
    MORE = "more"
    GONE = "gone"
    NEWER_EPOCH = "newer-epoch"


class CloseWord(StrEnum):
    """What close.lua says."""

    CLOSING = "closing"
    MOVED = "moved"
    GONE = "gone"
    NEWER_EPOCH = "newer-epoch"


class ForgetWord(StrEnum):
    """What forget.lua says."""

    FORGOTTEN = "forgotten"
    MOVED = "moved"
    GONE = "gone"
    LOST = "lost"
    NEWER_EPOCH = "newer-epoch"


@dataclass(frozen=True, slots=True)
class Fold:
    """What is to be counted into one storm."""

    gid: str
    terms: Terms
    opening: str
    arrivals: Sequence[Arrival]
    """Signals, and Events, in the order of their resourceVersions."""
    sure: frozenset[int] = frozenset()
    """Places of those of which the caller is sure that no request holds them, if the storm has `basis` as origin."""
    basis: str = ""
    doubtful: frozenset[int] = frozenset()
    """Places of alerts that another group may have counted."""
    known_epoch: int = 0
    """The epoch that Redis must know; 0: the caller knows of no storm."""
    known_folded: int = 0
    known_incarnation: str = ""
    distrusted: str = ""
    """An incarnation that the request does not descend to, to be replaced by the seed."""
    seed: Seed | None = None


@dataclass(frozen=True, slots=True)
class Folded:
    """What became of it."""

    word: FoldWord
    epoch: int
    folded: int
    open: bool
    due_ms: int
    """When the storm is to be looked at next; 0 if nothing changed."""
    written: int
    """The `folded` that the request is known to have reached."""
    incarnation: str
    ordinals: list[int]
    """One for each arrival, 0 for what was safe before; empty unless counted."""
    doubtful: frozenset[int] = frozenset()
    """Places of the alerts that may have been counted before Redis lost which ones were."""
    discarded: frozenset[int] = frozenset()
    """Places of those that are in no request, and will be in none; their ordinals are 0."""
    discarded_as: str = ""
    """What the last group that was discarded was to be told."""


@dataclass(frozen=True, slots=True)
class Recalled:
    """What Redis knows of a group, and of some alerts in it."""

    epoch: int
    """Of its latest storm that has, or may get, a request; 0 if it knows none."""
    closed: bool
    """Whether that is over: then its request holds all that it has counted."""
    incarnation: str
    """The life of that storm; empty if it is over."""
    latest_start_ms: int
    """What began up to then the group may have counted though Redis does not know it."""
    counted: list[bool]
    """Of each alert, whether the group has counted it; what was discarded is not."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """What a look at all partitions found."""

    due: Mapping[int, list[str]]
    """Partition → gids that are due, the earliest first."""
    lost: frozenset[int]
    """Partitions that Redis has lost: their mark is missing."""


def encoded_resource(target: Target | None) -> str:
    """The target as one text; '' for none."""
    if target is None:
        return ""
    api_version = "" if target.api_version == "v1" else target.api_version
    parts = (api_version, target.kind, target.namespace or "", target.name)
    text = SEPARATOR.join(parts)
    if text.count(SEPARATOR) >= len(parts):  # whoever writes Signals may write the separator, too
        text = SEPARATOR.join(part.replace(SEPARATOR, " ") for part in parts)
    return text


def decoded_resource(text: str) -> Target:
    """The target that `encoded_resource` wrote."""
    api_version, kind, namespace, name = text.split(SEPARATOR, 3)
    return Target(api_version or "v1", kind, name, namespace or None)


BASE_BYTES = 64
"""So many that one character says how many of them are shared."""


def resource_base(resource: str) -> str:
    """What the fields of a storm are shortened by, taken from an encoded resource; as fold.lua does it."""
    return resource.encode()[:BASE_BYTES].decode(errors="ignore")


def resource_field(resource: str, base: str) -> str:
    """How a storm names an encoded resource: a character for the bytes it shares with the base, and the rest."""
    pairs = zip(resource, base, strict=False)
    shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    return f"{chr(32 + len(base[:shared].encode()))}{resource[shared:]}"


def resource_of_field(field: str, base: str) -> str:
    """The encoded resource that `resource_field` made a field of."""
    return base.encode()[: ord(field[0]) - 32].decode() + field[1:]


def _signal_args(arrival: Arrival, *, sure: bool, doubtful: bool) -> tuple[str | int, ...]:
    """What fold.lua is told of one signal, as its header says."""
    ref = arrival.ref
    instance: str | int = ""
    if isinstance(ref, AlertRef):
        version, flags = ref.starts_ms, f"a{arrival.firing + 2 * sure + 4 * doubtful}"
    else:
        version, instance = ref.resource_version, arrival.instance
        flags = (
            f"e{ref.after},{ref.count},{arrival.segment}"
            if isinstance(ref, EventRef)
            else f"{arrival.firing:d}{arrival.segment}"
        )
    return (
        version,
        arrival.occurrence,
        flags,
        arrival.severity.rank,
        arrival.seen_ms,
        encoded_resource(arrival.target),
        instance,
    )


def _each_args(fold: Fold) -> list[str | int]:
    """All signals one by one."""
    args: list[str | int] = [len(fold.arrivals), 0]
    for place, arrival in enumerate(fold.arrivals):
        args += _signal_args(arrival, sure=place in fold.sure, doubtful=place in fold.doubtful)
    return args


def _prefix(texts: Collection[str]) -> str:
    """What all of them begin with."""
    if not texts:
        return ""
    first, last = min(texts), max(texts)
    return first[: bisect_left(range(1, len(first) + 1), True, key=lambda n: not last.startswith(first[:n]))]


def _sum_args(arrivals: Sequence[Arrival]) -> list[str | int] | None:
    """The sum of Signals as fold.lua's header says, and in short each of them.

    None if there are other arrivals among them, or one comes twice; and of one alone, whose sum is no shorter.
    """
    if len(arrivals) < 2:
        return None
    versions: list[int] = []
    for arrival in arrivals:
        if not isinstance(arrival.ref, SignalRef):
            return None
        versions.append(arrival.ref.resource_version)
    ids = [arrival.occurrence for arrival in arrivals]
    if len(set(ids)) < len(ids):
        return None
    firing = [arrival.firing for arrival in arrivals]
    segments = [arrival.segment for arrival in arrivals]
    severities = [arrival.severity.rank for arrival in arrivals]
    seen = [arrival.seen_ms for arrival in arrivals]
    about = [encoded_resource(arrival.target) for arrival in arrivals]
    instances = [arrival.instance for arrival in arrivals]
    resources = Counter(about)
    resources.pop("", None)
    lasting = dict(zip(instances, firing, strict=True))
    resource_places = {"": 0, **{resource: place for place, resource in enumerate(resources, 1)}}
    instance_places = {instance: place for place, instance in enumerate(lasting, 1)}

    args: list[str | int] = [len(ids), len(set(segments))]
    for segment in set(segments):
        of_it = [version for version, its in zip(versions, segments, strict=True) if its == segment]
        args += (segment, min(of_it), max(of_it))
    several = len(resources) < resources.total()
    args += (sum(firing), max(severities), min(seen), max(seen))
    prefix = _prefix(resources)
    args += (prefix, len(resources), len(resources) if several else 0)
    args += [resource[len(prefix) :] for resource in resources]
    if several:
        args += resources.values()
    args.append(len(lasting))
    args += [2 * instance + fires for instance, fires in lasting.items()]
    for pair in zip(versions, ids, strict=True):
        args += pair
    each = (
        firing,
        segments,
        severities,
        seen,
        [resource_places[resource] for resource in about],
        [instance_places[instance] for instance in instances],
    )
    args.append(orjson.dumps(each).decode())
    return args


def _seed_fields(seed: Seed, terms: Terms, incarnation: str) -> dict[str, str | int | dict[str, int]]:
    # An alert that began later than all that were counted is none of them, whatever anybody's clock says.
    lost = {"la": seed.latest_start_ms, "ls": seed.latest_start_ms} if seed.latest_start_ms else {}
    if seed.closed:
        return {
            "e": seed.epoch,
            "s": State.CLOSED,
            "g": seed.incarnation,
            "w": seed.folded,
            **_floors(seed),
            **lost,
        }
    fields: dict[str, str | int | dict[str, int]] = {
        **lost,
        "e": seed.epoch,
        "s": State.OPEN,
        "g": incarnation,
        "og": seed.origin,
        "na": seed.alerts,
        "mb": seed.repeats,
        "t": seed.total,
        "n": seed.folded - seed.total,
        "nf": max(seed.firing, 1),
        "xf": seed.firing,
        "xr": seed.resolved,
        "v": seed.severity,
        "o": seed.opened_ms,
        "a": seed.first_ms - seed.opened_ms,
        "z": seed.last_ms - seed.opened_ms,
        "l": seed.arrived_ms - seed.opened_ms,
        "ws": seed.opened_ms,
        **({"d": seed.detected} if seed.detected else {}),
        "rc": len(seed.resources),
        **({"tr": 1} if seed.truncated else {}),
        "hb": seed.resource_count,
        "w": seed.folded,
        "lw": seed.written_ms,
        **({"q": 1} if seed.settled else {}),
        "re": seed.revision - 1,
        "k": terms.encoded(),
        **_floors(seed),
        **{f"p{segment}": version for segment, version in seed.through.items()},
        **{f"pe{segment}": version for segment, version in seed.event_through.items()},
        **{f"b{stream}": version for stream, version in seed.since.items()},
    }
    resources = {encoded_resource(target): signals for target, signals in seed.resources.items()}
    base = resource_base(next(iter(resources), ""))
    if base:
        fields["b"] = base
    fields["rs"] = {resource_field(resource, base): signals for resource, signals in resources.items()}
    return fields


def _floors(seed: Seed) -> dict[str, str | int]:
    return {
        **{f"fl{segment}": version for segment, version in seed.through.items()},
        **{f"fle{segment}": version for segment, version in seed.event_through.items()},
    }


def _through(fields: Mapping[str, str | int], prefix: str) -> dict[int, int]:
    return {
        segment: version
        for segment in range(SEGMENTS)
        if (version := int(fields.get(f"{prefix}{segment}") or 0))
    }


def _recalled(alerts: Sequence[Arrival], reply: Sequence[Any]) -> Recalled:
    epoch, state, incarnation, latest, *known = reply
    return Recalled(
        epoch,
        state == State.CLOSED,
        incarnation,
        latest,
        [epoch > 0 and _has_counted(text, arrival) for arrival, text in zip(alerts, known, strict=True)],
    )


def _has_counted(text: str, alert: Arrival) -> bool:
    """Whether the value of `counted`, as keys.py describes it, has the start of the alert in a storm that was not
    discarded."""
    assert isinstance(alert.ref, AlertRef)
    start = str(alert.ref.starts_ms)
    return not {start, f"{start}c"}.isdisjoint(text.split(",")[1:])


def _folded(fold: Fold, reply: Sequence[Any]) -> Folded:
    word, epoch, folded, is_open, due_ms, written, life, discarded_as, *ordinals = reply
    doubtful: frozenset[int] = frozenset()
    discarded: frozenset[int] = frozenset()
    if len(ordinals) == 1 < len(fold.arrivals):  # all are new, and this is the first of them
        ordinals = list(range(ordinals[0], ordinals[0] + len(fold.arrivals)))
    else:
        doubtful = frozenset(place for place, ordinal in enumerate(ordinals) if (ordinal or 0) < 0)
        discarded = frozenset(place for place, ordinal in enumerate(ordinals) if ordinal is None)
        ordinals = [abs(ordinal or 0) for ordinal in ordinals]
    return Folded(
        FoldWord(word),
        epoch,
        folded,
        bool(is_open),
        due_ms,
        written,
        life,
        ordinals,
        doubtful,
        discarded,
        discarded_as,
    )


def rate_per_minute(minute: int, in_it: int, before: int, now_ms: int) -> int:
    """Signals in the minute before `now_ms`, from the counts of a clock minute and the one before it."""
    current, past = divmod(now_ms, 60_000)
    if current == minute:
        return in_it + before * (60_000 - past) // 60_000
    if current == minute + 1:
        return in_it * (60_000 - past) // 60_000
    return 0


def _mapped(flat: Sequence[Any]) -> dict[str, Any]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _snapshot(gid: str, reply: tuple[int, str, Sequence[Any], Sequence[Any]], now_ms: int) -> Snapshot:
    """What claim.lua and close.lua say of a storm."""
    distinct, opening, flat, listed = reply
    fields = _mapped(flat)

    def number(name: str) -> int:
        return int(fields.get(name, 0))

    resources = sorted(
        (
            (decoded_resource(resource_of_field(name, fields["b"])), signals)
            for name, signals in _mapped(listed).items()
        ),
        key=lambda item: (-item[1], item[0].kind, item[0].namespace or "", item[0].name),
    )
    truncated = number("tr") == 1
    opened_ms = number("o")
    return Snapshot(
        gid=gid,
        epoch=number("e"),
        state=State(fields["s"]),
        incarnation=fields.get("g", ""),
        origin=fields.get("og", ""),
        terms=Terms.decoded(fields["k"]),
        opening=opening,
        total=number("t"),
        folded=number("t") + number("n"),
        alerts=number("na"),
        repeats=number("mb"),
        latest_start_ms=number("ls"),
        alerts_beyond=number("ab") == 1,
        firing=number("f") + number("af") + number("xf"),
        resolved=number("r") + number("ar") + number("xr"),
        firing_signals=number("nf"),
        approximate=bool(number("xf") or number("xr")),
        severity=number("v"),
        first_ms=opened_ms + number("a"),
        last_ms=opened_ms + number("z"),
        opened_ms=opened_ms,
        arrived_ms=opened_ms + number("l"),
        window_ms=number("ws") or opened_ms,
        detected=Detected(fields.get("d", "")),
        rate_per_minute=rate_per_minute(
            opened_ms // 60_000 + number("m"), number("c0"), number("c1"), now_ms
        ),
        resources=tuple(resources),
        resource_count=max(distinct, number("hb"), number("rc")) if truncated else number("rc"),
        truncated=truncated,
        settled=number("q") == 1,
        revision=number("re") + 1,
        through=_through(fields, "p"),
        event_through=_through(fields, "pe"),
        since={stream: version for stream in STREAMS if (version := number(f"b{stream}"))},
        written=number("w"),
        written_ms=number("lw"),
        close_reason=fields.get("cr", ""),
        closed_ms=number("ct"),
    )


class StormStore:
    """The storms of one cluster."""

    def __init__(self, connection: Connection, *, cluster: str) -> None:
        self._connection = connection
        self._client = connection.client
        self._cluster = cluster

    async def _run(
        self, doing: str, script: scripts.Script, key_names: list[str], args: list[str | int]
    ) -> Any:
        async with self._connection.calling(doing):
            return await script(self._connection.scripts, key_names, args)

    async def fold(self, number: int, folds: Sequence[Fold], *, now_ms: int) -> list[Folded]:
        """Count a batch into storms of partition `number`, atomically; one answer for each storm, in order."""
        incarnation = token_urlsafe(3)
        key_names = [keys.checkpoint(number), keys.due(number)]
        args: list[str | int] = [now_ms, incarnation, len(folds)]
        for fold in folds:
            gid, seed = fold.gid, fold.seed
            key_names += (
                keys.storm(number, gid),
                keys.ids(number, gid),
                keys.hll(number, gid),
                keys.instances(number, gid),
                keys.opening(number, gid),
                keys.counted(number, gid),
                keys.beyond(number, gid),
            )
            args += (
                gid,
                fold.terms.encoded(),
                fold.opening,
                fold.known_epoch,
                fold.known_folded,
                fold.known_incarnation,
                fold.distrusted,
                fold.basis,
            )
            if seed:
                folded = CLOSED_FOLDED if seed.closed else seed.folded
                fields = _seed_fields(seed, fold.terms, incarnation)
                args += (seed.epoch, folded, orjson.dumps(fields).decode())
            else:
                args += (0, 0, "")
            signals = _sum_args(fold.arrivals) or _each_args(fold)
            args.append(len(signals))
            args += signals
        replies = await self._run(f"folding into partition {number}", scripts.FOLD, key_names, args)
        return [_folded(fold, reply) for fold, reply in zip(folds, replies, strict=True)]

    async def recall(self, alerts: Mapping[str, Sequence[Arrival]]) -> dict[str, Recalled]:
        """gid → which of some alerts that group has counted already. Those of a closed storm are known for
        `KNOW_SECONDS` more, as after a repeat that is folded."""

        async def ask(gid: str, asked: Sequence[Arrival]) -> Recalled:
            key_names = [keys.storm(partition(gid), gid), keys.counted(partition(gid), gid)]
            args: list[str | int] = [KNOW_SECONDS, *(arrival.occurrence for arrival in asked)]
            return _recalled(
                asked, await self._run("asking for alerts counted before", scripts.RECALL, key_names, args)
            )

        return dict(zip(alerts, await asyncio.gather(*map(ask, alerts, alerts.values())), strict=True))

    async def claim(self, number: int, gids: Sequence[str], *, now_ms: int) -> list[Snapshot]:
        """Take those of the storms that are due, and hide them from other replicas for `CLAIM_MS`.

        What is not settled by then is claimed again, so the caller may die at any point.
        """
        key_names = [keys.due(number)]
        for gid in gids:
            key_names += (keys.storm(number, gid), keys.hll(number, gid), keys.opening(number, gid))
        args: list[str | int] = [now_ms, now_ms + CLAIM_MS, *gids]
        replies = await self._run(f"claiming in partition {number}", scripts.CLAIM, key_names, args)
        return [_snapshot(gid, reply, now_ms) for gid, reply in zip(gids, replies, strict=True) if reply]

    async def settle(
        self,
        snapshot: Snapshot,
        *,
        written: bool,
        settled: bool,
        deadline_ms: int,
        now_ms: int,
        trim: Mapping[int, int],
    ) -> SettleWord:
        """Note that the storm was looked at, whether its request holds the snapshot, and when to look again.

        `settled` says that this very write made the request say so. `trim` gives, of segments that the caller takes
        in, the resourceVersion up to which ids may be forgotten: they are refused from then on.
        """
        gid, number = snapshot.gid, partition(snapshot.gid)
        word = await self._run(
            f"settling storm {gid}",
            scripts.SETTLE,
            [keys.storm(number, gid), keys.due(number), keys.ids(number, gid), keys.checkpoint(number)],
            [
                gid,
                snapshot.epoch,
                snapshot.incarnation,
                snapshot.folded,
                int(written),
                int(settled),
                deadline_ms,
                now_ms,
                *(number for pair in trim.items() for number in pair),
            ],
        )
        return SettleWord(word)

    async def close(
        self, snapshot: Snapshot, *, reason: str, expected_folded: int | None, now_ms: int
    ) -> tuple[CloseWord, Snapshot | None]:
        """Freeze a storm that is to be closed; with `closing` comes its last snapshot.

        With `expected_folded`, a storm that has grown meanwhile is left open.
        """
        gid, number = snapshot.gid, partition(snapshot.gid)
        reply = await self._run(
            f"closing storm {gid}",
            scripts.CLOSE,
            [keys.storm(number, gid), keys.hll(number, gid), keys.opening(number, gid)],
            [
                snapshot.epoch,
                snapshot.incarnation,
                -1 if expected_folded is None else expected_folded,
                reason,
                now_ms,
            ],
        )
        word = CloseWord(reply[0])
        if word is not CloseWord.CLOSING:
            return word, None
        return word, _snapshot(gid, reply[1:], now_ms)

    async def _forget(self, snapshot: Snapshot, why: str, told: str = "") -> ForgetWord:
        gid, number = snapshot.gid, partition(snapshot.gid)
        word = await self._run(
            f"forgetting storm {gid}",
            scripts.FORGET,
            [
                keys.storm(number, gid),
                keys.due(number),
                keys.ids(number, gid),
                keys.hll(number, gid),
                keys.instances(number, gid),
                keys.opening(number, gid),
                keys.counted(number, gid),
                keys.beyond(number, gid),
            ],
            [
                gid,
                snapshot.epoch,
                snapshot.incarnation,
                why,
                snapshot.folded,
                REMEMBER_SECONDS,
                KNOW_SECONDS,
                snapshot.written,
                told,
            ],
        )
        return ForgetWord(word)

    async def forget_closed(self, snapshot: Snapshot) -> ForgetWord:
        """Drop a frozen storm whose request is closed; its epoch is remembered for `REMEMBER_SECONDS`."""
        return await self._forget(snapshot, "closed")

    async def discard(self, snapshot: Snapshot, told: str) -> ForgetWord:
        """Drop a group that makes no request, unless it has grown since the snapshot; whoever folds its signals again
        hears that they were discarded, and what they are to be told."""
        return await self._forget(snapshot, "discarded", told)

    async def hasten(self, gids: Collection[str], *, now_ms: int) -> None:
        """Make storms due now, those that there are."""
        async with self._connection.calling("hastening storms"):
            pipeline = self._pipeline()
            for gid in gids:
                pipeline.zadd(keys.due(partition(gid)), {gid: now_ms}, xx=True, lt=True)
            await pipeline.execute()

    async def sweep(self, *, now_ms: int, led: Collection[int] = ()) -> Sweep:
        """Look at all partitions: which storms are due, and which partitions Redis has lost.

        One is lost also if it lacks the checkpoint of a segment that the caller has `led` and fenced.
        """
        async with self._connection.calling("looking for due storms"):
            pipeline = self._pipeline()
            for number in range(PARTITIONS):
                pipeline.zrangebyscore(keys.due(number), "-inf", now_ms, start=0, num=DUE_AT_ONCE)
                pipeline.hmget(keys.checkpoint(number), "cluster", *led)
            answers = await pipeline.execute()
        return Sweep(
            due={number: gids for number in range(PARTITIONS) if (gids := answers[2 * number])},
            lost=frozenset(number for number in range(PARTITIONS) if None in answers[2 * number + 1]),
        )

    async def due(self, numbers: Sequence[int], *, now_ms: int) -> dict[int, list[str]]:
        """Partition → gids that are due there, the earliest first, at most `DUE_AT_ONCE` each."""
        async with self._connection.calling("looking for due storms"):
            pipeline = self._pipeline()
            for number in numbers:
                pipeline.zrangebyscore(keys.due(number), "-inf", now_ms, start=0, num=DUE_AT_ONCE)
            answers = await pipeline.execute()
        return {number: gids for number, gids in zip(numbers, answers, strict=True) if gids}

    async def open_gids(self) -> set[str]:
        """The groups that have a storm, or wait for one."""
        async with self._connection.calling("reading the open storms"):
            pipeline = self._pipeline()
            for number in range(PARTITIONS):
                pipeline.zrange(keys.due(number), 0, -1)
            return {gid for gids in await pipeline.execute() for gid in gids}

    async def since(self, gids: Collection[str]) -> dict[str, dict[str, int]]:
        """gid → stream → the oldest resourceVersion that its open storm has counted."""
        of: dict[int, list[str]] = defaultdict(list)
        for gid in gids:
            of[partition(gid)].append(gid)
        found: dict[str, dict[str, int]] = {}

        async def read(number: int, some: list[str]) -> None:
            for gid in some:
                flat = await self._run(
                    "reading since when storms count", scripts.SINCE, [keys.storm(number, gid)], []
                )
                found[gid] = _mapped(flat)

        # No more at once than there are partitions, as when batches are folded.
        await asyncio.gather(*(read(number, some) for number, some in of.items()))
        return found

    async def check_owner(self) -> None:
        """Make sure that all partitions are this cluster's, or nobody's.

        Raises:
            StoreConfigError: they hold the storms of another cluster.
        """
        await self._checkpoints(range(PARTITIONS), ())

    async def _checkpoints(self, partitions: Sequence[int], segments: Sequence[int]) -> list[list[int]]:
        """The checkpoints of the segments in each partition, 0 for none; raises like `check_owner`."""
        async with self._connection.calling("asking whose the partitions are"):
            pipeline = self._pipeline()
            for number in partitions:
                pipeline.hmget(keys.checkpoint(number), "cluster", *segments)
            answers = await pipeline.execute()
        strangers = {owner for owner, *_ in answers if owner} - {self._cluster}
        if strangers:
            raise StoreConfigError(
                f"Redis holds the storms of another cluster ({', '.join(sorted(strangers))}): "
                "give each cluster its own database or server"
            )
        return [[int(version or 0) for version in versions] for _, *versions in answers]

    async def fence(self, partitions: Sequence[int], checkpoints: Mapping[int, int]) -> None:
        """Mark partitions as this cluster's, and refuse there what is at or below the checkpoint of its segment.

        Only who leads those segments calls it, with what its Lease says: nothing is trimmed above that.

        Raises:
            StoreConfigError: they hold the storms of another cluster.
        """
        before = await self._checkpoints(partitions, tuple(checkpoints))
        async with self._connection.calling("fencing the partitions"):
            pipeline = self._pipeline()
            for number, versions in zip(partitions, before, strict=True):
                kept = {
                    str(segment): max(version, refused)
                    for (segment, version), refused in zip(checkpoints.items(), versions, strict=True)
                }
                pipeline.hset(keys.checkpoint(number), mapping={"cluster": self._cluster, **kept})
            await pipeline.execute()

    async def memory(self) -> Memory:
        """How full the fullest server is."""
        return await self._connection.memory()

    def _pipeline(self) -> Any:
        pipeline = self._client.pipeline
        return pipeline() if self._connection.is_cluster else pipeline(transaction=False)
