"""The other names under which senders tell of an object, and alerts that are about none."""

from __future__ import annotations

import pytest
from tests.harness.senders import (
    BLACKBOX,
    CLAIM,
    COLLECTOR,
    DEPLOYMENT,
    KSM,
    NAMESPACE,
    NODE,
    NODE_EXPORTER,
    POD,
    SERVICE,
    SHOP,
    instance,
)

from stormfold.model.arrival import Target
from stormfold.sources.alerts.targets import target_and_namespace

OTEL = {"k8s.namespace.name": "shop"}
CLASSIC = {
    "job": "kubernetes-pods",
    "instance": "10.42.0.31:8080",
    "kubernetes_namespace": "shop",
    "kubernetes_pod_name": "web-0",
    "kubernetes_node": "worker-3",
}
"""What the example configuration of Prometheus for Kubernetes, much copied, adds."""


@pytest.mark.parametrize(
    ("labels", "target", "namespace"),
    [
        # OpenTelemetry
        pytest.param({**OTEL, "k8s.pod.name": "web-0", "k8s.node.name": "n"}, POD, "shop", id="a pod first"),
        pytest.param(
            {**OTEL, "service.name": "checkout"}, NAMESPACE, "shop", id="a service that is no Service"
        ),
        pytest.param(
            {**COLLECTOR, "k8s_namespace_name": "shop", "k8s_pod_name": "web-0"},
            POD,
            "shop",
            id="a collector",
        ),
        pytest.param(
            {**COLLECTOR, "k8s_namespace_name": "shop", "k8s_deployment_name": "web"},
            DEPLOYMENT,
            "shop",
            id="a collector's pod is not what it tells of",
        ),
        pytest.param(
            {**COLLECTOR, "k8s_node_name": "worker-7"},
            NODE,
            "observability",
            id="a collector of a node's metrics",
        ),
        pytest.param(
            COLLECTOR,
            Target("v1", "Pod", "otel-collector-0", "observability"),
            "observability",
            id="a collector's own metrics",
        ),
        pytest.param(
            {
                "pod": "web-0",
                "k8s_node_name": "worker-7",
                "instance": "worker-7:10250",
                "job": "cadvisor",
                **SHOP,
            },
            POD,
            "shop",
            id="a container's metrics, collected from a node",
        ),
        pytest.param(
            {**KSM, "pod": "web-0", **SHOP, "k8s.pod.name": KSM["pod"], "k8s.namespace.name": "monitoring"},
            POD,
            "shop",
            id="a collector that scrapes kube-state-metrics says whom it scraped",
        ),
        pytest.param({"k8s.pod.name": "", "pod": "web-0", **SHOP}, POD, "shop", id="an empty name"),
        pytest.param({"k8s.namespace.name": "No/Name", **SHOP}, NAMESPACE, "shop", id="what is no namespace"),
        # the example configuration of Prometheus
        pytest.param(CLASSIC, POD, "shop", id="classic: a pod"),
        pytest.param(
            {
                **CLASSIC,
                "deployment": "web",
                "kubernetes_pod_name": "ksm-0",
                "kubernetes_namespace": "ops",
                **SHOP,
            },
            DEPLOYMENT,
            "shop",
            id="classic: the pod that was scraped is in another namespace",
        ),
        pytest.param(
            {"kubernetes_name": "web", "kubernetes_namespace": "shop", "instance": "10.0.0.1:80"},
            SERVICE,
            "shop",
            id="classic: a service",
        ),
        pytest.param(
            {
                "job": "kubernetes-service-endpoints",
                "kubernetes_name": "prometheus-node-exporter",
                "kubernetes_namespace": "monitoring",
                "kubernetes_node": "worker-7",
                "instance": "10.0.0.27:9100",
            },
            NODE,
            "monitoring",
            id="classic: node-exporter",
        ),
        pytest.param(
            {
                "job": "kubernetes-service-endpoints",
                "kubernetes_name": "kube-state-metrics",
                "kubernetes_namespace": "monitoring",
                "kubernetes_node": "worker-3",
                "instance": "10.42.0.17:8080",
                **SHOP,
            },
            NAMESPACE,
            "shop",
            id="classic: the node of kube-state-metrics is not what it tells of",
        ),
        pytest.param({"kubernetes_namespace": "shop"}, NAMESPACE, "shop", id="classic: only a namespace"),
        # further ones
        pytest.param({"pod_name": "web-0", **SHOP}, POD, "shop", id="pod_name"),
        pytest.param({"pod_name": "web-0", "namespace_name": "shop"}, POD, "shop", id="both with _name"),
        pytest.param({"nodename": "worker-7", "instance": "10.0.0.27:9100"}, NODE, None, id="nodename"),
        pytest.param(
            {"persistentvolumeclaim": "data-0", "k8s.node.name": "n", **SHOP},
            CLAIM,
            "shop",
            id="a volume first",
        ),
        # no object
        pytest.param({"instance": "server5", "job": "node_exporter"}, instance("server5"), None, id="a host"),
        pytest.param(
            {"instance": "https://a.example/", "job": "probe/team-00/web", **SHOP},
            instance("https://a.example/"),
            "shop",
            id="a probe speaks for its namespace",
        ),
        pytest.param(
            {**BLACKBOX, "instance": "https://a.example/health"},
            instance("https://a.example/health"),
            "monitoring",
            id="a probe by an exporter",
        ),
        pytest.param(
            {**BLACKBOX, "instance": "blackbox-exporter:9115", "target": "https://a.example/"},
            instance("https://a.example/"),
            "monitoring",
            id="a probe's target before the exporter",
        ),
        pytest.param(
            {**BLACKBOX, "instance": "10.0.0.1:9115", "ingress": "web", **SHOP},
            Target("networking.k8s.io/v1", "Ingress", "web", "shop"),
            "shop",
            id="a probe of an Ingress",
        ),
        pytest.param(
            {"exported_instance": "db-1:5432", "instance": "10.0.0.1:9187", "job": "federate"},
            instance("db-1:5432"),
            None,
            id="the instance of the metric",
        ),
        pytest.param({"host.name": "vm-17"}, instance("vm-17"), None, id="a host of OpenTelemetry"),
        pytest.param(
            {"instance": "10.0.0.4:6443", "job": "apiserver", "namespace": "default"},
            instance("10.0.0.4:6443"),
            "default",
            id="an API server",
        ),
        pytest.param({"job": "apiserver", **SHOP}, NAMESPACE, "shop", id="a sum over instances"),
        pytest.param({"instance": "", **SHOP}, NAMESPACE, "shop", id="an empty instance"),
        pytest.param({"instance": " \n", **SHOP}, NAMESPACE, "shop", id="a blank instance"),
        pytest.param(
            {"job": "blackbox-http", "service": "blackbox", "instance": "a.example:443", **SHOP},
            instance("a.example:443"),
            "shop",
            id="a probe by a job that is called otherwise",
        ),
        pytest.param(
            {
                "job": "caches",
                "pod": "prometheus-redis-exporter-5c8-x2x",
                "service": "prometheus-redis-exporter",
                "instance": "redis://cache-0:6379",
                **SHOP,
            },
            instance("redis://cache-0:6379"),
            "shop",
            id="a URL is what an exporter was asked for",
        ),
        pytest.param(
            {"job": "web", "service": "web", "instance": "https://web.shop.svc/health", **SHOP},
            SERVICE,
            "shop",
            id="a URL of a service that is named",
        ),
        pytest.param(
            {"job": "icmp", "pod": "blackbox-exporter-1", "instance": "10.1.0.7", "namespace": "monitoring"},
            instance("10.1.0.7"),
            "monitoring",
            id="a ping of a host by a job that is called otherwise",
        ),
        pytest.param(
            {
                "job": "snmp",
                "pod": "snmp-exporter-0",
                "service": "snmp-exporter",
                "instance": "switch-2",
                **SHOP,
            },
            instance("switch-2"),
            "shop",
            id="a switch",
        ),
        pytest.param(
            {"job": "icmp", "pod": "blackbox-exporter-1", **SHOP},
            Target("v1", "Pod", "blackbox-exporter-1", "shop"),
            "shop",
            id="a rule that chose the exporter's pod",
        ),
        pytest.param(
            {"job": "kube-state-metrics", "pod": "snmp-exporter-0", "instance": "10.0.0.9:8080", **SHOP},
            Target("v1", "Pod", "snmp-exporter-0", "shop"),
            "shop",
            id="an exporter's pod, of which kube-state-metrics tells",
        ),
        pytest.param(
            {"job": "kubernetes-cadvisor", "pod": "snmp-exporter-0", "instance": "worker-7", **SHOP},
            Target("v1", "Pod", "snmp-exporter-0", "shop"),
            "shop",
            id="an exporter's container, which cadvisor measured",
        ),
        # nodes
        pytest.param(
            {
                "job": "kubelet",
                "service": "kps-kubelet",
                "instance": "10.0.0.4:10250",
                "namespace": "kube-system",
            },
            instance("10.0.0.4:10250"),
            "kube-system",
            id="a kubelet is no Service",
        ),
        pytest.param(
            {
                "job": "kubelet",
                "service": "kubelet",
                "instance": "worker-7:10250",
                "namespace": "kube-system",
            },
            NODE,
            "kube-system",
            id="a kubelet by its node's name",
        ),
        pytest.param(
            {"job": "kubelet", "service": "kubelet", "instance": "10.0.0.4:10250", "pod": "web-0", **SHOP},
            POD,
            "shop",
            id="a container that a kubelet measured",
        ),
        pytest.param(
            {**NODE_EXPORTER, "instance": "worker-7:9100"}, NODE, "monitoring", id="a node with a port"
        ),
        pytest.param({**NODE_EXPORTER, "instance": "worker-7"}, NODE, "monitoring", id="a node"),
        pytest.param(
            {**NODE_EXPORTER, "instance": "ip-10-0-0-27.ec2.internal:9100"},
            Target("v1", "Node", "ip-10-0-0-27.ec2.internal"),
            "monitoring",
            id="a node of EC2",
        ),
        pytest.param(
            {**NODE_EXPORTER, "instance": "[fd00::27]:9100"},
            instance("[fd00::27]:9100"),
            "monitoring",
            id="an address of IPv6",
        ),
        pytest.param(
            {**NODE_EXPORTER, "nodename": "worker-7", "node": "worker-8"},
            Target("v1", "Node", "worker-8"),
            "monitoring",
            id="node before nodename",
        ),
        pytest.param(
            {"instance": "worker-7:9100", "job": "node-exporter"},
            instance("worker-7:9100"),
            None,
            id="a machine of which nobody says that it is in the cluster",
        ),
        pytest.param(
            {
                "job": "node-problem-detector",
                "pod": "node-problem-detector-6k8pb",
                "node": "worker-7",
                "instance": "10.0.0.27:20257",
                "namespace": "kube-system",
            },
            NODE,
            "kube-system",
            id="node-problem-detector tells of its node",
        ),
    ],
)
def test_target_by_another_name_or_none(
    labels: dict[str, str], target: Target | None, namespace: str | None
) -> None:
    assert target_and_namespace(labels) == (target, namespace)
