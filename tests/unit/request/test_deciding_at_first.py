"""What is to be done about a group that has no request yet, to the millisecond."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.harness.values import SNAPSHOT, T0, TERMS

from stormfold.api.reasons.signals import SignalReason
from stormfold.api.remediationrequest import RequestPhase
from stormfold.model.storm import Detected, Snapshot
from stormfold.request.deciding import Decision, Discard, Reported, Wait, Write, decide

NEW = replace(
    SNAPSHOT,
    total=3,
    folded=3,
    firing_signals=3,
    detected=Detected.NO,
    window_ms=T0 + 2_000,
    arrived_ms=T0 + 500,
    written=0,
    written_ms=0,
)
"""A group below its threshold of which no request is made yet."""
DROPPED = replace(NEW, terms=replace(TERMS, discard=True))
RESOLVED = replace(NEW, firing_signals=0)
HOLD, WINDOW = T0 + 1_000, T0 + 62_000
MADE = Write(RequestPhase.OPEN, T0 + 60_500)
BELOW = Discard(SignalReason.BELOW_THRESHOLD, "3 signals, threshold 5 within 60 s")
NOT_FIRING = Discard(
    SignalReason.NOTHING_FIRING, "3 signals said Resolved, and no signal of the group said Firing"
)


@pytest.mark.parametrize(
    ("storm", "now_ms", "decision"),
    [
        pytest.param(NEW, HOLD - 1, Wait(HOLD), id="just before the hold is over"),
        pytest.param(NEW, HOLD, MADE, id="the hold is over"),
        pytest.param(NEW, HOLD + 1, MADE, id="just after the hold"),
        pytest.param(
            replace(NEW, detected=Detected.BY_SIGNALS), T0, MADE, id="the threshold ends the hold early"
        ),
        pytest.param(replace(NEW, detected=Detected.BY_RESOURCES), T0, MADE, id="so does that of resources"),
        pytest.param(replace(NEW, terms=replace(TERMS, group_wait_ms=0)), T0, MADE, id="no hold"),
        pytest.param(
            replace(NEW, terms=replace(TERMS, max_duration_ms=5_000)),
            HOLD,
            Write(RequestPhase.OPEN, T0 + 5_000),
            id="to expire before it settles",
        ),
        pytest.param(
            replace(NEW, late_ms=720_000),
            HOLD,
            Write(RequestPhase.SETTLED, T0 + 500 + 180_000),
            id="what was met late is made as settled",
        ),
        pytest.param(
            replace(DROPPED, late_ms=720_000, window_ms=T0 - 720_000),
            T0 + 59_999,
            Wait(T0 + 60_000),
            id="Discard waits for more of what was met late",
        ),
        pytest.param(DROPPED, HOLD, Wait(WINDOW), id="Discard waits for the threshold beyond the hold"),
        pytest.param(DROPPED, WINDOW - 1, Wait(WINDOW), id="just before the window is over"),
        pytest.param(DROPPED, WINDOW, BELOW, id="the window is over below the threshold"),
        pytest.param(DROPPED, WINDOW + 1, BELOW, id="just after the window"),
        pytest.param(
            replace(DROPPED, detected=Detected.BY_SIGNALS), T0, MADE, id="Discard with the threshold reached"
        ),
        pytest.param(
            replace(DROPPED, still_firing=True, total=0, folded=1),
            T0,
            MADE,
            id="alerts of the request before still fire: neither hold nor threshold",
        ),
        pytest.param(
            replace(NEW, still_firing=True, total=0, firing=0, folded=7),
            T0,
            Discard(
                SignalReason.NOTHING_FIRING, "all alerts of the request before have resolved, and none came"
            ),
            id="all alerts of the request before have resolved by now",
        ),
        pytest.param(
            replace(NEW, still_firing=True, total=0, firing=0, stale_alerts=2, folded=7),
            T0,
            Discard(
                SignalReason.NOTHING_FIRING, "all alerts of the request before have resolved, and none came"
            ),
            id="they are stale",
        ),
        pytest.param(
            replace(NEW, still_firing=True, total=1, firing=0, folded=8),
            T0,
            MADE,
            id="another one came and ended",
        ),
        pytest.param(RESOLVED, HOLD, Wait(WINDOW), id="resolved only: waits for a firing one"),
        pytest.param(RESOLVED, WINDOW - 1, Wait(WINDOW), id="resolved only, just before the window is over"),
        pytest.param(RESOLVED, WINDOW, NOT_FIRING, id="resolved only"),
        pytest.param(
            replace(RESOLVED, detected=Detected.BY_RESOURCES),
            WINDOW,
            NOT_FIRING,
            id="resolved only, on many resources",
        ),
        pytest.param(
            replace(RESOLVED, terms=DROPPED.terms), WINDOW, NOT_FIRING, id="resolved only, and Discard"
        ),
        pytest.param(
            replace(RESOLVED, total=1, folded=1),
            WINDOW,
            Discard(
                SignalReason.NOTHING_FIRING, "1 signal said Resolved, and no signal of the group said Firing"
            ),
            id="a single one",
        ),
    ],
)
def test_group_without_a_request(storm: Snapshot, now_ms: int, decision: Decision) -> None:
    assert decide(storm, has_request=False, reported=Reported(), now_ms=now_ms) == decision


STOPPED = Discard(SignalReason.NOTHING_FIRING, "the request before says that nothing is to be done")


@pytest.mark.parametrize(
    ("changes", "decision"),
    [
        pytest.param({}, STOPPED, id="alerts fire on"),
        pytest.param({"fires_again": True}, MADE, id="one of them has ended and fires again"),
        pytest.param({"total": 1, "folded": 2}, MADE, id="a new signal came"),
        pytest.param({"still_firing": False, "total": 1}, MADE, id="it was opened by a new signal"),
    ],
)
def test_group_that_opened_by_itself_is_stopped_by_a_word_in_the_request_before(
    changes: dict[str, Any], decision: Decision
) -> None:
    storm = replace(NEW, still_firing=True, total=0, firing=1, folded=1)
    now_ms = HOLD if decision is MADE else T0
    found = decide(
        replace(storm, **changes), has_request=False, reported=Reported(), now_ms=now_ms, stopped=True
    )
    assert found == decision


def test_word_in_the_request_before_stops_no_request_that_is_there() -> None:
    storm = replace(NEW, still_firing=True, total=0, firing=1, folded=1)
    found = decide(storm, has_request=True, reported=Reported(), now_ms=T0, stopped=True)
    assert isinstance(found, Write)


def test_request_that_was_made_but_not_settled_is_written_not_discarded() -> None:
    assert decide(DROPPED, has_request=True, reported=Reported(), now_ms=WINDOW) == Write(
        RequestPhase.SETTLED, T0 + 900_500
    )
