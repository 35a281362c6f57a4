"""What the roles for people allow, bound to them by hand: the controller that aggregates roles is not in this
tier."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import yaml
from tests.harness.api import Api
from tests.harness.eventually import eventually
from tests.harness.kubectl import Kubectl, KubectlError
from tests.harness.scene import Scene

ROOT = Path(__file__).parents[3]
ACCESS = ROOT / "manifests" / "base" / "access.yaml"
RESOURCES = (
    *("signals", "remediationrequests", "stormpolicies", "stormgates"),
    *("signals/status", "remediationrequests/status", "stormpolicies/status", "stormgates/status"),
)
CLUSTER_WIDE = ("clusterstormpolicies", "clusterstormpolicies/status")
VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")
READ = {"get", "list", "watch"}
WRITE = {"create", "update", "patch", "delete"}
MAY: dict[str, dict[str, set[str]]] = {
    "view": {"signals": READ, "remediationrequests": READ, "stormpolicies": READ, "stormgates": READ},
    "edit": {
        "signals": READ | WRITE,
        "remediationrequests": READ | {"patch"},
        "stormpolicies": READ | WRITE,
        "stormgates": READ | WRITE,
    },
    "consumer": {"remediationrequests": READ, "remediationrequests/status": {"get", "update", "patch"}},
}
"""Role to resource to verbs, in a namespace; the rest is denied."""
CLUSTER_MAY: dict[str, dict[str, set[str]]] = {
    "view": {"clusterstormpolicies": READ},
    "edit": {"clusterstormpolicies": READ},
    "consumer": {},
}
"""The same for what lies in no namespace, to whoever has the role in the whole cluster."""


async def allowed(api: Api, user: str, resources: tuple[str, ...], namespace: str) -> dict[str, set[str]]:
    """Resource to the verbs that the user may use on it."""

    async def may(resource: str, verb: str) -> bool:
        name, _, subresource = resource.partition("/")
        asked = {"group": "stormfold.dev", "resource": name, "subresource": subresource, "verb": verb}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {"user": user, "resourceAttributes": asked | {"namespace": namespace}},
        }
        path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
        return bool((await api.request("POST", path, review))["status"]["allowed"])

    pairs = [(resource, verb) for resource in resources for verb in VERBS]
    answers = await asyncio.gather(*(may(*pair) for pair in pairs))
    found: dict[str, set[str]] = {}
    for (resource, verb), yes in zip(pairs, answers, strict=True):
        if yes:
            found.setdefault(resource, set()).add(verb)
    return found


async def comes_to(
    api: Api, user: str, resources: tuple[str, ...], namespace: str, may: dict[str, set[str]]
) -> None:
    """Wait until the user may do this and nothing else: the API server hears of its own bindings by a
    watch."""
    await eventually(
        lambda: allowed(api, user, resources, namespace),
        lambda found: found == may,
        what="the rights are there",
    )


class User:
    """kubectl in the name of a user who has one of the roles in one namespace."""

    def __init__(self, kubectl: Kubectl, name: str, namespace: str) -> None:
        self._kubectl = kubectl
        self.name = name
        self.namespace = namespace

    async def __call__(self, *arguments: str, stdin: str | None = None) -> str:
        """What kubectl printed; KubectlError if it was refused."""
        return await self._kubectl(f"--as={self.name}", "-n", self.namespace, *arguments, stdin=stdin)


async def user_with(role: str, kubectl: Kubectl, namespace: str) -> User:
    """A user of the namespace's own who has a role in it and nothing else."""
    await kubectl("apply", "-f", str(ACCESS))
    name = f"{role}-of-{namespace}"
    await kubectl(
        *("create", "rolebinding", name, "-n", namespace, f"--clusterrole=stormfold-{role}", f"--user={name}")
    )
    return User(kubectl, name, namespace)


def signal(name: str) -> str:
    """A manifest."""
    spec = {"name": "DiskFull", "target": {"kind": "Pod", "name": name}}
    meta = {"apiVersion": "stormfold.dev/v1alpha1", "kind": "Signal", "metadata": {"name": name}}
    return yaml.safe_dump({**meta, "spec": spec})


@pytest.mark.parametrize("role", MAY)
async def test_role_allows_this_and_nothing_else(role: str, scene: Scene, kubectl: Kubectl) -> None:
    user = await user_with(role, kubectl, scene.namespace)
    elsewhere = await scene.another_namespace()
    await comes_to(scene.api, user.name, RESOURCES, scene.namespace, MAY[role])
    assert await allowed(scene.api, user.name, RESOURCES, elsewhere) == {}
    assert await allowed(scene.api, user.name, CLUSTER_WIDE, "") == {}
    await kubectl(
        *("create", "clusterrolebinding", user.name, f"--clusterrole=stormfold-{role}", f"--user={user.name}")
    )
    await comes_to(scene.api, user.name, CLUSTER_WIDE, "", CLUSTER_MAY[role])


def test_roles_come_to_people_with_the_roles_of_kubernetes() -> None:
    prefix = "rbac.authorization.k8s.io/aggregate-to-"
    assert {
        role["metadata"]["name"]: {
            label.removeprefix(prefix): value
            for label, value in role["metadata"]["labels"].items()
            if label.startswith(prefix)
        }
        for role in yaml.safe_load_all(ACCESS.read_text())
    } == {
        "stormfold-view": {"view": "true"},
        "stormfold-edit": {"edit": "true", "admin": "true"},
        "stormfold-consumer": {},
    }


async def test_editor_reports_signals_and_follows_the_request(scene: Scene, kubectl: Kubectl) -> None:
    editor = await user_with("edit", kubectl, scene.namespace)
    await scene.policy()
    for name in ("disk-1", "disk-2"):
        assert (
            await editor("apply", "-f", "-", stdin=signal(name)) == f"signal.stormfold.dev/{name} created\n"
        )
    (request,) = await scene.comes_to((1, "Settled", 2))
    name = f"remediationrequest.stormfold.dev/{request['metadata']['name']}"
    assert await editor("get", "rreq", "-o", "name") == f"{name}\n"
    with pytest.raises(KubectlError, match="cannot delete resource"):
        await editor("delete", name)
    with pytest.raises(KubectlError, match='cannot get resource "remediationrequests/status"'):
        await editor("patch", name, "--subresource=status", "--type=merge", "-p", '{"status":{}}')
    with pytest.raises(KubectlError, match="spec is immutable"):
        await editor("patch", name, "--type=merge", "-p", '{"spec":{"epoch":7}}')
    await editor("annotate", name, "stormfold.dev/close=true")
    await scene.comes_to((1, "Closed", 2))


async def test_viewer_cannot_report_a_signal(scene: Scene, kubectl: Kubectl) -> None:
    viewer = await user_with("view", kubectl, scene.namespace)
    with pytest.raises(KubectlError, match="cannot create resource"):
        await viewer("create", "-f", "-", stdin=signal("disk-1"))
    assert await viewer("get", "signals", "-o", "name") == ""


async def test_consumer_takes_a_request_to_its_end(scene: Scene, kubectl: Kubectl) -> None:
    consumer = await user_with("consumer", kubectl, scene.namespace)
    await scene.policy()
    await scene.pods("DiskFull", 3)
    (request,) = await scene.comes_to((1, "Settled", 3))
    name = f"remediationrequest/{request['metadata']['name']}"
    for phase in ("InProgress", "Succeeded"):
        change = f'{{"status":{{"remediation":{{"phase":"{phase}"}}}}}}'
        await consumer("patch", name, "--subresource=status", "--type=merge", "-p", change)
    await scene.comes_to((1, "Closed", 3))
    with pytest.raises(KubectlError, match="cannot patch resource"):
        await consumer("patch", name, "--type=merge", "-p", '{"metadata":{"labels":{"mine":"true"}}}')
    with pytest.raises(KubectlError, match="cannot list resource"):
        await consumer("get", "signals")
    await scene.pods("DiskFull", 2, first=3)
    await scene.comes_to((1, "Closed", 3), (2, "Settled", 2))
