"""What is to be done about a storm, to the millisecond."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.harness.values import POD, SNAPSHOT, T0, TERMS

from stormfold.api.conditions import Reason
from stormfold.api.remediationrequest import RequestPhase
from stormfold.api.stormpolicy import CloseOn
from stormfold.model.storm import Detected, Snapshot, State
from stormfold.request.deciding import (
    CLOSING_SENTENCES,
    Close,
    DeadlinesMs,
    Decision,
    Discard,
    Finding,
    Finish,
    Reported,
    Wait,
    Write,
    closed,
    deadlines,
    decide,
    not_closed,
    recovered,
    settled,
    storm_detected,
    truncated,
)

SETTLE, CLOSE, EXPIRE = T0 + 70_000, T0 + 910_000, T0 + 21_600_000
SETTLED = replace(SNAPSHOT, settled=True)
GROWN = replace(SNAPSHOT, total=8, folded=8)
NEVER_QUIET = replace(SNAPSHOT, arrived_ms=EXPIRE - 10_000)

FIRING = replace(SETTLED, firing_alerts=3)
BY_QUIET = replace(TERMS, close_on=CloseOn.QUIET)
BY_RECOVERY = replace(TERMS, close_on=CloseOn.RECOVERED)
OPEN = Write(RequestPhase.OPEN, SETTLE)
HELD = Write(RequestPhase.SETTLED, EXPIRE)
TO_SETTLED = Write(RequestPhase.SETTLED, CLOSE)
QUIET = Close(Reason.QUIET_FOR_CLOSE_AFTER, unless_grown=True)
TOO_LONG = Close(Reason.MAX_DURATION_REACHED, unless_grown=False)


def test_max_duration_does_not_run_while_a_request_may_not_proceed() -> None:
    assert deadlines(SNAPSHOT, held_ms=7000) == DeadlinesMs(settle=SETTLE, close=CLOSE, expire=EXPIRE + 7000)


def test_deadlines_run_from_the_last_arrival_and_the_opening() -> None:
    assert deadlines(SNAPSHOT) == DeadlinesMs(settle=SETTLE, close=CLOSE, expire=EXPIRE)


@pytest.mark.parametrize(
    ("storm", "now_ms", "decision"),
    [
        pytest.param(SNAPSHOT, T0 + 10_000, Wait(SETTLE), id="nothing new"),
        pytest.param(SNAPSHOT, SETTLE - 1, Wait(SETTLE), id="just before it settles"),
        pytest.param(SNAPSHOT, SETTLE, TO_SETTLED, id="it settles"),
        pytest.param(SNAPSHOT, SETTLE + 1, TO_SETTLED, id="just after it should have settled"),
        pytest.param(GROWN, T0 + 10_000, OPEN, id="a signal more"),
        pytest.param(GROWN, SETTLE - 1, OPEN, id="a signal more just before it settles"),
        pytest.param(GROWN, SETTLE, TO_SETTLED, id="a signal more when it settles"),
        pytest.param(SETTLED, SETTLE - 1, OPEN, id="settled, and not quiet"),
        pytest.param(SETTLED, SETTLE, Wait(CLOSE), id="settled"),
        pytest.param(SETTLED, CLOSE - 1, Wait(CLOSE), id="just before it closes"),
        pytest.param(SETTLED, CLOSE, QUIET, id="it closes"),
        pytest.param(SETTLED, CLOSE + 1, QUIET, id="just after it should have closed"),
        pytest.param(GROWN, CLOSE, QUIET, id="it closes though a signal more is to be written"),
        pytest.param(NEVER_QUIET, EXPIRE - 1, Wait(EXPIRE), id="just before it has lasted too long"),
        pytest.param(NEVER_QUIET, EXPIRE, TOO_LONG, id="it has lasted too long"),
        pytest.param(NEVER_QUIET, EXPIRE + 1, TOO_LONG, id="it has lasted even longer"),
        pytest.param(SETTLED, EXPIRE, TOO_LONG, id="both, closing and expiring, are due"),
        pytest.param(
            replace(SETTLED, arrived_ms=EXPIRE - 100_000),
            EXPIRE - 1,
            Wait(EXPIRE),
            id="settled, to expire before it closes",
        ),
        pytest.param(FIRING, SETTLE - 1, OPEN, id="alerts fire: settled, and not quiet"),
        pytest.param(replace(FIRING, settled=False), SETTLE, HELD, id="alerts fire: it settles all the same"),
        pytest.param(FIRING, CLOSE - 1, Wait(EXPIRE), id="alerts fire: just before it would close"),
        pytest.param(FIRING, CLOSE, Wait(EXPIRE), id="alerts fire: it does not close for quiet"),
        pytest.param(FIRING, EXPIRE - 1, Wait(EXPIRE), id="alerts fire: just before it has lasted too long"),
        pytest.param(FIRING, EXPIRE, TOO_LONG, id="alerts fire: it has lasted too long all the same"),
        pytest.param(replace(FIRING, firing_alerts=1), CLOSE, Wait(EXPIRE), id="one alert is enough"),
        pytest.param(
            replace(FIRING, stale_look_ms=CLOSE + 5), CLOSE, Wait(CLOSE + 5), id="alerts may become stale"
        ),
        pytest.param(
            replace(FIRING, terms=BY_QUIET, stale_look_ms=CLOSE + 5),
            CLOSE - 1,
            Wait(CLOSE),
            id="Quiet: alerts fire",
        ),
        pytest.param(replace(FIRING, terms=BY_QUIET), CLOSE, QUIET, id="Quiet: it closes though alerts fire"),
        pytest.param(
            replace(SETTLED, terms=BY_RECOVERY), CLOSE, Wait(EXPIRE), id="Recovered: Signals hold it"
        ),
        pytest.param(
            replace(SETTLED, firing=0, terms=BY_RECOVERY), CLOSE, QUIET, id="Recovered: nothing fires"
        ),
        pytest.param(
            replace(SETTLED, terms=BY_RECOVERY), EXPIRE, TOO_LONG, id="Recovered: it has lasted too long"
        ),
    ],
)
def test_storm_with_a_request(storm: Snapshot, now_ms: int, decision: Decision) -> None:
    assert decide(storm, has_request=True, reported=Reported(), now_ms=now_ms) == decision


@pytest.mark.parametrize("storm", [SNAPSHOT, SETTLED, GROWN, FIRING, replace(SNAPSHOT, written=0)])
@pytest.mark.parametrize("now_ms", [T0, SETTLE, CLOSE, EXPIRE])
def test_finished_remediation_closes_at_once_unless_a_signal_reopens_what_had_settled(
    storm: Snapshot, now_ms: int
) -> None:
    assert decide(storm, has_request=True, reported=Reported(finished=True), now_ms=now_ms) == Close(
        Reason.REMEDIATION_FINISHED, unless_grown=storm.settled
    )


@pytest.mark.parametrize("storm", [SNAPSHOT, SETTLED, GROWN, FIRING])
@pytest.mark.parametrize("finished", [False, True])
def test_annotation_closes_at_once_whatever_comes_meanwhile(storm: Snapshot, finished: bool) -> None:
    asked = Reported(finished=finished, closing=True)
    assert decide(storm, has_request=True, reported=asked, now_ms=T0) == Close(
        Reason.CLOSED_BY_ANNOTATION, unless_grown=False
    )


@pytest.mark.parametrize(
    ("storm", "now_ms", "decision"),
    [
        pytest.param(SNAPSHOT, T0 + 10_000, OPEN, id="open"),
        pytest.param(SETTLED, SETTLE, TO_SETTLED, id="settled"),
        pytest.param(SETTLED, CLOSE, QUIET, id="to close"),
    ],
)
def test_what_is_wrong_with_a_report_is_said_though_nothing_else_is_new(
    storm: Snapshot, now_ms: int, decision: Decision
) -> None:
    assert decide(storm, has_request=True, reported=Reported(unsaid=True), now_ms=now_ms) == decision


@pytest.mark.parametrize(
    ("expires_ms", "deadline_ms"),
    [
        pytest.param(SETTLE - 1, SETTLE - 1, id="first"),
        pytest.param(SETTLE + 1, SETTLE, id="after it settles"),
    ],
)
def test_claim_that_expires_is_a_deadline(expires_ms: int, deadline_ms: int) -> None:
    claimed = Reported(expires_ms=expires_ms)
    assert decide(SNAPSHOT, has_request=True, reported=claimed, now_ms=T0) == Wait(deadline_ms)


@pytest.mark.parametrize(
    ("storm", "now_ms", "decision"),
    [
        pytest.param(SNAPSHOT, T0 + 10_000, OPEN, id="nothing new"),
        pytest.param(SETTLED, SETTLE, TO_SETTLED, id="settled"),
        pytest.param(SETTLED, CLOSE, QUIET, id="to close"),
        pytest.param(SNAPSHOT, EXPIRE, TOO_LONG, id="to expire"),
    ],
)
def test_request_that_was_deleted_is_made_again(storm: Snapshot, now_ms: int, decision: Decision) -> None:
    assert decide(storm, has_request=False, reported=Reported(), now_ms=now_ms) == decision


def test_request_that_is_made_after_its_group_has_waited_is_open_for_idle_at_least() -> None:
    made = CLOSE + 60_000
    assert deadlines(SNAPSHOT, made_ms=made) == DeadlinesMs(settle=SETTLE, close=made + 60_000, expire=EXPIRE)
    for now_ms, decision in ((made + 59_999, Wait(made + 60_000)), (made + 60_000, QUIET)):
        assert decide(SETTLED, has_request=True, reported=Reported(), now_ms=now_ms, made_ms=made) == decision


MET_LATE = replace(SNAPSHOT, arrived_ms=T0 + 10_000, late_ms=720_000)
"""What it counts happened 12 minutes before it came."""
ITS_CLOSE = T0 + 10_000 + 180_000


@pytest.mark.parametrize(
    ("storm", "now_ms", "decision"),
    [
        pytest.param(MET_LATE, T0 + 10_000, Write(RequestPhase.SETTLED, ITS_CLOSE), id="it is quiet already"),
        pytest.param(
            replace(MET_LATE, settled=True), T0 + 10_000, Wait(ITS_CLOSE), id="and its request says so"
        ),
        pytest.param(MET_LATE, ITS_CLOSE, QUIET, id="it closes by its own time"),
        pytest.param(
            replace(MET_LATE, late_ms=3_600_000, settled=True),
            T0 + 10_000,
            Wait(T0 + 70_000),
            id="but not before it has not grown for window.idle",
        ),
        pytest.param(replace(MET_LATE, late_ms=3_600_000), T0 + 70_000, QUIET, id="then it does"),
    ],
)
def test_storm_of_what_was_met_late(storm: Snapshot, now_ms: int, decision: Decision) -> None:
    assert decide(storm, has_request=True, reported=Reported(), now_ms=now_ms) == decision


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
BELOW = Discard(Reason.BELOW_THRESHOLD, "3 signals, threshold 5 within 60 s")
NOT_FIRING = Discard(Reason.NOTHING_FIRING, "3 signals said Resolved and none of the group said Firing")


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
            Discard(Reason.NOTHING_FIRING, "1 signal said Resolved and none of the group said Firing"),
            id="a single one",
        ),
    ],
)
def test_group_without_a_request(storm: Snapshot, now_ms: int, decision: Decision) -> None:
    assert decide(storm, has_request=False, reported=Reported(), now_ms=now_ms) == decision


def test_request_that_was_made_but_not_settled_is_written_not_discarded() -> None:
    assert decide(DROPPED, has_request=True, reported=Reported(), now_ms=WINDOW) == Write(
        RequestPhase.SETTLED, T0 + 900_500
    )


@pytest.mark.parametrize("has_request", [True, False])
@pytest.mark.parametrize("now_ms", [T0, EXPIRE])
def test_frozen_storm_is_finished_for_the_reason_it_was_frozen(has_request: bool, now_ms: int) -> None:
    storm = replace(GROWN, state=State.CLOSING, close_reason="REMEDIATION_FINISHED")
    assert decide(storm, has_request=has_request, reported=Reported(), now_ms=now_ms) == Finish(
        Reason.REMEDIATION_FINISHED
    )


MS = st.integers(1, 100_000)


@given(
    storm=st.builds(
        lambda terms, arrived, total, written, is_settled, firing, alerts: replace(
            SNAPSHOT,
            terms=terms,
            arrived_ms=T0 + arrived,
            total=total,
            folded=total,
            written=min(written, total),
            settled=is_settled,
            firing_signals=firing,
            firing_alerts=alerts,
            detected=Detected.NO,
        ),
        st.builds(
            lambda within, hold, discard, idle, duration, close: replace(
                TERMS,
                within_ms=within,
                group_wait_ms=hold,
                discard=discard,
                idle_ms=idle,
                max_duration_ms=duration,
                close_after_ms=close,
            ),
            MS,
            MS,
            st.booleans(),
            MS,
            MS,
            MS,
        ),
        MS,
        st.integers(1, 3),
        st.integers(0, 3),
        st.booleans(),
        st.integers(0, 2),
        st.integers(0, 1),
    ),
    has_request=st.booleans(),
    now=MS,
)
def test_whoever_waits_or_writes_looks_again_later(storm: Snapshot, has_request: bool, now: int) -> None:
    now_ms = T0 + now
    decision = decide(storm, has_request=has_request, reported=Reported(), now_ms=now_ms)
    if isinstance(decision, Wait):
        assert decision.deadline_ms > now_ms
        again = decide(storm, has_request=has_request, reported=Reported(), now_ms=decision.deadline_ms)
        assert not isinstance(again, Wait) or again.deadline_ms > decision.deadline_ms
    elif isinstance(decision, Write) and (has_request or storm.written):
        assert decision.deadline_ms > now_ms
        written = replace(storm, written=storm.folded, settled=decision.phase is RequestPhase.SETTLED)
        assert decide(written, has_request=True, reported=Reported(), now_ms=now_ms) == Wait(
            decision.deadline_ms
        )


# --- findings


@pytest.mark.parametrize(
    ("storm", "finding"),
    [
        pytest.param(
            SNAPSHOT,
            Finding(True, Reason.SIGNAL_THRESHOLD_REACHED, "5 signals came within 60 s"),
            id="by signals",
        ),
        pytest.param(
            replace(
                SNAPSHOT,
                detected=Detected.BY_RESOURCES,
                terms=replace(TERMS, threshold_resources=1, within_ms=1_500),
            ),
            Finding(True, Reason.RESOURCE_THRESHOLD_REACHED, "1 resource affected within 1500 ms"),
            id="by resources",
        ),
        pytest.param(
            replace(SNAPSHOT, detected=Detected.NO, firing_signals=1),
            Finding(False, Reason.BELOW_THRESHOLD, "no storm: 1 signal, threshold 5 within 60 s"),
            id="below",
        ),
        pytest.param(
            replace(SNAPSHOT, detected=Detected.NO, terms=replace(TERMS, threshold_resources=3)),
            Finding(
                False,
                Reason.BELOW_THRESHOLD,
                "no storm: 6 signals, threshold 5; 2 resources, threshold 3 within 60 s",
            ),
            id="below both",
        ),
    ],
)
def test_storm_is_detected(storm: Snapshot, finding: Finding) -> None:
    assert storm_detected(storm) == finding


@pytest.mark.parametrize(
    ("phase", "finding"),
    [
        (
            RequestPhase.OPEN,
            Finding(False, Reason.SIGNALS_ARRIVING, "7 signals so far, 7 in the last minute"),
        ),
        (RequestPhase.SETTLED, Finding(True, Reason.QUIET, "7 signals; the counts are exact")),
        (RequestPhase.CLOSED, Finding(True, Reason.QUIET, "7 signals; the counts are exact")),
    ],
)
def test_storm_is_settled_unless_it_is_open(phase: RequestPhase, finding: Finding) -> None:
    assert settled(SNAPSHOT, phase) == finding


@pytest.mark.parametrize(
    ("storm", "finding"),
    [
        pytest.param(SNAPSHOT, Finding(False, Reason.STILL_FIRING, "5 firing, 1 resolved"), id="some fire"),
        pytest.param(
            replace(SNAPSHOT, approximate=True),
            Finding(False, Reason.STILL_FIRING, "5 firing, 1 resolved"),
            id="some of about so many fire",
        ),
        pytest.param(
            replace(SNAPSHOT, firing=0, resolved=6),
            Finding(True, Reason.ALL_RESOLVED, "all 6 resolved"),
            id="none fires",
        ),
        pytest.param(
            replace(SNAPSHOT, firing=0, resolved=600, approximate=True),
            Finding(
                None,
                Reason.INSTANCES_NOT_TRACKED,
                "about 600 resolved; not every instance could be followed",
            ),
            id="nobody knows",
        ),
        pytest.param(
            replace(SNAPSHOT, firing=0, resolved=5, stale_alerts=2),
            Finding(
                None,
                Reason.ALERTS_STALE,
                "5 resolved, 2 alerts neither repeated nor resolved for staleAfter (86400 s)",
            ),
            id="nobody has heard of some for long",
        ),
        pytest.param(
            replace(SNAPSHOT, firing=1, stale_alerts=1),
            Finding(
                False,
                Reason.STILL_FIRING,
                "1 firing, 1 resolved, 1 alert neither repeated nor resolved for staleAfter (86400 s)",
            ),
            id="and others fire",
        ),
    ],
)
def test_storm_has_recovered_when_nothing_fires(storm: Snapshot, finding: Finding) -> None:
    assert recovered(storm) == finding


@pytest.mark.parametrize(
    ("storm", "finding"),
    [
        (SNAPSHOT, Finding(False, Reason.WITHIN_LIMIT, "2 resources listed")),
        (
            replace(SNAPSHOT, resources=(), resource_count=0),
            Finding(False, Reason.WITHIN_LIMIT, "0 resources listed"),
        ),
        (
            replace(SNAPSHOT, total=900, truncated=True, resources=((POD, 9),), resource_count=480),
            Finding(True, Reason.RESOURCE_LIMIT_REACHED, "1 of about 480 resources listed"),
        ),
        (
            replace(SNAPSHOT, total=177, truncated=True, resources=((POD, 9),), resource_count=178),
            Finding(True, Reason.RESOURCE_LIMIT_REACHED, "1 of about 177 resources listed"),
        ),
    ],
)
def test_list_of_resources_is_truncated_or_whole(storm: Snapshot, finding: Finding) -> None:
    assert truncated(storm) == finding


@pytest.mark.parametrize(
    ("storm", "reason", "message"),
    [
        (SNAPSHOT, Reason.NOT_CLOSED, "signals of the group are still counted here"),
        (
            replace(SNAPSHOT, firing_alerts=1),
            Reason.ALERTS_FIRING,
            "1 alert still firing: closeAfter (900 s) begins when all have resolved",
        ),
        (
            replace(SNAPSHOT, firing_alerts=3, approximate=True),
            Reason.ALERTS_FIRING,
            "up to 3 alerts still firing: closeAfter (900 s) begins when all have resolved",
        ),
        (
            replace(SNAPSHOT, firing_alerts=3, terms=BY_RECOVERY),
            Reason.STILL_FIRING,
            "5 instances still firing: closeAfter (900 s) begins when all have resolved",
        ),
        (
            replace(SNAPSHOT, firing_alerts=3, terms=BY_QUIET),
            Reason.NOT_CLOSED,
            "signals of the group are still counted here",
        ),
    ],
)
def test_open_storm_is_not_closed_and_says_what_holds_it(
    storm: Snapshot, reason: Reason, message: str
) -> None:
    assert not_closed(storm) == Finding(False, reason, message)


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason.where == "Closed is True"])
def test_every_reason_for_closing_has_a_sentence(reason: Reason) -> None:
    assert closed(reason) == Finding(True, reason, CLOSING_SENTENCES[reason])
