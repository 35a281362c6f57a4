"""What a StormGate says, which requests it governs, and which gates are known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.harness.gates import OPERATOR_NAMESPACE, SUBJECT, gate, gate_body, hold, time_at
from tests.harness.values import T0

from stormfold.gate.gates import FOREVER, MAX_GATES, Gate, GateIndex

YEAR_ZERO = "0000-01-01T00:00:00Z"
"""The API server takes it, Python does not."""


@pytest.mark.parametrize(
    ("selector", "governs"),
    [
        ({}, True),
        ({"policies": ["other", "node-outage"]}, True),
        ({"policies": ["other"]}, False),
        ({"severities": ["critical"]}, True),
        ({"severities": ["high"]}, False),
        ({"labels": {"registry": "harbor"}}, True),
        ({"labels": {"registry": "quay"}}, False),
        ({"labels": {"node": "worker-1"}}, False),
        ({"namespaces": ["shop"]}, True),
        ({"namespaces": ["billing"]}, False),
        ({"policies": ["node-outage"], "severities": ["high"]}, False),
    ],
)
def test_what_a_selector_names_must_all_hold(selector: dict[str, Any], governs: bool) -> None:
    assert gate(selector=selector).selects(SUBJECT) is governs


def test_gate_governs_its_own_namespace_and_the_operators_governs_all() -> None:
    index = GateIndex(OPERATOR_NAMESPACE)
    for found in (gate("all"), gate("own", namespace="shop"), gate("other", namespace="billing")):
        index.observe(found)
    assert [found.key for found in index.of(SUBJECT)] == [(OPERATOR_NAMESPACE, "all"), ("shop", "own")]
    ours = replace(SUBJECT, namespace=OPERATOR_NAMESPACE)
    assert [found.key for found in index.of(ours)] == [(OPERATOR_NAMESPACE, "all")]


def test_hold_whose_until_cannot_be_read_holds_until_it_is_removed() -> None:
    found = gate(holds=[hold(until=YEAR_ZERO), hold("bob", until=time_at(1))])
    assert [(one.by, one.until_ms) for one in found.holds] == [("alice", FOREVER), ("bob", T0 + 1000)]
    assert found.warnings == (
        "the hold of alice has no end: write its until as a time such as 2026-03-01T11:00:00Z",
    )
    assert found.fault == ""


def test_gate_that_cannot_be_read_is_not_in_force() -> None:
    index = GateIndex(OPERATOR_NAMESPACE)
    index.observe(gate(selector={"policies": [""]}))
    (found,) = index.all()
    assert found.fault == "selector.policies[0]: must not be empty"
    assert index.of(SUBJECT) == ()


def test_status_that_cannot_be_read_is_as_none() -> None:
    found = Gate.read(gate_body(holds=[hold()], status={"verdict": "Perhaps"}))
    assert (found.status.verdict, len(found.holds)) == (None, 1)


def test_later_version_of_a_gate_counts_and_an_earlier_one_does_not() -> None:
    index = GateIndex(OPERATOR_NAMESPACE)
    index.seen(gate_body(version=7, holds=[hold()]))
    index.seen(gate_body(version=6))
    assert [len(found.holds) for found in index.of(SUBJECT)] == [1]
    uid = gate_body()["metadata"]["uid"]
    for gone in ((uid, 6), ("another", 8)):
        index.gone(*gone)
        assert len(index.all()) == 1
    index.gone(uid, 8)
    assert index.all() == []


def test_list_takes_away_what_it_does_not_have_but_not_what_is_newer() -> None:
    index = GateIndex(OPERATOR_NAMESPACE)
    for version, name in ((5, "old"), (6, "kept"), (9, "new")):
        index.observe(gate(name, version=version))
    index.listed([gate("kept", version=6)], 7)
    assert [found.metadata.name for found in index.all()] == ["kept", "new"]


def test_of_too_many_gates_of_a_namespace_the_first_by_name_are_in_force() -> None:
    index = GateIndex(OPERATOR_NAMESPACE)
    for number in reversed(range(MAX_GATES + 1)):
        index.observe(gate(f"gate-{number:03}", namespace="shop"))
    assert [found.metadata.name for found in index.of(SUBJECT)] == [
        f"gate-{number:03}" for number in range(MAX_GATES)
    ]
    beyond = index.all()[0]
    assert (beyond.metadata.name, index.is_in_force(beyond)) == (f"gate-{MAX_GATES:03}", False)


def test_listeners_hear_of_each_change() -> None:
    class Listener:
        heard = 0

        def changed(self) -> None:
            self.heard += 1

    index, listener = GateIndex(OPERATOR_NAMESPACE), Listener()
    index.subscribe(listener)
    index.seen(gate_body(version=1))
    index.seen(gate_body(version=1))
    index.gone(gate_body()["metadata"]["uid"], 2)
    assert listener.heard == 2
