"""The labels that name an object: those of OpenTelemetry, a workload with its kind, and which goes first."""

from __future__ import annotations

from itertools import pairwise

import pytest
from tests.harness.senders import DEPLOYMENT, NAMESPACE, SHOP

from stormfold.model.arrival import Target
from stormfold.sources.alerts.targets import SPELLINGS, target_and_namespace


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
