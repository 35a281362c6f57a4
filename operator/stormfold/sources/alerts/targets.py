"""Targets: what an alert is about, as its labels name it (pure).

The first label of `NAMED_BY` that names an object wins: what is most specific comes first, and an object
comes before the node it is on, since alerts on pods and volumes also carry the node. Nothing is guessed: a
label that cannot be the name of an object is passed over, and so is that of a namespaced object whose
namespace nobody tells. Where no label names an object, the alert is about an address: the target of a probe,
or the instance that was scraped.

Each name has several spellings (`SPELLINGS`), among them those of OpenTelemetry; the first of them wins.

A scrape adds labels of its own, which say who was asked and not what the answer is about:

* `job`, `endpoint` and `container` never name a target. The Kubernetes Job is `job_name`.
* Where both had a label, Prometheus without honorLabels keeps that of the metric as `exported_<label>`: it
  wins, and beside `exported_namespace` the plain `pod` and `service` are those of whoever was scraped. So
  they are beside the pod or the namespace that OpenTelemetry names: a collector was scraped.
* With honorLabels a metric that has no `pod` gets that of its exporter: `KubeNodeNotReady` comes with the pod
  of kube-state-metrics. So a pod and a service are passed over where they, and `job`, hold the name of one of
  `EXPORTERS`, unless `instance` is missing: then the rule has chosen its labels, and means them. If
  `instance` is a URL, whoever was scraped was asked for that one. Those of `PROBING` are passed over by any
  job but those of `EXPORTERS` and cadvisor, which tell of such a pod itself.
* `kubernetes_<…>` are of whoever was scraped, too: they are passed over where the metric names another
  namespace.
"""

import re
from collections.abc import Collection, Iterable
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

from stormfold.model.arrival import Target, address_target

LONGEST_NAME = 253
"""No name of an object is longer."""


class Named(NamedTuple):
    """The kind that a label names."""

    label: str
    api_version: str
    kind: str
    opentelemetry: str = ""
    """What OpenTelemetry calls it: `k8s.<this>.name`."""
    further: tuple[str, ...] = ()
    """Other spellings."""
    namespaced: bool = True


NAMED_BY = (
    Named("pod", "v1", "Pod", "pod", ("pod_name", "kubernetes_pod_name")),
    Named("replicaset", "apps/v1", "ReplicaSet", "replicaset"),
    Named("deployment", "apps/v1", "Deployment", "deployment"),
    Named("statefulset", "apps/v1", "StatefulSet", "statefulset"),
    Named("daemonset", "apps/v1", "DaemonSet", "daemonset"),
    Named("replicationcontroller", "v1", "ReplicationController", "replicationcontroller"),
    Named("job_name", "batch/v1", "Job", "job"),
    Named("cronjob", "batch/v1", "CronJob", "cronjob"),
    Named("horizontalpodautoscaler", "autoscaling/v2", "HorizontalPodAutoscaler", "hpa"),
    Named("poddisruptionbudget", "policy/v1", "PodDisruptionBudget"),
    Named("persistentvolumeclaim", "v1", "PersistentVolumeClaim", "persistentvolumeclaim"),
    Named("persistentvolume", "v1", "PersistentVolume", "persistentvolume", namespaced=False),
    Named("resourcequota", "v1", "ResourceQuota", "resourcequota"),
    Named("ingress", "networking.k8s.io/v1", "Ingress"),
    Named("node", "v1", "Node", "node", ("nodename",), namespaced=False),
    Named("service", "v1", "Service", "service", ("kubernetes_name",)),
    # Only where nothing else is known: whoever was scraped runs there.
    Named("kubernetes_node", "v1", "Node", namespaced=False),
    Named(
        "namespace",
        "v1",
        "Namespace",
        "namespace",
        ("namespace_name", "kubernetes_namespace"),
        namespaced=False,
    ),
)
"""What names a target, the first of them first; the labels are those of kube-state-metrics."""

SPELLINGS = {
    named.label: (
        f"exported_{named.label}",
        *(
            (f"k8s.{named.opentelemetry}.name", f"k8s_{named.opentelemetry}_name")
            if named.opentelemetry
            else ()
        ),
        named.label,
        *named.further,
    )
    for named in NAMED_BY
}
"""Label → the labels that say the same, the first of them first."""

WORKLOADS = {
    **{named.kind.lower(): named.label for named in NAMED_BY[:8]},
    "barepod": "pod",
    "staticpod": "pod",
}
"""What `workload_type` may say, in any case → the label that would name such a workload."""

ADDRESSES = ("exported_target", "target", "exported_instance", "host.name", "host_name", "instance")
"""The labels that tell what an alert is about where none names an object; the first of them first."""

EXPORTERS = (
    "kube-state-metrics",
    "node-exporter",
    "node-problem-detector",
    "kubelet",
    "blackbox",
    "snmp-exporter",
)
"""Exporters that tell of other things than themselves."""
PROBERS = ("exporter", "blackbox", "probe")
"""What a pod or service is called that was asked for a URL."""
PROBING = ("blackbox", "snmp-exporter")
"""What a pod or service is called that was scraped for something else by a job of any name."""
OF_NODES = frozenset(("node-exporter", "node-problem-detector", "kubelet"))
"""Those that tell of the node that they run on."""
COLLECTORS = ("otel-collector", "opentelemetry-collector")
"""What passes on the metrics of others, beside its own: those of others have names of OpenTelemetry."""

NAMESPACE_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
"""What no namespace can be called would become part of a request's path."""
OBJECT_NAME = re.compile(rf"[a-z0-9]([-a-z0-9.]{{0,{LONGEST_NAME - 2}}}[a-z0-9])?")
"""Names of the kinds above: DNS subdomains."""

MAX_ADDRESS = LONGEST_NAME
"""What `resources` take as a name; a longer address ends in a digest of all of it."""

REMEMBERED = 4096
"""Objects that are remembered: Alertmanager tells of the same ones again and again."""

_PLACES = {
    spelling: (place, rank, spelling)
    for place, named in enumerate(NAMED_BY)
    for rank, spelling in enumerate(SPELLINGS[named.label])
}
_PLACE_OF = {named.label: place for place, named in enumerate(NAMED_BY)}
_NAMESPACE = _PLACE_OF["namespace"]
_OPENTELEMETRY = frozenset(label for label in _PLACES if label.startswith(("k8s.", "k8s_")))
_COLLECTED = ("k8s.namespace.name", "k8s_namespace_name", "k8s.pod.name", "k8s_pod_name")
_OF_THE_SCRAPE = frozenset(("pod", "service"))
_OF_THE_SCRAPED = ("pod", "pod_name", "service", "kubernetes_pod_name", "kubernetes_name")
_SAYS_WHO_WAS_SCRAPED = ("job", "kubernetes_name", "app_kubernetes_io_name")
_IP_V4 = re.compile(r"[0-9.]+")
_HOST_AND_PORT = re.compile(r"([^:]+)(:[0-9]{1,5})?")
_LOGIN = re.compile(r"(?<=://)[^/?#\s]*@|^[^/?#\s:@]*:[^/?#\s]*@")
_QUERY = re.compile(r"[?#].*", re.DOTALL)


def target_and_namespace(labels: dict[str, str]) -> tuple[Target | None, str | None]:
    """The target that the labels name, and the namespace that they speak for: that of the target if it has
    one."""
    spelled = [_PLACES[label] for label in labels if label in _PLACES]
    if "workload" in labels and (label := WORKLOADS.get(labels.get("workload_type", "").lower())):
        spelled.append((_PLACE_OF[label], len(SPELLINGS[label]), "workload"))
    spelled.sort()
    exporter = _exporter_of(labels)
    passed_over = _passed_over(labels, exporter)
    namespace = next(
        (
            target.name
            for place, _, label in spelled
            if place == _NAMESPACE
            and label not in passed_over
            and (target := _named(place, labels[label], None))
        ),
        None,
    )
    if labels.get("kubernetes_namespace", namespace) != namespace:
        passed_over = {*passed_over, "kubernetes_pod_name", "kubernetes_name", "kubernetes_node"}
    for place, _, label in spelled:
        if label not in passed_over and place != _NAMESPACE:
            target = _named(place, labels[label], namespace)
            if target:
                return target, namespace
    return _without_object(labels, exporter, namespace), namespace


def _without_object(labels: dict[str, str], exporter: str | None, namespace: str | None) -> Target | None:
    """What an alert is about that names no object but perhaps a namespace."""
    if exporter in OF_NODES and namespace is not None and (node := _node_at(labels["instance"])):
        return node
    # All that kube-state-metrics tells of comes from its one address, and it says the namespaces of what it
    # tells of.
    if exporter != "kube-state-metrics":
        for label in ADDRESSES:
            if label in labels and (target := _address(labels[label])):
                return target
    return _named(_NAMESPACE, namespace, None) if namespace is not None else None


def _node_at(instance: str) -> Target | None:
    """The node whose name an instance is, with or without a port. An address of IP is none."""
    found = _HOST_AND_PORT.fullmatch(instance) if len(instance) <= LONGEST_NAME + 6 else None
    if not found or _IP_V4.fullmatch(found[1]):
        return None
    return _named(_PLACE_OF["node"], found[1], None)


def _address(text: str) -> Target | None:
    """What is at an address: without user, password and query, and cut if it is too long."""
    shown = _QUERY.sub("", _LOGIN.sub("", text.strip()))
    if not shown:
        return None
    if not shown.isprintable():
        shown = "".join(character if character.isprintable() else "\ufffd" for character in shown)
    if len(shown) > MAX_ADDRESS:
        digest = blake2b(shown.encode(errors="replace"), digest_size=4).hexdigest()
        shown = f"{shown[: MAX_ADDRESS - len(digest) - 1]}…{digest}"
    return address_target(shown)


def _named(place: int, name: str, namespace: str | None) -> Target | None:
    """The object of that name, unless it is none that can be found."""
    return _object(place, name, namespace) if len(name) <= LONGEST_NAME else None


@lru_cache(REMEMBERED)
def _object(place: int, name: str, namespace: str | None) -> Target | None:
    named = NAMED_BY[place]
    if named.namespaced and namespace is None:
        return None
    if not (NAMESPACE_NAME if place == _NAMESPACE else OBJECT_NAME).fullmatch(name):
        return None
    return Target(named.api_version, named.kind, name, namespace if named.namespaced else None)


def _exporter_of(labels: dict[str, str]) -> str | None:
    """The exporter that was scraped, if it is one that tells of other things."""
    if "instance" not in labels:
        return None
    for label in _SAYS_WHO_WAS_SCRAPED:
        if exporter := _known_in(labels.get(label, "")[:LONGEST_NAME], EXPORTERS):
            return exporter
    if not _OPENTELEMETRY.isdisjoint(labels):
        return _known_in(labels.get("job", "")[:LONGEST_NAME], COLLECTORS)
    return None


@lru_cache(REMEMBERED)
def _known_in(job: str, known: Iterable[str]) -> str | None:
    job = job.replace("_", "-")
    return next((exporter for exporter in known if exporter in job), None)


def _passed_over(labels: dict[str, str], exporter: str | None) -> Collection[str]:
    """The labels that say who was scraped, and not what the alert is about."""
    over: set[str] = set()
    collected = any(labels.get(label) for label in _COLLECTED)
    if exporter:
        over.update(label for label in _OF_THE_SCRAPED if exporter in labels.get(label, ""))
        if exporter not in OF_NODES:
            over.add("kubernetes_node")
        # A collector that has scraped the exporter names it as OpenTelemetry does.
        if any(exporter in labels.get(label, "") for label in ("k8s.pod.name", "k8s_pod_name")):
            over |= _OPENTELEMETRY
            collected = False
    elif "instance" in labels and "cadvisor" not in labels.get("job", ""):
        over.update(
            label for label in _OF_THE_SCRAPED if any(word in labels.get(label, "") for word in PROBING)
        )
    if "://" in labels.get("instance", ""):
        over.update(
            label for label in _OF_THE_SCRAPED if any(word in labels.get(label, "") for word in PROBERS)
        )
    if collected or "exported_namespace" in labels:
        over |= _OF_THE_SCRAPE
    return over
