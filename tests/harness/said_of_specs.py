"""What policies, Signals and single alerts are told, by the operator's own code, for fixed inputs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from unittest import mock

from tests.harness.said_of_requests import Said
from tests.harness.signals import PARSE, body
from tests.harness.values import ARRIVAL, DEFAULT, NOBODY, SNAPSHOT, T0, cluster_version, version

from stormfold.api.reasons.signals import SignalReason
from stormfold.api.signal import SignalPhase
from stormfold.api.stormpolicy import PolicySpec
from stormfold.fold.folding import discarded_before, encoded
from stormfold.model.arrival import AlertRef, Arrival, Verdict
from stormfold.model.storm import Detected
from stormfold.policy.caveats import (
    Rivals,
    looks_like_regex,
    owners_not_readable,
    request_namespace_not_found,
)
from stormfold.policy.examining import examined
from stormfold.policy.router import Router
from stormfold.policy.validation import faults
from stormfold.request import absences
from stormfold.request.deciding import Discard, Reported, decide
from stormfold.request.index import RequestIndex
from stormfold.request.places import Queued, all_taken
from stormfold.request.refusals import not_written
from stormfold.sources.events.parser import EventParser
from stormfold.sources.signals.stream import no_room
from stormfold.watches.policy import BEYOND
from stormfold.watches.reporting import in_force, lacking, not_in_force, waiting


class NothingOpen:
    """No storm is open, and no request holds anything."""

    def is_open(self, group_hash: str) -> bool:
        """No."""
        return False

    def holds(self, group_hash: str, arrival: Arrival) -> bool:
        """No."""
        return False

    def listed_in(self, alert: Arrival) -> None:
        """In none."""


EVENT = {
    "metadata": {
        "name": "web-0.18a1",
        "namespace": "shop",
        "uid": "uid-1",
        "resourceVersion": "110",
        "creationTimestamp": "2026-01-01T00:00:00Z",
    },
    "type": "Warning",
    "reason": "Failed",
    "involvedObject": {"apiVersion": "v1", "kind": "Pod", "namespace": "ops", "name": "web-0"},
}


def policies() -> Said:
    """The conditions of policies."""
    yield "Valid", in_force([])
    own = version().id
    wrong: list[tuple[Any, dict[str, Any]]] = [
        (own, {"groupBy": ["labels."]}),
        (own, {"groupBy": ["labels.a b"]}),
        (own, {"groupBy": ["pod"]}),
        (own, {"match": {"names": ["[z-a]"]}}),
        (own, {"match": {"sources": [" event"]}}),
        (own, {"window": {"idle": "0s"}}),
        (own, {"window": {"idle": "10m", "maxDuration": "5m"}}),
        (own, {"window": {"idle": "20m"}, "closeAfter": "15m"}),
        (own, {"groupWait": "2m"}),
        (own, {"requestRetention": "1m"}),
        (own, {"reopenAfter": {"succeeded": "24h"}}),
        (DEFAULT, {"groupBy": ["name"]}),
    ]
    for policy, spec in wrong:
        found = faults(policy, PolicySpec.model_validate(spec))
        yield found[0].reason, not_in_force(found)
    metadata = {"name": "own", "namespace": "shop", "uid": "uid-own"}
    _, unreadable = examined("StormPolicy", {"metadata": metadata, "spec": {"groupBy": []}})
    for found in (unreadable, [BEYOND]):
        yield found[0].reason, not_in_force(found)
    rivals = Rivals()
    both = [version(name="a"), version(name="b")]
    rivals.update(both)
    caveats = [
        request_namespace_not_found("platform"),
        owners_not_readable(["list pods", "watch pods"]),
        looks_like_regex(version(match={"names": ["Kube.*"]})),
        rivals.caveat(both[0]),
    ]
    for caveat in caveats:
        assert caveat
        yield caveat.reason, in_force([caveat])
    wait = waiting([Queued("ops", 1, 1, T0), Queued("shop", 3, 40, T0)])
    yield wait.reason, wait.message
    wait = waiting([])
    yield wait.reason, wait.message
    router, keeps = Router(), version(name="b", groupBy=["labels.row"], missingKeys="Group")
    passed = version(name="a", groupBy=["labels.rack"])
    router.update([passed, keeps], in_use=())
    router.route(replace(ARRIVAL, labels={}), NothingOpen())
    for policy_version in (passed, keeps):
        yield "GroupValueMissing", lacking(router.missing.finding(policy_version))
    yield "GroupValuesThere", lacking(None)


def signals() -> Said:
    """What the status of a Signal says, and the answer of the webhook about one alert."""
    namespaced = {"target": {"kind": "Pod", "name": "p", "namespace": "ops"}}
    for spec in ({"name": ""}, namespaced, {"startsAt": "2999-01-01T00:00:00Z"}):
        yield _rejected(PARSE(body(**spec)).outcome)
    elsewhere = body(target={"kind": "Pod", "name": "p", "namespace": "No Name"})
    elsewhere["metadata"]["namespace"] = "stormfold-system"
    yield _rejected(PARSE(elsewhere).outcome)
    yield _rejected(EventParser(NOBODY)(EVENT).outcome)
    yield _rejected(Router().route(ARRIVAL, NothingOpen()))
    for absent, policy in (
        ("shop", cluster_version()),
        ("platform", cluster_version(groupBy=["name"], requestNamespace="platform")),
    ):
        router = Router()
        router.update([policy], in_use=())
        router.absent.add(absent)
        alert = replace(ARRIVAL, ref=AlertRef(0, T0 // 1000))
        yield _rejected(router.route(alert, NothingOpen()))
    for text in (absences.NAMESPACE_MISSING, absences.NAMESPACE_GONE):
        yield _rejected(Verdict(SignalPhase.REJECTED, SignalReason.REQUEST_NAMESPACE_NOT_FOUND, text))
    discarding = replace(
        SNAPSHOT, detected=Detected.NO, terms=replace(SNAPSHOT.terms, discard=True), written=0
    )
    for storm in (discarding, replace(discarding, firing_signals=0)):
        decision = decide(storm, has_request=False, reported=Reported(), now_ms=T0 + 3_600_000)
        assert isinstance(decision, Discard)
        yield decision.reason, decision.message
    yield "OpenStormsReached", all_taken(DEFAULT, 500, "shop")
    known = discarded_before(encoded(Verdict(SignalPhase.DISCARDED, SignalReason.BELOW_THRESHOLD, "")))
    yield known.reason, known.message
    counted = RequestIndex(mock.Mock()).verdict("0123456789abcdef", 2)
    yield counted.reason, counted.message
    yield "RequestRefused", not_written("shop/storm-0123456789abcdef-2", "exceeded quota: requests")
    yield "NoRoom", no_room("shop")


def _rejected(outcome: object) -> tuple[str, str]:
    assert isinstance(outcome, Verdict)
    return outcome.reason, outcome.message
