"""Since when a namespace is not there."""

from __future__ import annotations

from stormfold.request.absences import Absences


def test_absence_begins_when_it_is_first_seen_and_ends_with_a_write() -> None:
    absences = Absences()
    assert [absences.since("shop", now) for now in (1_000_000, 1_001_000, 1_059_000)] == [1_000_000] * 3
    absences.over("shop")
    assert absences.since("shop", 1_060_000) == 1_060_000


def test_absence_that_nobody_meets_for_a_minute_is_forgotten() -> None:
    absences = Absences()
    for number in range(100):
        absences.since(f"gone-{number}", 1_000_000)
    assert absences.since("gone-0", 1_059_999) == 1_000_000
    assert absences.since("gone-1", 1_060_000) == 1_060_000
    assert len(absences) == 2
