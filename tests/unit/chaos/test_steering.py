"""The plan of gates and consumers that `make chaos` carries out."""

from __future__ import annotations

import pytest
from tests.chaos.steering import DEEDS, ENDS, GATE_MOVES, Act, Deed, DeleteGate, SetGate, steered
from tests.chaos.stream import SECONDS, planned


@pytest.mark.parametrize("seed", range(1, 6))
def test_each_seed_has_holds_stops_breakers_budgets_deletions_and_all_that_consumers_do(seed: int) -> None:
    groups = planned(seed).groups
    moves = steered(seed, groups, seconds=SECONDS)
    assert moves == steered(seed, groups, seconds=SECONDS)
    gates = [move for move in moves if isinstance(move, SetGate | DeleteGate)]
    acts = [move for move in moves if isinstance(move, Act)]
    assert (len(gates), len(acts)) == (GATE_MOVES, DEEDS)
    held = [held for gate in gates if isinstance(gate, SetGate) for held in gate.holds]
    assert {one.verdict for one in held} == {"Hold", "Stop"}
    assert {one.seconds is None for one in held} == {True, False}
    specs = {key for gate in gates if isinstance(gate, SetGate) for key in gate.spec}
    assert specs >= {"breaker", "budget", "selector"}
    assert any(isinstance(gate, DeleteGate) for gate in gates)
    assert {act.deed for act in acts} == set(Deed)
    assert {act.phase for act in acts if act.deed is Deed.END} == set(ENDS)
