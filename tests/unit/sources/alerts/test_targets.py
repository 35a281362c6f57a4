"""What the labels of an alert name as its target, and which namespace they speak for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.harness.senders import (
    CLAIM,
    DEPLOYMENT,
    KSM,
    NODE,
    NODE_EXPORTER,
    POD,
    SERVICE,
    SHOP,
    instance,
)

from stormfold.model.arrival import Target
from stormfold.sources.alerts.targets import NAMED_BY, target_and_namespace


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("pod", Target("v1", "Pod", "x", "shop")),
        ("replicaset", Target("apps/v1", "ReplicaSet", "x", "shop")),
        ("deployment", Target("apps/v1", "Deployment", "x", "shop")),
        ("statefulset", Target("apps/v1", "StatefulSet", "x", "shop")),
        ("daemonset", Target("apps/v1", "DaemonSet", "x", "shop")),
        ("replicationcontroller", Target("v1", "ReplicationController", "x", "shop")),
        ("job_name", Target("batch/v1", "Job", "x", "shop")),
        ("cronjob", Target("batch/v1", "CronJob", "x", "shop")),
        ("horizontalpodautoscaler", Target("autoscaling/v2", "HorizontalPodAutoscaler", "x", "shop")),
        ("poddisruptionbudget", Target("policy/v1", "PodDisruptionBudget", "x", "shop")),
        ("persistentvolumeclaim", Target("v1", "PersistentVolumeClaim", "x", "shop")),
        ("persistentvolume", Target("v1", "PersistentVolume", "x")),
        ("resourcequota", Target("v1", "ResourceQuota", "x", "shop")),
        ("ingress", Target("networking.k8s.io/v1", "Ingress", "x", "shop")),
        ("node", Target("v1", "Node", "x")),
        ("service", Target("v1", "Service", "x", "shop")),
    ],
)
def test_label_names_an_object_of_its_kind(label: str, expected: Target) -> None:
    assert target_and_namespace({label: "x", **SHOP}) == (expected, "shop")


@pytest.mark.parametrize("first", range(len(NAMED_BY) - 1))
def test_first_label_of_the_list_wins(first: int) -> None:
    labels = {named.label: "x" for named in NAMED_BY[first:]}
    target, namespace = target_and_namespace(labels)
    assert (target and target.kind, namespace) == (NAMED_BY[first].kind, "x")


@pytest.mark.parametrize(
    ("labels", "target", "namespace"),
    [
        pytest.param({}, None, None, id="no labels"),
        pytest.param(SHOP, Target("v1", "Namespace", "shop"), "shop", id="only a namespace"),
        pytest.param(
            {"job": "web", "endpoint": "web", "container": "web"},
            None,
            None,
            id="labels of the scrape name nothing",
        ),
        pytest.param(
            {"exported_job": "web", **SHOP}, Target("v1", "Namespace", "shop"), "shop", id="nor here"
        ),
        pytest.param({"pod": "web-0"}, None, None, id="a pod without a namespace is none that can be found"),
        pytest.param({"pod": "web-0", "node": "worker-7"}, NODE, None, id="its node is"),
        pytest.param({"pod": "web-0", "node": "worker-7", **SHOP}, POD, "shop", id="a pod before its node"),
        pytest.param(
            {"pod": "web-0", "deployment": "web", **SHOP}, POD, "shop", id="a pod before its deployment"
        ),
        pytest.param(
            {"pod": "web-0", "job": "kubernetes-pods", "instance": "10.0.0.1:80", "service": "web", **SHOP},
            POD,
            "shop",
            id="a pod that was scraped itself",
        ),
        pytest.param(
            {
                "persistentvolumeclaim": "data-0",
                "node": "worker-7",
                "job": "kubelet",
                "instance": "i",
                **SHOP,
            },
            CLAIM,
            "shop",
            id="a volume that a kubelet measured, before the kubelet's node",
        ),
        pytest.param(
            {"node": "worker-7", **SHOP}, NODE, "shop", id="a node speaks for the namespace beside it"
        ),
        pytest.param({"pod": "", **SHOP}, Target("v1", "Namespace", "shop"), "shop", id="an empty pod"),
        pytest.param(
            {"pod": "<none>", "deployment": "web", **SHOP}, DEPLOYMENT, "shop", id="what is no name"
        ),
        pytest.param(
            {"pod": "a" * 254, "deployment": "web", **SHOP}, DEPLOYMENT, "shop", id="a name too long"
        ),
        pytest.param({"pod": "web-0", "namespace": "AWS/EC2"}, None, None, id="what is no namespace"),
        pytest.param(
            {"pod": "web-0", "namespace": "../kube-system"}, None, None, id="a path for a namespace"
        ),
        pytest.param(
            {"pod": "web-0\n", "namespace": "shop"}, Target("v1", "Namespace", "shop"), "shop", id="newline"
        ),
        # with honorLabels
        pytest.param(
            {**KSM, "deployment": "web", **SHOP}, DEPLOYMENT, "shop", id="kube-state-metrics: a deployment"
        ),
        pytest.param({**KSM, "node": "worker-7"}, NODE, "monitoring", id="kube-state-metrics: a node"),
        pytest.param({**KSM, "pod": "web-0", **SHOP}, POD, "shop", id="kube-state-metrics: a pod"),
        pytest.param(
            KSM,
            Target("v1", "Namespace", "monitoring"),
            "monitoring",
            id="kube-state-metrics: nothing by name",
        ),
        pytest.param({**KSM, "service": "web", **SHOP}, SERVICE, "shop", id="kube-state-metrics: a service"),
        pytest.param(
            {"job": "kube-state-metrics", "pod": KSM["pod"], "namespace": "monitoring"},
            Target("v1", "Pod", KSM["pod"], "monitoring"),
            "monitoring",
            id="kube-state-metrics itself, by a rule that chose its labels",
        ),
        pytest.param(
            {**KSM, "pod": NODE_EXPORTER["pod"]},
            Target("v1", "Pod", NODE_EXPORTER["pod"], "monitoring"),
            "monitoring",
            id="kube-state-metrics: the pod of another exporter",
        ),
        pytest.param({**NODE_EXPORTER, "node": "worker-7"}, NODE, "monitoring", id="node-exporter: its node"),
        pytest.param(
            NODE_EXPORTER, instance("10.0.0.27:9100"), "monitoring", id="node-exporter: no node by name"
        ),
        # without honorLabels
        pytest.param(
            {**KSM, "exported_namespace": "shop", "exported_pod": "web-0"}, POD, "shop", id="exported: a pod"
        ),
        pytest.param(
            {**KSM, "exported_namespace": "shop", "deployment": "web"},
            DEPLOYMENT,
            "shop",
            id="exported: a deployment",
        ),
        pytest.param(
            {**KSM, "exported_namespace": "shop", "exported_service": "web"},
            SERVICE,
            "shop",
            id="exported: a service",
        ),
        pytest.param(
            {"pod": "scraper", "service": "scraper", "namespace": "ops", "exported_namespace": "shop"},
            Target("v1", "Namespace", "shop"),
            "shop",
            id="exported: only a namespace",
        ),
        pytest.param(
            {"exported_pod": "web-0", "pod": "scraper", **SHOP}, POD, "shop", id="exported: only a pod"
        ),
        pytest.param(
            {**KSM, "exported_node": "worker-7", "node": "n"}, NODE, "monitoring", id="exported: a node"
        ),
    ],
)
def test_target_is_what_the_alert_is_about(
    labels: dict[str, str], target: Target | None, namespace: str | None
) -> None:
    before = dict(labels)
    assert target_and_namespace(labels) == (target, namespace)
    assert labels == before


@given(
    st.dictionaries(st.sampled_from([*(n.label for n in NAMED_BY), "exported_namespace", "job"]), st.text())
)
def test_whatever_the_labels_say_a_target_can_be_part_of_a_path(labels: dict[str, str]) -> None:
    target, namespace = target_and_namespace(labels)
    for part in (namespace, target and target.name, target and target.namespace):
        assert part is None or (part.isascii() and part == part.lower() and not set(part) & set("/%?# \n"))
