"""Parts of a Signal's way: its whole life with and without marks, its fold, and single writes."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import orjson

from benchmarks.cluster import at_once, make_namespace, until
from benchmarks.in_memory import folder_of, stream_of
from benchmarks.signals.load import CREATES_AT_ONCE, GROUPS, VERSION, Storm, as_stored, signal_manifest
from benchmarks.signals.scene import Scene
from lab.valkey import Valkey
from stormfold.api.signal import Signal
from stormfold.app import end_all
from stormfold.fold.connection import Connection
from stormfold.kube import paths
from stormfold.kube.changes import Changed
from stormfold.kube.client import KubeClient
from stormfold.kube.errors import ConflictError
from stormfold.request.schedule import STORMS_AT_ONCE
from stormfold.sources.signals.retention import DELETIONS_AT_ONCE

LIFE_LOOK_SECONDS = 0.5
"""The same for the life of a few Signals, where it does not matter when they are exact, and each look
would."""
FOLDED_IN_MEMORY = 5000
WRITES = 1000
BURST = 150
"""Signals at once where each is marked: fewer than wait for their mark."""
BURSTS = 3
LIVES = 2
"""How often their whole life is measured, with and without marks."""
POLICY = {"window": {"idle": "1h"}, "closeAfter": "2h", "limits": {"openStorms": 10_000}}
"""So that no storm of one round is written in another."""


async def measure_life(scene: Scene, namespace: str, *, marked: bool) -> dict[str, float]:
    """µs of CPU a Signal, from its create to its deletion, by who used it."""
    client = scene.client
    await make_namespace(client, namespace)
    path = paths.collection(Signal.plural, namespace)
    await scene.at_rest()
    cpu = scene.cpu(watched=True)
    manifests = list(Storm(namespace, BURST * BURSTS, GROUPS[0]).manifests())

    async def create(manifest: dict[str, Any]) -> None:
        await client.create(path, manifest)

    for start in range(0, len(manifests), BURST):
        before = scene.operator.metrics()
        await at_once(CREATES_AT_ONCE, create, manifests[start : start + BURST])
        await scene.until_exact(before, BURST, look_seconds=LIFE_LOOK_SECONDS, marked=marked)
    items, _ = await client.list_all(path, dict)
    await at_once(DELETIONS_AT_ONCE, deletion(client, namespace), items)
    used = scene.cpu(watched=True)
    return {name: (used[name] - cpu[name]) / len(manifests) * 1e6 for name in used}


def deletion(client: KubeClient, namespace: str) -> Any:
    """Deletes exactly the version of a Signal that was read, as retention does; of one that was marked since,
    the next."""

    async def delete(item: dict[str, Any]) -> None:
        metadata = item["metadata"]
        path = paths.item(Signal.plural, metadata["name"], namespace)
        try:
            await client.delete(path, uid=metadata["uid"], resource_version=int(metadata["resourceVersion"]))
        except ConflictError:
            await delete(await client.get(path))

    return delete


async def measure_fold(valkey: Valkey, signals: int, batch: int) -> float:
    """Our own CPU from an event of the watch to its acknowledged fold, in batches of that many; µs a
    signal."""
    connection = Connection.from_url(valkey.url)
    folder = folder_of(connection, VERSION)
    stream = stream_of(folder, ["fold"])
    groups = 10
    events = [
        orjson.dumps({"type": "ADDED", "object": as_stored(manifest, version)})
        for version, manifest in enumerate(Storm("fold", signals, groups).manifests(), start=1)
    ]

    async def idle() -> bool:
        return folder.idle

    parts = [asyncio.create_task(part, name=name) for name, part in folder.parts().items()]
    began = time.process_time()
    for start in range(0, signals, batch * groups):
        for event in events[start : start + batch * groups]:
            await stream.take(Changed(stream.parse(orjson.loads(event)["object"])))
        await until(idle, "the batch is folded")
    used = time.process_time() - began
    await end_all(parts)
    await connection.close()
    valkey.command("FLUSHALL")
    return round(used / signals * 1e6, 1)


async def measure_writes(client: KubeClient, count: int) -> dict[str, float]:
    """Client CPU of a status patch and of a deletion, by the client and as many at once as in the
    operator."""
    namespace = "writes"
    await make_namespace(client, namespace)
    path = paths.collection(Signal.plural, namespace)
    made: list[dict[str, Any]] = [
        await client.create(path, signal_manifest(f"s-{n:05d}", namespace, "Nothing", f"pod-{n}"))
        for n in range(count)
    ]
    status = {
        "phase": "Folded",
        "reason": "Counted",
        "message": "counted in RemediationRequest writes/storm-0123456789abcdef-1",
        "remediationRequest": {"namespace": namespace, "name": "storm-0123456789abcdef-1"},
        "observedGeneration": 1,
    }
    patched: list[dict[str, Any]] = []

    async def patch(item: dict[str, Any]) -> None:
        metadata = item["metadata"]
        answer = await client.merge_patch(
            paths.status(Signal.plural, metadata["name"], namespace),
            {"metadata": {"uid": metadata["uid"]}, "status": status},
        )
        patched.append(answer)

    began = time.process_time()
    await at_once(STORMS_AT_ONCE, patch, made)
    patching = time.process_time() - began
    began = time.process_time()
    await at_once(DELETIONS_AT_ONCE, deletion(client, namespace), patched)
    deleting = time.process_time() - began
    return {
        "patch_client_us": round(patching / count * 1e6, 1),
        "delete_client_us": round(deleting / count * 1e6, 1),
    }
