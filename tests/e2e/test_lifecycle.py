"""What is installed is upgraded, taken away and brought back while a storm is open: the storm goes on."""

from __future__ import annotations

from typing import Any

from tests.e2e.cluster import SYSTEM, Cluster, restarts
from tests.e2e.installed import KEPT, KINDS, labelled, later_crds, named, uids
from tests.e2e.ongoing import going_on
from tests.harness.api import Api
from tests.harness.eventually import eventually
from tests.harness.team import Team

SIGNALS = "/apis/stormfold.dev/v1alpha1/namespaces/{}/signals"
LEASE = "Lease/stormfold-ingest"
SAYS = f"""\
stormfold: kept, so that a new `make deploy` goes on where this one ended:
  the CRDs with all their objects
  the roles stormfold-view, stormfold-edit and stormfold-consumer
  the namespace {SYSTEM}, and in it
    the Lease, which says up to where everything is counted
    the Secret stormfold-redis and Valkey's volume
PURGE=1 deletes these too
"""


async def test_storm_goes_on_while_its_kinds_are_upgraded_and_taken_back(
    cluster: Cluster, api: Api, team: Team
) -> None:
    async def ticket() -> Any:
        """What the API server would keep of a new Signal's ticket."""
        signal = team.next_signal("ticket")
        signal["spec"]["ticket"] = "T-1"
        return (await api.request("POST", SIGNALS.format(team.namespace), signal, dryRun="All"))["spec"].get(
            "ticket"
        )

    (pod,) = await cluster.pods()
    async with going_on(team, api, "pod-down"):
        there = await uids(cluster.kubectl, team.namespace)
        assert await ticket() is None
        later = await later_crds(cluster.kubectl)
        await cluster.kubectl("apply", "--server-side", "-f", "-", stdin=later)
        await eventually(ticket, lambda kept: kept == "T-1", within=30, what="the later kinds")
        assert [(one["metadata"]["uid"], restarts(one)) for one in await cluster.pods()] == [
            (pod["metadata"]["uid"], 0)
        ]
        # A watch that is under way shows the kinds as they were when it began.
        await cluster.kubectl("-n", SYSTEM, "delete", "pod", pod["metadata"]["name"])
        (pod,) = await cluster.ready()
        signal = team.next_signal("pod-down")
        signal["spec"]["ticket"] = "T-2"
        await api.create(signal)
        team.expect("pod-down", [pod_name := signal["metadata"]["name"]])
        await eventually(
            team.storms,
            lambda storms: storms["pod-down"][0].resources.get(pod_name) == 1,
            within=60,
            what="it is counted",
        )
        await cluster.script("crds")
        await eventually(ticket, lambda kept: kept is None, within=30, what="our kinds")
    await team.assert_exact()
    assert there.items() <= (await uids(cluster.kubectl, team.namespace)).items()
    (after,) = await cluster.pods()
    assert (after["metadata"]["uid"], restarts(after)) == (pod["metadata"]["uid"], 0)


async def test_storm_goes_on_after_undeploy_and_a_new_deploy(changing: Cluster, team: Team) -> None:
    await team.report("pod-down", 7)
    await team.counted("pod-down")
    there = await uids(changing.kubectl, team.namespace)
    said = await changing.undeploy()
    assert said.endswith(SAYS)
    left = await eventually(
        lambda: labelled(changing.kubectl), lambda found: found.keys() == KEPT, within=60, what="the rest"
    )
    leases = await changing.kubectl.json("-n", SYSTEM, "get", "leases")
    assert [(named(lease), lease["spec"]["holderIdentity"]) for lease in leases["items"]] == [(LEASE, "")]
    objects = await changing.kubectl.json("-n", team.namespace, "get", KINDS)
    for metadata in (*left.values(), *(item["metadata"] for item in objects["items"])):
        assert "deletionTimestamp" not in metadata
        assert "finalizers" not in metadata
    await team.report("pod-down", 6)
    await changing.deploy()
    await changing.ready()
    await team.report("pod-down", 5)
    await team.assert_exact()
    assert there.items() <= (await uids(changing.kubectl, team.namespace)).items()
