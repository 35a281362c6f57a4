"""Storms of which it is known what is behind them: a generator, deterministic by seed.

A world of zones, nodes, namespaces, owners, images, issuers of certificates and DNS zones gives pods. A fault
makes one kind of signals, noise is any pod with any trouble. What is not known of an object is missing, as in
a cluster: a DaemonSet is on no node, and not every alert names an image.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

FAULTS = ("node", "zone", "image", "owner", "certificate", "dns")
ATTRIBUTES = (
    *("node", "owner", "namespace"),
    *("labels.image", "labels.zone", "labels.cluster", "labels.issuer", "labels.domain"),
)
"""What the policy of a mixture counts: the default, and what tells certificates and DNS zones apart."""
ATTRIBUTE_OF = {
    "node": "node",
    "zone": "labels.zone",
    "image": "labels.image",
    "owner": "owner",
    "certificate": "labels.issuer",
    "dns": "labels.domain",
}
"""The attribute by which a fault is told."""

Values = Mapping[str, str]
"""What a signal has of the attributes."""


@dataclass(frozen=True)
class Mixture:
    """The signals of one storm in the order in which they come, and of others that came before."""

    signals: tuple[Values, ...]
    elsewhere: tuple[Values, ...]
    """Signals of other storms of the last hour; none of them is about the fault."""
    cause: tuple[str, str] | None
    """Attribute and value of what is behind it; None: nothing is."""


@dataclass(frozen=True)
class World:
    """What there is."""

    pods: tuple[Values, ...]
    """Each with all that can be known of it."""

    def with_value(self, attribute: str, value: str) -> list[Values]:
        """The pods that have it."""
        return [pod for pod in self.pods if pod.get(attribute) == value]


def _weighted(of: random.Random, count: int) -> list[float]:
    """How frequent each of them is: a few are frequent, most are not."""
    weights = [1 / (place + 1) ** of.uniform(0.4, 0.9) for place in range(count)]
    of.shuffle(weights)
    return weights


def world(of: random.Random) -> World:
    """Some world."""
    zones = [f"eu-west-1{letter}" for letter in "abc"]
    nodes = [f"ip-10-0-{n // 16}-{17 * n % 256}.eu-west-1.compute.internal" for n in range(of.randint(9, 40))]
    zone_of = {node: zones[place % len(zones)] for place, node in enumerate(nodes)}
    namespaces = [f"team-{n}" for n in range(of.randint(8, 30))]
    images = [f"registry.example/apps/app-{n}:1.{n % 7}" for n in range(of.randint(20, 60))]
    issuers = [f"issuer-{n}" for n in range(of.randint(4, 8))]
    domains = [f"zone-{n}.example" for n in range(of.randint(4, 10))]
    of_namespaces, of_images = _weighted(of, len(namespaces)), _weighted(of, len(images))
    pods: list[Values] = []
    for n in range(of.randint(40, 120)):
        (namespace,) = of.choices(namespaces, of_namespaces)
        (image,) = of.choices(images, of_images)
        shared = {
            "namespace": namespace,
            "owner": f"{of.choice(('Deployment', 'StatefulSet'))}/{namespace}/app-{n}",
            "labels.image": image,
            "labels.cluster": "prod",
            "labels.issuer": of.choice(issuers),
            "labels.domain": of.choice(domains),
        }
        for _ in range(of.choice((1, 2, 3, 3, 5, 8, 12))):
            node = of.choice(nodes)
            pods.append(shared | {"node": node, "labels.zone": zone_of[node]})
    return World(tuple(pods))


KNOWN = {"node": 0.95, "owner": 0.95, "labels.image": 0.6, "labels.issuer": 0.3, "labels.domain": 0.3}
"""How often a signal about any pod tells its attribute; the others are always told."""


def _told(of: random.Random, pod: Values, always: str = "") -> Values:
    """What a signal about the pod tells."""
    return {
        attribute: value
        for attribute, value in pod.items()
        if attribute == always or of.random() < KNOWN.get(attribute, 1)
    }


def _noise(of: random.Random, among: World) -> Values:
    return _told(of, of.choice(among.pods))


def _node_signal(of: random.Random, pods: list[Values]) -> Values:
    """About a pod of the node, a volume that is attached to it, the node, or a DaemonSet that is short."""
    pod = of.choice(pods)
    node, zone, cluster = pod["node"], pod["labels.zone"], pod["labels.cluster"]
    match of.random():
        case chance if chance < 0.75:
            return _told(of, pod, "node")
        case chance if chance < 0.92:
            return {"node": node, "namespace": pod["namespace"], "labels.cluster": cluster}
        case chance if chance < 0.96:
            return {"node": node, "labels.zone": zone, "labels.cluster": cluster}
        case _:
            return {"owner": "DaemonSet/kube-system/agent", "namespace": "kube-system"} | {
                "labels.cluster": cluster
            }


def _pod_signal(attribute: str) -> Callable[[random.Random, list[Values]], Values]:
    """About a pod that has the value; one in 25 does not tell it."""

    def signal(of: random.Random, pods: list[Values]) -> Values:
        told = dict(_told(of, of.choice(pods), attribute))
        if of.random() < 0.04:
            del told[attribute]
        return told

    return signal


SPREAD_OVER = {"node": 4, "zone": 12, "image": 6, "owner": 4, "certificate": 6, "dns": 6}
"""A fault hits something that so many pods have. Those of an image, an issuer or a domain are of two owners
at least: else nobody could tell it from the owner."""


def _faulty(of: random.Random, fault: str, among: World) -> tuple[str, list[Values]]:
    """The value that is faulty, and the pods that have it."""
    attribute = ATTRIBUTE_OF[fault]
    candidates = []
    for value in sorted({pod[attribute] for pod in among.pods}):
        pods = among.with_value(attribute, value)
        owners = {pod["owner"] for pod in pods}
        if len(pods) >= SPREAD_OVER[fault] and (fault == "owner" or len(owners) > 1):
            candidates.append((value, pods))
    return of.choice(candidates)


def mixture(seed: int, fault: str | None, noise: float, *, background: bool) -> Mixture:
    """A storm of 40 to 200 signals of which so many in a hundred are noise; `fault` None: all are. With
    `background`, 60 to 400 signals came elsewhere."""
    of = random.Random(f"{seed}/{fault}/{noise}/{background}")
    among = world(of)
    elsewhere = tuple(_noise(of, among) for _ in range(of.randint(60, 400) if background else 0))
    count = of.randint(40, 200)
    if fault is None:
        return Mixture(tuple(_noise(of, among) for _ in range(count)), elsewhere, None)
    value, pods = _faulty(of, fault, among)
    signal = _node_signal if fault == "node" else _pod_signal(ATTRIBUTE_OF[fault])
    loud = round(noise * count)
    signals = [signal(of, pods) for _ in range(count - loud)]
    signals += [_noise(of, among) for _ in range(loud)]
    of.shuffle(signals)
    return Mixture(tuple(signals), elsewhere, (ATTRIBUTE_OF[fault], value))
