"""When deletions wait for Signals that arrive."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from stormfold.sources.signals.rush import LIVE_AT_MOST, RUSH_SECONDS, RUSH_SIGNALS, Rush

PER_SECOND = RUSH_SIGNALS / RUSH_SECONDS


def rush_after(moments: Iterable[float], *, live: int = 1) -> Rush:
    rush = Rush()
    for moment in moments:
        rush.arrived(moment, live)
    return rush


def evenly(signals: int, *, per_second: float) -> list[float]:
    return [number / per_second for number in range(signals)]


@pytest.mark.parametrize(
    ("moments", "now", "holds"),
    [
        pytest.param([], 0.0, False, id="none ever came"),
        pytest.param([0.0] * (RUSH_SIGNALS - 1), 0.0, False, id="at once, one less than a rush"),
        pytest.param([0.0] * RUSH_SIGNALS, 0.0, True, id="at once"),
        pytest.param([0.0] * RUSH_SIGNALS, RUSH_SECONDS - 0.01, True, id="at once, just before they are old"),
        pytest.param([0.0] * RUSH_SIGNALS, RUSH_SECONDS, False, id="at once, and now they are old"),
        pytest.param(
            evenly(5 * RUSH_SIGNALS, per_second=0.99 * PER_SECOND), 10.1, False, id="a little slower than one"
        ),
        pytest.param(
            evenly(5 * RUSH_SIGNALS, per_second=1.01 * PER_SECOND), 9.9, True, id="a little faster than one"
        ),
        pytest.param(
            [*evenly(3000, per_second=600), 5.0 + RUSH_SECONDS], 5.0 + RUSH_SECONDS, False, id="one straggler"
        ),
    ],
)
def test_deletions_wait_while_signals_arrive_fast(moments: list[float], now: float, holds: bool) -> None:
    assert rush_after(moments).holds_deletions(now) is holds


@pytest.mark.parametrize(
    ("live", "holds"),
    [
        pytest.param(LIVE_AT_MOST - 1, True, id="below the bound"),
        pytest.param(LIVE_AT_MOST, False, id="at the bound"),
    ],
)
def test_deletions_do_not_wait_when_the_cluster_has_many_signals(live: int, holds: bool) -> None:
    assert rush_after([0.0] * RUSH_SIGNALS, live=live).holds_deletions(1.0) is holds


def test_what_counts_is_how_many_there_were_at_the_last_arrival() -> None:
    rush = rush_after([0.0] * RUSH_SIGNALS, live=LIVE_AT_MOST)
    rush.arrived(0.1, LIVE_AT_MOST - 1)
    assert rush.holds_deletions(0.2)
