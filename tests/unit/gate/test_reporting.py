"""What the status of a gate says."""

from __future__ import annotations

from typing import Any

import pytest
from tests.harness.gates import SUBJECT, gate, hold, time_at
from tests.harness.values import T0

from stormfold.gate.gates import Gate
from stormfold.gate.reporting import status

NOW = T0 + 60_000


def said(
    found: Gate,
    *,
    in_force: bool = True,
    governs_all: bool = True,
    requests: int = 1,
    nodes_denied: bool = False,
) -> Any:
    return status(
        found,
        in_force=in_force,
        governs_all=governs_all,
        governed=[SUBJECT] * requests,
        nodes_denied=nodes_denied,
        now_ms=NOW,
    ).manifest()


def accepted(said: Any) -> tuple[str, str, str]:
    (condition,) = (c for c in said["conditions"] if c["type"] == "Accepted")
    return condition["status"], condition["reason"], condition["message"]


def test_status_says_the_strictest_verdict_and_how_many_requests_are_governed() -> None:
    found = gate(holds=[hold(), hold("bob", verdict="Stop"), hold("carol", until=time_at(60))])
    assert said(found, requests=3) == {
        "observedGeneration": 1,
        "verdict": "Stop",
        "message": "",
        "places": [],
        "unclaimed": [],
        "begun": [],
        "turn": 0,
        "heldBy": "alice, bob",
        "requests": 3,
        "expiredHolds": [{"by": "carol", "until": time_at(60)}],
        "conditions": [
            {
                "type": "Accepted",
                "status": "True",
                "observedGeneration": 1,
                "lastTransitionTime": "2026-01-01T00:01:00Z",
                "reason": "HoldExpired",
                "message": (
                    f"the gate is in force, but these holds have ended: carol (until {time_at(60)}). "
                    f"Remove them. "
                    "See https://stormfold.dev/reasons/#HoldExpired"
                ),
            },
            {
                "type": "RequestsSelected",
                "status": "True",
                "observedGeneration": 1,
                "lastTransitionTime": "2026-01-01T00:01:00Z",
                "reason": "RequestsMatch",
                "message": "the gate governs requests that are not closed",
            },
        ],
    }


@pytest.mark.parametrize(
    ("found", "more", "expected"),
    [
        pytest.param(gate(), {}, ("True", "Valid", "the gate is in force"), id="nothing is wrong"),
        pytest.param(
            gate(selector={"policies": [""]}),
            {},
            (
                "False",
                "InvalidSpec",
                "selector.policies[0]: must not be empty. See https://stormfold.dev/reasons/#InvalidSpec",
            ),
            id="it cannot be read",
        ),
        pytest.param(
            gate(),
            {"in_force": False},
            (
                "False",
                "TooManyGates",
                (
                    "the namespace has 50 gates whose names go before this one: merge some, or delete them. "
                    "See https://stormfold.dev/reasons/#TooManyGates"
                ),
            ),
            id="there are too many",
        ),
        pytest.param(
            gate(namespace="shop", selector={"namespaces": ["shop", "billing"]}),
            {"governs_all": False},
            (
                "True",
                "NamespaceNotGoverned",
                (
                    "the gate is in force, but selector.namespaces: a gate in shop governs no request "
                    "of billing; "
                    "make it in the operator's namespace. "
                    "See https://stormfold.dev/reasons/#NamespaceNotGoverned"
                ),
            ),
            id="it names a namespace that it does not govern",
        ),
        pytest.param(
            gate(holds=[hold(until="0000-01-01T00:00:00Z")]),
            {},
            (
                "True",
                "InvalidUntil",
                (
                    "the gate is in force, but the hold of alice has no end: write its until as a "
                    "time such as 2026-03-01T11:00:00Z. See https://stormfold.dev/reasons/#InvalidUntil"
                ),
            ),
            id="a time that cannot be read",
        ),
        pytest.param(
            gate(budget={"concurrent": 0, "perHour": 3}, breaker={"resources": 0}),
            {},
            (
                "True",
                "LimitIsZero",
                (
                    "the gate is in force, but breaker.resources is 0 and has no effect: to hold everything, "
                    "add a hold; budget.concurrent is 0 and has no effect: to hold everything, add a hold. "
                    "See https://stormfold.dev/reasons/#LimitIsZero"
                ),
            ),
            id="limits of 0",
        ),
        pytest.param(
            gate(budget={}, breaker={}),
            {},
            (
                "True",
                "LimitIsZero",
                (
                    "the gate is in force, but breaker has no limit and has no effect; budget has no limit "
                    "and has no effect. See https://stormfold.dev/reasons/#LimitIsZero"
                ),
            ),
            id="no limits",
        ),
        pytest.param(
            gate(breaker={"percentOfNodes": 10}),
            {"nodes_denied": True},
            (
                "True",
                "NodesNotReadable",
                (
                    "the gate is in force, but breaker.percentOfNodes has no effect: the operator may "
                    "not list nodes; "
                    "apply the component steering. See https://stormfold.dev/reasons/#NodesNotReadable"
                ),
            ),
            id="nodes cannot be counted",
        ),
    ],
)
def test_what_is_wrong_is_said_in_accepted(
    found: Gate, more: dict[str, Any], expected: tuple[str, str, str]
) -> None:
    assert accepted(said(found, **more)) == expected


def test_gate_that_governs_nothing_says_so() -> None:
    condition = said(gate(), requests=0)["conditions"][1]
    assert (condition["status"], condition["reason"], condition["message"]) == (
        "False",
        "NoRequestMatches",
        "selector matches no open request",
    )


def test_gate_that_is_not_in_force_holds_nothing() -> None:
    found = said(gate(holds=[hold()]), in_force=False)
    assert (found["verdict"], found["heldBy"]) == ("Proceed", "")


def test_whose_holds_are_in_force_is_cut_for_the_column() -> None:
    found = said(gate(holds=[hold("a" * 40), hold("b" * 40)]))
    assert found["heldBy"] == f"{'a' * 40}, {'b' * 20}…"
