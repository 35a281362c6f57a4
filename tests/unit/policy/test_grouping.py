"""groupBy picks the values of a group."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.harness.values import ARRIVAL, DEFAULT, NODE, POD, version

from stormfold.api.stormpolicy import PLAIN_KEYS
from stormfold.model.arrival import Arrival, Target
from stormfold.model.group import Group, PolicyId
from stormfold.policy.grouping import REMEMBERED, grouped_target, grouper, picker

UNTARGETED = replace(ARRIVAL, target=None)
OWN = PolicyId("StormPolicy", "shop", "own")


@pytest.mark.parametrize(
    ("key", "arrival", "expected"),
    [
        ("name", ARRIVAL, "PodDown"),
        ("namespace", ARRIVAL, "shop"),
        ("severity", ARRIVAL, "warning"),
        ("source", ARRIVAL, "alertmanager"),
        ("source", replace(ARRIVAL, source=""), ""),
        ("target.kind", ARRIVAL, "Pod"),
        ("target.name", ARRIVAL, "web-0"),
        ("target.kind", UNTARGETED, None),
        ("target.name", UNTARGETED, None),
        ("owner", ARRIVAL, "StatefulSet/shop/web"),
        ("target.owner", ARRIVAL, "StatefulSet/shop/web"),
        ("node", ARRIVAL, "worker-07"),
        ("owner", replace(ARRIVAL, owner=None), None),
        ("target.owner", replace(ARRIVAL, owner=None), None),
        ("node", replace(ARRIVAL, node=None), None),
        ("labels.app", ARRIVAL, "web"),
        ("labels.empty", ARRIVAL, ""),
        ("labels.absent", ARRIVAL, None),
        ("labels.a.b/c", replace(ARRIVAL, labels={"a.b/c": "d"}), "d"),
    ],
)
def test_key_has_a_value(key: str, arrival: Arrival, expected: str | None) -> None:
    assert picker(key)(arrival) == expected


@pytest.mark.parametrize("key", sorted(PLAIN_KEYS))
def test_every_key_that_a_policy_may_have_is_known(key: str) -> None:
    assert picker(key)(ARRIVAL)


@pytest.mark.parametrize("key", ["", "Name", "labels", "target", "target.uid"])
def test_nothing_has_a_value_of_a_key_that_only_another_version_knows(key: str) -> None:
    assert picker(key)(ARRIVAL) is None


@pytest.mark.parametrize(
    ("keys", "needs"),
    [
        (("name", "target.name", "labels.owner", "labels.node"), False),
        (("name", "owner"), True),
        (("target.owner",), True),
        (("node", "name"), True),
    ],
)
def test_policy_needs_owners_if_it_groups_by_owner_or_node(keys: tuple[str, ...], needs: bool) -> None:
    assert version(groupBy=keys).needs_owners is needs


def test_group_has_the_values_in_the_order_of_group_by() -> None:
    assert grouper(OWN, ("labels.absent", "name"), None)(ARRIVAL) == Group(
        OWN, (("labels.absent", None), ("name", "PodDown")), "shop"
    )


@pytest.mark.parametrize(
    ("policy", "named", "namespace", "expected"),
    [
        pytest.param(DEFAULT, None, "shop", "shop", id="that of the signal"),
        pytest.param(DEFAULT, "ops", "shop", "ops", id="that which a cluster policy names"),
        pytest.param(OWN, "ops", "shop", "shop", id="that of the policy, whatever it names"),
    ],
)
def test_request_lands_in_a_namespace(
    policy: PolicyId, named: str | None, namespace: str, expected: str
) -> None:
    arrival = replace(ARRIVAL, namespace=namespace)
    assert grouper(policy, ("name",), named)(arrival).request_namespace == expected


def test_groups_beyond_those_remembered_keep_their_names() -> None:
    group = grouper(DEFAULT, ("name",), None)
    arrivals = [replace(ARRIVAL, name=f"Trouble{number}") for number in range(REMEMBERED + 1)]
    names = [group(arrival).group_hash for arrival in arrivals]
    assert [group(arrival).group_hash for arrival in arrivals] == names
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param({"name": "PodDown", "namespace": "shop"}, POD, id="neither: of the first signal"),
        pytest.param({"node": "worker-07"}, NODE, id="a node"),
        pytest.param({"node": None}, POD, id="a node that is not known"),
        pytest.param(
            {"owner": "Deployment/shop/web"}, Target("apps/v1", "Deployment", "web", "shop"), id="an owner"
        ),
        pytest.param(
            {"name": "PodDown", "target.owner": "CronJob/shop/nightly"},
            Target("batch/v1", "CronJob", "nightly", "shop"),
            id="by its other name",
        ),
        pytest.param(
            {"node": "worker-07", "owner": "Rollout/shop/web"},
            Target("", "Rollout", "web", "shop"),
            id="an owner goes before a node; of another kind the version is not known",
        ),
        pytest.param({"owner": "Pod/shop/web-0"}, POD, id="a target that has no owner"),
        pytest.param({"owner": "Node/worker-07"}, NODE, id="an owner without a namespace"),
        pytest.param({"owner": None, "node": None}, POD, id="an owner that is not known"),
    ],
)
def test_group_is_about_the_owner_or_the_node_by_which_it_is_grouped(
    values: dict[str, str | None], expected: Target
) -> None:
    assert grouped_target(tuple(values.items()), POD) == expected


def test_owner_is_not_the_target_that_is_called_alike() -> None:
    target = Target("v2", "Deployment", "web", "shop")
    assert grouped_target((("owner", "Deployment/shop/my-web"),), target) == Target(
        "apps/v1", "Deployment", "my-web", "shop"
    )


def test_what_opens_a_storm_names_that_object() -> None:
    policy = version(groupBy=["node"])
    assert policy.opening(policy.group(ARRIVAL), ARRIVAL).target == NODE
