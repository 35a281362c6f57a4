"""fold.lua on the sum of a storm's Signals: the same comes of it as of the Signals one by one."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from tests.harness.folding import GROUP_HASH, TERMS, Group, alert, signal, signals
from tests.harness.values import T0

from stormfold.api.signal import Severity
from stormfold.fold.arguments import pieces_of
from stormfold.fold.connection import Connection
from stormfold.fold.replies import Folded, FoldWord
from stormfold.fold.store import StormStore
from stormfold.model.arrival import Arrival, SignalRef
from stormfold.model.group import partition
from stormfold.model.storm import Snapshot

pytestmark = pytest.mark.usefixtures("one_incarnation")

OTHER = f"{int(GROUP_HASH, 16) + (1 << 60):016x}"
"""A group whose keys are beside those of `GROUP_HASH`."""
TERMS_OF_FEW = replace(TERMS, threshold_signals=12, threshold_resources=6, resources=4)
"""Less than the pods of the cases: what is not listed is estimated."""
DEPLOYMENTS = ["web", "web", "web-of", "wéb", "wèb", "api"]
"""What they have in common ends in different places, once in the middle of a character."""
STEPS = 12


def some(chance: Random, newest: int) -> list[Arrival]:
    """Signals in any order, each once: mostly new ones, some come again and some are edited."""
    chosen: list[Arrival] = []
    for number in chance.sample(range(max(1, newest - 8), newest + 12), chance.randint(2, 9)):
        edited = chance.choice([0, 0, 0, 40])
        deployment = chance.choice(DEPLOYMENTS)
        pod = None if chance.random() < 0.1 else f"{deployment}-{chance.randint(0, 4)}"
        chosen.append(
            signal(
                number,
                pod,
                ref=SignalRef("shop", f"signal-{number}", f"uid-{number}", 1, number + edited),
                firing=chance.random() < 0.8,
                severity=chance.choice(list(Severity)),
            )
        )
    return chosen


async def state_of(group: Group, connection: Connection, at: int) -> tuple[Snapshot, list[tuple[str, float]]]:
    """The storm, but for its group_hash, and the ids that are known."""
    ids = await connection.client.zrange(group.ids_key, 0, -1, withscores=True)
    return replace(await group.look(at=at), group_hash=""), ids


@pytest.mark.parametrize("seed", range(40))
async def test_sum_counts_what_its_signals_count_one_by_one(
    store: StormStore, connection: Connection, seed: int
) -> None:
    assert partition(OTHER) == partition(GROUP_HASH)
    chance = Random(seed)
    summed, each = Group(store, GROUP_HASH, TERMS_OF_FEW), Group(store, OTHER, TERMS_OF_FEW)
    newest, known, incarnation = 0, (0, 0), ""
    for step in range(STEPS):
        at = step * 7_000
        batch = some(chance, newest)
        newest += chance.randint(0, 12)
        # One that comes twice makes each a piece of its own, and changes nothing else.
        again = [*batch, batch[0]]
        assert len(list(pieces_of(summed.fold_of(*batch)))) == 1
        assert len(list(pieces_of(each.fold_of(*again)))) == len(again)
        got = await summed.fold(*batch, at=at, known=known, incarnation=incarnation)
        expected = await each.fold(*again, at=at, known=known, incarnation=incarnation)
        assert got == without_last(expected)
        if not got.open:  # all of them are known from before
            continue
        known, incarnation = (got.epoch, got.folded), got.incarnation
        assert await state_of(summed, connection, at) == await state_of(each, connection, at)
        what = chance.choice(["", "", "ack", "close", "discard"])
        if what == "close":
            for group in (summed, each):
                await group.freeze_and_close(at=at)
            known, incarnation = (0, 0), ""
        elif what == "discard":
            for group in (summed, each):
                await group.discard(await group.look(at=at))
            known, incarnation = (0, 0), ""
        elif what == "ack":
            for group in (summed, each):
                await group.ack(await group.look(at=at), at=at, settled=True)


def without_last(folded: Folded) -> Folded:
    """What was said of a batch, but for its last signal."""
    last = len(folded.ordinals) - 1
    return replace(folded, ordinals=folded.ordinals[:last], discarded=folded.discarded - {last})


async def test_what_comes_behind_signals_that_are_sent_again_is_not_counted_before_them(group: Group) -> None:
    """Else the floor of the storm may rise above them: by a write or a close between the two calls."""
    await group.fold(signal(2))
    fold = group.fold_of(*signals(2, 4), alert("a"), signal(5))
    answers = await group.store.fold_pieces(group.partition, list(pieces_of(fold)), T0)
    assert [answer.word for answer in answers] == [FoldWord.APART] * 3
    assert (await group.look(at=0)).total == 1
    assert (await group.fold(*fold.arrivals)).ordinals == [1, 2, 3, 4, 5]


async def test_known_ones_among_new_ones_of_a_sum_are_told_apart(group: Group) -> None:
    await group.fold(*signals(1, 3))
    edited = signal(2, ref=SignalRef("shop", "signal-2", "uid-2", 1, 5))
    answer = await group.fold(signal(4), edited, signal(6), known=(1, 3))
    assert (answer.folded, answer.ordinals) == (5, [4, 4, 5])
    again = await group.fold(signal(4), edited, signal(6), signal(7), known=(1, 5))
    assert (again.folded, again.ordinals) == (6, [5, 5, 5, 6])


async def test_sum_below_the_newest_counts_each_once(group: Group) -> None:
    await group.fold(*signals(4, 6))
    late = [signal(2, "web-2"), signal(3, "web-3")]
    assert (await group.fold(*late, known=(1, 3))).ordinals == [4, 5]
    assert (await group.fold(*late, known=(1, 5))).ordinals == [5, 5]
    assert (await group.look(at=10)).through == 6
