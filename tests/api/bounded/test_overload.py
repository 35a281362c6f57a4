"""Overload: more groups than may have open storms wait for a request, and users see it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.harness.eventually import eventually
from tests.harness.scene import Scene, at

GROUPS = 200
"""Groups at once; `benchmarks/overload.py` has 10,000."""
OPEN_STORMS = 40


async def waiting(scene: Scene) -> float:
    """How many groups wait, by the metric."""
    return (await scene.operator.metrics()).total("stormfold_waiting_groups")


async def wait(scene: Scene, groups: int) -> None:
    """Wait until so many groups do."""

    async def read() -> float:
        return await waiting(scene)

    await eventually(read, lambda seen: seen == groups, within=40, what=f"{groups} groups wait")


async def condition(scene: Scene, kind: str = "StormPolicy", name: str = "team") -> tuple[Any, Any]:
    """Status and reason of the policy's condition GroupsWaiting."""
    seen = await scene.api.get(kind, name, scene.namespace if kind == "StormPolicy" else None)
    where = "status.conditions.GroupsWaiting"
    return at(seen, f"{where}.status"), at(seen, f"{where}.reason")


@pytest.fixture
async def limited(scene: Scene) -> AsyncIterator[Scene]:
    """A scene in whose end nothing waits any more: its operator goes on with other tests."""
    yield scene
    if await scene.api.get("StormPolicy", "team", scene.namespace):
        limits = {"spec": {"limits": {"openStorms": 10_000}}}
        await scene.api.patch("StormPolicy", "team", scene.namespace, limits)
    else:
        await scene.close()
    await wait(scene, 0)


async def test_groups_beyond_open_storms_wait_and_get_the_places_that_are_freed(limited: Scene) -> None:
    policy = await limited.policy(limits={"openStorms": OPEN_STORMS})
    assert await condition(limited) == ("False", "OpenStormsWithinLimit")
    names = {f"Group{n:05}" for n in range(GROUPS)}
    await limited.api.create_all([limited.manifest(name, "pod-0") for name in names])
    await wait(limited, GROUPS - OPEN_STORMS)
    # A group does not wait any more once it has its place: its request is made after that.
    open_ones = await limited.requests_come_to("status.signals.total", [(1,)] * OPEN_STORMS)
    await eventually(
        lambda: condition(limited),
        lambda found: found == ("True", "OpenStormsReached"),
        what="the policy says so",
    )
    await limited.events_come_to(policy, [("Warning", "OpenStormsReached")])
    # Signals of open groups go on, and a second one of a group that waits waits behind the first.
    name = open_ones[0]["spec"]["name"]
    waits = sorted(names - {request["spec"]["name"] for request in open_ones})
    await limited.signal(waits[0], "pod-more")
    await limited.signal(name, "pod-more")
    open_ones = await limited.requests_come_to("status.signals.total", [(2,)] + [(1,)] * (OPEN_STORMS - 1))
    for request in open_ones[:10]:
        await limited.remediate(request, phase="Succeeded")
    await wait(limited, GROUPS - OPEN_STORMS - 10)
    await limited.change_policy(policy, limits={"openStorms": GROUPS})
    await wait(limited, 0)
    await eventually(
        lambda: condition(limited),
        lambda found: found == ("False", "OpenStormsWithinLimit"),
        what="it is over",
    )
    expected = dict.fromkeys(names, 1) | {name: 2, waits[0]: 2}
    await limited.requests_come_to("spec.name status.signals.total", sorted(expected.items()))


async def test_freed_place_goes_to_the_gravest_group_that_waits(limited: Scene) -> None:
    await limited.policy(limits={"openStorms": 1})
    await limited.signal("Chronic", "pod-0")
    (chronic,) = await limited.requests_come_to("spec.name status.phase", [("Chronic", "Settled")])
    for name, severity in (("Old", "warning"), ("Critical", "critical"), ("New", "warning")):
        await limited.signal(name, "pod-0", severity=severity)
        await wait(limited, {"Old": 1, "Critical": 2, "New": 3}[name])
    await limited.remediate(chronic, phase="Succeeded")
    says = "spec.name status.phase"
    _, critical = await limited.requests_come_to(says, [("Chronic", "Closed"), ("Critical", "Settled")])
    await limited.remediate(critical, phase="Succeeded")
    await limited.requests_come_to(says, [("Chronic", "Closed"), ("Critical", "Closed"), ("Old", "Settled")])


async def test_group_below_its_threshold_takes_no_place_and_waits_when_it_reaches_it(limited: Scene) -> None:
    await limited.policy(
        threshold={"signals": 2, "within": "30s"}, belowThreshold="Discard", limits={"openStorms": 1}
    )
    await limited.signal("Below", "pod-0")
    await limited.pods("Storm", 2)
    await limited.requests_come_to("spec.name status.signals.total", [("Storm", 2)])
    assert await waiting(limited) == 0
    await limited.signal("Below", "pod-1")
    await wait(limited, 1)
    (storm,) = await limited.requests()
    await limited.remediate(storm, phase="Succeeded")
    await limited.requests_come_to("spec.name status.signals.total", [("Below", 2), ("Storm", 2)])


async def test_namespace_has_its_own_open_storms_of_a_cluster_policy(limited: Scene) -> None:
    other = await limited.another_namespace()
    name = f"limited-{limited.namespace}"
    await limited.cluster_policy(name, match={"sources": [limited.namespace]}, limits={"openStorms": 2})
    for number in range(6):
        await limited.signal(f"Group{number}", source=limited.namespace)
    for number in range(2):
        await limited.signal(f"Group{number}", namespace=other, source=limited.namespace)
    await wait(limited, 4)
    await limited.requests_come_to("status.signals.total", [(1,), (1,)])
    await limited.requests_come_to("status.signals.total", [(1,), (1,)], namespace=other)
