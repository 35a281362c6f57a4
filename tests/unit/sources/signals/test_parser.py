"""Signal resources become arrivals, or a reason why not."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.harness.signals import ARRIVAL, BODY, PARSE, REF, body
from tests.harness.values import T0

from stormfold.api.reason import Reason
from stormfold.api.reasons.signals import SignalReason
from stormfold.api.signal import Severity, SignalPhase
from stormfold.model.arrival import Arrival, Target, Verdict
from stormfold.sources.signals.parser import Seen


def test_signal_is_an_arrival() -> None:
    assert PARSE(BODY) == Seen(REF, T0 // 1000, edited=False, marked=False, outcome=ARRIVAL)


def test_signal_that_says_only_its_name_is_an_arrival() -> None:
    bare = body(metadata={}) | {"spec": {"name": "PodDown"}}
    assert PARSE(bare).outcome == replace(
        ARRIVAL,
        severity=Severity.UNKNOWN,
        firing=True,
        target=None,
        labels={},
        source="",
        fingerprint="",
        annotations={},
        started_ms=0,
    )


@pytest.mark.parametrize(
    ("namespace", "target_namespace", "speaks_for"),
    [
        pytest.param("shop", None, "shop", id="its own if the target names none"),
        pytest.param("shop", "", "shop", id="its own if the target's is empty"),
        pytest.param("shop", "shop", "shop", id="its own"),
        pytest.param("stormfold-system", "shop", "shop", id="another, from the operator's"),
        pytest.param("stormfold-system", None, "stormfold-system", id="the operator's"),
    ],
)
def test_signal_speaks_for_a_namespace(namespace: str, target_namespace: str | None, speaks_for: str) -> None:
    target = {"kind": "Pod", "name": "web-0"}
    if target_namespace is not None:
        target["namespace"] = target_namespace
    outcome = PARSE(body(metadata={"namespace": namespace}, target=target)).outcome
    assert isinstance(outcome, Arrival)
    assert outcome.namespace == speaks_for


@pytest.mark.parametrize(
    ("namespace", "target_namespace", "speaks_for"),
    [
        pytest.param("shop", "shop", "shop", id="its own"),
        pytest.param("stormfold-system", "shop", "shop", id="another, from the operator's"),
    ],
)
def test_node_has_no_namespace_but_the_signal_speaks_for_the_one_that_is_named(
    namespace: str, target_namespace: str, speaks_for: str
) -> None:
    target = {"kind": "Node", "name": "worker-3", "namespace": target_namespace}
    outcome = PARSE(body(metadata={"namespace": namespace}, target=target)).outcome
    assert isinstance(outcome, Arrival)
    assert (outcome.namespace, outcome.target) == (speaks_for, Target("v1", "Node", "worker-3"))


def in_minutes(minutes: float) -> str:
    return (datetime.now(UTC) + timedelta(minutes=minutes)).isoformat()


@pytest.mark.parametrize(
    ("spec", "reason", "message"),
    [
        pytest.param({"name": None}, SignalReason.INVALID_SIGNAL, "spec.name: must be set", id="no name"),
        pytest.param(
            {"name": ""},
            SignalReason.INVALID_SIGNAL,
            "spec.name: must not be empty",
            id="an empty name",
        ),
        pytest.param(
            {"severity": "page"},
            SignalReason.INVALID_SIGNAL,
            "spec.severity: must be 'critical', 'high', 'warning', 'info' or 'unknown', not 'page'",
            id="a severity of the future",
        ),
        pytest.param(
            {"target": {"kind": "Pod"}},
            SignalReason.INVALID_SIGNAL,
            "spec.target.name: must be set",
            id="a target without a name",
        ),
        pytest.param(
            {"labels": {"a": 1}},
            SignalReason.INVALID_SIGNAL,
            "spec.labels.a: must be a text in quotation marks, not 1",
            id="a label that is no text",
        ),
        pytest.param(
            {"startsAt": "2026-01-01T00:00:00"},
            SignalReason.INVALID_SIGNAL,
            (
                "spec.startsAt: must be a time with a zone, such as 2026-03-01T11:00:00Z, "
                "not '2026-01-01T00:00:00'"
            ),
            id="a time without a zone",
        ),
        pytest.param(
            {"target": {"kind": "Pod", "name": "p", "namespace": "ops"}},
            SignalReason.TARGET_IN_OTHER_NAMESPACE,
            "spec.target.namespace: 'ops' must be 'shop', the Signal's own namespace. "
            "Only Signals in 'stormfold-system' may report on other namespaces",
            id="another namespace's target",
        ),
        pytest.param(
            {"startsAt": "2999-01-01T00:00:00Z"},
            SignalReason.STARTS_IN_FUTURE,
            "spec.startsAt: 2999-01-01T00:00:00+00:00 must not be more than 5 minutes in the future",
            id="far in the future",
        ),
    ],
)
def test_signal_that_cannot_be_counted_is_rejected(
    spec: dict[str, Any], reason: Reason, message: str
) -> None:
    verdict = Verdict(SignalPhase.REJECTED, reason, message)
    assert PARSE(body(**spec)) == Seen(REF, T0 // 1000, edited=False, marked=False, outcome=verdict)


def test_signal_without_a_spec_is_rejected() -> None:
    empty = {"metadata": BODY["metadata"]}
    assert PARSE(empty).outcome == Verdict(
        SignalPhase.REJECTED, SignalReason.INVALID_SIGNAL, "spec.name: must be set"
    )


def test_message_of_a_rejection_fits_into_a_status() -> None:
    outcome = PARSE(body(target={"kind": "K", "name": "n", "namespace": "n" * 63})).outcome
    assert isinstance(outcome, Verdict)
    assert len(outcome.message) <= 1024


@pytest.mark.parametrize(("ahead", "taken"), [(4.5, True), (5.5, False)])
def test_clocks_may_differ_by_five_minutes(ahead: float, taken: bool) -> None:
    assert isinstance(PARSE(body(startsAt=in_minutes(ahead))).outcome, Arrival) == taken


@pytest.mark.parametrize(
    ("generation", "status", "marked"),
    [
        pytest.param(1, None, False, id="no status"),
        pytest.param(1, {}, False, id="an empty status"),
        pytest.param(1, {"phase": "Folded", "observedGeneration": 1}, True, id="its mark"),
        pytest.param(2, {"phase": "Folded", "observedGeneration": 1}, False, id="an older mark"),
        pytest.param(2, {"phase": "Rejected", "observedGeneration": 2}, True, id="the mark of a raised one"),
        pytest.param(1, {"observedGeneration": 1}, False, id="no phase"),
        pytest.param(1, {"phase": "Folded"}, False, id="no generation"),
    ],
)
def test_mark_is_of_the_generation(generation: int, status: dict[str, Any] | None, marked: bool) -> None:
    assert PARSE(body(metadata={"generation": generation}, status=status)).marked == marked


WRITE: dict[str, Any] = BODY["metadata"]["managedFields"][0]


@pytest.mark.parametrize(
    ("writes", "edited"),
    [
        pytest.param([WRITE], False, id="only its creation"),
        pytest.param([WRITE | {"time": "2026-01-01T00:00:01Z"}], True, id="the creator wrote again"),
        pytest.param([WRITE, WRITE | {"manager": "other"}], True, id="somebody else wrote"),
        pytest.param([], True, id="nobody says"),
    ],
)
def test_signal_was_edited_or_not(writes: list[dict[str, Any]], edited: bool) -> None:
    assert PARSE(body(metadata={"managedFields": writes})).edited == edited


def test_raised_generation_happened_when_it_came() -> None:
    before = int(datetime.now(UTC).timestamp() * 1000)
    raised = PARSE(body(metadata={"generation": 2}))
    assert isinstance(raised.outcome, Arrival)
    assert before <= raised.outcome.seen_ms <= int(datetime.now(UTC).timestamp() * 1000)
    assert raised.created == T0 // 1000
