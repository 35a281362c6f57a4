"""Whose Signal is marked next."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, cast

from tests.harness.values import ARRIVAL

from stormfold.api.conditions import Reason
from stormfold.api.signal import SignalPhase
from stormfold.kube.client import KubeClient
from stormfold.kube.errors import RefusedError
from stormfold.model.arrival import SignalRef, Verdict
from stormfold.request.marking import Marker, Turns

FOLDED = Verdict(SignalPhase.FOLDED, Reason.COUNTED, "")


def ref(name: str) -> SignalRef:
    """A Signal; the first letter of its name is its namespace."""
    assert ARRIVAL.ref
    return replace(ARRIVAL.ref, namespace=name[0], name=name)


def turns(*names: str, limit: int = 100) -> Turns:
    made = Turns(limit)
    for name in names:
        made.add(ref(name), FOLDED)
    return made


def order(waiting: Turns) -> list[str]:
    return [waiting.pop()[0].name for _ in range(len(waiting))]


def test_namespaces_take_turns_and_each_gives_its_oldest() -> None:
    assert order(turns("a1", "a2", "a3", "b1", "c1", "b2")) == ["a1", "b1", "c1", "a2", "b2", "a3"]


def test_newest_of_the_namespace_with_the_most_gives_way() -> None:
    waiting = turns("a1", "a2", "a3", "b1", limit=4)
    assert not waiting.add(ref("b2"), FOLDED)
    assert order(waiting) == ["a1", "b1", "a2", "b2"]


def test_flood_gives_way_to_itself() -> None:
    waiting = turns("a1", "a2", "b1", limit=3)
    assert not waiting.add(ref("a3"), FOLDED)
    assert order(waiting) == ["a1", "b1", "a2"]


def test_namespaces_with_equally_many_give_way_to_none() -> None:
    waiting = turns("a1", "b1", limit=2)
    assert not waiting.add(ref("c1"), FOLDED)
    assert order(waiting) == ["a1", "b1"]


def test_what_is_put_back_is_the_next_of_its_namespace() -> None:
    waiting = turns("a1", "a2", "b1")
    waiting.put_back(*waiting.pop())
    assert order(waiting) == ["b1", "a1", "a2"]


class Refusing:
    """An API server that admits no mark of a Signal whose name ends in `-refused`."""

    async def merge_patch(self, path: str, body: dict[str, Any]) -> None:
        if path.endswith("-refused/status"):
            raise RefusedError("marking", 403, "Forbidden", "by admission")


async def test_marks_that_are_there_and_those_that_never_will_be_are_told_of() -> None:
    told: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
    marker = Marker(
        cast("KubeClient", Refusing()),
        per_second=1000,
        marked=lambda ref: told.put_nowait(("marked", ref.name)),
        refused=lambda ref: told.put_nowait(("refused", ref.name)),
    )
    for name in ("a-refused", "a-there"):
        marker.offer(ref(name), Verdict(SignalPhase.DISCARDED, Reason.BELOW_THRESHOLD, ""))
    writing = asyncio.create_task(marker.run())
    assert [await told.get(), await told.get()] == [("refused", "a-refused"), ("marked", "a-there")]
    writing.cancel()
