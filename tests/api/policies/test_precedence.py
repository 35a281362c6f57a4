"""Policies: which one governs a signal, and what becomes of one that none governs."""

from __future__ import annotations

from typing import Any

import pytest
from tests.harness.scene import Scene

BY_POLICY = "spec.name spec.policyRef.name status.phase status.signals.total"
REJECTED = "status.phase status.reason"


async def test_namespaced_policy_goes_before_cluster_then_priority_then_name(scene: Scene) -> None:
    names = {"names": [f"*-{scene.namespace}"]}
    ours = {"names": ["A-*", "B-*"]}
    await scene.cluster_policy(f"c-first-{scene.namespace}", priority=1000, match=names)
    await scene.cluster_policy(f"a-second-{scene.namespace}", priority=10, match=names)
    await scene.policy("low", priority=1, match=ours)
    await scene.policy("high-b", priority=2, match={"names": ["A-*"]})
    await scene.policy("high-a", priority=2, match={"names": ["A-*"]})
    for name in ("A", "B", "C"):
        await scene.signal(f"{name}-{scene.namespace}", "pod-0")
    await scene.requests_come_to(
        BY_POLICY,
        [
            (f"A-{scene.namespace}", "high-a", "Settled", 1),
            (f"B-{scene.namespace}", "low", "Settled", 1),
            (f"C-{scene.namespace}", f"c-first-{scene.namespace}", "Settled", 1),
        ],
    )


MATCHES = [
    pytest.param({"names": ["Kube*", "Node?"]}, ["Node1", "KubePod"], id="names by glob"),
    pytest.param({"severities": ["critical", "high"]}, ["KubePod"], id="severities"),
    pytest.param({"sources": ["prom*"]}, ["node1"], id="sources by glob"),
    pytest.param({"labelSelector": {"matchLabels": {"tier": "db"}}}, ["KubePod"], id="labels"),
    pytest.param(
        {"labelSelector": {"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["db"]}]}},
        ["Node1", "node1"],
        id="labels by expression",
    ),
    pytest.param({"names": ["Kube*"], "severities": ["warning"]}, [], id="what is given must all hold"),
    pytest.param({}, ["KubePod", "Node1", "node1"], id="nothing matches everything"),
]


@pytest.mark.parametrize(("match", "taken"), MATCHES)
async def test_policy_takes_the_signals_that_its_match_names(
    scene: Scene, match: dict[str, Any], taken: list[str]
) -> None:
    await scene.policy("chosen", priority=1, match=match)
    await scene.policy("rest")
    await scene.signal("KubePod", severity="critical", labels={"tier": "db"})
    await scene.signal("Node1", severity="warning")
    await scene.signal("node1", severity="info", source="prometheus", labels={"tier": "web"})
    await scene.requests_come_to(
        BY_POLICY,
        [
            (name, "chosen" if name in taken else "rest", "Settled", 1)
            for name in ("KubePod", "Node1", "node1")
        ],
    )


async def test_cluster_policy_selects_namespaces_by_their_labels(scene: Scene) -> None:
    inside = await scene.another_namespace(tenant=scene.namespace)
    outside = await scene.another_namespace(tenant="nobody")
    await scene.cluster_policy(
        f"tenants-{scene.namespace}",
        match={"namespaceSelector": {"matchLabels": {"tenant": scene.namespace}}},
    )
    await scene.pods("Trouble", 2, namespace=inside)
    await scene.comes_to((1, "Settled", 2), namespace=inside)
    await scene.pods("Trouble", 1, namespace=outside)
    await scene.signals_come_to(REJECTED, [("Rejected", "NoPolicyMatches")], namespace=outside)
    assert await scene.requests(outside) == []


async def test_two_policies_of_one_name_in_two_namespaces_open_two_storms(scene: Scene) -> None:
    other = await scene.another_namespace()
    await scene.policy(groupBy=["name"])
    await scene.policy(groupBy=["name"], namespace=other)
    await scene.pods("Trouble", 3)
    await scene.pods("Trouble", 2, namespace=other)
    [ours] = await scene.comes_to((1, "Settled", 3))
    [theirs] = await scene.comes_to((1, "Settled", 2), namespace=other)
    assert ours["spec"]["groupHash"] != theirs["spec"]["groupHash"]
