"""The counts of `make soak`, and the stream that they are of."""

from __future__ import annotations

from typing import Any

import pytest
from tests.soak.counts import Counts, place_of
from tests.soak.stream import GROUPS, PERIOD_SECONDS, Group, Turns

GROUP, WIDE = GROUPS[0], GROUPS[9]


def request(group: Group, epoch: int, phase: str = "Closed", **pods: int) -> dict[str, Any]:
    """A request with so many signals for each of these pods."""
    return {
        "metadata": {"name": f"{group.name}-{epoch}"},
        "spec": {"name": group.name},
        "status": {
            "phase": phase,
            "signals": {"total": sum(pods.values())},
            "resources": [{"name": pod, "signals": signals} for pod, signals in pods.items()],
        },
    }


@pytest.fixture
def counts() -> Counts:
    """Two signals about `a` and one about `b` were sent."""
    counts = Counts()
    counts.sent.update([place_of(GROUP, "a"), place_of(GROUP, "a"), place_of(GROUP, "b")])
    return counts


def test_each_signal_in_one_of_the_requests_is_right(counts: Counts) -> None:
    counts.observe([request(GROUP, 1, a=1), request(GROUP, 2, a=1, b=1)])
    assert not counts.wrong
    assert (counts.requests, counts.open) == (2, [])


def test_one_lost_and_one_counted_twice_are_two_errors(counts: Counts) -> None:
    counts.observe([request(GROUP, 1, a=3)])
    assert (counts.lost(), counts.twice(), counts.wrong) == (1, 1, True)


def test_request_that_was_deleted_goes_on_counting(counts: Counts) -> None:
    counts.observe([request(GROUP, 1, a=2)])
    counts.observe([request(GROUP, 2, "Open", b=1)])
    assert not counts.wrong
    assert counts.open == ["soak-00-2"]


def test_request_that_goes_back_is_wrong(counts: Counts) -> None:
    counts.observe([request(GROUP, 1, a=2, b=1)])
    counts.observe([request(GROUP, 1, a=1, b=1)])
    assert counts.problems == ["soak-00-1 went back from 3 to 2"]


def test_pods_beyond_what_is_listed_are_counted_together() -> None:
    counts = Counts()
    counts.sent.update(place_of(WIDE, WIDE.pod(place)) for place in range(WIDE.pods))
    counts.observe([request(WIDE, 1, a=WIDE.pods)])
    assert not counts.wrong


def test_every_group_is_quiet_for_longer_than_storms_stay_open_after_their_last_signal() -> None:
    for group in GROUPS:
        moments = [group.has_storm(tenths / 10) for tenths in range(int(PERIOD_SECONDS * 10))]
        assert sum(moments) == pytest.approx(PERIOD_SECONDS * 5, abs=1)


def test_no_two_signals_have_the_same_name() -> None:
    turns = Turns()
    taken = [turns.next(n / 100) for n in range(3000)]
    assert len(set(taken)) == len(taken)
