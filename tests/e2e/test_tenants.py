"""Tenants stay apart: one that goes, or floods, is not noticed by the others."""

from __future__ import annotations

import asyncio
import time

from tests.e2e.cluster import Cluster, restarts
from tests.e2e.conftest import NewNamespace, NewTeam
from tests.harness.api import Api
from tests.harness.eventually import eventually
from tests.harness.scene import rows
from tests.harness.team import Team

from stormfold.request.absences import NAMESPACE_SECONDS

FLOOD = 2_000
UNDER_WAY = 300
"""So many of the flood are there when the other tenant reports."""
REQUEST_SECONDS = 5.0
"""Within this a tenant's single signal has its request, beside what the API server takes longer."""
CALLS = 4
"""So often the API server is called on the way to a request."""
GONE_SECONDS = 30.0
"""Within this a namespace is gone. An empty one takes the namespace controller 5 s."""


async def count(api: Api, namespace: str) -> int:
    """How many Signals a namespace has, or had deleted after they were counted."""
    page = await api.request("GET", f"/apis/stormfold.dev/v1alpha1/namespaces/{namespace}/signals", limit="1")
    return len(page["items"]) + page["metadata"].get("remainingItemCount", 0)


async def test_namespace_with_an_open_storm_is_gone_at_once(
    cluster: Cluster, api: Api, new_team: NewTeam
) -> None:
    leaving = await new_team(window={"idle": "10m"})
    staying = await new_team()
    (before,) = await cluster.pods()
    await leaving.report("disk-full", 20)
    await leaving.counted("disk-full")
    # These are taken in as the namespace goes, some of them too late for a request.
    await asyncio.gather(leaving.report("pod-down", 20), staying.report("disk-full", 3))
    await api.delete("Namespace", leaving.namespace)

    async def gone() -> bool:
        return await api.get("Namespace", leaving.namespace) is None

    await eventually(gone, within=GONE_SECONDS, what="the namespace is gone")
    await staying.report("disk-full", 4)
    await staying.assert_exact()

    async def waiting() -> float:
        return (await cluster.metrics()).total("stormfold_signals_in_flight")

    # What is left of it waits for as long as a namespace may be away.
    await eventually(
        waiting,
        lambda signals: signals == 0,
        within=NAMESPACE_SECONDS + 60,
        what="nothing waits for a request",
    )
    (after,) = await cluster.pods()
    assert (after["metadata"]["uid"], restarts(after)) == (before["metadata"]["uid"], 0)


async def test_flood_of_one_tenant_does_not_delay_the_other(
    cluster: Cluster, api: Api, team: Team, new_namespace: NewNamespace
) -> None:
    other = await new_namespace()
    flood = asyncio.create_task(team.report("flood", FLOOD))
    await eventually(lambda: count(api, team.namespace), lambda n: n >= UNDER_WAY, within=60, what="a flood")

    signal = team.next_signal("lonely")
    signal["metadata"]["namespace"] = other
    assert not flood.done()
    started = time.monotonic()
    await api.create(signal)
    soon = REQUEST_SECONDS + CALLS * (time.monotonic() - started)
    requests = await eventually(
        lambda: api.list("RemediationRequest", other), within=60, what="the other tenant has its request"
    )
    assert time.monotonic() - started < soon
    marked = await eventually(
        lambda: api.get("Signal", signal["metadata"]["name"], other),
        lambda seen: "status" in seen,
        within=60,
        what="the other tenant's Signal says where it went",
    )
    assert time.monotonic() - started < soon
    assert rows([marked], "status.phase status.remediationRequest.name") == [
        ("Folded", requests[0]["metadata"]["name"])
    ]
    await flood
    assert rows(requests, "spec.name spec.epoch") == [("lonely", 1)]

    expected = [("lonely", 1, "Open", 1)]
    await eventually(
        lambda: api.list("RemediationRequest", other),
        lambda found: rows(found, "spec.name spec.epoch status.phase status.signals.total") == expected,
        within=30,
        what=str(expected),
    )
    await team.counted("flood")
