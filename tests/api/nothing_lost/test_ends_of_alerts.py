"""Ends of alerts that come at the wrong moment: none is lost."""

from __future__ import annotations

from pathlib import Path

from tests.api.nothing_lost.conftest import NewReplica
from tests.harness.alert_sender import TAKEN, Sender
from tests.harness.eventually import eventually
from tests.harness.stage import Stage

ALERTS = 3
OTHERS = 8


async def test_ends_that_come_while_the_next_request_is_made_are_in_it(
    replica: NewReplica, sender: Sender, stage: Stage, tmp_path: Path
) -> None:
    """The other replica must not discard the group, in which nothing fires any more: then the request would
    say for ever that they fire."""
    # However slow the machine is, it is not too late for either.
    patient = {"stormfold.fold.store.CLAIM_MS": 120_000, "stormfold.kube.client.TIMEOUT_SECONDS": 120.0}
    process = await replica(kubeconfig=stage.api_proxy.kubeconfig(tmp_path / "one"), constants=patient)
    await sender.policy(window={"idle": "1s", "maxDuration": "3s"}, closeAfter="3s")
    await sender.accepted()
    assert await sender.post(process, sender.alerts(ALERTS)) == (200, {"accepted": ALERTS, **TAKEN})
    write = stage.api_proxy.hold("POST", "/remediationrequests")
    await eventually(write.arrived.is_set, within=20, what="the next request is made")
    other = await replica("replica-1", constants=patient)
    await other.obeys(1)
    ends = sender.posting(other, sender.alerts(ALERTS, firing=False))
    # It looks at what is due in order: when it has made these requests, it has seen the group.
    others = [sender.alert("pod", name=f"Other-{number}") for number in range(OTHERS)]
    assert await sender.post(other, others) == (200, {"accepted": OTHERS, **TAKEN})
    assert not ends.done(), "they are in no request"
    write.release()
    assert await ends == (200, {"accepted": ALERTS, **TAKEN})

    async def of_group() -> list[tuple[object, ...]]:
        found = await sender.counts("spec.name spec.epoch status.phase status.signals.firing")
        return [row[1:] for row in found if row[0] == "PodDown" and row[1] != 1]

    await eventually(of_group, lambda seen: seen == [(2, "Closed", 0)], within=30, what="all have ended")
