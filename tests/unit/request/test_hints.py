"""Hints of what is due, gathered into few looks."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, cast

import pytest

from stormfold.request import reconciler
from stormfold.request.reconciler import HINTED_MS, LOOK_MS, Reconciler

NOW = 1_767_225_600_000


@pytest.fixture
def hinted(monkeypatch: pytest.MonkeyPatch) -> Reconciler:
    """A reconciler that only takes hints, at a moment that stands still."""
    monkeypatch.setattr(reconciler, "now_ms", lambda: NOW)
    nothing = cast("Any", None)
    return Reconciler(nothing, nothing, nothing, terminal_phases=(), trim=dict, fenced=dict)


def looks(of: Reconciler) -> dict[int, set[int]]:
    """Milliseconds from now → the partitions that are looked at then."""
    assert sorted(of._hints) == sorted(of._due)
    return {moment - NOW: numbers for moment, numbers in of._due.items()}


def test_everything_due_between_two_looks_is_found_by_the_second(hinted: Reconciler) -> None:
    for number, later in ((3, 1), (3, LOOK_MS), (4, LOOK_MS - 1), (5, LOOK_MS + 1)):
        hinted.hint(number, NOW + later)
    assert looks(hinted) == {LOOK_MS: {3, 4}, 2 * LOOK_MS: {5}}


def test_what_is_due_for_long_is_looked_at_now(hinted: Reconciler) -> None:
    hinted.hint(7, NOW - 5_000)
    assert looks(hinted) == {0: {7}}


def test_what_is_far_ahead_is_left_to_the_sweep(hinted: Reconciler) -> None:
    hinted.hint(7, NOW + HINTED_MS)
    assert looks(hinted) == {}


async def test_storm_that_is_worked_on_is_hastened_when_that_is_over(
    hinted: Reconciler, monkeypatch: pytest.MonkeyPatch
) -> None:
    hastened: list[str] = []

    class Store:
        async def hasten(self, gids: Collection[str], *, now_ms: int) -> None:
            hastened.extend(sorted(gids))

    monkeypatch.setattr(hinted, "_store", Store())
    hinted._busy.add("00000000000000ab")
    hinted.needs_look("00000000000000ab")
    hinted.needs_look("00000000000000cd")
    await hinted._hasten_all()
    assert hastened == ["00000000000000cd"]
    hinted._busy.clear()
    await hinted._hasten_all()
    assert hastened == ["00000000000000cd", "00000000000000ab"]
