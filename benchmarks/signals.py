"""What a storm costs: creates, time until the requests are exact, CPU, memory, Redis.

Runs on servers of its own (etcd, kube-apiserver, Valkey, all on loopback) with the operator as its own process. The
figures depend on the machine, which also runs the servers and the creates: CPU times double when other work shares
its cores, so the summary says how busy it was before.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import orjson
import uvloop
from kubernetes.aio import config as kube_config
from kubernetes.aio.client import Configuration

from benchmarks.part import Aim, Measured, Part, Say, Table
from stormfold.api.conditions import Reason
from stormfold.api.crd import crds
from stormfold.api.remediationrequest import RemediationRequest
from stormfold.api.resource import API_VERSION
from stormfold.api.signal import Signal, SignalPhase
from stormfold.api.stormpolicy import ClusterStormPolicy, PolicySpec
from stormfold.app import end_all
from stormfold.demo.building import ensure_binaries
from stormfold.demo.controlplane import ControlPlane
from stormfold.demo.process import free_port
from stormfold.demo.valkey import Valkey
from stormfold.fold.batching import Folder
from stormfold.fold.connection import Connection
from stormfold.fold.store import StormStore
from stormfold.intake.checkpoint import ShardProgress
from stormfold.intake.listwatch import Changed
from stormfold.intake.rest import Rest
from stormfold.intake.signals import Seen, SignalIntake, SignalParser
from stormfold.kube import paths
from stormfold.kube.client import KubeClient
from stormfold.model.arrival import Verdict
from stormfold.model.group import PolicyId
from stormfold.policy.router import Router
from stormfold.policy.version import PolicyVersion
from stormfold.request.reconciler import STORMS_AT_ONCE
from stormfold.request.retention import DELETIONS_AT_ONCE

CREATES_AT_ONCE = 50
WITHIN_SECONDS = 120.0
REDIS_STORMS = 50
KEY_KINDS = ("storm", "ids", "instances", "hll", "opening")

SIGNALS = 5000
GROUPS = 10
KEPT = 10_000
"""Signals in the cluster when memory is read."""

Figures = dict[str, float | int | dict[str, float]]


def say(line: str) -> None:
    """Progress, on stderr."""
    sys.stderr.write(f"{line}\n")


# --- the operator


class Operator:
    """`stormfold run` as a child process; with `profile`, under cProfile. `settings` are further ones."""

    def __init__(
        self, control_plane: ControlPlane, valkey: Valkey, log: Path, profile: Path | None, **settings: str
    ) -> None:
        self._port = free_port()
        self._log = log
        self._profile = profile
        self._environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("STORMFOLD_")},
            "KUBECONFIG": str(control_plane.kubeconfig),
            "STORMFOLD_REDIS_URL": valkey.url,
            "STORMFOLD_HTTP_HOST": "127.0.0.1",
            "STORMFOLD_HTTP_PORT": str(self._port),
            "STORMFOLD_WEBHOOK_HOST": "127.0.0.1",
            "STORMFOLD_WEBHOOK_PORT": str(free_port()),
            "STORMFOLD_IDENTITY": "bench",
            # Nothing is deleted while we measure: deletions have a figure of their own.
            "STORMFOLD_SIGNALS_PER_NAMESPACE": "100000",
            **settings,
        }
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Start it and wait until it is ready."""
        profiler = ["-m", "cProfile", "-o", str(self._profile)] if self._profile else []
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: ASYNC220
                [sys.executable, *profiler, "-m", "stormfold", "run"],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        await until(self._ready, "the operator is ready")

    def stop(self) -> None:
        """SIGTERM, and wait for the end."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(60)

    @property
    def pid(self) -> int:
        """Of the process that was started last."""
        assert self._process is not None
        return self._process.pid

    async def _ready(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise SystemExit(f"the operator ended: {self._log.read_text()[-2000:]}")
        return await asyncio.to_thread(self._answers)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/readyz", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def cpu_seconds(self) -> dict[str, float]:
        """User and system CPU by thread: `ours` is the event loop that folds, `kopf` all others."""
        assert self._process is not None
        used = {"ours": 0.0, "kopf": 0.0}
        for task in Path(f"/proc/{self._process.pid}/task").iterdir():
            fields = (task / "stat").read_text().rpartition(")")[2].split()
            name = "ours" if task.name == str(self._process.pid) else "kopf"
            used[name] += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return used

    def counts(self) -> dict[str, int]:
        """What it has done so far: folds in Redis, writes of requests, marks."""
        wanted = {
            "stormfold_fold_duration_seconds_count": "fold_calls",
            "stormfold_request_writes_total": "request_writes",
            "stormfold_marks_total": "marks",
        }
        counts = dict.fromkeys(wanted.values(), 0)
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/metrics", timeout=5) as answer:
            for line in answer.read().decode().splitlines():
                name = wanted.get(line.partition("{")[0].partition(" ")[0])
                if name and 'outcome="skipped"' not in line:
                    counts[name] += int(float(line.rpartition(" ")[2]))
        return counts

    def metric(self, name: str) -> float:
        """The sum of a metric's samples."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if re.match(rf"{name}[ {{]", line))

    def rss_mb(self) -> float:
        """Resident memory."""
        assert self._process is not None
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        kilobytes = next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(kilobytes) / 1024


async def until(holds: Any, what: str) -> None:
    """Poll until it holds."""
    deadline = time.monotonic() + WITHIN_SECONDS
    while not await holds():
        if time.monotonic() > deadline:
            raise SystemExit(f"not within {WITHIN_SECONDS:.0f} s: {what}")
        await asyncio.sleep(0.02)


# --- the scene


def signal_manifest(name: str, namespace: str, trouble: str, pod: str) -> dict[str, Any]:
    """A Signal in the size and form that an alerting system would give it."""
    return {
        "apiVersion": API_VERSION,
        "kind": "Signal",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "name": trouble,
            "severity": "critical",
            "state": "Firing",
            "source": "alertmanager",
            "target": {"apiVersion": "v1", "kind": "Pod", "name": pod, "namespace": namespace},
            "labels": {
                "alertname": trouble,
                "cluster": "eu-central-1",
                "container": "checkout",
                "job": "kube-state-metrics",
                "prometheus": "monitoring/k8s",
                "team": "payments",
            },
            "annotations": {
                "summary": "Pod is crash looping.",
                "description": f"Pod {namespace}/{pod} (checkout) is in waiting state CrashLoopBackOff.",
                "runbook": "https://runbooks.example.com/kubernetes/pod-crash-looping",
            },
        },
    }


def policy() -> dict[str, Any]:
    """The catch-all as it is shipped, but nothing is deleted for an hour."""
    return {
        "apiVersion": API_VERSION,
        "kind": "ClusterStormPolicy",
        "metadata": {"name": "default"},
        "spec": {"groupBy": ["name", "namespace"], "retention": "1h"},
    }


async def prepare(client: KubeClient) -> None:
    """CRDs, the operator's namespace, the policy."""
    definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    for crd in crds().values():
        await client.create(definitions, crd)

    async def established() -> bool:
        items = (await client.get(definitions))["items"]
        return all(
            any(
                c["type"] == "Established" and c["status"] == "True"
                for c in crd["status"].get("conditions") or ()
            )
            for crd in items
        )

    await until(established, "CRDs are established")
    await make_namespace(client, "stormfold-system")
    await client.create(paths.collection(ClusterStormPolicy.plural), policy())


async def make_namespace(client: KubeClient, name: str) -> None:
    await client.create(
        "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    )


@dataclass
class Storm:
    """Signals of `groups` groups in a namespace of their own."""

    namespace: str
    signals: int
    groups: int

    def manifests(self) -> Iterator[dict[str, Any]]:
        """The Signals, group by group in turn, each about a pod of its own."""
        for n in range(self.signals):
            trouble = f"KubePodCrashLooping{n % self.groups}"
            pod = f"checkout-api-7d9f8b6c5d-{n // self.groups:05x}"
            yield signal_manifest(f"{trouble.lower()}-{n:05d}", self.namespace, trouble, pod)

    async def create(self, client: KubeClient) -> float:
        """Create all; gives the seconds that it took."""
        await make_namespace(client, self.namespace)
        path = paths.collection(Signal.plural, self.namespace)
        manifests = list(self.manifests())

        async def create(manifest: dict[str, Any]) -> None:
            await client.create(path, manifest)

        started = time.monotonic()
        await at_once(CREATES_AT_ONCE, create, manifests)
        return time.monotonic() - started

    async def until_exact(self, client: KubeClient) -> None:
        """Wait until the requests hold every signal."""
        path = paths.collection(RemediationRequest.plural, self.namespace)

        async def exact() -> bool:
            items = (await client.get(path))["items"]
            totals = [(item.get("status") or {}).get("signals", {}).get("total", 0) for item in items]
            return len(items) == self.groups and sum(totals) == self.signals

        await until(exact, f"{self.groups} requests with {self.signals} signals in {self.namespace}")


# --- figures


async def measure_storm(client: KubeClient, operator: Operator, valkey: Valkey, storm: Storm) -> Figures:
    """A storm as fast as the API server takes it."""
    await asyncio.sleep(3)
    idle_before = operator.cpu_seconds()
    await asyncio.sleep(3)
    before = operator.cpu_seconds()
    idle_per_second = (sum(before.values()) - sum(idle_before.values())) / 3
    redis_before, counts_before = redis_counters(valkey), operator.counts()
    say(f"creating {storm.signals} signals of {storm.groups} groups, {CREATES_AT_ONCE} at once")
    started = time.monotonic()
    creating = await storm.create(client)
    acknowledged = time.monotonic()
    await storm.until_exact(client)
    exact = time.monotonic()
    after = operator.cpu_seconds()
    counts_after = operator.counts()
    redis_after = redis_counters(valkey)
    threads = {name: after[name] - before[name] for name in after}
    per_signal = 1e6 / storm.signals
    return {
        "signals": storm.signals,
        "groups": storm.groups,
        "creates_per_second": round(storm.signals / creating, 1),
        "seconds_until_exact": round(exact - acknowledged, 2),
        "cpu_us_per_signal": round(sum(threads.values()) * per_signal, 1),
        "cpu_us_per_signal_of_our_loop": round(threads["ours"] * per_signal, 1),
        "cpu_us_per_signal_of_kopf": round(threads["kopf"] * per_signal, 1),
        "cpu_ms_per_second_idle": round(idle_per_second * 1000, 1),
        "storm_seconds": round(exact - started, 2),
        **{name: counts_after[name] - counts_before[name] for name in counts_after},
        "redis_calls_per_signal": round((redis_after["calls"] - redis_before["calls"]) / storm.signals, 3),
        "redis_cpu_us_per_signal": round((redis_after["cpu"] - redis_before["cpu"]) * per_signal, 1),
    }


def redis_counters(valkey: Valkey) -> dict[str, float]:
    """Calls, scripts' inner ones not included, and CPU seconds so far."""
    stats = dict(line.split(":", 1) for line in info(valkey, "commandstats"))
    calls = sum(
        int(value.split(",")[0].removeprefix("calls="))
        for name, value in stats.items()
        if name.startswith(("cmdstat_evalsha", "cmdstat_eval", "cmdstat_info"))
    )
    cpu = dict(line.split(":", 1) for line in info(valkey, "cpu"))
    return {"calls": calls, "cpu": float(cpu["used_cpu_user"]) + float(cpu["used_cpu_sys"])}


def info(valkey: Valkey, section: str) -> list[str]:
    return [line for line in str(valkey.command("INFO", section)).splitlines() if ":" in line]


async def measure_fold(valkey: Valkey, signals: int, batch: int) -> float:
    """Our own CPU from an event of the watch to its acknowledged fold, in batches of that many; µs a signal."""
    connection = Connection.from_url(valkey.url)
    router, progress, parse = Router(), ShardProgress(), SignalParser("stormfold-system")
    router.update([PolicyVersion(PolicyId("ClusterStormPolicy", "", "default"), "uid", 1, PolicySpec())])
    verdict = Verdict(SignalPhase.FOLDED, Reason.COUNTED, "counted")
    folder = Folder(
        StormStore(connection, cluster="bench"),
        route=router.route,
        continuation=lambda gid: None,
        held=lambda gid, epoch: None,
        renewed=lambda arrival: arrival,
        tell=lambda arrival, verdict: None,
        safe_verdict=lambda gid, epoch: verdict,
        hint=lambda number, due_ms: None,
    )
    router.in_use = folder.versions_in_use
    # Nothing is left: what is folded here fits.
    rest: Rest[Seen] = Rest(cast("Any", None), kind="Signal", collection=str, parse=parse)
    intake = SignalIntake(
        progress,
        submit=folder.submit,
        rest=rest,
        concluded=lambda ref, verdict: None,
        kept=lambda seen: None,
        changed=lambda ref: None,
        deleted=lambda uid: None,
    )
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
            await intake.take(Changed(parse(orjson.loads(event)["object"])))
        await until(idle, "the batch is folded")
    used = time.process_time() - began
    await end_all(parts)
    await connection.close()
    valkey.command("FLUSHALL")
    return round(used / signals * 1e6, 1)


def as_stored(manifest: dict[str, Any], version: int) -> dict[str, Any]:
    """The Signal with what the API server adds to it."""
    now = "2026-01-01T00:00:00Z"
    fields = {f"f:{name}": {} for name in manifest["spec"]} | {
        f"f:{n}": {} for n in manifest["spec"]["labels"]
    }
    write = {"manager": "bench", "operation": "Update", "time": now, "fieldsV1": {"f:spec": fields}}
    added = {
        "uid": f"0b5c2f0e-6c1d-4a52-8d7e-{version:012x}",
        "generation": 1,
        "resourceVersion": str(version),
        "creationTimestamp": now,
        "managedFields": [write],
    }
    return manifest | {"metadata": manifest["metadata"] | added}


async def measure_redis(client: KubeClient, valkey: Valkey) -> Figures:
    """What a storm at 25 resources takes in Redis, keys included."""
    storm = Storm("payments-production", signals=REDIS_STORMS * 25, groups=REDIS_STORMS)
    say(f"{REDIS_STORMS} storms of 25 resources")
    before = redis_counters(valkey)
    await storm.create(client)
    await storm.until_exact(client)
    after = redis_counters(valkey)
    requests = (await client.get(paths.collection(RemediationRequest.plural, storm.namespace)))["items"]
    gids = [request["spec"]["gid"] for request in requests]
    fresh = redis_bytes(valkey, gids)
    # The checkpoint has passed them after two renewals of the Lease, and marks need no more ids.
    await asyncio.sleep(5)
    later = redis_bytes(valkey, gids)
    return {
        "redis_bytes_per_storm": round(sum(fresh.values())),
        "redis_bytes_per_storm_by_key": fresh,
        "redis_bytes_per_storm_5_s_later": round(sum(later.values())),
        "redis_calls_per_storm": round((after["calls"] - before["calls"]) / storm.groups, 2),
    }


def redis_bytes(valkey: Valkey, gids: list[str]) -> dict[str, float]:
    """Mean bytes of a storm, by kind of key."""
    used = dict.fromkeys(KEY_KINDS, 0.0)
    for gid in gids:
        tag = f"sf:{{p{int(gid, 16) % 64}}}"
        for kind in KEY_KINDS:
            answer = valkey.command("MEMORY", "USAGE", f"{tag}:{kind}:{gid}", "SAMPLES", 0)
            used[kind] += float(answer) if isinstance(answer, int) else 0.0
    return {kind: round(total / len(gids), 1) for kind, total in used.items()}


async def at_once(count: int, do: Callable[[Any], Awaitable[None]], items: Iterable[Any]) -> None:
    """Do it to each item, so many at the same time."""
    todo = iter(items)

    async def some() -> None:
        for item in todo:
            await do(item)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(count):
            tasks.create_task(some())


async def measure_writes(client: KubeClient, count: int) -> Figures:
    """Client CPU of a status patch and of a deletion, by the client and as many at once as in the operator."""
    say(f"{count} status patches and deletions")
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

    async def delete(item: dict[str, Any]) -> None:
        metadata = item["metadata"]
        await client.delete(
            paths.item(Signal.plural, metadata["name"], namespace),
            uid=metadata["uid"],
            resource_version=int(metadata["resourceVersion"]),
        )

    began = time.process_time()
    await at_once(STORMS_AT_ONCE, patch, made)
    patching = time.process_time() - began
    began = time.process_time()
    await at_once(DELETIONS_AT_ONCE, delete, patched)
    deleting = time.process_time() - began
    return {
        "patch_client_cpu_us": round(patching / count * 1e6, 1),
        "delete_client_cpu_us": round(deleting / count * 1e6, 1),
    }


async def measure(arguments: argparse.Namespace, folder: Path) -> Figures:
    """All figures, one after the other on the same servers."""
    figures: Figures = {"cpus": os.cpu_count() or 0, "load_before": round(os.getloadavg()[0], 2)}
    with Valkey() as valkey:
        say("folding in batches of 3, 6 and 30, before an API server takes its share of the cores")
        # Few Signals for many groups; what 500 creates a second give for 10 groups; a burst after a pause.
        figures["watch_to_fold_cpu_us_in_small_batches"] = await measure_fold(valkey, 5000, 3)
        figures["watch_to_fold_cpu_us"] = await measure_fold(valkey, 5000, 6)
        figures["watch_to_fold_cpu_us_in_large_batches"] = await measure_fold(valkey, 5000, 30)
        say("starting etcd and kube-apiserver")
        with ControlPlane(ensure_binaries()) as control_plane:
            figures |= await measure_cluster(arguments, folder, control_plane, valkey)
    return figures


async def measure_cluster(
    arguments: argparse.Namespace, folder: Path, control_plane: ControlPlane, valkey: Valkey
) -> Figures:
    """What needs an API server."""
    figures: Figures = {}
    async with connected(control_plane) as client:
        await prepare(client)
        figures |= await measure_writes(client, 1000)
        operator = Operator(control_plane, valkey, folder / "operator.log", arguments.profile)
        await operator.start()
        try:
            storm = Storm("storm", arguments.signals, arguments.groups)
            figures |= await measure_storm(client, operator, valkey, storm)
            if arguments.profile:
                return figures
            figures |= await measure_redis(client, valkey)
            rest = Storm(
                "rest",
                max(arguments.groups, arguments.kept - arguments.signals - REDIS_STORMS * 25),
                arguments.groups,
            )
            say(f"{rest.signals} more signals, for memory")
            await rest.create(client)
            await rest.until_exact(client)
            figures["rss_mb"] = round(operator.rss_mb(), 1)
            operator.stop()
            restarted = time.monotonic()
            await operator.start()
            figures["restart_seconds"] = round(time.monotonic() - restarted, 2)
            figures["rss_mb_after_restart"] = round(operator.rss_mb(), 1)
        finally:
            operator.stop()
    return figures


@contextlib.asynccontextmanager
async def connected(control_plane: ControlPlane) -> AsyncIterator[KubeClient]:
    """The operator's own client, as `admin`."""
    configuration = Configuration()
    await kube_config.load_kube_config(
        config_file=str(control_plane.kubeconfig), client_configuration=configuration
    )
    async with KubeClient(configuration) as client:
        yield client


# --- the part


def measure_part(say: Say) -> Measured:
    """All figures."""
    arguments = argparse.Namespace(signals=SIGNALS, groups=GROUPS, kept=KEPT, profile=None)
    with tempfile.TemporaryDirectory(prefix="stormfold-bench-") as folder:
        figures = uvloop.run(measure(arguments, Path(folder)))
    flat = {name: float(value) for name, value in figures.items() if not isinstance(value, dict)}
    rows = [(name.replace("_", " "), value) for name, value in flat.items()]
    return Measured(flat, tables=[Table("", ("figure", "measured"), rows)], raw=figures)


ABOUT = f"""
{SIGNALS:,} Signals of {GROUPS} groups are created {CREATES_AT_ONCE} at once, with the operator as its own process beside etcd, kube-apiserver and Valkey.
"""
AIMS = (
    Aim("seconds_until_exact", "requests exact after the last create was acknowledged", "s", at_most=2),
    Aim("watch_to_fold_cpu_us", "CPU from watch to acknowledged fold, batches of 6", "µs", at_most=250),
    Aim("watch_to_fold_cpu_us_in_small_batches", "the same, batches of 3", "µs", at_most=250),
    Aim("patch_client_cpu_us", "client CPU of a status patch", "µs", at_most=500),
    Aim("delete_client_cpu_us", "client CPU of a deletion", "µs", at_most=500),
    Aim("rss_mb", "resident memory with 10,000 Signals", "MB", at_most=150),
    Aim("rss_mb_after_restart", "the same after a restart", "MB", at_most=150),
    Aim("redis_bytes_per_storm", "Redis per storm of 25 resources, right after it", "B", at_most=2048),
)
PART = Part("signals", "The way of a Signal", ABOUT, measure_part, AIMS)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--signals", type=int, default=SIGNALS, help=f"signals of the storm (default: {SIGNALS})"
    )
    parser.add_argument(
        "--groups", type=int, default=GROUPS, help=f"groups that they belong to (default: {GROUPS})"
    )
    parser.add_argument(
        "--kept", type=int, default=KEPT, help=f"signals in the cluster when memory is read (default: {KEPT})"
    )
    parser.add_argument(
        "--profile", type=Path, metavar="FILE", help="only the storm, with the operator under cProfile"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="stormfold-bench-") as folder:
        figures = uvloop.run(measure(arguments, Path(folder)))
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
