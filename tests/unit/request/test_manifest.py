"""What a new RemediationRequest says that never changes, word by word."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.harness.values import ARRIVAL, NODE, POD, SNAPSHOT, cluster_version, version

from stormfold.api.remediationrequest import RemediationRequest
from stormfold.enrich.owner_graph import identity
from stormfold.request.rendering import manifest

OWN = version(groupBy=["name", "labels.rack"], priority=7)
SPEC: dict[str, Any] = {
    "groupHash": "0123456789abcdef",
    "epoch": 2,
    "group": [{"key": "name", "value": "PodDown"}, {"key": "labels.rack"}],
    "policyRef": {
        "kind": "StormPolicy",
        "name": "own",
        "namespace": "shop",
        "uid": "uid-own",
        "generation": 1,
    },
    "policy": OWN.spec.manifest(),
    "name": "PodDown",
    "severity": "warning",
    "target": {"apiVersion": "v1", "kind": "Pod", "name": "web-0", "namespace": "shop"},
    "openedAt": "2026-01-01T00:00:00Z",
    "reason": "NewSignals",
}


def test_manifest_of_what_still_fires_names_the_request_before() -> None:
    again = replace(SNAPSHOT, still_firing=True)
    assert manifest(again, OWN.opening(OWN.group(ARRIVAL), ARRIVAL))["spec"] == SPEC | {
        "reason": "StillFiring",
        "previousRef": {"name": "storm-0123456789abcdef-1"},
    }


def test_manifest_says_all_that_never_changes() -> None:
    body = manifest(SNAPSHOT, OWN.opening(OWN.group(ARRIVAL), ARRIVAL))
    assert body == {
        "apiVersion": "stormfold.dev/v1alpha1",
        "kind": "RemediationRequest",
        "metadata": {
            "name": "storm-0123456789abcdef-2",
            "namespace": "shop",
            "labels": {
                "stormfold.dev/group-hash": "0123456789abcdef",
                "stormfold.dev/policy": "own",
                "app.kubernetes.io/managed-by": "stormfold",
            },
        },
        "spec": SPEC,
    }
    assert RemediationRequest.model_validate(body).spec.manifest() == SPEC


def test_manifest_names_the_longest_owner_that_there_can_be() -> None:
    by_owner = version(namespace="n" * 63, groupBy=["owner"])
    owner = identity("K" * 63, "n" * 63, "o" * 253)
    of_it = replace(ARRIVAL, namespace="n" * 63, owner=owner)
    body = manifest(SNAPSHOT, by_owner.opening(by_owner.group(of_it), of_it))
    assert body["spec"]["group"] == [{"key": "owner", "value": owner}]


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        pytest.param(None, None, id="no target"),
        pytest.param(
            NODE, {"apiVersion": "v1", "kind": "Node", "name": "worker-07"}, id="a target of no namespace"
        ),
        pytest.param(
            replace(POD, api_version="apps/v1"),
            SPEC["target"] | {"apiVersion": "apps/v1"},
            id="a target of a group",
        ),
    ],
)
def test_manifest_names_the_target_of_the_first_signal(target: Any, expected: Any) -> None:
    arrival = replace(ARRIVAL, target=target)
    spec = manifest(SNAPSHOT, OWN.opening(OWN.group(arrival), arrival))["spec"]
    assert spec.get("target") == expected


def test_manifest_of_a_cluster_policy_names_no_policy_namespace() -> None:
    default = cluster_version()
    body = manifest(SNAPSHOT, default.opening(default.group(ARRIVAL), ARRIVAL))
    assert body["spec"]["policyRef"] == {
        "kind": "ClusterStormPolicy",
        "name": "default",
        "uid": "uid-default",
        "generation": 1,
    }
    assert body["metadata"]["namespace"] == "shop"


@pytest.mark.parametrize(("length", "labelled"), [(63, True), (64, False)])
def test_policy_is_a_label_if_its_name_can_be_one(length: int, labelled: bool) -> None:
    named = replace(OWN, id=replace(OWN.id, name="p" * length))
    labels = manifest(SNAPSHOT, named.opening(named.group(ARRIVAL), ARRIVAL))["metadata"]["labels"]
    assert ("stormfold.dev/policy" in labels) == labelled
