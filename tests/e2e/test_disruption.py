"""Pods, a node and Redis go away in mid-storm: each storm has one request all the while, and its counts are
exact."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.e2e.cluster import SYSTEM, Cluster, is_ready, restarts
from tests.e2e.ongoing import going_on
from tests.harness.api import Api
from tests.harness.eventually import eventually
from tests.harness.team import Team

READINESS_SECONDS = 60.0
"""Redis is missed after 10 s; the kubelet asks every 5 s and wants to be told twice."""
PASSWORD = 'valkey-cli --no-auth-warning -a "$PASSWORD"'


async def valkey(cluster: Cluster, *command: str) -> str:
    """What Valkey answers."""
    return await cluster.kubectl(
        *("-n", SYSTEM, "exec", "deployment/stormfold-valkey", "--"),
        *("sh", "-c", f'{PASSWORD} "$@"', "sh", *command),
    )


@pytest.mark.parametrize(
    "options",
    [
        pytest.param((), id="with grace"),
        # The next one may begin before this one has ended.
        pytest.param(("--grace-period=0", "--force"), id="by force"),
    ],
)
async def test_storm_goes_on_while_its_operator_is_replaced(
    options: tuple[str, ...], cluster: Cluster, api: Api, team: Team
) -> None:
    (before,) = await cluster.pods()
    async with going_on(team, api, "pod-down"):
        await cluster.kubectl("-n", SYSTEM, "delete", "pod", before["metadata"]["name"], *options)
        (after,) = await cluster.ready()
        assert after["metadata"]["uid"] != before["metadata"]["uid"]
        await eventually(
            cluster.leader,
            lambda holder: holder == after["metadata"]["name"],
            within=30,
            what="the new operator leads",
        )
    await team.assert_exact()
    assert [restarts(pod) for pod in await cluster.pods()] == [0]


@asynccontextmanager
async def all_on(node: str, cluster: Cluster) -> AsyncIterator[None]:
    """The operator and Valkey have moved to a node; in the end all nodes take pods again."""
    nodes = (await cluster.kubectl("get", "nodes", "-o", "name")).split()
    others = [other for other in nodes if other != node]
    try:
        await cluster.kubectl("cordon", *others)
        for component in ("valkey", "operator"):
            elsewhere = [
                pod["metadata"]["name"]
                for pod in await cluster.pods(component)
                if f"node/{pod['spec']['nodeName']}" != node
            ]
            if elsewhere:
                await cluster.kubectl("-n", SYSTEM, "delete", "pod", *elsewhere)
        for component in ("valkey", "operator"):
            await cluster.ready(component)
        await cluster.kubectl("uncordon", *others)
        yield
    finally:
        await cluster.kubectl("uncordon", *nodes)


async def test_storm_goes_on_when_the_node_of_operator_and_redis_is_drained(
    cluster: Cluster, team: Team
) -> None:
    nodes = await cluster.kubectl.json("get", "nodes", "-l", "!node-role.kubernetes.io/control-plane")
    worker = nodes["items"][0]["metadata"]["name"]
    async with all_on(f"node/{worker}", cluster):
        await team.report("pod-down", 7)
        await team.counted("pod-down")
        drain = asyncio.create_task(
            cluster.kubectl("drain", worker, "--ignore-daemonsets", "--delete-emptydir-data")
        )
        await team.report("pod-down", 6)
        await drain
        await team.report("pod-down", 5)
        for component in ("valkey", "operator"):
            (pod,) = await cluster.ready(component)
            assert pod["spec"]["nodeName"] != worker
        await team.assert_exact()


@pytest.mark.parametrize(("overlay", "replicas"), [("standalone", 1), ("ha", 2)])
async def test_storm_goes_on_through_a_rolling_upgrade(
    overlay: str, replicas: int, changing: Cluster, api: Api, team: Team
) -> None:
    """`ha` takes the Valkey that `standalone` has left as its Redis from elsewhere."""
    later = changing.load(changing.image, as_="stormfold:later")
    if overlay != "standalone":
        await changing.deploy(overlay)
    before = {pod["metadata"]["uid"] for pod in await changing.ready(count=replicas)}
    async with going_on(team, api, "pod-down"):
        await changing.deploy(overlay, image=later)
        after = await changing.ready(count=replicas)
        assert [pod["spec"]["containers"][0]["image"] for pod in after] == [later] * replicas
        assert before.isdisjoint(pod["metadata"]["uid"] for pod in after)
        names = {pod["metadata"]["name"] for pod in after}
        await eventually(
            changing.leader, names.__contains__, within=30, what="one of the new operators leads"
        )
    await team.assert_exact()
    assert [restarts(pod) for pod in await changing.pods()] == [0] * replicas


@pytest.mark.parametrize(
    ("components", "kept"),
    [pytest.param((), "", id="in memory"), pytest.param(("valkey-pvc",), "1", id="with a journal")],
)
async def test_storm_goes_on_when_the_pod_of_redis_is_deleted(
    components: tuple[str, ...], kept: str, changing: Cluster, team: Team
) -> None:
    if components:
        await changing.deploy("standalone", *components)
        await changing.ready("valkey")
        await changing.ready()
    await team.report("pod-down", 7)
    await team.counted("pod-down")
    assert await valkey(changing, "SET", "written-before", "1") == "OK\n"
    (before,) = await changing.pods("valkey")
    delete = asyncio.create_task(changing.kubectl("-n", SYSTEM, "delete", "pod", before["metadata"]["name"]))
    await team.report("pod-down", 6)
    await delete
    (after,) = await changing.ready("valkey")
    assert after["metadata"]["uid"] != before["metadata"]["uid"]
    assert await valkey(changing, "GET", "written-before") == f"{kept}\n"
    await team.report("pod-down", 5)
    await team.assert_exact()
    assert [restarts(pod) for pod in await changing.pods()] == [0]


async def test_operator_is_not_ready_while_redis_is_away_and_nothing_is_lost(
    cluster: Cluster, team: Team
) -> None:
    await team.report("pod-down", 7)
    await team.counted("pod-down")
    (pod,) = await cluster.pods()
    try:
        await cluster.kubectl("-n", SYSTEM, "scale", "deployment/stormfold-valkey", "--replicas=0")
        await team.report("pod-down", 6)
        (away,) = await eventually(
            cluster.pods,
            lambda pods: len(pods) == 1 and not is_ready(pods[0]),
            within=READINESS_SECONDS,
            what="the operator is not ready",
        )
        status, answer = await cluster.ask("/readyz")
    finally:
        await cluster.kubectl("-n", SYSTEM, "scale", "deployment/stormfold-valkey", "--replicas=1")
    assert (status, json.loads(answer)) == (
        503,
        {"ready": False, "problems": {"redis": "Redis has not answered for 10 s"}},
    )
    (back,) = await cluster.ready()
    await team.report("pod-down", 5)
    await team.assert_exact()
    for seen in (away, back):
        assert (seen["metadata"]["uid"], restarts(seen)) == (pod["metadata"]["uid"], 0)
