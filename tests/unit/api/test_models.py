"""Models read what the API server sends and write what it takes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from stormfold.api.remediationrequest import Remediation, RemediationRequest, RemediationRequestStatus
from stormfold.api.signal import Severity, Signal, SignalSpec, SignalState, Target
from stormfold.api.stormpolicy import CloseOn, Limits, PolicySpec, Threshold, Window

RECEIVED: dict[str, Any] = {
    "apiVersion": "stormfold.dev/v1alpha1",
    "kind": "Signal",
    "metadata": {
        "name": "shop-1",
        "namespace": "shop",
        "uid": "5d31e8f5",
        "generation": 2,
        "resourceVersion": "4711",
        "creationTimestamp": "2026-03-01T10:00:00Z",
        "managedFields": [{"manager": "kubectl"}],
    },
    "spec": {
        "name": "KubePodCrashLooping",
        "severity": "high",
        "state": "Resolved",
        "target": {"kind": "Pod", "name": "shop-1"},
        "labels": {"app": "shop"},
        "startsAt": "2026-03-01T12:00:00+02:00",
        "fieldOfANewerRelease": 1,
    },
}


def test_a_signal_is_read_without_what_a_newer_release_adds() -> None:
    signal = Signal.model_validate(RECEIVED)
    assert signal.spec == SignalSpec(
        name="KubePodCrashLooping",
        severity=Severity.HIGH,
        state=SignalState.RESOLVED,
        target=Target(kind="Pod", name="shop-1", api_version="v1"),
        labels={"app": "shop"},
        starts_at=datetime(2026, 3, 1, 10, 0, tzinfo=UTC),
    )
    assert (signal.metadata.uid, signal.metadata.generation, signal.metadata.resource_version) == (
        "5d31e8f5",
        2,
        "4711",
    )
    assert signal.status is None


def test_a_model_does_not_change() -> None:
    signal = Signal.model_validate(RECEIVED)
    with pytest.raises(ValidationError, match="frozen"):
        signal.spec.name = "Other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": ""}, "name"),
        ({"severity": "page"}, "severity"),
        ({"state": "firing"}, "state"),
        ({"labels": {"": "v"}}, "labels"),
        ({"labels": {"k": "v" * 257}}, "labels"),
        ({"labels": {f"k{number}": "v" for number in range(65)}}, "labels"),
        ({"startsAt": "2026-03-01T10:00:00"}, "startsAt"),
    ],
)
def test_a_signal_beyond_its_limits_is_refused_with_the_field_at_fault(
    changes: dict[str, Any], field: str
) -> None:
    with pytest.raises(ValidationError) as refused:
        SignalSpec.model_validate({**RECEIVED["spec"], **changes})
    assert {error["loc"][0] for error in refused.value.errors()} == {field}


def test_severities_rise_from_unknown_to_critical() -> None:
    assert sorted(Severity, key=lambda severity: severity.rank) == [
        "unknown",
        "info",
        "warning",
        "high",
        "critical",
    ]


def test_the_defaults_of_a_policy_are_the_documented_ones() -> None:
    assert PolicySpec() == PolicySpec(
        group_by=("name", "namespace"),
        threshold=Threshold(signals=5, resources=None, within="1m"),
        groupWait="1s",
        window=Window(idle="1m", max_duration="6h"),
        close_after="15m",
        close_on=CloseOn.AUTO,
        stale_after="24h",
        retention="10m",
        request_retention="168h",
        limits=Limits(resources=25, open_storms=500),
    )


def test_a_policy_gives_its_durations_in_milliseconds() -> None:
    policy = PolicySpec()
    assert {
        "within": policy.threshold.within_ms,
        "groupWait": policy.group_wait_ms,
        "idle": policy.window.idle_ms,
        "max_duration": policy.window.max_duration_ms,
        "close_after": policy.close_after_ms,
        "stale_after": policy.stale_after_ms,
        "retention": policy.retention_ms,
        "request_retention": policy.request_retention_ms,
    } == {
        "within": 60_000,
        "groupWait": 1_000,
        "idle": 60_000,
        "max_duration": 21_600_000,
        "close_after": 900_000,
        "stale_after": 86_400_000,
        "retention": 600_000,
        "request_retention": 604_800_000,
    }


def test_a_status_is_written_in_camel_case_without_what_is_absent() -> None:
    status = RemediationRequestStatus(
        last_seen=datetime(2026, 3, 1, 10, 0, tzinfo=UTC), affected_resource_count=3
    )
    assert status.manifest() == {
        "signals": {"total": 0, "firing": 0, "resolved": 0, "stale": 0, "approximate": False},
        "lastSeen": "2026-03-01T10:00:00Z",
        "resources": [],
        "affectedResourceCount": 3,
        "affectedResourceCountPrecision": "Exact",
        "truncated": False,
        "ratePerMinute": 0,
        "revision": 1,
        "conditions": [],
    }


def test_what_the_consumer_adds_to_its_remediation_is_kept() -> None:
    remediation = Remediation.model_validate({"phase": "Executing", "plan": {"steps": ["drain"]}})
    assert remediation.manifest() == {"phase": "Executing", "plan": {"steps": ["drain"]}}


def test_a_request_without_a_status_is_read() -> None:
    spec = {
        "groupHash": "0123456789abcdef",
        "epoch": 1,
        "policyRef": {"kind": "StormPolicy", "name": "p", "namespace": "shop", "uid": "u", "generation": 1},
        "policy": {"groupWait": "2s"},
        "name": "NodeDown",
        "severity": "critical",
        "openedAt": "2026-03-01T10:00:00Z",
    }
    request = RemediationRequest.model_validate({"metadata": {"name": "r"}, "spec": spec})
    assert request.status is None
    assert request.spec.policy == PolicySpec(groupWait="2s")
    assert request.spec.group == ()
