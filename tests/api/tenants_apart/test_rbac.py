"""The operator under the rights that manifests/ grant, as the API server's audit log tells it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.api.conftest import NewOperator
from tests.harness.api import Api
from tests.harness.api_proxy import ApiProxy
from tests.harness.eventually import eventually
from tests.harness.kubectl import Kubectl
from tests.harness.scene import Scene, at
from tests.harness.workloads import Workloads

from lab.controlplane import ControlPlane
from stormfold.kube.preflight import LEASE_RIGHTS, OWNER_RIGHTS, RIGHTS

MANIFESTS = Path(__file__).parents[3] / "manifests"
BASE = MANIFESTS / "base" / "rbac.yaml"
OWNERS = MANIFESTS / "components" / "owners" / "rbac.yaml"
ACCOUNT = "system:serviceaccount:stormfold-system:stormfold"
ASKS = "create authorization.k8s.io/selfsubjectaccessreviews"
"""How the operator looks at its start whether it has its rights; everybody may."""
GRANTED = {
    f"{verb} {group}/{resource}{'/' + subresource if subresource else ''}"
    for group, resource, subresource, verbs in RIGHTS
    for verb in verbs
} | {f"{verb} coordination.k8s.io/leases" for verb in LEASE_RIGHTS}
GRANTED_FOR_OWNERS = {
    f"{verb} {group}/{resource}" for group, resource, _, verbs in OWNER_RIGHTS for verb in verbs
}


def requests_of(control_plane: ControlPlane, user: str, since: datetime) -> list[dict[str, Any]]:
    """What the audit log says of a user from a time on; other tests use the same account."""
    assert control_plane.audit_log is not None
    events = map(json.loads, control_plane.audit_log.read_text().splitlines())
    return [
        event
        for event in events
        if event["user"].get("username") == user
        and datetime.fromisoformat(event["requestReceivedTimestamp"]) >= since
    ]


def refused(events: list[dict[str, Any]]) -> list[str]:
    """The rights that were asked for in vain."""
    return [right(event) for event in events if event["responseStatus"]["code"] == 403]


def used(events: list[dict[str, Any]]) -> set[str]:
    """The rights that were used."""
    return {right(event) for event in events if event.get("objectRef", {}).get("resource")} - {ASKS}


def right(event: dict[str, Any]) -> str:
    """The right that a request needs, `verb group/resource/subresource`; of a path that is no object, the
    path."""
    reference = event.get("objectRef")
    if reference is None or "resource" not in reference:
        return f"{event['verb']} {event['requestURI'].partition('?')[0]}"
    parts = [reference.get("apiGroup", ""), reference["resource"], reference.get("subresource", "")]
    return f"{event['verb']} {'/'.join(parts).removesuffix('/')}"


def kept(bodies: list[bytes]) -> Callable[[bytes], bool]:
    """Meets every request and keeps its body."""

    def meets(body: bytes) -> bool:
        bodies.append(body)
        return True

    return meets


async def test_operator_folds_a_storm_with_no_other_rights_and_uses_each(
    *,
    api: Api,
    api_proxy: ApiProxy,
    control_plane: ControlPlane,
    namespace: str,
    operator: NewOperator,
    tmp_path: Path,
) -> None:
    since = datetime.now(UTC)
    kubectl = Kubectl(control_plane.kubeconfig)
    await kubectl("apply", "-f", str(BASE))
    token = control_plane.service_account_token("stormfold-system", "stormfold")
    kubeconfig = api_proxy.kubeconfig(tmp_path / "kubeconfig", token=token)
    scene = Scene(api, namespace, await operator(kubeconfig=kubeconfig))
    try:
        await scene.policy(retention="2s")
        await scene.cluster_policy("everywhere", groupBy=["name", "namespace"])
        rejected = await scene.signal(
            "NodeDown", target={"kind": "Pod", "name": "p", "namespace": "elsewhere"}
        )
        bodies: list[bytes] = []
        creation = api_proxy.hold("POST", "/remediationrequests", body=kept(bodies))
        await scene.pods("PodDown", 15)
        # Somebody is first to make the request, so that the operator has to read it.
        await eventually(creation.arrived.is_set, within=30, what="the operator makes the request")
        await api.create(json.loads(bodies[0]))
        creation.release()
        [request] = await scene.comes_to((1, "Settled", 15))
        await scene.gate("freeze", by="alice")
        await scene.requests_come_to("status.decision.verdict", [("Hold",)])
        await scene.remediate(request, phase="Succeeded")
        [closed] = await scene.comes_to((1, "Closed", 15))
        await scene.make_old(closed)
        await scene.comes_to()
        # What no policy governs is kept for longer.
        await scene.signals_come_to("metadata.name", [(rejected["metadata"]["name"],)])
        alert = {"labels": {"alertname": "X", "namespace": namespace}, "status": "firing"}
        body = {"version": "4", "alerts": [alert | {"startsAt": "2026-01-01T00:00:00Z"}]}
        # The operator itself may create no Signals, so its own token may post nothing.
        status, answer = await scene.operator.post_alerts(body, token=token)
        assert (status, answer["reason"]) == (403, "NamespaceNotAllowed")
    finally:
        await scene.close()
    assert await scene.operator.terminate() == 0

    done = requests_of(control_plane, ACCOUNT, since)
    assert refused(done) == []
    assert used(done) == GRANTED


async def test_operator_asks_for_owners_only_where_a_policy_needs_them_and_it_may(
    *, api: Api, control_plane: ControlPlane, namespace: str, operator: NewOperator, tmp_path: Path
) -> None:
    since = datetime.now(UTC)
    kubectl = Kubectl(control_plane.kubeconfig)
    await kubectl("apply", "-f", str(BASE))
    token = control_plane.service_account_token("stormfold-system", "stormfold")
    kubeconfig = control_plane.write_kubeconfig(tmp_path / "kubeconfig", token=token)
    scene = Scene(api, namespace, await operator(kubeconfig=kubeconfig))
    workloads = Workloads(api, namespace)

    async def told(reason: str) -> None:
        await eventually(
            lambda: api.get("StormPolicy", "team", namespace),
            lambda policy: at(policy, "status.conditions.Accepted.reason") == reason,
            within=30,
            what=reason,
        )

    await workloads.add("Pod", "pod-00000")
    policy = await scene.policy()
    assert at(policy, "status.conditions.Accepted.reason") == "Valid"
    await scene.change_policy(policy, groupBy=["owner"])
    await told("OwnersNotReadable")
    await scene.pods("PodDown", 1)
    await scene.requests_come_to("group status.signals.total", [((None,), 1)])
    assert used(requests_of(control_plane, ACCOUNT, since)) <= GRANTED
    try:
        await kubectl("apply", "-f", str(OWNERS))
        await told("Valid")
        await scene.pods("PodDown", 1)
        await scene.requests_come_to(
            "group status.signals.total", [((f"Pod/{namespace}/pod-00000",), 1), ((None,), 1)]
        )
    finally:
        await kubectl("delete", "--ignore-not-found", "-f", str(OWNERS))
        await scene.close()
    assert await scene.operator.terminate() == 0

    done = requests_of(control_plane, ACCOUNT, since)
    assert refused(done) == []
    assert used(done) - GRANTED == GRANTED_FOR_OWNERS
