"""What is installed: the objects with our label, and the kinds of a later version."""

from __future__ import annotations

import yaml
from tests.e2e.cluster import PART, SYSTEM
from tests.harness.api import Manifest
from tests.harness.kubectl import Kubectl

KINDS = "signals,remediationrequests,stormpolicies"
KEPT_BY_ALL = {
    *(f"ClusterRole/stormfold-{role}" for role in ("consumer", "edit", "view")),
    "ClusterStormPolicy/default",
    *(
        f"CustomResourceDefinition/{plural}.stormfold.dev"
        for plural in (
            "clusterstormpolicies",
            "remediationrequests",
            "signals",
            "stormgates",
            "stormpolicies",
        )
    ),
}
"""What is left of what has our label, however stormfold is uninstalled."""
KEPT = KEPT_BY_ALL | {f"Namespace/{SYSTEM}", "Secret/stormfold-redis"}
"""What `make undeploy` leaves of it."""


def named(item: Manifest) -> str:
    """Kind and name."""
    return f"{item['kind']}/{item['metadata']['name']}"


async def labelled(kubectl: Kubectl) -> dict[str, Manifest]:
    """Whatever has our label, of each kind that there is: kind and name to its metadata."""
    kinds = (await kubectl("api-resources", "--verbs=list", "-o", "name")).split()
    found = await kubectl.json("get", ",".join(kinds), "-A", "-l", PART)
    return {named(item): item["metadata"] for item in found["items"]}


async def uids(kubectl: Kubectl, namespace: str) -> dict[str, str]:
    """The kinds and what a namespace has of them: kind and name to uid."""
    crds = await kubectl.json("get", "crd", "-l", PART)
    objects = await kubectl.json("-n", namespace, "get", KINDS)
    return {named(item): item["metadata"]["uid"] for item in [*crds["items"], *objects["items"]]}


async def later_crds(kubectl: Kubectl) -> str:
    """Our kinds as a later version may have them: `spec.ticket` is new."""
    crds = list(yaml.safe_load_all(await kubectl("kustomize", "crds")))
    for crd in crds:
        (version,) = crd["spec"]["versions"]
        spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
        spec["properties"]["ticket"] = {"type": "string"}
    return yaml.safe_dump_all(crds)
