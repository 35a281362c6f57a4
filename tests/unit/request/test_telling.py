"""What people read first of a request."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.harness.values import ARRIVAL, NODE, POD, SNAPSHOT, version

from stormfold.api.remediationrequest import Display, GroupValue, RemediationRequestSpec
from stormfold.model.evidence import NameCount
from stormfold.request.rendering import manifest
from stormfold.request.telling import GROUP_WIDTH, SUMMARY_WIDTH, WHAT_WIDTH, display, summary

OWN = version()
SPEC = RemediationRequestSpec.model_validate(
    manifest(SNAPSHOT, OWN.opening(OWN.group(ARRIVAL), ARRIVAL))["spec"]
)


def spec(name: str = "KubePodNotReady", /, **group: str | None) -> RemediationRequestSpec:
    values = tuple(GroupValue(key=key.replace("_", "."), value=value) for key, value in group.items())
    return SPEC.model_copy(update={"name": name, "group": values})


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        pytest.param(
            spec("PodDown", name="PodDown", namespace="shop"), Display(what="PodDown"), id="the default"
        ),
        pytest.param(
            spec("PodDown", name="PodDown", namespace="web"), Display(what="PodDown", group="web"),
            id="of another namespace",
        ),
        pytest.param(
            spec(name="KubePodNotReady", node="worker-7"), Display(what="KubePodNo~", group="worker-7"),
            id="a long name, and a node",
        ),
        pytest.param(
            spec(owner="Deployment/shop/checkout"), Display(what="KubePodNo~", group="checkout"),
            id="an owner",
        ),
        pytest.param(
            spec(labels_team="pay", labels_zone="eu-1"), Display(what="KubePodNo~", group="pay,eu-1"),
            id="two labels",
        ),
        pytest.param(
            spec(labels_team=None, labels_zone="eu-west"), Display(what="KubePodNo~", group="none,eu-~"),
            id="a label that is missing",
        ),
    ],
)  # fmt: skip
def test_columns_say_what_and_where(said: RemediationRequestSpec, shown: Display) -> None:
    assert display(said, "shop") == shown


def test_storm_without_a_signal_is_told_by_what_still_fires() -> None:
    again = replace(SNAPSHOT, still_firing=True, total=0, firing=6)
    assert summary(again, {}) == "6 alerts of the request before still firing"
    assert summary(replace(again, firing=0), {}) == "all alerts of the request before have resolved"
    assert summary(replace(again, total=1, resource_count=1), {}).startswith("1 signal on ")


def test_line_of_kubectl_get_has_at_most_100_columns_and_the_severity_ends_before_the_80th() -> None:
    name = len("storm-0123456789abcdef-1")
    widths = [name, WHAT_WIDTH, GROUP_WIDTH, len("Settled"), len("FIRING"), len("critical")]
    gaps = 3 * len(widths)
    assert sum(widths) + gaps - 3 < 80
    assert sum(widths) + gaps + len("REMEDIATION") + 3 + len("359d") <= 100


PODS = tuple((replace(POD, name=f"web-{number}"), 1) for number in range(14))
MANY = {f"Alert{number:03}-{'x' * 40}": NameCount(40 - number) for number in range(10)}


@pytest.mark.parametrize(
    ("storm", "names", "sentence"),
    [
        pytest.param(
            {"total": 14, "resources": PODS}, {"PodDown": NameCount(14)}, "14 signals on 14 pods: PodDown",
            id="pods",
        ),
        pytest.param(
            {"total": 1, "resources": PODS[:1]}, {"PodDown": NameCount(1)}, "1 signal on 1 pod: PodDown",
            id="one pod",
        ),
        pytest.param(
            {"total": 20, "resources": (*PODS, (NODE, 6))},
            {"PodDown": NameCount(14), "NodeDown": NameCount(6)},
            "20 signals on 15 resources: PodDown 14, NodeDown 6",
            id="pods and a node",
        ),
        pytest.param(
            {"total": 900, "resources": PODS, "resource_count": 480, "truncated": True},
            {"PodDown": NameCount(900)},
            "900 signals on about 480 resources: PodDown",
            id="more than are listed",
        ),
        pytest.param(
            {"total": 3, "resources": ()}, {"TargetDown": NameCount(3)}, "3 signals: TargetDown",
            id="about no object",
        ),
        pytest.param(
            {"total": 9, "resources": ()}, {"A": NameCount(5, 2), "B": NameCount(2)},
            "9 signals: A 5+, B 2, others", id="not all are counted by name",
        ),
        pytest.param(
            {"total": 355, "resources": ()}, MANY,
            "355 signals: " + ", ".join(f"{name} {of.signals}" for name, of in list(MANY.items())[:4])
            + ", others", id="more names than fit",
        ),
    ],
)  # fmt: skip
def test_summary_says_what_of_what_in_one_line(
    storm: dict[str, Any], names: dict[str, NameCount], sentence: str
) -> None:
    snapshot = replace(SNAPSHOT, **{"resource_count": len(storm["resources"])} | storm)
    assert summary(snapshot, names) == sentence
    assert len(sentence) <= SUMMARY_WIDTH
