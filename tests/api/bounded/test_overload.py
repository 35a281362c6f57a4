"""Overload: more groups than may have a storm share a request, with exact counts, and users see it."""

from __future__ import annotations

from tests.harness.eventually import eventually
from tests.harness.operator import OperatorProcess
from tests.harness.scene import Scene, at, rows

GROUPS = 1_000
"""Groups at once; `benchmarks/overload.py` has 10,000."""
OPEN_STORMS = 40


async def all_counted(operator: OperatorProcess, folded: int) -> None:
    """Wait until so many signals are in requests and none waits for one; to list large requests would slow
    them."""

    async def state() -> tuple[bool, float]:
        metrics = await operator.metrics()
        return metrics.total("stormfold_signals_folded_total") >= folded, metrics.total(
            "stormfold_signals_in_flight"
        )

    await eventually(state, lambda seen: seen == (True, 0), within=40, what=f"{folded} signals are counted")


async def test_groups_beyond_open_storms_become_one_request_that_says_so(scene: Scene) -> None:
    policy = await scene.policy(limits={"openStorms": OPEN_STORMS})
    assert at(policy, "status.conditions.Overflowed.reason") in {None, "OpenStormsWithinLimit"}
    await scene.api.create_all([scene.manifest(f"Group{n:05}", f"pod-{n}") for n in range(GROUPS)])
    await all_counted(scene.operator, GROUPS)
    found = sorted(rows(await scene.requests(), "spec.overflow status.signals.total"))
    assert found == [(False, 1)] * OPEN_STORMS + [(True, GROUPS - OPEN_STORMS)]

    async def condition() -> tuple[object, object]:
        seen = await scene.api.get("StormPolicy", "team", scene.namespace)
        return at(seen, "status.conditions.Overflowed.status"), at(
            seen, "status.conditions.Overflowed.reason"
        )

    await eventually(
        condition, lambda found: found == ("True", "OpenStormsReached"), what="the policy says so"
    )
    await scene.events_come_to(policy, [("Warning", "OpenStormsReached")])
    for request in await scene.requests():
        await scene.remediate(request, phase="Succeeded")
    await eventually(
        condition,
        lambda found: found == ("False", "OpenStormsWithinLimit"),
        what="the policy says that it is over",
    )


async def test_namespace_has_its_own_open_storms_of_a_cluster_policy(scene: Scene) -> None:
    other = await scene.another_namespace()
    name = f"limited-{scene.namespace}"
    await scene.cluster_policy(name, match={"sources": [scene.namespace]}, limits={"openStorms": 2})
    for number in range(6):
        await scene.signal(f"Group{number}", source=scene.namespace)
    for number in range(2):
        await scene.signal(f"Group{number}", namespace=other, source=scene.namespace)
    await scene.requests_come_to("spec.overflow status.signals.total", [(False, 1), (False, 1), (True, 4)])
    await scene.requests_come_to(
        "spec.overflow status.signals.total", [(False, 1), (False, 1)], namespace=other
    )
