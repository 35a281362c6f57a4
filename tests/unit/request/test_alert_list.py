"""The list of alerts of a request: what is written is read, and nothing else."""

from __future__ import annotations

from base64 import b64encode
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stormfold.api.remediationrequest import MAX_ALERT_LIST
from stormfold.model.storm import TrackedAlert
from stormfold.request.alert_list import FIRST_START_S, decoded, encoded, readable


def digest(number: int) -> str:
    """An id as `Arrival.occurrence` writes it: 48 bits in base64."""
    return b64encode(number.to_bytes(6)).decode()


ALERTS = st.lists(
    st.builds(
        TrackedAlert,
        st.integers(0, 2**48 - 1).map(digest),
        st.integers(FIRST_START_S, FIRST_START_S + 2**30 - 1),
        st.booleans(),
        st.booleans(),
    ),
    unique_by=lambda alert: alert.id,
    max_size=50,
)


@given(ALERTS)
def test_what_is_written_is_read(alerts: list[TrackedAlert]) -> None:
    found = decoded(encoded(alerts))
    assert found is not None
    assert readable(encoded(alerts))
    assert set(found) == set(alerts)


@given(ALERTS, st.randoms(use_true_random=False))
def test_order_makes_no_difference(alerts: list[TrackedAlert], dice: Random) -> None:
    assert encoded(dice.sample(alerts, len(alerts))) == encoded(alerts)


def test_no_alerts_are_an_empty_list() -> None:
    assert (encoded(()), decoded("")) == ("", ())


def test_a_thousand_fit_those_that_fire_first_then_those_that_began_last() -> None:
    firing = [TrackedAlert(digest(n), FIRST_START_S + n, firing=True) for n in range(600)]
    ended = [TrackedAlert(digest(n), FIRST_START_S + n, firing=False) for n in range(600, 1200)]
    text = encoded([*ended, *firing])
    assert len(text) == 13_336 <= MAX_ALERT_LIST
    assert set(decoded(text) or ()) == {*firing, *ended[200:]}


@pytest.mark.parametrize(
    ("start", "read"),
    [
        pytest.param(-62_135_596_800, FIRST_START_S, id="the year 1"),
        pytest.param(FIRST_START_S - 1, FIRST_START_S, id="before 2020"),
        pytest.param(FIRST_START_S + 2**30, FIRST_START_S + 2**30 - 1, id="after 2053"),
    ],
)
def test_start_that_does_not_fit_is_the_nearest_that_does(start: int, read: int) -> None:
    found = decoded(encoded([TrackedAlert(digest(1), start, firing=True)]))
    assert found == (TrackedAlert(digest(1), read, firing=True),)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("AAAA", id="too short for one"),
        pytest.param("~" * 16, id="no base64"),
        pytest.param("AAAA AAAA", id="a space"),
        pytest.param("é" * 16, id="no ASCII"),
        pytest.param(b64encode(bytes(20)).decode(), id="an alert twice"),
        pytest.param(b64encode(bytes(range(250)) * 41).decode(), id="too many"),
    ],
)
def test_what_is_no_list_is_told(text: str) -> None:
    assert (decoded(text), readable(text)) == (None, False)
