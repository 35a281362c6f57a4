"""What is wrong with a policy that the API server took."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.harness.values import DEFAULT, TERMS, cluster_version

from stormfold.api.reasons.specs import SpecReason
from stormfold.api.stormpolicy import CloseOn, PolicySpec
from stormfold.model.group import PolicyId
from stormfold.model.storm import Terms
from stormfold.policy.matching import glob_pattern
from stormfold.policy.validation import Fault, faults

OWN = PolicyId("StormPolicy", "shop", "own")


def found(spec: dict[str, Any], policy: PolicyId = OWN) -> list[Fault]:
    return faults(policy, PolicySpec.model_validate(spec))


@pytest.mark.parametrize(
    ("spec", "policy"),
    [
        pytest.param({}, OWN, id="nothing set"),
        pytest.param({}, DEFAULT, id="nothing set, cluster-wide"),
        pytest.param({"window": {"idle": "15m"}, "closeAfter": "15m"}, OWN, id="idle as long as closeAfter"),
        pytest.param({"window": {"idle": "1m", "maxDuration": "60s"}}, OWN, id="idle as long as maxDuration"),
        pytest.param({"groupWait": "1m"}, OWN, id="hold as long as within"),
        pytest.param({"groupWait": "0s", "retention": "0s"}, OWN, id="no hold, no retention"),
        pytest.param({"groupBy": ["name"], "requestNamespace": "ops"}, DEFAULT, id="a namespace is named"),
        pytest.param({"groupBy": ["name"]}, OWN, id="a namespaced policy needs no other namespace"),
        pytest.param({"groupBy": ["labels.a/b.c-d_e"]}, OWN, id="a label with signs"),
        pytest.param({"groupBy": ["owner", "target.owner", "node"]}, OWN, id="owner and node"),
        pytest.param({"match": {"names": ["[z-ab]", "[", "[]", "*", "[(?!)]"]}}, OWN, id="odd globs"),
    ],
)
def test_policy_that_makes_sense_has_no_fault(spec: dict[str, Any], policy: PolicyId) -> None:
    assert found(spec, policy) == []


@pytest.mark.parametrize(
    ("spec", "fault"),
    [
        (
            {"groupBy": ["labels."]},
            Fault(SpecReason.EMPTY_LABEL_NAME, "groupBy: must name a label after 'labels.'"),
        ),
        (
            {"groupBy": ["labels. "]},
            Fault(SpecReason.EMPTY_LABEL_NAME, "groupBy: must name a label after 'labels.'"),
        ),
        (
            {"groupBy": ["labels.a b"]},
            Fault(SpecReason.INVALID_LABEL_NAME, "groupBy: 'a b' must not contain white space"),
        ),
        (
            {"match": {"labelSelector": {"matchLabels": {"a b": "1"}}}},
            Fault(SpecReason.INVALID_LABEL_NAME, "match.labelSelector: 'a b' must not contain white space"),
        ),
        (
            {"match": {"namespaceSelector": {"matchExpressions": [{"key": "a\tb", "operator": "Exists"}]}}},
            Fault(
                SpecReason.INVALID_LABEL_NAME, "match.namespaceSelector: 'a\\tb' must not contain white space"
            ),
        ),
        (
            {"groupBy": ["target.uid"]},
            Fault(
                SpecReason.UNKNOWN_GROUP_KEY,
                "groupBy: 'target.uid' must be one of name, namespace, severity, source, target.kind, "
                "target.name, target.owner, owner, node, labels.<key>",
            ),
        ),
        (
            {"match": {"names": ["Pod*", "[z-a]"]}},
            Fault(
                SpecReason.GLOB_MATCHES_NOTHING,
                "match.names: '[z-a]' can match nothing: it has an empty range such as [z-a]",
            ),
        ),
        (
            {"match": {"sources": ["falco "]}},
            Fault(
                SpecReason.GLOB_MATCHES_NOTHING,
                "match.sources: 'falco ' can match nothing: it begins or ends with white space",
            ),
        ),
        (
            {"threshold": {"within": "0s"}, "groupWait": "0s"},
            Fault(SpecReason.DURATION_NOT_POSITIVE, "threshold.within: must be greater than 0"),
        ),
        (
            {"window": {"idle": "0s"}},
            Fault(SpecReason.DURATION_NOT_POSITIVE, "window.idle: must be greater than 0"),
        ),
        (
            {"window": {"idle": "2m", "maxDuration": "119s"}},
            Fault(
                SpecReason.IDLE_LONGER_THAN_MAX_DURATION,
                "window.idle: 2m must be less than or equal to window.maxDuration (119s)",
            ),
        ),
        (
            {"closeAfter": "59s"},
            Fault(
                SpecReason.IDLE_LONGER_THAN_CLOSE_AFTER,
                "window.idle: 1m must be less than or equal to closeAfter (59s)",
            ),
        ),
        (
            {"requestRetention": "59m"},
            Fault(SpecReason.REQUEST_RETENTION_TOO_SHORT, "requestRetention: 59m must be 1h or more"),
        ),
        (
            {"reopenAfter": {"succeeded": "24h"}},
            Fault(SpecReason.REOPEN_AFTER_TOO_LONG, "reopenAfter.succeeded: 24h must be 23h or less"),
        ),
        (
            {"reopenAfter": {"succeeded": "23h", "failed": "1381m"}},
            Fault(SpecReason.REOPEN_AFTER_TOO_LONG, "reopenAfter.failed: 1381m must be 23h or less"),
        ),
        (
            {"groupWait": "60001ms"},
            Fault(
                SpecReason.GROUP_WAIT_LONGER_THAN_WITHIN,
                "groupWait: 60001ms must be less than or equal to threshold.within (1m)",
            ),
        ),
    ],
)
def test_policy_that_makes_no_sense_has_a_fault(spec: dict[str, Any], fault: Fault) -> None:
    assert found(spec) == [fault]


def test_cluster_policy_that_mixes_namespaces_must_say_where_requests_go() -> None:
    assert found({"groupBy": ["name"]}, DEFAULT) == [
        Fault(
            SpecReason.REQUEST_NAMESPACE_MISSING,
            "requestNamespace: must be set when groupBy does not contain 'namespace'",
        )
    ]


def test_spec_that_is_too_large_is_told_with_its_size() -> None:
    values = [f"{number:03}".ljust(256, "x") for number in range(32)]
    expressions = [{"key": "app", "operator": "In", "values": values}] * 4
    [fault] = found({"match": {"labelSelector": {"matchExpressions": expressions}}})
    assert fault == Fault(
        SpecReason.INVALID_SPEC,
        "spec: must have at most 32768 bytes as JSON, not 33366: name fewer things in match",
    )
    assert found({"match": {"labelSelector": {"matchExpressions": expressions[:3]}}}) == []


def test_all_faults_are_told() -> None:
    spec = {
        "groupBy": ["labels.", "labels.a b", "nope"],
        "match": {"names": [" x", "[z-a]"]},
        "groupWait": "2m",
    }
    assert [fault.reason for fault in found(spec, DEFAULT)] == [
        SpecReason.EMPTY_LABEL_NAME,
        SpecReason.INVALID_LABEL_NAME,
        SpecReason.UNKNOWN_GROUP_KEY,
        SpecReason.GLOB_MATCHES_NOTHING,
        SpecReason.GLOB_MATCHES_NOTHING,
        SpecReason.GROUP_WAIT_LONGER_THAN_WITHIN,
        SpecReason.REQUEST_NAMESPACE_MISSING,
    ]


def test_duration_that_is_zero_is_told_of_each_field() -> None:
    spec = {"window": {"idle": "0s", "maxDuration": "0s"}, "closeAfter": "0s", "staleAfter": "0s"}
    assert [fault.message.split(":")[0] for fault in found(spec)] == [
        "window.idle",
        "window.maxDuration",
        "closeAfter",
        "staleAfter",
    ]


@given(st.text("az-[]!*?()", min_size=1, max_size=8), st.text("az-[]!()?", max_size=8))
def test_glob_with_a_fault_takes_no_name(glob: str, name: str) -> None:
    pattern = glob_pattern([glob])
    assert pattern is not None
    assert not (found({"match": {"names": [glob]}}) and pattern.match(name))


def test_version_gives_redis_the_numbers_of_the_spec() -> None:
    assert cluster_version().terms == TERMS
    assert cluster_version(
        threshold={"signals": 3, "resources": 2, "within": "10s"},
        groupWait="20ms",
        belowThreshold="Discard",
        window={"idle": "30ms", "maxDuration": "40ms"},
        closeAfter="50ms",
        closeOn="Recovered",
        staleAfter="70ms",
        limits={"resources": 6},
    ).terms == Terms(3, 2, 10_000, 20, True, 30, 40, 50, 6, CloseOn.RECOVERED, 70)


def test_version_keeps_its_spec_without_what_is_at_its_default() -> None:
    assert cluster_version().spec_json == "{}"
    chosen = cluster_version(priority=3, groupBy=["labels.a"], requestNamespace="ops")
    assert chosen.spec_json == '{"priority":3,"groupBy":["labels.a"],"requestNamespace":"ops"}'
    assert PolicySpec.model_validate_json(chosen.spec_json) == chosen.spec
