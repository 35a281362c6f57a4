"""The other names under which senders tell of an object, and alerts that are about none."""

from __future__ import annotations

from itertools import pairwise

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
from stormfold.sources.alerts.targets import MAX_ADDRESS, SPELLINGS, target_and_namespace

OTEL = {"k8s.namespace.name": "shop"}
CLASSIC = {
    "job": "kubernetes-pods",
    "instance": "10.42.0.31:8080",
    "kubernetes_namespace": "shop",
    "kubernetes_pod_name": "web-0",
    "kubernetes_node": "worker-3",
}
"""What the example configuration of Prometheus for Kubernetes, much copied, adds."""


@pytest.mark.parametrize("to_label", [str, lambda name: name.replace(".", "_")], ids=["dots", "underscores"])
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("k8s.pod.name", Target("v1", "Pod", "x", "shop")),
        ("k8s.replicaset.name", Target("apps/v1", "ReplicaSet", "x", "shop")),
        ("k8s.deployment.name", Target("apps/v1", "Deployment", "x", "shop")),
        ("k8s.statefulset.name", Target("apps/v1", "StatefulSet", "x", "shop")),
        ("k8s.daemonset.name", Target("apps/v1", "DaemonSet", "x", "shop")),
        ("k8s.replicationcontroller.name", Target("v1", "ReplicationController", "x", "shop")),
        ("k8s.job.name", Target("batch/v1", "Job", "x", "shop")),
        ("k8s.cronjob.name", Target("batch/v1", "CronJob", "x", "shop")),
        ("k8s.hpa.name", Target("autoscaling/v2", "HorizontalPodAutoscaler", "x", "shop")),
        ("k8s.persistentvolumeclaim.name", Target("v1", "PersistentVolumeClaim", "x", "shop")),
        ("k8s.persistentvolume.name", Target("v1", "PersistentVolume", "x")),
        ("k8s.resourcequota.name", Target("v1", "ResourceQuota", "x", "shop")),
        ("k8s.node.name", Target("v1", "Node", "x")),
        ("k8s.service.name", Target("v1", "Service", "x", "shop")),
    ],
)
def test_name_of_opentelemetry_names_an_object(name: str, expected: Target, to_label: object) -> None:
    assert callable(to_label)
    labels = {to_label("k8s.namespace.name"): "shop", to_label(name): "x"}
    assert target_and_namespace(labels) == (expected, "shop")


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("deployment", DEPLOYMENT),
        ("Deployment", DEPLOYMENT),
        ("statefulset", Target("apps/v1", "StatefulSet", "web", "shop")),
        ("daemonset", Target("apps/v1", "DaemonSet", "web", "shop")),
        ("replicaset", Target("apps/v1", "ReplicaSet", "web", "shop")),
        ("replicationcontroller", Target("v1", "ReplicationController", "web", "shop")),
        ("job", Target("batch/v1", "Job", "web", "shop")),
        ("cronjob", Target("batch/v1", "CronJob", "web", "shop")),
        ("barepod", Target("v1", "Pod", "web", "shop")),
        ("staticpod", Target("v1", "Pod", "web", "shop")),
        ("pod", Target("v1", "Pod", "web", "shop")),
        ("Rollout", NAMESPACE),
        ("", NAMESPACE),
    ],
)
def test_workload_is_of_the_kind_beside_it(kind: str, expected: Target) -> None:
    assert target_and_namespace({"workload": "web", "workload_type": kind, **SHOP}) == (expected, "shop")


@pytest.mark.parametrize("name", SPELLINGS)
def test_spellings_of_a_name_go_in_the_documented_order(name: str) -> None:
    for first, second in pairwise(SPELLINGS[name]):
        labels = {first: "first", second: "second"}
        if name != "namespace":
            labels |= {"namespace": "shop", "kubernetes_namespace": "shop"}
        target, namespace = target_and_namespace(labels)
        assert (target and target.name, namespace) == ("first", "first" if name == "namespace" else "shop")


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


def test_probes_of_one_namespace_are_as_many_targets() -> None:
    probes = [
        target_and_namespace({"namespace": "team-00", "instance": f"https://{n}.example/", "job": "probe"})
        for n in range(459)
    ]
    assert len(set(probes)) == 459


def test_exporters_of_twelve_nodes_are_as_many_targets() -> None:
    found = [target_and_namespace({**NODE_EXPORTER, "instance": f"10.0.0.{n}:9100"}) for n in range(12)]
    assert found == [(instance(f"10.0.0.{n}:9100"), "monitoring") for n in range(12)]


@pytest.mark.parametrize(
    ("address", "name"),
    [
        pytest.param("https://monitor:s3cret@a.example/x", "https://a.example/x", id="a password"),
        pytest.param("https://s3cret@a.example", "https://a.example", id="a token"),
        pytest.param("redis://:s3cret@redis-0:6379", "redis://redis-0:6379", id="only a password"),
        pytest.param("monitor:s3cret@db-1:9100", "db-1:9100", id="a password without a scheme"),
        pytest.param("https://m:" + "s" * 600 + "@a.example/x", "https://a.example/x", id="a long password"),
        pytest.param("https://a.example/x?token=s3cret#top", "https://a.example/x", id="a query"),
        pytest.param("https://a.example/#s3cret", "https://a.example/", id="a fragment"),
        pytest.param("https://a.example/@b", "https://a.example/@b", id="a path with an at"),
        pytest.param("user@a.example", "user@a.example", id="an address of mail"),
        pytest.param("a\x1b[31mb\n", "a�[31mb", id="characters that a terminal obeys"),
        pytest.param("a" * 253, "a" * 253, id="as long as a name may be"),
    ],
)
def test_address_is_shown_without_what_does_not_belong_into_a_status(address: str, name: str) -> None:
    assert target_and_namespace({"instance": address}) == (instance(name), None)


def test_addresses_that_differ_at_the_end_stay_apart() -> None:
    found = [target_and_namespace({"instance": "https://a.example/" + "x" * 4000 + end})[0] for end in "ab"]
    assert len(set(found)) == 2
    for target in found:
        assert target is not None
        assert len(target.name) <= MAX_ADDRESS == 253
        assert target.name.startswith("https://a.example/xxx")
        assert "…" in target.name
