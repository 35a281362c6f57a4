"""What was set up wrongly: a new pod names it in one line of its log and in its last words, and works once it
is fixed."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
from tests.e2e.cluster import SYSTEM, Cluster, is_ready
from tests.harness.api import Manifest
from tests.harness.eventually import eventually
from tests.harness.team import Team

SECRET = "stormfold-redis"
Damage = Callable[[Cluster], AbstractAsyncContextManager[None]]
"""Breaks something of what is installed, and fixes it in the end."""


async def patch(cluster: Cluster, kind: str, name: str, change: Manifest) -> None:
    """A merge patch in the operator's namespace."""
    await cluster.kubectl("-n", SYSTEM, "patch", kind, name, "--type=merge", "-p", json.dumps(change))


@asynccontextmanager
async def wrong_password(cluster: Cluster) -> AsyncIterator[None]:
    """The URL in the Secret has another password than Valkey has."""
    secret = await cluster.kubectl.json("-n", SYSTEM, "get", "secret", SECRET)
    await patch(cluster, "secret", SECRET, {"stringData": {"url": "redis://:wrong@stormfold-valkey:6379/0"}})
    try:
        yield
    finally:
        await patch(cluster, "secret", SECRET, {"data": secret["data"]})


@asynccontextmanager
async def missing_kind(cluster: Cluster) -> AsyncIterator[None]:
    """One of the CRDs is not there."""
    await cluster.kubectl("delete", "crd", "stormpolicies.stormfold.dev")
    try:
        yield
    finally:
        await cluster.script("crds")


@asynccontextmanager
async def denied_verb(cluster: Cluster) -> AsyncIterator[None]:
    """The operator may not delete Signals."""
    rules = (await cluster.kubectl.json("get", "clusterrole", "stormfold"))["rules"]
    fewer = [
        {**rule, "verbs": [verb for verb in rule["verbs"] if verb != "delete"]}
        if rule.get("resources") == ["signals"]
        else rule
        for rule in rules
    ]
    assert fewer != rules
    await patch(cluster, "clusterrole", "stormfold", {"rules": fewer})
    try:
        yield
    finally:
        await patch(cluster, "clusterrole", "stormfold", {"rules": rules})


@asynccontextmanager
async def missing_secret(cluster: Cluster) -> AsyncIterator[None]:
    """The Secret with Redis' URL is not there."""
    secret = await cluster.kubectl.json("-n", SYSTEM, "get", "secret", SECRET)
    kept = {key: secret["metadata"][key] for key in ("name", "namespace", "labels")}
    await cluster.kubectl("-n", SYSTEM, "delete", "secret", SECRET)
    try:
        yield
    finally:
        await cluster.kubectl.apply(json.dumps({**secret, "metadata": kept}))


async def renew(cluster: Cluster) -> None:
    """End the operator's pod; another one starts."""
    (pod,) = await cluster.pods()
    await cluster.kubectl("-n", SYSTEM, "delete", "pod", pod["metadata"]["name"])


async def container(cluster: Cluster) -> Manifest:
    """What the kubelet says of the operator's only container; {} while it says nothing."""
    (pod,) = await cluster.pods()
    assert not is_ready(pod)
    statuses = pod["status"].get("containerStatuses", [{}])
    return statuses[0]


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        pytest.param(
            wrong_password,
            "asking Redis who it is: Redis refused the credentials (WRONGPASS invalid username-password pair "
            "or user is "
            "disabled.); fix user and password in STORMFOLD_REDIS_URL",
            id="wrong password of Redis",
        ),
        pytest.param(
            missing_secret,
            "STORMFOLD_REDIS_URL is not set: create the Secret stormfold-redis with the key url in namespace "
            "stormfold-system. See https://stormfold.dev/install/#a-redis-of-your-own",
            id="missing Secret",
        ),
        pytest.param(
            missing_kind,
            "CRDs are missing (stormpolicies.stormfold.dev, version v1alpha1): kubectl apply -f crds/",
            id="missing CRD",
        ),
        pytest.param(
            denied_verb,
            "RBAC denies delete signals: apply manifests/base/rbac.yaml, and run under its ServiceAccount",
            id="denied verb",
        ),
    ],
)
async def test_pod_says_what_is_wrong_and_works_once_it_is_fixed(
    damage: Damage, says: str, cluster: Cluster, team: Team
) -> None:
    async with damage(cluster):
        await renew(cluster)
        status = await eventually(
            lambda: container(cluster),
            lambda status: "terminated" in status.get("lastState", {}),
            within=60,
            what="the operator has ended",
        )
        assert status["lastState"]["terminated"]["exitCode"] == 1
        assert status["lastState"]["terminated"]["message"] == says
        (pod,) = await cluster.pods()

        async def last_log() -> list[str]:
            log = await cluster.kubectl("-n", SYSTEM, "logs", "--previous", pod["metadata"]["name"])
            return log.splitlines()

        # While the kubelet starts it once more, it has no log to give, and says so in plain words.
        (line,) = await eventually(last_log, lambda lines: lines[0].startswith("{"), within=60)
        assert json.loads(line)["message"] == f"stormfold ends: {says}"
        await team.report("disk-full", 7)
    await cluster.ready(within=180)
    await team.counted("disk-full")
