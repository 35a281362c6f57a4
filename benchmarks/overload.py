"""What a flood costs others, and the operator: the delay of another namespace's requests, and memory at the
limit.

Runs on servers of its own, like `benchmarks/signals/`. A probe is the first signal of a group, from its
creation to its request; beside a flood, the API server itself is slow for everybody, so that a part of the
delay is its own.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson
import uvloop

from benchmarks.cluster import Operator, make_namespace, prepare, say, until
from benchmarks.in_memory import folder_of, stream_of
from benchmarks.signals.load import as_stored, signal_manifest
from lab.building import ensure_binaries
from lab.controlplane import ControlPlane
from lab.valkey import Valkey
from stormfold.api.remediationrequest import RemediationRequest
from stormfold.api.signal import Signal
from stormfold.api.stormpolicy import BelowThreshold, PolicySpec, Threshold
from stormfold.app import end_all
from stormfold.fold.connection import Connection
from stormfold.fold.queue import MAX_HELD
from stormfold.kube import paths
from stormfold.kube.access import find_access
from stormfold.kube.changes import Changed
from stormfold.kube.client import KubeClient
from stormfold.model.group import PolicyId
from stormfold.policy.version import PolicyVersion

FLOOD = 10_000
CREATES_AT_ONCE = 50
QUIET_PROBES = 5
NAMESPACES = 10
"""So many fill the room one after another."""


class Scene:
    """The cluster, and the operator."""

    def __init__(self, client: KubeClient, prober: KubeClient, operator: Operator) -> None:
        self._client = client
        self._prober = prober
        self._operator = operator
        self._probes = 0
        self._creates: list[float] = []
        """How long the probes' own creates took, in seconds."""

    async def create(self, manifests: Iterable[dict[str, Any]]) -> None:
        """Make Signals at full speed."""
        gate = asyncio.Semaphore(CREATES_AT_ONCE)

        async def one(manifest: dict[str, Any]) -> None:
            async with gate:
                await self._client.create(
                    paths.collection(Signal.plural, manifest["metadata"]["namespace"]), manifest
                )

        await asyncio.gather(*(one(manifest) for manifest in manifests))

    async def probe(self) -> float:
        """Seconds from a signal of a namespace to its request."""
        self._probes += 1
        name = f"Probe{self._probes}"
        where = paths.collection(RemediationRequest.plural, "other")
        known = len((await self._prober.get(where))["items"])
        creating = time.monotonic()
        await self._prober.create(
            paths.collection(Signal.plural, "other"),
            signal_manifest(name.lower(), "other", name, "web-0"),
        )
        began = time.monotonic()
        self._creates.append(began - creating)

        async def made() -> bool:
            return len((await self._prober.get(where))["items"]) > known

        await until(made, f"a request about {name}")
        return time.monotonic() - began

    async def in_flight(self, number: int) -> None:
        """Wait until so many signals wait for their requests."""

        async def holds() -> bool:
            return self._operator.metrics()["stormfold_signals_in_flight"] == number

        await until(holds, f"{number} signals wait for their requests")

    async def none_in_flight_but_waiting(self) -> None:
        """Wait until only those signals are in flight that wait for one of limits.openStorms."""

        async def holds() -> bool:
            metrics = self._operator.metrics()
            return metrics["stormfold_signals_in_flight"] == metrics["stormfold_waiting_signals"]

        await until(holds, "all others are in requests")

    async def quiet(self) -> float:
        """The median of probes while nothing else happens."""
        return statistics.median([await self.probe() for _ in range(QUIET_PROBES)])

    async def flood(self, namespace: str, groups: int) -> dict[str, float]:
        """The delays that a flood of a namespace brings, in seconds."""
        quiet = await self.quiet()
        self._creates.clear()
        await make_namespace(self._client, namespace)
        manifests = [
            signal_manifest(f"flood-{n}", namespace, f"Flood{n % groups}", f"web-{n}") for n in range(FLOOD)
        ]
        began = time.monotonic()
        creates = asyncio.create_task(self.create(manifests))
        delays: list[float] = []
        while not creates.done():
            delays.append(await self.probe() - quiet)
        await creates
        created = time.monotonic()
        await self.none_in_flight_but_waiting()
        return {
            "creates_per_second": round(FLOOD / (created - began)),
            "probes": len(delays),
            "quiet_seconds": round(quiet, 2),
            "delay_median_seconds": round(statistics.median(delays), 2),
            "delay_worst_seconds": round(max(delays), 2),
            "create_median_seconds": round(statistics.median(self._creates), 2),
            "create_worst_seconds": round(max(self._creates), 2),
            "all_counted_after_seconds": round(time.monotonic() - created, 1),
            "rss_mb": round(self._operator.rss_mb(), 1),
        }


async def fill(valkey: Valkey) -> dict[str, float]:
    """Memory of what is held, and of what is deferred, as namespace after namespace waits below a
    threshold."""
    connection = Connection.from_url(valkey.url)
    waiting = PolicySpec(
        below_threshold=BelowThreshold.DISCARD, threshold=Threshold(signals=100_000, within="6h")
    )
    folder = folder_of(
        connection, PolicyVersion(PolicyId("ClusterStormPolicy", "", "waiting"), "uid", 1, waiting)
    )
    stream = stream_of(folder, (f"waiting-{number}" for number in range(NAMESPACES)))
    versions = itertools.count(1)

    async def report(namespace: str, signals: int) -> None:
        for n in range(signals):
            manifest = signal_manifest(f"{namespace}-{n}", namespace, f"Wait{n % 100}", f"web-{n}")
            stored = orjson.loads(orjson.dumps(as_stored(manifest, next(versions))))
            await stream.take(Changed(stream.parse(stored)))

    async def folded() -> bool:
        return folder.idle

    parts = [asyncio.create_task(part) for part in folder.parts().values()]
    before = resident_mb()
    for number in range(NAMESPACES):
        await report(f"waiting-{number}", folder.capacity(f"waiting-{number}"))
        await until(folded, "all that is taken is folded")
    held = resident_mb()
    await report("waiting-0", FLOOD)
    back = resident_mb()
    await end_all(parts)
    await connection.close()
    return {
        "held": MAX_HELD - 2 * folder.capacity("another"),
        "held_mb": round(held - before, 1),
        "deferred": len(stream.backlog),
        "held_back_mb": round(back - held, 1),
    }


def resident_mb() -> float:
    """Memory of this process."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


async def main() -> None:
    """Measure, and print the figures as JSON."""
    figures: dict[str, dict[str, float]] = {}
    with (
        ControlPlane(ensure_binaries()) as control_plane,
        Valkey() as valkey,
        tempfile.TemporaryDirectory() as folder,
    ):
        access = await find_access({"KUBECONFIG": str(control_plane.kubeconfig)})
        async with KubeClient(access) as client, KubeClient(access) as prober:
            await prepare(client)
            await make_namespace(client, "other")
            operator = Operator(control_plane, valkey, Path(folder) / "operator.log", None)
            await operator.start()
            try:
                scene = Scene(client, prober, operator)
                for name, groups in (("one_storm", 1), ("a_group_of_each", FLOOD)):
                    say(f"flood of {FLOOD} signals: {name}")
                    figures[name] = await scene.flood(name.replace("_", "-"), groups)
                    say(json.dumps(figures[name]))
            finally:
                operator.stop()
        valkey.command("FLUSHALL")
        say("filling the room")
        figures["full"] = await fill(valkey)
    json.dump(figures, sys.stdout, indent=2)
    sys.stdout.write("\n")


if __name__ == "__main__":
    uvloop.run(main())
