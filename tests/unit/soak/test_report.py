"""The verdict of `make soak`: what it calls flat."""

from __future__ import annotations

import pytest
from tests.soak.report import Course, Figure

MEMORY = Figure("memory", "MB", 2)


def test_thirds_are_compared_by_their_medians() -> None:
    samples = [{"memory": value} for value in (9.0, 1, 2, 30, 4, 3, 5, 60, 6)]
    assert Course.of(MEMORY, samples) == Course(MEMORY, begin=2, middle=4, end=6)


@pytest.mark.parametrize(
    ("middle", "end", "flat"),
    [
        pytest.param(100, 105, True, id="five in a hundred more"),
        pytest.param(100, 106, False, id="more than that"),
        pytest.param(100, 50, True, id="less"),
        pytest.param(10, 12, True, id="as much more as the slack"),
        pytest.param(10, 13, False, id="more than the slack"),
    ],
)
def test_what_grows_beyond_five_percent_and_the_slack_is_not_flat(
    middle: float, end: float, flat: bool
) -> None:
    assert Course(MEMORY, 0, middle, end).flat is flat


def test_what_is_only_shown_may_grow() -> None:
    assert Course(Figure("backlog", "", None), 0, 10, 1000).flat
