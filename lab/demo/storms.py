"""The demo's trouble: a node, a registry and a quota fail at once, and what must come of it.

Everything follows from the seed and the number of signals, so that two runs show the same. What is expected
is counted here, while the signals are made, and owes nothing to the code under demonstration.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

Manifest = dict[str, Any]

FEWEST = 50
"""Signals with which every storm of the story still is one."""
STEPS = 10
"""Files in which the signals arrive."""
NODE = "worker-07"
NAMESPACES = ("batch", "payments", "platform", "search", "shop")
WORKLOADS = {
    "shop": [
        "cart",
        "catalogue",
        "checkout",
        "frontend",
        "images",
        "prices",
        "reviews",
        "sessions",
        "stock",
        "wishlist",
    ],
    "payments": ["fraud-check", "gateway", "invoices", "ledger", "payouts", "refunds"],
    "search": ["autocomplete", "crawler", "indexer", "query", "ranking", "suggestions"],
    "batch": ["export-orders", "import-prices", "nightly-report", "rebuild-index"],
}
_SUFFIX = "bcdfghjklmnpqrstvwxz2456789"
"""The letters that Kubernetes uses in generated names."""


@dataclass(frozen=True)
class Expected:
    """One request that must be there in the end, and no other of its namespace and group."""

    title: str
    namespace: str
    """Where the request is."""
    group: frozenset[tuple[str, str]]
    total: int
    storm: bool
    """Whether its group is large enough for the policy's threshold."""


@dataclass(frozen=True)
class Scenario:
    """The signals in the files in which they are applied, and what must come of them."""

    files: tuple[tuple[Manifest, ...], ...]
    expected: tuple[Expected, ...]
    rejected: int

    @property
    def signals(self) -> int:
        """Documents in all files: each counts once, an update of a Signal's spec as well."""
        return sum(map(len, self.files))


@dataclass
class _Storm:
    """A part of the story: `share` of the signals, spread evenly over the steps from `start` to `end`."""

    title: str
    share: int
    start: int
    end: int
    namespace: str
    group: frozenset[tuple[str, str]]
    made: list[Manifest] = field(default_factory=list)


def scenario(signals: int, *, seed: int, now: datetime) -> Scenario:
    """The story told with so many signals; `now` is when the trouble began.

    Raises:
        ValueError: fewer than `FEWEST` signals.
    """
    if signals < FEWEST:
        raise ValueError(f"the story needs at least {FEWEST} signals, not {signals}")
    maker = _Maker(random.Random(seed), now)  # noqa: S311 - names, not secrets
    node = _Storm("node worker-07 goes down", 32, 0, 7, "platform", _group(("labels.node", NODE)))
    pulls = {
        ns: _Storm(f"image registry gone, {ns}", share, 2, 9, ns, _by_name("KubeContainerWaiting", ns))
        for ns, share in (("shop", 22), ("search", 14))
    }
    quota = _Storm("quota of batch is used up", 12, 3, 8, "batch", _group(("namespace", "batch")))
    loops = _Storm(
        "payments in a crash loop", 20, 1, 8, "payments", _by_name("KubePodCrashLooping", "payments")
    )
    storms = [node, *pulls.values(), quota, loops]

    single = [
        maker.volume("payments", "ledger-data-0"),
        maker.volume("search", "index-data-2"),
        maker.certificate("platform"),
    ]
    foreign = maker.foreign("search", "payments")
    counts = _shares(signals - len(single) - 1, [storm.share for storm in storms])
    resolved = counts[-1] // 4
    counts[-1] -= resolved

    node.made = [maker.node_down(), *(maker.pod_on_node() for _ in range(counts[0] - 1))]
    for storm, count in zip(pulls.values(), counts[1:3], strict=True):
        storm.made = [maker.image_pull(storm.namespace) for _ in range(count)]
    quota.made = [maker.quota(n) for n in range(counts[3])]
    loops.made = [maker.crash_loop(n) for n in range(counts[4])]

    files: list[list[Manifest]] = [[] for _ in range(STEPS)]
    for storm in storms:
        for place, manifest in enumerate(storm.made):
            files[storm.start + place * (storm.end - storm.start) // len(storm.made)].append(manifest)
    files[2].append(foreign)
    for step, manifest in zip((1, 4, 6), single, strict=True):
        files[step].append(manifest)
    # An alert that is over keeps its name and changes its state: the update is a signal of its own.
    files[STEPS - 1] += [_resolved(manifest) for manifest in loops.made[:resolved]]

    expected = [
        Expected(storm.title, storm.namespace, storm.group, len(storm.made), storm=True)
        for storm in storms[:-1]
    ]
    expected.append(
        Expected(loops.title, loops.namespace, loops.group, len(loops.made) + resolved, storm=True)
    )
    for manifest in single:
        name, namespace = manifest["spec"]["name"], manifest["metadata"]["namespace"]
        expected.append(Expected("a signal by itself", namespace, _by_name(name, namespace), 1, storm=False))
    return Scenario(tuple(tuple(f) for f in files), tuple(expected), rejected=1)


def violations(told: Scenario, requests: list[Manifest], rejected: int) -> Iterator[str]:
    """A sentence for each thing that is not as it must be; `requests` are all RemediationRequests there
    are."""
    found: dict[tuple[str, frozenset[tuple[str, str]]], list[Manifest]] = {}
    for request in requests:
        group = _group(
            *((value["key"], value.get("value", "")) for value in request["spec"].get("group", []))
        )
        found.setdefault((request["metadata"]["namespace"], group), []).append(request)
    for expected in told.expected:
        its = found.pop((expected.namespace, expected.group), [])
        if len(its) != 1:
            yield f"{expected.title}: {len(its)} requests in {expected.namespace} instead of 1"
        total = sum(map(total_of, its))
        if total != expected.total:
            yield f"{expected.title}: {total} signals counted instead of {expected.total}"
        if its and is_storm(its[0]) != expected.storm:
            yield f"{expected.title}: StormDetected should be {expected.storm}"
    for namespace, group in found:
        yield f"an unexpected request in {namespace} for {dict(group)}"
    if rejected != told.rejected:
        yield f"{rejected} signals rejected instead of {told.rejected}"


def total_of(request: Manifest) -> int:
    """The signals that a request has counted so far."""
    return int(request.get("status", {}).get("signals", {}).get("total", 0))


def is_storm(request: Manifest) -> bool:
    """Whether its condition StormDetected is True."""
    conditions = request.get("status", {}).get("conditions", [])
    return any(c["type"] == "StormDetected" and c["status"] == "True" for c in conditions)


def _group(*pairs: tuple[str, str]) -> frozenset[tuple[str, str]]:
    return frozenset(pairs)


def _by_name(name: str, namespace: str) -> frozenset[tuple[str, str]]:
    return _group(("name", name), ("namespace", namespace))


def _shares(total: int, weights: list[int]) -> list[int]:
    """`total` cut up by weight; what rounding leaves over goes to the last."""
    shares = [total * weight // sum(weights) for weight in weights]
    shares[-1] += total - sum(shares)
    return shares


def _resolved(manifest: Manifest) -> Manifest:
    return {**manifest, "spec": {**manifest["spec"], "state": "Resolved"}}


class _Maker:
    """Makes Signals as an Alertmanager of kube-prometheus would report them, with names used once."""

    def __init__(self, dice: random.Random, now: datetime) -> None:
        self._dice = dice
        self._began = now.astimezone(UTC)
        self._used: set[str] = set()

    def node_down(self) -> Manifest:
        target = {"kind": "Node", "name": NODE}
        text = f"Node {NODE} has not reported to the control plane for 2 minutes."
        return self._signal("platform", "KubeNodeUnreachable", "critical", target, text, node=NODE)

    def pod_on_node(self) -> Manifest:
        namespace = self._dice.choice(["shop", "payments", "search"])
        pod = self._pod(self._dice.choice(WORKLOADS[namespace]))
        text = f"Pod {namespace}/{pod} has not been ready since its node {NODE} went away."
        return self._signal(namespace, "KubePodNotReady", "high", _pod(pod, namespace), text, node=NODE)

    def image_pull(self, namespace: str) -> Manifest:
        workload = self._dice.choice(WORKLOADS[namespace])
        pod = self._pod(workload)
        text = f"Container {workload} of pod {namespace}/{pod} waits: ImagePullBackOff."
        labels = {"container": workload, "reason": "ImagePullBackOff"}
        return self._signal(
            namespace, "KubeContainerWaiting", "warning", _pod(pod, namespace), text, **labels
        )

    def crash_loop(self, number: int) -> Manifest:
        workload = WORKLOADS["payments"][number % 2]
        pod = self._pod(workload)
        text = f"Pod payments/{pod} has restarted {self._dice.randint(5, 40)} times in 10 minutes."
        labels = {"container": workload, "reason": "CrashLoopBackOff"}
        return self._signal(
            "payments", "KubePodCrashLooping", "critical", _pod(pod, "payments"), text, **labels
        )

    def quota(self, number: int) -> Manifest:
        if number % 12 == 0:
            target = {"kind": "ResourceQuota", "name": f"{self._word()}-quota", "namespace": "batch"}
            text = "Namespace batch uses 100 % of its quota for requests.memory."
            return self._signal("batch", "KubeQuotaFullyUsed", "warning", target, text)
        job = f"{self._dice.choice(WORKLOADS['batch'])}-{29_000_000 + number}"
        target = {"apiVersion": "batch/v1", "kind": "Job", "name": job, "namespace": "batch"}
        text = f"Job batch/{job} failed: its pods exceed the quota."
        return self._signal("batch", "KubeJobFailed", "warning", target, text, job_name=job)

    def volume(self, namespace: str, claim: str) -> Manifest:
        target = {"kind": "PersistentVolumeClaim", "name": claim, "namespace": namespace}
        text = f"Volume {namespace}/{claim} is 97 % full."
        return self._signal(namespace, "KubePersistentVolumeFillingUp", "high", target, text)

    def certificate(self, namespace: str) -> Manifest:
        target = {"kind": "Secret", "name": "wildcard-tls", "namespace": namespace}
        text = "Certificate wildcard-tls ends in 6 days."
        return self._signal(namespace, "CertificateEndsSoon", "info", target, text)

    def foreign(self, namespace: str, of: str) -> Manifest:
        """A signal that speaks for a pod of another namespace: nobody may."""
        pod = self._pod(WORKLOADS[of][0])
        text = f"Pod {of}/{pod} is not ready, says somebody in {namespace}."
        return self._signal(namespace, "KubePodNotReady", "critical", _pod(pod, of), text)

    def _signal(
        self, namespace: str, name: str, severity: str, target: Manifest, text: str, **labels: str
    ) -> Manifest:
        alert = {
            "alertname": name,
            "cluster": "eu-1",
            "job": "kube-state-metrics",
            target["kind"].lower(): target["name"],
            **labels,
        }
        began = self._began.replace(microsecond=0).isoformat().replace("+00:00", "Z")
        return {
            "apiVersion": "stormfold.dev/v1alpha1",
            "kind": "Signal",
            "metadata": {"name": f"{name.lower()}-{target['name']}", "namespace": namespace},
            "spec": {
                "name": name,
                "severity": severity,
                "state": "Firing",
                "target": target,
                "labels": alert,
                "annotations": {"summary": text, "runbook_url": f"https://runbooks.example.com/{name}"},
                "source": "alertmanager",
                "startsAt": began,
                "fingerprint": hashlib.blake2b(
                    repr(sorted(alert.items())).encode(), digest_size=8
                ).hexdigest(),
            },
        }

    def _pod(self, workload: str) -> str:
        return f"{workload}-{self._word(9)}-{self._word()}"

    def _word(self, letters: int = 5) -> str:
        while (word := "".join(self._dice.choices(_SUFFIX, k=letters))) in self._used:
            pass
        self._used.add(word)
        return word


def _pod(name: str, namespace: str) -> Manifest:
    return {"kind": "Pod", "name": name, "namespace": namespace}
