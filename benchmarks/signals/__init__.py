"""The part `signals`: what a storm of Signals costs the operator, the API server, etcd and Valkey, and how
soon it is known."""

from __future__ import annotations

import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

import uvloop

from benchmarks.cluster import Operator, connected, prepare
from benchmarks.part import Measured, Part, Say
from benchmarks.signals.aims import ABOUT, AIMS
from benchmarks.signals.figures import plots, raw, reckon, tables
from benchmarks.signals.load import GROUPS, SIGNALS
from benchmarks.signals.redis_watch import watch_redis, what_held_redis_up
from benchmarks.signals.scene import Scene
from benchmarks.signals.steps import (
    BURST,
    BURSTS,
    FOLDED_IN_MEMORY,
    LIVES,
    POLICY,
    WRITES,
    measure_fold,
    measure_life,
    measure_writes,
)
from lab.building import ensure_binaries
from lab.controlplane import ControlPlane
from lab.valkey import Valkey
from stormfold.fold.connection import Connection

ROUNDS = 3
LIMIT_SECONDS = 100.0
"""After this no further round begins; there is always one."""


def measure(say: Say) -> Measured:
    """All of it."""
    with tempfile.TemporaryDirectory(prefix="stormfold-bench-") as folder:
        return uvloop.run(_measure(Path(folder), say))


async def _measure(folder: Path, say: Say) -> Measured:
    figures: dict[str, float] = {}
    async with AsyncExitStack() as stack:
        valkey = stack.enter_context(Valkey())
        say(
            "from watch to fold, in batches of 3, 6 and 30, before an API server takes its share of the cores"
        )
        # Few Signals for many groups; what 500 creates a second give for 10 groups; a burst after a pause.
        for name, batch in (("small", 3), ("middling", 6), ("large", 30)):
            figures[f"watch_to_fold_us_{name}"] = await measure_fold(valkey, FOLDED_IN_MEMORY, batch)
        control_plane = stack.enter_context(ControlPlane(ensure_binaries()))
        client = await stack.enter_async_context(connected(control_plane))
        connection = Connection.from_url(valkey.url)
        stack.push_async_callback(connection.close)
        await prepare(client, **POLICY)
        say(f"{WRITES:,} status patches, and deletions")
        figures |= await measure_writes(client, WRITES)

        def operator(**settings: str) -> Operator:
            return Operator(control_plane, valkey, folder / "operator.log", None, **settings)

        scene = Scene(client, operator(), valkey, connection)
        stack.callback(lambda: scene.operator.stop())  # noqa: PLW0108 - there are several
        lives: dict[bool, list[dict[str, float]]] = {False: [], True: []}
        for number in range(LIVES):
            for marked in (False, True) if number % 2 == 0 else (True, False):
                say(f"life of {BURST * BURSTS} Signals, {'each marked' if marked else 'none marked'}")
                scene.operator = operator(STORMFOLD_MARKS_PER_SECOND="1000" if marked else "1")
                await scene.operator.start()
                namespace = f"{'marked' if marked else 'plain'}-{number}"
                lives[marked].append(await measure_life(scene, namespace, marked=marked))
                scene.operator.stop()
        watch_redis(valkey)
        scene.operator = operator()
        began = time.monotonic()
        for number in range(ROUNDS):
            if number and time.monotonic() - began > LIMIT_SECONDS:
                say(f"round {number + 1} of {ROUNDS} is left out, there is no time")
                break
            for watched in (False, True) if number % 2 == 0 else (True, False):
                if watched:
                    await scene.operator.start()
                for groups in GROUPS if watched else GROUPS[:1]:
                    beside = f"of {groups:,} groups beside the operator" if watched else "without it"
                    say(f"round {number + 1} of {ROUNDS}: {SIGNALS:,} Signals {beside}")
                    await scene.storm(number, groups, watched=watched)
                    if not number and watched and groups == GROUPS[0]:
                        figures |= await measure_memory(scene, say)
                scene.operator.stop()
        figures |= what_held_redis_up(valkey)
        return Measured(
            reckon(figures, scene, lives), tables(figures, scene, lives), plots(scene), raw(scene, lives)
        )


async def measure_memory(scene: Scene, say: Say) -> dict[str, float]:
    """What the operator takes with the Signals that are there, and when it comes back to them."""
    say("the operator begins again with what is there")
    rss = scene.operator.rss_mb()
    scene.operator.stop()
    began = time.monotonic()
    await scene.operator.start()
    return {
        "restart_seconds": time.monotonic() - began,
        "rss_mb": rss,
        "rss_mb_after_restart": scene.operator.rss_mb(),
        "signals_at_restart": scene.operator.metrics()["stormfold_signals_live"],
    }


PART = Part("signals", "The way of a Signal", ABOUT, measure, AIMS)
