"""Targets: the object that an alert is about, as its labels name it (pure).

The first label of `NAMED_BY` that names an object wins: what is most specific comes first, and an object comes before
the node it is on, since alerts on pods and volumes also carry the node. Nothing is guessed: a label that cannot be the
name of an object is passed over, and so is that of a namespaced object whose namespace nobody tells.

A scrape adds labels of its own, which say who was asked and not what the answer is about:

* `job`, `instance`, `endpoint` and `container` never name a target. The Kubernetes Job is `job_name`.
* Where both had a label, Prometheus without honorLabels keeps that of the metric as `exported_<label>`: it wins, and
  beside `exported_namespace` the plain `pod`, `service` and `namespace` are those of whoever was scraped.
* With honorLabels a metric that has no `pod` gets that of its exporter: `KubeNodeNotReady` comes with the pod of
  kube-state-metrics. So `pod` and `service` are passed over where they, and `job`, hold the name of one of `EXPORTERS`,
  unless `instance` is missing: then the rule has chosen its labels, and means them.
"""

import re
from collections.abc import Collection
from functools import lru_cache
from typing import NamedTuple

from stormfold.model.arrival import Target


class Named(NamedTuple):
    """The kind that a label names."""

    label: str
    api_version: str
    kind: str
    namespaced: bool = True


NAMED_BY = (
    Named("pod", "v1", "Pod"),
    Named("replicaset", "apps/v1", "ReplicaSet"),
    Named("deployment", "apps/v1", "Deployment"),
    Named("statefulset", "apps/v1", "StatefulSet"),
    Named("daemonset", "apps/v1", "DaemonSet"),
    Named("replicationcontroller", "v1", "ReplicationController"),
    Named("job_name", "batch/v1", "Job"),
    Named("cronjob", "batch/v1", "CronJob"),
    Named("horizontalpodautoscaler", "autoscaling/v2", "HorizontalPodAutoscaler"),
    Named("poddisruptionbudget", "policy/v1", "PodDisruptionBudget"),
    Named("persistentvolumeclaim", "v1", "PersistentVolumeClaim"),
    Named("persistentvolume", "v1", "PersistentVolume", namespaced=False),
    Named("resourcequota", "v1", "ResourceQuota"),
    Named("ingress", "networking.k8s.io/v1", "Ingress"),
    Named("node", "v1", "Node", namespaced=False),
    Named("service", "v1", "Service"),
    Named("namespace", "v1", "Namespace", namespaced=False),
)
"""The labels that name a target, the first of them first; the labels are those of kube-state-metrics."""

EXPORTERS = ("kube-state-metrics", "node-exporter")
"""Exporters that tell of other things than themselves."""

NAMESPACE_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
"""What no namespace can be called would become part of a request's path."""
OBJECT_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
"""Names of the kinds above: DNS subdomains."""

REMEMBERED = 4096
"""Objects that are remembered: Alertmanager tells of the same ones again and again."""

_OF_THE_SCRAPE = ("pod", "service", "namespace")
_EXPORTED = {f"exported_{named.label}": named.label for named in NAMED_BY}
_KINDS = {named.label: named for named in NAMED_BY}


def target_and_namespace(labels: dict[str, str]) -> tuple[Target | None, str | None]:
    """The target that the labels name, and the namespace that they speak for: that of the target if it has one."""
    passed_over = _of_the_exporter(labels)
    if not _EXPORTED.keys().isdisjoint(labels):
        labels, passed_over = _of_the_metric(labels, passed_over), ()
    namespace = labels.get("namespace")
    if namespace is not None and _named("namespace", namespace, None) is None:
        namespace = None
    for label in _KINDS:
        if label in labels and label not in passed_over:
            target = _named(label, labels[label], namespace)
            if target:
                return target, namespace
    return None, namespace


@lru_cache(REMEMBERED)
def _named(label: str, name: str, namespace: str | None) -> Target | None:
    """The object that the label names, unless it is none that can be found."""
    _, api_version, kind, namespaced = _KINDS[label]
    if namespaced and namespace is None:
        return None
    if not (NAMESPACE_NAME if label == "namespace" else OBJECT_NAME).fullmatch(name):
        return None
    return Target(api_version, kind, name, namespace if namespaced else None)


@lru_cache(REMEMBERED)
def _exporter(job: str) -> str | None:
    return next((exporter for exporter in EXPORTERS if exporter in job), None)


def _of_the_exporter(labels: dict[str, str]) -> Collection[str]:
    """Which of `pod` and `service` are those of an exporter that tells of other things."""
    job = labels.get("job")
    exporter = _exporter(job) if job and "instance" in labels else None
    return [label for label in ("pod", "service") if exporter in labels.get(label, "")] if exporter else ()


def _of_the_metric(labels: dict[str, str], passed_over: Collection[str]) -> dict[str, str]:
    """The labels as the metric had them, where Prometheus has renamed some."""
    if "exported_namespace" in labels:
        passed_over = _OF_THE_SCRAPE
    own = {label: value for label, value in labels.items() if label not in passed_over}
    return own | {label: labels[exported] for exported, label in _EXPORTED.items() if exported in labels}
