"""Which claims the API server refuses by the component `steering`: who may take over, and when."""

from __future__ import annotations

from tests.harness.admission import (
    SEEN_SECONDS,
    VERDICT,
    held,
    refusal,
    robots,
)
from tests.harness.api import Manifest
from tests.harness.consumer import Consumer
from tests.harness.eventually import eventually
from tests.harness.scene import Scene, at

EXPIRED = "status.conditions.ClaimExpired.status"

ENFORCED = True
"""See conftest.py."""


async def test_valid_claim_of_another_is_not_taken_and_an_expired_one_is(
    scene: Scene, request_: Manifest
) -> None:
    one, two = robots(scene)
    assert await one.take(request_, 4, phase="InProgress")
    taken = two.apply(request_, claim=two.claim(request_), phase="InProgress", force=True)
    name = f"{scene.namespace}/{request_['metadata']['name']}"
    assert await refusal(taken) == (
        f"RemediationRequest {name} is claimed by robot-1: take over when its condition ClaimExpired is True"
    )
    await scene.requests_come_to(EXPIRED, [("True",)])
    assert await two.take_over(request_, phase="InProgress")
    # The condition is about robot-1's claim still: nobody takes robot-2's by it.
    third = Consumer(scene.api, "robot-3")
    assert "is claimed by robot-2" in await refusal(
        third.apply(request_, claim=third.claim(request_), phase="InProgress", force=True)
    )


async def test_claim_that_is_renewed_late_is_not_taken_by_what_was_said_of_it_before(
    scene: Scene, request_: Manifest
) -> None:
    one, two = robots(scene)
    assert await one.take(request_, 3, phase="InProgress")
    await scene.requests_come_to(EXPIRED, [("True",)])
    scene.operator.pause()
    try:
        renewed = one.claim(request_, 60)
        assert await refusal(one.apply(request_, claim=renewed, phase="InProgress")) == ""
        taken = two.apply(request_, claim=two.claim(request_), phase="InProgress", force=True)
        assert "is claimed by robot-1" in await refusal(taken)
    finally:
        scene.operator.resume()


async def test_expired_claim_is_taken_over_under_proceed_only(scene: Scene, request_: Manifest) -> None:
    """A claim under a gate: taken, renewed and expired under Hold, released and taken anew once that is
    lifted."""
    one, two = robots(scene)
    assert await one.take(request_, 60, phase="InProgress")
    request = await held(scene, request_, "Hold")
    renewed = one.claim(request, 3)
    assert await refusal(one.apply(request, claim=renewed, phase="InProgress")) == ""
    await scene.requests_come_to(EXPIRED, [("True",)])
    assert "alice holds" in await refusal(two.take_over(request, phase="Verifying"))
    await scene.gate("freeze")
    await scene.requests_come_to(VERDICT, [("Proceed",)])

    async def take_over() -> str:
        return await refusal(two.take_over(request, phase="Verifying"))

    await eventually(take_over, lambda said: said == "", within=SEEN_SECONDS, what="it is taken over")
    (taken,) = await scene.requests()
    assert at(taken, "status.remediation.claim.holderIdentity") == "robot-2"
    await two.release(request, phase="Verifying")
    stopped = await held(scene, request, "Stop")
    said = await refusal(one.apply(stopped, claim=one.claim(stopped), phase="InProgress", force=True))
    assert "alice stops" in said
    await scene.gate("freeze")
    await scene.requests_come_to(VERDICT, [("Proceed",)])
    again = one.apply(stopped, claim=one.claim(stopped), phase="InProgress", force=True)
    assert await refusal(again) == ""


async def test_claim_for_an_older_revision_is_refused(scene: Scene, request_: Manifest) -> None:
    robot, _ = robots(scene)
    await scene.pods("Trouble", 1, first=2)
    await scene.requests_come_to("status.phase status.revision", [("Settled", 2)])
    name = f"{scene.namespace}/{request_['metadata']['name']}"
    assert await refusal(robot.apply(request_, claim=robot.claim(request_), phase="InProgress")) == (
        f"RemediationRequest {name} is at revision 2, the claim is for revision 1: read it again"
    )
    (request,) = await scene.requests()
    assert await refusal(robot.apply(request, claim=robot.claim(request), phase="InProgress")) == ""
