"""What an alert of a post becomes: an arrival, or a refusal with its reason."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.harness.values import T0
from tests.harness.webhook_bodies import ALERT, ARRIVAL, LABELS, only, parse, payload, with_labels

from stormfold.api.reasons.signals import SignalReason
from stormfold.api.signal import Severity
from stormfold.model.arrival import AlertRef, Arrival
from stormfold.sources.alerts.parser import Body, Refusal, Shortened


def test_alert_becomes_an_arrival_that_was_seen_when_it_came() -> None:
    assert parse(payload(ALERT)) == Body([ARRIVAL], [], 0, Shortened())


@pytest.mark.parametrize(
    ("truncated", "expected"), [(3, 3), (0, 0), (-1, 0), (True, 0), ("3", 0), (None, 0), (10**12, 10**9)]
)
def test_alerts_that_alertmanager_left_out_are_told(truncated: object, expected: int) -> None:
    body = parse(payload(ALERT, truncatedAlerts=truncated))
    assert (body.truncated, [a.ref for a in body.arrivals]) == (
        expected,
        [AlertRef(0, T0 // 1000, 0, expected)],
    )


@pytest.mark.parametrize(
    ("label", "severity", "text"),
    [
        ("critical", Severity.CRITICAL, ""),
        ("Critical", Severity.CRITICAL, ""),
        ("HIGH", Severity.HIGH, ""),
        ("warning", Severity.WARNING, ""),
        ("info", Severity.INFO, ""),
        ("unknown", Severity.UNKNOWN, ""),
        ("P0", Severity.UNKNOWN, "P0"),
        ("sev1", Severity.UNKNOWN, "sev1"),
        ("page", Severity.UNKNOWN, "page"),
        ("none", Severity.UNKNOWN, "none"),
        ("", Severity.UNKNOWN, ""),
        (None, Severity.UNKNOWN, ""),
    ],
)
def test_severity_is_one_of_ours_or_kept_as_the_word_it_is(
    label: str | None, severity: Severity, text: str
) -> None:
    arrival = only(with_labels(severity=label))
    assert isinstance(arrival, Arrival)
    assert (arrival.severity, arrival.severity_text) == (severity, text)


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("2026-01-01T00:00:00Z", T0),
        ("2026-01-01T00:00:00.001Z", T0),
        ("2026-01-01T00:00:00.588999999Z", T0),
        ("2026-01-01T00:00:00.5+00:00", T0),
        ("2026-01-01T02:00:00+02:00", T0),
        ("2025-12-31T18:30:00-05:30", T0),
        ("1999-12-31T23:59:59.999Z", 946_684_799_999),
        ("1969-12-31T23:59:59.9995Z", -1),
        ("2026-01-01T00:00:00.1234567890Z", T0),
        ("2026-01-01T02:00:00.5+0200", T0),
        ("2026-01-01t00:00:00z", T0),
        ("2026-01-01 00:00:00Z", T0),
    ],
)
def test_time_is_read_to_the_second(text: str, milliseconds: int) -> None:
    arrival = only(ALERT | {"startsAt": text})
    assert isinstance(arrival, Arrival)
    assert arrival.ref == AlertRef(0, milliseconds // 1000)


@given(st.datetimes(datetime(1970, 1, 1), datetime(2026, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001 - bounds of a strategy
def test_every_time_is_read_to_the_second_before(moment: datetime) -> None:
    arrival = only(ALERT | {"startsAt": moment.isoformat(timespec="milliseconds")})
    assert isinstance(arrival, Arrival)
    assert isinstance(arrival.ref, AlertRef)
    exact = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    assert arrival.ref.starts_s == math.floor(exact.timestamp())


@pytest.mark.parametrize(
    ("alert", "message"),
    [
        pytest.param(None, "must be an object", id="null"),
        pytest.param([], "must be an object", id="a list"),
        pytest.param(10**30, "must be an object", id="a huge number"),
        pytest.param({}, "status: must be firing or resolved, not None", id="empty"),
        pytest.param(
            ALERT | {"status": "alerting"}, "status: must be firing or resolved, not 'alerting'", id="state"
        ),
        pytest.param(
            ALERT | {"status": []}, "status: must be firing or resolved, not a list", id="a list as state"
        ),
        pytest.param(ALERT | {"labels": None}, "labels: must be an object", id="no labels"),
        pytest.param(ALERT | {"labels": ["alertname"]}, "labels: must be an object", id="a list of labels"),
        pytest.param(with_labels(alertname=None), "labels: must have an alertname", id="no name"),
        pytest.param(with_labels(alertname=""), "labels: must have an alertname", id="an empty alertname"),
        *(
            pytest.param(
                ALERT | {"startsAt": text},
                f"startsAt: must be a time of RFC 3339, not {text!r}",
                id=f"time {text}",
            )
            for text in (
                "now",
                "",
                None,
                1767225600,
                "2026-01-01",
                "2026-01-01T00:00:00",
                "20260101T000000Z",
                "2026-W01-1T00:00:00Z",
                "2026-02-31T00:00:00Z",
                "2026-01-01T24:00:01Z",
                "2026-01-01T00:00:00+25:00",
                "0001-01-01T00:00:00Z",
                "٢٠٢٦-01-01T00:00:00Z",
                "2026-01-01T00:00:00Z\n",
            )
        ),
        pytest.param(
            ALERT | {"startsAt": {}},
            "startsAt: must be a time of RFC 3339, not a dict",
            id="an object as time",
        ),
    ],
)
def test_alert_that_cannot_be_used_is_refused(alert: Any, message: str) -> None:
    refusal = only(alert)
    assert isinstance(refusal, Refusal)
    assert (refusal.index, refusal.reason, refusal.message) == (0, SignalReason.INVALID_ALERT, message)


def test_alert_that_stormfold_has_posted_itself_is_refused_as_a_loop() -> None:
    ours = ALERT | {"labels": LABELS | {"stormfold_storm": "true"}}
    assert only(ours) == Refusal(
        0,
        SignalReason.LOOP_DETECTED,
        "stormfold sent this alert itself (label stormfold_storm), so it counts in no storm: take "
        "stormfold out "
        "of its route",
        "PodDown",
    )


def test_refusal_names_the_alert() -> None:
    assert only(ALERT | {"startsAt": None}) == Refusal(
        0, SignalReason.INVALID_ALERT, "startsAt: must be a time of RFC 3339, not None", "PodDown"
    )


@pytest.mark.parametrize("ahead", [301_000, 360_000, 86_400_000])
def test_alert_from_the_future_is_what_it_says_and_was_seen_when_it_came(ahead: int) -> None:
    starts = T0 + 1000 + ahead
    found = only(ALERT | {"startsAt": datetime.fromtimestamp(starts / 1000, UTC).isoformat()})
    assert isinstance(found, Arrival)
    assert (found.ref, found.seen_ms) == (AlertRef(0, starts // 1000), T0 + 1000)


@pytest.mark.parametrize("status", ["Firing", "FIRING", "Resolved"])
def test_status_is_read_in_any_case(status: str) -> None:
    arrival = only(ALERT | {"status": status})
    assert isinstance(arrival, Arrival)
    assert arrival.firing == (status != "Resolved")


@pytest.mark.parametrize(
    ("labels", "namespace"),
    [
        pytest.param({}, "shop", id="that of its target"),
        pytest.param({"pod": None}, "shop", id="its label, without a target"),
        pytest.param({"pod": None, "node": "n"}, "shop", id="its label, for a target that has none"),
        pytest.param({"namespace": None}, "ops", id="the operator's, if none is named"),
        pytest.param({"namespace": "No/Namespace"}, "ops", id="the operator's, if what is named is none"),
        pytest.param({"exported_namespace": "batch"}, "batch", id="what the metric itself names"),
    ],
)
def test_alert_speaks_for_a_namespace(labels: dict[str, Any], namespace: str) -> None:
    arrival = only(with_labels(**labels))
    assert isinstance(arrival, Arrival)
    assert arrival.namespace == namespace


@pytest.mark.parametrize(
    "version", ["1", 1, "4", 4], ids=["Grafana", "Grafana's number", "Alertmanager", "a number"]
)
def test_alerts_of_grafana_and_alertmanager_are_the_same(version: Any) -> None:
    posted = payload(ALERT | {"values": None, "silenceURL": ""}, version=version, orgId=1, state="alerting")
    assert parse(posted).arrivals == [ARRIVAL]
