"""Policies: what becomes of storms when one changes, and what a policy is told about itself."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from tests.harness.eventually import eventually
from tests.harness.scene import Scene, at, rows

SAYS = "status.conditions.Accepted.reason status.conditions.Accepted.message"
BY_POLICY = "spec.name spec.policyRef.name status.phase status.signals.total"
REJECTED = "status.phase status.reason"


async def test_storm_goes_on_under_the_policy_that_opened_it_and_the_next_one_follows_the_change(
    scene: Scene,
) -> None:
    policy = await scene.policy(threshold={"signals": 3, "within": "1m"})
    await scene.pods("Trouble", 3, labels={"app": "web"})
    [first] = await scene.comes_to((1, "Settled", 3))
    changed = await scene.change_policy(
        policy, groupBy=["name", "labels.app"], threshold={"signals": 100, "within": "1m"}, closeAfter="1h"
    )
    assert at(changed, "status.observedGeneration") == 2
    accepted = "status.conditions.Accepted.lastTransitionTime"
    assert at(changed, accepted) == at(policy, accepted)
    await scene.pods("Trouble", 2, first=3, labels={"app": "web"})
    await scene.pods("Trouble", 2, first=5, labels={"app": "shop"})
    [grown] = await scene.comes_to((1, "Settled", 7))
    assert grown["spec"] == first["spec"]
    assert at(grown, "status.conditions.StormDetected.status") == "True"
    await scene.remediate(grown, phase="Succeeded")
    await scene.comes_to((1, "Closed", 7))
    await scene.pods("Trouble", 3, labels={"app": "web"})
    await scene.requests_come_to(
        "group status.phase status.signals.total spec.policyRef.generation "
        "status.conditions.StormDetected.status",
        [
            (("Trouble", scene.namespace), "Closed", 7, 1, "True"),
            (("Trouble", "web"), "Settled", 3, 2, "False"),
        ],
    )


async def test_storm_goes_on_when_its_policy_is_deleted_and_only_it_does(scene: Scene) -> None:
    policy = await scene.policy(belowThreshold="Discard", threshold={"signals": 2, "within": "3s"})
    await scene.pods("Trouble", 2)
    [request] = await scene.comes_to((1, "Settled", 2))
    await scene.api.delete("StormPolicy", policy["metadata"]["name"], scene.namespace)
    probes = itertools.count()

    async def fate() -> Any:
        probe = await scene.signal(f"Probe{next(probes)}", "pod-0")
        return at(await _marked(scene, probe["metadata"]["name"]), "status.reason")

    await eventually(fate, lambda reason: reason == "NoPolicyMatches", within=30)
    await scene.pods("Trouble", 2, first=2)
    await scene.comes_to((1, "Settled", 4))
    await scene.remediate(request, phase="Succeeded")
    await scene.comes_to((1, "Closed", 4))
    late = await scene.signal("Trouble", "pod-00009")
    await _come_to(scene, late, ("Rejected", "NoPolicyMatches"))
    await scene.comes_to((1, "Closed", 4))


async def test_storm_goes_on_when_its_policy_becomes_invalid_and_only_it_does(scene: Scene) -> None:
    policy = await scene.policy()
    await scene.pods("Trouble", 2)
    [request] = await scene.comes_to((1, "Settled", 2))
    invalid = await scene.change_policy(policy, accepted=False, match={"sources": [" prometheus"]})
    assert at(invalid, "status.conditions.Accepted.reason") == "GlobMatchesNothing"
    other = await scene.signal("Other", "pod-0")
    await _come_to(scene, other, ("Rejected", "NoPolicyMatches"))
    await scene.pods("Trouble", 2, first=2)
    [grown] = await scene.comes_to((1, "Settled", 4))
    assert grown["spec"] == request["spec"]
    await scene.remediate(request, phase="Succeeded")
    await scene.comes_to((1, "Closed", 4))
    mended = await scene.change_policy(policy, match={"sources": None})
    assert mended["metadata"]["generation"] == 3
    await scene.pods("Trouble", 1)
    await scene.comes_to((1, "Closed", 4), (2, "Settled", 1))


async def test_invalid_policy_does_not_stop_the_others(scene: Scene) -> None:
    await scene.policy("broken", accepted=False, priority=100, match={"names": ["Kube* "]})
    await scene.policy("sound")
    await scene.pods("Trouble", 2)
    await scene.requests_come_to(BY_POLICY, [("Trouble", "sound", "Settled", 2)])


async def test_severity_map_decides_what_is_counted_and_grouped_but_not_what_is_matched(scene: Scene) -> None:
    await scene.policy(
        match={"severities": ["warning", "info"]},
        groupBy=["name", "severity"],
        severityMap={"warning": "critical"},
    )
    await scene.signal("Trouble", "pod-0", severity="warning")
    await scene.signal("Trouble", "pod-1", severity="info")
    refused = await scene.signal("Trouble", "pod-2", severity="critical")
    await scene.requests_come_to(
        "group status.severity spec.severity status.phase status.signals.total",
        [
            (("Trouble", "critical"), "critical", "critical", "Settled", 1),
            (("Trouble", "info"), "info", "info", "Settled", 1),
        ],
    )
    await _come_to(scene, refused, ("Rejected", "NoPolicyMatches"))


FAULTY = [
    pytest.param({"match": {"names": [" Kube*"]}}, "GlobMatchesNothing", id="glob that begins with a blank"),
    pytest.param({"match": {"sources": ["[z-a]"]}}, "GlobMatchesNothing", id="glob with an empty range"),
    pytest.param(
        {"match": {"sources": ["?" * 63, "[ab]" * 15 + "?*?"]}}, None, id="long glob that can match"
    ),
    pytest.param({"groupBy": ["name", "labels. "]}, "EmptyLabelName", id="label without a name"),
    pytest.param({"groupBy": ["labels.a b"]}, "InvalidLabelName", id="label that cannot be"),
    pytest.param(
        {"match": {"labelSelector": {"matchLabels": {"a b": "c"}}}},
        "InvalidLabelName",
        id="selector of a label that cannot be",
    ),
]


@pytest.mark.parametrize(("spec", "reason"), FAULTY)
async def test_senseless_policy_is_told_so_in_a_condition_and_an_event(
    scene: Scene, spec: dict[str, Any], reason: str | None
) -> None:
    policy = await scene.policy(accepted=reason is None, **spec)
    accepted = "status.conditions.Accepted"
    assert rows([policy], f"{accepted}.reason status.observedGeneration") == [(reason or "Valid", 1)]
    await scene.events_come_to(policy, [("Warning", reason)] if reason else [])


async def test_policy_condition_follows_each_change(scene: Scene) -> None:
    policy = await scene.policy(accepted=False, match={"names": ["Kube "]})
    mended = await scene.change_policy(policy, match={"names": ["Kube*"]})
    says = "status.observedGeneration status.conditions.Accepted.reason status.conditions.Accepted.message"
    assert rows([mended], says) == [(2, "Valid", "the policy is in force")]
    broken = await scene.change_policy(policy, accepted=False, groupBy=["labels. "])
    said = "groupBy: must name a label after 'labels.'. See https://stormfold.dev/reasons/#EmptyLabelName"
    assert rows([broken], says) == [(3, "EmptyLabelName", said)]
    await scene.events_come_to(policy, [("Warning", "GlobMatchesNothing"), ("Warning", "EmptyLabelName")])


async def test_request_is_made_when_the_namespace_for_it_is(scene: Scene) -> None:
    later = f"{scene.namespace}-later"
    await scene.cluster_policy(
        f"later-{scene.namespace}",
        match={"names": [f"Of-{scene.namespace}"]},
        groupBy=["name"],
        requestNamespace=later,
    )
    await scene.policy(match={"names": ["Barrier"]})
    await scene.pods(f"Of-{scene.namespace}", 3)
    await scene.pods("Barrier", 1)
    await scene.comes_to((1, "Settled", 1))
    await scene.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": later}})
    await scene.comes_to((1, "Settled", 3), namespace=later)
    await scene.comes_to((1, "Settled", 1))


async def test_policy_is_told_at_once_that_its_request_namespace_does_not_exist(scene: Scene) -> None:
    later, name = f"{scene.namespace}-later", f"later-{scene.namespace}"
    policy = await scene.cluster_policy(
        name, match={"names": [f"Of-{scene.namespace}"]}, groupBy=["name"], requestNamespace=later
    )
    missing = (
        f"requestNamespace '{later}' does not exist, so the policy makes no requests: create it, or change "
        "requestNamespace"
    )
    said = (
        f"the policy is in force, but {missing}. See https://stormfold.dev/reasons/#RequestNamespaceNotFound"
    )
    assert rows([policy], SAYS) == [("RequestNamespaceNotFound", said)]
    await scene.events_come_to(policy, [("Warning", "RequestNamespaceNotFound")], namespace="default")
    [line] = [line for line in scene.operator.log_lines() if line.get("policy") == name]
    assert (line["level"], line["reason"], line["why"]) == ("WARNING", "RequestNamespaceNotFound", missing)
    await scene.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": later}})
    await _comes_to_say(scene, policy, "Valid", "the policy is in force")
    await scene.events_come_to(policy, [("Warning", "RequestNamespaceNotFound")], namespace="default")


async def test_policies_of_equal_priority_that_match_the_same_name_each_other(scene: Scene) -> None:
    first = await scene.policy("a-first", match={"names": ["Kube*"]})
    second = await scene.policy("b-second")
    said = "the policy is in force, but policies of equal priority (0) can match the same signals, so that "
    said += f"their names decide: StormPolicy/{scene.namespace}"
    end = "priority. See https://stormfold.dev/reasons/#EqualPriority"
    await _comes_to_say(scene, first, "EqualPriority", f"{said}/b-second goes after this one; set {end}")
    await _comes_to_say(scene, second, "EqualPriority", f"{said}/a-first goes before this one; set {end}")
    await scene.events_come_to(first, [("Warning", "EqualPriority")])
    await scene.pods("KubePod", 1)
    await scene.requests_come_to(BY_POLICY, [("KubePod", "a-first", "Settled", 1)])
    await scene.change_policy(second, priority=1)
    for policy in (first, second):
        await _comes_to_say(scene, policy, "Valid", "the policy is in force")


async def test_glob_that_looks_like_a_regular_expression_is_said_and_is_a_glob(scene: Scene) -> None:
    policy = await scene.policy(match={"names": ["Kube.*"]})
    said = (
        "the policy is in force, but match.names: 'Kube.*' looks like a regular expression, but is a glob: "
    )
    said += "write * for any characters, ? for one, and one entry for each alternative. "
    said += "See https://stormfold.dev/reasons/#GlobLooksLikeRegex"
    assert rows([policy], SAYS) == [("GlobLooksLikeRegex", said)]
    await scene.events_come_to(policy, [("Warning", "GlobLooksLikeRegex")])
    await scene.signal("KubePod")
    await scene.signals_come_to(REJECTED, [("Rejected", "NoPolicyMatches")])
    mended = await scene.change_policy(policy, match={"names": ["Kube*"]})
    assert rows([mended], SAYS) == [("Valid", "the policy is in force")]


async def test_policy_says_how_many_signals_lack_a_key_until_it_is_changed(scene: Scene) -> None:
    policy = await scene.policy(groupBy=["name", "labels.rack"])
    await scene.pods("Trouble", 2, labels={"rack": "1"})
    await scene.comes_to((1, "Settled", 2))
    name = policy["metadata"]["name"]
    where = "status.conditions.GroupValueMissing"
    of = f"{where}.status {where}.reason {where}.observedGeneration {where}.message"

    async def said() -> Any:
        return rows([await scene.api.get("StormPolicy", name, scene.namespace)], of)[0]

    assert await said() == (None, None, None, None)
    await scene.signal("Trouble", "pod-of-no-rack")
    message = (
        "groupBy: 1 signal without labels.rack. They go to the next policy whose keys they all have, or form "
        "a group of their own. Group by a key that they have, or let match select only signals that have it. "
        "See https://stormfold.dev/reasons/#GroupValueMissing"
    )
    missing = ("True", "GroupValueMissing", 1, message)
    await eventually(said, lambda seen: seen == missing, within=30)
    await scene.events_come_to(policy, [("Warning", "GroupValueMissing")])
    await scene.change_policy(policy, groupBy=["name"])
    there = (
        "False",
        "GroupValuesThere",
        2,
        "no signal has lacked a key of groupBy since the policy was changed",
    )
    assert await said() == there
    await scene.signal("Other", "pod-of-no-rack")
    await scene.comes_to((1, "Settled", 1), (1, "Settled", 2), (1, "Settled", 1))
    assert await said() == there


@pytest.mark.parametrize(
    ("missing_keys", "by"),
    [
        pytest.param({}, {"a-rack": 2, "default": 3}, id="the next policy, by default"),
        pytest.param({"missingKeys": "NextPolicy"}, {"a-rack": 2, "default": 3}, id="NextPolicy"),
        pytest.param({"missingKeys": "Group"}, {"a-rack": 2, "a-rack without": 3}, id="Group"),
    ],
)
async def test_signals_that_lack_a_key_go_where_the_policy_says(
    scene: Scene, missing_keys: dict[str, str], by: dict[str, int]
) -> None:
    rack = await scene.policy("a-rack", groupBy=["labels.rack"], priority=1, **missing_keys)
    await scene.policy("default", groupBy=["name"])
    await scene.pods("Trouble", 2, labels={"rack": "1"})
    await scene.pods("Trouble", 3, labels={"other": "1"})

    async def counted() -> dict[str, int]:
        requests = await scene.requests()
        return {
            request["spec"]["policyRef"]["name"]
            + (" without" if at(request, "group") == (None,) else ""): request["status"]["signals"]["total"]
            for request in requests
            if "status" in request
        }

    await eventually(counted, lambda seen: seen == by, within=30)
    await eventually(
        lambda: scene.api.get("StormPolicy", rack["metadata"]["name"], scene.namespace),
        lambda seen: str(at(seen, "status.conditions.GroupValueMissing.message")).startswith(
            "groupBy: 3 signals without labels.rack. They "
        ),
        within=30,
    )


async def test_namespace_that_gets_the_selected_label_is_governed_from_then_on(scene: Scene) -> None:
    await scene.cluster_policy(
        f"tenants-{scene.namespace}",
        match={"namespaceSelector": {"matchLabels": {"tenant": scene.namespace}}},
    )
    await scene.signal("Early")
    await scene.signals_come_to(REJECTED, [("Rejected", "NoPolicyMatches")])
    await scene.api.patch(
        "Namespace", scene.namespace, None, {"metadata": {"labels": {"tenant": scene.namespace}}}
    )
    probes = itertools.count()

    async def fate() -> Any:
        probe = await scene.signal("Trouble", f"pod-{next(probes)}")
        return at(await _marked(scene, probe["metadata"]["name"]), "status.phase")

    await eventually(fate, lambda phase: phase == "Folded", within=30)
    await scene.signal("Trouble", "last")
    [request] = await scene.requests_come_to(
        "spec.name status.phase status.signals.total", [("Trouble", "Settled", 2)]
    )
    assert at(request, "spec.policyRef.name") == f"tenants-{scene.namespace}"


async def _marked(scene: Scene, name: str) -> Any:
    return await eventually(
        lambda: scene.api.get("Signal", name, scene.namespace),
        lambda seen: at(seen, "status.phase"),
        within=30,
    )


async def _comes_to_say(scene: Scene, policy: dict[str, Any], reason: str, message: str) -> None:
    """Wait until the policy's Accepted condition says this; sooner than all policies are read again."""
    metadata = policy["metadata"]
    await eventually(
        lambda: scene.api.get(policy["kind"], metadata["name"], metadata.get("namespace")),
        lambda seen: rows([seen], SAYS) == [(reason, message)],
        within=30,
        what=f"{metadata['name']} says {reason}",
    )


async def _come_to(scene: Scene, signal: dict[str, Any], expected: tuple[str, str]) -> None:
    seen = await _marked(scene, signal["metadata"]["name"])
    assert rows([seen], REJECTED) == [expected]
