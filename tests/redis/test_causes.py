"""What signals tell of the values that may explain their storm is in Redis until the request holds it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from tests.harness.folding import T0, Group, alert, event, resolved, signal, signals
from tests.harness.judging import Table, attributes_of, cases, said_of
from tests.harness.mixtures import ATTRIBUTES, Mixture, Values
from tests.harness.values import cluster_version, version

from lab.valkey import Valkey, ValkeyCluster
from stormfold.fold import keys
from stormfold.fold.causes import Piece, causes_arg, counted_of, pieces, seen_of
from stormfold.fold.connection import Connection
from stormfold.fold.elsewhere import Elsewhere
from stormfold.fold.keys import SEEN_MS
from stormfold.fold.replies import AckWord
from stormfold.fold.showing import Shown
from stormfold.fold.store import StormStore
from stormfold.model.arrival import Arrival
from stormfold.model.causes import Commonness, Counted, Sum
from stormfold.model.evidence import NameCount
from stormfold.model.group import PARTITIONS
from stormfold.model.limits import EVIDENCE_FIELDS, SEEN_STORMS
from stormfold.model.storm import Seed
from stormfold.request.causes import NOTHING_HELD, counted_on, find

SHOWN = Shown(version(evidence={"samples": 0}, causes=["node"]).showing)


async def count(group: Group, *arrivals: Arrival, seed: Seed | None = None, shown: Shown = SHOWN) -> None:
    """Count them in one call."""
    fold = replace(group.fold_of(*arrivals, seed=seed), shown=shown)
    await group.store.fold(group.partition, [fold], now_ms=T0)


async def told(group: Group) -> dict[int, list[Piece]]:
    """What Redis has been told, by how much was counted then."""
    storm = await group.look(at=10)
    return {at: list(pieces(text)) for at, text in storm.evidence.causes.items()}


def on(nodes: str, *, first: int = 1) -> list[Arrival]:
    """Signals about pods on these nodes."""
    return [signal(n, f"web-{n}", node=node) for n, node in enumerate(nodes, first)]


async def test_each_batch_tells_what_its_signals_have(group: Group) -> None:
    await count(group, *on("aab"))
    await count(group, *on("ca", first=4))
    assert await told(group) == {
        3: [Piece("node", 3, {"a": 2, "b": 1}, 0)],
        5: [Piece("node", 2, {"c": 1, "a": 1}, 0)],
    }


async def test_signals_that_are_sent_again_tell_nothing_new(group: Group) -> None:
    await count(group, *on("ab"))
    await count(group, *on("abc"))
    assert sum(piece.signals for (piece,) in (await told(group)).values()) == 3


async def test_of_alerts_only_those_tell_that_count(group: Group) -> None:
    a, b, c = (alert(name, node=name) for name in "abc")
    await count(group, a, b)
    await count(group, replace(resolved("a"), node="a"), b, c)
    await count(group, a, b, c)
    assert await told(group) == {
        2: [Piece("node", 2, {"a": 1, "b": 1}, 0)],
        4: [Piece("node", 1, {"c": 1}, 0)],
    }


async def test_events_tell_as_often_as_they_have_occurred(group: Group) -> None:
    await count(group, event("1", 1, 3, node="a"), event("2", 2, 1, node="b"))
    await count(group, event("1", 3, 5, node="a"))
    assert await told(group) == {
        4: [Piece("node", 4, {"a": 3, "b": 1}, 0)],
        6: [Piece("node", 2, {"a": 2}, 0)],
    }


async def test_what_the_request_holds_is_not_kept(group: Group, redis: Valkey) -> None:
    await count(group, *on("aab"))
    written = await group.look(at=10)
    await count(group, *on("b", first=4))
    assert await group.ack(written, at=10) is AckWord.MORE
    assert list(await told(group)) == [4]
    assert await group.ack(await group.look(at=2000), at=2000) is AckWord.ACKED
    assert redis.command("EXISTS", keys.evidence(group.partition, group.group_hash)) == 0


async def test_storm_that_no_request_holds_takes_bounded_room(group: Group, redis: Valkey) -> None:
    for n in range(1, 100):
        await count(group, *on("a", first=n))
    assert len(await told(group)) == EVIDENCE_FIELDS
    key = keys.evidence(group.partition, group.group_hash)
    assert redis.command("HLEN", key) == EVIDENCE_FIELDS
    storm = await group.look(at=10)
    found = find(storm.evidence.causes, ["node"], total=storm.total, held=NOTHING_HELD, elsewhere={})
    assert found.causes == []  # 42 of 99 signals are known


async def test_label_that_looks_like_a_secret_never_enters_redis(group: Group, redis: Valkey) -> None:
    shown = Shown(version(causes=["labels.api-key", "labels.session_token", "node"]).showing)
    secret = {"api-key": "s3cr3t-value", "session_token": "s3cr3t-value"}
    await count(group, *(signal(n, f"web-{n}", labels=secret) for n in range(1, 9)), shown=shown)
    found = redis.command("KEYS", "*")
    assert isinstance(found, list)
    texts = [str(redis.command("DUMP", str(key))) for key in found]
    assert len(texts) > 3
    assert not any("s3cr3t" in text for text in texts)


# --- how common values are in other storms


@pytest.fixture
def elsewhere(connection: Connection) -> Elsewhere:
    """What this process reads of other storms."""
    return Elsewhere(connection)


COUNTED = {"node": Counted({"a": NameCount(3), "b": NameCount(1)}, 0, 4)}
TEXT = seen_of(COUNTED)


async def told_by(group: Group, text: str, *, at: int = 0) -> None:
    """Let the group's storm tell others, when its request holds what it has counted."""
    if not await group.claim(at=at):
        await group.fold(*signals(1, 4), at=at)
    storm = await group.look(at=at)
    await group.store.ack(
        storm, written=True, settled=False, deadline_ms=T0 + at, now_ms=T0 + at, trim=0, seen=text
    )


def told_of_nodes(elsewhere: Elsewhere, group: Group) -> tuple[int, int, int]:
    """How many signals all others but a group's storm have told of, and how many are of node a and b."""
    of = elsewhere.than(group.group_hash, 1)["node"]
    return of.signals, of.most("a"), of.most("b")


def groups(store: StormStore, count: int) -> list[Group]:
    """Some groups, in partitions of their own."""
    return [Group(store, f"{n:016x}") for n in range(count)]


async def test_storm_knows_what_all_others_have_told(store: StormStore, elsewhere: Elsewhere) -> None:
    one, other, third = groups(store, 3)
    for group in (one, other):
        await told_by(group, TEXT)
    await elsewhere.refresh(now_ms=T0)
    assert told_of_nodes(elsewhere, one) == (4, 3, 1)
    assert told_of_nodes(elsewhere, third) == (8, 6, 2)


async def test_storm_that_tells_more_is_counted_once(store: StormStore, elsewhere: Elsewhere) -> None:
    one, other = groups(store, 2)
    await told_by(one, seen_of({"node": Counted({"a": NameCount(1)}, 0, 1)}))
    await told_by(one, TEXT, at=2000)
    await elsewhere.refresh(now_ms=T0)
    assert told_of_nodes(elsewhere, other) == (4, 3, 1)
    await told_by(one, seen_of({"node": Counted({"b": NameCount(5)}, 0, 5)}), at=5000)
    await elsewhere.refresh(now_ms=T0 + 5000)
    assert told_of_nodes(elsewhere, other) == (5, 0, 5)


async def test_storms_that_are_written_at_once_ask_once_what_others_have_told(
    store: StormStore, elsewhere: Elsewhere, redis: Valkey
) -> None:
    one, other = groups(store, 2)
    await told_by(one, TEXT)
    redis.command("CONFIG", "RESETSTAT")
    await asyncio.gather(*(elsewhere.refresh(now_ms=T0) for _ in range(16)))
    said = str(redis.command("INFO", "commandstats"))
    assert f"cmdstat_hgetall:calls={2 * PARTITIONS}," in said
    assert told_of_nodes(elsewhere, other) == (4, 3, 1)


async def test_what_was_told_counts_for_half_an_hour_to_an_hour(
    store: StormStore, connection: Connection, redis: Valkey
) -> None:
    one, other = groups(store, 2)
    await told_by(one, TEXT)
    for later, known in ((SEEN_MS, True), (2 * SEEN_MS, False)):
        elsewhere = Elsewhere(connection)
        await elsewhere.refresh(now_ms=T0 + later)
        assert bool(elsewhere.than(other.group_hash, 1)) is known
    lives = redis.command("TTL", keys.seen(one.partition, T0))
    assert isinstance(lives, int)
    assert 3500 < lives <= 3600


async def test_so_many_storms_of_a_partition_tell_others(store: StormStore, redis: Valkey) -> None:
    of = [Group(store, f"{n:012x}0007") for n in range(SEEN_STORMS + 2)]
    for group in of:
        await told_by(group, TEXT)
    key = keys.seen(of[0].partition, T0)
    assert redis.command("HLEN", key) == SEEN_STORMS
    await told_by(of[0], "{}", at=2000)
    assert redis.command("HGET", key, f"{of[0].group_hash}:1") == "{}"


# --- what it is good for


MIXED = Shown(cluster_version(groupBy=["name"], requestNamespace="ops", causes=list(ATTRIBUTES)).showing)
BATCHES = (1, 2, 5, 20, 40)
"""Signals come in batches of these sizes, one after the other."""


def signal_of(values: Values, number: int) -> Arrival:
    """The signal of a mixture."""
    return signal(
        number,
        f"web-{number}",
        namespace=values.get("namespace", "monitoring"),
        owner=values.get("owner"),
        node=values.get("node"),
        labels=attributes_of(values),
    )


def told_elsewhere(of: Sequence[Values]) -> Mapping[str, Commonness]:
    """What storms of 15 signals each have told."""
    sums = defaultdict[str, Sum](Sum)
    for first in range(0, len(of), 15):
        some = [signal_of(values, first + n) for n, values in enumerate(of[first : first + 15], 1)]
        new = {1: causes_arg(MIXED.showing.causes, some)}
        counted, _ = counted_on({}, new, after=0, total=len(some))
        for attribute, told in counted_of(seen_of(counted)).items():
            sums[attribute].add(told)
    return sums


async def found_in(store: StormStore, of: Mixture, number: int) -> Sequence[tuple[str, str]]:
    """The causes of a mixture that came through Redis, and was written now and then."""
    elsewhere = told_elsewhere(of.elsewhere)
    group, held, first, causes = Group(store, f"{number:016x}"), NOTHING_HELD, 0, list[tuple[str, str]]()
    for turn in range(len(of.signals)):
        size = BATCHES[turn % len(BATCHES)]
        some = of.signals[first : first + size]
        if not some:
            break
        await count(group, *(signal_of(values, first + n) for n, values in enumerate(some, 1)), shown=MIXED)
        first += size
        if turn % 3 == 0 or first >= len(of.signals):
            storm = await group.look(at=turn * 2000)
            found = find(storm.evidence.causes, ATTRIBUTES, total=storm.total, held=held, elsewhere=elsewhere)
            causes = said_of(found.causes)
            held = replace(held, kept=found.kept, folded=storm.folded, shown=causes)
            await group.ack(storm, at=turn * 2000)
    return causes


async def test_causes_that_come_through_redis_are_told_as_well(store: StormStore) -> None:
    table = Table()
    for number, (kind, of) in enumerate(cases(range(3))):
        table.rows[kind].note(of, await found_in(store, of, number))
    assert table.share("right", fault=True, noise=0.3) >= 90, str(table)
    assert table.share("wrong", fault=False, noise=1.0) <= 2, str(table)


async def test_what_others_tell_is_read_from_all_nodes_of_a_cluster(cluster: ValkeyCluster) -> None:
    connection = Connection.from_url(cluster.url.replace("redis://", "redis+cluster://"))
    try:
        store = StormStore(connection, cluster="cluster-under-test")
        of = groups(store, 12)
        for group in of:
            await told_by(group, TEXT)
        elsewhere = Elsewhere(connection)
        await elsewhere.refresh(now_ms=T0)
        assert elsewhere.than(of[0].group_hash, 1)["node"].signals == 11 * 4
    finally:
        await connection.close()
