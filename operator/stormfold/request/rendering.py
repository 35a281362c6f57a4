"""Decision → what the RemediationRequest says. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import orjson

from stormfold.api.conditions import Condition, ConditionStatus, ConditionType, set_condition
from stormfold.api.reason import Reason
from stormfold.api.remediationrequest import (
    Continuation,
    Counted,
    CountPrecision,
    Deadlines,
    GroupValue,
    OpeningReason,
    PolicyKind,
    PolicyRef,
    RemediationRequestSpec,
    RemediationRequestStatus,
    RequestPhase,
    RequestRef,
    SignalCounts,
)
from stormfold.api.resource import API_VERSION
from stormfold.api.signal import Target as ApiTarget
from stormfold.api.stormpolicy import PolicySpec
from stormfold.model.arrival import SEVERITIES, Target
from stormfold.model.evidence import NameCount, short_name
from stormfold.model.moments import moment
from stormfold.model.opening import Opening
from stormfold.model.storm import Snapshot, request_name
from stormfold.policy import showing
from stormfold.request import alert_list, bounding, deciding, evidence
from stormfold.request.causes import NONE_FOUND, Found
from stormfold.request.deciding import Finding
from stormfold.request.telling import display, summary

GROUP_HASH_LABEL = "stormfold.dev/group-hash"
POLICY_LABEL = "stormfold.dev/policy"
MAX_LABEL = 63


def manifest(storm: Snapshot, opening: Opening) -> dict[str, Any]:
    """The object to create: all that never changes."""
    group, policy, target = opening.group, opening.group.policy, opening.target
    spec = RemediationRequestSpec(
        group_hash=storm.group_hash,
        epoch=storm.epoch,
        group=tuple(GroupValue(key=key, value=value) for key, value in group.values),
        policy_ref=PolicyRef(
            kind=PolicyKind(policy.kind),
            name=policy.name,
            namespace=policy.namespace or None,
            uid=opening.policy_uid,
            generation=opening.policy_generation,
        ),
        policy=PolicySpec.model_validate_json(opening.policy_spec),
        name=opening.name,
        severity=opening.severity,
        target=ApiTarget(
            api_version=target.api_version, kind=target.kind, name=target.name, namespace=target.namespace
        )
        if target
        else None,
        opened_at=moment(storm.opened_ms),
        reason=OpeningReason.STILL_FIRING if storm.still_firing else OpeningReason.NEW_SIGNALS,
        previous_ref=RequestRef(name=request_name(storm.group_hash, storm.epoch - 1))
        if storm.still_firing
        else None,
    )
    labels = {GROUP_HASH_LABEL: storm.group_hash, "app.kubernetes.io/managed-by": "stormfold"}
    if len(policy.name) <= MAX_LABEL:
        labels[POLICY_LABEL] = policy.name
    return {
        "apiVersion": API_VERSION,
        "kind": "RemediationRequest",
        "metadata": {
            "name": request_name(storm.group_hash, storm.epoch),
            "namespace": group.request_namespace,
            "labels": labels,
        },
        "spec": spec.manifest(),
    }


def status(
    storm: Snapshot,
    phase: RequestPhase,
    *,
    closed_for: Reason | None,
    spec: RemediationRequestSpec,
    namespace: str,
    before: Iterable[Condition],
    reported: Mapping[ConditionType, Finding],
    generation: int,
    now_ms: int,
    made_ms: int = 0,
    held_ms: int = 0,
    proceeds: bool = True,
    shown: bytes | None = None,
    sampled: int = 0,
    found: Found = NONE_FOUND,
) -> dict[str, Any]:
    """The status, without `remediation`, which is the consumer's. `spec` and `namespace` are those of the
    request, `before` the conditions there now, `reported` those about what the consumer says; `proceeds` says
    whether a consumer may begin. `shown` is what it shows of its signals now, after so many samples; None: it
    says nothing yet. `found` is what explains it."""
    names = storm.evidence.names or _first_name(storm, spec)
    held = None if shown is None else orjson.loads(shown)
    joined = evidence.joined(
        storm.evidence,
        names,
        found.causes,
        held=held,
        sampled=sampled,
        shown=showing.samples(spec.policy, spec.policy_ref.namespace or ""),
        first_ms=storm.first_ms or now_ms,
    )
    # By hand, since models of so many take as long as all the rest.
    all_listed = [_affected(target, signals) for target, signals in storm.resources]
    listed = bounding.within(all_listed, joined, storm.terms.resources)
    if len(listed) < len(all_listed):
        storm = replace(storm, resources=storm.resources[: len(listed)], truncated=True)
    conditions = with_findings(
        before,
        {
            ConditionType.STORM_DETECTED: deciding.storm_detected(storm),
            ConditionType.SETTLED: deciding.settled(storm, phase),
            ConditionType.RECOVERED: deciding.recovered(storm),
            ConditionType.TRUNCATED: deciding.truncated(storm),
            ConditionType.CLOSED: deciding.closed(closed_for) if closed_for else deciding.not_closed(storm),
            ConditionType.EXACT: deciding.exact(storm),
            **reported,
        },
        generation=generation,
        now_ms=now_ms,
    )
    until = deciding.deadlines(storm, made_ms=made_ms, held_ms=held_ms)
    over = phase is RequestPhase.CLOSED
    rendered = RemediationRequestStatus(
        observed_generation=generation,
        phase=phase,
        signals=SignalCounts(
            total=storm.total,
            firing=storm.firing,
            resolved=storm.resolved,
            stale=storm.stale_alerts,
            approximate=storm.approximate,
        ),
        severity=SEVERITIES[storm.severity],
        first_seen=moment(storm.first_ms),
        last_seen=moment(storm.last_ms),
        summary=summary(storm, names, found.causes, group=spec.group),
        affected_resource_count=storm.affected,
        affected_resource_count_precision=CountPrecision.APPROXIMATE
        if storm.truncated
        else CountPrecision.EXACT,
        truncated=storm.truncated,
        rate_per_minute=storm.rate_per_minute if phase is RequestPhase.OPEN else 0,
        revision=storm.revision,
        display=display(spec, namespace),
        deadlines=None
        if over
        else Deadlines(
            settle=None if phase is RequestPhase.SETTLED else moment(until.settle),
            close=None if until.close is None else moment(until.close),
            expire=moment(until.expire) if proceeds else None,
        ),
        conditions=conditions,
        continuation=Continuation(
            incarnation=storm.incarnation,
            origin=storm.origin,
            folded=storm.folded,
            alerts=storm.alerts,
            unlisted_alerts=storm.unlisted_alerts,
            firing_alerts=storm.firing_alerts,
            sampled=storm.evidence.sampled,
            causes=found.kept,
            left_out=storm.left_out,
            counted_signals=_counted(storm.through),
            counted_events=_counted(storm.event_through),
        ),
        with_alerts=None if storm.tracked_alerts is None else alert_list.encoded(storm.tracked_alerts),
    ).manifest()
    rendered["resources"] = listed
    left = bounding.room(storm.terms.resources) - bounding.taken(rendered)
    rendered |= evidence.changes(bounding.cut(joined, left), held)
    # A merge patch keeps what it does not name: a deadline that is no more has to be named.
    rendered["deadlines"] = (
        {"settle": None, "close": None, "expire": None} | rendered["deadlines"] if not over else None
    )
    return rendered


def _first_name(storm: Snapshot, spec: RemediationRequestSpec) -> dict[str, NameCount]:
    """The name of the first signal: all have it if the policy groups by it, else at least that one."""
    if not storm.total:
        return {}
    all_have_it = "name" in spec.policy.group_by
    count = NameCount(storm.total) if all_have_it else NameCount(1, max(0, storm.total - 1))
    return {short_name(spec.name): count}


def _affected(target: Target, signals: int) -> dict[str, Any]:
    of = {"namespace": target.namespace} if target.namespace is not None else {}
    return {
        "apiVersion": target.api_version,
        "kind": target.kind,
        **of,
        "name": target.name,
        "signals": signals,
    }


def _counted(through: int) -> Counted | None:
    return Counted(resource_version=str(through)) if through else None


def with_findings(
    before: Iterable[Condition], findings: dict[ConditionType, Finding], *, generation: int, now_ms: int
) -> tuple[Condition, ...]:
    """The conditions with what was found; those of others stay, as far as there is room."""
    conditions = tuple(before)
    for kind, finding in findings.items():
        conditions = set_condition(
            conditions,
            Condition(
                type=kind,
                status=ConditionStatus.UNKNOWN
                if finding.status is None
                else ConditionStatus.TRUE
                if finding.status
                else ConditionStatus.FALSE,
                reason=finding.reason,
                message=finding.message,
                observed_generation=generation,
                last_transition_time=moment(now_ms),
            ),
        )
    return conditions


def closed_conditions(
    before: Iterable[Condition], reason: Reason, *, generation: int, now_ms: int
) -> list[dict[str, Any]]:
    """The conditions of a request that is closed without a new snapshot."""
    findings = {ConditionType.CLOSED: deciding.closed(reason)}
    return [c.manifest() for c in with_findings(before, findings, generation=generation, now_ms=now_ms)]
