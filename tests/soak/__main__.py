"""`make soak`: MINUTES=10 at half of what a first minute shows that can be taken."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import uvloop
from rich.console import Console
from tests.harness import invocation
from tests.harness.eventually import eventually
from tests.harness.invocation import number
from tests.soak.counts import Counts
from tests.soak.report import Course, Sample, show
from tests.soak.sampling import figures, keep_sampling, sample
from tests.soak.sending import Sender
from tests.soak.world import SoakWorld, running

from lab.building import ensure_binaries

CREATING_SECONDS = 60.0
"""Of Signals at full speed; the capacity is what this and the counting and deleting of them all took."""
WARM_SECONDS = 60.0
"""Of the steady stream before anything is compared: several storms of each group, and several times the
retention."""
DRAINED_SECONDS = 180.0
"""Within this what the first minute has left over must be counted and deleted."""
CLOSED_SECONDS = 60.0
"""Within this after that every storm must be over."""
LOOK_SECONDS = 2.0
KEEP_SECONDS = 20.0
"""How long closed requests are left: stormfold keeps them for days, and each makes the API server and all
watches hold more."""


async def look(world: SoakWorld, counts: Counts) -> None:
    """Read what requests say, and delete those that have been closed for a while; for ever."""
    closed: dict[str, float] = {}
    while True:
        requests = await world.api.list("RemediationRequest")
        counts.observe(requests)
        now = time.monotonic()
        for request in requests:
            name = request["metadata"]["name"]
            if (request.get("status") or {}).get("phase") != "Closed":
                continue
            if now - closed.setdefault(name, now) > KEEP_SECONDS:
                await world.api.delete("RemediationRequest", name, request["metadata"]["namespace"])
                del closed[name]
        await asyncio.sleep(LOOK_SECONDS)


async def at_rest(world: SoakWorld) -> bool:
    """Whether everything is durable, and every Signal deleted."""
    if await world.api.list("Signal", limit="1"):
        return False
    return (await sample(world))["signals in flight"] == 0


@dataclass
class Soak:
    """What a run came to."""

    minutes: float
    capacity: float = 0.0
    """Signals a second, created, counted and deleted."""
    full_speed: float = 0.0
    """Creates a second, with what they leave to be deleted later."""
    rate: float = 0.0
    alert_rate: float = 0.0
    samples: list[Sample] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    """Operators that ended by themselves while there were samples: what they used before says nothing any
    more."""
    ended_before: int = 0
    load: float = field(default_factory=lambda: os.getloadavg()[0])


async def measure(run: Soak, world: SoakWorld, counts: Counts, sender: Sender, console: Console) -> None:
    """Full speed, rest, warm-up, the time that counts, rest."""
    console.print(f"Signals as fast as they are taken, for {CREATING_SECONDS:.0f} s")
    began = time.monotonic()
    run.full_speed = await sender.create(CREATING_SECONDS)
    console.print(
        f"{run.full_speed:.0f} a second; waiting until all are counted and deleted", highlight=False
    )
    await eventually(lambda: at_rest(world), within=DRAINED_SECONDS, what="everything is durable and deleted")
    run.capacity = sender.created / (time.monotonic() - began)
    minutes = WARM_SECONDS / 60 + run.minutes
    console.print(
        f"{run.capacity:.0f} a second with that; half as many, and alerts, for {minutes:g} minutes",
        highlight=False,
    )
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(sender.post(stop), name="alerts")
        await sender.create(WARM_SECONDS, per_second=run.capacity / 2)
        sampling = tasks.create_task(keep_sampling(world, run.samples), name="samples")
        telling = tasks.create_task(tell(run, sender, console), name="progress")
        run.ended_before = len(world.ended)
        posted, began = sender.posted, time.monotonic()
        run.rate = await sender.create(run.minutes * 60, per_second=run.capacity / 2)
        run.alert_rate = (sender.posted - posted) / (time.monotonic() - began)
        run.ended = world.ended[run.ended_before :]
        sampling.cancel()
        telling.cancel()
        stop.set()
    await eventually(lambda: at_rest(world), within=DRAINED_SECONDS, what="everything is durable and deleted")
    await eventually(lambda: not counts.open, within=CLOSED_SECONDS, what="every request is closed")


async def tell(run: Soak, sender: Sender, console: Console) -> None:
    """Say each minute how far it is; for ever."""
    for minute in itertools.count(1):
        await asyncio.sleep(60)
        last = run.samples[-1]
        console.print(
            f"{minute} of {run.minutes:g} minutes: {sender.created:,} Signals and {sender.posted:,} alerts "
            f"sent, "
            f"{last['open storms']:.0f} storms open",
            highlight=False,
            soft_wrap=True,
        )


async def soak(minutes: float, console: Console) -> bool:
    """All of it; whether it is as it must be."""
    folder = Path(tempfile.mkdtemp(prefix="stormfold-soak-"))
    run, counts = Soak(minutes), Counts()
    async with running(ensure_binaries(), folder) as world:
        sender = Sender(world, counts)
        async with asyncio.TaskGroup() as tasks:
            background = [
                tasks.create_task(look(world, counts), name="look"),
                tasks.create_task(world.keep_running(), name="kubelet"),
            ]
            await measure(run, world, counts, sender, console)
            for task in background:
                task.cancel()
    courses = [Course.of(figure, run.samples) for figure in figures(run.capacity / 2)]
    show(courses, lines(run, counts, sender), console)
    good = not counts.wrong and not run.ended and all(course.flat for course in courses)
    if good:
        shutil.rmtree(folder)
    else:
        console.print(f"logs of the operators: {folder}", soft_wrap=True)
    return good


def lines(run: Soak, counts: Counts, sender: Sender) -> list[tuple[str, str]]:
    """What is said below the table."""
    return [
        ("Signals created a second at full speed", f"{run.full_speed:.0f}"),
        ("created, counted and deleted a second: the capacity", f"{run.capacity:.0f}"),
        ("Signals and alerts a second", f"{run.rate:.0f} and {run.alert_rate:.0f}"),
        ("for", f"{run.minutes:g} minutes, {len(run.samples)} samples"),
        ("load of the machine before", f"{run.load:.1f}"),
        ("sent in all", f"{sender.created:,} Signals, {sender.posted:,} alerts"),
        ("posts that were not answered by 200", f"{sender.refused.total():,}"),
        ("counted", f"{counts.counted().total():,} in {counts.requests:,} requests"),
        ("lost", f"{counts.lost():,}"),
        ("counted twice", f"{counts.twice():,}"),
        ("operators that ended before, and while it was measured", f"{run.ended_before}, {len(run.ended)}"),
        *(("ended", said) for said in run.ended),
        *(("wrong", problem) for problem in counts.problems),
    ]


def main() -> int:
    """0 if everything is flat, and everything counted once."""
    console = Console(width=None if sys.stdout.isatty() else 120)
    minutes = number("MINUTES", 10)
    return 0 if uvloop.run(soak(minutes, console)) else 1


if __name__ == "__main__":
    invocation.run(main)
