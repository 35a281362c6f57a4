"""Of the signals of a batch, only what may change what is kept is told to Redis."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.harness.folding import alert, resolved, signal, signals
from tests.harness.values import version

from stormfold.fold.showing import NOTHING_TOLD, Shown, Told, sampled_places
from stormfold.model.arrival import Arrival

ENDED = [replace(signal(n), firing=False) for n in range(3)]


@pytest.mark.parametrize(
    ("arrivals", "has_first", "places"),
    [
        pytest.param([], False, [], id="none"),
        pytest.param(signals(1, 5), False, [0, 1, 2, 3, 4], id="few"),
        pytest.param(signals(1, 9), False, [0, 1, 2, 7, 8], id="the first three and the latest two"),
        pytest.param(signals(1, 9), True, [7, 8], id="the first ones are there"),
        pytest.param([*ENDED, *signals(1, 2), *ENDED], True, [3, 4], id="those that fire"),
        pytest.param(
            [alert("a", 9), *(alert(f"b{n}") for n in range(8)), alert("c", 7), resolved("d", 8), alert("e")],
            True,
            [0, 9],
            id="alerts that began last",
        ),
    ],
)
def test_some_of_a_batch_are_samples(arrivals: list[Arrival], has_first: bool, places: list[int]) -> None:
    assert sampled_places(arrivals, has_first=has_first) == places


def test_first_samples_are_told_once() -> None:
    assert NOTHING_TOLD.and_then(signals(1, 2)) == Told(sampled=2)
    assert Told(sampled=2).and_then([*ENDED, signal(3), signal(4)]) == Told(sampled=3)


def test_nothing_is_told_where_nothing_is_shown() -> None:
    assert Shown().args(signals(1, 9)) == []
    assert Shown(version(evidence={"samples": 0}).showing).args(signals(1, 9)) == []
