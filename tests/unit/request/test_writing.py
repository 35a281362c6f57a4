"""What a request may be written over with."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.harness.request_bodies import request
from tests.harness.values import SNAPSHOT

from stormfold.api.remediationrequest import RequestPhase
from stormfold.model.storm import Snapshot
from stormfold.request.writing import descends, is_behind

HELD = replace(SNAPSHOT, incarnation="incarnation-1", origin="incarnation-0:5", folded=7)


@pytest.mark.parametrize(
    ("storm", "holds_all"),
    [
        pytest.param(replace(HELD, folded=7), True, id="the same again"),
        pytest.param(replace(HELD, folded=8), True, id="more of the same incarnation"),
        pytest.param(replace(HELD, folded=6), False, id="an earlier look at the same incarnation"),
        pytest.param(
            replace(HELD, incarnation="incarnation-2", origin="incarnation-1:7"),
            True,
            id="continued from the request",
        ),
        pytest.param(
            replace(HELD, incarnation="incarnation-2", origin="incarnation-1:6", folded=99),
            False,
            id="continued from less than the request holds, however much came since",
        ),
        pytest.param(
            replace(HELD, incarnation="incarnation-2", origin="", folded=99),
            False,
            id="opened without a seed",
        ),
        pytest.param(
            replace(HELD, incarnation="incarnation-0", origin="", folded=99),
            False,
            id="a look at the incarnation before, claimed before Redis lost it",
        ),
    ],
)
def test_request_is_written_only_by_what_holds_all_of_it(storm: Snapshot, holds_all: bool) -> None:
    assert descends(storm, request(HELD)) == holds_all


def test_request_that_says_nothing_yet_is_written_by_any_incarnation() -> None:
    assert descends(replace(SNAPSHOT, folded=1), request(HELD, None))


@pytest.mark.parametrize(
    ("storm", "phase", "behind"),
    [
        pytest.param(HELD, RequestPhase.CLOSED, False, id="the same again, its answer was lost"),
        pytest.param(HELD, RequestPhase.SETTLED, True, id="not closed"),
        pytest.param(replace(HELD, folded=8), RequestPhase.CLOSED, True, id="more of the same incarnation"),
        pytest.param(
            replace(HELD, incarnation="incarnation-2", origin="incarnation-1:7", folded=9),
            RequestPhase.CLOSED,
            True,
            id="continued from the request",
        ),
    ],
)
def test_closed_request_is_final(storm: Snapshot, phase: RequestPhase, behind: bool) -> None:
    assert is_behind(storm, phase, request(HELD, RequestPhase.CLOSED)) == behind
