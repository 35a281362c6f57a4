"""Alerts, at two replicas as deployed: by whatever way they come, and whoever goes, each is counted once."""

from __future__ import annotations

import asyncio
import io
import subprocess
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import yaml
from tests.e2e.cluster import ROOT, SYSTEM, Cluster
from tests.e2e.conftest import NewNamespace, NewTeam
from tests.e2e.ongoing import going_on
from tests.e2e.posting import Answer, Poster, poster, taken
from tests.harness.alertmanager import Alert, pod_alerts
from tests.harness.api import Api
from tests.harness.eventually import eventually
from tests.harness.programs import current_alertmanager
from tests.harness.scene import rows
from tests.harness.team import Team

pytestmark = pytest.mark.overlay("ha", "alertmanager")

READY_MADE = ROOT / "manifests" / "alertmanager"
COMPONENT = ROOT / "manifests" / "components" / "alertmanager"
MONITORING = "monitoring"
"""The namespace that the ready-made files name."""
ALERTMANAGER_IMAGE = "stormfold-e2e/alertmanager:dev"
COUNTS = "spec.name spec.epoch status.signals.total status.signals.firing status.affectedResourceCount"


@pytest.fixture
async def sender(cluster: Cluster, team: Team) -> AsyncIterator[Poster]:
    """A pod in the team's namespace."""
    async with poster(cluster, team.namespace) as pod:
        yield pod


@pytest.fixture
async def replicas(cluster: Cluster) -> list[str]:
    """The addresses of the two operators."""
    return [pod["status"]["podIP"] for pod in await cluster.ready(count=2)]


def alerts(team: Team, name: str, pods: int, **labels: str) -> list[Alert]:
    """Alerts about pods of the team."""
    return pod_alerts(name, pods, namespace=team.namespace, **labels)


async def come_to(team: Team, *expected: tuple[Any, ...]) -> None:
    """Wait until the team's requests say exactly this."""
    await eventually(
        team.requests, lambda found: rows(found, COUNTS) == list(expected), within=40, what=str(expected)
    )


async def test_network_policy_for_alertmanagers_is_as_shipped(cluster: Cluster) -> None:
    shipped = yaml.safe_load((COMPONENT / "network.yaml").read_text())
    found = await cluster.kubectl.json("-n", SYSTEM, "get", "networkpolicy", shipped["metadata"]["name"])
    (rule,) = shipped["spec"]["ingress"]
    rule["ports"] = [{"port": "webhook", "protocol": "TCP"}]
    assert found["spec"] == shipped["spec"]


async def test_pod_posts_to_the_service_by_its_token_for_the_namespace_that_it_may_speak_for(
    sender: Poster, team: Team, new_namespace: NewNamespace
) -> None:
    posted = alerts(team, "pod-down", 24)
    assert await sender.post([posted[:14], posted[14:]]) == [taken(14), taken(10)]
    await come_to(team, ("pod-down", 1, 24, 24, 24))
    assert await sender.post([[alert.resolved() for alert in posted[:20]]]) == [taken(20)]
    await come_to(team, ("pod-down", 1, 24, 4, 24))

    foreign = pod_alerts("pod-down", 1, namespace=await new_namespace())
    assert [answer.code for answer in await sender.post([foreign])] == [403]


async def test_body_that_both_replicas_get_at_once_and_again_counts_once(
    sender: Poster, team: Team, replicas: list[str]
) -> None:
    posted = alerts(team, "pod-down", 20)
    for _ in range(2):
        assert await sender.post([posted, posted], *replicas) == [taken(20)] * 4
    await come_to(team, ("pod-down", 1, 20, 20, 20))


def alertmanager_image() -> None:
    """Make an image of a real Alertmanager, and of nothing else."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as files:
        files.add(current_alertmanager(), "alertmanager")
    subprocess.run(
        ["docker", "import", "-", ALERTMANAGER_IMAGE],
        input=archive.getvalue(),
        capture_output=True,
        check=True,
    )


@asynccontextmanager
async def ready_made(cluster: Cluster) -> AsyncIterator[str]:
    """An Alertmanager with the ready-made files, set up as docs/install.md says; the URL at which it takes
    alerts."""
    alertmanager_image()
    cluster.load(ALERTMANAGER_IMAGE)
    kubectl, access = cluster.kubectl, str(READY_MADE / "access.yaml")
    inside = ("-n", MONITORING)
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "alertmanager", "namespace": MONITORING},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "securityContext": {"runAsNonRoot": True, "runAsUser": 65534, "fsGroup": 65534},
            "containers": [
                {
                    "name": "alertmanager",
                    "image": ALERTMANAGER_IMAGE,
                    "command": ["/alertmanager", "--config.file=/etc/alertmanager/alertmanager.yml"],
                    "args": ["--storage.path=/data", "--cluster.listen-address="],
                    "readinessProbe": {"httpGet": {"path": "/-/ready", "port": 9093}, "periodSeconds": 1},
                    "volumeMounts": [
                        {"name": "config", "mountPath": "/etc/alertmanager"},
                        {"name": "token", "mountPath": "/var/run/secrets/stormfold"},
                        {"name": "data", "mountPath": "/data"},
                    ],
                }
            ],
            "volumes": [
                {"name": "config", "configMap": {"name": "alertmanager"}},
                {"name": "token", "secret": {"secretName": "stormfold-alerts"}},
                {"name": "data", "emptyDir": {}},
            ],
        },
    }
    try:
        await kubectl("create", "namespace", MONITORING)
        await kubectl("label", "namespace", MONITORING, "stormfold.dev/alerts=true")
        await kubectl("apply", "-f", access)
        await kubectl(
            *(*inside, "create", "configmap", "alertmanager"),
            f"--from-file={READY_MADE / 'alertmanager.yml'}",
        )
        await kubectl.apply(yaml.safe_dump(pod))
        await kubectl(*inside, "wait", "--for=condition=Ready", "pod/alertmanager", "--timeout=60s")
        address = (await kubectl.json(*inside, "get", "pod", "alertmanager"))["status"]["podIP"]
        yield f"http://{address}:9093/api/v2/alerts"
    finally:
        await kubectl("delete", "--ignore-not-found", "-f", access)
        await kubectl("delete", "--ignore-not-found", "namespace", MONITORING)


async def test_alertmanager_with_the_ready_made_files_makes_one_request_and_says_what_is_over(
    cluster: Cluster, team: Team, sender: Poster
) -> None:
    async with ready_made(cluster) as url:

        async def tell(told: list[Alert]) -> None:
            """Do what Prometheus does."""
            assert await sender.send([(url, [alert.manifest() for alert in told])]) == [Answer(200, None)]

        firing = alerts(team, "pod-down", 24)
        # Always firing, and so of no interest: the route leaves it out.
        watchdog = Alert({"alertname": "Watchdog", "namespace": team.namespace})
        await tell([*firing, watchdog])
        await come_to(team, ("pod-down", 1, 24, 24, 24))
        await tell([alert.resolved() for alert in firing[:20]])
        await come_to(team, ("pod-down", 1, 24, 4, 24))


@asynccontextmanager
async def alerts_going_on(team: Team, sender: Poster, *hosts: str) -> AsyncIterator[list[Answer]]:
    """Alerts about ten pods are posted all the while; what was answered to bodies of ten, and at the end
    exact counts."""
    ended = asyncio.Event()
    answers: list[Answer] = []

    async def post() -> None:
        while not ended.is_set():
            # An alert of a pod in one body is another one than in the next: the labels say which.
            bodies = [alerts(team, "disk-full", 10, body=f"{len(answers)}-{n}") for n in range(4)]
            answers.extend(await sender.post(bodies, *hosts))

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(post())
        await eventually(lambda: answers, within=30, what="a storm of alerts")
        yield answers
        before = len(answers)
        await eventually(lambda: len(answers) >= before + 8, within=60, what="it goes on")
        ended.set()
    expected = [(1, 10 * len(answers), 10)]
    await eventually(
        team.requests,
        lambda found: rows(found, "spec.epoch status.signals.total status.affectedResourceCount") == expected,
        within=30,
        what=str(expected),
    )


async def test_alerts_and_signals_go_on_while_the_leader_is_killed(
    cluster: Cluster, api: Api, team: Team, new_team: NewTeam, sender: Poster
) -> None:
    other_team = await new_team()
    pods = {pod["metadata"]["name"]: pod["status"]["podIP"] for pod in await cluster.ready(count=2)}
    killed = await cluster.leader()
    del pods[killed]
    ((survivor, address),) = pods.items()
    async with (
        going_on(other_team, api, "pod-down"),
        alerts_going_on(team, sender, address) as answers,
    ):
        await cluster.kubectl("-n", SYSTEM, "delete", "pod", killed, "--grace-period=0", "--force")
        await eventually(
            cluster.leader, lambda holder: holder == survivor, within=60, what="the other one leads"
        )
    assert answers == [taken(10)] * len(answers)
    await other_team.assert_exact()
    assert survivor in {pod["metadata"]["name"] for pod in await cluster.ready(count=2)}


async def test_alerts_to_the_service_go_on_while_all_replicas_are_replaced(
    cluster: Cluster, team: Team, sender: Poster
) -> None:
    before = {pod["metadata"]["name"] for pod in await cluster.ready(count=2)}
    async with alerts_going_on(team, sender) as answers:
        await cluster.kubectl("-n", SYSTEM, "rollout", "restart", "deployment/stormfold")
        await cluster.kubectl("-n", SYSTEM, "rollout", "status", "deployment/stormfold", "--timeout=120s")
        after = await cluster.ready(count=2)
    assert before.isdisjoint(pod["metadata"]["name"] for pod in after)
    # What came to a replica that was about to end was posted again.
    assert [(answer.code, answer.said) for answer in answers] == [(200, taken(10).said)] * len(answers)
