"""Kubernetes Events become arrivals, or nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.harness.events import ARRIVAL, BODY, LATER, MUCH_LATER, PARSE, arrival, body
from tests.harness.values import T0

from stormfold.api.reasons.signals import SignalReason
from stormfold.api.signal import Severity, SignalPhase
from stormfold.model.arrival import Arrival, EventRef, Target, Verdict
from stormfold.sources.events.parser import MAX_COUNT, SeenEvent
from stormfold.sources.events.watch import SELECT


def test_event_is_an_arrival() -> None:
    assert PARSE(BODY) == SeenEvent(
        "uid-1", "shop", "web-0.18a1f0c3d2e4b501", 110, T0 // 1000, T0 // 1000, False, 1, ARRIVAL
    )


def test_event_that_says_only_its_reason_is_an_arrival() -> None:
    bare = {key: BODY[key] for key in ("metadata", "type", "reason")} | {
        "involvedObject": {"namespace": "shop"}
    }
    assert arrival(bare) == replace(
        ARRIVAL, target=None, labels={}, fingerprint="shop/Failed", annotations={}
    )


@pytest.mark.parametrize(
    ("fields", "count"),
    [
        pytest.param({"count": 7}, 7, id="count"),
        pytest.param({"count": None}, 1, id="no count"),
        pytest.param({"count": 0}, 1, id="a count of the newer API"),
        pytest.param({"count": None, "series": {"count": 14}}, 14, id="a series"),
        pytest.param({"count": 3, "series": {"count": 14}}, 14, id="both"),
        pytest.param({"count": 3, "series": {}}, 3, id="an empty series"),
        pytest.param({"count": -5}, 1, id="a negative count"),
        pytest.param({"count": 2**31 - 1}, MAX_COUNT, id="a count that nobody believes"),
        pytest.param({"count": "7"}, 1, id="a count that is no number"),
        pytest.param({"count": True}, 1, id="a count that is a truth"),
        pytest.param({"count": 3, "series": "14"}, 3, id="a series that is none"),
    ],
)
def test_event_has_a_count(fields: dict[str, Any], count: int) -> None:
    seen = PARSE(body(**fields))
    assert isinstance(seen.outcome, Arrival)
    assert seen.count == count
    assert seen.outcome.ref == EventRef("uid-1", 110, count, 0)


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        pytest.param({"lastTimestamp": LATER}, 300, id="the last of a count"),
        pytest.param({"lastTimestamp": None, "eventTime": LATER}, 300, id="the first of a series"),
        pytest.param(
            {"lastTimestamp": LATER, "eventTime": LATER, "series": {"lastObservedTime": MUCH_LATER}},
            3600.5,
            id="the last of a series",
        ),
        pytest.param({"lastTimestamp": None}, 0, id="no time but its creation"),
        pytest.param({"lastTimestamp": "1970-01-01T00:00:00Z"}, 0, id="before its creation"),
        pytest.param({"lastTimestamp": "0000-01-01T00:00:00Z"}, 0, id="a year that Python does not know"),
        pytest.param({"lastTimestamp": "2026-01-01T00:05:00"}, 0, id="no zone"),
        pytest.param({"lastTimestamp": 300}, 0, id="no text"),
    ],
)
def test_event_was_seen_last(fields: dict[str, Any], seconds: float) -> None:
    assert arrival(body(**fields)).seen_ms == T0 + seconds * 1000


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        pytest.param({"count": 7, "lastTimestamp": LATER}, 300, id="since its creation"),
        pytest.param({"count": 1, "lastTimestamp": LATER}, 0, id="a single one"),
        pytest.param(
            {"count": 7, "firstTimestamp": "2026-01-01T00:02:00Z", "lastTimestamp": LATER},
            180,
            id="since its first occurrence",
        ),
        pytest.param(
            {"count": 7, "firstTimestamp": "2025-12-31T23:50:00Z", "lastTimestamp": LATER},
            300,
            id="not from before its creation",
        ),
        pytest.param(
            {"count": 7, "firstTimestamp": MUCH_LATER, "lastTimestamp": LATER}, 0, id="times in reverse"
        ),
        pytest.param({"count": 7, "lastTimestamp": "1970-01-01T00:00:00Z"}, 0, id="before its creation"),
    ],
)
def test_occurrences_lie_between_the_first_and_the_last(fields: dict[str, Any], seconds: float) -> None:
    seen = PARSE(body(**fields))
    assert isinstance(seen.outcome, Arrival)
    assert isinstance(seen.outcome.ref, EventRef)
    assert (seen.span_ms, seen.outcome.ref.span_ms) == (seconds * 1000, seconds * 1000)


def test_event_of_the_future_was_seen_now() -> None:
    before = datetime.now(UTC).timestamp() * 1000
    seen_ms = arrival(body(lastTimestamp="9999-12-31T23:59:59Z")).seen_ms
    assert int(before) <= seen_ms <= datetime.now(UTC).timestamp() * 1000


NODE = {"apiVersion": None, "kind": "Node", "name": "worker-07", "uid": "worker-07", "namespace": None}


@pytest.mark.parametrize("namespace", ["default", "kube-system"])
def test_event_about_a_node_speaks_for_the_namespace_in_which_kubernetes_puts_it(namespace: str) -> None:
    found = arrival(body(metadata={"namespace": namespace}, about=NODE))
    assert (found.namespace, found.target) == (namespace, Target("v1", "Node", "worker-07", None))


def test_node_is_the_same_with_and_without_a_namespace() -> None:
    fields = {"kind": "Node", "name": "worker-07", "uid": None, "apiVersion": "v1"}
    one = arrival(body(metadata={"namespace": "default"}, about=fields | {"namespace": None}))
    other = arrival(body(metadata={"namespace": "default"}, about=fields | {"namespace": "default"}))
    assert one == other
    assert (one.target, one.fingerprint) == (Target("v1", "Node", "worker-07"), "Node//worker-07/Failed")


@pytest.mark.parametrize(
    ("namespace", "about"),
    [
        pytest.param("shop", "bank", id="another namespace"),
        pytest.param("stormfold-system", "shop", id="another one, from the operator's"),
        pytest.param("default", "shop", id="another one, from where Events about nodes lie"),
        pytest.param("shop", None, id="no namespace"),
    ],
)
def test_event_speaks_for_its_own_namespace_only(namespace: str, about: str | None) -> None:
    outcome = PARSE(body(metadata={"namespace": namespace}, about={"namespace": about})).outcome
    assert outcome == Verdict(
        SignalPhase.REJECTED,
        SignalReason.TARGET_IN_OTHER_NAMESPACE,
        f"involvedObject.namespace: {about or ''!r} must be {namespace!r}, the Event's own namespace",
    )


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        pytest.param({"reason": None}, "name: must not be empty", id="no reason"),
        pytest.param(
            {"reason": "R" * 254}, "name: must have at most 253 characters, not 254", id="a reason too long"
        ),
        pytest.param(
            {"reason": 7}, "name: must be a text in quotation marks, not 7", id="a reason that is no text"
        ),
        pytest.param(
            {"about": {"kind": "K" * 64}},
            "target.kind: must have at most 63 characters, not 64",
            id="a kind too long",
        ),
        pytest.param(
            {"about": {"name": "n" * 254}},
            "target.name: must have at most 253 characters, not 254",
            id="a name too long",
        ),
    ],
)
def test_event_that_cannot_be_a_signal_is_rejected(changed: dict[str, Any], message: str) -> None:
    assert PARSE(body(**changed)).outcome == Verdict(
        SignalPhase.REJECTED, SignalReason.INVALID_SIGNAL, f"as a Signal's spec, {message}"
    )


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"type": "Normal"}, id="Normal"),
        pytest.param({"type": "normal"}, id="Normal in lower case"),
        pytest.param({"type": " NORMAL "}, id="Normal in capitals"),
        pytest.param({"type": None}, id="of no type"),
        pytest.param({"type": ""}, id="of an empty type"),
        pytest.param({"type": 7}, id="of a type that is no text"),
        pytest.param({"reportingComponent": "stormfold"}, id="by stormfold"),
        pytest.param(
            {"reportingComponent": "", "source": {"component": "stormfold"}}, id="by stormfold, as of old"
        ),
        pytest.param(
            {"about": {"apiVersion": "stormfold.dev/v1alpha1", "kind": "Signal"}}, id="about one of our kinds"
        ),
    ],
)
def test_event_is_left_out(changed: dict[str, Any]) -> None:
    assert PARSE(body(**changed)).outcome is None


def test_api_server_is_asked_for_all_types_but_normal() -> None:
    assert SELECT == {"fieldSelector": "type!=Normal"}


@pytest.mark.parametrize(
    ("written", "severity", "severity_text"),
    [
        ("Warning", Severity.WARNING, ""),
        ("warning", Severity.WARNING, ""),
        ("Error", Severity.HIGH, "Error"),
        ("error", Severity.HIGH, "error"),
        ("Fatal", Severity.CRITICAL, "Fatal"),
        ("Critical", Severity.CRITICAL, "Critical"),
        ("Failed", Severity.WARNING, "Failed"),
        ("x" * 1000, Severity.WARNING, "x" * 63),
    ],
)
def test_type_says_how_bad_it_is(written: str, severity: Severity, severity_text: str) -> None:
    """What is no type of Kubernetes' own a policy's severityMap may know."""
    assert arrival(body(type=written)) == replace(ARRIVAL, severity=severity, severity_text=severity_text)


@pytest.mark.parametrize(
    ("changed", "fingerprint"),
    [
        pytest.param({}, "uid-of-web-0/Failed", id="uid and reason"),
        pytest.param(
            {"metadata": {"uid": "uid-2"}, "message": "x"}, "uid-of-web-0/Failed", id="another Event"
        ),
        pytest.param({"reason": "BackOff"}, "uid-of-web-0/BackOff", id="another reason"),
        pytest.param({"about": {"uid": None}}, "Pod/shop/web-0/Failed", id="no uid"),
    ],
)
def test_instance_is_an_object_with_a_reason(changed: dict[str, Any], fingerprint: str) -> None:
    assert arrival(body(**changed)).fingerprint == fingerprint


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(sorted(BODY.keys() - {"metadata"})), JSON))
def test_event_of_any_shape_is_read(fields: dict[str, Any]) -> None:
    seen = PARSE(BODY | fields)
    assert 1 <= seen.count <= MAX_COUNT
    if isinstance(seen.outcome, Arrival):
        assert seen.outcome.namespace == "shop"
        assert all(len(text) <= 256 for text in seen.outcome.labels.values())


@given(st.dictionaries(st.sampled_from(sorted(BODY["involvedObject"])), JSON))
def test_event_about_anything_is_read(about: dict[str, Any]) -> None:
    outcome = PARSE(BODY | {"involvedObject": BODY["involvedObject"] | about}).outcome
    if isinstance(outcome, Arrival) and outcome.target:
        assert outcome.target.namespace == "shop"
