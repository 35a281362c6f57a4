"""Whatever somebody has written into the status of a policy or a gate, and whatever the API server says of
it: it stops no other."""

from __future__ import annotations

import pytest
from tests.harness.api import Manifest
from tests.harness.eventually import eventually
from tests.harness.resources import storm_policy
from tests.harness.scene import QUICK, Scene, at
from tests.harness.stage import Stage

TIMES = (
    "0000-01-01T00:00:00Z",
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59-23:59",
    "2026-01-01T00:00:00+99:99",
    "2026-01-01t00:00:00.123456789z",
)
"""All are times to the API server."""
MOST = 32
"""Conditions that a status may have."""


def forged(times: tuple[str, ...], number: int = MOST) -> Manifest:
    """A status of so many conditions of somebody else, which changed at these times."""
    return {
        "conditions": [
            {
                "type": f"Forged{place:02}",
                "status": "True",
                "reason": "Forged",
                "message": "x" * 100,
                "lastTransitionTime": times[place % len(times)],
            }
            for place in range(number)
        ]
    }


async def forge(scene: Scene, policy: Manifest, status: Manifest) -> Manifest:
    """The policy with that in its status."""
    metadata = policy["metadata"]
    return await scene.api.patch(
        policy["kind"], metadata["name"], metadata["namespace"], {"status": status}, subresource="status"
    )


async def test_forged_status_of_a_policy_keeps_neither_it_nor_others_from_being_judged(scene: Scene) -> None:
    victim = await scene.policy("a-victim")
    for number, time in enumerate(TIMES):
        policy = await scene.policy(f"forged-{number}", priority=number + 1, match={"names": ["No*"]})
        await forge(scene, policy, forged((time,)))
        changed = await scene.change_policy(policy, match={"names": ["Not*"]})
        assert len(at(changed, "status.conditions")) <= MOST
        assert at(changed, "status.conditions.GroupsWaiting.status") == "False"
    await scene.change_policy(victim, closeAfter="1h")
    await scene.pods("Trouble", 1)
    await scene.comes_to((1, "Settled", 1))


async def test_gate_whose_status_is_full_of_the_conditions_of_others_says_what_it_does(scene: Scene) -> None:
    gate = await scene.gate("freeze")
    for times, by in ((TIMES[1:2], "alice"), (TIMES[:1], "")):
        await forge(scene, gate, forged(times))
        await scene.gate("freeze", by=by)

        async def read() -> Manifest | None:
            return await scene.api.get("StormGate", "freeze", scene.namespace)

        said = "Hold" if by else "Proceed"
        found = await eventually(
            read, lambda seen, said=said: at(seen, "status.verdict") == said, within=30, what=said
        )
        assert len(at(found, "status.conditions")) <= MOST
        assert at(found, "status.conditions.Accepted.status") == "True"


@pytest.mark.started(closeAfter="1h")
@pytest.mark.parametrize("answer", [413, 422, 500])
async def test_policy_whose_status_the_api_server_refuses_keeps_no_other_from_hearing_of_itself(
    stage: Stage, answer: int
) -> None:
    scene = Scene(stage.api, stage.team.namespace, stage.operator)
    refused = stage.api_proxy.respond("PATCH", "/stormpolicies/a-refused/status", answer, times=None)
    policy = storm_policy(scene.namespace, "a-refused", QUICK | {"match": {"names": ["No*"]}})
    policy = await stage.api.create(policy)
    await eventually(refused.arrived.is_set, within=30, what="its status is refused")
    await scene.policy("b-sound", priority=1)
    stage.api_proxy.remove(refused)
    await scene.judged(policy)
    said = stage.operator.log.read_text().count("statuses of policies are not written")
    assert said in {1, 2}, "once a minute"
