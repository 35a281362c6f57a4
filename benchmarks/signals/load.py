"""The Signals that come, as an alerting system would create them, in storms of several groups."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks.cluster import at_once
from benchmarks.in_memory import PARSE
from stormfold.api.remediationrequest import RemediationRequest
from stormfold.api.resource import API_VERSION
from stormfold.api.signal import Signal
from stormfold.api.stormpolicy import PolicySpec
from stormfold.fold import keys
from stormfold.fold.connection import Connection
from stormfold.kube import paths
from stormfold.kube.client import KubeClient
from stormfold.model.arrival import Arrival
from stormfold.model.group import PolicyId
from stormfold.policy.version import PolicyVersion

CREATES_AT_ONCE = 50
SIGNALS = 3000
"""Of each storm."""
GROUPS = (20, 2000)
PROBED = 20
"""Of so many Signals one is looked for in Redis from its acknowledgement on."""
LOOK_SECONDS = 0.01
VERSION = PolicyVersion(
    PolicyId("ClusterStormPolicy", "", "default"),
    "uid",
    1,
    PolicySpec.model_validate({"groupBy": ["name", "namespace"]}),
)
"""What the groups of the cluster's policy are reckoned by."""


def signal_manifest(name: str, namespace: str, trouble: str, pod: str) -> dict[str, Any]:
    """A Signal in the size and form that an alerting system would give it."""
    return {
        "apiVersion": API_VERSION,
        "kind": "Signal",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "name": trouble,
            "severity": "critical",
            "state": "Firing",
            "source": "alertmanager",
            "target": {"apiVersion": "v1", "kind": "Pod", "name": pod, "namespace": namespace},
            "labels": {
                "alertname": trouble,
                "cluster": "eu-central-1",
                "container": "checkout",
                "job": "kube-state-metrics",
                "prometheus": "monitoring/k8s",
                "team": "payments",
            },
            "annotations": {
                "summary": "Pod is crash looping.",
                "description": f"Pod {namespace}/{pod} (checkout) is in waiting state CrashLoopBackOff.",
                "runbook": "https://runbooks.example.com/kubernetes/pod-crash-looping",
            },
        },
    }


@dataclass
class Storm:
    """Signals of `groups` groups in a namespace of their own."""

    namespace: str
    signals: int
    groups: int

    def manifests(self) -> Iterator[dict[str, Any]]:
        """The Signals, group by group in turn, each about a pod of its own."""
        for n in range(self.signals):
            trouble = f"KubePodCrashLooping{n % self.groups}"
            pod = f"checkout-api-7d9f8b6c5d-{n // self.groups:05x}"
            yield signal_manifest(f"{trouble.lower()}-{n:05d}", self.namespace, trouble, pod)

    async def create(self, client: KubeClient, probes: Probes | None = None) -> float:
        """Create all, as fast as they are taken; gives the seconds that it took."""
        path = paths.collection(Signal.plural, self.namespace)
        manifests = list(enumerate(self.manifests()))

        async def create(numbered: tuple[int, dict[str, Any]]) -> None:
            number, manifest = numbered
            created = await client.create(path, manifest)
            if probes and number % PROBED == 0:
                probes.look_for(created)

        started = time.monotonic()
        await at_once(CREATES_AT_ONCE, create, manifests)
        return time.monotonic() - started

    async def check(self, client: KubeClient) -> None:
        """The requests hold every Signal once."""
        items, _ = await client.list_all(paths.collection(RemediationRequest.plural, self.namespace), dict)
        totals = [(item.get("status") or {}).get("signals", {}).get("total", 0) for item in items]
        if (len(items), sum(totals)) != (self.groups, self.signals):
            raise SystemExit(f"{self}: {len(items)} requests with {sum(totals)} signals")


class Probes:
    """Looks for some Signals in Redis: when their fold is there."""

    def __init__(self, tasks: asyncio.TaskGroup, connection: Connection) -> None:
        self._tasks = tasks
        self._client = connection.client
        self.lags: list[float] = []
        """Seconds from the acknowledgement of the create."""

    def look_for(self, created: dict[str, Any]) -> None:
        """The Signal was acknowledged just now."""
        arrival = PARSE(created).outcome
        assert isinstance(arrival, Arrival)
        self._tasks.create_task(self._look_for(arrival, time.monotonic()))

    async def _look_for(self, arrival: Arrival, since: float) -> None:
        group = VERSION.group(arrival)
        key, member = keys.ids(group.partition, group.group_hash), arrival.occurrence
        while await self._client.zscore(key, member) is None:  # noqa: ASYNC110 - Redis sets no event
            await asyncio.sleep(LOOK_SECONDS)
        self.lags.append(time.monotonic() - since)


def as_stored(manifest: dict[str, Any], version: int) -> dict[str, Any]:
    """The Signal with what the API server adds to it."""
    now = "2026-01-01T00:00:00Z"
    fields: dict[str, Any] = {f"f:{name}": {} for name in manifest["spec"]} | {
        f"f:{n}": {} for n in manifest["spec"]["labels"]
    }
    write = {"manager": "bench", "operation": "Update", "time": now, "fieldsV1": {"f:spec": fields}}
    added = {
        "uid": f"0b5c2f0e-6c1d-4a52-8d7e-{version:012x}",
        "generation": 1,
        "resourceVersion": str(version),
        "creationTimestamp": now,
        "managedFields": [write],
    }
    return manifest | {"metadata": manifest["metadata"] | added}
