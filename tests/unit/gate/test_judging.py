"""The decision on a request, check by check."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.harness.gates import OPERATOR_NAMESPACE, SUBJECT, gate, hold, time_at
from tests.harness.values import T0

from stormfold.api.decision import Decision, DecisionRef, Verdict
from stormfold.gate.gates import Gate, Subject
from stormfold.gate.judging import Gathered, judge

NOW = T0 + 60_000


def decided(*gates: Gate, subject: Subject = SUBJECT, now_ms: int = NOW) -> Decision:
    return judge(Gathered(subject, gates, now_ms))


def ref(name: str, by: str, namespace: str = OPERATOR_NAMESPACE) -> DecisionRef:
    return DecisionRef(kind="StormGate", namespace=namespace, name=name, hold=by)


BY_GATE = {"kind": "StormGate", "namespace": OPERATOR_NAMESPACE, "name": "everything"}
CANARY = {"uid": "uid-1", "namespace": "shop", "name": "storm-1", "since": time_at(0), "canary": True}
PASSED = {
    "verdict": "Proceed",
    "reason": "NoGateApplies",
    "message": "no StormGate governs the request",
    "by": [],
    "since": "2026-01-01T00:01:00Z",
    "heldSeconds": 0,
}
HELD = {
    "verdict": "Hold",
    "reason": "HeldByGate",
    "message": "StormGate stormfold-system/everything: alice holds it: the registry is moved",
    "by": [ref("everything", "alice").manifest()],
    "since": "2026-01-01T00:01:00Z",
    "heldSeconds": 0,
}


@pytest.mark.parametrize(
    ("gates", "expected"),
    [
        pytest.param([], PASSED, id="no gate"),
        pytest.param(
            [gate()],
            PASSED | {"reason": "GatesPass", "message": "passed by StormGate stormfold-system/everything"},
            id="a gate that holds nothing",
        ),
        pytest.param([gate(holds=[hold()])], HELD, id="a hold"),
        pytest.param(
            [gate(holds=[hold(until=time_at(90))])],
            HELD
            | {
                "until": "2026-01-01T00:01:30Z",
                "message": (
                    "StormGate stormfold-system/everything: alice holds it until 2026-01-01T00:01:30Z: "
                    "the registry is moved"
                ),
            },
            id="a hold that ends",
        ),
        pytest.param(
            [gate(holds=[hold(until=time_at(60))])],
            PASSED | {"reason": "GatesPass", "message": "passed by StormGate stormfold-system/everything"},
            id="a hold that ends now",
        ),
        pytest.param(
            [gate(holds=[hold(verdict="Stop")])],
            HELD
            | {
                "verdict": "Stop",
                "reason": "StoppedByGate",
                "message": "StormGate stormfold-system/everything: alice stops it: the registry is moved",
            },
            id="a stop",
        ),
        pytest.param(
            [
                gate(holds=[hold(until=time_at(90))]),
                gate("own", namespace="shop", holds=[hold("bob", verdict="Stop", reason="it deletes data")]),
            ],
            {
                "verdict": "Stop",
                "reason": "StoppedByGate",
                "message": (
                    "StormGate shop/own: bob stops it: it deletes data; StormGate "
                    "stormfold-system/everything: alice holds it until 2026-01-01T00:01:30Z: "
                    "the registry is moved"
                ),
                "by": [
                    ref("own", "bob", "shop").manifest(),
                    ref("everything", "alice").manifest(),
                ],
                "since": "2026-01-01T00:01:00Z",
                "heldSeconds": 0,
                "until": "2026-01-01T00:01:30Z",
            },
            id="of two gates the stricter one decides, and both are named",
        ),
        pytest.param(
            [
                gate(
                    breaker={"cooldown": "10m"},
                    status={"state": "Tripped", "since": time_at(0), "message": "m"},
                )
            ],
            HELD
            | {
                "reason": "BreakerTripped",
                "message": "StormGate stormfold-system/everything tripped: m",
                "by": [BY_GATE],
                "until": "2026-01-01T00:10:00Z",
            },
            id="a tripped breaker, until its cooldown is over",
        ),
        pytest.param(
            [
                gate(
                    breaker={},
                    status={"state": "Probing", "places": [CANARY | {"uid": "uid-2", "name": "other"}]},
                )
            ],
            HELD
            | {
                "reason": "AwaitingCanary",
                "message": "StormGate stormfold-system/everything: shop/other tries first",
                "by": [BY_GATE],
            },
            id="another one is the canary",
        ),
        pytest.param(
            [gate(breaker={}, status={"state": "Probing", "places": [CANARY]})],
            PASSED
            | {
                "reason": "Canary",
                "message": (
                    "the canary: if its consumer succeeds, StormGate stormfold-system/everything passes again"
                ),
            },
            id="it is the canary",
        ),
        pytest.param(
            [gate(budget={"concurrent": 1, "perHour": 6})],
            HELD
            | {
                "reason": "BudgetSpent",
                "message": "StormGate stormfold-system/everything lets 1 at a time and 6 an hour proceed, "
                "and it has no place",
                "by": [BY_GATE],
            },
            id="it has no place",
        ),
        pytest.param(
            [gate(budget={"concurrent": 1}, status={"places": [CANARY | {"canary": False}]})],
            PASSED | {"reason": "GatesPass", "message": "passed by StormGate stormfold-system/everything"},
            id="it has a place",
        ),
        pytest.param(
            [gate(budget={"concurrent": 1}, holds=[hold()])],
            HELD
            | {
                "message": (
                    "StormGate stormfold-system/everything: alice holds it: the registry is moved; "
                    "StormGate stormfold-system/everything lets 1 at a time proceed, "
                    "and it has no place"
                ),
                "by": [ref("everything", "alice").manifest(), BY_GATE],
            },
            id="what people say goes before the budget",
        ),
    ],
)
def test_decision_says_what_keeps_a_request_from_proceeding(
    gates: list[Gate], expected: dict[str, Any]
) -> None:
    assert decided(*gates).manifest() == expected


def test_at_most_eight_are_named_and_three_are_said() -> None:
    holds = [hold(f"team-{number}", reason="x" * 256) for number in range(12)]
    decision = decided(gate(holds=holds))
    assert [named.hold for named in decision.by] == [f"team-{number}" for number in range(8)]
    assert decision.message.endswith("; and 9 more")
    assert decision.message.count("holds it") == 3
    assert len(decision.message) <= 1024


@pytest.mark.parametrize(
    ("verdict", "since"),
    [(Verdict.HOLD, "2025-12-31T00:00:00+00:00"), (Verdict.PROCEED, "2026-01-01T00:01:00+00:00")],
)
def test_since_moves_when_the_verdict_changes_and_not_with_its_reason(verdict: Verdict, since: str) -> None:
    before = Decision(verdict=verdict, reason="Other", since=datetime(2025, 12, 31, tzinfo=UTC))
    decision = decided(gate(holds=[hold()]), subject=replace(SUBJECT, decision=before))
    assert decision.since == datetime.fromisoformat(since)


def test_time_in_which_a_request_did_not_proceed_adds_up() -> None:
    subject = SUBJECT
    for seconds, spec, held in (
        (0, {}, 0),
        (10, {"holds": [hold()]}, 0),  # proceeded before
        (40, {"holds": [hold(verdict="Stop")]}, 30),
        (50, {}, 40),
        (90, {"holds": [hold()]}, 40),
        (95, {}, 45),
    ):
        decision = decided(gate(**spec), subject=subject, now_ms=T0 + seconds * 1000)
        assert decision.held_seconds == held, seconds
        subject = replace(SUBJECT, decision=decision)
