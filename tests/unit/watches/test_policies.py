"""A policy resource is a version that may be put in force, or has faults."""

from __future__ import annotations

from typing import Any

import pytest
from tests.harness.values import T0, cluster_version, version

from stormfold.api.reasons.signals import SignalReason
from stormfold.api.reasons.specs import SpecReason
from stormfold.api.resource import ObjectMeta
from stormfold.api.stormpolicy import PolicyStatus, StormPolicy
from stormfold.policy.examining import examined
from stormfold.policy.validation import Fault
from stormfold.policy.version import PolicyVersion
from stormfold.request.places import Queued
from stormfold.watches.policy import BEYOND, MAX_POLICIES, Accepted, Policy
from stormfold.watches.reporting import waiting

METADATA = {"name": "own", "namespace": "shop", "uid": "uid-own", "generation": 3}


def test_policy_that_makes_sense_is_a_version() -> None:
    body = {"metadata": METADATA, "spec": {"priority": 5}}
    assert examined("StormPolicy", body) == (version(generation=3, priority=5), [])


def test_policy_that_makes_no_sense_is_a_version_with_faults() -> None:
    body = {"metadata": METADATA, "spec": {"closeAfter": "1s"}}
    found, wrong = examined("StormPolicy", body)
    assert found == version(generation=3, closeAfter="1s")
    assert [fault.reason for fault in wrong] == [SpecReason.IDLE_LONGER_THAN_CLOSE_AFTER]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"groupBy": []}, "groupBy: must not be empty"),
        ({"window": {"idle": "1 minute"}}, "window.idle: must be a duration such as"),
        ({"belowThreshold": "Ignore"}, "belowThreshold: must be 'Request' or 'Discard'"),
    ],
)
def test_policy_that_cannot_be_read_is_no_version(spec: dict[str, Any], message: str) -> None:
    found, wrong = examined("StormPolicy", {"metadata": METADATA, "spec": spec})
    assert found is None
    assert [fault.reason for fault in wrong] == [SpecReason.INVALID_SPEC]
    assert wrong[0].message.startswith(message)


def test_field_of_a_newer_crd_is_left_alone() -> None:
    assert examined("StormPolicy", {"metadata": METADATA, "spec": {"silence": True}}) == (
        version(generation=3),
        list[Fault](),
    )


def policy(version: PolicyVersion) -> Policy:
    """The policy that a version is of."""
    return Policy(StormPolicy, ObjectMeta(name=version.id.name), PolicyStatus(), version, [])


def beyond(versions: list[PolicyVersion]) -> set[str]:
    """The names of those that are not put in force since too many go before them."""
    policies = [policy(version) for version in versions]
    accepted = Accepted()
    for each in policies:
        accepted.add(each)
    refused = {each.metadata.name for each in policies if [f.reason for f in each.faults] == [BEYOND.reason]}
    in_force = {version.id.name for version in accepted.versions}
    assert in_force | refused == {each.metadata.name for each in policies}
    assert not in_force & refused
    return refused


def test_namespace_has_so_many_policies_in_force_and_those_that_go_first_are_it() -> None:
    flood = [version(name=f"p-{number:03}", priority=number) for number in range(MAX_POLICIES + 2)]
    others = [
        version(namespace="other", name="one"),
        *(cluster_version(name=f"c-{number}") for number in range(MAX_POLICIES + 2)),
    ]
    assert beyond([*flood, *others]) == {"p-000", "p-001"}
    assert beyond([*others, *reversed(flood)]) == {"p-000", "p-001"}
    assert beyond(flood[2:] + others) == set()


def test_no_more_is_kept_of_a_policy_than_what_it_says() -> None:
    large = {"annotations": {"notes": "x" * 200_000}, "managedFields": [{"manager": "y" * 200_000}]}
    read = Policy.read(StormPolicy, {"metadata": METADATA | large, "spec": {"priority": 5}})
    assert read == Policy.read(StormPolicy, {"metadata": METADATA, "spec": {"priority": 5}})
    assert read.version == version(generation=3, priority=5)


@pytest.mark.parametrize(
    ("queued", "finding"),
    [
        pytest.param(
            [], Fault(SpecReason.OPEN_STORMS_WITHIN_LIMIT, "no group waits for a request"), id="nothing waits"
        ),
        pytest.param(
            [Queued("ops", 1, 1, T0), Queued("shop", 3, 40, T0 + 61_000)],
            Fault(
                SignalReason.OPEN_STORMS_REACHED,
                "limits.openStorms is reached, so groups wait: in ops 1 group with 1 signal since "
                "2026-01-01T00:00:00Z; in shop 3 groups with 40 signals since 2026-01-01T00:01:01Z. Close "
                "requests, group by fewer keys, or raise the limit. See https://stormfold.dev/reasons/#OpenStormsReached",
            ),
            id="in some namespaces",
        ),
        pytest.param(
            [Queued(name, 1, 1, T0) for name in "abcdefg"],
            Fault(
                SignalReason.OPEN_STORMS_REACHED,
                "limits.openStorms is reached, so groups wait: "
                + "; ".join(f"in {name} 1 group with 1 signal since 2026-01-01T00:00:00Z" for name in "abcde")
                + "; and in 2 more namespaces. Close requests, group by fewer keys, or raise the limit. "
                "See https://stormfold.dev/reasons/#OpenStormsReached",
            ),
            id="in many",
        ),
    ],
)
def test_policy_says_how_many_groups_wait_where_and_since_when(queued: list[Queued], finding: Fault) -> None:
    assert waiting(queued) == finding
