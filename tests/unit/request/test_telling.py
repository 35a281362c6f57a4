"""What people read first of a request."""

from __future__ import annotations

import pytest
from tests.harness.values import ARRIVAL, SNAPSHOT, version

from stormfold.api.remediationrequest import AffectedResource, Display, GroupValue, RemediationRequestSpec
from stormfold.request.rendering import manifest
from stormfold.request.telling import GROUP_WIDTH, WHAT_WIDTH, counted, display

OWN = version()
SPEC = RemediationRequestSpec.model_validate(
    manifest(SNAPSHOT, OWN.opening(OWN.group(ARRIVAL), ARRIVAL))["spec"]
)
PODS = tuple(AffectedResource(kind="Pod", name=f"web-{number}") for number in range(14))
NODE = AffectedResource(kind="Node", name="worker-7")


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


def test_line_of_kubectl_get_has_at_most_100_columns_and_the_severity_ends_before_the_80th() -> None:
    name = len("storm-0123456789abcdef-1")
    widths = [name, WHAT_WIDTH, GROUP_WIDTH, len("Settled"), len("FIRING"), len("critical")]
    gaps = 3 * len(widths)
    assert sum(widths) + gaps - 3 < 80
    assert sum(widths) + gaps + len("REMEDIATION") + 3 + len("359d") <= 100


@pytest.mark.parametrize(
    ("said", "signals", "resources", "listed", "sentence"),
    [
        pytest.param(
            spec(name="KubePodNotReady"), 14, 14, PODS,
            "KubePodNotReady ×14 on 14 pods (policy default)", id="pods",
        ),
        pytest.param(
            spec(name="KubePodNotReady"), 14, 1, PODS[:1],
            "KubePodNotReady ×14 on 1 pod (policy default)", id="one pod",
        ),
        pytest.param(
            spec(name="KubePodNotReady"), 20, 15, (*PODS, NODE),
            "KubePodNotReady ×20 on 15 resources (policy default)", id="pods and a node",
        ),
        pytest.param(
            spec(name="KubePodNotReady"), 900, 480, PODS,
            "KubePodNotReady ×900 on 480 resources (policy default)", id="more than are listed",
        ),
        pytest.param(
            spec("TargetDown", name="TargetDown"), 3, 0, (),
            "TargetDown ×3 (policy default)", id="about no object",
        ),
        pytest.param(
            spec("NodeDown", node="worker-7"), 14, 14, PODS,
            "NodeDown and others ×14 on 14 pods (policy default)", id="signals of several names",
        ),
        pytest.param(
            spec("NodeDown", node="worker-7"), 1, 1, (NODE,),
            "NodeDown ×1 on 1 node (policy default)", id="one signal",
        ),
    ],
)  # fmt: skip
def test_events_say_what_of_what_and_under_which_policy(
    said: RemediationRequestSpec,
    signals: int,
    resources: int,
    listed: tuple[AffectedResource, ...],
    sentence: str,
) -> None:
    policy = said.policy_ref.model_copy(update={"name": "default"})
    said = said.model_copy(update={"policy_ref": policy})
    assert counted(said, signals=signals, resources=resources, listed=listed) == sentence
