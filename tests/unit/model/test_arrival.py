"""What tells occurrences and instances apart."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.harness.values import ARRIVAL, NODE, POD

from stormfold.api.signal import Severity
from stormfold.model.arrival import SEVERITIES, Arrival, Target, object_target

BARE = replace(ARRIVAL, target=None)


# Redis keeps these ids: with other digits, what was counted before an upgrade would be counted again.
def test_occurrence_is_one_generation_of_one_resource() -> None:
    ref = ARRIVAL.ref
    assert ARRIVAL.occurrence == "NDSL1mJp24Q"
    assert replace(ARRIVAL, ref=replace(ref, resource_version=999)).occurrence == ARRIVAL.occurrence
    assert replace(ARRIVAL, ref=replace(ref, generation=2)).occurrence != ARRIVAL.occurrence
    assert replace(ARRIVAL, ref=replace(ref, uid="uid-2")).occurrence != ARRIVAL.occurrence


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(ARRIVAL, replace(ARRIVAL, firing=False), id="firing and resolved"),
        pytest.param(ARRIVAL, replace(ARRIVAL, severity=Severity.INFO), id="another severity"),
        pytest.param(ARRIVAL, replace(ARRIVAL, labels={}), id="a target makes labels irrelevant"),
        pytest.param(
            replace(ARRIVAL, fingerprint="f"),
            replace(BARE, fingerprint="f", name="Other", labels={}),
            id="the same fingerprint, whatever else",
        ),
        pytest.param(
            replace(BARE, labels={"a": "1", "b": "2"}),
            replace(BARE, labels={"b": "2", "a": "1"}),
            id="labels in another order",
        ),
    ],
)
def test_one_instance(one: Arrival, other: Arrival) -> None:
    assert one.instance == other.instance


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(ARRIVAL, replace(ARRIVAL, name="Other"), id="another name"),
        pytest.param(ARRIVAL, replace(ARRIVAL, target=NODE), id="another target"),
        pytest.param(ARRIVAL, replace(ARRIVAL, target=replace(POD, namespace="ops")), id="another namespace"),
        pytest.param(BARE, replace(BARE, name="Other"), id="another name without a target"),
        pytest.param(BARE, replace(BARE, labels={"app": "api"}), id="another label without a target"),
        pytest.param(
            replace(ARRIVAL, fingerprint="f"), replace(ARRIVAL, fingerprint="g"), id="another fingerprint"
        ),
        pytest.param(BARE, ARRIVAL, id="with and without a target"),
        pytest.param(
            replace(ARRIVAL, target=NODE),
            replace(ARRIVAL, target=NODE, namespace="other"),
            id="another team about the same node",
        ),
        pytest.param(BARE, replace(BARE, namespace="other"), id="another team without a target"),
        pytest.param(
            replace(ARRIVAL, fingerprint="f"),
            replace(ARRIVAL, fingerprint="f", namespace="other"),
            id="another team with the same fingerprint",
        ),
    ],
)
def test_two_instances(one: Arrival, other: Arrival) -> None:
    assert one.instance != other.instance


@given(st.text(min_size=1))
def test_instance_doubled_and_one_more_is_exact_as_a_double(fingerprint: str) -> None:
    instance = replace(ARRIVAL, fingerprint=fingerprint).instance
    assert 0 <= instance < 2**46
    assert int(float(instance * 2 + 1)) == instance * 2 + 1


def test_severities_are_in_the_order_of_the_ranks_that_redis_stores() -> None:
    assert SEVERITIES == (
        Severity.UNKNOWN,
        Severity.INFO,
        Severity.WARNING,
        Severity.HIGH,
        Severity.CRITICAL,
    )
    assert [severity.rank for severity in SEVERITIES] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("api_version", "kind", "namespace"),
    [
        ("v1", "Node", None),
        ("v1", "Namespace", None),
        ("v1", "PersistentVolume", None),
        ("storage.k8s.io/v1", "StorageClass", None),
        ("v1", "StorageClass", None),
        ("rbac.authorization.k8s.io/v1", "ClusterRole", None),
        ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", None),
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition", None),
        ("networking.k8s.io/v1", "IngressClass", None),
        ("scheduling.k8s.io/v1beta1", "PriorityClass", None),
        ("longhorn.io/v1beta2", "Node", "shop"),
        ("v1", "Pod", "shop"),
        ("rbac.authorization.k8s.io/v1", "Role", "shop"),
        ("", "Instance", "shop"),
    ],
)
def test_kind_without_namespaces_has_none(api_version: str, kind: str, namespace: str | None) -> None:
    assert object_target(api_version, kind, "x", "shop") == Target(api_version, kind, "x", namespace)


@pytest.mark.parametrize(
    ("labels", "places"),
    [
        pytest.param({}, 1, id="none"),
        pytest.param({"app": "web", "node": "worker-7"}, 1, id="few"),
        pytest.param({f"label-{n:03}": "x" * 247 for n in range(64)}, 14, id="all long"),
        pytest.param({f"{n:04}": "x" for n in range(64)}, 3, id="many and all short"),
        pytest.param(
            {f"label-{n:03}": "\U0001f525" * 247 for n in range(64)}, 45, id="four bytes a character"
        ),
        pytest.param({"é" * 100: ""}, 1, id="a name counts as well"),
    ],
)
def test_places_of_an_arrival_grow_with_its_labels(labels: dict[str, str], places: int) -> None:
    assert replace(ARRIVAL, labels=labels).places == places
