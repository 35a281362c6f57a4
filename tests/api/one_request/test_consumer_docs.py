"""What docs/consumers.md tells people to type works as it says."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path

import pytest
from tests.harness.api import Manifest
from tests.harness.consumer import Consumer
from tests.harness.kubectl import Kubectl
from tests.harness.scene import Scene, at

from lab.kubectl import kubectl_path

PAGE = Path(__file__).parents[3] / "docs" / "consumers.md"
CHOOSE, SAY, TAKE, TAKE_OVER, REPORT, CLOSE = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)


class Shell:
    """Runs what stands on the page, about one request, as somebody would at a prompt."""

    def __init__(self, kubeconfig: Path, request: Manifest) -> None:
        metadata = request["metadata"]
        self._environment = os.environ | {
            "KUBECONFIG": str(kubeconfig),
            "PATH": f"{Path(kubectl_path()).parent}:{os.environ['PATH']}",
            "NS": metadata["namespace"],
            "REQUEST": metadata["name"],
        }

    async def run(self, *blocks: str) -> tuple[int, str]:
        """Exit code, and all that was printed."""
        process = await asyncio.create_subprocess_exec(
            "bash",
            "-euc",
            "\n".join(blocks),
            env=self._environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        printed, _ = await process.communicate()
        assert process.returncode is not None
        return process.returncode, printed.decode()


@pytest.fixture
async def settled(scene: Scene) -> Manifest:
    """A request that is settled."""
    await scene.policy(closeAfter="1h")
    await scene.pods("Trouble", 2)
    [request] = await scene.comes_to((1, "Settled", 2))
    return request


@pytest.fixture
def shell(kubectl: Kubectl, settled: Manifest) -> Shell:
    """A prompt."""
    return Shell(kubectl.kubeconfig, settled)


async def claimed(scene: Scene) -> tuple[object, ...]:
    [request] = await scene.requests()
    return at(request, "status.remediation.phase"), at(request, "status.remediation.claim.holderIdentity")


async def test_request_is_chosen_claimed_renewed_and_reported(scene: Scene, shell: Shell) -> None:
    code, printed = await shell.run(CHOOSE, SAY, TAKE)
    assert code == 0, printed
    assert "condition met" in printed
    assert await claimed(scene) == ("Verifying", "robot-1")
    code, printed = await shell.run(SAY.replace("robot-1", "robot-2"), TAKE)
    assert code == 1
    assert 'conflicts with "robot-1"' in printed or 'conflict with "robot-1"' in printed
    code, printed = await shell.run(SAY.splitlines()[0], REPORT)
    assert code == 0, printed
    [closed] = await scene.comes_to((1, "Closed", 2))
    assert closed["status"]["remediation"] == {
        "phase": "Succeeded",
        "observedRevision": 1,
        "message": "rolled back",
    }
    code, printed = await shell.run(SAY, TAKE)
    assert code == 1
    assert "a closed request cannot be claimed" in printed


async def test_claim_of_a_consumer_that_died_is_taken_over_and_a_valid_one_is_not(
    scene: Scene, shell: Shell, settled: Manifest
) -> None:
    dead = Consumer(scene.api, "robot-0")
    assert await dead.take(settled, 60, phase="InProgress")
    code, printed = await shell.run(SAY, TAKE_OVER)
    assert code == 0, printed
    assert await claimed(scene) == ("InProgress", "robot-0")
    assert await dead.take(settled, -2, phase="InProgress")
    # Else the take-over may meet the write that says so, and is to be tried again.
    await scene.requests_come_to("status.conditions.ClaimExpired.status", [("True",)])
    code, printed = await shell.run(SAY, TAKE_OVER)
    assert code == 0, printed
    assert await claimed(scene) == ("Analyzing", "robot-1")
    code, printed = await shell.run(SAY.splitlines()[0], REPORT)
    assert code == 0, printed
    await scene.comes_to((1, "Closed", 2))


@pytest.mark.parametrize("which", [0, 1], ids=["one request", "all of a policy"])
async def test_requests_are_closed_by_hand(scene: Scene, shell: Shell, settled: Manifest, which: int) -> None:
    policy = settled["metadata"]["labels"]["stormfold.dev/policy"]
    code, printed = await shell.run(f"POLICY={policy}", CLOSE.splitlines()[which])
    assert code == 0, printed
    [closed] = await scene.comes_to((1, "Closed", 2))
    assert at(closed, "status.conditions.Closed.reason") == "ClosedByAnnotation"
