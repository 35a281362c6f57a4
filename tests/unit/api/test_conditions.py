"""Conditions are set one by one; reasons are documented."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from stormfold.api.conditions import (
    MAX_CONDITIONS,
    Condition,
    ConditionStatus,
    ConditionType,
    set_condition,
)
from stormfold.api.reason import Reason
from stormfold.api.reasons.page import REASONS
from stormfold.api.reasons.requests import RequestReason

THEN = datetime(2026, 3, 1, 10, 0, tzinfo=UTC)
NOW = THEN + timedelta(minutes=5)

ARRIVING = Condition(
    type=ConditionType.SETTLED,
    status=ConditionStatus.FALSE,
    observed_generation=1,
    last_transition_time=THEN,
    reason=RequestReason.SIGNALS_ARRIVING,
    message="12 signals",
)
FOREIGN = Condition(
    type="example.com/Seen", status=ConditionStatus.TRUE, last_transition_time=THEN, reason="Looked"
)


def later(**changes: object) -> Condition:
    return ARRIVING.model_copy(update={"last_transition_time": NOW, **changes})


@pytest.mark.parametrize(
    ("before", "new", "after"),
    [
        pytest.param([], later(), (later(),), id="the first one"),
        pytest.param([ARRIVING], later(), (ARRIVING,), id="nothing new keeps the time"),
        pytest.param(
            [ARRIVING],
            later(reason=RequestReason.QUIET, message="13 signals", observed_generation=2),
            (
                ARRIVING.model_copy(
                    update={"reason": RequestReason.QUIET, "message": "13 signals", "observed_generation": 2}
                ),
            ),
            id="another reason, message and generation keep the time",
        ),
        pytest.param(
            [ARRIVING],
            later(status=ConditionStatus.TRUE),
            (later(status=ConditionStatus.TRUE),),
            id="another status moves the time",
        ),
        pytest.param(
            [ARRIVING],
            later(status=ConditionStatus.UNKNOWN),
            (later(status=ConditionStatus.UNKNOWN),),
            id="Unknown is another status",
        ),
        pytest.param([FOREIGN], later(), (FOREIGN, later()), id="a foreign type stays"),
        pytest.param(
            [ARRIVING, FOREIGN],
            later(status=ConditionStatus.TRUE),
            (later(status=ConditionStatus.TRUE), FOREIGN),
            id="the order stays",
        ),
    ],
)
def test_a_condition_is_set_in_its_place(
    before: list[Condition], new: Condition, after: tuple[Condition, ...]
) -> None:
    given = list(before)
    assert set_condition(given, new) == after
    assert given == before


def test_where_there_is_no_room_the_last_of_somebody_else_gives_way() -> None:
    foreign = [FOREIGN.model_copy(update={"type": f"F{number}"}) for number in range(MAX_CONDITIONS - 1)]
    full = (*foreign[:-1], ARRIVING, foreign[-1])
    assert len(full) == MAX_CONDITIONS
    quiet = later(status=ConditionStatus.TRUE)
    assert set_condition(full, quiet) == (*foreign[:-1], quiet, foreign[-1])
    closed = later(type=ConditionType.CLOSED)
    assert set_condition(full, closed) == (*foreign[:-1], ARRIVING, closed)
    assert set_condition(full[:-1], closed) == (*foreign[:-1], ARRIVING, closed)


def test_a_condition_has_a_reason() -> None:
    with pytest.raises(ValidationError, match="reason"):
        Condition(type="Settled", status=ConditionStatus.TRUE, last_transition_time=NOW, reason="")


def test_a_condition_is_written_as_the_api_server_takes_it() -> None:
    assert ARRIVING.manifest() == {
        "type": "Settled",
        "status": "False",
        "observedGeneration": 1,
        "lastTransitionTime": "2026-03-01T10:00:00Z",
        "reason": "SignalsArriving",
        "message": "12 signals",
    }


@pytest.mark.parametrize("reason", REASONS)
def test_a_reason_is_one_word_that_says_where_it_appears_and_what_it_means(reason: Reason) -> None:
    assert re.fullmatch("([A-Z][a-z]+)+", reason)
    assert reason.name == re.sub("(?<!^)([A-Z])", r"_\1", reason.value).upper()
    assert re.fullmatch(
        "((StormDetected|Settled|Recovered|Truncated|Closed|Exact|Accepted"
        "|GroupsWaiting|GroupValueMissing|ClaimExpired|RemediationPhaseUnknown|StaleRemediation"
        "|Proceed|RequestsSelected) is "
        "(True|False|Unknown)"
        "|Signal is (Folded|Rejected|Discarded)|Event of a (RemediationRequest|Signal)"
        "|Alert is (rejected|pending)"
        "|Webhook answers 4[0-9]{2}( or 4[0-9]{2})?|Webhook answers 50[03])(; .+)?",
        reason.where,
    )
    assert reason.meaning.endswith(".")
    assert reason.__doc__ == reason.meaning
    assert [other for other in REASONS if other == reason] == [reason]
