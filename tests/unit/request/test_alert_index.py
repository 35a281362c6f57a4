"""The index of alerts: each belongs to the open request that lists it first."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.harness.request_bodies import body

from stormfold.model.storm import TrackedAlert
from stormfold.policy.routing import Place
from stormfold.request import alert_index
from stormfold.request.alert_index import AlertIndex
from stormfold.request.alert_list import FIRST_START_S, encoded
from stormfold.request.reading import Request, opening_of

ONE = Request.read(body())
PLACE = Place(ONE.version, opening_of(ONE).group)


def listing(*ids: str) -> Request:
    """An open request with these alerts."""
    return replace(
        ONE, alerts=encoded([TrackedAlert(alert_id, FIRST_START_S, firing=True) for alert_id in ids])
    )


@pytest.fixture
def index() -> AlertIndex:
    return AlertIndex()


def test_alert_is_found_while_an_open_request_lists_it(index: AlertIndex) -> None:
    index.note("g", listing("AAAAAAAA", "BBBBBBBB"))
    assert index.listed_in("AAAAAAAA") == PLACE
    index.note("g", listing("BBBBBBBB"))
    assert [index.listed_in(alert_id) for alert_id in ("AAAAAAAA", "BBBBBBBB")] == [None, PLACE]
    index.note("g", None)
    assert index.listed_in("BBBBBBBB") is None


def test_alert_that_two_requests_list_belongs_to_the_first_until_that_is_closed(index: AlertIndex) -> None:
    index.note("one", listing("AAAAAAAA"))
    index.note("other", listing("AAAAAAAA", "BBBBBBBB"))
    index.note("one", None)
    assert [index.listed_in(alert_id) for alert_id in ("AAAAAAAA", "BBBBBBBB")] == [None, PLACE]


def test_list_that_is_none_lists_nothing(index: AlertIndex) -> None:
    index.note("g", replace(ONE, alerts="AAAA"))
    assert index.listed_in("AAAAAAAA") is None
    index.note("g", listing("AAAAAAAA"))
    assert index.listed_in("AAAAAAAA") == PLACE


def test_alerts_beyond_the_bound_are_not_kept(index: AlertIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alert_index, "INDEXED_ALERTS", 3)
    index.note("one", listing("AAAAAAAA", "BBBBBBBB"))
    index.note("other", listing("CCCCCCCC", "DDDDDDDD"))
    ids = ("AAAAAAAA", "BBBBBBBB", "CCCCCCCC", "DDDDDDDD")
    assert sum(index.listed_in(alert_id) is not None for alert_id in ids) == 3
