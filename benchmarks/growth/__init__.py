"""The part `growth`: what a signal costs, from a thousand to a million of them, with more storms, replicas
and servers."""

from __future__ import annotations

import logging
import time

import uvloop
from tests.harness.invocation import number

from benchmarks.growth.aims import ABOUT, AIMS
from benchmarks.growth.cases import Case, described, order
from benchmarks.growth.figures import plots, raw, reckon, tables
from benchmarks.growth.runs import Cost, run
from benchmarks.part import Measured, Part, Say
from lab.valkey import Valkey, ValkeyCluster
from stormfold.cli import keep_what_is_imported

LIMIT_SECONDS = 250
"""What would end later by what the tenth of it took is left out, unless BENCH_SECONDS says another time. All
cases take some twenty minutes."""


def measure(say: Say) -> Measured:
    """All of it."""
    logging.getLogger("stormfold").addHandler(logging.NullHandler())
    keep_what_is_imported()
    return uvloop.run(_measure(say))


async def _measure(say: Say) -> Measured:
    began, limit = time.monotonic(), number("BENCH_SECONDS", LIMIT_SECONDS)
    costs: dict[Case, list[Cost]] = {}
    with Valkey() as single, ValkeyCluster() as cluster:
        servers = {False: [single], True: cluster.nodes}
        urls = {
            False: single.url,
            True: cluster.url.replace("redis://", "redis+cluster://").removesuffix("/0"),
        }
        for case in order():
            left = limit - (time.monotonic() - began)
            foreseen = 10 * min((cost.wall_seconds for cost in costs.get(case.tenth, ())), default=0.0)
            if left < foreseen or left < 0:
                say(f"{described(case)}: left out, there is no time")
                continue
            cost = await run(servers[case.cluster], urls[case.cluster], case.load, case.replicas)
            costs.setdefault(case, []).append(cost)
            say(f"{described(case)}: {cost.us:.0f} µs of CPU a signal, {cost.wall_seconds:.1f} s")
    return Measured(reckon(costs), tables(costs), plots(costs), raw(costs))


PART = Part("growth", "Growth", ABOUT, measure, AIMS)
