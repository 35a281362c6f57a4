"""`make chaos`: SEEDS=10 runs the seeds 1 to 10, SEED=7 that one; RUN=main, sentinel or cluster."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from rich.console import Console
from tests.chaos.accounting import Accounting
from tests.chaos.faults.schedule import clock_offset, scheduled
from tests.chaos.leaders import Gap, Leaders
from tests.chaos.leading import SLOW_SECONDS, Renewals, Waits
from tests.chaos.report import Result, show, tell
from tests.chaos.sending import STRANGER, Sender
from tests.chaos.steering import Steerer, steered
from tests.chaos.stores import store_of
from tests.chaos.stream import NAMESPACES, SECONDS, Group, Law, planned
from tests.chaos.world import REFUSED, ChaosWorld, running
from tests.harness import invocation
from tests.harness.audit import writes_of
from tests.harness.cluster import OPERATOR_NAMESPACE
from tests.harness.invocation import whole_number, word
from tests.harness.observing import KINDS, observe
from tests.harness.verdicts import Interval, Observer

from lab.building import Binaries, ensure_binaries
from stormfold.kube.lease import checkpoints_of

LOOK_SECONDS = 0.5
WEIGH_SECONDS = 0.1
TAKEN_SECONDS = 240.0
"""Within this after the end of the stream every post must have been answered by 200: a bound for a machine
that does much else, not what to expect."""
AGREE_SECONDS = 120.0
"""The same, after that, until what was sent and what was counted must agree; plus what a clock is
wrong by."""
LEADERLESS_SECONDS = 45.0
"""Redis that is emptied so long before the last sign of a leader, or after, may make Signals count once more
that were edited and are above the checkpoint: the next one may not have given them back."""
LISTED_SECONDS = 30.0
"""Within this a new leader has read all Signals, although the API server may be away at first."""
HELD_SECONDS = 30.0
"""Within this after that, operators have asked what has become of what they hold."""
HEARD_SECONDS = 60.0
"""Within this after the last fault each group of which alerts fire must have an open request, or wait; plus
what a clock is wrong by."""
CALM_SECONDS = 2.0
"""For so long nothing may change any more."""


async def look(world: ChaosWorld, accounting: Accounting, sender: Sender) -> None:
    """Read what the API server has, for ever; and notice when somebody else leads."""
    leaders = Leaders()
    gaps: list[Gap] = []
    held_against: set[tuple[Gap, float]] = set()
    while True:
        with contextlib.suppress(*REFUSED):
            leases = await world.leases()
            for gap in leaders.look(leases, world.seconds):
                accounting.fault(
                    f"a new leader begins, {gap.end - gap.begin:.1f} s after the last", world.seconds
                )
                gaps.append(gap)
            for gap, loss in itertools.product(gaps, world.losses):
                if loss > gap.begin - LEADERLESS_SECONDS and (gap, loss) not in held_against:
                    held_against.add((gap, loss))
                    accounting.led_anew(sender.checkpoints, gap.end + LISTED_SECONDS)
            for lease in leases:
                sender.checkpoints = checkpoints_of(lease)
            accounting.observe(await world.requests(), world.seconds)
        waiting = await gauge(world, "stormfold_waiting_groups")
        accounting.most_waiting = max(accounting.most_waiting, waiting)
        await asyncio.sleep(LOOK_SECONDS)


async def weigh(world: ChaosWorld, waits: Waits) -> None:
    """Note for how long each operator has waited for a CPU, for ever."""
    while True:
        for number, replica in enumerate(world.replicas):
            with contextlib.suppress(OSError):
                waits.note(f"operator-{number}", time.time(), replica.operator.waited_seconds())
        await asyncio.sleep(WEIGH_SECONDS)


async def probe(world: ChaosWorld, slow: list[Interval]) -> None:
    """Read something small from the API server again and again; note when that took long, and when it could
    not ask gates: no write of a request is taken then, whoever makes it."""
    while True:
        began = time.time()
        with contextlib.suppress(*REFUSED):
            await world.leases()
        if time.time() - began > SLOW_SECONDS:
            slow.append((began, time.time()))
        with contextlib.suppress(*REFUSED):
            if not await world.knows_gates():
                slow.append((began, time.time() + WEIGH_SECONDS))
        await asyncio.sleep(WEIGH_SECONDS)


async def gauge(world: ChaosWorld, name: str) -> int:
    """The sum of a gauge over the operators that answer."""
    total = 0.0
    for replica in world.replicas:
        with contextlib.suppress(*REFUSED):
            total += (await replica.operator.metrics()).total(name)
    return int(total)


async def held_in_the_end(world: ChaosWorld) -> int:
    """How many signals operators hold that do not wait, after the time in which all ask what has become of
    what they hold."""
    until = world.seconds + HELD_SECONDS
    while True:
        waiting = await gauge(world, "stormfold_waiting_signals")
        held = await gauge(world, "stormfold_signals_in_flight") - waiting
        if held <= 0 or world.seconds > until:
            return held
        await asyncio.sleep(LOOK_SECONDS)


async def heard(world: ChaosWorld, accounting: Accounting, firing: set[Group], *, within: float) -> list[str]:
    """Wait until each group of which alerts fire has an open request, or waits for one visibly; gives what is
    wrong."""
    until = world.seconds + within
    while True:
        waiting: set[Law] = set()
        with contextlib.suppress(*REFUSED):
            for policy in await world.api.list("StormPolicy", NAMESPACES[Law.MANY][0]):
                said = {
                    one["type"]: one["status"] for one in (policy.get("status") or {}).get("conditions", ())
                }
                waiting |= {Law.MANY} if said.get("GroupsWaiting") == "True" else set()
        unheard = accounting.unheard(sorted(group.name for group in firing if group.law not in waiting))
        if not unheard or world.seconds > until:
            return [f"alerts of {group} fire, and it has no open request" for group in unheard]
        await asyncio.sleep(LOOK_SECONDS)


async def read_discarded(world: ChaosWorld, accounting: Accounting) -> list[str]:
    """Note which Signals say Discarded; gives what is wrong with those that are to be rejected."""
    signals = await world.api.list("Signal")
    pods: dict[str, Counter[str]] = {group: Counter() for group in accounting.ledgers}
    problems = []
    for one in signals:
        name, phase = one["spec"]["name"], (one.get("status") or {}).get("phase")
        if name == STRANGER:
            if phase != "Rejected":
                problems.append(f"{one['metadata']['name']} must be Rejected and is {phase}")
        elif phase == "Discarded":
            pods[name][one["spec"]["target"]["name"]] += 1
    for name, counter in pods.items():
        accounting.discarded(name, counter)
    return problems


def settled(accounting: Accounting) -> bool:
    """Whether nothing is missing and every storm is over."""
    return not any(account.lost for account in accounting.accounts()) and all(
        shown.phase == "Closed"
        for ledger in accounting.ledgers.values()
        for shown in ledger.requests.values()
    )


async def agree(world: ChaosWorld, accounting: Accounting, *, within: float) -> list[str]:
    """Wait until what was sent and what was counted agree and stay so; gives what is wrong beside them."""
    until = world.seconds + within
    calm_since, last = world.seconds, -1
    problems: list[str] = ["Signals could not be read"]
    while world.seconds < until:
        counted = sum(account.counted for account in accounting.accounts())
        if counted != last or not settled(accounting):
            calm_since, last = world.seconds, counted
            with contextlib.suppress(*REFUSED):
                problems = await read_discarded(world, accounting)
        elif world.seconds - calm_since >= CALM_SECONDS and not problems:
            break
        await asyncio.sleep(LOOK_SECONDS)
    there = [request["metadata"]["name"] for request in await world.requests()]
    problems += [f"request {name} is gone" for name in accounting.missing(there)]
    if not settled(accounting):
        open_ones = [
            name
            for ledger in accounting.ledgers.values()
            for name, it in ledger.requests.items()
            if it.phase != "Closed"
        ]
        if open_ones:
            problems.append(f"still open after {within:.0f} s of quiet: {', '.join(open_ones)}")
    return problems


async def run_seed(binaries: Binaries, seed: int, run: str, console: Console) -> Result:
    """One seed, from nothing to nothing."""
    started = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix=f"stormfold-chaos-{seed}-"))
    plan = planned(seed)
    offset = clock_offset(seed)
    accounting = Accounting(plan.groups)
    async with running(binaries, folder, store_of(run), clock_offset=offset) as world:
        accounting.losses = world.losses
        sender = Sender(world, accounting, plan, random.Random(f"sending {seed}"))
        steerer = Steerer(world, accounting, steered(seed, plan.groups, seconds=SECONDS))
        observer, renewals, waits = Observer(OPERATOR_NAMESPACE), Renewals(), Waits()
        slow: list[Interval] = []
        schedule = scheduled(seed, run, seconds=SECONDS)
        world.begin()
        watching = [
            asyncio.create_task(world.keep_running(), name="kubelet"),
            asyncio.create_task(look(world, accounting, sender), name="look"),
            asyncio.create_task(weigh(world, waits), name="weigh"),
            asyncio.create_task(probe(world, slow), name="probe"),
            asyncio.create_task(observe(world.api, renewals, "Lease", OPERATOR_NAMESPACE), name="Lease"),
            *(asyncio.create_task(observe(world.api, observer, kind), name=kind) for kind in KINDS),
        ]
        problems: list[str] = []
        try:
            async with asyncio.timeout(SECONDS + 2 * TAKEN_SECONDS), asyncio.TaskGroup() as tasks:
                tasks.create_task(sender.send(until=SECONDS + TAKEN_SECONDS))
                tasks.create_task(steerer.run())
                for fault in schedule:
                    tasks.create_task(fault.run(world, accounting))
        except TimeoutError:
            problems.append("what was begun did not end: what was sent is not known")
        if sender.unanswered:
            problems.append(f"{sender.unanswered} posts never answered by 200: {dict(sender.refused)}")
        await steerer.lift_all()
        firing = sender.still_firing()
        problems += await heard(world, accounting, firing, within=HEARD_SECONDS + abs(offset))
        await asyncio.sleep(abs(offset))  # an end that comes sooner may look older than what it ends
        try:
            async with asyncio.timeout(TAKEN_SECONDS):
                await sender.end_alerts()
        except TimeoutError:
            problems.append("the ends of alerts are not taken")
        problems += await agree(world, accounting, within=AGREE_SECONDS + abs(offset))
        held = await held_in_the_end(world)
        for task in watching:
            task.cancel()
        await asyncio.gather(*watching, return_exceptions=True)
        waiting = await gauge(world, "stormfold_waiting_signals")
        excused = [*renewals.excused(world.disturbances), *slow]
        for begin, end in excused:
            accounting.fault(f"nobody can decide for {end - begin:.2f} s", begin - world.began_wall)
        starved = list(waits.of_leaders(renewals))
        accounting.fault(f"leaders waited {sum(b - a for a, b in starved):.1f} s for a CPU", world.seconds)
        audit_log = world.control_plane.audit_log
        assert audit_log is not None
        verdicts = observer.judged(
            time.time(),
            excused=[*excused, *starved],
            clock_error=abs(offset),
            began=world.began_wall,
            writes=await asyncio.to_thread(writes_of, audit_log),
        )
        result = Result(
            seed,
            Counter(fault.kind for fault in schedule),
            accounting.accounts(),
            [*problems, *accounting.problems, *verdicts.wrong],
            accounting.worst_delay(),
            time.monotonic() - started,
            copies=sender.copies,
            edits=sender.edits,
            clock_offset=offset,
            posts_refused=sender.refused,
            ended=world.ended,
            waiting=waiting,
            held=held,
            most_waiting=accounting.most_waiting,
            most_open=accounting.most_open,
            verdicts=verdicts,
            gates=steerer.gates,
            written=steerer.answers,
            folder=folder,
        )
        began = world.began_wall
    console.print(result.line, soft_wrap=True, highlight=False)
    if result.wrong:
        tell(result, accounting, [replica.operator.log for replica in world.replicas], began, console)
    else:
        shutil.rmtree(folder)
    return result


def main() -> int:
    """Run the seeds that the environment asks for; 1 if one was not as it must be."""
    console = Console(width=None if sys.stdout.isatty() else 120)
    seeds = (
        [whole_number("SEED", 1)] if os.environ.get("SEED") else list(range(1, whole_number("SEEDS", 10) + 1))
    )
    run = word("RUN", ("main", "sentinel", "cluster"))
    binaries = ensure_binaries()
    results = [asyncio.run(run_seed(binaries, seed, run, console)) for seed in seeds]
    show(results, console)
    return 1 if any(result.wrong for result in results) else 0


if __name__ == "__main__":
    invocation.run(main)
