"""Gates: what the decision on each request says while holds come and go."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from tests.api.conftest import NewOperator
from tests.harness.alert_sender import TAKEN, Body, Sender
from tests.harness.api import Api
from tests.harness.audit import AuditLog
from tests.harness.cluster import OPERATOR_NAMESPACE
from tests.harness.consumer import in_seconds
from tests.harness.eventually import eventually
from tests.harness.haste import in_time
from tests.harness.kubectl import Kubectl
from tests.harness.observing import observing
from tests.harness.operator import OperatorProcess
from tests.harness.scene import Scene, at, rows
from tests.harness.verdict_times import SAID, VERDICT, decided, gate_says, storms

from lab.controlplane import ControlPlane


async def test_request_proceeds_where_no_gate_applies_with_no_write_of_its_own(
    scene: Scene, control_plane: ControlPlane
) -> None:
    # So long that its first write says Open, also where that is late.
    await scene.policy(closeAfter="1h", window={"idle": "3s"})
    (request,) = await storms(scene, "Trouble")
    assert rows([request], SAID) == [("Proceed", "NoGateApplies", "True", "NoGateApplies")]
    assert at(request, "status.decision.by") == []
    name = request["metadata"]["name"]
    assert control_plane.audit_log is not None
    writes = [
        event
        for line in control_plane.audit_log.read_text().splitlines()
        if (event := json.loads(line)).get("objectRef", {}).get("name") == name and event["verb"] == "patch"
    ]
    # Open, and settled: the decision came with the first of them.
    assert len(writes) == 2


async def test_hold_is_taken_up_and_lifted_and_the_condition_can_be_waited_for(
    scene: Scene, kubectl: Kubectl
) -> None:
    await scene.policy(closeAfter="1h")
    (request,) = await storms(scene, "Trouble")
    await scene.gate("freeze", by="alice", reason="the registry is moved")
    (held,) = await scene.requests_come_to(SAID, [("Hold", "HeldByGate", "False", "HeldByGate")])
    assert at(held, "status.decision.message") == (
        f"StormGate {scene.namespace}/freeze: alice holds it: the registry is moved"
    )
    assert at(held, "status.decision.by") == [
        {"kind": "StormGate", "namespace": scene.namespace, "name": "freeze", "hold": "alice"}
    ]
    assert sorted(held["status"]["deadlines"]) == ["close"], "maxDuration does not run"
    await gate_says(scene, "freeze", "status.verdict status.requests", ("Hold", 1))
    name = f"rreq/{request['metadata']['name']}"
    waiting = asyncio.create_task(
        kubectl("wait", "-n", scene.namespace, name, "--for=condition=Proceed", "--timeout=20s")
    )
    await scene.gate("freeze")
    await waiting
    (lifted,) = await scene.requests_come_to(SAID, [("Proceed", "GatesPass", "True", "GatesPass")])
    made, expires = (
        datetime.fromisoformat(at(lifted, path))
        for path in ("metadata.creationTimestamp", "status.deadlines.expire")
    )
    held_for = timedelta(seconds=at(lifted, "status.decision.heldSeconds") or 0)
    assert expires - made - held_for - timedelta(hours=6) in (timedelta(0), timedelta(seconds=1))
    await scene.api.delete("StormGate", "freeze", scene.namespace)
    await scene.requests_come_to(SAID, [("Proceed", "NoGateApplies", "True", "NoGateApplies")])


@pytest.mark.timed
async def test_hold_ends_at_its_time_and_the_gate_says_so(scene: Scene, control_plane: ControlPlane) -> None:
    await scene.policy(closeAfter="1h")
    await storms(scene, "Trouble")

    async def ended() -> float:
        until = in_seconds(5)
        await scene.gate("freeze", by="alice", until=until)
        await scene.requests_come_to(VERDICT, [("Hold",)])
        audit = AuditLog(control_plane)
        await scene.requests_come_to(VERDICT, [("Proceed",)])
        gate = await gate_says(scene, "freeze", "status.verdict", ("Proceed",))
        assert gate["status"]["expiredHolds"] == [{"by": "alice", "until": until}]
        assert at(gate, "status.conditions.Accepted.reason") == "HoldExpired"
        late = (await decided(audit, scene)).received - datetime.fromisoformat(until).timestamp()
        assert late > 0
        return late

    await in_time(ended)
    # A later one holds again.
    await scene.gate("freeze", by="alice", until=in_seconds(600))
    await scene.requests_come_to(VERDICT, [("Hold",)])
    gate = await gate_says(scene, "freeze", "status.verdict", ("Hold",))
    assert gate["status"]["expiredHolds"] == []


async def test_request_that_opens_under_a_hold_says_hold_from_its_first_write(scene: Scene) -> None:
    await scene.policy(closeAfter="1h")
    await scene.gate("freeze", by="alice")
    await gate_says(scene, "freeze", "status.verdict status.requests", ("Hold", 0))
    async with observing(scene.api) as observer:
        await storms(scene, "Trouble")
    said = observer.judged(time.time()).verdicts
    assert {verdict for namespace, verdict in said if namespace == scene.namespace} == {"Hold"}


async def test_selector_holds_some_and_leaves_the_others(scene: Scene) -> None:
    await scene.policy(closeAfter="1h")
    await storms(scene, "One", "Two")
    await scene.policy("registry", priority=9, closeAfter="1h", groupBy=["labels.registry"],
                       match={"names": ["Pull"]})  # fmt: skip
    await scene.pods("Pull", 2, labels={"registry": "harbor"})
    await scene.pods("Pull", 2, labels={"registry": "quay"})
    await scene.gate("harbor", by="alice", selector={"labels": {"registry": "harbor"}})
    await scene.requests_come_to(
        f"group {VERDICT}",
        [
            (("One", scene.namespace), "Proceed"),
            (("Two", scene.namespace), "Proceed"),
            (("harbor",), "Hold"),
            (("quay",), "Proceed"),
        ],
    )
    await scene.gate("harbor", by="alice", selector={"policies": ["registry"], "severities": ["info"]})
    await scene.requests_come_to(VERDICT, [("Proceed",)] * 4)
    gate = await gate_says(scene, "harbor", "status.requests", (0,))
    assert at(gate, "status.conditions.RequestsSelected.reason") == "NoRequestMatches"


async def test_gate_of_the_operators_namespace_governs_all_and_one_elsewhere_its_own(scene: Scene) -> None:
    elsewhere = await scene.another_namespace()
    for namespace in (scene.namespace, elsewhere):
        await scene.policy(closeAfter="1h", namespace=namespace)
        await storms(scene, "Trouble", namespace=namespace)
    await scene.gate("own", by="alice")
    await scene.requests_come_to(VERDICT, [("Hold",)])
    await scene.requests_come_to(VERDICT, [("Proceed",)], namespace=elsewhere)
    await scene.gate("all", by="bob", verdict="Stop", namespace=OPERATOR_NAMESPACE,
                     selector={"namespaces": [scene.namespace, elsewhere]})  # fmt: skip
    await scene.requests_come_to(VERDICT, [("Stop",)], namespace=elsewhere)
    (both,) = await scene.requests_come_to(VERDICT, [("Stop",)])
    assert [(ref["name"], ref["hold"]) for ref in at(both, "status.decision.by")] == [
        ("all", "bob"),
        ("own", "alice"),
    ]


async def test_signals_are_counted_and_resolved_while_a_request_is_held(scene: Scene) -> None:
    await scene.policy(closeAfter="1h")
    await scene.gate("freeze", by="alice", verdict="Stop")
    signals = await scene.pods("Trouble", 3)
    await scene.requests_come_to(f"{VERDICT} status.signals.total", [("Stop", 3)])
    for signal in signals:
        await scene.edit(signal, state="Resolved")
    await scene.requests_come_to(
        f"{VERDICT} status.signals.total status.conditions.Recovered.status", [("Stop", 6, "True")]
    )


async def taken(sender: Sender, process: OperatorProcess, alerts: list[Body]) -> None:
    """Post alerts, again while some are pending, as Alertmanager does."""
    await eventually(
        lambda: sender.post(process, alerts),
        lambda answer: answer == (200, {"accepted": len(alerts)} | TAKEN),
        within=30,
        what="all are accepted",
    )


async def test_when_a_stop_ends_only_what_still_fires_proceeds(
    api: Api, namespace: str, operator: NewOperator, tmp_path: Path
) -> None:
    sender = Sender(api, namespace, tmp_path / "token")
    process = await operator(webhook_token_file=sender.token_file)
    scene = Scene(api, namespace, process)
    await scene.policy(closeAfter="1s", groupBy=["name"])
    await scene.gate("freeze", by="alice", verdict="Stop")
    await gate_says(scene, "freeze", "status.verdict", ("Stop",))
    fires, ends = (sender.alerts(2, name=name) for name in ("Fires", "Ends"))
    await taken(sender, process, [*fires, *ends])
    said = f"spec.name status.phase {VERDICT}"
    await scene.requests_come_to(said, [("Ends", "Settled", "Stop"), ("Fires", "Settled", "Stop")])
    resolved = [alert | {"status": "resolved"} for alert in ends]
    await taken(sender, process, resolved)
    await scene.requests_come_to(said, [("Ends", "Closed", "Stop"), ("Fires", "Settled", "Stop")])
    await scene.gate("freeze")
    await scene.requests_come_to(said, [("Ends", "Closed", "Stop"), ("Fires", "Settled", "Proceed")])


async def test_metrics_tell_verdicts_and_writes_of_decisions(scene: Scene) -> None:
    await scene.policy(closeAfter="1h")
    await storms(scene, "One", "Two")

    async def figures() -> list[float]:
        found = await scene.operator.metrics()
        by_verdict = [
            found.total(name, verdict=verdict)
            for name in ("stormfold_decisions", "stormfold_gates")
            for verdict in ("Proceed", "Hold", "Stop")
        ]
        return [*by_verdict, found.total("stormfold_decision_writes_total", outcome="written")]

    # Other tests of this operator have left requests and gates in namespaces of their own.
    before = await eventually(
        figures, lambda seen: seen[0] >= 2, within=20, what="both are among those that proceed"
    )
    await scene.gate("freeze", by="alice", verdict="Stop")
    after = [number + more for number, more in zip(before, (-2, 0, 2, 0, 0, 1, 2), strict=True)]
    await eventually(figures, lambda seen: seen == after, within=20, what="two stopped by one gate")
    assert (await scene.operator.metrics()).total("stormfold_judging_seconds") > 0


async def test_max_duration_does_not_run_while_a_request_is_held(
    api: Api, namespace: str, operator: NewOperator
) -> None:
    process = await operator(constants={"stormfold.request.reading.HELD_AHEAD_MS": 1000})
    scene = Scene(api, namespace, process)
    await scene.policy(closeAfter="1h", window={"idle": "500ms", "maxDuration": "3s"})
    await scene.gate("freeze", by="alice")
    await gate_says(scene, "freeze", "status.verdict", ("Hold",))
    (request,) = await storms(scene, "Trouble")
    opened = datetime.fromisoformat(request["spec"]["openedAt"]).timestamp()
    await eventually(lambda: time.time() > opened + 5, within=20, what="maxDuration is over")
    assert rows(await scene.requests(), f"status.phase {VERDICT}") == [("Settled", "Hold")]
    await scene.gate("freeze")
    (closed,) = await scene.requests_come_to("status.phase", [("Closed",)])
    assert at(closed, "status.conditions.Closed.reason") == "MaxDurationReached"
    assert at(closed, "status.decision.heldSeconds") >= 4
