"""fold.lua on Kubernetes Events: each counts as often as it has occurred."""

from __future__ import annotations

from dataclasses import replace

from tests.harness.folding import Group, event, signal
from tests.harness.told_alerts import WITH_ALERTS
from tests.harness.values import ARRIVAL


async def test_event_counts_as_often_as_it_has_occurred(group: Group) -> None:
    answer = await group.fold(event("e", 5, 3))
    assert (answer.folded, answer.ordinals) == (3, [3])
    answer = await group.fold(event("e", 8, 7), event("f", 9, 1))
    assert (answer.folded, answer.ordinals) == (8, [7, 8])
    storm = await group.look(at=0)
    assert (storm.total, storm.firing, storm.event_through, storm.through) == (8, 2, 9, 0)
    assert storm.resources == ((ARRIVAL.target, 8),)


async def test_event_that_comes_again_counts_only_what_it_has_more(group: Group) -> None:
    await group.fold(event("e", 5, 3))
    for report, folded in ((event("e", 5, 3), 3), (event("e", 9, 4), 4), (event("e", 7, 2), 4)):
        assert (await group.fold(report)).folded == folded


async def test_occurrences_that_were_durable_before_are_not_counted(group: Group) -> None:
    assert (await group.fold(event("e", 5, 7, after=4))).folded == 3


async def test_event_up_to_what_the_request_holds_is_not_counted(group: Group) -> None:
    seed = replace(WITH_ALERTS, event_through=100)
    answer = await group.fold(event("e", 100, 7), event("f", 101, 2), seed=seed)
    assert (answer.folded, answer.ordinals) == (6, [4, 6])


async def test_event_that_happened_again_since_the_request_counts_only_since_then(group: Group) -> None:
    """What holds its arrivals did not know that the first of them is in the request."""
    seed = replace(WITH_ALERTS, event_through=100)
    answer = await group.fold(event("e", 100, 3), event("e", 101, 5), seed=seed)
    assert (answer.folded, answer.ordinals) == (6, [4, 6])
    answer = await group.fold(event("e", 102, 6), known=(1, 6), incarnation=answer.incarnation)
    assert answer.folded == 7


async def test_event_and_signal_have_floors_of_their_own(group: Group) -> None:
    await group.fold(signal(500), event("e", 5, 1))
    await group.freeze_and_close(at=10)
    answer = await group.fold(signal(400), event("f", 6, 1), event("g", 5, 1), at=20)
    assert (answer.epoch, answer.folded, answer.ordinals) == (2, 1, [0, 1, 1])
