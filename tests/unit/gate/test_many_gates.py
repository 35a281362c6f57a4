"""Several gates, holds that come and go, refusals, and two leaders that run both loops: never more proceed
than may, and in the end each request says what it should, without further writes."""

from __future__ import annotations

import asyncio
import os
import random
from contextlib import AsyncExitStack
from typing import Any

import pytest
from tests.harness.gate_rounds import TimedLeader, TimedWorld
from tests.harness.gates import gate_body, hold, time_at
from tests.harness.values import T0
from tests.harness.virtual_time import run

from stormfold.api.decision import Verdict
from stormfold.gate.gates import Gate
from stormfold.gate.judging import Gathered, judge
from stormfold.gate.passing import Outcome

SEEDS = int(os.environ.get("GATE_SEEDS", "30"))
"""`make races` has 1,000."""
BLOCKS = 5
STEPS = 60
MINUTE = 60_000
ONE, TWO = {"policies": ["p-1"]}, {"policies": ["p-2"]}
BREAKER = {"openRequests": 3, "within": "1h", "cooldown": "5s"}
SPECS: dict[str, dict[str, Any]] = {
    "all": {"budget": {"concurrent": 2}},
    "first": {"selector": ONE, "budget": {"concurrent": 1}, "breaker": BREAKER},
    "freeze": {},
    "second": {"selector": TWO, "breaker": BREAKER},
    "stop": {"selector": TWO},
}


async def scene(seed: int) -> TimedWorld:
    """Leaders, consumers, people and faults, in a random order; then only one leader, and no fault."""
    rng = random.Random(seed)
    world = TimedWorld(
        rng,
        {name: gate_body(name, **spec) for name, spec in SPECS.items()},
        now_ms=T0,
        faults=rng.choice((0.0, 0.1, 0.3)),
        answer_seconds=rng.choice(((0.005,), (0.005, 0.02, 0.3), (0.3,))),
        watch_seconds=rng.choice(((0.005,), (0.005, 0.05, 1.0), (1.0, 3.0))),
    )
    for number in range(4):
        world.open(f"uid-{number}", policy=f"p-{number % 3}")
    leaders = [TimedLeader(world, clock_ms=rng.randrange(-3 * MINUTE, 3 * MINUTE)) for _ in range(2)]
    async with AsyncExitStack() as running:
        for leader in leaders:
            await running.enter_async_context(leader.running())
        for step in range(STEPS):
            happens(world, leaders, step)
            await asyncio.sleep(rng.choice((0.0, 0.01, 0.05, 0.2, 1.0, 5.0)))
        world.faults = 0.0
        world.refused.clear()
        leaders[0].leading, leaders[1].leading = True, False
        await asyncio.sleep(20)
        assert wrong(world, leaders[0]) == [], "held"
        for name in ("freeze", "stop"):
            world.edit(name, **SPECS[name])
        world.open("last", policy="p-0")
        await asyncio.sleep(20)
        assert wrong(world, leaders[0]) == [], "lifted"
        world.stuck = not world.proceeding()
        world.calls.clear()
        await asyncio.sleep(20)
    return world


def happens(world: TimedWorld, leaders: list[TimedLeader], step: int) -> None:
    """Something does, by chance."""
    rng = world.rng
    for uid in world.proceeding():
        chance = rng.random()
        if chance < 0.1:
            world.change(uid, claimed_until_ms=world.time_ms() + rng.choice((1, 5, 60)) * 1000)
        elif chance < 0.2:
            world.close(uid, rng.choice((Outcome.SUCCEEDED, Outcome.FAILED, Outcome.GONE)))
        elif chance < 0.22:
            world.delete(uid)
    if rng.random() < 0.4:
        world.open(f"uid-{100 + step}", policy=f"p-{rng.randrange(3)}", rank=rng.randrange(4))
    if rng.random() < 0.2:
        name = rng.choice(("freeze", "stop"))
        until = time_at((world.time_ms() - T0) / 1000 + rng.choice((1, 3, 10)))
        end = {"until": until} if rng.random() < 0.5 else {}
        holds = [hold(verdict=rng.choice(("Hold", "Stop")), **end)] if rng.random() < 0.5 else []
        world.edit(name, **SPECS[name], holds=holds)
    if rng.random() < 0.1:
        leader = rng.choice(leaders)
        leader.leading = not leader.leading
    if rng.random() < 0.1:
        world.refused = set(rng.sample([*world.gates, *world.requests], 2)) if rng.random() < 0.5 else set()


def wrong(world: TimedWorld, leader: TimedLeader) -> list[tuple[str, Verdict, Verdict]]:
    """Open requests that say something else than they should by the clock of who leads."""
    gates = [Gate.read(body) for body in world.gates.values()]
    found = []
    for uid, stored in world.requests.items():
        subject, decision = stored.subject, stored.subject.decision
        if stored.outcome is None and decision is not None:
            governing = tuple(gate for gate in gates if gate.selects(subject))
            should = judge(Gathered(subject, governing, leader.now_ms())).verdict
            if should is not decision.verdict:
                found.append((uid, decision.verdict, should))
    return found


@pytest.mark.parametrize("block", range(BLOCKS))
def test_never_more_proceed_than_may_and_all_say_what_they_should_in_the_end(block: int) -> None:
    seeds = range(block * SEEDS // BLOCKS, (block + 1) * SEEDS // BLOCKS)
    worlds = {seed: run(scene(seed)) for seed in seeds}
    assert {seed: world.beyond_a_budget for seed, world in worlds.items() if world.beyond_a_budget > 0} == {}
    assert {seed: world.most_canaries for seed, world in worlds.items() if world.most_canaries > 1} == {}
    assert {seed: world.beside_a_canary for seed, world in worlds.items() if world.beside_a_canary > 1} == {}
    assert [seed for seed, world in worlds.items() if world.stuck] == []
    assert {seed: world.against for seed, world in worlds.items() if world.against} == {}
    assert {seed: world.calls for seed, world in worlds.items() if world.calls.total() > 100} == {}
    assert sum(world.most_proceeding for world in worlds.values()) > len(worlds)  # else nothing was tried
