"""Events as a real kubelet writes them: an image that cannot be pulled is one storm, by reason or by
image."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence

import pytest
import yaml
from tests.e2e.cluster import ROOT, Cluster
from tests.e2e.conftest import NewTeam
from tests.harness.api import Api, Manifest
from tests.harness.eventually import eventually
from tests.harness.scene import at, rows
from tests.harness.team import Team

RIGHTS = ROOT / "manifests" / "components" / "events" / "rbac.yaml"
DEPLOYMENTS = 20
NO_REGISTRY = "127.0.0.1:1"
"""Nothing listens there on any node, so that each pull fails at once and always with the same message."""
TERMS = {"window": {"idle": "30s"}}
SEVERAL = 4
"""So often each pod has failed on average when its Deployment is deleted: some Events have a count above 1 by
then."""
FAILING_SECONDS = 150.0


@pytest.fixture
async def watched(cluster: Cluster) -> AsyncIterator[Cluster]:
    """The cluster, with the component `events` beside what is deployed, until the policies of the test are
    gone."""
    await cluster.kubectl("apply", "-f", str(RIGHTS))
    yield cluster
    await cluster.kubectl("delete", "stormpolicies", "--all", "--all-namespaces")
    await cluster.kubectl("delete", "-f", str(RIGHTS))


def deployment(namespace: str, name: str, image: str) -> Manifest:
    """A Deployment of one pod."""
    labels = {"app": name}
    container = {"name": "app", "image": image, "imagePullPolicy": "Always"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
            },
        },
    }


async def warnings(api: Api, namespace: str) -> Sequence[Manifest]:
    """The Events of a namespace that a policy for `Failed` may take."""
    return await api.list("Event", namespace, fieldSelector="type=Warning,reason=Failed")


async def fail(cluster: Cluster, api: Api, team: Team, images: Sequence[str]) -> Sequence[Manifest]:
    """Twenty Deployments with these images in turn fail for a while and are deleted; the Events that are
    left."""
    names = [f"app-{number}" for number in range(DEPLOYMENTS)]
    manifests = [
        deployment(team.namespace, name, images[number % len(images)]) for number, name in enumerate(names)
    ]
    await cluster.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(manifests))

    def failed(events: Sequence[Manifest]) -> bool:
        pods = {event["involvedObject"]["name"] for event in events}
        return len(pods) == DEPLOYMENTS and sum(event["count"] for event in events) >= SEVERAL * DEPLOYMENTS

    await eventually(
        lambda: warnings(api, team.namespace),
        failed,
        within=FAILING_SECONDS,
        what="all pods fail, more than once",
    )
    # The kubelet goes on raising counts for as long as there are pods.
    await cluster.kubectl("-n", team.namespace, "delete", "deployments", "--all")

    async def pods() -> list[Manifest]:
        found: list[Manifest] = (await cluster.kubectl.json("-n", team.namespace, "get", "pods"))["items"]
        return found

    await eventually(pods, lambda left: not left, within=60, what="the pods are gone")
    return await warnings(api, team.namespace)


def per_pod(events: Sequence[Manifest]) -> Counter[str]:
    """Pod to how often it failed."""
    counts: Counter[str] = Counter()
    for event in events:
        counts[event["involvedObject"]["name"]] += event["count"]
    return counts


def listed(request: Manifest) -> dict[str, int]:
    """Pod to how many signals were about it, as a request says."""
    return {one["name"]: one["signals"] for one in at(request, "status.resources") or ()}


async def test_image_that_cannot_be_pulled_is_one_storm_by_reason(
    watched: Cluster, api: Api, new_team: NewTeam
) -> None:
    team = await new_team(match={"sources": ["event"], "names": ["Failed"]}, groupBy=["name"], **TERMS)
    events = await fail(watched, api, team, [f"{NO_REGISTRY}/shop/app:1"])
    counts = per_pod(events)
    total = sum(counts.values())
    paths = "group spec.epoch spec.name status.severity status.signals.total status.affectedResourceCount"
    expected = [(("Failed",), 1, "Failed", "warning", total, DEPLOYMENTS)]
    (request,) = await eventually(
        team.requests, lambda found: rows(found, paths) == expected, within=30, what=str(expected)
    )
    assert at(request, "status.conditions.StormDetected.status") == "True"
    assert listed(request) == counts
    # It knows the messages of the kubelet that the by-image policy relies on.
    assert {event["message"].partition(" image")[0] for event in events} == {
        "Failed to pull",
        "Error: ErrImagePull",
        "Error: ImagePullBackOff",
    }


async def test_images_that_cannot_be_pulled_are_one_storm_each_by_image(
    watched: Cluster, api: Api, new_team: NewTeam
) -> None:
    images = [f"{NO_REGISTRY}/shop/app-{letter}:1" for letter in "abcd"]
    named = {"matchExpressions": [{"key": "image", "operator": "Exists"}]}
    team = await new_team(
        match={"sources": ["event"], "labelSelector": named}, groupBy=["labels.image"], **TERMS
    )
    events = await fail(watched, api, team, images)
    counts = {
        image: per_pod([e for e in events if e["message"].startswith(f'Failed to pull image "{image}"')])
        for image in images
    }
    expected = [((image,), 1, sum(counts[image].values()), DEPLOYMENTS // len(images)) for image in images]
    paths = "group spec.epoch status.signals.total status.affectedResourceCount"

    async def by_image() -> list[Manifest]:
        return sorted(await team.requests(), key=lambda request: str(at(request, "group")))

    requests = await eventually(
        by_image, lambda found: rows(found, paths) == expected, within=30, what=str(expected)
    )
    assert [listed(request) for request in requests] == [counts[image] for image in images]
