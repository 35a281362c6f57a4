"""What judging costs: `GATE_COST=1 pytest tests/unit/gate/test_cost.py -s` prints the figures."""

from __future__ import annotations

import time
from dataclasses import replace

from tests.harness.gates import OPERATOR_NAMESPACE, SUBJECT, gate, hold

from stormfold.gate.gates import GateIndex, Subject
from stormfold.gate.judging import Gathered, judge

REQUESTS, GATES = 2000, 50
ROUNDS = 20


def subjects() -> list[Subject]:
    """Requests of 40 policies in 20 namespaces, each with a decision that was made before."""
    index = gates()
    plain = [
        replace(
            SUBJECT,
            uid=f"uid-{number}",
            namespace=f"team-{number % 20}",
            policy=f"policy-{number % 40}",
            labels={"registry": f"registry-{number % 10}"},
        )
        for number in range(REQUESTS)
    ]
    return [replace(one, decision=judge(Gathered(one, index.of(one), 0))) for one in plain]


def gates() -> GateIndex:
    """Gates of the operator's namespace: each is asked about each request, half of them hold some."""
    index = GateIndex(OPERATOR_NAMESPACE)
    for number in range(GATES):
        selector = (
            {"policies": [f"policy-{number}"]}
            if number % 2
            else {"labels": {"registry": f"registry-{number}"}, "namespaces": [f"team-{number % 20}"]}
        )
        holds = [hold(f"team-{number}")] if number % 4 == 1 else []
        index.observe(gate(f"gate-{number:02}", selector=selector, holds=holds))
    return index


def test_two_thousand_requests_are_judged_against_fifty_gates_in_fifty_milliseconds_of_cpu() -> None:
    index, found = gates(), subjects()
    took = []
    for _ in range(ROUNDS):
        began = time.process_time()
        decided = [judge(Gathered(one, index.of(one), 0)) for one in found]
        took.append(time.process_time() - began)
        assert [one.decision for one in found] == decided
    held = sum(decision.verdict == "Hold" for decision in decided)
    print(f"{REQUESTS} requests, {GATES} gates, {held} held: {min(took) * 1000:.1f} ms of CPU")  # noqa: T201
    assert held > 100
    assert min(took) < 0.05
