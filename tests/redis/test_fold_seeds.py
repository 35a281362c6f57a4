"""fold.lua, when Redis knows less than its caller: a lost storm is told, or continued from its request."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.harness.folding import INCARNATION, OPENED, T0, Group, pod, signal, signals
from tests.harness.seeds import SEED

from lab.valkey import Valkey
from stormfold.fold.replies import Folded, FoldWord
from stormfold.model.storm import Detected, Seed

pytestmark = pytest.mark.usefixtures("one_incarnation")


@pytest.mark.parametrize("known", [(1, 2), (2, 0), (2, 1)])
async def test_storm_behind_what_is_known_is_lost(group: Group, known: tuple[int, int]) -> None:
    await group.fold(signal(1))
    assert await group.fold(signal(2), known=known) == Folded(FoldWord.LOST, 0, 0, False, 0, 0, "", [])
    assert (await group.look(at=10)).total == 1


async def test_lost_storm_does_not_hold_up_the_others_of_its_batch(group: Group) -> None:
    other = Group(group.store, f"{group.group_hash[:-3]}fa7")
    assert other.partition == group.partition
    folds = [group.fold_of(signal(1), signal(2), known=(1, 1)), other.fold_of(signal(3))]
    answers = await group.store.fold(group.partition, folds, now_ms=T0)
    assert [(a.word, a.ordinals) for a in answers] == [(FoldWord.LOST, []), (FoldWord.COUNTED, [1])]


async def counted_by_another_server(group: Group, redis: Valkey) -> None:
    """Make what Redis has of the group that of another server, as after a fail-over or a restart."""
    redis.command("HSET", group.storm_key, "incarnation", "lifexxxx")


async def test_storm_of_another_server_is_lost_to_who_knows_of_it(group: Group, redis: Valkey) -> None:
    await group.fold(signal(1))
    await counted_by_another_server(group, redis)
    assert (await group.fold(signal(2), known=(1, 1))).word == FoldWord.LOST


async def test_storm_of_another_server_is_continued_from_its_request(group: Group, redis: Valkey) -> None:
    await group.fold(*signals(1, 9), seed=SEED)
    await counted_by_another_server(group, redis)
    answer = await group.fold(signal(101), seed=SEED)
    assert (answer.epoch, answer.folded, answer.ordinals) == (3, 8, [8])


async def test_storm_of_another_server_without_a_request_begins_again_in_its_epoch(
    group: Group, redis: Valkey
) -> None:
    await group.fold(signal(1))
    await group.freeze_and_close(at=10)
    await group.fold(signal(2), signal(3), at=20)
    await counted_by_another_server(group, redis)
    answer = await group.fold(signal(1), signal(3), at=30)
    assert (answer.epoch, answer.folded, answer.ordinals) == (2, 1, [0, 1])


CONTINUED = replace(
    OPENED,
    epoch=3,
    origin="before:7",
    total=7,
    folded=7,
    firing=4,
    resolved=2,
    firing_signals=4,
    approximate=True,
    severity=3,
    first_ms=T0 - 5000,
    last_ms=T0 - 1000,
    opened_ms=T0 - 6000,
    arrived_ms=T0 - 1000,
    window_ms=T0 - 6000,
    detected=Detected.BY_SIGNALS,
    rate_per_minute=0,
    resources=((pod("web-1"), 5), (pod("web-2"), 2)),
    resource_count=2,
    revision=2,
    through=100,
    written=7,
    written_ms=T0 - 900,
)


async def test_missing_storm_is_continued_from_its_seed_and_is_due_at_once(group: Group) -> None:
    assert await group.fold(seed=SEED) == Folded(FoldWord.COUNTED, 3, 7, True, T0, 7, INCARNATION, [])
    assert await group.claim(at=0) == CONTINUED


async def test_continued_storm_counts_only_what_is_above_its_seed(group: Group) -> None:
    answer = await group.fold(signal(99), signal(100), signal(101, "web-2"), signal(102, "web-3"), seed=SEED)
    assert (answer.epoch, answer.folded, answer.ordinals) == (3, 9, [0, 0, 8, 9])
    storm = await group.look(at=10)
    assert storm.resources == ((pod("web-1"), 5), (pod("web-2"), 3), (pod("web-3"), 1))


async def test_seed_of_a_settled_storm_keeps_it_settled_until_a_signal_reopens_it(group: Group) -> None:
    await group.fold(seed=replace(SEED, settled=True))
    storm = await group.look(at=0)
    assert (storm.settled, storm.revision) == (True, 2)
    await group.fold(signal(101), known=(3, 7))
    storm = await group.look(at=10)
    assert (storm.settled, storm.revision) == (False, 3)


@pytest.mark.parametrize(
    ("epoch", "total"),
    [pytest.param(3, 6, id="total behind the request"), pytest.param(2, 50, id="epoch behind the request")],
)
async def test_stale_storm_is_replaced_by_its_seed(group: Group, epoch: int, total: int) -> None:
    await group.fold(seed=replace(SEED, epoch=epoch, total=total, folded=total))
    await group.fold(seed=SEED)
    assert await group.look(at=0) == CONTINUED


@pytest.mark.parametrize(
    ("epoch", "total"),
    [pytest.param(3, 7, id="as far as the request"), pytest.param(4, 1, id="a later storm")],
)
async def test_seed_is_not_used_if_redis_knows_as_much(group: Group, epoch: int, total: int) -> None:
    await group.fold(seed=replace(SEED, epoch=epoch, total=total, folded=total, severity=1))
    await group.fold(seed=SEED)
    storm = await group.look(at=0)
    assert (storm.epoch, storm.total, storm.severity) == (epoch, total, 1)


async def test_stale_storm_forgets_ids_that_its_request_never_held(group: Group) -> None:
    await group.fold(signal(1), signal(105))
    answer = await group.fold(signal(105), seed=SEED)
    assert (answer.folded, answer.ordinals) == (8, [8])


async def test_seed_of_a_closed_request_opens_the_next_epoch_above_its_floor(group: Group) -> None:
    closed = Seed(epoch=3, closed=True, through=100)
    answer = await group.fold(signal(100), signal(101), seed=closed)
    assert (answer.epoch, answer.folded, answer.ordinals) == (4, 1, [0, 1])


async def test_closed_request_is_newer_than_an_open_storm_of_its_epoch(group: Group) -> None:
    await group.fold(seed=SEED)
    answer = await group.fold(signal(101), seed=Seed(epoch=3, closed=True, through=100))
    assert (answer.epoch, answer.folded, answer.ordinals) == (4, 1, [1])


async def test_request_that_looks_open_does_not_reopen_a_closed_storm(group: Group) -> None:
    await group.fold(seed=SEED)
    await group.freeze_and_close(at=10)
    answer = await group.fold(signal(101), seed=SEED)
    assert (answer.epoch, answer.folded, answer.ordinals) == (4, 1, [1])
