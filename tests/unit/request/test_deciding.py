"""What is to be done about a storm, to the millisecond."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.harness.values import SNAPSHOT, T0, TERMS

from stormfold.api.reasons.requests import RequestReason
from stormfold.api.remediationrequest import RequestPhase
from stormfold.api.stormpolicy import CloseOn
from stormfold.model.storm import Detected, Snapshot, State
from stormfold.request.deciding import (
    Close,
    DeadlinesMs,
    Decision,
    Finish,
    Reported,
    Wait,
    Write,
    deadlines,
    decide,
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
QUIET = Close(RequestReason.QUIET_FOR_CLOSE_AFTER, unless_grown=True)
TOO_LONG = Close(RequestReason.MAX_DURATION_REACHED, unless_grown=False)


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
        RequestReason.REMEDIATION_FINISHED, unless_grown=storm.settled
    )


@pytest.mark.parametrize("storm", [SNAPSHOT, SETTLED, GROWN, FIRING])
@pytest.mark.parametrize("finished", [False, True])
def test_annotation_closes_at_once_whatever_comes_meanwhile(storm: Snapshot, finished: bool) -> None:
    asked = Reported(finished=finished, closing=True)
    assert decide(storm, has_request=True, reported=asked, now_ms=T0) == Close(
        RequestReason.CLOSED_BY_ANNOTATION, unless_grown=False
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


def test_max_duration_runs_from_when_a_late_request_was_made() -> None:
    """Its consumers have as long as those of any other."""
    made = EXPIRE + 1000
    lasting = replace(NEVER_QUIET, arrived_ms=made)
    for now_ms, closes in (
        (made + EXPIRE - SNAPSHOT.opened_ms - 1, False),
        (made + EXPIRE - SNAPSHOT.opened_ms, True),
    ):
        storm = replace(lasting, last_ms=now_ms, arrived_ms=now_ms)
        found = decide(storm, has_request=True, reported=Reported(), now_ms=now_ms, made_ms=made)
        assert (found == TOO_LONG) is closes


def test_request_that_is_made_after_its_group_has_waited_is_open_for_idle_at_least() -> None:
    made = CLOSE + 60_000
    expire = EXPIRE - SNAPSHOT.opened_ms + made
    assert deadlines(SNAPSHOT, made_ms=made) == DeadlinesMs(settle=SETTLE, close=made + 60_000, expire=expire)
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


@pytest.mark.parametrize("has_request", [True, False])
@pytest.mark.parametrize("now_ms", [T0, EXPIRE])
def test_frozen_storm_is_finished_for_the_reason_it_was_frozen(has_request: bool, now_ms: int) -> None:
    storm = replace(GROWN, state=State.CLOSING, close_reason="REMEDIATION_FINISHED")
    assert decide(storm, has_request=has_request, reported=Reported(), now_ms=now_ms) == Finish(
        RequestReason.REMEDIATION_FINISHED
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
