"""Holds and looks as they run beside each other: what is written, how often, and what waits for what."""

from __future__ import annotations

import asyncio

from tests.harness.gate_rounds import TimedLeader, TimedWorld, reason, said, storm, until, verdict, world_of
from tests.harness.gates import gate_body, hold
from tests.harness.virtual_time import run

from stormfold.api.decision import Verdict
from stormfold.gate.gates import Gate
from stormfold.gate.passing import Outcome
from stormfold.gate.rounds import GATHER_SECONDS, LONGEST_PAUSE_SECONDS, Rounds
from stormfold.gate.steering import ROUNDS_OF_HOLDS
from stormfold.gate.turns import AT_ONCE

BUDGET = {"budget": {"concurrent": 1}}
MINUTE = 60_000


def test_round_waits_for_the_cpu_that_the_last_one_took_and_not_after_a_quiet_time() -> None:
    async def scene() -> list[float]:
        clock = asyncio.get_running_loop().time
        rounds = Rounds(TimedLeader(world_of()), lambda: 0)
        waited = []
        for quiet in (0.0, 0.2, 60.0):
            rounds.took = 1.0
            coming = asyncio.create_task(rounds.next())
            await asyncio.sleep(quiet)
            began = clock()
            rounds.changed.set()
            assert await coming
            waited.append(round(clock() - began, 3))
        return waited

    rest = round(LONGEST_PAUSE_SECONDS - 0.2, 3)
    assert run(scene()) == [LONGEST_PAUSE_SECONDS, rest, GATHER_SECONDS]


def test_nothing_proceeds_against_a_hold_that_is_known_while_others_are_let_proceed() -> None:
    async def scene() -> TimedWorld:
        world = world_of(gate_body("freeze", holds=[hold()]), answer_seconds=(0.1,))
        for number in range(20 * AT_ONCE):
            world.open(f"uid-{number}")
        async with TimedLeader(world).running():
            world.edit("freeze")
            await until(lambda: said(world, Verdict.PROCEED) > 2 * AT_ONCE, within=2)
            world.edit("freeze", holds=[hold()])
            await until(lambda: not said(world, Verdict.PROCEED), within=5)
        return world

    assert run(scene()).against == {}


def test_replica_that_leads_no_more_writes_no_more() -> None:
    async def scene() -> tuple[TimedWorld, int]:
        world = world_of(gate_body("freeze"), answer_seconds=(0.1,))
        for number in range(20 * AT_ONCE):
            world.open(f"uid-{number}")
        leader = TimedLeader(world)
        async with leader.running():
            world.edit("freeze", holds=[hold()])
            await until(lambda: said(world, Verdict.HOLD) > 2 * AT_ONCE, within=2)
            leader.leading = False
            held = said(world, Verdict.HOLD)
            await asyncio.sleep(5)
        return world, held

    world, held = run(scene())
    assert said(world, Verdict.HOLD) <= held + ROUNDS_OF_HOLDS * AT_ONCE  # what had begun ends


def test_request_in_which_others_write_all_the_time_is_held() -> None:
    async def scene() -> tuple[Verdict | None, str]:
        world = world_of(gate_body("freeze"), answer_seconds=(0.1,))
        world.open("busy")
        async with TimedLeader(world).running():
            writes = asyncio.create_task(storm(world, "busy", 10))
            await asyncio.sleep(0.5)
            world.edit("freeze", holds=[hold()])
            await until(lambda: verdict(world, "busy") is Verdict.HOLD, within=1)
            world.edit("freeze", holds=[hold(verdict="Stop")])
            await until(lambda: verdict(world, "busy") is Verdict.STOP, within=1)
            await writes
        return verdict(world, "busy"), reason(world, "busy")

    assert run(scene()) == (Verdict.STOP, "StoppedByGate")


def test_stop_is_said_that_comes_while_a_hold_is_written() -> None:
    """Also if a watch tells of the hold before its write is answered: nothing is new then."""

    async def scene() -> Verdict | None:
        world = world_of(gate_body("freeze"), answer_seconds=(0.005,))
        world.open("one")
        world.late = {"one": 0.5}
        async with TimedLeader(world).running():
            await asyncio.sleep(0.5)
            world.edit("freeze", holds=[hold()])
            await until(lambda: verdict(world, "one") is Verdict.HOLD, within=1)
            world.edit("freeze", holds=[hold(verdict="Stop")])
            await until(lambda: verdict(world, "one") is Verdict.STOP, within=2)
        return verdict(world, "one")

    assert run(scene()) is Verdict.STOP


def test_rounds_of_holds_take_a_tenth_of_the_cpu_though_each_runs_beside_the_next() -> None:
    async def scene() -> int:
        world = world_of(gate_body("freeze", selector={"policies": ["another"]}, holds=[hold()]))
        world.open("one")
        leader = TimedLeader(world)
        async with leader.running(cpu_seconds=0.02):
            await storm(world, "one", 10)
        return leader.judged

    # In 10 s: 5 holds a second and 4 looks, which judge in two parts; there is a change each 50 ms.
    assert 50 <= run(scene()) <= 95


def test_hold_does_not_wait_for_the_answers_to_those_before() -> None:
    async def scene() -> list[Verdict | None]:
        world = world_of(
            gate_body("freeze", selector={"policies": ["silent"]}),
            gate_body("stop", selector={"policies": ["other"]}),
        )
        for policy in ("silent", "other"):
            world.open(policy, policy=policy)
        world.unanswered = {"silent"}
        async with TimedLeader(world).running():
            await asyncio.sleep(0.5)
            world.edit("freeze", selector={"policies": ["silent"]}, holds=[hold()])
            await until(lambda: world.calls["silent"] > 0, within=1)
            world.edit("stop", selector={"policies": ["other"]}, holds=[hold(verdict="Stop")])
            await until(lambda: verdict(world, "other") is Verdict.STOP, within=1)
        return [verdict(world, "silent"), verdict(world, "other")]

    assert run(scene()) == [Verdict.PROCEED, Verdict.STOP]


def test_request_in_which_signals_arrive_is_held_by_one_call() -> None:
    async def scene() -> int:
        world = world_of(gate_body("freeze"), answer_seconds=(0.1,))
        world.open("busy", busy=True)
        async with TimedLeader(world).running():
            await asyncio.sleep(0.5)
            before = world.calls["busy"]
            world.change("busy", resources=1)
            world.edit("freeze", holds=[hold()])
            world.change("busy", resources=2)
            await until(lambda: verdict(world, "busy") is Verdict.HOLD, within=1)
            return world.calls["busy"] - before

    assert run(scene()) == 1


def test_request_in_which_others_write_all_the_time_is_not_let_proceed_unread() -> None:
    async def scene() -> tuple[Verdict | None, Verdict | None]:
        world = world_of(gate_body("freeze", holds=[hold()]), answer_seconds=(0.1,))
        world.open("busy")
        async with TimedLeader(world).running():
            writes = asyncio.create_task(storm(world, "busy", 5))
            world.edit("freeze")
            await writes
            meanwhile = verdict(world, "busy")
            await until(lambda: verdict(world, "busy") is Verdict.PROCEED, within=1)
        return meanwhile, verdict(world, "busy")

    assert run(scene()) == (Verdict.HOLD, Verdict.PROCEED)


def test_nothing_is_held_any_more_once_the_hold_is_lifted_that_is_being_written() -> None:
    async def scene() -> TimedWorld:
        world = world_of(gate_body("freeze"), answer_seconds=(0.1,))
        for number in range(20 * AT_ONCE):
            world.open(f"uid-{number}")
        async with TimedLeader(world).running():
            world.edit("freeze", holds=[hold()])
            await until(lambda: said(world, Verdict.HOLD) > 2 * AT_ONCE, within=2)
            world.edit("freeze")
            await until(lambda: not said(world, Verdict.HOLD), within=5)
        return world

    assert run(scene()).against == {}


def test_gate_about_which_there_is_no_answer_keeps_no_other_from_letting_requests_proceed() -> None:
    one, two = {"policies": ["one"]}, {"policies": ["two"]}

    async def scene() -> None:
        world = world_of(
            gate_body("broken", selector=one, **BUDGET), gate_body("registry", selector=two, **BUDGET)
        )
        async with TimedLeader(world).running():
            await asyncio.sleep(1)
            world.unanswered.add("broken")
            world.open("first", policy="one")
            world.open("second", policy="two")
            await until(lambda: verdict(world, "second") is Verdict.PROCEED, within=60)
            world.close("second", Outcome.SUCCEEDED)
            world.open("third", policy="two")
            await until(lambda: verdict(world, "third") is Verdict.PROCEED, within=60)
            world.unanswered.clear()
            await until(lambda: verdict(world, "first") is Verdict.PROCEED, within=60)

    run(scene())


def test_request_without_a_place_in_a_new_budget_waits_for_no_gate_that_does_not_answer() -> None:
    async def scene() -> tuple[Verdict | None, list[str]]:
        world = world_of(
            gate_body("registry", selector={"policies": ["two"]}),
            gate_body("broken", selector={"policies": ["one"]}, **BUDGET),
        )
        for number in range(4):
            world.open(f"uid-{number}", policy="two")
        async with TimedLeader(world).running():
            await until(lambda: said(world, Verdict.PROCEED) == 4, within=2)
            world.unanswered.add("broken")
            world.open("first", policy="one")
            await asyncio.sleep(0.5)  # its place is being written
            world.edit("registry", selector={"policies": ["two"]}, **BUDGET)
            await until(lambda: said(world, Verdict.PROCEED) == 0, within=1)
        return verdict(world, "first"), [reason(world, f"uid-{number}") for number in range(4)]

    assert run(scene()) == (Verdict.HOLD, ["BudgetSpent"] * 4)


def test_look_leaves_connections_to_holds_however_many_places_are_asked_about() -> None:
    many, each = range(AT_ONCE + 4), range(8)

    async def scene() -> int:
        budget = {"concurrent": len(each)}
        world = world_of(
            *(gate_body(f"gate-{one}", selector={"policies": [f"p-{one}"]}, budget=budget) for one in many)
        )
        for number in many:
            for other in each:
                world.open(f"uid-{number}-{other}", policy=f"p-{number}")
        async with TimedLeader(world).running():
            await until(lambda: said(world, Verdict.PROCEED) == len(world.requests), within=60)
            await asyncio.sleep(1)
            world.most_at_once = 0
            for uid in world.requests:
                world.close(uid, Outcome.GONE)
            await until(lambda: not any(Gate.read(body).places for body in world.gates.values()), within=60)
        return world.most_at_once

    assert run(scene()) <= 2 * AT_ONCE


def test_hold_that_is_lifted_waits_for_no_flood_of_gates() -> None:
    async def scene() -> float:
        none = {"policies": ["none"]}
        flood = [gate_body(f"gate-{number:03}", selector=none) for number in range(200)]
        world = world_of(gate_body("freeze", holds=[hold()]), *flood, answer_seconds=(0.5,))
        world.open("first")
        async with TimedLeader(world).running():
            await asyncio.sleep(1)
            world.edit("freeze")
            began = asyncio.get_running_loop().time()
            await until(lambda: verdict(world, "first") is Verdict.PROCEED, within=30)
            took = asyncio.get_running_loop().time() - began
            await until(lambda: all(body.get("status") for body in world.gates.values()), within=60)
        return took

    assert run(scene()) < 4
