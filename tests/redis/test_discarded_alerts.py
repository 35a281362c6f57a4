"""fold.lua on alerts of a discarded storm: they stay so, and what was counted before stays counted."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.harness.folding import DISCARDED_AS, Group, alert, resolved, signal
from tests.harness.told_alerts import counts
from tests.harness.values import T0, TERMS

from stormfold.fold.replies import CloseWord
from stormfold.model.storm import Seed


@pytest.mark.parametrize("noted", [True, False], ids=["closing noted", "only the request is closed"])
async def test_discarded_alert_stays_so_through_further_storms(group: Group, noted: bool) -> None:
    await group.fold(alert("a"))
    await group.discard(await group.look(at=10))
    await group.fold(alert("b", 20), at=20)
    storm = await group.look(at=20)
    if noted:
        await group.freeze_and_close(at=30)
        answer = await group.fold(alert("a"), alert("b", 20), at=40)
    else:
        await group.freeze(storm, at=30)
        closed = Seed(epoch=1, closed=True, incarnation=storm.incarnation, total=1, folded=1, alerts=1)
        answer = await group.fold(alert("a"), alert("b", 20), at=40, seed=closed)
    assert (answer.open, answer.ordinals, answer.discarded) == (False, [0, 0], {0})


async def test_discarded_alert_is_known_and_opens_nothing(group: Group) -> None:
    await group.fold(alert("a"))
    assert await group.discard(await group.look(at=10)) is CloseWord.CLOSED
    answer = await group.fold(alert("a"), at=20)
    assert (answer.epoch, answer.open, answer.ordinals) == (0, False, [0])
    assert (answer.discarded, answer.discarded_as) == ({0}, DISCARDED_AS)
    answer = await group.fold(alert("b"), resolved("a"), at=30)
    assert (answer.ordinals, answer.discarded) == ([1, 0], {1})
    assert counts(await group.look(at=40)) == (1, 1, 0, 1)


async def test_alert_that_was_discarded_and_begins_anew_counts(group: Group) -> None:
    await group.fold(alert("a"), alert("a", 5))
    await group.discard(await group.look(at=10))
    answer = await group.fold(alert("a", 5), alert("a", 20), at=20)
    assert (answer.ordinals, answer.discarded) == ([0, 1], {0})
    assert counts(await group.look(at=20)) == (1, 1, 0, 1)


async def test_next_beginning_of_a_counted_alert_may_be_discarded_if_that_has_ended(group: Group) -> None:
    await group.fold(alert("a"), alert("c"), resolved("c"))
    await group.freeze_and_close(at=10)
    answer = await group.fold(alert("a", 20), alert("b", 20), alert("c", 20), at=20)
    assert (answer.epoch, answer.ordinals) == (2, [1, 2, 3])
    await group.discard(await group.look(at=30))
    answer = await group.fold(alert("a", 20), alert("b", 20), alert("c", 20), at=40)
    assert (answer.ordinals, answer.discarded) == ([0, 0, 0], {1, 2})


async def test_alert_that_fired_on_into_a_discarded_storm_stays_in_its_request(group: Group) -> None:
    await group.fold(alert("a"))
    await group.freeze_and_close(at=10)
    await group.fold(alert("b", 20), at=20)
    await group.fold(alert("a"), at=20)
    await group.discard(await group.look(at=30))
    answer = await group.fold(alert("a"), alert("b", 20), at=40)
    assert (answer.ordinals, answer.discarded) == ([0, 0], {1})


async def test_counted_alert_does_not_wait_for_a_storm_that_may_be_discarded(group: Group) -> None:
    discarding = replace(group, terms=replace(TERMS, discard=True))
    await group.fold(alert("a"), alert("b"), resolved("c"))
    await group.freeze_and_close(at=10)
    answer = await discarding.fold(alert("new", 20), at=20)
    assert (answer.epoch, answer.ordinals) == (2, [1])
    answer = await discarding.fold(
        alert("a"), resolved("b", seen_ms=T0 + 30), resolved("c", seen_ms=T0 + 30), alert("new", 20), at=30
    )
    assert (answer.folded, answer.ordinals, answer.discarded) == (2, [0, 0, 0, 2], frozenset())
    assert (await group.look(at=30)).firing_alerts == 2
    answer = await discarding.fold(resolved("c", seen_ms=T0 + 40), alert("b", 40, seen_ms=T0 + 40), at=40)
    assert answer.ordinals == [0, 3]
    assert (await group.look(at=40)).firing_alerts == 3
    await group.discard(await group.look(at=40))
    again = [alert("a"), alert("b"), alert("b", 40), alert("c"), alert("new", 20)]
    answer = await discarding.fold(*again, at=50)
    assert (answer.ordinals, answer.discarded) == ([0, 0, 0, 0, 0], {4})


async def test_end_of_a_counted_alert_waits_for_the_request_that_says_so(group: Group) -> None:
    await group.fold(alert("a"), alert("b"))
    await group.freeze_and_close(at=10)
    await group.fold(alert("new", 20), at=20)
    answer = await group.fold(alert("a"), resolved("b"), at=30)
    assert (answer.ordinals, answer.folded) == ([0, 2], 2)
    assert (await group.fold(resolved("b"), at=40)).ordinals == [2]


async def test_alert_of_a_group_that_forgets_its_alerts_counts_when_it_comes_again(group: Group) -> None:
    await group.fold(alert("a"))
    await group.freeze_and_close(at=10)
    await group.fold(alert("a", 20), alert("b", 20), alert("b", 25), signal(1), at=20)
    assert await group.discard(await group.look(at=30), forget_alerts=True) is CloseWord.CLOSED
    answer = await group.fold(alert("a"), alert("b", 20), alert("a", 20), signal(1), at=40)
    assert (answer.epoch, answer.ordinals, answer.discarded) == (2, [0, 1, 2, 0], {3})
    assert counts(await group.look(at=40)) == (2, 2, 0, 2)


async def test_what_another_server_had_discarded_counts_again(group: Group) -> None:
    await group.fold(alert("a"))
    await group.freeze_and_close(at=10)
    await group.fold(alert("c", 20), alert("b", 20), at=20)
    await group.discard(await group.look(at=30))
    group.note_another_server("discarded_by")
    answer = await group.fold(alert("c", 20), alert("b", 20), alert("a"), at=40)
    assert (answer.ordinals, answer.discarded) == ([1, 2, 0], frozenset())


@pytest.mark.parametrize("forget", [False, True])
async def test_end_that_a_discarded_storm_was_told_is_known_to_the_next(group: Group, forget: bool) -> None:
    await group.fold(alert("a"))
    await group.freeze_and_close(at=10)
    await group.fold(alert("b", 20), at=20)
    await group.fold(resolved("a", seen_ms=T0 + 30), at=30)
    assert await group.discard(await group.look(at=40), forget_alerts=forget) is CloseWord.CLOSED
    await group.fold(alert("c", 50), at=50)
    assert (await group.look(at=50)).firing_alerts == 1


async def test_what_another_server_had_discarded_before_what_is_lost_counts_again(group: Group) -> None:
    await group.fold(alert("a"))
    await group.discard(await group.look(at=10))
    await group.fold(alert("b", 20), at=20)
    for field in ("incarnation", "discarded_by"):
        group.note_another_server(field)
    assert await group.discard(await group.look(at=30)) is CloseWord.LOST
    answer = await group.fold(alert("a"), at=40)
    assert (answer.ordinals, answer.discarded) == ([1], frozenset())
