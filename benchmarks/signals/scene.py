"""Storms beside the operator and without it: what runs, and what each storm cost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.cluster import Operator, cpu_seconds, make_namespace, servers, until
from benchmarks.signals.load import SIGNALS, Probes, Storm
from benchmarks.signals.redis_watch import redis_calls
from lab.valkey import Valkey
from stormfold.fold.connection import Connection
from stormfold.kube.client import KubeClient

REST_SECONDS = 2.0
REST_SHARE = 0.1
"""Of a core: an operator that uses less has nothing to do."""
EXACT_LOOK_SECONDS = 0.05
"""Each look costs the operator some 2 ms of CPU."""


@dataclass(frozen=True)
class Round:
    """What one storm cost; `cpu` is µs a Signal by who used it, until the last was acknowledged or, with the
    operator, exact."""

    groups: int
    watched: bool
    """By the operator."""
    creates_per_second: float
    cpu: Mapping[str, float]
    exact_seconds: float | None = None
    """From the last acknowledgement until requests held everything."""
    lags: Sequence[float] = ()
    writes: float = 0
    """Of requests."""
    fold_calls: float = 0
    redis_calls: float = 0
    """Of all clients, for a Signal."""


@dataclass
class Scene:
    """All that runs while this measures."""

    client: KubeClient
    operator: Operator
    valkey: Valkey
    connection: Connection
    rounds: list[Round] = field(default_factory=list)

    def cpu(self, *, watched: bool) -> dict[str, float]:
        """Seconds used so far."""
        used = {name: cpu_seconds(pid) for name, pid in servers().items()}
        if watched:
            threads = self.operator.cpu_seconds()
            used |= {"operator": sum(threads.values()), "of it kopf": threads["kopf"]}
        return used

    async def storm(self, number: int, groups: int, *, watched: bool) -> None:
        """A storm as fast as the API server takes it."""
        namespace = f"{'watched' if watched else 'alone'}-{groups}-{number}"
        storm = Storm(namespace, SIGNALS, groups)
        await make_namespace(self.client, namespace)
        if watched:
            await self.at_rest()
        before = self.operator.metrics() if watched else {}
        calls, cpu = redis_calls(self.valkey), self.cpu(watched=watched)
        exact: float | None = None
        lags: list[float] = []
        if watched:
            async with asyncio.TaskGroup() as tasks:
                probes = Probes(tasks, self.connection)
                creating = await storm.create(self.client, probes)
                acknowledged = time.monotonic()
                await self.until_exact(before, SIGNALS, look_seconds=EXACT_LOOK_SECONDS)
                exact = time.monotonic() - acknowledged
            lags = probes.lags
        else:
            creating = await storm.create(self.client)
        used = self.cpu(watched=watched)
        after = self.operator.metrics() if watched else {}
        if watched:
            await storm.check(self.client)
        self.rounds.append(
            Round(
                groups,
                watched,
                SIGNALS / creating,
                {name: (used[name] - cpu[name]) / SIGNALS * 1e6 for name in used},
                exact,
                lags,
                grown(before, after, "stormfold_request_writes_total"),
                grown(before, after, "stormfold_fold_duration_seconds_count"),
                (redis_calls(self.valkey) - calls) / SIGNALS,
            )
        )

    async def at_rest(self) -> None:
        """Wait until the operator has done with all that came before: its start, and Signals that were
        there."""

        async def rests() -> bool:
            used = sum(self.operator.cpu_seconds().values())
            await asyncio.sleep(REST_SECONDS)
            used = sum(self.operator.cpu_seconds().values()) - used
            now = await asyncio.to_thread(self.operator.metrics)
            return now["stormfold_signals_in_flight"] == 0 and used < REST_SHARE * REST_SECONDS

        await until(rests, "the operator rests")

    async def until_exact(
        self, before: Mapping[str, float], signals: int, *, look_seconds: float, marked: bool = False
    ) -> None:
        """Wait until the operator has taken in so many Signals more, and requests hold them."""

        async def exact() -> bool:
            await asyncio.sleep(look_seconds)
            now = await asyncio.to_thread(self.operator.metrics)
            return (
                grown(before, now, "stormfold_signals_received_total") == signals
                and now["stormfold_signals_in_flight"] == 0
                and (not marked or grown(before, now, "stormfold_marks_total") == signals)
            )

        await until(exact, f"requests hold {signals} signals more")

    def of(self, groups: int, *, watched: bool) -> list[Round]:
        """The rounds of one kind."""
        return [one for one in self.rounds if (one.groups, one.watched) == (groups, watched)]


def grown(before: Mapping[str, float], after: Mapping[str, float], name: str) -> float:
    """By how much a metric has grown."""
    return after.get(name, 0.0) - before.get(name, 0.0)
