"""Time in the life of a storm: when a request is made, settles, is opened again and closes."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

from tests.harness.api import Manifest
from tests.harness.eventually import eventually
from tests.harness.scene import WHERE_TO, Scene, at, rows

TOTAL = "status.signals.total"
LIFE = "spec.epoch status.phase status.signals.total status.revision"


async def test_signals_with_gaps_below_idle_are_one_storm_that_never_settled_between(scene: Scene) -> None:
    await scene.policy(window={"idle": "8s"})
    for number in range(4):
        await scene.pods("Trouble", 1, first=number)
        await scene.requests_come_to(LIFE, [(1, "Open", number + 1, 1)])
    [request] = await scene.requests_come_to(LIFE, [(1, "Settled", 4, 1)])
    await scene.events_come_to(request, [("Normal", "StormOpened"), ("Normal", "StormSettled")])


async def test_signal_after_idle_reopens_the_same_request_with_the_next_revision(scene: Scene) -> None:
    await scene.policy(window={"idle": "4s"})  # so long it says Open: that is to be seen
    await scene.pods("Trouble", 5)
    [first] = await scene.requests_come_to(LIFE, [(1, "Settled", 5, 1)])
    assert at(first, "status.conditions.Settled.reason") == "Quiet"
    assert at(first, "status.conditions.Settled.message") == "5 signals; the counts are exact"
    await scene.pods("Trouble", 1, first=5)
    await scene.requests_come_to(LIFE, [(1, "Open", 6, 2)])
    [second] = await scene.requests_come_to(LIFE, [(1, "Settled", 6, 2)])
    await scene.pods("Trouble", 2, first=6)
    [third] = await scene.requests_come_to(LIFE, [(1, "Settled", 8, 3)])
    assert first["metadata"]["uid"] == second["metadata"]["uid"] == third["metadata"]["uid"]
    await scene.events_come_to(
        third,
        [
            ("Normal", "StormOpened"),
            ("Normal", "StormSettled"),
            ("Normal", "StormReopened"),
            ("Normal", "StormSettled"),
            ("Normal", "StormReopened"),
            ("Normal", "StormSettled"),
        ],
    )


async def test_quiet_storm_is_closed_and_the_next_signal_opens_the_next_epoch(scene: Scene) -> None:
    await scene.policy(closeAfter="2s")
    await scene.pods("Trouble", 5)
    [first] = await scene.comes_to((1, "Closed", 5))
    await scene.pods("Trouble", 2)
    before, after = await scene.comes_to((1, "Closed", 5), (2, "Closed", 2))
    assert before == first
    group_hash = first["spec"]["groupHash"]
    assert rows([before, after], "metadata.name spec.groupHash") == [
        (f"storm-{group_hash}-1", group_hash),
        (f"storm-{group_hash}-2", group_hash),
    ]
    assert after["status"]["affectedResourceCount"] == 2
    assert after["status"]["revision"] == 1
    closed = "status.conditions.Closed"
    assert (
        rows([before, after], f"{closed}.status {closed}.reason status.deadlines")
        == [("True", "QuietForCloseAfter", None)] * 2
    )
    await scene.events_come_to(
        after, [("Normal", "StormOpened"), ("Normal", "StormSettled"), ("Normal", "StormClosed")]
    )


async def test_storm_that_never_pauses_is_closed_at_its_greatest_duration(scene: Scene) -> None:
    await scene.policy(window={"idle": "1s", "maxDuration": "3s"}, closeAfter="2s")
    created = 0

    async def go_on() -> list[tuple[Any, ...]]:
        nonlocal created
        await scene.pods("Trouble", 3, first=created)
        created += 3
        return rows(await scene.requests(), "spec.epoch status.phase")

    await eventually(
        go_on, lambda seen: len(seen) == 2 and seen[0] == (1, "Closed") and seen[1][0] == 2, within=30
    )

    async def all_closed() -> list[Manifest]:
        found = await scene.requests()
        return found if all(at(r, "status.phase") == "Closed" for r in found) else []

    found = await eventually(all_closed, within=30)
    assert [r["spec"]["epoch"] for r in found] == list(range(1, len(found) + 1))
    assert sum(r["status"]["signals"]["total"] for r in found) == created
    assert at(found[0], "status.conditions.Closed.reason") == "MaxDurationReached"
    await scene.events_come_to(found[0], [("Normal", "StormOpened"), ("Normal", "StormClosed")])


async def test_signals_of_a_storm_that_is_being_closed_are_all_counted_once(scene: Scene) -> None:
    await scene.policy(groupWait="0s", window={"idle": "100ms", "maxDuration": "300ms"}, closeAfter="300ms")
    created = 0

    async def feed() -> None:
        nonlocal created
        while created < 300 or len(await scene.requests()) < 2:
            first, created = created, created + 3
            await scene.pods("Trouble", 3, first=first)

    await asyncio.gather(feed(), feed(), feed())

    async def closed_totals() -> tuple[set[str | None], int]:
        found = await scene.requests()
        return {at(r, "status.phase") for r in found}, sum(at(r, TOTAL) or 0 for r in found)

    assert await eventually(closed_totals, lambda seen: seen == ({"Closed"}, created), within=40)
    epochs = [r["spec"]["epoch"] for r in await scene.requests()]
    assert epochs == list(range(1, len(epochs) + 1))
    assert len(epochs) > 1


async def test_deadlines_follow_the_policy_and_go_with_the_phase(scene: Scene) -> None:
    await scene.policy(window={"idle": "5s", "maxDuration": "1h"}, closeAfter="15s")
    await scene.pods("Trouble", 5)
    [opened] = await scene.comes_to((1, "Open", 5))
    settle, close, expire = (
        _moment(opened, f"status.deadlines.{name}") for name in ("settle", "close", "expire")
    )
    assert close - settle == timedelta(seconds=10)
    # From when its request was made, if that was later.
    began = max(_moment(opened, "spec.openedAt"), _moment(opened, "metadata.creationTimestamp"))
    assert expire - began == timedelta(hours=1)
    [settled] = await scene.comes_to((1, "Settled", 5))
    assert settled["status"]["deadlines"] == {
        name: opened["status"]["deadlines"][name] for name in ("close", "expire")
    }
    assert at(settled, "status.conditions.Settled.lastTransitionTime") >= at(
        opened, "status.deadlines.settle"
    )


async def test_request_waits_for_hold_and_is_made_at_the_threshold_before_it(scene: Scene) -> None:
    await scene.policy(groupWait="1m", threshold={"signals": 3, "within": "1m"})
    await scene.pods("Trouble", 2)
    await scene.pods("Barrier", 3)
    await scene.requests_come_to("spec.name status.signals.total", [("Barrier", 3)])
    await scene.pods("Trouble", 1, first=2)
    await scene.requests_come_to(
        "spec.name status.phase status.signals.total", [("Barrier", "Settled", 3), ("Trouble", "Settled", 3)]
    )


async def test_signals_of_two_windows_of_within_do_not_reach_the_threshold_together(scene: Scene) -> None:
    await scene.policy(threshold={"signals": 4, "within": "1s"}, window={"idle": "1s"})
    detected = f"{WHERE_TO} status.conditions.StormDetected.status"
    await scene.pods("Trouble", 3)
    await scene.requests_come_to(detected, [(1, "Settled", 3, "False")])
    await scene.pods("Trouble", 3, first=3)
    await scene.requests_come_to(detected, [(1, "Settled", 6, "False")])
    await scene.pods("Trouble", 4, first=6)
    await scene.requests_come_to(detected, [(1, "Settled", 10, "True")])
    await scene.pods("Trouble", 1, first=10)
    await scene.requests_come_to(detected, [(1, "Settled", 11, "True")])


async def test_transition_times_move_only_with_the_status_of_their_condition(scene: Scene) -> None:
    # The times are in whole seconds, and it says Open between.
    await scene.policy(window={"idle": "4s"})
    await scene.pods("Trouble", 4)
    [first] = await scene.comes_to((1, "Settled", 4))
    await scene.pods("Trouble", 1)
    [second] = await scene.comes_to((1, "Settled", 5))
    moved = {
        after["type"]: after["lastTransitionTime"] != before["lastTransitionTime"]
        for before, after in zip(first["status"]["conditions"], second["status"]["conditions"], strict=True)
    }
    assert moved == {
        "StormDetected": True,
        "Settled": True,
        "Recovered": False,
        "Truncated": False,
        "Closed": False,
        "Exact": False,
        "Proceed": False,
    }
    assert at(second, "status.conditions.Recovered.message") == "4 firing, 0 resolved"
    assert {c["observedGeneration"] for c in second["status"]["conditions"]} == {1}
    assert second["status"]["observedGeneration"] == 1


def _moment(request: Manifest, path: str) -> datetime:
    return datetime.fromisoformat(at(request, path))
