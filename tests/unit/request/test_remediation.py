"""What follows from what a consumer reports."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from tests.harness.values import PHASES, T0

from stormfold.api.conditions import Condition, ConditionStatus, ConditionType
from stormfold.api.reasons.consumers import ConsumerReason
from stormfold.request.deciding import Finding, Reported
from stormfold.request.remediation import Claim, Report, findings, reported

UNKNOWN, STALE, EXPIRED = (
    ConditionType.REMEDIATION_PHASE_UNKNOWN,
    ConditionType.STALE_REMEDIATION,
    ConditionType.CLAIM_EXPIRED,
)
CLAIM = Claim("robot-1", 2, T0 + 60_000)
SUCCEEDED = Report("Succeeded", 2, CLAIM)
WAS_EXPIRED = Condition(
    type=EXPIRED,
    status=ConditionStatus.TRUE,
    last_transition_time=datetime.fromtimestamp(T0 / 1000, UTC),
    reason=ConsumerReason.CLAIM_NOT_RENEWED,
    message="the claim of robot-1 expired at 2026-01-01T00:01:00Z: another consumer may take over. "
    "See https://stormfold.dev/reasons/#ClaimNotRenewed",
)


@pytest.mark.parametrize(
    ("report", "finished"),
    [
        pytest.param(Report(), False, id="nothing"),
        pytest.param(Report(""), False, id="no phase"),
        pytest.param(Report("InProgress"), False, id="an active phase"),
        pytest.param(Report("Suceeded"), False, id="a phase that is misspelled"),
        pytest.param(Report("Succeeded"), True, id="a terminal phase"),
        pytest.param(Report("succeeded"), True, id="a terminal phase in lower case"),
        pytest.param(Report("TIMEDOUT"), True, id="a terminal phase in upper case"),
        pytest.param(Report("Succeeded", 1), False, id="a terminal phase of an older revision"),
        pytest.param(Report("Succeeded", 2), True, id="a terminal phase of this revision"),
        pytest.param(Report("Succeeded", 3), True, id="a terminal phase of a later revision"),
        pytest.param(Report("Succeeded", None, Claim("robot-1", 1, 0)), True, id="with an older claim"),
    ],
)
def test_terminal_phase_that_is_not_stale_finishes(report: Report, finished: bool) -> None:
    assert reported(report, (), PHASES, revision=2, now_ms=T0).finished is finished


@pytest.mark.parametrize("closing", [False, True])
def test_what_asks_for_closing_is_handed_on(closing: bool) -> None:
    report = Report("InProgress", closing=closing)
    assert reported(report, (), PHASES, revision=2, now_ms=T0) == Reported(closing=closing)


@pytest.mark.parametrize(
    ("now_ms", "expires_ms"),
    [
        pytest.param(T0 + 59_999, T0 + 60_000, id="valid"),
        pytest.param(T0 + 60_000, None, id="expired"),
    ],
)
def test_claim_is_looked_at_again_when_it_expires(now_ms: int, expires_ms: int | None) -> None:
    found = reported(Report(claim=CLAIM), (), PHASES, revision=2, now_ms=now_ms)
    assert found == Reported(finished=False, unsaid=expires_ms is None, expires_ms=expires_ms)


@pytest.mark.parametrize(
    ("report", "now_ms", "found"),
    [
        pytest.param(Report(), T0, {}, id="nothing"),
        pytest.param(Report("InProgress", 2, CLAIM), T0, {}, id="a claim and an active phase"),
        pytest.param(SUCCEEDED, T0, {}, id="the end of this revision"),
        pytest.param(
            Report("Suceeded"),
            T0,
            {
                UNKNOWN: Finding(
                    True,
                    ConsumerReason.PHASE_NOT_KNOWN,
                    'phase "Suceeded" is neither terminal nor active, so the request stays open: '
                    "use a known phase, or add it to STORMFOLD_ACTIVE_PHASES. "
                    "See https://stormfold.dev/reasons/#PhaseNotKnown",
                )
            },
            id="an unknown phase",
        ),
        pytest.param(
            Report("Succeeded", 1),
            T0,
            {
                STALE: Finding(
                    True,
                    ConsumerReason.OLDER_REVISION,
                    "Succeeded is about revision 1, but signals came since and the request is at "
                    "revision 2: look again, and report with the current observedRevision. "
                    "See https://stormfold.dev/reasons/#OlderRevision",
                )
            },
            id="the end of an older revision",
        ),
        pytest.param(Report("InProgress", 1), T0, {}, id="work on an older revision"),
        pytest.param(
            Report("InProgress", 2, CLAIM),
            T0 + 60_000,
            {
                EXPIRED: Finding(
                    True,
                    ConsumerReason.CLAIM_NOT_RENEWED,
                    "the claim of robot-1 expired at 2026-01-01T00:01:00Z: another consumer may take over. "
                    "See https://stormfold.dev/reasons/#ClaimNotRenewed",
                )
            },
            id="a claim that has expired",
        ),
    ],
)
def test_conditions_say_what_is_wrong(
    report: Report, now_ms: int, found: dict[ConditionType, Finding]
) -> None:
    assert findings(report, (), PHASES, revision=2, now_ms=now_ms) == found
    assert reported(report, (), PHASES, revision=2, now_ms=now_ms).unsaid is bool(found)


@pytest.mark.parametrize(
    ("report", "over", "finding"),
    [
        pytest.param(
            Report(),
            False,
            Finding(False, ConsumerReason.NOT_CLAIMED, "nobody claims the request"),
            id="released",
        ),
        pytest.param(
            Report(claim=replace(CLAIM, holder="robot-2", expires_ms=T0 + 200_000)),
            False,
            Finding(False, ConsumerReason.CLAIM_VALID, "claimed by robot-2"),
            id="taken over",
        ),
        pytest.param(
            Report(claim=CLAIM),
            True,
            Finding(False, ConsumerReason.CLAIM_ENDED, "a claim ends with its request"),
            id="the request is closed",
        ),
    ],
)
def test_condition_that_was_true_says_that_it_is_over(report: Report, over: bool, finding: Finding) -> None:
    found = findings(report, (WAS_EXPIRED,), PHASES, revision=2, now_ms=T0 + 100_000, over=over)
    assert found == {EXPIRED: finding}


def test_what_is_said_already_is_not_said_again() -> None:
    found = reported(Report(claim=CLAIM), (WAS_EXPIRED,), PHASES, revision=2, now_ms=T0 + 100_000)
    assert found == Reported()


@pytest.mark.parametrize(
    "report",
    [
        pytest.param(Report(), id="a claim that has gone"),
        pytest.param(Report(claim=replace(CLAIM, expires_ms=T0 + 90_000)), id="another time"),
        pytest.param(Report("Suceeded", None, CLAIM), id="another fault"),
    ],
)
def test_what_has_changed_is_said(report: Report) -> None:
    assert reported(report, (WAS_EXPIRED,), PHASES, revision=2, now_ms=T0 + 100_000).unsaid
