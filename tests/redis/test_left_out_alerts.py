"""fold.lua on alerts that their sender left out of a post."""

from __future__ import annotations

from dataclasses import replace

from tests.harness.folding import Group, alert
from tests.harness.told_alerts import WITH_ALERTS

from stormfold.model.arrival import AlertRef, Arrival


def left_out(number: int, name: str, starts: int = 0, *, firing: bool = True) -> Arrival:
    """An alert of a post from which so many others were left out."""
    report = alert(name, starts, firing=firing)
    assert isinstance(report.ref, AlertRef)
    return replace(report, ref=replace(report.ref, left_out=number))


async def test_most_alerts_left_out_of_a_post_are_told(group: Group) -> None:
    seen = []
    for report in (
        alert("a"),
        left_out(7, "b"),
        left_out(7, "b"),
        left_out(3, "a"),
        left_out(9, "a"),
        left_out(9, "b"),
        left_out(11, "b", firing=False),
        left_out(12, "a"),
        alert("c"),
    ):
        await group.fold(report, at=100)
        storm = await group.look(at=100)
        seen.append((storm.left_out, storm.total, storm.firing, storm.folded))
    assert seen == [
        (0, 1, 1, 1),
        (7, 2, 2, 2),
        (7, 2, 2, 2),
        (7, 2, 2, 2),
        (9, 2, 2, 3),
        (9, 2, 2, 3),
        (11, 2, 1, 4),
        (12, 2, 1, 5),
        (12, 3, 2, 6),
    ]


async def test_post_says_once_what_was_left_out_of_it(group: Group) -> None:
    await group.fold(alert("a"), alert("b"))
    answer = await group.fold(left_out(7, "a"), left_out(7, "b"), left_out(7, "c"), at=100)
    assert (answer.folded, answer.ordinals) == (4, [3, 3, 4])
    storm = await group.look(at=100)
    assert (storm.left_out, storm.total, storm.firing) == (7, 3, 3)


async def test_what_was_left_out_reopens_a_settled_storm_and_is_continued(group: Group) -> None:
    await group.fold(alert("a"))
    await group.ack(await group.look(at=0), at=10, settled=True)
    answer = await group.fold(left_out(7, "a"), at=2000)
    assert (await group.look(at=2000)).revision == 2
    seed = replace(WITH_ALERTS, left_out=7)
    await group.fold(left_out(6, "b"), seed=seed, stale=answer.incarnation, at=3000)
    assert (await group.look(at=3000)).left_out == 7


async def test_next_storm_begins_with_none_left_out(group: Group) -> None:
    await group.fold(left_out(7, "a"))
    await group.freeze_and_close(at=10)
    answer = await group.fold(left_out(9, "a"), at=20)
    assert (answer.open, answer.ordinals) == (False, [0])
    await group.fold(left_out(2, "b", 20), at=20)
    assert (await group.look(at=20)).left_out == 2
