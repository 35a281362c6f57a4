"""What controls what, of objects that are there and of those that have gone."""

from __future__ import annotations

import itertools

import pytest

from stormfold.enrich.owner_graph import GROUPS, Controller, Member, MemberParser, OwnerGraph
from stormfold.model.arrival import Target
from stormfold.model.causes import digest_of

numbers = itertools.count(1)


def made_by(above: Member) -> Controller:
    return Controller(GROUPS.get(above.kind, "argoproj.io"), above.kind, above.name, above.uid)


class Cluster:
    """Objects of the namespace shop, each under the uid `kind/name/generation`."""

    def __init__(self, *, remembered: int = 100) -> None:
        self.graph = OwnerGraph(remembered=remembered)

    def add(
        self,
        kind: str,
        name: str,
        by: Member | Controller | None = None,
        node: str | None = None,
        again: int = 1,
    ) -> Member:
        controller = made_by(by) if isinstance(by, Member) else by
        member = Member(kind, "shop", name, f"{kind}/{name}/{again}", next(numbers), controller, node)
        self.graph.add(member)
        return member

    def remove(self, *members: Member) -> None:
        for member in members:
            self.graph.remove(member.uid)

    def owner(
        self, kind: str, name: str, *, api_version: str = "v1", namespace: str | None = None
    ) -> str | None:
        return self.graph.owner_of(Target(api_version, kind, name, namespace), "shop")

    def node(self, kind: str, name: str) -> str | None:
        return self.graph.node_of(Target("v1", kind, name), "shop")

    def web(self) -> tuple[Member, Member, Member]:
        """A Deployment with a ReplicaSet and a pod."""
        deployment = self.add("Deployment", "web")
        replica_set = self.add("ReplicaSet", "web-7d4b9c", deployment)
        return deployment, replica_set, self.add("Pod", "web-7d4b9c-x2x9p", replica_set, node="worker-1")


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


def test_pod_belongs_to_the_deployment_of_its_replica_set(cluster: Cluster) -> None:
    cluster.web()
    assert cluster.owner("Pod", "web-7d4b9c-x2x9p") == "Deployment/shop/web"
    assert cluster.owner("ReplicaSet", "web-7d4b9c", api_version="apps/v1") == "Deployment/shop/web"
    assert cluster.owner("Deployment", "web") == "Deployment/shop/web"
    assert cluster.node("Pod", "web-7d4b9c-x2x9p") == "worker-1"
    assert cluster.node("ReplicaSet", "web-7d4b9c") is None


@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet", "Job", "ReplicaSet"])
def test_pod_belongs_to_its_controller(cluster: Cluster, kind: str) -> None:
    cluster.add("Pod", "any", cluster.add(kind, "db"))
    assert cluster.owner("Pod", "any") == f"{kind}/shop/db"


def test_pod_of_a_job_belongs_to_the_cron_job(cluster: Cluster) -> None:
    cluster.add("Pod", "any", cluster.add("Job", "nightly-29", cluster.add("CronJob", "nightly")))
    assert cluster.owner("Pod", "any") == "CronJob/shop/nightly"


def test_what_no_controller_made_is_its_own_owner(cluster: Cluster) -> None:
    cluster.add("Pod", "debug", node="worker-2")
    assert cluster.owner("Pod", "debug") == "Pod/shop/debug"


def test_chain_ends_with_what_an_object_says_of_a_controller_of_another_kind(cluster: Cluster) -> None:
    rollout = Controller("argoproj.io", "Rollout", "web", "uid-rollout")
    cluster.add("Pod", "any", cluster.add("ReplicaSet", "web-7d4b9c", rollout))
    cluster.add("Deployment", "web")
    assert cluster.owner("Pod", "any") == "Rollout/shop/web"


def test_static_pod_belongs_to_its_node_which_has_no_namespace(cluster: Cluster) -> None:
    cluster.add("Pod", "etcd-cp-1", Controller("", "Node", "cp-1", "uid-node"), node="cp-1")
    assert cluster.owner("Pod", "etcd-cp-1") == "Node/cp-1"
    assert cluster.owner("Node", "cp-1") == "Node/cp-1"
    assert cluster.node("Node", "cp-1") == "cp-1"


@pytest.mark.parametrize(
    ("target", "owner"),
    [
        (Target("v1", "Service", "web", "shop"), "Service/shop/web"),
        (Target("v1", "Service", "web"), "Service/shop/web"),
        (Target("v1", "PersistentVolume", "pv-1"), "PersistentVolume/pv-1"),
        (Target("batch.volcano.sh/v1alpha1", "Job", "train"), "Job/shop/train"),
    ],
)
def test_target_of_another_kind_is_its_own_owner(cluster: Cluster, target: Target, owner: str) -> None:
    cluster.add("Job", "train", cluster.add("CronJob", "nightly"))
    assert cluster.graph.owner_of(target, "shop") == owner


def test_namespaces_do_not_share_names(cluster: Cluster) -> None:
    cluster.web()
    assert cluster.owner("Pod", "web-7d4b9c-x2x9p", namespace="other") is None
    assert cluster.owner("Deployment", "web", namespace="other") == "Deployment/other/web"


def test_circle_of_controllers_has_an_end(cluster: Cluster) -> None:
    one, other = (Controller("apps", "ReplicaSet", name, f"ReplicaSet/{name}/1") for name in ("a", "b"))
    cluster.add("ReplicaSet", "a", other)
    cluster.add("ReplicaSet", "b", one)
    assert cluster.owner("ReplicaSet", "a") in {"ReplicaSet/shop/a", "ReplicaSet/shop/b"}


def test_change_is_followed(cluster: Cluster) -> None:
    _, replica_set, _ = cluster.web()
    cluster.add("Pod", "web-7d4b9c-x2x9p", None, node="worker-1")
    assert cluster.owner("Pod", "web-7d4b9c-x2x9p") == "Pod/shop/web-7d4b9c-x2x9p"
    cluster.add("Pod", "web-7d4b9c-x2x9p", replica_set, node="worker-9")
    assert cluster.node("Pod", "web-7d4b9c-x2x9p") == "worker-9"


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_what_has_gone_is_remembered_in_whatever_order_it_went(
    cluster: Cluster, order: tuple[int, ...]
) -> None:
    family = cluster.web()
    cluster.remove(*(family[place] for place in order))
    assert cluster.owner("Pod", "web-7d4b9c-x2x9p") == "Deployment/shop/web"
    assert cluster.node("Pod", "web-7d4b9c-x2x9p") == "worker-1"
    assert cluster.graph.counts == (0, 3)


def test_what_controls_a_remembered_object_is_forgotten_after_it() -> None:
    cluster = Cluster(remembered=3)
    deployment = cluster.add("Deployment", "web")
    replica_set = cluster.add("ReplicaSet", "lone", deployment)
    cluster.remove(deployment, replica_set, cluster.add("Pod", "any", replica_set))
    cluster.remove(cluster.add("Pod", "other"))
    assert cluster.owner("Pod", "any") is None
    assert cluster.owner("ReplicaSet", "lone") == "Deployment/shop/web"


def test_as_many_are_remembered_as_is_set_and_those_longest_that_are_asked_for() -> None:
    cluster = Cluster(remembered=3)
    for name in "abc":
        cluster.remove(cluster.add("Pod", name, node=f"worker-{name}"))
    assert cluster.node("Pod", "a") == "worker-a"
    cluster.remove(cluster.add("Pod", "d", node="worker-d"))
    assert [cluster.node("Pod", name) for name in "abcd"] == ["worker-a", None, "worker-c", "worker-d"]
    assert cluster.owner("Pod", "b") is None
    assert cluster.graph.counts == (0, 3)


def test_name_that_is_used_again_means_the_object_that_is_there(cluster: Cluster) -> None:
    old = cluster.add("StatefulSet", "db")
    pod = cluster.add("Pod", "db-0", old, node="worker-1")
    cluster.remove(pod)
    cluster.add("Pod", "db-0", old, node="worker-2", again=2)
    assert cluster.node("Pod", "db-0") == "worker-2"
    assert cluster.graph.counts == (2, 1)


def test_object_whose_name_was_taken_before_its_deletion_was_seen_does_not_hide_the_new_one() -> None:
    cluster = Cluster(remembered=1)
    old = cluster.add("Pod", "db-0", node="worker-1")
    cluster.add("Pod", "db-0", node="worker-2", again=2)
    cluster.remove(old)
    cluster.remove(cluster.add("Pod", "other"))  # by which the old one is forgotten
    assert cluster.node("Pod", "db-0") == "worker-2"


def test_namesake_with_another_uid_is_not_the_controller(cluster: Cluster) -> None:
    gone = Controller("apps", "ReplicaSet", "web-7d4b9c", "uid-of-the-old-one")
    cluster.add("Pod", "any", gone)
    cluster.add("ReplicaSet", "web-7d4b9c", cluster.add("Deployment", "other"))
    assert cluster.owner("Pod", "any") == "ReplicaSet/shop/web-7d4b9c"


def test_deletion_of_what_was_never_seen_is_nothing(cluster: Cluster) -> None:
    cluster.graph.remove("unheard-of")
    assert cluster.graph.counts == (0, 0)


@pytest.mark.parametrize(
    ("controller", "pod"),
    [
        (("ReplicaSet", "web-7d4b9c"), "web-7d4b9c-x2x9p"),
        (("DaemonSet", "agent"), "agent-bcdfg"),
        (("Job", "import"), "import-24579"),
        (("Job", "import"), "import-12-24579"),
        (("StatefulSet", "db"), "db-0"),
        (("StatefulSet", "db"), "db-24579"),
        (("Deployment", "web"), "web-7d4b9c-x2x9p"),
        (("CronJob", "nightly"), "nightly-29345678-x2x9p"),
    ],
)
@pytest.mark.parametrize("there", [True, False], ids=["there", "remembered"])
def test_pod_that_was_never_seen_is_known_by_its_name(
    cluster: Cluster, controller: tuple[str, str], pod: str, there: bool
) -> None:
    member = cluster.add(*controller)
    if not there:
        cluster.remove(member)
    assert cluster.owner("Pod", pod) == f"{controller[0]}/shop/{controller[1]}"
    assert cluster.node("Pod", pod) is None


@pytest.mark.parametrize(
    "pod",
    [
        pytest.param("web-7d4b9c-x2x9", id="too short an end"),
        pytest.param("web-7d4b9c-x2x9aa", id="too long an end"),
        pytest.param("web-7d4b9c-debug", id="an end with vowels"),
        pytest.param("web-7d4b9c", id="no end"),
        pytest.param("shop-7d4b9c-x2x9p", id="another controller"),
        pytest.param("db-x", id="no ordinal"),
        pytest.param("db-0-1", id="a wrong ordinal"),
        pytest.param("-0", id="nothing but an end"),
    ],
)
def test_pod_with_a_name_that_no_controller_gives_has_no_owner(cluster: Cluster, pod: str) -> None:
    cluster.web()
    cluster.add("StatefulSet", "db")
    assert cluster.owner("Pod", pod) is None


def test_pod_that_two_controllers_could_have_named_has_no_owner(cluster: Cluster) -> None:
    cluster.add("StatefulSet", "db")
    cluster.add("DaemonSet", "db")
    assert cluster.owner("Pod", "db-24579") is None
    assert cluster.owner("Pod", "db-1") == "StatefulSet/shop/db"


def test_controller_that_was_never_seen_is_known_by_the_name_that_its_pod_tells(cluster: Cluster) -> None:
    cluster.add("Pod", "any", Controller("apps", "ReplicaSet", "web-7d4b9c", "uid-of-the-old-one"))
    assert cluster.owner("Pod", "any") == "ReplicaSet/shop/web-7d4b9c"
    cluster.add("Deployment", "web")
    assert cluster.owner("Pod", "any") == "Deployment/shop/web"


def test_controller_of_a_like_named_kind_of_another_group_is_not_known_by_its_name(cluster: Cluster) -> None:
    cluster.add("CronJob", "train")
    cluster.add("Pod", "any", Controller("batch.volcano.sh", "Job", "train-1", "uid-volcano"))
    assert cluster.owner("Pod", "any") == "Job/shop/train-1"


@pytest.mark.parametrize(
    ("kind", "owner"),
    [
        ("Pod", None),
        ("ReplicaSet", None),
        ("Job", None),
        ("Deployment", "Deployment/shop/lone"),
        ("StatefulSet", "StatefulSet/shop/lone"),
        ("DaemonSet", "DaemonSet/shop/lone"),
        ("CronJob", "CronJob/shop/lone"),
    ],
)
def test_what_was_never_seen_is_its_own_owner_unless_others_make_its_kind(
    cluster: Cluster, kind: str, owner: str | None
) -> None:
    assert cluster.owner(kind, "lone") == owner


@pytest.mark.parametrize(
    ("kind", "name"), [("K" * 63, "n" * 253), ("K" * 64, "n"), ("K", "n" * 254), ("K", "n" * 10**6)]
)
def test_reference_to_what_cannot_be_there_is_none(kind: str, name: str) -> None:
    metadata = {"namespace": "shop", "name": "web-0", "uid": "u", "resourceVersion": "1"}
    reference = {"apiVersion": "v1", "kind": kind, "name": name, "uid": "c", "controller": True}
    member = MemberParser("Pod")({"metadata": metadata | {"ownerReferences": [reference]}, "cells": {}})
    can_be = len(kind) <= 63 and len(name) <= 253
    assert member.controller == (Controller("", kind, name, "c") if can_be else None)


def test_pods_of_each_node_are_counted_while_they_are_there() -> None:
    cluster = Cluster()

    def counted() -> dict[str, int]:
        pods = cluster.graph.pods_of_nodes
        assert pods.signals == sum(count.signals for count in pods.values.values())
        return {node: pods.most(digest_of(node)) for node in ("a", "b")}

    for number in range(3):
        cluster.graph.add(Member("Pod", "shop", f"pod-{number}", f"uid-{number}", 1, node="a"))
    cluster.graph.add(Member("Pod", "shop", "pending", "uid-4", 1))
    assert counted() == {"a": 3, "b": 0}
    cluster.graph.add(Member("Pod", "shop", "pending", "uid-4", 2, node="b"))
    cluster.graph.add(Member("Pod", "shop", "pending", "uid-4", 3, node="b"))
    assert counted() == {"a": 3, "b": 1}
    for uid in ("uid-0", "uid-4", "unheard-of"):
        cluster.graph.remove(uid)
    assert counted() == {"a": 2, "b": 0}
