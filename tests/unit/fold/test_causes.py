"""What scripts are told of the values that may explain a storm, and what is read of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import orjson
import pytest
from tests.harness.folding import alert, event, signal
from tests.harness.values import NODE, cluster_version, version

from stormfold.api.stormpolicy import PolicySpec
from stormfold.fold.causes import Piece, causes_arg, counted_of, pieces, seen_of
from stormfold.model.arrival import Arrival
from stormfold.model.causes import Counted
from stormfold.model.evidence import SHOWN_NAME_BYTES, NameCount
from stormfold.policy.causes import DEFAULT, counted_causes

NODES = counted_causes(PolicySpec.model_validate({"causes": ["node"]}))


def on(*nodes: str, like: Arrival | None = None) -> list[Arrival]:
    """Signals, or others, each about a pod on one of these nodes; of an empty one it is not known."""
    like = like or signal(1)
    return [replace(like, node=node or None) for node in nodes]


def test_sum_tells_the_most_frequent_values_and_how_many_at_most_have_another_one() -> None:
    text = causes_arg(NODES, on(*"aaabbccddeef", ""))
    assert orjson.loads(text) == [13, ["node", ["a", "b", "c", "d"], [3, 2, 2, 2], 2]]
    assert list(pieces(text)) == [Piece("node", 13, {"a": 3, "b": 2, "c": 2, "d": 2}, 2)]


def test_of_alerts_a_digit_tells_which_value_each_has() -> None:
    text = causes_arg(NODES, on("b", "a", "", "a", like=alert("x")))
    assert orjson.loads(text) == [4, ["node", ["a", "b"], "2101", 0]]
    assert list(pieces(text)) == [Piece("node", 4, {"a": 2, "b": 1}, 0)]
    assert list(pieces(f"{text}\n2:1,3:1")) == [Piece("node", 2, {"a": 1}, 0)]


def test_events_count_as_often_as_they_have_occurred() -> None:
    text = causes_arg(NODES, on("a", "b", like=event("x", 1, 3)))
    assert list(pieces(f"{text}\n1:3,2:1")) == [Piece("node", 4, {"a": 3, "b": 1}, 0)]


def test_of_values_that_are_left_out_the_heaviest_may_be_of_one() -> None:
    text = causes_arg(NODES, on(*"abcdef", like=event("x", 1, 3)))
    (piece,) = pieces(f"{text}\n1:1,2:1,3:1,4:1,5:1,6:9")
    assert (piece.signals, piece.left_out) == (14, 9)


@pytest.mark.parametrize(
    ("spec", "attributes"),
    [
        ({}, ("node", "owner", "labels.image", "labels.zone", "labels.cluster")),
        (
            {"groupBy": ["labels.cluster", "target.owner"]},
            ("node", "labels.image", "labels.zone"),
        ),
        ({"causes": []}, ()),
        ({"causes": ["target.owner", "owner", "labels.rack"]}, ("owner", "labels.rack")),
        ({"causes": ["labels.api-token", "labels.x"]}, ("labels.x",)),
    ],
)
def test_policy_counts_what_it_names_but_for_what_all_share_and_secrets(
    spec: Mapping[str, Any], attributes: tuple[str, ...]
) -> None:
    assert version(**spec).counted_attributes == attributes


def test_default_is_counted_where_requests_are_made_elsewhere_too() -> None:
    assert cluster_version(groupBy=["name"], requestNamespace="ops").counted_attributes == DEFAULT


@pytest.mark.parametrize(
    ("arrival", "node"),
    [
        (signal(1, node="worker-1"), "worker-1"),
        (signal(1, node=None, target=NODE), NODE.name),
        (signal(1, node=None, labels={"node": "worker-2"}), "worker-2"),
        (event("x", 1, 1, node=None, labels={"host": "worker-3"}), "worker-3"),
        (signal(1, node=None, labels={"host": "shop.example"}), None),
    ],
)
def test_node_is_that_of_the_target_else_what_the_signal_says(arrival: Arrival, node: str | None) -> None:
    ((_, pick),) = NODES
    assert pick(arrival) == node


def test_values_are_harmless_and_bounded() -> None:
    text = causes_arg(NODES, on("\x1b[31mred", "x" * 300))
    (_, (_, values, _, _)) = orjson.loads(text)
    assert values[0] == "red"
    assert len(values[1].encode()) == SHOWN_NAME_BYTES


def test_what_others_are_told_is_read_again() -> None:
    counted = {"node": Counted({"a": NameCount(3, others=1)}, 1, 5), "owner": Counted(signals=5)}
    assert counted_of(seen_of(counted)) == counted
    assert seen_of({}) == ""
