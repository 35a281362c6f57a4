"""What the API server refuses of one gate or request: it rests, and keeps no other from its turn."""

from __future__ import annotations

import asyncio

from tests.harness.gate_rounds import TimedLeader, TimedWorld, reason, said, storm, until, verdict, world_of
from tests.harness.gates import gate_body, hold
from tests.harness.virtual_time import run

from stormfold.api.decision import Verdict
from stormfold.gate.gates import Gate
from stormfold.gate.passing import Outcome
from stormfold.gate.rounds import RETRY_SECONDS

BUDGET = {"budget": {"concurrent": 1}}
MINUTE = 60_000


def test_gate_whose_status_is_refused_is_asked_again_after_a_while_whatever_else_changes() -> None:
    async def scene() -> tuple[TimedWorld, bool]:
        world = world_of(gate_body("registry", **BUDGET), gate_body("freeze"))
        world.open("first", rank=4)
        world.open("other")
        async with TimedLeader(world).running():
            await until(lambda: verdict(world, "first") is Verdict.PROCEED, within=2)
            world.refused.add("registry")
            world.edit("freeze", holds=[hold()])
            await until(lambda: verdict(world, "first") is Verdict.HOLD, within=1)
            world.calls.clear()
            await storm(world, "other", 10)
            held = verdict(world, "first") is Verdict.HOLD
            asked = world.calls.copy()
            world.refused.clear()
            world.edit("freeze")
            await until(lambda: verdict(world, "first") is Verdict.PROCEED, within=2)
        world.calls = asked
        return world, held

    world, held = run(scene())
    times = 10 / RETRY_SECONDS + 1
    assert held
    assert 5 < world.calls["registry"] <= times
    assert world.calls["first"] <= 2 * times  # it has lost its place, and why it is held


def test_request_whose_status_is_refused_is_asked_again_after_a_while_whatever_else_changes() -> None:
    async def scene() -> int:
        world = world_of(gate_body("freeze"))
        world.open("broken")
        world.open("other")
        world.refused.add("broken")
        async with TimedLeader(world).running():
            world.edit("freeze", holds=[hold()])
            await until(lambda: verdict(world, "other") is Verdict.HOLD, within=1)
            await storm(world, "other", 10)
            asked = world.calls["broken"]
            world.refused.clear()
            await until(lambda: verdict(world, "broken") is Verdict.HOLD, within=1)
        return asked

    assert 5 < run(scene()) <= 10 / RETRY_SECONDS + 2


def test_gate_that_has_changed_is_not_written_again_until_it_was_heard_how() -> None:
    async def scene() -> int:
        world = world_of(gate_body("registry", **BUDGET), watch_seconds=(2.0,))
        world.open("first")
        leader = TimedLeader(world)
        async with leader.running():
            await until(lambda: verdict(world, "first") is Verdict.PROCEED, within=3)
            await asyncio.sleep(5)
            world.calls.clear()
            world.edit("registry", **BUDGET, holds=[hold()])
            world.close("first", Outcome.SUCCEEDED)
            leader.see("first")
            await asyncio.sleep(1.9)
        return world.calls["registry"]

    assert run(scene()) <= 1.9 / RETRY_SECONDS + 1


def test_gate_that_trips_takes_back_all_places_but_that_of_a_request_that_is_refused() -> None:
    spec = {"breaker": {"openRequests": 2, "within": "1h", "cooldown": "1s"}, "budget": {"concurrent": 2}}

    async def scene() -> None:
        world = world_of(gate_body("registry", **spec))
        world.open("broken", rank=4)
        world.open("first")

        def registry() -> tuple[str | None, set[str], set[str]]:
            status = Gate.read(world.gates["registry"]).status
            places = {place.uid for place in status.places}
            return status.state, places, {place.uid for place in status.places if place.canary}

        async with TimedLeader(world).running():
            await until(lambda: said(world, Verdict.PROCEED) == 2, within=2)
            world.refused.add("broken")
            world.open("second")
            await until(lambda: registry() == ("Tripped", {"broken"}, set()), within=2)
            await asyncio.sleep(5)  # it may still say Proceed: nobody else tries
            assert registry() == ("Tripped", {"broken"}, set())
            assert said(world, Verdict.HOLD) == 2
            world.refused.clear()
            await until(lambda: registry() == ("Probing", {"broken"}, {"broken"}), within=2)

    run(scene())


def test_canary_that_nobody_claims_trips_the_gate_also_if_its_status_is_refused() -> None:
    spec = {"breaker": {"openRequests": 1, "within": "1h", "cooldown": "1s"}}

    async def scene() -> None:
        world = world_of(gate_body("registry", **spec))
        world.open("broken", rank=4)
        world.open("first")
        async with TimedLeader(world).running():
            await until(lambda: reason(world, "broken") == "Canary", within=5)
            world.edit("registry", breaker=spec["breaker"] | {"cooldown": "1h"})
            world.refused.add("broken")
            await asyncio.sleep(5 * 60 + 2)
            status = Gate.read(world.gates["registry"]).status
            assert (status.state, status.message) == (
                "Tripped",
                "nobody has claimed the canary shop/broken for 5m",
            )

    run(scene())


def test_request_that_cannot_be_told_that_its_place_is_lost_keeps_no_other_from_a_place() -> None:
    async def scene() -> None:
        world = world_of(gate_body("registry", budget={"concurrent": 2}))
        world.open("broken", rank=4)
        world.open("first", rank=3)
        world.open("second")
        async with TimedLeader(world).running():
            await until(lambda: said(world, Verdict.PROCEED) == 2, within=2)
            world.refused.add("broken")
            await asyncio.sleep(6 * 60)  # nobody has claimed them
            world.close("first", Outcome.GONE)
            await until(lambda: verdict(world, "second") is Verdict.PROCEED, within=2)
            assert Gate.read(world.gates["registry"]).places == {"broken", "second"}

    run(scene())


def test_request_that_cannot_be_held_keeps_no_other_from_a_place_that_is_free() -> None:
    one = {"policies": ["one"]}

    async def scene() -> None:
        world = world_of(gate_body("registry", budget={"concurrent": 2}), gate_body("freeze", selector=one))
        world.open("broken", policy="one")
        async with TimedLeader(world).running():
            await until(lambda: verdict(world, "broken") is Verdict.PROCEED, within=2)
            world.refused.add("broken")
            world.edit("freeze", selector=one, holds=[hold()])
            await asyncio.sleep(2)
            world.open("first", policy="two")
            await until(lambda: verdict(world, "first") is Verdict.PROCEED, within=2)

    run(scene())
