"""Workloads: what controllers would make, made by hand, since a control plane of the tests has none."""

from __future__ import annotations

import itertools
from typing import Any

from tests.harness.api import Api, Manifest

CONTAINERS = {"containers": [{"name": "main", "image": "none"}], "automountServiceAccountToken": False}
LABELS = {"app": "main"}
TEMPLATE = {"metadata": {"labels": LABELS}, "spec": CONTAINERS}
SELECTED = {"selector": {"matchLabels": LABELS}, "template": TEMPLATE}
JOB = {"template": {"spec": {**CONTAINERS, "restartPolicy": "Never"}}}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "Deployment": ("apps/v1", SELECTED),
    "ReplicaSet": ("apps/v1", SELECTED),
    "DaemonSet": ("apps/v1", SELECTED),
    "StatefulSet": ("apps/v1", {**SELECTED, "serviceName": "main"}),
    "Job": ("batch/v1", JOB),
    "CronJob": ("batch/v1", {"schedule": "0 0 * * *", "jobTemplate": {"spec": JOB}}),
    "Pod": ("v1", CONTAINERS),
}
"""Kind to its API version and the least that its spec may say."""


class Workloads:
    """The workloads of one namespace."""

    def __init__(self, api: Api, namespace: str) -> None:
        self._api = api
        self._namespace = namespace

    async def add(
        self, kind: str, name: str, by: Manifest | None = None, *, node: str | None = None
    ) -> Manifest:
        """A new object, made `by` a controller, and of a pod on a node."""
        api_version, spec = KINDS[kind]
        metadata: Manifest = {"name": name, "namespace": self._namespace}
        if by:
            metadata["ownerReferences"] = [
                {
                    "apiVersion": by["apiVersion"],
                    "kind": by["kind"],
                    "name": by["metadata"]["name"],
                    "uid": by["metadata"]["uid"],
                    "controller": True,
                }
            ]
        return await self._api.create(
            {
                "apiVersion": api_version,
                "kind": kind,
                "metadata": metadata,
                "spec": spec | ({"nodeName": node} if node else {}),
            }
        )

    async def deployment(self, name: str, *replica_sets: str) -> tuple[Manifest, list[Manifest]]:
        """A Deployment with ReplicaSets, each named after its hash."""
        deployment = await self.add("Deployment", name)
        return deployment, [await self.add("ReplicaSet", f"{name}-{one}", deployment) for one in replica_sets]

    async def remove(self, *objects: Manifest) -> None:
        """Delete them at once, in their order, without waiting for a kubelet."""
        for one in objects:
            metadata = one["metadata"]
            await self._api.delete(
                one["kind"], metadata["name"], metadata["namespace"], gracePeriodSeconds="0"
            )


ENDS = ["".join(letters) for letters in itertools.product("bcd", "fgh", "jkl", "mnp", "245")]
"""What Kubernetes puts behind the name of a ReplicaSet is random, of such letters."""


async def pods_of(
    workloads: Workloads, replica_set: Manifest, count: int, *, node: str | None = None
) -> list[Manifest]:
    """Pods with names as their ReplicaSet gives them."""
    name = replica_set["metadata"]["name"]
    return [await workloads.add("Pod", f"{name}-{end}", replica_set, node=node) for end in ENDS[:count]]
