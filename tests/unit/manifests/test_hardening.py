"""What the manifests grant and forbid, read as they stand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from stormfold.settings import Settings

MANIFESTS = Path(__file__).parents[3] / "manifests"
Manifest = dict[str, Any]

LEADS_FURTHER = {
    *("secrets", "configmaps", "serviceaccounts", "serviceaccounts/token", "pods/exec", "pods/attach"),
    *(
        "roles",
        "rolebindings",
        "clusterroles",
        "clusterrolebindings",
        "nodes",
        "nodes/proxy",
        "services/proxy",
    ),
    *("mutatingwebhookconfigurations", "validatingwebhookconfigurations", "customresourcedefinitions"),
    *("certificatesigningrequests", "persistentvolumes"),
}
"""Whoever may do anything with these can become somebody else."""
CHANGED = {
    ("stormfold.dev", "signals"): {"delete"},
    ("stormfold.dev", "remediationrequests"): {"create", "delete"},
    ("stormfold.dev", "signals/status"): {"patch"},
    ("stormfold.dev", "remediationrequests/status"): {"patch"},
    ("stormfold.dev", "stormpolicies/status"): {"patch"},
    ("stormfold.dev", "clusterstormpolicies/status"): {"patch"},
    ("stormfold.dev", "stormgates/status"): {"patch"},
    ("", "events"): {"create"},
    ("authentication.k8s.io", "tokenreviews"): {"create"},
    ("authorization.k8s.io", "subjectaccessreviews"): {"create"},
    ("coordination.k8s.io", "leases"): {"create", "update"},
}
"""All that the operator may write, in whatever components."""


def manifests(*kinds: str) -> Iterator[Manifest]:
    for file in sorted(MANIFESTS.rglob("*.yaml")):
        for manifest in yaml.safe_load_all(file.read_text()):
            if manifest and manifest.get("kind") in kinds:
                yield manifest


def rules_of_the_operator() -> Iterator[dict[str, list[str]]]:
    for role in manifests("Role", "ClusterRole"):
        # The others are for people, and for whoever sends alerts.
        if role["metadata"]["labels"]["app.kubernetes.io/component"] == "operator":
            yield from role["rules"]


def test_operator_may_write_this_and_nothing_else_and_nothing_that_leads_further() -> None:
    written: dict[tuple[str, str], set[str]] = {}
    for rule in rules_of_the_operator():
        assert set(rule) <= {"apiGroups", "resources", "verbs"}
        assert "*" not in (*rule["apiGroups"], *rule["resources"], *rule["verbs"])
        assert LEADS_FURTHER.isdisjoint(rule["resources"])
        changes = set(rule["verbs"]) - {"get", "list", "watch"}
        for group in rule["apiGroups"]:
            for resource in rule["resources"] if changes else ():
                written.setdefault((group, resource), set()).update(changes)
    assert written == CHANGED


def test_only_the_lease_is_the_operators_in_its_own_namespace() -> None:
    (role,) = (
        found
        for found in manifests("Role")
        if found["metadata"]["labels"]["app.kubernetes.io/component"] == "operator"
    )
    assert role["metadata"]["namespace"] == "stormfold-system"
    assert [rule["resources"] for rule in role["rules"]] == [["leases"]]


@pytest.mark.parametrize("name", ["stormfold", "stormfold-valkey"])
def test_container_may_nothing_that_it_does_not_need(name: str) -> None:
    (deployment,) = (
        found
        for found in manifests("Deployment")
        if found["metadata"]["name"] == name and "template" in found["spec"] and "selector" in found["spec"]
    )
    spec = deployment["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    pod = {key: value for key, value in spec["securityContext"].items() if key != "fsGroup"}
    assert pod == {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "runAsGroup": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }
    assert "memory" in container["resources"]["limits"]
    assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
    assert all("hostPath" not in volume for volume in spec.get("volumes", ()))


def test_namespace_is_restricted_and_denies_what_no_policy_allows() -> None:
    (namespace,) = manifests("Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    (denial,) = (found for found in manifests("NetworkPolicy") if found["metadata"]["name"] == "default-deny")
    assert denial["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    for policy in manifests("NetworkPolicy"):
        for ingress in policy["spec"].get("ingress", ()):
            assert ingress["from"], policy["metadata"]["name"]
            assert ingress["ports"], policy["metadata"]["name"]


def test_admission_policies_know_the_terminal_phases_that_are_the_default() -> None:
    default = Settings.model_fields["terminal_phases"].default
    expected = sorted(phase.casefold() for phase in default)
    found = [
        sorted(yaml.safe_load(variable["expression"]))
        for policy in manifests("ValidatingAdmissionPolicy")
        for variable in policy["spec"].get("variables", ())
        if variable["name"] == "terminal"
    ]
    assert found == [expected, expected]


def test_admission_policies_exempt_the_operator_alone_and_by_its_name() -> None:
    exempt = {
        policy["metadata"]["name"]: policy["spec"]["matchConditions"]
        for policy in manifests("ValidatingAdmissionPolicy")
    }
    account = "system:serviceaccount:stormfold-system:stormfold"
    only = [{"name": "not-the-operator", "expression": f"request.userInfo.username != '{account}'"}]
    assert exempt == {f"stormfold-{name}": only for name in ("consumers", "gates", "objects")}


def test_component_steering_lets_the_operator_list_nodes_and_no_more() -> None:
    found = [
        role["rules"]
        for role in manifests("Role", "ClusterRole")
        if role["metadata"]["labels"]["app.kubernetes.io/component"] == "steering"
    ]
    assert found == [[{"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"]}]]
