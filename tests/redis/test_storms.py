"""claim.lua, ack.lua, make_due.lua: the incarnation of a storm after its first signal."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from tests.harness.eventually import eventually
from tests.harness.folding import (
    CLUSTER,
    GROUP_HASH,
    OPENED,
    T0,
    Group,
    alert,
    pod,
    resolved,
    signal,
    signals,
)

from lab.valkey import Valkey
from stormfold.fold.arguments import Reopening
from stormfold.fold.connection import Connection
from stormfold.fold.replies import AckWord, CloseWord
from stormfold.fold.store import CLAIM_MS, StormStore

pytestmark = pytest.mark.usefixtures("one_incarnation")


async def test_claimed_storm_is_hidden_until_its_claim_runs_out(group: Group) -> None:
    await group.fold(signal(1))
    seen = [await group.claim(at=at) for at in (1000, 1001, 999 + CLAIM_MS, 1000 + CLAIM_MS)]
    assert seen == [OPENED, None, None, OPENED]


async def test_storm_is_claimed_by_one_replica(group: Group) -> None:
    await group.fold(signal(1))
    claimed = await asyncio.gather(*(group.claim(at=1000) for _ in range(8)))
    assert [storm for storm in claimed if storm] == [OPENED]


async def test_claim_gives_those_of_its_storms_that_are_due(group: Group) -> None:
    others = [Group(group.store, f"{number:015x}7") for number in (0, 4, 8)]
    for number, other in enumerate(others):
        await other.fold(signal(number + 1), at=number)
    claimed = await group.store.claim(7, [other.group_hash for other in others], now_ms=T0 + 1001)
    assert [storm.group_hash for storm in claimed] == [others[0].group_hash, others[1].group_hash]


async def test_claim_takes_the_deadline_of_a_vanished_storm_away(group: Group, redis: Valkey) -> None:
    await group.fold(signal(1))
    redis.command("DEL", group.storm_key)
    assert await group.claim(at=1000) is None
    assert redis.command("ZCARD", group.due_key) == 0


async def test_signal_after_a_write_makes_the_storm_due_a_second_after_it(group: Group) -> None:
    await group.fold(signal(1))
    storm = await group.look(at=1000)
    await group.ack(storm, at=1000)
    await group.fold(signal(2), known=(1, 1), at=1001)
    assert [await group.claim(at=at) is None for at in (1999, 2000)] == [True, False]


async def test_settled_storm_is_due_at_its_deadline(group: Group) -> None:
    await group.fold(signal(1))
    storm = await group.look(at=1000)
    assert await group.ack(storm, at=1100, next_look=60_000) is AckWord.ACKED
    assert await group.claim(at=59_999) is None
    assert await group.claim(at=60_000) == replace(OPENED, written=1, written_ms=T0 + 1100)


async def test_look_without_a_write_leaves_what_is_written(group: Group) -> None:
    await group.fold(signal(1))
    storm = await group.look(at=10)
    assert await group.ack(storm, at=10, written=False, next_look=20) is AckWord.ACKED
    assert await group.claim(at=20) == OPENED


async def test_signals_that_came_before_the_first_write_make_the_storm_due_at_once(group: Group) -> None:
    await group.fold(signal(1))
    storm = await group.look(at=1000)
    await group.fold(signal(2), known=(1, 1), at=1000)
    assert await group.ack(storm, at=1000, written=False) is AckWord.MORE
    assert (await group.store.due([group.partition], now_ms=T0 + 1000)) == {group.partition: [GROUP_HASH]}


@pytest.fixture
def other(group: Group, connection: Connection) -> Group:
    """The same group, as another replica has it."""
    return replace(group, store=StormStore(connection, cluster=CLUSTER))


async def test_storm_is_not_discarded_while_another_replica_makes_its_request(
    group: Group, other: Group
) -> None:
    await group.fold(alert("a"))
    await group.freeze_and_close(at=10)
    await group.fold(at=100, reopening=Reopening(epoch=1, severity=3))
    storm = await group.look(at=100)
    # It fires on, so its request is being made; the end that comes now must not make another one discard it.
    counted = await other.fold(resolved("a"), at=200)
    assert (counted.epoch, counted.ordinals, counted.due_ms) == (2, [2], T0 + 200)
    ended = await other.look(at=200)
    assert (ended.written, ended.firing) == (0, 0)
    assert await other.discard(ended) is CloseWord.CLAIMED
    assert await group.ack(storm, at=300) is AckWord.MORE
    again = await other.claim(at=1300)
    assert again is not None
    assert (again.written, again.folded, again.firing, again.resolved) == (1, 2, 0, 1)


@pytest.mark.parametrize("wrong", [-30_000, 30_000])
async def test_wrong_clock_ends_no_claim(group: Group, other: Group, wrong: int) -> None:
    await group.fold(signal(1))
    assert await group.claim(at=40_000 + wrong) is not None
    assert await other.discard(await other.look(at=40_000)) is CloseWord.CLAIMED


async def test_claim_of_a_storm_without_a_request_runs_out(
    group: Group, other: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stormfold.fold.store.CLAIM_MS", 100)
    await group.fold(signal(1))
    await group.look(at=1000)
    storm = await other.look(at=1000)
    await eventually(lambda: other.discard(storm), CloseWord.CLOSED.__eq__, within=5, what="it has run out")


@pytest.mark.parametrize("forged", [10**15, "tomorrow", "-1"])
async def test_claim_that_says_more_than_a_claim_may_keeps_nobody(
    group: Group, other: Group, forged: int | str
) -> None:
    await group.fold(signal(1))
    storm = await group.look(at=1000)
    assert group.server is not None
    group.server.command("HSET", group.storm_key, "claimed_ms", forged)
    assert await other.discard(storm) is CloseWord.CLOSED


async def test_who_looks_without_a_write_lets_a_storm_go(group: Group, other: Group) -> None:
    await group.fold(signal(1))
    storm = await group.look(at=1000)
    assert await group.ack(storm, at=1000, written=False, next_look=20_000) is AckWord.ACKED
    assert await other.discard(await other.look(at=1500)) is CloseWord.CLOSED


async def test_late_word_of_an_earlier_claim_does_not_end_the_claim_of_another(
    group: Group, other: Group
) -> None:
    await group.fold(signal(1))
    late = await group.look(at=1000)
    assert group.server is not None
    group.server.command("HSET", group.storm_key, "claimed_ms", 1)
    assert await other.look(at=1000) is not None
    assert await group.ack(late, at=1000, written=False, next_look=1000) is AckWord.ACKED
    assert await group.discard(await group.look(at=1000)) is CloseWord.CLAIMED


async def test_signals_that_came_during_a_write_make_the_storm_due_a_second_later(group: Group) -> None:
    await group.fold(signal(1))
    storm = await group.look(at=1000)
    await group.fold(signal(2), known=(1, 1), at=1000)
    assert await group.ack(storm, at=1100) is AckWord.MORE
    assert [await group.claim(at=at) is None for at in (2099, 2100)] == [True, False]


async def test_older_write_does_not_take_back_a_newer_one(group: Group) -> None:
    await group.fold(signal(1))
    older = await group.look(at=10)
    await group.fold(signal(2), known=(1, 1))
    newer = await group.look(at=10)
    await group.ack(newer, at=10)
    await group.ack(older, at=20)
    assert (await group.look(at=30)).written == 2


async def test_ack_trims_ids_and_refuses_their_signals_from_then_on(group: Group, redis: Valkey) -> None:
    await group.fold(*signals(1, 4))
    await group.ack(await group.look(at=10), at=10, trim=3)
    kept = [signal(4).occurrence]
    assert redis.command("ZRANGE", group.ids_key, 0, -1) == kept
    answer = await group.fold(*signals(1, 5), known=(1, 4))
    assert (answer.folded, answer.ordinals) == (5, [0, 0, 0, 4, 5])
    other = Group(group.store, f"{group.group_hash[:-3]}fa7")
    assert (await other.fold(signal(3))).ordinals == [0], "the whole partition is fenced"


@pytest.mark.parametrize("closed", [False, True], ids=["open", "closed"])
async def test_signal_that_is_edited_while_the_leader_changes_counts_once(group: Group, closed: bool) -> None:
    await group.fold(*signals(1, 3))
    if closed:
        await group.freeze_and_close(at=10)
        await group.fold(signal(4), at=20)
    # A new leader refuses what its Lease says is durable, and a replica that does not lead looks at it.
    await group.store.fence([group.partition], 4)
    await group.ack(await group.look(at=30), at=30)
    # Then the new leader reads one whose edit has raised its resourceVersion above that.
    before = (await group.look(at=40)).folded
    answer = await group.fold(signal(9, ref=replace(signal(2).ref, resource_version=9)), at=50)
    assert (answer.folded, answer.ordinals) == (before, [0])


async def test_ids_beyond_the_newest_are_forgotten_as_far_as_the_request_holds_them(
    group: Group, redis: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stormfold.fold.store.KNOWN_SIGNALS", 3)
    await group.fold(*signals(1, 6))
    written = await group.look(at=10)
    await group.fold(*signals(7, 20), known=(1, 6))
    await group.ack(written, at=20, written=False)
    assert redis.command("ZCARD", group.ids_key) == 20, "nothing was written"
    await group.ack(written, at=20)
    assert redis.command("ZCARD", group.ids_key) == 14, "the request does not hold those from 7 on"
    again = await group.fold(*signals(5, 8), known=(1, 20))
    assert (again.folded, again.ordinals) == (20, [0, 0, 20, 20]), "what is forgotten is refused"
    await group.ack(await group.look(at=30), at=30)
    assert redis.command("ZRANGE", group.ids_key, 0, -1) == [signal(n).occurrence for n in (20, 19, 18)]
    assert (await group.fold(*signals(1, 21), known=(1, 20))).folded == 21


async def test_edited_signal_whose_id_is_forgotten_counts_again(
    group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stormfold.fold.store.KNOWN_SIGNALS", 1)
    await group.fold(*signals(1, 3))
    await group.ack(await group.look(at=10), at=10)
    edited = [
        replace(one, ref=replace(one.ref, resource_version=version))
        for one, version in ((signal(1), 11), (signal(3), 13))
    ]
    assert (await group.fold(*edited, known=(1, 3))).ordinals == [4, 4]


async def test_trim_never_lowers_the_fence(group: Group) -> None:
    await group.store.fence([group.partition], 10)
    await group.fold(signal(11))
    await group.ack(await group.look(at=10), at=10, trim=5)
    assert (await group.fold(signal(10), known=(1, 1))).ordinals == [0]


async def test_signal_after_settling_reopens_with_a_higher_revision(group: Group) -> None:
    await group.fold(signal(1))
    await group.ack(await group.look(at=60_000), at=60_000, settled=True)
    storm = await group.look(at=61_000)
    assert (storm.settled, storm.revision) == (True, 1)
    await group.fold(signal(2), signal(3), known=(1, 1), at=62_000)
    await group.fold(signal(4), known=(1, 3), at=62_000)
    storm = await group.look(at=62_000)
    assert (storm.settled, storm.revision) == (False, 2)


async def test_signal_that_overtakes_the_note_of_settling_raises_the_revision_too(group: Group) -> None:
    await group.fold(signal(1))
    storm = await group.look(at=60_000)
    await group.fold(signal(2), known=(1, 1), at=60_000)
    assert await group.ack(storm, at=60_000, settled=True) is AckWord.MORE
    storm = await group.look(at=61_000)
    assert (storm.settled, storm.revision) == (False, 2)


async def test_ack_of_an_earlier_epoch_leaves_the_later_one_alone(group: Group) -> None:
    await group.fold(signal(1))
    first = await group.look(at=10)
    await group.freeze_and_close(at=20)
    await group.fold(signal(2), at=30)
    before = await group.look(at=30)
    assert await group.ack(first, at=40, trim=2) is AckWord.NEWER_EPOCH
    assert await group.look(at=40) == before


async def test_ack_of_a_forgotten_storm_brings_nothing_back(group: Group, redis: Valkey) -> None:
    await group.fold(signal(1))
    storm = await group.look(at=10)
    await group.freeze_and_close(at=20)
    assert await group.ack(storm, at=30) is AckWord.GONE
    assert redis.command("ZCARD", group.due_key) == 0


async def test_hastened_storm_is_due_now(group: Group) -> None:
    await group.fold(signal(1))
    await group.store.make_due([GROUP_HASH], now_ms=T0 + 10)
    assert await group.claim(at=10) == OPENED


async def test_hastening_never_puts_a_storm_off_nor_makes_one(group: Group, redis: Valkey) -> None:
    await group.store.make_due([GROUP_HASH], now_ms=T0)
    assert redis.command("ZCARD", group.due_key) == 0
    await group.fold(signal(1))
    await group.store.make_due([GROUP_HASH], now_ms=T0 + 5000)
    assert await group.claim(at=1000) == OPENED


@pytest.mark.parametrize("namespace", ["shop", None])
async def test_target_keeps_its_namespace_or_none(group: Group, namespace: str | None) -> None:
    target = replace(pod("web-0"), namespace=namespace)
    await group.fold(signal(1, target))
    assert (await group.look(at=10)).resources == ((target, 1),)
