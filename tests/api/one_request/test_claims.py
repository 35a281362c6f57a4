"""Claims: of the consumers of a request one acts, and stormfold says what is wrong with what they report."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from tests.harness.api import ApiError, Manifest
from tests.harness.consumer import Consumer, claim_of
from tests.harness.scene import Scene, at, rows

RACES = int(os.environ.get("CLAIM_RACES", "100"))
"""`make races` has 10,000."""
REQUESTS_AT_ONCE = 8
"""Raced for at the same time."""

EXPIRED, UNKNOWN, STALE = (
    f"status.conditions.{kind}.status"
    for kind in ("ClaimExpired", "RemediationPhaseUnknown", "StaleRemediation")
)


@pytest.fixture
async def request_(scene: Scene) -> Manifest:
    """One that is settled, at revision 1."""
    await scene.policy(closeAfter="1h")
    await scene.pods("Trouble", 2)
    [found] = await scene.comes_to((1, "Settled", 2))
    return found


@pytest.fixture
def robots(scene: Scene) -> tuple[Consumer, Consumer]:
    """Two that want the same."""
    return Consumer(scene.api, "robot-1"), Consumer(scene.api, "robot-2")


async def holder(scene: Scene) -> str | None:
    """Who claims the one request."""
    [request] = await scene.requests()
    claim = claim_of(request)
    return claim["holderIdentity"] if claim else None


async def test_claim_is_taken_renewed_released_and_taken_by_the_next(
    scene: Scene, request_: Manifest, robots: tuple[Consumer, Consumer]
) -> None:
    one, two = robots
    assert await one.take(request_, phase="InProgress")
    assert not await two.take(request_, phase="InProgress")
    assert await one.take(request_, 120, phase="Verifying")
    assert not await two.take(request_)
    assert await holder(scene) == "robot-1"
    await one.release(request_)
    assert await holder(scene) is None
    assert await two.take(request_, phase="InProgress")
    assert await holder(scene) == "robot-2"
    assert not await one.take(request_)


async def test_claim_is_taken_over_when_it_has_expired_and_its_holder_hears_of_it(
    scene: Scene, request_: Manifest, robots: tuple[Consumer, Consumer]
) -> None:
    one, two = robots
    assert await one.take(request_, 60, phase="InProgress")
    assert not await two.take_over(request_, phase="InProgress")
    assert await one.take(request_, -1, phase="InProgress")
    assert await two.take_over(request_, phase="InProgress")
    assert await holder(scene) == "robot-2"
    assert not await one.take(request_, phase="InProgress")
    await one.release(request_)
    assert await holder(scene) == "robot-2"


async def test_take_over_of_what_has_changed_meanwhile_is_refused(
    scene: Scene, request_: Manifest, robots: tuple[Consumer, Consumer]
) -> None:
    one, two = robots
    assert await one.take(request_, -1)
    [read] = await scene.requests()
    assert await one.take(request_, 60)
    with pytest.raises(ApiError, match="the object has been modified") as refused:
        await two.apply(
            read, claim=two.claim(read), resource_version=read["metadata"]["resourceVersion"], force=True
        )
    assert refused.value.status == 409
    assert await holder(scene) == "robot-1"


async def race(request: Manifest, robots: Sequence[Consumer], *, over: bool) -> str:
    """Let all claim the request at once; the name of the one who acts."""
    results = await asyncio.gather(
        *((robot.take_over if over else robot.take)(request, phase="InProgress") for robot in robots)
    )
    [acts] = [robot.name for robot, won in zip(robots, results, strict=True) if won]
    return acts


async def test_of_two_consumers_that_race_for_a_claim_exactly_one_acts(
    scene: Scene, robots: tuple[Consumer, Consumer]
) -> None:
    await scene.policy(closeAfter="1h")
    names = [f"Trouble-{number}" for number in range(REQUESTS_AT_ONCE)]
    for name in names:
        await scene.pods(name, 1)
    requests = await scene.requests_come_to("spec.name status.revision", [(name, 1) for name in names])
    won: Counter[str] = Counter()
    left, stop = iter(range(RACES)), asyncio.Event()

    async def races(request: Manifest) -> None:
        for number in left:
            over = number % 2 == 1
            if over:
                assert await robots[number % 4 // 2].take(request, -1, phase="InProgress")
            acts = await race(request, robots, over=over)
            won[acts] += 1
            read = await scene.api.get("RemediationRequest", request["metadata"]["name"], scene.namespace)
            assert read
            claim = claim_of(read)
            assert claim
            assert claim["holderIdentity"] == acts
            await next(robot for robot in robots if robot.name == acts).release(request)

    async def signals() -> None:
        """stormfold writes the requests meanwhile, too."""
        pod = 1
        while not stop.is_set():
            for name in names:
                await scene.pods(name, 1, first=pod)
            pod += 1
            await asyncio.sleep(0.5)

    async def all_races() -> None:
        await asyncio.gather(*(races(request) for request in requests))
        stop.set()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(signals())
        tasks.create_task(all_races())
    assert won.total() == RACES
    assert set(won) == {"robot-1", "robot-2"}


async def test_what_stormfold_writes_leaves_a_claim_and_its_owner_as_they_are(
    scene: Scene, request_: Manifest, robots: tuple[Consumer, Consumer]
) -> None:
    one, two = robots
    assert await one.take(request_, phase="InProgress", plan={"steps": ["drain", "reboot"]})
    [before] = await scene.requests()
    await scene.pods("Trouble", 3, first=2)
    [after] = await scene.comes_to((1, "Settled", 5))
    assert after["status"]["remediation"] == before["status"]["remediation"]
    assert not await two.take(request_)
    assert await one.take(request_, 90, phase="InProgress")


async def test_claim_that_expires_is_said_until_it_is_taken_over(
    scene: Scene, request_: Manifest, robots: tuple[Consumer, Consumer]
) -> None:
    one, two = robots
    assert await one.take(request_, 2, phase="InProgress")
    [said] = await scene.requests_come_to(EXPIRED, [("True",)])
    claim = claim_of(said)
    assert claim
    condition = at(said, "status.conditions.ClaimExpired")
    assert (condition["reason"], condition["message"]) == (
        "ClaimNotRenewed",
        (
            f"the claim of robot-1 expired at {claim['expirationTime'][:19]}Z: another consumer may "
            f"take over. "
            "See https://stormfold.dev/reasons/#ClaimNotRenewed"
        ),
    )
    assert await two.take_over(request_, phase="InProgress")
    said_so = f"{EXPIRED} status.conditions.ClaimExpired.reason"
    await scene.requests_come_to(said_so, [("False", "ClaimValid")])
    events = [("Normal", "StormOpened"), ("Normal", "StormSettled"), ("Warning", "ClaimExpired")]
    await scene.events_come_to(request_, events)


async def test_claim_ends_with_its_request(
    scene: Scene, request_: Manifest, robots: tuple[Consumer, Consumer]
) -> None:
    one, two = robots
    assert await one.take(request_, 1, phase="InProgress")
    await scene.requests_come_to(EXPIRED, [("True",)])
    await one.take(request_, 60, phase="Succeeded")
    await scene.requests_come_to(
        f"status.phase {EXPIRED} status.conditions.ClaimExpired.reason", [("Closed", "False", "ClaimEnded")]
    )
    for robot in (one, two):
        with pytest.raises(ApiError, match="a closed request cannot be claimed") as refused:
            await robot.apply(request_, claim=robot.claim(request_, 300), force=True)
        assert refused.value.status == 422
    await one.release(request_, phase="Succeeded", message="rolled back")
    [closed] = await scene.requests()
    assert closed["status"]["remediation"] == {"phase": "Succeeded", "message": "rolled back"}


async def test_unknown_phase_is_said_until_it_is_corrected(scene: Scene, request_: Manifest) -> None:
    await scene.remediate(request_, phase="Suceeded")
    [said] = await scene.requests_come_to(f"status.phase {UNKNOWN}", [("Settled", "True")])
    assert at(said, "status.conditions.RemediationPhaseUnknown.message") == (
        'phase "Suceeded" is neither terminal nor active, so the request stays open: use a known phase, or '
        "add it to STORMFOLD_ACTIVE_PHASES. See https://stormfold.dev/reasons/#PhaseNotKnown"
    )
    await scene.remediate(request_, phase="succeeded")
    await scene.requests_come_to(f"status.phase {UNKNOWN}", [("Closed", "False")])
    await scene.events_come_to(
        request_,
        [
            ("Normal", "StormOpened"),
            ("Normal", "StormSettled"),
            ("Warning", "RemediationPhaseUnknown"),
            ("Normal", "StormClosed"),
        ],
    )


async def test_end_of_an_older_revision_closes_nothing_until_it_is_reported_anew(
    scene: Scene, request_: Manifest
) -> None:
    await scene.remediate(request_, phase="InProgress", observedRevision=1)
    await scene.pods("Trouble", 1, first=2)
    await scene.requests_come_to("status.phase status.revision", [("Settled", 2)])
    await scene.remediate(request_, phase="Succeeded", observedRevision=1)
    [said] = await scene.requests_come_to(f"status.phase status.revision {STALE}", [("Settled", 2, "True")])
    assert at(said, "status.conditions.StaleRemediation.message") == (
        "Succeeded is about revision 1, but signals came since and the request is at revision 2: look again, "
        "and report with the current observedRevision. See https://stormfold.dev/reasons/#OlderRevision"
    )
    await scene.remediate(request_, phase="Succeeded", observedRevision=2)
    await scene.requests_come_to(
        f"status.phase status.conditions.Closed.reason {STALE}", [("Closed", "RemediationFinished", "False")]
    )


async def test_end_of_what_a_consumer_has_healed_closes_its_request(scene: Scene, request_: Manifest) -> None:
    """That its signals resolve meanwhile is what it has brought about: no news for it."""
    await scene.remediate(request_, phase="InProgress", observedRevision=1)
    await scene.pods("Trouble", 2, state="Resolved")
    await scene.requests_come_to("status.phase status.revision status.signals.firing", [("Settled", 1, 0)])
    await scene.remediate(request_, phase="Succeeded", observedRevision=1)
    await scene.requests_come_to(
        "status.phase status.conditions.Closed.reason", [("Closed", "RemediationFinished")]
    )


async def test_requests_are_selected_by_phase(scene: Scene, request_: Manifest) -> None:
    await scene.pods("Other", 1)
    await scene.requests_come_to("spec.name status.phase", [("Other", "Settled"), ("Trouble", "Settled")])
    await scene.remediate(request_, phase="Succeeded")
    await scene.requests_come_to("spec.name status.phase", [("Other", "Settled"), ("Trouble", "Closed")])

    async def selected(selector: str) -> list[tuple[Any, ...]]:
        return rows(
            await scene.api.list("RemediationRequest", scene.namespace, fieldSelector=selector), "spec.name"
        )

    assert await selected("status.phase=Settled") == [("Other",)]
    assert await selected("status.phase!=Closed") == [("Other",)]
    assert await selected("status.phase=Closed") == [("Trouble",)]
    assert await selected("status.phase=Open") == []
