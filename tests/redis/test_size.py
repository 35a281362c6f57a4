"""How much of Redis a storm takes, with the names that people give things."""

from __future__ import annotations

import random
import runpy
import uuid
from dataclasses import replace
from pathlib import Path

import pytest
from tests.harness.costs import bytes_of
from tests.harness.folding import T0, Group, alert, pod, signal

from lab.valkey import Valkey
from stormfold.api.stormpolicy import PolicySpec
from stormfold.fold import keys
from stormfold.fold.arguments import Fold
from stormfold.fold.showing import NOTHING_TOLD, shown
from stormfold.fold.store import StormStore
from stormfold.model.arrival import Arrival, SignalRef
from stormfold.model.group import PolicyId
from stormfold.policy.version import PolicyVersion

COSTS = runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "costs.py"))
GOAL_BYTES = 2048
MANY_BYTES = 2560
"""Of pods that have nothing in common but their namespace and how they begin."""
RESOURCES = 25
SAFE_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
"""What Kubernetes makes the random parts of names of."""
POLICY = PolicyVersion(PolicyId("ClusterStormPolicy", "", "default"), str(uuid.UUID(int=7)), 3, PolicySpec())


def pods_of(deployment: str, count: int) -> list[str]:
    """Names of the pods of one Deployment, always the same."""
    letters = random.Random(deployment)

    def some(length: int) -> str:
        return "".join(letters.choices(SAFE_LETTERS, k=length))

    replica_set = some(9)
    return [f"{deployment}-{replica_set}-{some(5)}" for _ in range(count)]


ONE = pods_of("checkout", RESOURCES)
MANY = [name for n in range(RESOURCES) for name in pods_of(f"payments-{'abcde'[n % 5]}{n}-worker", 1)]
CASES = [
    pytest.param("shop", ONE, id="pods of one Deployment"),
    pytest.param("payments-production", pods_of("payments-api-gateway", RESOURCES), id="long names"),
    pytest.param("payments-production", MANY, id="pods of many Deployments"),
]


def arrivals(namespace: str, names: list[str]) -> list[Arrival]:
    """One signal for each pod, with a uid and a resourceVersion as API servers give them."""
    return [
        replace(
            signal(48_000_000 + n, pod(name, namespace)),
            ref=SignalRef(namespace, name, str(uuid.uuid5(uuid.NAMESPACE_DNS, name)), 1, 48_000_000 + n),
            name="KubePodCrashLooping",
            namespace=namespace,
        )
        for n, name in enumerate(names)
    ]


async def fold(store: StormStore, namespace: str, names: list[str]) -> Group:
    """Open a storm of these pods."""
    batch = arrivals(namespace, names)
    group = POLICY.group(batch[0])
    opening = POLICY.opening(group, batch[0]).encoded()
    await store.fold(group.partition, [Fold(group.group_hash, POLICY.terms, opening, batch)], now_ms=T0)
    return Group(store, group.group_hash, POLICY.terms)


@pytest.mark.parametrize(("namespace", "names"), CASES)
async def test_storm_of_25_resources_takes_at_most_two_kilobytes(
    store: StormStore, redis: Valkey, namespace: str, names: list[str]
) -> None:
    group = await fold(store, namespace, names)
    storm = await group.look(at=10)
    assert (storm.total, storm.resource_count, storm.truncated) == (RESOURCES, RESOURCES, False)
    await group.ack(storm, at=10, trim=storm.through)
    assert bytes_of(redis, group) <= (MANY_BYTES if names is MANY else GOAL_BYTES)


@pytest.mark.parametrize(("namespace", "names"), CASES)
async def test_storm_is_kept_in_packed_forms(
    store: StormStore, redis: Valkey, namespace: str, names: list[str]
) -> None:
    group = await fold(store, namespace, names)
    instances = keys.instances(group.partition, group.group_hash)
    forms = [redis.command("OBJECT", "ENCODING", key) for key in (group.ids_key, instances)]
    assert forms == ["listpack", "intset"]


def alerts_about(names: list[str]) -> list[Arrival]:
    """Three alerts that fire about each pod, with labels and texts of the usual size."""
    common = {"name": "KubePodCrashLooping", "severity": "critical"}
    return [
        replace(
            alert(f"{name}-{number}"),
            target=pod(name),
            labels={"pod": name, "container": f"container-{number}", "node": "worker-07", **common},
            annotations={"summary": f"Pod {name} restarts.", "description": f"{name} is not ready. " * 8},
        )
        for name in names
        for number in range(3)
    ]


@pytest.mark.parametrize("pods", [30, 1000])
async def test_storm_of_alerts_takes_no_more_than_the_page_for_deciders_says(
    store: StormStore, redis: Valkey, pods: int
) -> None:
    batch = alerts_about(pods_of("checkout", pods))
    group = POLICY.group(batch[0])
    opening = POLICY.opening(group, batch[0]).encoded()
    for first in range(0, len(batch), 200):
        some = batch[first : first + 200]
        told = shown(POLICY.showing, NOTHING_TOLD, some)
        fold = Fold(group.group_hash, POLICY.terms, opening, some, shown=told)
        await store.fold(group.partition, [fold], now_ms=T0)
    storm = Group(store, group.group_hash, POLICY.terms)
    assert (await storm.look(at=10)).firing == len(batch)
    assert bytes_of(redis, storm) <= 1000 * (COSTS["STORM_KB"] + COSTS["REPORT_KB"] * len(batch))


async def test_pods_with_the_longest_names_are_kept_whole(store: StormStore) -> None:
    names = pods_of("w" * (63 - len("-123456789-12345")), RESOURCES)
    assert {len(name) for name in names} == {63}
    group = await fold(store, "n" * 40, names)
    assert {target.name for target, _ in (await group.look(at=10)).resources} == set(names)
