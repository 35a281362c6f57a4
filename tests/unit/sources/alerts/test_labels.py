"""Labels as senders write them, and fingerprints: what is kept of them, and cut."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter
from tests.harness.values import NOBODY, T0, version
from tests.harness.webhook_bodies import ALERT, ARRIVAL, LABELS, only, parse, payload, with_labels

from stormfold.api.signal import SignalSpec
from stormfold.model.arrival import STORM_MARK, Arrival, Target
from stormfold.policy.router import Router
from stormfold.sources.alerts.parser import AlertParser, Body, Refusal, Shortened, fingerprint_of


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


def test_nul_and_other_odd_characters_in_a_label_are_kept_as_in_a_signal() -> None:
    arrival = only(with_labels(odd="a\x00b\x1f\n…"))
    assert isinstance(arrival, Arrival)
    assert arrival.labels["odd"] == "a\x00b\x1f\n…"


def test_fingerprint_is_made_of_the_labels_where_there_is_none() -> None:
    assert fingerprint_of({"a": "1", "b": "2"}) == fingerprint_of({"b": "2", "a": "1"}) == "f1b5248dc1213123"
    assert fingerprint_of({"a": "1"}) != fingerprint_of({"a": "2"})
    for absent in (ALERT | {"fingerprint": ""}, {k: v for k, v in ALERT.items() if k != "fingerprint"}):
        arrival = only(absent)
        assert isinstance(arrival, Arrival)
        assert arrival.fingerprint == fingerprint_of(LABELS)


LABEL_TEXT = st.text(max_size=300) | st.sampled_from(["a" * 253, "a" * 254, "a" * 256, "a" * 257])


@given(
    st.dictionaries(st.text(max_size=130).filter(lambda name: name != STORM_MARK), LABEL_TEXT, max_size=66),
    LABEL_TEXT.filter(bool),
)
def test_what_comes_of_labels_is_within_the_bounds_of_a_signal(labels: dict[str, str], name: str) -> None:
    (arrival,) = parse(payload(ALERT | {"labels": labels | {"alertname": name}})).arrivals
    TypeAdapter(SignalSpec).validate_python({"name": arrival.name, "labels": arrival.labels})
    assert arrival.labels["alertname"] == arrival.name
    assert len(arrival.labels) == min(
        64, sum(1 for key, value in labels.items() if key and value) + (not labels.get("alertname"))
    )
