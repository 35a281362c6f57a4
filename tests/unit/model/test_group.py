"""A group has the same group_hash for ever, and no two groups share one."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.harness.values import DEFAULT

from stormfold.model.group import PARTITIONS, Group, PolicyId, group_hash, partition

TEXT = st.text(max_size=6) | st.sampled_from(["", "-", "0:", "1:a", "name", "labels.a"])
POLICIES = st.builds(PolicyId, st.sampled_from(["StormPolicy", "ClusterStormPolicy"]), TEXT, TEXT)
VALUES = st.lists(st.tuples(TEXT, st.none() | TEXT), max_size=4).map(tuple)


# Requests are named by these digits and Redis keys carry them: a changed value is a storm that nobody
# continues.
@pytest.mark.parametrize(
    ("policy", "values", "expected"),
    [
        pytest.param(
            DEFAULT, (("name", "PodDown"), ("namespace", "shop")), "8e6f6e8d7058e2ea", id="the default"
        ),
        pytest.param(
            PolicyId("StormPolicy", "shop", "own"),
            (("labels.node", None),),
            "54d69b6f1f495f13",
            id="a missing value",
        ),
        pytest.param(
            PolicyId("StormPolicy", "shop", "own"),
            (("labels.node", ""),),
            "0857d5343a69165f",
            id="an empty value",
        ),
        pytest.param(
            PolicyId("StormPolicy", "läden", "eigene"),
            (("name", "Gerät weg ⚡"),),
            "1d9fbb6a912f7f25",
            id="no ASCII",
        ),
        pytest.param(DEFAULT, (), "7d1ea2adfe09d916", id="no values"),
    ],
)
def test_group_hash_is_the_one_of_every_release(
    policy: PolicyId, values: tuple[tuple[str, str | None], ...], expected: str
) -> None:
    assert group_hash(policy, values) == expected
    assert Group(policy, values, "shop").group_hash == expected


@given(POLICIES, VALUES, POLICIES, VALUES)
def test_two_groups_share_a_group_hash_only_if_they_are_one(
    policy: PolicyId,
    values: tuple[tuple[str, str | None], ...],
    other_policy: PolicyId,
    other_values: tuple[tuple[str, str | None], ...],
) -> None:
    same = (policy, values) == (other_policy, other_values)
    assert (group_hash(policy, values) == group_hash(other_policy, other_values)) == same


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param((("a", None),), (("a", ""),), id="missing and empty"),
        pytest.param((("a", None),), (("a", "-"),), id="missing and its sign"),
        pytest.param((("a", "b"), ("c", "d")), (("a", "b1:c1:d"),), id="a value that looks like parts"),
        pytest.param((("ab", "c"),), (("a", "bc"),), id="a border moved"),
        pytest.param((("a", "1"), ("b", "2")), (("b", "2"), ("a", "1")), id="another order"),
    ],
)
def test_values_that_look_alike_are_different_groups(
    one: tuple[tuple[str, str | None], ...], other: tuple[tuple[str, str | None], ...]
) -> None:
    assert group_hash(DEFAULT, one) != group_hash(DEFAULT, other)


@pytest.mark.parametrize(
    "other",
    [
        replace(DEFAULT, kind="StormPolicy"),
        replace(DEFAULT, namespace="default", name=""),
        replace(DEFAULT, name="defaul"),
    ],
    ids=str,
)
def test_every_part_of_the_policy_is_in_the_group_hash(other: PolicyId) -> None:
    assert group_hash(other, ()) != group_hash(DEFAULT, ())


def test_where_requests_land_is_not_in_the_group_hash() -> None:
    group = Group(DEFAULT, (("name", "PodDown"),), "shop")
    assert replace(group, request_namespace="ops").group_hash == group.group_hash


@pytest.mark.parametrize(
    ("of", "expected"),
    [("0000000000000000", 0), ("000000000000003f", 63), ("0000000000000040", 0), ("ffffffffffffffff", 63)],
)
def test_partition_is_the_group_hash_modulo_64(of: str, expected: int) -> None:
    assert partition(of) == expected


def test_groups_spread_over_all_partitions() -> None:
    found = {Group(DEFAULT, (("name", str(n)),), "shop").partition for n in range(1000)}
    assert found == set(range(PARTITIONS))


@pytest.mark.parametrize(
    ("policy", "text"),
    [
        (DEFAULT, "ClusterStormPolicy/default"),
        (PolicyId("StormPolicy", "shop", "own"), "StormPolicy/shop/own"),
    ],
)
def test_policy_is_written_without_empty_parts(policy: PolicyId, text: str) -> None:
    assert str(policy) == text
