"""Whom the operator may tell of storms, as the NetworkPolicies of a user say. What a network plugin makes of
them is not tried: that of the end-to-end tests enforces none."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from tests.harness.helm import NAMESPACE as RELEASE
from tests.harness.helm import Helm
from tests.harness.manifests import NAMESPACE, ROOT, Manifest, named, of_kind, patched, rendered

OPERATOR = {"app.kubernetes.io/name": "stormfold", "app.kubernetes.io/component": "operator"}
ALERTMANAGERS = {"namespaceSelector": {"matchLabels": {"stormfold.dev/alerts": "true"}}}


def spec(*ports: int) -> dict[str, Any]:
    """That of the policy for these ports of Alertmanagers."""
    return {
        "podSelector": {"matchLabels": OPERATOR},
        "policyTypes": ["Egress"],
        "egress": [{"to": [ALERTMANAGERS], "ports": [{"port": port} for port in ports]}],
    }


def leading_out(objects: list[Manifest]) -> list[Manifest]:
    """The policies that let the operator reach another namespace."""
    found = []
    for policy in of_kind(objects, "NetworkPolicy"):
        peers = [peer for rule in policy["spec"].get("egress", ()) for peer in rule.get("to", ())]
        if any("namespaceSelector" in peer for peer in peers):
            found.append(policy)
    return found


@pytest.mark.parametrize("overlay", ["standalone", "ha"])
def test_component_notify_opens_the_way_to_alertmanagers_and_nothing_else_does(overlay: str) -> None:
    without = rendered(overlay, "alertmanager", "monitoring")
    objects = rendered(overlay, "alertmanager", "monitoring", "notify")
    assert [found for found in objects if found not in without] == [
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {
                "name": "stormfold-notify",
                "namespace": NAMESPACE,
                "labels": {**OPERATOR, "app.kubernetes.io/part-of": "stormfold"},
            },
            "spec": spec(9093),
        }
    ]
    assert leading_out(without) == []


async def test_chart_opens_the_ports_of_alertmanagers_if_notify_says_so(helm: Helm) -> None:
    without = {"alertmanager": {"enabled": True}, "monitoring": {"enabled": True}}
    assert leading_out(await helm.rendered(without)) == []
    (policy,) = leading_out(await helm.rendered({**without, "notify": {"enabled": True}}))
    assert (policy["metadata"]["name"], policy["metadata"]["namespace"]) == ("stormfold-notify", RELEASE)
    assert policy["spec"] == spec(9093)
    objects = await helm.rendered({"notify": {"enabled": True, "ports": [8080, 9093]}})
    assert named(objects, "NetworkPolicy", "stormfold-notify")["spec"] == spec(8080, 9093)


def test_patch_in_the_docs_opens_another_port() -> None:
    (block,) = re.findall(r"```yaml\n(patches:\n.*?)```", (ROOT / "docs/notify.md").read_text(), re.DOTALL)
    objects = patched(yaml.safe_load(block), "ha", "notify")
    assert named(objects, "NetworkPolicy", "stormfold-notify")["spec"] == spec(8080)
