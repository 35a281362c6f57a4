"""What a Table says of objects and their controllers, and how much memory it takes."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest

from stormfold.enrich.owner_graph import REMEMBERED, Controller, Member, MemberParser, OwnerGraph


def row(**metadata: Any) -> dict[str, Any]:
    named = {"name": "web-7d4b9c-x2x9p", "namespace": "shop", "uid": "u-1", "resourceVersion": "12"}
    return {"metadata": named | metadata, "cells": {"Name": "web-7d4b9c-x2x9p", "Node": "worker-1"}}


REPLICA_SET = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-7d4b9c", "uid": "u-2"}


def test_row_of_a_pod_is_read() -> None:
    references = [{**REPLICA_SET, "uid": "u-3"}, {**REPLICA_SET, "controller": True}]
    assert MemberParser("Pod")(row(ownerReferences=references)) == Member(
        *("Pod", "shop", "web-7d4b9c-x2x9p", "u-1", 12),
        controller=Controller("apps", "ReplicaSet", "web-7d4b9c", "u-2"),
        node="worker-1",
    )


@pytest.mark.parametrize("node", ["<none>", "", None])
def test_pod_that_has_no_node_yet_is_on_none(node: str | None) -> None:
    assert MemberParser("Pod")(row() | {"cells": {"Node": node}}).node is None


def test_only_pods_are_on_nodes() -> None:
    found = MemberParser("ReplicaSet")(row(ownerReferences=[REPLICA_SET]))
    assert (found.node, found.controller) == (None, None)


def test_pods_share_what_they_say_of_their_controller() -> None:
    parse = MemberParser("Pod")
    one, other = (parse(row(ownerReferences=[{**REPLICA_SET, "controller": True}])) for _ in range(2))
    assert one.controller is other.controller


@pytest.fixture
def traced() -> Iterator[Callable[[], int]]:
    """Gives the bytes that were taken since the test began."""
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    yield lambda: tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()


def pods(count: int) -> Iterator[Member]:
    """Pods as they are read, 20 of each ReplicaSet, on 50 nodes."""
    parse = MemberParser("Pod")
    for number in range(count):
        maker = f"checkout-service-{number // 20}-7d4b9c7d4b"
        found = row(
            name=f"{maker}-{number:05}",
            namespace=f"team-{number // 200}",
            uid=str(UUID(int=number)),
            resourceVersion=str(100_000_000 + number),
            ownerReferences=[
                {**REPLICA_SET, "name": maker, "uid": f"{number // 20:036}", "controller": True}
            ],
        )
        found["cells"]["Node"] = f"ip-10-0-0-{number % 50}.eu-west-1.compute.internal"
        yield parse(found)


def test_pod_takes_half_a_kilobyte(traced: Callable[[], int]) -> None:
    graph = OwnerGraph()
    for pod in pods(10_000):
        graph.add(pod)
    assert graph.counts == (10_000, 0)
    assert traced() / 10_000 < 512


def test_what_is_remembered_takes_less_than_14_mb(traced: Callable[[], int]) -> None:
    graph = OwnerGraph()
    for pod in pods(50_000):
        graph.add(pod)
        graph.remove(pod.uid)
    assert graph.counts == (0, REMEMBERED) == (0, 20_000)
    assert traced() < 14_000_000
