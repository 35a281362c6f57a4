"""What docs/gates.md tells people to type works as it says."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path

from tests.harness.eventually import eventually
from tests.harness.kubectl import Kubectl
from tests.harness.scene import Scene, at

from lab.kubectl import kubectl_path

PAGE = Path(__file__).parents[3] / "docs" / "gates.md"
HOLD, LIFT, *_ = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)
VERDICT = "status.decision.verdict"


async def typed(kubectl: Kubectl, scene: Scene, block: str) -> None:
    """What stands on the page, as somebody types it at a prompt."""
    process = await asyncio.create_subprocess_exec(
        *("bash", "-euc", block),
        env=os.environ
        | {
            "KUBECONFIG": str(kubectl.kubeconfig),
            "PATH": f"{Path(kubectl_path()).parent}:{os.environ['PATH']}",
            "NS": scene.namespace,
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed, _ = await process.communicate()
    assert process.returncode == 0, printed.decode()


async def test_hold_is_made_and_lifted_as_the_page_says_and_that_of_another_stays(
    scene: Scene, kubectl: Kubectl
) -> None:
    await scene.policy(closeAfter="1h")
    await scene.pods("Trouble", 2)
    await scene.requests_come_to(f"status.phase {VERDICT}", [("Settled", "Proceed")])
    await typed(kubectl, scene, HOLD)
    (held,) = await scene.requests_come_to(VERDICT, [("Hold",)])
    said = at(held, "status.decision.message")
    expected = f"StormGate {scene.namespace}/freeze: alice holds it until .*Z: the registry is being moved"
    assert re.fullmatch(expected, said), said

    async def shown(*held_by: str) -> None:
        row = rf"freeze +Hold +1 +{', '.join(held_by)} +\S+\n"
        await eventually(
            lambda: kubectl("get", "sgate", "-n", scene.namespace),
            re.compile(rf"NAME +VERDICT +STATE +REQUESTS +HELD BY +AGE\n{row}").fullmatch,
            within=20,
            what=f"held by {held_by}",
        )

    await shown("alice")
    await typed(kubectl, scene, HOLD.replace("alice", "bob"))
    await shown("alice", "bob")
    await typed(kubectl, scene, LIFT)
    held_by = ("get", "sgate", "freeze", "-n", scene.namespace, "-o", "jsonpath={.spec.holds[*].by}")
    assert await kubectl(*held_by) == "bob"
    assert [at(request, VERDICT) for request in await scene.requests()] == ["Hold"]
    await typed(kubectl, scene, LIFT.replace("alice", "bob"))
    assert await kubectl(*held_by) == ""
    await scene.requests_come_to(VERDICT, [("Proceed",)])
