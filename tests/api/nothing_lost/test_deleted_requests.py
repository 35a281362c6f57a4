"""An open request that is deleted is made again, also if no watch has told of its deletion."""

from __future__ import annotations

from pathlib import Path

from tests.api.nothing_lost.conftest import NewReplica
from tests.harness.alert_sender import Sender
from tests.harness.api import Api, Manifest
from tests.harness.api_proxy import ApiProxy
from tests.harness.eventually import eventually
from tests.harness.operator import OperatorProcess

SAID = "spec.epoch status.phase status.signals.total status.signals.firing"
SETTLED = (1, "Settled", 3, 3)
KEPT = [
    "withAlerts",
    "signals",
    "resources",
    "severity",
    "signalNames",
    "summary",
    "firstSeen",
    "lastSeen",
    "revision",
]
"""What a request says again by what Redis knows."""
WATCH = r"/remediationrequests\?.*watch"
EXPIRED = {"status": "Failure", "reason": "Expired", "message": "too old resource version"}


async def settled(sender: Sender, operator: OperatorProcess) -> Manifest:
    """The request of three alerts, which nothing closes for an hour."""
    await sender.policy(window={"idle": "500ms"}, closeAfter="1h")
    await sender.accepted()
    assert (await sender.post(operator, sender.alerts(3)))[0] == 200
    await sender.come_to([SETTLED], SAID)
    [request] = await sender.requests()
    return request


async def made_again(sender: Sender, deleted: Manifest) -> Manifest:
    """The request of the same name, when it says all that the deleted one said."""

    async def again() -> list[Manifest]:
        uid = deleted["metadata"]["uid"]
        return [one for one in await sender.requests() if one["metadata"]["uid"] != uid]

    await eventually(again, within=30, what="the request is made again")
    await sender.come_to([SETTLED], SAID)
    [request] = await sender.requests()
    assert request["metadata"]["name"] == deleted["metadata"]["name"]
    return request


async def test_request_that_is_deleted_while_no_operator_runs_is_made_again_with_its_alerts(
    sender: Sender, replica: NewReplica, api: Api
) -> None:
    operator = await replica()
    request = await settled(sender, operator)
    assert await operator.terminate() == 0
    await api.delete("RemediationRequest", request["metadata"]["name"], sender.namespace)
    await operator.start()
    again = await made_again(sender, request)
    assert {name: again["status"].get(name) for name in KEPT} == {
        name: request["status"][name] for name in KEPT
    }
    assert (await sender.post(operator, sender.alerts(4)))[0] == 200
    await sender.come_to([(1, "Settled", 4, 4)], SAID)
    assert (await operator.metrics()).total("stormfold_alert_lists_unreadable_total") == 0


async def test_request_whose_deletion_no_watch_has_told_is_made_again(
    sender: Sender, replica: NewReplica, api: Api, api_proxy: ApiProxy, tmp_path: Path
) -> None:
    operator = await replica(kubeconfig=api_proxy.kubeconfig(tmp_path / "proxied"))
    request = await settled(sender, operator)
    await eventually(lambda: api_proxy.open_watches(WATCH), within=40, what="requests are watched")
    refusal = api_proxy.respond("GET", WATCH, 410, EXPIRED, times=None)
    assert api_proxy.end_watches(WATCH) == 1
    await eventually(lambda: refusal.hits >= 1, within=40, what="the watch is refused")
    await api.delete("RemediationRequest", request["metadata"]["name"], sender.namespace)
    # While the watch is refused, only a list can tell of the deletion.
    await made_again(sender, request)
    metrics = await operator.metrics()
    assert metrics.total("stormfold_missed_deletions_total", kind="RemediationRequest") == 1
