"""What requests and gates say, by the operator's own code, for fixed inputs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from tests.harness.gates import SUBJECT, gate, hold, time_at
from tests.harness.values import PHASES, POD, SNAPSHOT, T0

from stormfold.api.conditions import Condition, ConditionStatus, ConditionType
from stormfold.api.reasons.requests import RequestReason
from stormfold.api.remediationrequest import (
    GroupValue,
    PolicyRef,
    RemediationRequestSpec,
    RemediationRequestStatus,
    RequestPhase,
)
from stormfold.api.stormpolicy import CloseOn
from stormfold.gate.judging import Gathered, judge, place_lost
from stormfold.gate.reporting import status as gate_status
from stormfold.model.evidence import NameCount
from stormfold.model.moments import moment
from stormfold.model.storm import Detected
from stormfold.request import deciding, telling
from stormfold.request.causes import Cause
from stormfold.request.remediation import Claim, Report, findings
from stormfold.request.writing import ABOUT_REPORTS

Said = Iterator[tuple[str, str]]
"""Reasons, or what is called, each with the message."""
LATER = T0 + 60_000


def conditions() -> Said:
    """The conditions of requests, but those about what a consumer reports."""
    closing = replace(SNAPSHOT, total=2, still_firing=True)
    below = replace(SNAPSHOT, detected=Detected.NO, terms=replace(SNAPSHOT.terms, threshold_resources=3))
    recovery = {"firing": 0, "resolved": 6, "stale": 0, "stale_after_ms": 86_400_000, "approximate": False}
    firing = replace(SNAPSHOT, firing_alerts=3)
    for found in (
        deciding.storm_detected(closing),
        deciding.storm_detected(SNAPSHOT),
        deciding.storm_detected(
            replace(below, detected=Detected.BY_RESOURCES),
        ),
        deciding.storm_detected(below),
        deciding.settled(SNAPSHOT, RequestPhase.OPEN),
        deciding.settled(SNAPSHOT, RequestPhase.SETTLED),
        deciding.settled(replace(SNAPSHOT, left_out=9), RequestPhase.SETTLED),
        deciding.recovery(**recovery),
        deciding.recovery(**recovery | {"firing": 5, "stale": 2}),
        deciding.recovery(**recovery | {"stale": 1}),
        deciding.recovery(**recovery | {"approximate": True}),
        deciding.truncated(SNAPSHOT),
        deciding.truncated(replace(SNAPSHOT, truncated=True, resource_count=900)),
        deciding.exact(SNAPSHOT),
        deciding.exact(replace(SNAPSHOT, left_out=9, unknown_alerts=4)),
        deciding.exact(replace(SNAPSHOT, unknown_alerts=1)),
        deciding.exact(replace(SNAPSHOT, alerts=5000, alerts_beyond=904)),
        *(deciding.closed(reason) for reason in deciding.CLOSING_SENTENCES),
        deciding.not_closed(SNAPSHOT),
        deciding.not_closed(firing),
        deciding.not_closed(
            replace(firing, firing=3, terms=replace(firing.terms, close_on=CloseOn.RECOVERED))
        ),
    ):
        yield found.reason, found.message


def reports() -> Said:
    """The conditions about what a consumer reports; the Events about it say the same."""
    kinds = (
        ConditionType.CLAIM_EXPIRED,
        ConditionType.REMEDIATION_PHASE_UNKNOWN,
        ConditionType.STALE_REMEDIATION,
    )
    before = [
        Condition(type=kind, status=ConditionStatus.TRUE, reason="Before", last_transition_time=moment(T0))
        for kind in kinds
    ]
    claim = Claim("robot-1", 2, LATER)
    for report, now_ms, over in (
        (Report("Suceeded", 2), T0, False),
        (Report("Succeeded", 1, claim), T0, False),
        (Report("InProgress", 2, claim), LATER, False),
        (Report("InProgress", 2, claim), T0, True),
        (Report(), T0, False),
    ):
        found = findings(report, before, PHASES, revision=2, now_ms=now_ms, over=over)
        yield from ((finding.reason, finding.message) for finding in found.values())


def decisions() -> Said:
    """What `status.decision` says."""
    since = {"since": time_at(0)}
    canary = {"uid": "uid-1", "namespace": "shop", "name": "storm-1", "canary": True} | since
    probing = {"state": "Probing", "places": [canary]}
    other = {"state": "Probing", "places": [canary | {"uid": "uid-2", "name": "storm-2"}]}
    tripped = {"state": "Tripped", "message": "12 requests within 5m, limit 10"} | since
    for gates in (
        [],
        [gate()],
        [gate(breaker={}, status=probing)],
        [gate(holds=[hold(until=time_at(3600))])],
        [gate(holds=[hold(verdict="Stop")])],
        [gate(breaker={"cooldown": "10m"}, status=tripped)],
        [gate(breaker={}, status=other)],
        [gate(budget={"concurrent": 1, "perHour": 6})],
        [gate(f"gate-{number}", holds=[hold()]) for number in range(5)],
    ):
        found = judge(Gathered(SUBJECT, tuple(gates), T0))
        yield found.reason, found.message
    lost = place_lost(gate(budget={"concurrent": 1}), SUBJECT, T0)
    yield lost.reason, lost.message


def gates() -> Said:
    """The conditions of gates."""
    for found, more in (
        (gate(), {}),
        (gate(), {"governed": []}),
        (gate(), {"in_force": False}),
        (gate(selector={"policies": [""]}), {}),
        (gate(namespace="shop", selector={"namespaces": ["billing"]}), {"governs_all": False}),
        (gate(holds=[hold(until=time_at(0))]), {}),
        (gate(holds=[hold(until="0000-01-01T00:00:00Z")]), {}),
        (gate(budget={"concurrent": 0}), {}),
        (gate(breaker={"percentOfNodes": 10}), {"nodes_denied": True}),
    ):
        given: dict[str, Any] = {
            "in_force": True, "governs_all": True, "governed": [SUBJECT], "nodes_denied": False
        }  # fmt: skip
        said = gate_status(found, **(given | more), now_ms=LATER)
        yield from ((condition.reason, condition.message) for condition in said.conditions)


def events() -> Said:
    """The Events of requests. Those of policies and Signals say what their conditions and status say."""
    closed = Condition(
        type=ConditionType.CLOSED,
        status=ConditionStatus.TRUE,
        reason=RequestReason.QUIET_FOR_CLOSE_AFTER,
        message=deciding.CLOSING_SENTENCES[RequestReason.QUIET_FOR_CLOSE_AFTER],
        last_transition_time=moment(T0),
    )
    policy = PolicyRef.model_construct(name="default")
    spec = RemediationRequestSpec.model_construct(policy_ref=policy)
    names = {"PodDown": NameCount(7)}
    summary = telling.summary(SNAPSHOT, names)
    for before, phase in (
        (None, RequestPhase.OPEN),
        (RequestPhase.OPEN, RequestPhase.SETTLED),
        (RequestPhase.SETTLED, RequestPhase.OPEN),
        (RequestPhase.SETTLED, RequestPhase.CLOSED),
    ):
        status = RemediationRequestStatus.model_construct(
            phase=phase, summary=summary, revision=2, conditions=(closed,)
        )
        was = RemediationRequestStatus.model_construct(phase=before, revision=2) if before else None
        for reason, message in telling.transitions(was, status):
            yield reason, telling.with_policy(message, spec)
    yield RequestReason.ALERT_LIST_UNREADABLE, telling.with_policy(telling.UNREADABLE_LIST, spec)
    claim = Claim("robot-1", 2, T0)
    for report in (Report("Suceeded", 2), Report("Succeeded", 1), Report("InProgress", 2, claim)):
        for kind, finding in findings(report, (), PHASES, revision=2, now_ms=LATER).items():
            yield ABOUT_REPORTS[kind], telling.with_policy(finding.message, spec)


def summaries() -> Said:
    """`status.summary`."""
    names = {"KubePodNotReady": NameCount(120), "KubePodCrashLooping": NameCount(57)}
    again = replace(SNAPSHOT, still_firing=True, total=0)
    for storm in (
        replace(SNAPSHOT, total=177, resources=((POD, 174),), resource_count=174),
        replace(SNAPSHOT, total=1, resources=(), resource_count=0),
        replace(SNAPSHOT, total=900, truncated=True, resource_count=400),
        again,
        replace(again, firing=0),
    ):
        yield "summary", telling.summary(storm, names)
    most = (Cause("node", "worker-07", 171, 96, 40), Cause("labels.image", "web:1", 90, 50, None, True))
    yield "summary", telling.summary(replace(SNAPSHOT, total=177), names, most)
    grouped = (GroupValue(key="namespace", value="shop"), GroupValue(key="labels.node", value="worker-07"))
    yield "summary", telling.summary(replace(SNAPSHOT, total=177), names, group=grouped)
