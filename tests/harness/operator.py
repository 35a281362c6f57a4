"""The operator as its own process.

Two thirds of what a start costs is the import of packages. So a server that has imported them, once for each
worker, forks each operator. That `python -m stormfold run` does the same from nothing is left to the command
line's tests, the demo and the end-to-end tier.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from importlib import import_module
from pathlib import Path
from typing import Any

import aiohttp
from prometheus_client.parser import text_string_to_metric_families
from tests.harness.eventually import eventually
from tests.harness.guard import refuse_foreign

from lab.process import free_port, tail
from stormfold.__main__ import main

READY_SECONDS = 30.0
DRAIN_SECONDS = 30.0

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["__main__", "stormfold.cli", "stormfold.starting", __name__])


def become_the_operator(
    environment: dict[str, str], log: Path, clock_offset: float = 0.0, constants: Mapping[str, Any] = {}
) -> None:
    """What a forked process does: nothing of the tests is left in it."""
    os.setsid()
    for path, value in constants.items():
        module, _, name = path.rpartition(".")
        assert hasattr(import_module(module), name), path
        setattr(import_module(module), name, value)
    if clock_offset:
        set_clock_wrong(clock_offset)
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["stormfold", "run"]
    main()


def set_clock_wrong(offset: float) -> None:
    """Make the wall clock of this process so many seconds fast, or slow below 0; the monotonic one stays
    right."""
    right = time.time

    class WrongDatetime(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            # An ordinary one, as JSON encoders take it, so not `Self`.
            return datetime.fromtimestamp(time.time(), tz)

    time.time = lambda: right() + offset
    time.time_ns = lambda: int(time.time() * 1e9)
    for name, module in list(sys.modules.items()):
        if name.startswith("stormfold.") and getattr(module, "datetime", None) is datetime:
            module.datetime = WrongDatetime  # type: ignore[attr-defined]


def webhook_settings(port: int, token_file: Path | None) -> dict[str, str]:
    """What makes an operator take alerts on that port of loopback, also from whoever has the token."""
    settings = {"STORMFOLD_WEBHOOK_HOST": "127.0.0.1", "STORMFOLD_WEBHOOK_PORT": str(port)}
    return settings | ({"STORMFOLD_WEBHOOK_SECRET_FILE": str(token_file)} if token_file else {})


@dataclass(frozen=True)
class Metrics:
    """One reading of `/metrics`."""

    samples: tuple[tuple[str, dict[str, str], float], ...]

    @classmethod
    def parse(cls, text: str) -> Metrics:
        """From Prometheus' text format."""
        families = text_string_to_metric_families(text)
        return cls(tuple((it.name, it.labels, it.value) for family in families for it in family.samples))

    def total(self, name: str, **labels: str) -> float:
        """The sum over the samples of that name whose labels include the given ones; 0 if there is none."""
        return sum(
            value
            for sample, its, value in self.samples
            if sample == name and all(its.get(k) == v for k, v in labels.items())
        )


class OperatorProcess:
    """`stormfold run` with a log file and a port of its own.

    `environment` is added to the settings; a value of None takes a variable away. It takes alerts at
    `webhook_url`, with a `webhook_token_file` also from whoever has the token in it. Its clock is
    `clock_offset` seconds fast. `constants`, by their path, have other values: limits that are too far away
    to be reached in a test.
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
        webhook_token_file: Path | None = None,
        clock_offset: float = 0.0,
        constants: Mapping[str, Any] = {},
    ) -> None:
        self.log = log
        self._constants = dict(constants)
        self._clock_offset = clock_offset
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        webhook_port = free_port()
        self.webhook_url = f"http://127.0.0.1:{webhook_port}/v1/alertmanager"
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("STORMFOLD_", "KUBE"))}
        wanted: dict[str, str | None] = {
            **kept,
            "KUBECONFIG": str(refuse_foreign(kubeconfig)),
            "STORMFOLD_REDIS_URL": redis_url,
            "STORMFOLD_NAMESPACE": namespace,
            "STORMFOLD_IDENTITY": identity,
            "STORMFOLD_HTTP_HOST": "127.0.0.1",
            "STORMFOLD_HTTP_PORT": str(self.port),
            **webhook_settings(webhook_port, webhook_token_file),
            **(environment or {}),
        }
        self._environment = {k: v for k, v in wanted.items() if v is not None}
        self._process: multiprocessing.context.ForkServerProcess | None = None

    def set(self, **environment: str) -> None:
        """Further variables, from the next start on."""
        self._environment |= environment

    @property
    def pid(self) -> int:
        """Of the process that was started last."""
        assert self._process is not None, "the operator was not started"
        return self._process.pid or 0

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.exitcode is None

    @property
    def ended(self) -> bool:
        """Whether the process has ended otherwise than by `kill`."""
        return self._process is not None and self._process.exitcode not in {None, -signal.SIGKILL}

    async def start(self, *, ready: bool = True) -> None:
        """Start it, again or for the first time, and wait until `/readyz` says 200 unless `ready` is
        False."""
        assert not self.running, "the operator is running already"
        self._process = FORKS.Process(
            target=become_the_operator,
            args=(self._environment, self.log, self._clock_offset, self._constants),
            daemon=True,
        )
        self._process.start()
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
            self._process.join()

    async def terminate(self, *, within: float = DRAIN_SECONDS) -> int:
        """SIGTERM; the exit code. Fails if the process has not ended `within` seconds."""
        os.kill(self.pid, signal.SIGTERM)
        return await self.exit_code(within=within)

    async def exit_code(self, *, within: float = DRAIN_SECONDS) -> int:
        """The exit code once the process has ended by itself, negative for a signal."""
        process = self._process
        assert process is not None, "the operator was not started"
        await eventually(lambda: process.exitcode is not None, within=within, what="the operator ends")
        return process.exitcode or 0

    def pause(self) -> None:
        """SIGSTOP: it sleeps like a process that lost its CPU."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT, after `pause`."""
        os.kill(self.pid, signal.SIGCONT)

    async def get(self, path: str, *, within: float = 15.0) -> tuple[int, str]:
        """Status and body of one of its HTTP endpoints."""
        timeout = aiohttp.ClientTimeout(total=within)
        async with aiohttp.ClientSession(self.url, timeout=timeout) as session, session.get(path) as response:
            return response.status, await response.text()

    async def post_alerts(self, body: Any, *, token: str, within: float = 90.0) -> tuple[int, Any]:
        """Status and JSON of the webhook's answer to a body of Alertmanager's, without the requests that hold
        its alerts: those must be all that were accepted."""
        status, answer = await self.post_body(body, token=token, within=within)
        requests, beyond = answer.pop("requests", None), answer.pop("inFurtherRequests", 0)
        assert requests is None or sum(one["alerts"] for one in requests) + beyond == answer["accepted"]
        return status, answer

    async def post_body(self, body: Any, *, token: str, within: float = 90.0) -> tuple[int, Any]:
        """Status and JSON of the webhook's whole answer."""
        timeout = aiohttp.ClientTimeout(total=within)
        headers = {"Authorization": f"Bearer {token}"}
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.post(self.webhook_url, json=body, headers=headers) as response,
        ):
            return response.status, await response.json()

    async def metrics(self) -> Metrics:
        """What `/metrics` says now."""
        return Metrics.parse((await self.get("/metrics"))[1])

    async def obeys(self, policies: int, *, within: float = READY_SECONDS) -> None:
        """Wait until so many policies are in force in this process; their status tells it of the leader
        only."""

        async def in_force() -> float:
            return (await self.metrics()).total("stormfold_policies", accepted="true")

        await eventually(
            in_force, lambda seen: seen == policies, within=within, what=f"{policies} policies are in force"
        )

    def log_lines(self) -> list[dict[str, Any]]:
        """Its log, oldest line first; a line that is no JSON object comes as `{"message": line}`."""
        return [_parsed(line) for line in self.log.read_text(errors="replace").splitlines()]

    def resident_mb(self) -> float:
        """Its resident memory, from /proc."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    def cpu_seconds(self) -> float:
        """User and system CPU time that the process has used, from /proc."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def waited_seconds(self) -> float:
        """For how long its main thread has waited for a CPU, from /proc."""
        return int(Path(f"/proc/{self.pid}/schedstat").read_text().split()[1]) / 1e9

    async def _ready_or_ended(self) -> bool:
        return not self.running or (await self.get("/readyz"))[0] == 200


def _parsed(line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {"message": line}


class NewOperator:
    """Makes operators and, unless `start` is False, starts each and waits until it is ready.

    They run on the Redis and the API server given here, or on what a call names; its other options are those
    of `OperatorProcess`.
    """

    def __init__(self, *, redis_url: str, kubeconfig: Path, folder: Path) -> None:
        self._redis_url = redis_url
        self._kubeconfig = kubeconfig
        self._folder = folder
        self.made: list[OperatorProcess] = []

    async def __call__(
        self,
        *,
        redis_url: str | None = None,
        kubeconfig: Path | None = None,
        start: bool = True,
        ready: bool = True,
        **options: Any,
    ) -> OperatorProcess:
        """One more, with a log of its own."""
        process = OperatorProcess(
            redis_url=redis_url or self._redis_url,
            kubeconfig=kubeconfig or self._kubeconfig,
            log=self._folder / f"operator-{len(self.made)}.log",
            **options,
        )
        self.made.append(process)
        if start:
            await process.start(ready=ready)
        return process
