"""Labels as common exporters send them, and the targets that they name."""

from __future__ import annotations

from stormfold.model.arrival import Target

SHOP = {"namespace": "shop"}


KSM = {
    "container": "kube-state-metrics",
    "endpoint": "http",
    "instance": "10.42.0.17:8080",
    "job": "kube-state-metrics",
    "namespace": "monitoring",
    "pod": "kube-state-metrics-5cc5cc8bf4-zpvs7",
    "service": "kube-state-metrics",
}
"""What an alert carries that kube-state-metrics, scraped with honorLabels, has made of a metric without
labels."""


NODE_EXPORTER = {
    "container": "node-exporter",
    "endpoint": "http-metrics",
    "instance": "10.0.0.27:9100",
    "job": "node-exporter",
    "namespace": "monitoring",
    "pod": "prometheus-node-exporter-cvhqg",
    "service": "prometheus-node-exporter",
}


POD = Target("v1", "Pod", "web-0", "shop")


DEPLOYMENT = Target("apps/v1", "Deployment", "web", "shop")


NODE = Target("v1", "Node", "worker-7")


CLAIM = Target("v1", "PersistentVolumeClaim", "data-0", "shop")


SERVICE = Target("v1", "Service", "web", "shop")


NAMESPACE = Target("v1", "Namespace", "shop")


BLACKBOX = {"job": "blackbox-exporter", "pod": "blackbox-exporter-8c6f-x2x", "namespace": "monitoring"}


COLLECTOR = {
    "container": "otel-collector",
    "endpoint": "prometheus",
    "instance": "10.42.0.9:8889",
    "job": "otel-collector",
    "namespace": "observability",
    "pod": "otel-collector-0",
    "service": "otel-collector",
}
"""What Prometheus adds to metrics that it scrapes from an OpenTelemetry collector."""


def instance(address: str) -> Target:
    """What is no Kubernetes object, but has an address."""
    return Target("", "Instance", address)
