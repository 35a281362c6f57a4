"""What a request says of why its signals came: which value most of them share."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from tests.harness.api import Manifest
from tests.harness.scene import Scene

from lab.valkey import Valkey
from stormfold.api.reasons.specs import SpecReason

NODE = "worker-7"


def causes(request: Manifest) -> list[Manifest]:
    """Those that it claims."""
    found: list[Manifest] = request["status"].get("commonCauses") or []
    return found


def outage(noise: int, label: str = "node") -> list[tuple[str, str, dict[str, str]]]:
    """Name, pod and labels of what comes when a node dies, among so much noise, in random order: the node,
    its pods and volumes, and DaemonSets that lack a pod there and name no node. `label` tells the node: one
    that a test has for itself is counted in no other storm."""
    of = random.Random(7)
    signals = [("KubeNodeNotReady", "", {label: NODE})]
    signals += [("KubePodNotReady", f"pod-{n}", {label: NODE}) for n in range(40)]
    signals += [("VolumeDetached", f"volume-{n}", {label: NODE}) for n in range(12)]
    signals += [("KubeDaemonSetMisScheduled", f"agent-{n}", {}) for n in range(3)]
    nodes = [f"worker-{n}" for n in range(1, 16)]
    for n in range(noise):
        labels = {label: of.choice([node for node in nodes if node != NODE])} if n % 4 else {}
        signals.append(
            (of.choice(("TargetDown", "CPUThrottlingHigh", "KubeJobFailed")), f"noise-{n}", labels)
        )
    of.shuffle(signals)
    return signals


async def send(scene: Scene, signals: list[tuple[str, str, dict[str, str]]]) -> None:
    """Create them, as fast as the API server takes them."""
    await scene.api.create_all(
        [scene.manifest(name, pod or None, labels=labels) for name, pod, labels in signals]
    )


async def test_node_that_dies_is_the_cause_among_noise_of_30_percent(scene: Scene) -> None:
    await scene.policy(groupBy=["namespace"])
    await send(scene, outage(24))
    [request] = await scene.comes_to((1, "Settled", 80))
    assert causes(request) == [{"attribute": "node", "value": NODE, "signals": 53, "coverage": 66}]
    assert request["status"]["summary"].endswith(f"; 53 of 80 share node {NODE}")


async def test_among_noise_of_60_percent_no_cause_is_claimed(scene: Scene) -> None:
    label = scene.namespace
    await scene.policy(groupBy=["namespace"], causes=[f"labels.{label}"])
    await send(scene, outage(84, label))
    [request] = await scene.comes_to((1, "Settled", 140))
    assert causes(request) == []
    assert "share" not in request["status"]["summary"]


async def test_cause_is_counted_on_when_redis_has_lost_its_data(scene: Scene, shared_valkey: Valkey) -> None:
    label = scene.namespace
    await scene.policy(groupBy=["namespace"], causes=[f"labels.{label}"], window={"idle": "2s"})
    signals = outage(24, label)
    await send(scene, signals[:60])
    await scene.requests_come_to("status.signals.total", [(60,)])
    shared_valkey.command("FLUSHALL")
    await send(scene, signals[60:])
    [request] = await scene.comes_to((1, "Settled", 80))
    assert request["status"]["continuation"]["origin"], "Redis has lost nothing"
    assert causes(request) == [{"attribute": f"labels.{label}", "value": NODE, "signals": 53, "coverage": 66}]


async def test_cause_that_covers_less_in_the_end_is_claimed_no_more(scene: Scene) -> None:
    label = scene.namespace
    await scene.policy(groupBy=["namespace"], causes=[f"labels.{label}"], window={"idle": "2s"})
    await send(scene, outage(0, label))
    await scene.signal("Other", "pod", labels={label: "worker-1"})
    await scene.signal("Other", "pod", labels={label: "worker-2"})
    [request] = await scene.requests_come_to("status.signals.total", [(58,)])
    assert [(cause["value"], cause["signals"]) for cause in causes(request)] == [(NODE, 53)]
    await send(scene, [("Other", f"late-{n}", {label: f"worker-{n % 6}"}) for n in range(40)])
    [request] = await scene.comes_to((1, "Settled", 98))
    assert causes(request) == []


# --- a registry that answers 429


REGISTRY = "registry.example"
REFUSED = "failed to copy: httpReadSeeker: unexpected status code https://{}/v2/: 429 Too Many Requests"


def pull_events(namespace: str, pod: str, node: str, image: str) -> Iterator[Manifest]:
    """What the kubelet says of a pod whose image it may not pull, as Kubernetes 1.37 does."""
    messages = (
        f'Failed to pull image "{image}": {REFUSED.format(REGISTRY)} - Server message: toomanyrequests',
        "Error: ErrImagePull",
        "Error: ImagePullBackOff",
    )
    for n, message in enumerate(messages):
        yield event(
            namespace,
            f"{pod}.18a1f0c3d2e4b50{n}",
            {"kind": "Pod", "name": pod, "uid": f"uid-{pod}", "fieldPath": "spec.containers{app}"},
            reason="Failed",
            message=message,
            source={"component": "kubelet", "host": node},
        )


def event(namespace: str, name: str, about: dict[str, str], **fields: Any) -> Manifest:
    """A Warning."""
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": namespace},
        "type": "Warning",
        "count": 1,
        "involvedObject": {"apiVersion": "v1", "namespace": namespace, **about},
    } | fields


async def test_registry_that_answers_429_is_the_cause_of_all_failed_pulls(scene: Scene) -> None:
    counted = ["labels.registry", "labels.image", "node", "namespace"]
    await scene.policy(causes=counted, groupBy=["name"])
    registries = [REGISTRY] * 3 + ["docker.io"] * 15 + ["ghcr.io"] * 12
    for name in ("CrashLooping", "ProbeFailed"):
        await send(
            scene, [(name, f"pod-{n}", {"registry": registry}) for n, registry in enumerate(registries)]
        )
    await scene.comes_to((1, "Settled", 30), (1, "Settled", 30))
    label = {"storm": scene.namespace}
    namespaces = [await scene.another_namespace(**label) for _ in range(20)]
    target = await scene.another_namespace()
    await scene.cluster_policy(
        f"pulls-{scene.namespace}",
        match={"sources": ["event"], "namespaceSelector": {"matchLabels": label}},
        groupBy=["source"],
        causes=counted,
        requestNamespace=target,
        window={"idle": "2s"},
    )
    pulls = [
        list(
            pull_events(namespaces[n % 20], f"app-{n}", f"node-{n % 15}", f"{REGISTRY}/team/app-{n % 12}:1.2")
        )
        for n in range(60)
    ]
    events = []
    for n in range(5):
        about = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": f"app-{n}", "uid": f"uid-of-set-{n}"}
        events.append(
            event(
                namespaces[n],
                f"app-{n}.18a1f0c3d2e4b510",
                about,
                reason="FailedCreate",
                message="Error creating: admission webhook denied the request: 429 Too Many Requests",
                source={"component": "replicaset-controller"},
            )
        )
    for of_each_pod in zip(*pulls, strict=True):  # the kubelet names the image first
        await scene.api.create_all(list(of_each_pod))
    await scene.api.create_all(events)
    [request] = await scene.comes_to((1, "Settled", 185), namespace=target)
    assert causes(request) == [
        {"attribute": "labels.registry", "value": REGISTRY, "signals": 180, "coverage": 97, "lift": 9}
    ]
    # Of more than 25 resources HyperLogLog tells how many: of 65 with random names often 64, and seldom less.
    about = request["status"]["affectedResourceCount"]
    assert 60 <= about <= 70
    assert request["status"]["summary"] == (
        f"185 signals on about {about} resources: Failed 180, FailedCreate 5; "
        f"180 of 185 share registry {REGISTRY}"
    )


async def test_policy_that_would_count_a_secret_is_refused(scene: Scene) -> None:
    policy = await scene.policy(causes=["node", "labels.api-token"], accepted=False)
    (accepted,) = [c for c in policy["status"]["conditions"] if c["type"] == "Accepted"]
    assert accepted["reason"] == SpecReason.INVALID_LABEL_NAME
    assert "api-token" in accepted["message"]
