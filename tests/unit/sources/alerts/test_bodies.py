"""Bodies of posts: which are read, which are refused as a whole, and what hostile ones may cost."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.harness.values import NOBODY, T0
from tests.harness.webhook_bodies import ALERT, ARRIVAL, LABELS, parse, payload

from stormfold.api.reason import Reason
from stormfold.api.reasons.webhook import WebhookReason
from stormfold.model.arrival import AlertRef
from stormfold.policy.router import Router
from stormfold.sources.alerts.parser import MAX_ALERTS, AlertParser, Body, BodyError, Shortened


def test_body_without_alerts_says_nothing() -> None:
    assert parse(payload()) == Body([], [], 0, Shortened())


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        pytest.param(b'"pod": "web-0"', b'"pod": "web-0", "load": NaN', id="NaN"),
        pytest.param(b'"annotations": {', b'"values": {"B": -Infinity}, "annotations": {', id="infinity"),
        pytest.param(b"It is down.", b"It is \xc3", id="half of a character's bytes"),
        pytest.param(b"It is down.", b"It is \\ud83d", id="half of a character"),
        pytest.param(b'{"version"', b'\xef\xbb\xbf{"version"', id="a byte order mark"),
    ],
)
def test_body_that_is_nearly_json_is_refused(good: bytes, bad: bytes) -> None:
    text = payload(ALERT)
    assert good in text
    with pytest.raises(BodyError, match="must be JSON in UTF-8") as caught:
        parse(text.replace(good, bad, 1))
    assert caught.value.reason is WebhookReason.INVALID_BODY


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("{" * 400_000, WebhookReason.INVALID_BODY, id="as many signs as may be"),
        pytest.param("{[" * 200_000 + "{", WebhookReason.TOO_MANY_ALERTS, id="one more"),
        pytest.param("," * 1_000_000, WebhookReason.INVALID_BODY, id="as many commas as may be"),
        pytest.param("," * 1_000_001, WebhookReason.TOO_MANY_ALERTS, id="one comma more"),
    ],
)
def test_signs_of_a_body_are_counted_before_it_is_read(text: str, reason: Reason) -> None:
    with pytest.raises(BodyError) as caught:
        parse(text.encode())
    assert caught.value.reason is reason


def test_large_body_is_read_a_piece_at_a_time() -> None:
    pieces = AlertParser("ops", Router()).pieces(payload(*[ALERT] * 600), post=NOBODY, now_ms=T0)
    assert [len(read.arrivals) for read in pieces] == [256, 512, 600]


def test_one_bad_alert_does_not_keep_the_others() -> None:
    body = parse(payload(ALERT, {}, ALERT | {"status": "resolved"}, 7))
    assert [(a.ref, a.firing) for a in body.arrivals] == [
        (AlertRef(0, T0 // 1000), True),
        (AlertRef(2, T0 // 1000, T0 // 1000 + 1), False),
    ]
    assert [refusal.index for refusal in body.refusals] == [1, 3]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        pytest.param(b"", WebhookReason.INVALID_BODY, id="empty"),
        pytest.param(b"\xff\xfe", WebhookReason.INVALID_BODY, id="not UTF-8"),
        pytest.param(payload(ALERT)[:-1], WebhookReason.INVALID_BODY, id="cut"),
        pytest.param(payload(ALERT) + b"}", WebhookReason.INVALID_BODY, id="something behind it"),
        pytest.param(b'{"version":"4","alerts":[\x00]}', WebhookReason.INVALID_BODY, id="a NUL byte"),
        pytest.param(b"[" * 100_000, WebhookReason.INVALID_BODY, id="deep"),
        pytest.param(b"[]", WebhookReason.INVALID_BODY, id="a list"),
        pytest.param(b"null", WebhookReason.INVALID_BODY, id="null"),
        pytest.param(b'{"version":"4"}', WebhookReason.INVALID_BODY, id="no alerts"),
        pytest.param(b'{"version":"4","alerts":{}}', WebhookReason.INVALID_BODY, id="an object of alerts"),
        pytest.param(
            payload(ALERT, version="3"), WebhookReason.UNSUPPORTED_PAYLOAD_VERSION, id="another version"
        ),
        pytest.param(
            payload(ALERT, version=[4]), WebhookReason.UNSUPPORTED_PAYLOAD_VERSION, id="a list as version"
        ),
        pytest.param(
            payload(ALERT, version=True), WebhookReason.UNSUPPORTED_PAYLOAD_VERSION, id="true as version"
        ),
        pytest.param(b"{}", WebhookReason.UNSUPPORTED_PAYLOAD_VERSION, id="no version"),
        pytest.param(
            payload(*[{}] * (MAX_ALERTS + 1)), WebhookReason.TOO_MANY_ALERTS, id="one alert too many"
        ),
        pytest.param(payload(*[{}] * 100_000), WebhookReason.TOO_MANY_ALERTS, id="100,000 alerts"),
    ],
)
def test_body_that_cannot_be_used_is_refused_as_a_whole(body: bytes, reason: Reason) -> None:
    with pytest.raises(BodyError) as caught:
        parse(body)
    assert caught.value.reason is reason
    assert len(caught.value.message) < 400


def test_as_many_alerts_as_may_be_are_read() -> None:
    body = parse(payload(*[{}] * MAX_ALERTS))
    assert (len(body.arrivals), len(body.refusals)) == (0, MAX_ALERTS)


def test_last_of_two_equal_keys_counts() -> None:
    body = payload(ALERT).replace(b'"alertname": "PodDown"', b'"alertname": "Other", "alertname": "PodDown"')
    assert parse(body).arrivals == [ARRIVAL]


def test_huge_numbers_where_nobody_looks_do_no_harm() -> None:
    body = payload(ALERT).replace(b'"endsAt": "0001-01-01T00:00:00Z"', b'"endsAt": 1' + b"0" * 300)
    assert parse(body).arrivals == [ARRIVAL]


def test_list_is_answered_with_the_setting_of_the_sender() -> None:
    with pytest.raises(BodyError, match="set the url of webhook_configs to http://<stormfold>:8090/v1/alert"):
        parse(json.dumps([{"labels": LABELS, "startsAt": "2026-01-01T00:00:00Z"}]).encode())


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(
    st.lists(
        json_values
        | st.fixed_dictionaries(
            {},
            optional={
                "status": st.sampled_from(["firing", "resolved"]) | json_values,
                "labels": st.dictionaries(st.sampled_from(list(LABELS)), json_values) | json_values,
                "startsAt": json_values,
                "fingerprint": json_values,
            },
        )
    )
)
def test_every_alert_is_either_taken_or_refused(alerts: list[Any]) -> None:
    body = parse(payload(*alerts))
    indices = [cast("AlertRef", a.ref).index for a in body.arrivals] + [r.index for r in body.refusals]
    assert sorted(indices) == list(range(len(alerts)))
    assert all(len(refusal.message) < 200 for refusal in body.refusals)


@given(st.binary())
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    with pytest.raises(BodyError):
        parse(body)
