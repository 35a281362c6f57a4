"""What alerts are about, from the webhook to the request: names of OpenTelemetry, and what is no Kubernetes
object."""

from __future__ import annotations

from typing import Any

import pytest
from tests.api.conftest import NewOperator
from tests.harness.api import Api
from tests.harness.eventually import eventually
from tests.harness.scene import Scene, at, rows

from lab.controlplane import ControlPlane

RBAC = "rbac.authorization.k8s.io"


async def sender_of(api: Api, control_plane: ControlPlane, namespace: str) -> str:
    """The token of a service account that may create Signals in that namespace, and nothing else."""
    where = f"/api/v1/namespaces/{namespace}/serviceaccounts"
    await api.request("POST", where, {"metadata": {"name": "sender"}})
    rights = f"/apis/{RBAC}/v1/namespaces/{namespace}"
    rule = {"apiGroups": ["stormfold.dev"], "resources": ["signals"], "verbs": ["create"]}
    await api.request("POST", f"{rights}/roles", {"metadata": {"name": "sender"}, "rules": [rule]})
    binding = {
        "metadata": {"name": "sender"},
        "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": "sender"},
        "subjects": [{"kind": "ServiceAccount", "name": "sender", "namespace": namespace}],
    }
    await api.request("POST", f"{rights}/rolebindings", binding)
    return control_plane.service_account_token(namespace, "sender")


def body(*alerts: dict[str, str]) -> dict[str, Any]:
    """What Alertmanager would post of alerts with these labels."""
    return {
        "version": "4",
        "alerts": [
            {"status": "firing", "labels": labels, "startsAt": "2026-01-01T00:00:00Z"} for labels in alerts
        ],
    }


def spelled(name: str, sign: str) -> str:
    return name.replace(".", sign)


@pytest.mark.parametrize("sign", [".", "_"], ids=["dots", "underscores"])
async def test_namespace_that_opentelemetry_names_is_the_one_that_a_sender_needs_rights_for(
    *, sign: str, api: Api, control_plane: ControlPlane, namespace: str, operator: NewOperator
) -> None:
    scene = Scene(api, namespace, await operator())
    try:
        token = await sender_of(api, control_plane, namespace)
        other = await scene.another_namespace()
        label = spelled("k8s.namespace.name", sign)
        await scene.cluster_policy(
            "by-otel-namespace",
            priority=200,
            match={"labelSelector": {"matchExpressions": [{"key": label, "operator": "Exists"}]}},
            groupBy=["name", f"labels.{label}"],
            requestNamespace=namespace,
        )

        def alert(pod: int, about: str) -> dict[str, str]:
            own = {
                "k8s.namespace.name": about,
                "k8s.pod.name": f"checkout-{pod}",
                "k8s.node.name": "worker-3",
                "service.name": "checkout",
                "host.name": "worker-3",
            }
            return {"alertname": "HighErrorRate"} | {spelled(k, sign): v for k, v in own.items()}

        # What a scrape of the collector adds is not what the alerts are about.
        scrape = {"namespace": namespace, "pod": "otel-collector-0", "instance": "10.0.0.9:8889"}
        own = [alert(pod, namespace) for pod in range(5)]
        status, answer = await scene.operator.post_alerts(body(*own), token=token)
        assert (status, answer) == (200, {"accepted": 5, "rejected": [], "discarded": [], "pending": []})
        status, answer = await scene.operator.post_alerts(body(alert(0, other) | scrape), token=token)
        assert (status, answer["reason"]) == (403, "NamespaceNotAllowed")
        assert other in answer["message"]
        (request,) = await eventually(lambda: api.list("RemediationRequest", namespace), what="one request")
        assert rows([request], "status.signals.total status.affectedResourceCount") == [(5, 5)]
        assert at(request, "status.resources") == [
            {"apiVersion": "v1", "kind": "Pod", "namespace": namespace, "name": f"checkout-{n}", "signals": 1}
            for n in range(5)
        ]
        assert await api.list("RemediationRequest", other) == []
    finally:
        await scene.close()


async def test_probes_of_a_namespace_are_listed_by_their_addresses_and_a_node_once(
    *, api: Api, control_plane: ControlPlane, namespace: str, operator: NewOperator
) -> None:
    scene = Scene(api, namespace, await operator())
    try:
        token = await sender_of(api, control_plane, namespace)
        await scene.policy(groupBy=["namespace"])
        probes = [
            {"alertname": "ProbeFailed", "namespace": namespace, "instance": f"https://{n:03}.example/"}
            for n in range(459)
        ]
        exporter = {
            "alertname": "NodeClockSkew",
            "namespace": namespace,
            "job": "node-exporter",
            "pod": "node-exporter-x",
            "instance": "worker-3:9100",
        }
        for posted in (body(exporter), body(*probes)):
            assert (await scene.operator.post_alerts(posted, token=token))[0] == 200
        node = {"kind": "Node", "name": "worker-3"}
        await scene.signal("KubeNodeNotReady", target=node)
        await scene.signal("KubeNodeNotReady", target=node | {"namespace": namespace})
        found = await eventually(
            lambda: api.list("RemediationRequest", namespace),
            lambda seen: rows(seen, "status.signals.total") == [(462,)],
            within=30,
            what="one request of all",
        )
        status = found[0]["status"]
        listed = {
            (r["apiVersion"], r["kind"], r.get("namespace"), r["name"]): r["signals"]
            for r in status["resources"]
        }
        assert listed["v1", "Node", None, "worker-3"] == 3
        assert {signals for key, signals in listed.items() if key[1] != "Node"} == {1}
        addresses = {probe["instance"] for probe in probes}
        assert {key[3] for key in listed if key[:3] == ("", "Instance", None)} <= addresses
        assert len(listed) == 25
        # Beyond what is listed they are counted by HyperLogLog.
        assert abs(status["affectedResourceCount"] - 460) <= 15
    finally:
        await scene.close()
