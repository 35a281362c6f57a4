"""A group whose alerts fire on waits for its next request. Who skips the closed one before stops it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.api.nothing_lost.conftest import NewReplica
from tests.harness.alert_sender import Sender
from tests.harness.api import Api, Manifest
from tests.harness.api_proxy import ApiProxy
from tests.harness.eventually import eventually
from tests.harness.operator import OperatorProcess
from tests.harness.scene import WITHIN_SECONDS, at, rows

TERMS: Manifest = {"window": {"idle": "500ms"}, "closeAfter": "1h", "reopenAfter": {"failed": "8s"}}
SAID = "spec.name spec.epoch spec.reason status.phase status.signals.total status.signals.firing"
FAILED = ("PodDown", 1, "NewSignals", "Closed", 3, 3)
NEXT = ("PodDown", 2, "NewSignals", "Settled", 1, 4)
REFUSED = {"status": "Failure", "reason": "Forbidden", "message": "exceeded quota"}


async def failed(sender: Sender, operator: OperatorProcess, **terms: Any) -> Manifest:
    """The request of three alerts that fire, which a consumer could not fix."""
    await sender.policy(**TERMS | terms)
    await sender.accepted()
    assert (await sender.post(operator, sender.alerts(3)))[0] == 200
    await sender.requests_come_to("status.phase", [("Settled",)])
    [request] = await sender.requests()
    await sender.remediate(request, phase="Failed")
    await sender.requests_come_to("status.phase", [("Closed",)])
    return request


async def stopped(operator: OperatorProcess) -> None:
    """Wait until the group does not wait any more."""

    async def discarded() -> float:
        metrics = await operator.metrics()
        return metrics.total("stormfold_groups_discarded_total", reason="NothingFiring")

    await eventually(discarded, lambda seen: seen == 1, within=WITHIN_SECONDS, what="the group does not wait")


async def next_is_of_a_new_alert(sender: Sender, operator: OperatorProcess) -> None:
    """Post the known alerts and a new one, which alone counts."""
    assert (await sender.post(operator, sender.alerts(4)))[0] == 200

    async def of_pods() -> list[tuple[Any, ...]]:
        return sorted(row for row in rows(await sender.requests(), SAID) if row[0] == "PodDown")

    await eventually(of_pods, lambda seen: seen == [FAILED, NEXT], within=WITHIN_SECONDS)


async def test_skipped_stops_a_group_that_waits_for_a_place(
    sender: Sender, replica: NewReplica, api: Api
) -> None:
    operator = await replica()
    first = await failed(sender, operator, limits={"openStorms": 1})
    await sender.pods("Other", 3)  # takes the place
    await sender.requests_come_to("spec.name status.phase", [("Other", "Settled"), ("PodDown", "Closed")])

    async def waiting() -> Any:
        [policy] = await api.list("StormPolicy", sender.namespace)
        return at(policy, "status.conditions.GroupsWaiting.status")

    await eventually(waiting, lambda seen: seen == "True", within=WITHIN_SECONDS, what="it waits visibly")
    await sender.remediate(first, phase="Skipped")
    await stopped(operator)
    await eventually(waiting, lambda seen: seen == "False", within=WITHIN_SECONDS, what="none waits")
    [other] = [one for one in await sender.requests() if one["spec"]["name"] == "Other"]
    await sender.remediate(other, phase="Succeeded")  # leaves the place
    await next_is_of_a_new_alert(sender, operator)


async def test_annotation_stops_a_group_whose_next_request_is_refused(
    sender: Sender, replica: NewReplica, api: Api, api_proxy: ApiProxy, tmp_path: Path
) -> None:
    operator = await replica(kubeconfig=api_proxy.kubeconfig(tmp_path / "proxied"))
    first = await failed(sender, operator)
    refusal = api_proxy.respond("POST", r"/remediationrequests\b", 403, REFUSED, times=None)
    await eventually(lambda: refusal.hits >= 1, within=WITHIN_SECONDS, what="the next one is refused")
    asks = {"metadata": {"annotations": {"stormfold.dev/close": "true"}}}
    await api.patch("RemediationRequest", first["metadata"]["name"], sender.namespace, asks)
    await stopped(operator)
    api_proxy.remove(refusal)
    await next_is_of_a_new_alert(sender, operator)
