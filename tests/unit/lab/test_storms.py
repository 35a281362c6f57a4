"""The demo's story and its verdict."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any

import pytest

from lab.demo.storms import FEWEST, Scenario, scenario, violations
from stormfold.api.signal import Signal

NOW = datetime(2026, 2, 3, 9, 41, tzinfo=UTC)
TOLD = scenario(100, seed=1, now=NOW)


def requests_of(told: Scenario) -> list[dict[str, Any]]:
    """RemediationRequests, as far as the verdict looks, that are just as they must be."""
    return [
        {
            "metadata": {"namespace": expected.namespace},
            "spec": {"group": [{"key": key, "value": value} for key, value in sorted(expected.group)]},
            "status": {
                "signals": {"total": expected.total},
                "conditions": [{"type": "StormDetected", "status": str(expected.storm)}],
            },
        }
        for expected in told.expected
    ]


@pytest.mark.parametrize("signals", [FEWEST, 51, 560, 2000])
def test_story_has_as_many_signals_as_asked_for_and_counts_each_once(signals: int) -> None:
    told = scenario(signals, seed=1, now=NOW)
    assert told.signals == signals
    assert sum(e.total for e in told.expected) + told.rejected == signals


def test_same_seed_tells_the_same_story() -> None:
    assert scenario(100, seed=1, now=NOW) == TOLD != scenario(100, seed=2, now=NOW)


def test_every_signal_of_the_story_is_a_valid_one() -> None:
    for file in TOLD.files:
        for manifest in file:
            Signal.model_validate(manifest)


def test_story_that_came_out_right_has_no_violation() -> None:
    assert list(violations(TOLD, requests_of(TOLD), 1)) == []


def test_second_request_of_a_storm_is_a_violation() -> None:
    requests = requests_of(TOLD)
    twin = copy.deepcopy(requests[0])
    twin["status"]["signals"]["total"] = 0
    assert list(violations(TOLD, [*requests, twin], 1)) == [
        "node worker-07 goes down: 2 requests in platform instead of 1"
    ]


def test_lost_signal_is_a_violation() -> None:
    requests = requests_of(TOLD)
    requests[0]["status"]["signals"]["total"] -= 1
    total = TOLD.expected[0].total
    assert list(violations(TOLD, requests, 1)) == [
        f"node worker-07 goes down: {total - 1} signals counted instead of {total}"
    ]


def test_request_for_another_group_is_a_violation() -> None:
    requests = requests_of(TOLD)
    stranger = copy.deepcopy(requests[0])
    stranger["spec"]["group"] = [{"key": "labels.node"}]
    assert list(violations(TOLD, [*requests, stranger], 1)) == [
        "an unexpected request in platform for {'labels.node': ''}"
    ]


def test_signal_that_was_not_rejected_is_a_violation() -> None:
    assert list(violations(TOLD, requests_of(TOLD), 0)) == ["0 signals rejected instead of 1"]
