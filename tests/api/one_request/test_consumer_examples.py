"""The consumers of examples/consumer/ act on each request once, and keep to its decision and its claim."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Protocol

import pytest
from tests.harness.api import Manifest
from tests.harness.consumer import Consumer
from tests.harness.eventually import eventually
from tests.harness.kubectl import Kubectl
from tests.harness.scene import Scene

from lab.kubectl import kubectl_path

EXAMPLES = Path(__file__).parents[3] / "examples" / "consumer"
SAID = "status.phase status.remediation.phase status.remediation.observedRevision status.remediation.claim"
DONE = ("Closed", "Succeeded", 1, None)


class NewConsumer(Protocol):
    """Starts an example; `command` is run by bash, with `READ` as what prints the request as JSON.

    consumer.py gives the name of the request as an argument, consumer.sh the request as standard input.
    """

    def __call__(
        self, example: str, command: str, request: Manifest | None = None, **environment: str
    ) -> Awaitable[asyncio.subprocess.Process]: ...


@pytest.fixture
async def consumer(scene: Scene, kubectl: Kubectl, tmp_path: Path) -> AsyncIterator[NewConsumer]:
    """Each runs in the test's folder under a name of its own, and is killed with the test."""
    made: list[asyncio.subprocess.Process] = []

    async def start(
        example: str, command: str, request: Manifest | None = None, **environment: str
    ) -> asyncio.subprocess.Process:
        program = [sys.executable] if example.endswith(".py") else ["bash"]
        read = 'kubectl get -n "$NS" "rreq/$0" -o json' if example.endswith(".py") else "cat"
        process = await asyncio.create_subprocess_exec(
            *program,
            str(EXAMPLES / example),
            *("bash", "-c", command.replace("READ", read)),
            cwd=tmp_path,
            env=os.environ
            | {
                "KUBECONFIG": str(kubectl.kubeconfig),
                "PATH": f"{Path(kubectl_path()).parent}:{os.environ['PATH']}",
                "NS": scene.namespace,
                "REQUEST": request["metadata"]["name"] if request else "",
                "POD_NAME": f"consumer-{len(made)}",
            }
            | environment,
            start_new_session=True,
        )
        made.append(process)
        return process

    yield start
    for process in made:
        with contextlib.suppress(ProcessLookupError):  # it may have ended, and nobody has been told yet
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def a_request(scene: Scene) -> Manifest:
    """One that has counted two signals; a consumer may have ended it by then."""
    await scene.policy(closeAfter="1h")
    await scene.pods("Trouble", 2)
    [request] = await scene.requests_come_to("spec.epoch status.signals.total", [(1, 2)])
    return request


async def shows(path: Path, text: str) -> None:
    """Wait until the file has exactly this text."""

    def read() -> str:
        return path.read_text() if path.exists() else ""

    await eventually(read, lambda seen: seen == text, within=90, what=f"{path.name} says {text!r}")


def requests_given(folder: Path) -> list[Manifest]:
    """What the commands read."""
    return [json.loads(path.read_text()) for path in folder.glob("request-*.json")]


async def test_two_consumers_run_their_command_once_on_the_request_and_report(
    scene: Scene, consumer: NewConsumer, tmp_path: Path
) -> None:
    for _ in range(2):
        await consumer("consumer.py", "READ > request-$POD_NAME.json; echo ran >> runs")
    request = await a_request(scene)
    await scene.requests_come_to(SAID, [DONE])
    assert (tmp_path / "runs").read_text() == "ran\n"
    assert [given["spec"] for given in requests_given(tmp_path)] == [request["spec"]]


async def test_command_that_fails_is_reported_and_the_request_closes(
    scene: Scene, consumer: NewConsumer
) -> None:
    await consumer("consumer.py", "exit 3")
    await a_request(scene)
    await scene.requests_come_to(SAID, [("Closed", "Failed", 1, None)])


@pytest.mark.parametrize("example", ["consumer.py", "consumer.sh"])
async def test_request_that_is_held_is_begun_when_the_gate_lets_it(
    scene: Scene, consumer: NewConsumer, tmp_path: Path, example: str
) -> None:
    await scene.gate("freeze", by="alice")
    request = await a_request(scene)
    await consumer(example, "READ > request.json", request)
    sees = Consumer(scene.api, "bystander")
    # A request that may proceed is taken, so what is held was seen before it and left.
    assert not (tmp_path / "request.json").exists()
    assert await sees.take(request) is True
    await sees.release(request)
    await scene.gate("freeze")
    await scene.requests_come_to(SAID, [DONE])
    assert json.loads((tmp_path / "request.json").read_text())["spec"] == request["spec"]


@pytest.mark.parametrize("example", ["consumer.py", "consumer.sh"])
async def test_verdict_stop_ends_the_command(
    scene: Scene, consumer: NewConsumer, tmp_path: Path, example: str
) -> None:
    request = await a_request(scene)
    await consumer(example, "echo begun > log; sleep 600; echo ended >> log", request)
    await shows(tmp_path / "log", "begun\n")
    await scene.gate("freeze", by="alice", verdict="Stop")
    await scene.requests_come_to("status.phase status.remediation.claim", [("Settled", None)])
    assert (tmp_path / "log").read_text() == "begun\n"


async def test_command_that_ends_well_when_it_is_stopped_is_not_reported_as_done(
    scene: Scene, consumer: NewConsumer, tmp_path: Path
) -> None:
    command = "trap 'echo tidied >> log; exit 0' TERM; echo begun > log; while :; do sleep 0.1; done"
    await consumer("consumer.py", command)
    await a_request(scene)
    await shows(tmp_path / "log", "begun\n")
    await scene.gate("freeze", by="alice", verdict="Stop")
    await scene.requests_come_to("status.phase status.remediation.claim", [("Settled", None)])
    assert (tmp_path / "log").read_text() == "begun\ntidied\n"


async def test_request_that_is_closed_by_hand_ends_the_command_and_not_the_consumer(
    scene: Scene, consumer: NewConsumer, tmp_path: Path
) -> None:
    process = await consumer("consumer.py", "echo begun >> log; [ -e go ] || sleep 600")
    request = await a_request(scene)
    await shows(tmp_path / "log", "begun\n")
    (tmp_path / "go").touch()
    metadata = {"metadata": {"annotations": {"stormfold.dev/close": "true"}}}
    name = request["metadata"]["name"]
    await scene.api.patch("RemediationRequest", name, scene.namespace, metadata)
    await scene.comes_to((1, "Closed", 2))
    await scene.pods("Trouble", 1, first=2)
    await scene.requests_come_to(
        "spec.epoch status.phase status.remediation.phase", [(1, "Closed", None), (2, "Closed", "Succeeded")]
    )
    assert process.returncode is None


async def test_request_of_a_consumer_that_was_killed_is_taken_over_by_one_of_three(
    scene: Scene, consumer: NewConsumer, tmp_path: Path
) -> None:
    killed = await consumer("consumer.py", "echo begun > log; sleep 600", CLAIM_SECONDS="3")
    await a_request(scene)
    await shows(tmp_path / "log", "begun\n")
    os.killpg(killed.pid, signal.SIGKILL)
    for _ in range(3):
        await consumer("consumer.py", "echo taken over >> log; sleep 2")
    await shows(tmp_path / "log", "begun\ntaken over\n")
    await scene.requests_come_to(SAID, [DONE])
    assert (tmp_path / "log").read_text() == "begun\ntaken over\n"


async def test_signals_that_come_while_it_runs_are_worked_on_by_another_run(
    scene: Scene, consumer: NewConsumer, tmp_path: Path
) -> None:
    await consumer("consumer.py", "echo begun >> log; while [ ! -e go ]; do sleep 0.1; done")
    await a_request(scene)
    await shows(tmp_path / "log", "begun\n")
    await scene.comes_to((1, "Settled", 2))
    await scene.pods("Trouble", 1, first=2)
    await scene.requests_come_to("status.phase status.revision", [("Settled", 2)])
    (tmp_path / "go").touch()
    await scene.requests_come_to(SAID, [("Closed", "Succeeded", 2, None)])
    assert (tmp_path / "log").read_text() == "begun\nbegun\n"
