"""The part `signals`: how its figures are reckoned from rounds."""

from __future__ import annotations

import pytest
from benchmarks.signals.figures import percentile
from benchmarks.signals.load import Storm
from benchmarks.signals.scene import grown


def test_signals_of_a_storm_are_of_all_its_groups_in_turn() -> None:
    manifests = list(Storm("shop", 7, 3).manifests())
    assert [one["spec"]["name"][-1] for one in manifests] == list("0120120")
    assert len({one["metadata"]["name"] for one in manifests}) == 7


@pytest.mark.parametrize(("share", "expected"), [(0.5, 51), (0.99, 100), (1.0, 100)])
def test_percentile_is_one_of_the_values(share: float, expected: float) -> None:
    assert percentile([float(value) for value in range(100, 0, -1)], share) == expected


def test_metric_that_is_new_has_grown_from_nothing() -> None:
    assert grown({}, {"marks": 3.0}, "marks") == 3.0
