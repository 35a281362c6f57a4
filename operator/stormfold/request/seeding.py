"""Seeding: what a storm that Redis has lost is continued from, as its request tells it."""

from collections.abc import Sequence

from stormfold.api.conditions import ConditionType
from stormfold.api.reasons.requests import RequestReason
from stormfold.api.remediationrequest import Continuation as StoredContinuation
from stormfold.api.remediationrequest import OpeningReason, RequestPhase
from stormfold.model.arrival import Target
from stormfold.model.moments import milliseconds
from stormfold.model.storm import Detected, Seed, TrackedAlert
from stormfold.request.evidence import names_of
from stormfold.request.reading import Request, believed, through_of


def seed_of(request: Request) -> Seed:
    """The storm as its request tells it."""
    spec, status = request.resource.spec, request.resource.status
    if status is None or status.phase is None:
        # Made, but its status was never written: nothing is counted in it yet.
        return Seed(epoch=request.epoch - 1, closed=True)
    if request.closed:
        return closed_seed(request)
    stored = status.continuation or StoredContinuation()
    tracked = request.tracked_alerts
    names, unnamed = names_of(request.shown, believed(status.signals.total))
    detected = request.holding(ConditionType.STORM_DETECTED)
    return Seed(
        epoch=request.epoch,
        closed=False,
        incarnation=stored.incarnation,
        total=believed(status.signals.total),
        folded=request.folded,
        firing=believed(status.signals.firing),
        resolved=believed(status.signals.resolved),
        severity=status.severity.rank if status.severity else 0,
        first_ms=milliseconds(status.first_seen),
        last_ms=milliseconds(status.last_seen),
        opened_ms=milliseconds(spec.opened_at),
        arrived_ms=milliseconds(status.deadlines.close) - spec.policy.close_after_ms
        if status.deadlines and status.deadlines.close
        else milliseconds(status.last_seen),
        detected=Detected.NO
        if detected is None
        else Detected.BY_RESOURCES
        if detected.reason == RequestReason.RESOURCE_THRESHOLD_REACHED
        else Detected.BY_SIGNALS,
        settled=status.phase is RequestPhase.SETTLED,
        revision=believed(status.revision),
        through=through_of(stored.counted_signals),
        event_through=through_of(stored.counted_events),
        alerts=believed(stored.alerts),
        tracked_alerts=tracked or (),
        unknown_alerts=_unlisted(stored, tracked),
        firing_alerts=believed(min(stored.firing_alerts, status.signals.firing)),
        stale_alerts=believed(status.signals.stale),
        still_firing=spec.reason is OpeningReason.STILL_FIRING,
        left_out=believed(stored.left_out),
        sampled=request.sampled,
        names={} if "name" in spec.policy.group_by else names,
        names_floor=0 if "name" in spec.policy.group_by else unnamed,
        resource_count=believed(status.affected_resource_count),
        truncated=status.truncated,
        resources={
            Target(r.api_version, r.kind, r.name, r.namespace): believed(r.signals) for r in request.listed()
        },
    )


def closed_seed(request: Request) -> Seed:
    """What a storm that is over leaves to the next one of its group."""
    status = request.resource.status
    assert status is not None
    stored, tracked = status.continuation or StoredContinuation(), request.tracked_alerts
    return Seed(
        epoch=request.epoch,
        closed=True,
        incarnation=stored.incarnation,
        folded=request.folded,
        severity=status.severity.rank if status.severity else 0,
        through=through_of(stored.counted_signals),
        event_through=through_of(stored.counted_events),
        arrived_ms=milliseconds(status.last_seen),
        tracked_alerts=tracked or (),
        unknown_alerts=_unlisted(stored, tracked),
    )


def _unlisted(stored: StoredContinuation, tracked: Sequence[TrackedAlert] | None) -> int:
    """How many alerts of a request its list does not name: all of them if it is none."""
    return believed(stored.alerts if tracked is None else stored.unlisted_alerts)
