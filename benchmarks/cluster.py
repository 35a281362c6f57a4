"""What parts measure that need an API server: the operator as its own process, a client, and who used how
much CPU."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

from lab.controlplane import ControlPlane
from lab.process import free_port
from lab.valkey import Valkey
from stormfold.api.crd import crds
from stormfold.api.resource import API_VERSION
from stormfold.api.stormpolicy import ClusterStormPolicy
from stormfold.kube import paths
from stormfold.kube.access import find_access
from stormfold.kube.client import KubeClient

WITHIN_SECONDS = 300.0
"""How long anything may take that is waited for, on a busy machine too."""
TICKS = os.sysconf("SC_CLK_TCK")


def say(line: str) -> None:
    """Progress, on stderr."""
    sys.stderr.write(f"{line}\n")


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

    def metrics(self) -> dict[str, float]:
        """What `/metrics` says, summed over labels, but for marks and writes that were not made."""
        totals: dict[str, float] = {}
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/metrics", timeout=5) as answer:
            for line in answer.read().decode().splitlines():
                name = line.partition("{")[0].partition(" ")[0]
                if not line.startswith("#") and 'outcome="skipped"' not in line:
                    totals[name] = totals.get(name, 0.0) + float(line.rpartition(" ")[2])
        return totals

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


def policy(**spec: Any) -> dict[str, Any]:
    """The catch-all as it is shipped, but nothing is deleted for an hour; `spec` by the names of the API."""
    return {
        "apiVersion": API_VERSION,
        "kind": "ClusterStormPolicy",
        "metadata": {"name": "default"},
        "spec": {"groupBy": ["name", "namespace"], "retention": "1h", **spec},
    }


async def prepare(client: KubeClient, **spec: Any) -> None:
    """CRDs, the operator's namespace, the policy with what is changed in it."""
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
    await client.create(paths.collection(ClusterStormPolicy.plural), policy(**spec))


async def make_namespace(client: KubeClient, name: str) -> None:
    """There is one from then on."""
    await client.create(
        "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    )


async def at_once(count: int, do: Callable[[Any], Awaitable[None]], items: Iterable[Any]) -> None:
    """Do it to each item, so many at the same time."""
    todo = iter(items)

    async def some() -> None:
        for item in todo:
            await do(item)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(count):
            tasks.create_task(some())


def cpu_seconds(pid: int) -> float:
    """User and system CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def servers() -> dict[str, int]:
    """The pids of the programs that we started and that are not Python, by name."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it may have ended
            name, _, rest = (folder / "stat").read_text().partition("(")[2].rpartition(")")
            if int(rest.split()[1]) == os.getpid() and not name.startswith("python"):
                found[name] = int(folder.name)
    return found


@contextlib.asynccontextmanager
async def connected(control_plane: ControlPlane) -> AsyncIterator[KubeClient]:
    """The operator's own client, as `admin`."""
    access = await find_access({"KUBECONFIG": str(control_plane.kubeconfig)})
    async with KubeClient(access) as client:
        yield client
