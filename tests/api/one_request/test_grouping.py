"""Which Signals are one storm, as the policy says."""

from __future__ import annotations

import pytest
from tests.harness.scene import Scene

GROUPINGS = [
    pytest.param(["name"], [(("A",), 4), (("B",), 1)], id="by name"),
    pytest.param(
        ["labels.app"], [(("",), 1), (("web",), 3), ((None,), 1)], id="a missing label is its own value"
    ),
    pytest.param(
        ["name", "labels.app"],
        [(("A", ""), 1), (("A", "web"), 2), (("A", None), 1), (("B", "web"), 1)],
        id="by name and label",
    ),
    pytest.param(["severity"], [(("critical",), 2), (("unknown",), 3)], id="by severity"),
    pytest.param(["source"], [(("",), 4), (("prometheus",), 1)], id="by source"),
    pytest.param(["target.kind"], [(("Node",), 1), (("Pod",), 1), ((None,), 3)], id="by kind of target"),
    pytest.param(["target.name"], [(("web-1",), 2), ((None,), 3)], id="by name of target"),
]


@pytest.mark.parametrize(("keys", "groups"), GROUPINGS)
async def test_signals_are_grouped_as_the_policy_says(
    scene: Scene, keys: list[str], groups: list[tuple[tuple[str | None, ...], int]]
) -> None:
    await scene.policy(groupBy=keys)
    await scene.signal("A", labels={"app": "web"}, target={"kind": "Pod", "name": "web-1"})
    await scene.signal("A", labels={"app": "web"}, target={"kind": "Node", "name": "web-1"})
    await scene.signal("A", labels={"app": ""}, severity="critical")
    await scene.signal("A", labels={"other": "web"}, severity="critical")
    await scene.signal("B", labels={"app": "web"}, source="prometheus")
    found = await scene.requests_come_to(
        "group status.phase status.signals.total", [(values, "Settled", total) for values, total in groups]
    )
    assert {tuple(item["key"] for item in r["spec"]["group"]) for r in found} == {tuple(keys)}


async def test_namespaces_are_separate_storms_if_the_group_contains_them(scene: Scene) -> None:
    other = await scene.another_namespace()
    await scene.cluster_policy(f"separate-{scene.namespace}", match={"names": [f"Of-{scene.namespace}"]})
    await scene.pods(f"Of-{scene.namespace}", 3)
    await scene.pods(f"Of-{scene.namespace}", 2, namespace=other)
    await scene.comes_to((1, "Settled", 3))
    await scene.comes_to((1, "Settled", 2), namespace=other)


async def test_namespaces_are_one_storm_if_the_group_does_not_contain_them(scene: Scene) -> None:
    other, third = await scene.another_namespace(), await scene.another_namespace()
    await scene.cluster_policy(
        f"joint-{scene.namespace}",
        match={"names": [f"Of-{scene.namespace}"]},
        groupBy=["name"],
        requestNamespace=third,
    )
    await scene.pods(f"Of-{scene.namespace}", 3)
    await scene.pods(f"Of-{scene.namespace}", 2, namespace=other)
    await scene.comes_to((1, "Settled", 5), namespace=third)
    assert (await scene.requests(), await scene.requests(other)) == ([], [])
