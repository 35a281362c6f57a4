"""freeze.lua and close.lua: how a storm ends, or is discarded, and what is known of it afterwards."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.harness.folding import (
    DISCARDED_AS,
    GROUP_HASH,
    INCARNATION,
    OPENED,
    T0,
    TERMS,
    Group,
    fields_of,
    signal,
    signals,
)

from lab.valkey import Valkey
from stormfold.fold import keys
from stormfold.fold.replies import CloseWord, Folded, FoldWord, FreezeWord
from stormfold.fold.store import CLAIM_MS
from stormfold.model.limits import KNOW_SECONDS, REMEMBER_SECONDS
from stormfold.model.storm import State

pytestmark = pytest.mark.usefixtures("one_incarnation")


async def test_closing_storm_is_frozen_as_it_was(group: Group) -> None:
    await group.fold(signal(1))
    word, frozen = await group.freeze(await group.look(at=10), at=20)
    assert (word, frozen) == (
        FreezeWord.CLOSING,
        replace(OPENED, state=State.CLOSING, close_reason="MAX_DURATION_REACHED", closed_ms=T0 + 20),
    )


async def test_nothing_is_counted_into_a_closing_storm(group: Group) -> None:
    await group.fold(signal(1))
    _, frozen = await group.freeze(await group.look(at=10), at=20)
    assert await group.fold(signal(1), signal(2), known=(1, 1)) == Folded(
        FoldWord.CLOSING, 1, 1, False, 0, 0, INCARNATION, []
    )
    assert await group.look(at=30) == frozen


async def test_closing_storm_stays_due_so_that_its_closing_goes_on_after_a_crash(group: Group) -> None:
    await group.fold(signal(1))
    _, frozen = await group.freeze(await group.look(at=10), at=20)
    assert await group.claim(at=10 + CLAIM_MS) == frozen


async def test_storm_that_has_grown_is_not_closed(group: Group) -> None:
    await group.fold(signal(1))
    storm = await group.look(at=10)
    await group.fold(signal(2), known=(1, 1))
    assert await group.freeze(storm, at=20, only_at_total=True) == (FreezeWord.MOVED, None)
    assert (await group.fold(signal(3), known=(1, 2))).ordinals == [3]


async def test_storm_that_has_grown_is_closed_where_that_does_not_matter(group: Group) -> None:
    await group.fold(signal(1))
    storm = await group.look(at=10)
    await group.fold(signal(2), known=(1, 1))
    word, frozen = await group.freeze(storm, at=20)
    assert (word, frozen.total if frozen else None) == (FreezeWord.CLOSING, 2)


async def test_closed_storm_is_gone(group: Group) -> None:
    await group.fold(signal(1))
    frozen = await group.freeze_and_close(at=10)
    assert await group.freeze(frozen, at=20) == (FreezeWord.GONE, None)


async def test_signal_after_closing_opens_the_next_epoch(group: Group) -> None:
    epochs = []
    for version in range(1, 4):
        answer = await group.fold(signal(version), at=version)
        epochs.append((answer.epoch, answer.folded, answer.ordinals))
        await group.freeze_and_close(at=version)
    assert epochs == [(1, 1, [1]), (2, 1, [1]), (3, 1, [1])]


async def test_next_epoch_begins_from_nothing(group: Group) -> None:
    group.terms = replace(TERMS, resources=2)
    await group.fold(*signals(1, 9, firing=False), signal(10))
    await group.freeze_and_close(at=10)
    await group.fold(signal(11, seen_ms=T0 + 1))
    storm = await group.look(at=10)
    assert storm == replace(OPENED, terms=group.terms, epoch=2, through=11)


async def test_closed_storm_counts_none_of_its_signals_again(group: Group) -> None:
    await group.fold(*signals(1, 3))
    await group.freeze_and_close(at=10)
    answer = await group.fold(*signals(1, 4))
    assert (answer.epoch, answer.folded, answer.ordinals) == (2, 1, [0, 0, 0, 1])


async def test_closed_storm_leaves_its_epoch_and_floor_and_the_ids_that_were_not_trimmed(
    group: Group, redis: Valkey
) -> None:
    group.terms = replace(TERMS, resources=2)
    await group.fold(*signals(1, 9))
    await group.freeze_and_close(at=10)
    names = redis.command("KEYS", "*")
    assert isinstance(names, list)
    assert set(names) == {group.storm_key, group.ids_key}
    assert redis.command("TTL", group.ids_key) == KNOW_SECONDS
    assert fields_of(redis, group.storm_key) == {
        "epoch": "1",
        "state": "closed",
        "signals_floor": "9",
        "stale_after_ms": "86400000",
    }
    assert redis.command("TTL", group.storm_key) == REMEMBER_SECONDS


async def test_next_epoch_is_not_forgotten_when_the_memory_of_the_last_one_would_be(
    group: Group, redis: Valkey
) -> None:
    await group.fold(signal(1))
    await group.freeze_and_close(at=10)
    await group.fold(signal(2))
    names = redis.command("KEYS", "*")
    assert isinstance(names, list)
    assert {str(name): redis.command("TTL", str(name)) for name in names} == dict.fromkeys(
        [
            group.storm_key,
            group.ids_key,
            group.due_key,
            keys.resources(group.partition, GROUP_HASH),
            keys.instances(group.partition, GROUP_HASH),
            keys.opening(group.partition, GROUP_HASH),
        ],
        -1,
    )


async def test_storm_that_was_refilled_while_it_closed_is_not_forgotten(group: Group, redis: Valkey) -> None:
    await group.fold(signal(1))
    _, frozen = await group.freeze(await group.look(at=10), at=10)
    assert frozen is not None
    redis.command("FLUSHALL")
    await group.fold(signal(1), signal(2))
    assert await group.store.close_storm(frozen) is CloseWord.MOVED
    assert (await group.look(at=20)).total == 2


async def test_discarded_group_keeps_the_epoch_for_its_next_storm(group: Group) -> None:
    await group.fold(signal(1))
    assert await group.discard(await group.look(at=10)) is CloseWord.CLOSED
    answer = await group.fold(signal(2), at=20)
    assert (answer.epoch, answer.folded) == (1, 1)
    await group.freeze_and_close(at=30)
    await group.fold(signal(3), at=40)
    assert await group.discard(await group.look(at=50)) is CloseWord.CLOSED
    assert (await group.fold(signal(4), at=60)).epoch == 2


async def test_discarding_a_group_leaves_its_floor(group: Group) -> None:
    await group.fold(signal(1))
    await group.freeze_and_close(at=10)
    await group.fold(signal(2))
    await group.discard(await group.look(at=20))
    assert (await group.fold(signal(1), signal(3))).ordinals == [0, 1]


async def test_signal_that_was_discarded_is_so_for_whoever_folds_it_again(group: Group) -> None:
    await group.fold(signal(1), signal(2))
    await group.discard(await group.look(at=10))
    answer = await group.fold(signal(2), signal(3), signal(1), at=20)
    assert (answer.ordinals, answer.discarded, answer.discarded_as) == ([0, 1, 0], {0, 2}, DISCARDED_AS)
    assert (await group.look(at=20)).total == 1
    await group.freeze_and_close(at=30)
    answer = await group.fold(signal(1), signal(3), at=40)
    assert (answer.open, answer.ordinals, answer.discarded) == (False, [0, 0], {0})


async def test_signal_that_was_edited_after_it_was_discarded_or_counted_is_still_known(group: Group) -> None:
    await group.fold(signal(1))
    await group.freeze_and_close(at=10)
    await group.fold(signal(2), at=20)
    await group.discard(await group.look(at=20))
    await group.fold(signal(3), at=30)
    edited = [
        replace(one, ref=replace(one.ref, resource_version=version))
        for one, version in ((signal(1), 11), (signal(2), 12), (signal(3), 13))
    ]
    answer = await group.fold(*edited, at=40)
    assert (answer.epoch, answer.ordinals, answer.discarded) == (2, [0, 0, 1], {1})


async def test_what_discarded_signals_were_told_is_told_also_beside_a_storm_above_its_threshold(
    group: Group,
) -> None:
    await group.fold(signal(1))
    await group.discard(await group.look(at=10))
    await group.fold(*signals(11, 20), at=20)
    assert (await group.look(at=20)).detected == "signals"
    answer = await group.fold(signal(1), at=30)
    assert (answer.ordinals, answer.discarded, answer.discarded_as) == ([0], {0}, DISCARDED_AS)


async def test_what_was_discarded_is_forgotten_with_its_checkpoint(group: Group, redis: Valkey) -> None:
    await group.fold(signal(1), signal(2))
    await group.discard(await group.look(at=10))
    await group.fold(signal(3), at=20)
    await group.ack(await group.look(at=20), at=20, trim=1)
    assert redis.command("ZRANGE", group.ids_key, 0, -1, "WITHSCORES")[1::2] == ["-3", "2"]


async def test_what_another_server_had_discarded_may_have_been_counted_since(group: Group) -> None:
    await group.fold(signal(1))
    await group.discard(await group.look(at=10))
    group.note_another_server("discarded_by")
    answer = await group.fold(signal(1), at=20)
    assert (answer.ordinals, answer.discarded) == ([1], frozenset())


async def test_storm_of_another_server_is_not_discarded_but_forgotten(group: Group) -> None:
    await group.fold(signal(1))
    group.note_another_server("incarnation")
    assert await group.discard(await group.look(at=10)) is CloseWord.LOST
    answer = await group.fold(signal(1), at=20)
    assert (answer.epoch, answer.ordinals, answer.discarded) == (1, [1], frozenset())


async def test_group_whose_request_was_written_meanwhile_is_not_discarded(group: Group) -> None:
    await group.fold(signal(1))
    storm = await group.look(at=10)
    await group.ack(storm, at=20)
    assert await group.discard(storm) is CloseWord.MOVED
    assert await group.discard(await group.look(at=30)) is CloseWord.CLOSED, "its request was deleted"


async def test_closing_storm_is_not_discarded(group: Group) -> None:
    await group.fold(signal(1))
    _, frozen = await group.freeze(await group.look(at=10), at=10)
    assert frozen is not None
    assert await group.discard(frozen) is CloseWord.MOVED


async def test_group_that_has_grown_is_not_discarded(group: Group) -> None:
    await group.fold(signal(1))
    storm = await group.look(at=10)
    await group.fold(signal(2), known=(1, 1))
    assert await group.discard(storm) is CloseWord.MOVED
    assert (await group.look(at=20)).total == 2
