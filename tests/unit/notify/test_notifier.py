"""What each Alertmanager is to be told, and when."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta

import pytest
from tests.harness.request_bodies import body

from stormfold.api.remediationrequest import RequestPhase
from stormfold.notify.notifier import (
    LOOK_SECONDS,
    MOST_BACKOFF_SECONDS,
    REMEMBERED,
    REPEAT_SECONDS,
    Storms,
    Told,
    pause_seconds,
)
from stormfold.request.reading import Request

NOW = datetime.now(UTC)


def seen(phase: RequestPhase = RequestPhase.OPEN, *, ago: timedelta = timedelta()) -> Request:
    """A request whose conditions came about so long ago."""
    made = copy.deepcopy(body(phase=phase))
    for condition in made["status"]["conditions"]:
        if condition["type"] == "StormDetected":
            condition["status"] = "True"
        condition["lastTransitionTime"] = (NOW - ago).isoformat()
    return Request.read(made)


OPEN = seen()
KEY = OPEN.group_hash, OPEN.epoch


class Index:
    """Holds these requests."""

    def __init__(self, *requests: Request) -> None:
        self._requests = {(request.group_hash, request.epoch): request for request in requests}

    def get(self, group_hash: str, epoch: int) -> Request | None:
        """The request of one storm, if it is there."""
        return self._requests.get((group_hash, epoch))


def storms(*requests: Request) -> Storms:
    """What is to be said after these were seen."""
    found = Storms()
    for request in requests:
        found.observed(request)
    return found


def test_open_storm_is_told_at_once_and_again_before_it_would_end() -> None:
    told, known = Told(), storms(OPEN)
    assert told.due(known, 0.0) == [(KEY, True)]
    told.took([(KEY, True)], 0.0)
    assert told.due(known, REPEAT_SECONDS - 0.1) == []
    assert told.due(known, REPEAT_SECONDS) == [(KEY, True)]


def test_end_of_a_storm_is_told_once() -> None:
    told, known = Told(), storms(OPEN)
    told.took([(KEY, True)], 0.0)
    known.observed(seen(RequestPhase.CLOSED))
    assert told.due(known, 0.1) == [(KEY, False)]
    told.took([(KEY, False)], 0.1)
    assert told.due(known, 10 * REPEAT_SECONDS) == []


def test_storm_that_closes_while_it_is_told_that_it_is_open_is_told_to_be_over() -> None:
    told, known = Told(), storms(OPEN)
    due = told.due(known, 0.0)
    known.observed(seen(RequestPhase.CLOSED))
    told.took(due, 0.0)
    assert told.due(known, 0.0) == [(KEY, False)]


def test_new_leader_tells_of_storms_that_closed_lately_and_of_no_others() -> None:
    assert Told().due(storms(seen(RequestPhase.CLOSED)), 0.0) == [(KEY, False)]
    assert Told().due(storms(seen(RequestPhase.CLOSED, ago=REMEMBERED)), 0.0) == []


def test_closed_storm_is_forgotten_when_alertmanager_has_let_it_end() -> None:
    known = storms(seen(RequestPhase.CLOSED))
    known.tidy(Index(), NOW + REMEMBERED + timedelta(seconds=1))
    assert list(known.now()) == []


def test_open_storm_whose_request_was_deleted_is_forgotten() -> None:
    known = storms(OPEN)
    known.tidy(Index(OPEN), NOW)
    assert list(known.now()) == [(KEY, True)]
    known.tidy(Index(), NOW)
    assert list(known.now()) == []


def test_storm_that_is_forgotten_and_made_again_is_told_again() -> None:
    told, known = Told(), storms(OPEN)
    told.took([(KEY, True)], 0.0)
    told.tidy(storms())
    assert told.due(known, 0.1) == [(KEY, True)]


@pytest.mark.parametrize(
    ("failures", "seconds"),
    [
        (0, LOOK_SECONDS),
        (1, 2.0),
        (4, 16.0),
        (5, MOST_BACKOFF_SECONDS),
        pytest.param(5_000, MOST_BACKOFF_SECONDS, id="away for two days"),
    ],
)
def test_alertmanager_that_fails_is_tried_less_often_for_as_long_as_it_is_away(
    failures: int, seconds: float
) -> None:
    assert pause_seconds(failures) == seconds
