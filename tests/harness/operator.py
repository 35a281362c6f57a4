"""The operator as its own process, started the way a container starts it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from prometheus_client.parser import text_string_to_metric_families
from tests.harness.eventually import eventually
from tests.harness.guard import refuse_foreign

from stormfold.demo.process import free_port, tail

SOURCE = Path(__file__).parents[2] / "operator"
READY_SECONDS = 30.0
DRAIN_SECONDS = 30.0


@dataclass(frozen=True)
class Metrics:
    """One reading of `/metrics`."""

    samples: tuple[tuple[str, dict[str, str], float], ...]

    def total(self, name: str, **labels: str) -> float:
        """The sum over the samples of that name whose labels include the given ones; 0 if there is none."""
        return sum(
            value
            for sample, its, value in self.samples
            if sample == name and all(its.get(k) == v for k, v in labels.items())
        )


class OperatorProcess:
    """`python -m stormfold run` with a log file and a port of its own.

    `environment` is added to the settings; a value of None takes a variable away.
    """

    def __init__(
        self,
        *,
        redis_url: str,
        kubeconfig: Path,
        log: Path,
        namespace: str = "stormfold-system",
        identity: str = "test-0",
        environment: dict[str, str | None] | None = None,
    ) -> None:
        self.log = log
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("STORMFOLD_", "KUBE"))}
        wanted: dict[str, str | None] = {
            **kept,
            "PYTHONPATH": str(SOURCE),
            "PYTHONUNBUFFERED": "1",
            "KUBECONFIG": str(refuse_foreign(kubeconfig)),
            "STORMFOLD_REDIS_URL": redis_url,
            "STORMFOLD_NAMESPACE": namespace,
            "STORMFOLD_IDENTITY": identity,
            "STORMFOLD_HTTP_HOST": "127.0.0.1",
            "STORMFOLD_HTTP_PORT": str(self.port),
            **(environment or {}),
        }
        self._environment = {k: v for k, v in wanted.items() if v is not None}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the process that was started last."""
        assert self._process is not None, "the operator was not started"
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    async def start(self, *, ready: bool = True) -> None:
        """Start it, again or for the first time, and wait until `/readyz` says 200 unless `ready` is False."""
        assert not self.running, "the operator is running already"
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: ASYNC220 - asyncio's would be tied to one loop
                [sys.executable, "-m", "stormfold", "run"],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        if ready:
            await eventually(self._ready_or_ended, within=READY_SECONDS, what="the operator is ready")
            assert self.running, f"the operator ended while starting:\n{tail(self.log)}"

    async def restart(self, *, ready: bool = True) -> None:
        """SIGKILL, then start again with the same settings."""
        self.kill()
        await self.start(ready=ready)

    def kill(self) -> None:
        """SIGKILL: nothing is drained. Nothing if it has ended."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    async def terminate(self, *, within: float = DRAIN_SECONDS) -> int:
        """SIGTERM; the exit code. Fails if the process has not ended `within` seconds."""
        os.kill(self.pid, signal.SIGTERM)
        return await self.exit_code(within=within)

    async def exit_code(self, *, within: float = DRAIN_SECONDS) -> int:
        """The exit code once the process has ended by itself, negative for a signal."""
        process = self._process
        assert process is not None, "the operator was not started"
        await eventually(process.poll, lambda code: code is not None, within=within, what="the operator ends")
        return process.wait()

    def pause(self) -> None:
        """SIGSTOP: it sleeps like a process that lost its CPU."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT, after `pause`."""
        os.kill(self.pid, signal.SIGCONT)

    async def get(self, path: str) -> tuple[int, str]:
        """Status and body of one of its HTTP endpoints."""
        timeout = aiohttp.ClientTimeout(total=5)
        async with aiohttp.ClientSession(self.url, timeout=timeout) as session, session.get(path) as response:
            return response.status, await response.text()

    async def metrics(self) -> Metrics:
        """What `/metrics` says now."""
        _, text = await self.get("/metrics")
        return Metrics(
            tuple(
                (sample.name, sample.labels, sample.value)
                for family in text_string_to_metric_families(text)
                for sample in family.samples
            )
        )

    def log_lines(self) -> list[dict[str, Any]]:
        """Its log, oldest line first; a line that is no JSON object comes as `{"message": line}`."""
        return [_parsed(line) for line in self.log.read_text(errors="replace").splitlines()]

    def cpu_seconds(self) -> float:
        """User and system CPU time that the process has used, from /proc."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    async def _ready_or_ended(self) -> bool:
        return not self.running or (await self.get("/readyz"))[0] == 200


def _parsed(line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {"message": line}
