"""Two leaders with different clocks, lost answers and late views: never more proceed than may."""

from __future__ import annotations

import asyncio
import os
import random
from typing import Any

import pytest
from tests.harness.gate_world import Leader, World
from tests.harness.gates import gate_body
from tests.harness.values import T0

from stormfold.gate.passing import Outcome

SEEDS = int(os.environ.get("GATE_SEEDS", "100"))
"""`make races` has 1,000."""
BLOCKS = 5
STEPS = 40
MINUTE = 60_000
BUDGET = {"budget": {"concurrent": 1}}
TWO = {"budget": {"concurrent": 2}}
BREAKER = {"breaker": {"openRequests": 1, "within": "2h", "cooldown": "2m"}}


async def run(seed: int, spec: dict[str, Any]) -> World:
    """Leaders that look, consumers, deletions and time, in a random order."""
    rng = random.Random(seed)
    world = World(rng, {"everything": gate_body(**spec)}, now_ms=T0, faults=rng.choice((0.0, 0.1, 0.3)))
    leaders = [Leader(world, clock_ms=rng.randrange(-4 * MINUTE, 4 * MINUTE)) for _ in range(2)]
    looks: set[asyncio.Task[None]] = set()
    for number in range(4):
        world.open(f"uid-{number}")
    for leader in leaders:
        leader.gates.seen(world.gates["everything"])

    busy: dict[int, asyncio.Task[None]] = {}
    for step in range(STEPS):
        which = rng.randrange(2)
        leaders[which].watch()
        if which not in busy or busy[which].done():
            busy[which] = asyncio.create_task(leaders[which].look())
            looks.add(busy[which])
        if rng.random() < 0.2:
            await asyncio.wait({busy[which]})
        for _ in range(rng.choice((1, 10, 40))):
            await asyncio.sleep(0)
        now = world.now_ms
        for uid in world.proceeding():
            chance = rng.random()
            if chance < 0.2:
                world.change(uid, claimed_until_ms=now + rng.choice((1, 3, 10)) * MINUTE)
            elif chance < 0.35:
                world.close(uid, rng.choice((Outcome.SUCCEEDED, Outcome.FAILED, Outcome.GONE)))
            elif chance < 0.4:
                del world.requests[uid]
        if rng.random() < 0.3:
            world.open(f"uid-{100 + step}")
        if rng.random() < 0.1:
            world.edit(**spec, holds=[{"by": "alice", "reason": "r"}] if rng.random() < 0.5 else [])
        world.now_ms += rng.choice((0, 0, 1000, MINUTE, 6 * MINUTE))
    await asyncio.wait(looks)
    for task in looks:
        task.result()
    world.stuck = not await somebody_proceeds(world, leaders[seed % 2], spec)
    return world


async def somebody_proceeds(world: World, leader: Leader, spec: dict[str, Any]) -> bool:
    """Whether somebody does within minutes, with one leader, no fault, no hold, and an open request."""
    world.faults = 0.0
    world.edit(**spec)
    world.open("last")
    for _ in range(60):
        for _ in range(2):
            leader.watch(share=1)
            await leader.look()
        if world.proceeding():
            return True
        world.now_ms += 20_000
    return False


def seeds(block: int) -> range:
    return range(block * SEEDS // BLOCKS, (block + 1) * SEEDS // BLOCKS)


@pytest.mark.parametrize("block", range(BLOCKS))
@pytest.mark.parametrize("spec", [BUDGET, BUDGET | BREAKER], ids=["budget", "budget and breaker"])
def test_never_more_proceed_than_the_budget_allows_whatever_two_leaders_do(
    spec: dict[str, Any], block: int
) -> None:
    worlds = {seed: asyncio.run(run(seed, spec)) for seed in seeds(block)}
    assert {seed: world.most_proceeding for seed, world in worlds.items() if world.most_proceeding > 1} == {}
    assert [seed for seed, world in worlds.items() if world.stuck] == []
    # Else nothing was tried.
    assert sum(world.most_proceeding for world in worlds.values()) > len(worlds) / 3


@pytest.mark.parametrize("block", range(BLOCKS))
@pytest.mark.parametrize("spec", [BREAKER, BREAKER | TWO], ids=["breaker", "breaker and budget of two"])
def test_nothing_proceeds_beside_a_canary_whatever_two_leaders_do(spec: dict[str, Any], block: int) -> None:
    worlds = {seed: asyncio.run(run(seed, spec)) for seed in seeds(block)}
    assert {seed: world.most_canaries for seed, world in worlds.items() if world.most_canaries > 1} == {}
    assert {seed: world.beside_a_canary for seed, world in worlds.items() if world.beside_a_canary > 1} == {}
    assert [seed for seed, world in worlds.items() if world.stuck] == []
    assert sum(world.beside_a_canary for world in worlds.values()) > len(worlds) / 4


async def test_leader_forgets_when_a_request_was_claimed_that_has_lost_its_place() -> None:
    world = World(random.Random(1), {"everything": gate_body(**BUDGET)}, now_ms=T0)
    world.open("first", rank=4)
    world.open("second")
    leader = Leader(world, clock_ms=0)

    async def look() -> dict[str, int]:
        leader.watch(share=1)
        await leader.look()
        return leader.steering.settling.claimed_ms

    await look()
    world.change("first", claimed_until_ms=T0 + MINUTE)
    assert await look() == {"first": T0}
    world.change("first", claimed_until_ms=0)
    world.now_ms += 6 * MINUTE
    await look()
    assert await look() == {}


async def test_leader_that_slept_before_its_last_write_does_not_let_a_second_request_proceed() -> None:
    world = World(random.Random(1), {"everything": gate_body(**BUDGET)}, now_ms=T0)
    world.open("first", rank=4)
    world.open("second")
    sleeper, heir = (Leader(world, clock_ms=clock) for clock in (0, 3 * MINUTE))
    for leader in (sleeper, heir):
        leader.watch(share=1)
    world.hold_back = "first"
    sleeping = asyncio.create_task(sleeper.look())
    await world.arrived.wait()
    # It has taken the place. Nobody claims the request, and another one leads.
    assert [place["uid"] for place in world.gates["everything"]["status"]["places"]] == ["first"]
    world.now_ms += 6 * MINUTE
    heir.watch(share=1)
    for _ in range(2):
        await heir.look()
        heir.watch(share=1)
    assert world.proceeding() == ["second"]
    world.released.set()
    await sleeping
    assert world.proceeding() == ["second"]
    assert world.most_proceeding == 1
