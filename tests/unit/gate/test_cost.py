"""What judging costs: `pytest tests/unit/gate/test_cost.py -s` prints the figures."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from types import FrameType

from tests.harness.gates import OPERATOR_NAMESPACE, SUBJECT, gate, hold

from stormfold.gate.gates import GateIndex, Subject
from stormfold.gate.judging import Gathered, judge

REQUESTS, GATES = 2000, 50
ROUNDS = 20
CPU_SECONDS = 0.05
"""On a machine with nothing else to do."""
SLOWER = 4
"""So many times longer it may take elsewhere. What holds on each machine is the count of calls."""
CALLS = 100
"""Calls of Python functions for one request, at most."""


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


def calls_of(index: GateIndex, found: list[Subject]) -> int:
    """How many Python functions are called to judge these."""
    calls = 0

    def count(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        for one in found:
            judge(Gathered(one, index.of(one), 0))
    finally:
        sys.setprofile(None)
    return calls


def test_two_thousand_requests_are_judged_against_fifty_gates_in_fifty_milliseconds_of_cpu() -> None:
    index, found = gates(), subjects()
    took = []
    for _ in range(ROUNDS):
        began = time.process_time()
        decided = [judge(Gathered(one, index.of(one), 0)) for one in found]
        took.append(time.process_time() - began)
        assert [one.decision for one in found] == decided
    held = sum(decision.verdict == "Hold" for decision in decided)
    calls = calls_of(index, found) / REQUESTS
    figures = f"{min(took) * 1000:.1f} ms of CPU, {calls:.1f} calls for each request"
    print(f"{REQUESTS} requests, {GATES} gates, {held} held: {figures}")  # noqa: T201
    assert held > 100
    assert calls <= CALLS, figures
    assert min(took) < CPU_SECONDS * SLOWER, figures
