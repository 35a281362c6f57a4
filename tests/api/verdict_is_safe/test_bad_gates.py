"""Gates that say what has no effect: each has a condition with the reason, and the others are in force."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.harness.api import ApiError
from tests.harness.cluster import OPERATOR_NAMESPACE
from tests.harness.eventually import eventually
from tests.harness.kubectl import Kubectl
from tests.harness.scene import Scene, at, rows

from lab.controlplane import ControlPlane

BASE = Path(__file__).parents[3] / "manifests" / "base" / "rbac.yaml"
LONG_AGO, YEAR_ZERO = "2020-01-01T00:00:00Z", "0000-01-01T00:00:00Z"
NONE = {"policies": ["none"]}
BUT = "the gate is in force, but"


@pytest.fixture(scope="module")
def operator_kubeconfig(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That of its ServiceAccount, without the component `steering`: it may not list nodes."""
    kubectl = Kubectl(control_plane.kubeconfig)

    async def prepare() -> None:
        await kubectl("apply", "-f", str(BASE))
        await kubectl("delete", "--ignore-not-found", "clusterrolebinding", "stormfold-nodes")

    asyncio.run(prepare())
    token = control_plane.service_account_token(OPERATOR_NAMESPACE, "stormfold")
    return control_plane.write_kubeconfig(tmp_path_factory.mktemp("bad-gates") / "kubeconfig", token=token)


async def test_what_has_no_effect_is_said_in_conditions_and_keeps_no_other_gate_from_being_in_force(
    scene: Scene,
) -> None:
    await scene.policy(closeAfter="1h")
    await scene.pods("Trouble", 2)
    await scene.requests_come_to("status.phase status.decision.verdict", [("Settled", "Proceed")])
    await scene.gate("a-past", by="alice", until=LONG_AGO)
    await scene.gate("b-unreadable", by="bob", until=YEAR_ZERO, selector=NONE)
    await scene.gate("c-zero", breaker={"openRequests": 0}, budget={"concurrent": 0})
    await scene.gate("d-nodes", breaker={"percentOfNodes": 1})
    await scene.gate("e-elsewhere", by="erin", selector={"namespaces": ["billing"]})
    await scene.gate("f-nothing", by="frank", selector=NONE)
    zero = "is 0 and has no effect: to hold everything, add a hold"
    nodes = (
        "breaker.percentOfNodes has no effect: the operator may not list nodes; apply the component steering"
    )
    here = f"a gate in {scene.namespace} governs no request of billing"
    caveats = [
        ("HoldExpired", f"these holds have ended: alice (until {LONG_AGO}). Remove them", "Proceed", 1),
        (
            "InvalidUntil",
            "the hold of bob has no end: write its until as a time such as 2026-03-01T11:00:00Z",
            "Hold",
            0,
        ),
        ("LimitIsZero", f"breaker.openRequests {zero}; budget.concurrent {zero}", "Proceed", 1),
        ("NodesNotReadable", nodes, "Proceed", 1),
        (
            "NamespaceNotGoverned",
            f"selector.namespaces: {here}; make it in the operator's namespace",
            *("Hold", 0),
        ),
    ]
    accepted = [
        (reason, f"{BUT} {said.removesuffix('.')}. See https://stormfold.dev/reasons/#{reason}", *rest)
        for reason, said, *rest in caveats
    ]
    accepted.append(("Valid", "the gate is in force", "Hold", 0))
    kind = "status.conditions.Accepted"

    async def said() -> list[tuple[object, ...]]:
        gates = sorted(
            await scene.api.list("StormGate", scene.namespace), key=lambda gate: gate["metadata"]["name"]
        )
        return rows(gates, f"{kind}.reason {kind}.message status.verdict status.requests")

    await eventually(said, lambda seen: seen == accepted, within=20, what="conditions tell it")
    gates = await scene.api.list("StormGate", scene.namespace)
    selected = {
        gate["metadata"]["name"]: at(gate, "status.conditions.RequestsSelected.reason") for gate in gates
    }
    assert {name for name, reason in selected.items() if reason == "NoRequestMatches"} == {
        *("b-unreadable", "e-elsewhere", "f-nothing")
    }
    await scene.requests_come_to("status.decision.reason", [("GatesPass",)])
    await scene.gate("good", by="grace", selector={"policies": ["team"]})
    (held,) = await scene.requests_come_to("status.decision.verdict", [("Hold",)])
    assert [ref["name"] for ref in at(held, "status.decision.by")] == ["good"]


async def test_hold_of_a_name_that_another_one_has_taken_is_refused_and_his_stands(scene: Scene) -> None:
    """Two people who call themselves the same: neither overwrites the hold of the other."""

    async def hold(manager: str, reason: str) -> None:
        path = f"/apis/stormfold.dev/v1alpha1/namespaces/{scene.namespace}/stormgates/freeze"
        body = {
            "apiVersion": "stormfold.dev/v1alpha1",
            "kind": "StormGate",
            "metadata": {"name": "freeze"},
            "spec": {"holds": [{"by": "oncall", "reason": reason}]},
        }
        apply = "application/apply-patch+yaml"
        await scene.api.request("PATCH", path, body, content_type=apply, fieldManager=manager)

    await hold("alice", "the registry is moved")
    with pytest.raises(ApiError, match=r'conflict with "alice".*\.spec\.holds\[by="oncall"\]\.reason'):
        await hold("bob", "the database is moved")
    gate = await scene.api.get("StormGate", "freeze", scene.namespace)
    assert [held["reason"] for held in at(gate, "spec.holds")] == ["the registry is moved"]
