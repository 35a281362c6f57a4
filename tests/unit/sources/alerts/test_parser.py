"""What a webhook body becomes: an arrival or a refusal for each alert, or one word for all."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter
from tests.harness.values import NOBODY, T0, version

from stormfold.api.conditions import Reason
from stormfold.api.signal import Severity, SignalSpec
from stormfold.model.arrival import AlertRef, Arrival, Target
from stormfold.policy.router import Router
from stormfold.sources.alerts.parser import (
    MAX_ALERTS,
    AlertParser,
    Body,
    BodyError,
    Refusal,
    Shortened,
    fingerprint_of,
)

ROOT = Path(__file__).parents[4]
EXAMPLES = ROOT / "examples" / "alertmanager"
FOREIGN = [
    path
    for base in ROOT.parents[:2]
    for path in sorted((base / "shared" / "data" / "kubernaut").rglob("*.json"))
]
"""Bodies that nobody of this project wrote; they are not part of it, and not on every machine."""

LABELS = {"alertname": "PodDown", "severity": "warning", "namespace": "shop", "pod": "web-0"}
ALERT: dict[str, Any] = {
    "status": "firing",
    "labels": LABELS,
    "annotations": {"summary": "It is down."},
    "startsAt": "2026-01-01T00:00:00Z",
    "endsAt": "0001-01-01T00:00:00Z",
    "generatorURL": "http://prometheus/graph",
    "fingerprint": "0123456789abcdef",
}
ARRIVAL = Arrival(
    ref=AlertRef(0, T0 // 1000),
    name="PodDown",
    namespace="shop",
    severity=Severity.WARNING,
    firing=True,
    target=Target("v1", "Pod", "web-0", "shop"),
    labels=LABELS,
    source="alertmanager",
    seen_ms=T0 + 1000,
    fingerprint="0123456789abcdef",
    via=NOBODY,
    annotations={"summary": "It is down.", "generator_url": "http://prometheus/graph"},
)


def payload(*alerts: Any, **changes: Any) -> bytes:
    """The body of a post."""
    return json.dumps({"version": "4", "status": "firing", "alerts": list(alerts)} | changes).encode()


def parse(body: bytes, now_ms: int = T0 + 1000) -> Body:
    return AlertParser("ops", Router())(body, post=NOBODY, now_ms=now_ms)


def only(alert: Any) -> Arrival | Refusal:
    """What became of a body with this alert alone."""
    body = parse(payload(alert))
    (found,) = [*body.arrivals, *body.refusals]
    return found


def test_alert_becomes_an_arrival_that_was_seen_when_it_came() -> None:
    assert parse(payload(ALERT)) == Body([ARRIVAL], [], 0, Shortened())


def test_body_without_alerts_says_nothing() -> None:
    assert parse(payload()) == Body([], [], 0, Shortened())


@pytest.mark.parametrize(
    ("truncated", "expected"), [(3, 3), (0, 0), (-1, 0), (True, 0), ("3", 0), (None, 0), (10**12, 10**9)]
)
def test_alerts_that_alertmanager_left_out_are_told(truncated: object, expected: int) -> None:
    body = parse(payload(ALERT, truncatedAlerts=truncated))
    assert (body.truncated, [a.ref for a in body.arrivals]) == (
        expected,
        [AlertRef(0, T0 // 1000, 0, expected)],
    )


def with_labels(**labels: Any) -> dict[str, Any]:
    return ALERT | {"labels": {k: v for k, v in (LABELS | labels).items() if v is not None}}


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
    assert (refusal.index, refusal.reason, refusal.message) == (0, Reason.INVALID_ALERT, message)


def test_alert_that_stormfold_has_posted_itself_is_refused_as_a_loop() -> None:
    ours = ALERT | {"labels": LABELS | {"stormfold_storm": "true"}}
    assert only(ours) == Refusal(
        0,
        Reason.LOOP_DETECTED,
        "it says of a storm that it is open (label stormfold_storm), so it counts in none: let its route not "
        "lead here",
        "PodDown",
    )


def test_refusal_names_the_alert() -> None:
    assert only(ALERT | {"startsAt": None}) == Refusal(
        0, Reason.INVALID_ALERT, "startsAt: must be a time of RFC 3339, not None", "PodDown"
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


# --- labels as senders write them


def labels_of(alert: Any) -> dict[str, str]:
    arrival = only(alert)
    assert isinstance(arrival, Arrival), arrival
    return arrival.labels


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (7, "7"),
        (0, "0"),
        (1.5, "1.5"),
        (True, "true"),
        (False, "false"),
        ({"name": "a"}, '{"name":"a"}'),
        (["a", 1], '["a",1]'),
    ],
)
def test_label_that_is_no_text_is_taken_as_json_writes_it(value: Any, text: str) -> None:
    assert labels_of(with_labels(team=value)) == LABELS | {"team": text}


def nested(depth: int) -> Any:
    """So many lists, one within the other."""
    value: Any = []
    for _ in range(depth - 1):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("depth", "text"), [(254, "[" * 121), (255, "(nested too deeply)"), (300, "(nested too deeply)")]
)
def test_label_that_is_nested_too_deeply_has_a_text_for_it(depth: int, text: str) -> None:
    assert labels_of(with_labels(team=nested(depth)))["team"].startswith(text)


def test_alert_whose_name_and_fingerprint_are_nested_too_deeply_is_kept() -> None:
    found = only(with_labels(alertname=nested(300)) | {"fingerprint": nested(300)})
    assert isinstance(found, Arrival)
    assert (found.name, found.fingerprint) == ("(nested too deeply)", "(nested too deeply)")
    refused = only(with_labels(alertname=nested(300)) | {"startsAt": nested(300)})
    assert isinstance(refused, Refusal)
    assert (refused.name, refused.message) == (
        "(nested too deeply)",
        "startsAt: must be a time of RFC 3339, not a list",
    )


@pytest.mark.parametrize("labels", [{"team": None}, {"team": ""}, {"": "x"}])
def test_label_that_is_empty_or_null_or_has_no_name_is_none(labels: dict[str, Any]) -> None:
    assert labels_of(ALERT | {"labels": LABELS | labels}) == LABELS


LONG = "".join(chr(ord("a") + n % 26) for n in range(300))


def test_long_value_is_cut_and_its_end_says_of_what() -> None:
    body = parse(payload(with_labels(query=LONG), with_labels(query=LONG[:256])))
    cut, whole = (arrival.labels["query"] for arrival in body.arrivals)
    assert cut == f"{LONG[:239]}…ec65e0d42527784b"
    assert len(cut) == 256
    assert whole == LONG[:256]
    assert body.shortened == Shortened(alerts=1, labels_left_out=0, labels_cut=1)


def test_values_that_differ_only_behind_the_cut_stay_apart() -> None:
    first, second = (labels_of(with_labels(query=LONG + end))["query"] for end in "ab")
    assert first[:240] == second[:240]
    assert first != second


def test_long_names_of_labels_and_alerts_are_cut() -> None:
    labels = labels_of(with_labels(alertname=LONG, **{LONG: "x"}))
    end = "…ec65e0d42527784b"
    assert labels == LABELS | {"alertname": f"{LONG[:236]}{end}", f"{LONG[:111]}{end}": "x"}
    arrival = only(with_labels(alertname=LONG))
    assert isinstance(arrival, Arrival)
    assert arrival.name == f"{LONG[:236]}{end}"


@pytest.mark.parametrize(
    ("sent", "fingerprint"),
    [("f" * 128, "f" * 128), ("f" * 129, "e2e46e5fae968af9"), (7, "7"), (2**64 - 1, "18446744073709551615")],
)
def test_fingerprint_is_kept_or_stood_for_by_its_digest(sent: Any, fingerprint: str) -> None:
    arrival = only(ALERT | {"fingerprint": sent})
    assert isinstance(arrival, Arrival)
    assert arrival.fingerprint == fingerprint


def test_fingerprint_that_is_computed_is_that_of_the_labels_as_they_were_sent() -> None:
    bare = {key: value for key, value in ALERT.items() if key != "fingerprint"}
    many = {f"l{n:03}": str(n) for n in range(80)}
    found = parse(
        payload(*(bare | {"labels": LABELS | many | {"query": LONG + end, "none": ""}} for end in "ab"))
    ).arrivals
    assert [arrival.fingerprint for arrival in found] == [
        fingerprint_of(LABELS | many | {"query": LONG + end}) for end in "ab"
    ]


def test_labels_that_policies_use_are_kept_where_there_are_too_many() -> None:
    many = {f"l{n:03}": str(n) for n in range(80)}
    policies = Router()
    policies.update([version(groupBy=["labels.l070", "labels.l079", "labels.unused"])], in_use=())
    body = AlertParser("ops", policies)(payload(ALERT | {"labels": many | LABELS}), post=NOBODY, now_ms=T0)
    (arrival,) = body.arrivals
    first = ["l070", "l079", "alertname", "namespace", "severity"]
    assert list(arrival.labels) == [*first, *(f"l{n:03}" for n in range(59))]
    assert arrival.target == Target("v1", "Pod", "web-0", "shop"), "it is told by all labels"
    assert body.shortened == Shortened(alerts=1, labels_left_out=20, labels_cut=0)


def test_empty_labels_do_not_count_among_the_many() -> None:
    many = {f"l{n:03}": "" for n in range(80)}
    body = parse(payload(ALERT | {"labels": LABELS | many}))
    assert body == Body([ARRIVAL], [], 0, Shortened())


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
    assert caught.value.reason is Reason.INVALID_BODY


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("{" * 400_000, Reason.INVALID_BODY, id="as many signs as may be"),
        pytest.param("{[" * 200_000 + "{", Reason.TOO_MANY_ALERTS, id="one more"),
        pytest.param("," * 1_000_000, Reason.INVALID_BODY, id="as many commas as may be"),
        pytest.param("," * 1_000_001, Reason.TOO_MANY_ALERTS, id="one comma more"),
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
        pytest.param(b"", Reason.INVALID_BODY, id="empty"),
        pytest.param(b"\xff\xfe", Reason.INVALID_BODY, id="not UTF-8"),
        pytest.param(payload(ALERT)[:-1], Reason.INVALID_BODY, id="cut"),
        pytest.param(payload(ALERT) + b"}", Reason.INVALID_BODY, id="something behind it"),
        pytest.param(b'{"version":"4","alerts":[\x00]}', Reason.INVALID_BODY, id="a NUL byte"),
        pytest.param(b"[" * 100_000, Reason.INVALID_BODY, id="deep"),
        pytest.param(b"[]", Reason.INVALID_BODY, id="a list"),
        pytest.param(b"null", Reason.INVALID_BODY, id="null"),
        pytest.param(b'{"version":"4"}', Reason.INVALID_BODY, id="no alerts"),
        pytest.param(b'{"version":"4","alerts":{}}', Reason.INVALID_BODY, id="an object of alerts"),
        pytest.param(payload(ALERT, version="3"), Reason.UNSUPPORTED_PAYLOAD_VERSION, id="another version"),
        pytest.param(payload(ALERT, version=[4]), Reason.UNSUPPORTED_PAYLOAD_VERSION, id="a list as version"),
        pytest.param(payload(ALERT, version=True), Reason.UNSUPPORTED_PAYLOAD_VERSION, id="true as version"),
        pytest.param(b"{}", Reason.UNSUPPORTED_PAYLOAD_VERSION, id="no version"),
        pytest.param(payload(*[{}] * (MAX_ALERTS + 1)), Reason.TOO_MANY_ALERTS, id="one alert too many"),
        pytest.param(payload(*[{}] * 100_000), Reason.TOO_MANY_ALERTS, id="100,000 alerts"),
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


def test_nul_and_other_odd_characters_in_a_label_are_kept_as_in_a_signal() -> None:
    arrival = only(with_labels(odd="a\x00b\x1f\n…"))
    assert isinstance(arrival, Arrival)
    assert arrival.labels["odd"] == "a\x00b\x1f\n…"


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


def test_fingerprint_is_made_of_the_labels_where_there_is_none() -> None:
    assert fingerprint_of({"a": "1", "b": "2"}) == fingerprint_of({"b": "2", "a": "1"}) == "f1b5248dc1213123"
    assert fingerprint_of({"a": "1"}) != fingerprint_of({"a": "2"})
    for absent in (ALERT | {"fingerprint": ""}, {k: v for k, v in ALERT.items() if k != "fingerprint"}):
        arrival = only(absent)
        assert isinstance(arrival, Arrival)
        assert arrival.fingerprint == fingerprint_of(LABELS)


LABEL_TEXT = st.text(max_size=300) | st.sampled_from(["a" * 253, "a" * 254, "a" * 256, "a" * 257])


@given(st.dictionaries(st.text(max_size=130), LABEL_TEXT, max_size=66), LABEL_TEXT.filter(bool))
def test_what_comes_of_labels_is_within_the_bounds_of_a_signal(labels: dict[str, str], name: str) -> None:
    (arrival,) = parse(payload(ALERT | {"labels": labels | {"alertname": name}})).arrivals
    TypeAdapter(SignalSpec).validate_python({"name": arrival.name, "labels": arrival.labels})
    assert arrival.labels["alertname"] == arrival.name
    assert len(arrival.labels) == min(
        64, sum(1 for key, value in labels.items() if key and value) + (not labels.get("alertname"))
    )


@pytest.mark.parametrize(
    "version", ["1", 1, "4", 4], ids=["Grafana", "Grafana's number", "Alertmanager", "a number"]
)
def test_alerts_of_grafana_and_alertmanager_are_the_same(version: Any) -> None:
    posted = payload(ALERT | {"values": None, "silenceURL": ""}, version=version, orgId=1, state="alerting")
    assert parse(posted).arrivals == [ARRIVAL]


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


# --- whole bodies

Row = tuple[str, str, str, str, str]
"""Name, namespace, severity or its word, state, target; of a refused alert only what is wrong."""


def rows(path: Path) -> list[Row | str]:
    """What each alert of a body became, in its order."""
    body = parse(path.read_bytes(), now_ms=int(datetime(2026, 12, 1, tzinfo=UTC).timestamp() * 1000))
    found: dict[int, Row | str] = {refusal.index: refusal.message for refusal in body.refusals}
    for arrival in body.arrivals:
        target = arrival.target
        found[cast("AlertRef", arrival.ref).index] = (
            arrival.name,
            arrival.namespace,
            arrival.severity_text or arrival.severity.value,
            "firing" if arrival.firing else "resolved",
            f"{target.kind}/{target.name}" if target else "",
        )
    return [found[index] for index in sorted(found)]


EXAMPLE_ROWS: dict[str, list[Row | str]] = {
    "firing.json": [
        ("KubePodCrashLooping", "shop", "critical", "firing", "Pod/checkout-7c9b5d6f48-8hx2v"),
        ("KubePodCrashLooping", "shop", "critical", "firing", "Pod/checkout-7c9b5d6f48-k4mzd"),
    ],
    "resolved.json": [
        ("KubePodCrashLooping", "shop", "critical", "resolved", "Pod/checkout-7c9b5d6f48-8hx2v")
    ],
    "mixed-batch.json": [
        ("KubePodCrashLooping", "shop", "critical", "resolved", "Pod/checkout-7c9b5d6f48-8hx2v"),
        ("KubeDeploymentReplicasMismatch", "shop", "warning", "firing", "Deployment/checkout"),
        ("KubeJobFailed", "batch", "warning", "firing", "Job/nightly-report-29207400"),
        ("CPUThrottlingHigh", "shop", "info", "firing", "Pod/api-6b7f8d9c5-tq2wn"),
        ("Watchdog", "ops", "none", "firing", ""),
    ],
    "own-severities.json": [
        ("PaymentsDown", "shop", "P0", "firing", "Deployment/payments"),
        ("SearchSlow", "search", "sev1", "firing", "StatefulSet/index"),
        ("BackupMissed", "batch", "page", "firing", "CronJob/backup"),
        ("DiskSlow", "platform", "critical", "firing", "DaemonSet/log-shipper"),
    ],
    "node.json": [
        ("KubeNodeNotReady", "monitoring", "critical", "firing", "Node/worker-7"),
        ("NodeFilesystemAlmostOutOfSpace", "monitoring", "warning", "firing", "Node/worker-7"),
    ],
    "volume.json": [
        (
            "KubePersistentVolumeFillingUp",
            "shop",
            "critical",
            "firing",
            "PersistentVolumeClaim/data-orders-db-0",
        )
    ],
    "grafana.json": [
        ("Checkout is slow", "shop", "critical", "firing", "Pod/checkout-7c9b5d6f48-8hx2v"),
        ("DatasourceNoData", "shop", "unknown", "firing", "Namespace/shop"),
    ],
    "one-bad-alert.json": [
        ("TargetDown", "shop", "warning", "firing", "Service/orders"),
        "labels: must have an alertname",
        ("KubeHpaMaxedOut", "shop", "warning", "firing", "HorizontalPodAutoscaler/orders"),
    ],
}


@pytest.mark.parametrize("name", EXAMPLE_ROWS)
def test_example_becomes(name: str) -> None:
    assert rows(EXAMPLES / name) == EXAMPLE_ROWS[name]


def test_every_example_is_in_the_table() -> None:
    assert {path.name for path in EXAMPLES.iterdir()} == set(EXAMPLE_ROWS)


@pytest.mark.skipif(
    not FOREIGN, reason="../shared/data/kubernaut is not on this machine: only our own examples were read"
)
def test_bodies_of_others_become_what_their_labels_say() -> None:
    read = 0
    for path in FOREIGN:
        try:
            alerts = json.loads(path.read_bytes())["alerts"]
        except ValueError:
            with pytest.raises(BodyError):
                parse(path.read_bytes())
            continue
        body = parse(path.read_bytes(), now_ms=int(datetime(2026, 12, 1, tzinfo=UTC).timestamp() * 1000))
        assert body.refusals == [], path
        for alert, arrival in zip(alerts, body.arrivals, strict=True):
            labels = alert["labels"]
            assert arrival.target == Target("v1", "Pod", labels["pod"], labels["namespace"]), path
            assert arrival.labels == labels
            assert (arrival.name, arrival.fingerprint) == (labels["alertname"], alert["fingerprint"])
            assert arrival.firing == (alert["status"] == "firing")
            assert (arrival.severity_text or arrival.severity) == labels["severity"]
            started = datetime.fromisoformat(alert["startsAt"]).timestamp()
            assert cast("AlertRef", arrival.ref).starts_s == math.floor(started)
            read += 1
    assert read > 0
