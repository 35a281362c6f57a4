"""What a storm begins with in Redis that goes on from its request, as fold.lua is told it."""

from collections.abc import Mapping

from stormfold.api.stormpolicy import CloseOn
from stormfold.fold.resources import encoded_resource, resource_field, shared_prefix
from stormfold.model.storm import Seed, State, Terms

CLOSED_FOLDED = 2**53 - 1
"""With this much folded a closed request is newer than whatever Redis has of its epoch."""
Args = list[str | int]


def terms_fields(terms: Terms) -> dict[str, int | str]:
    """The terms as fields of a storm, without those that are 0, and `close_on` if it is not Auto."""
    fields: dict[str, int | str] = {
        "threshold_signals": terms.threshold_signals,
        "threshold_resources": terms.threshold_resources,
        "within_ms": terms.within_ms,
        "group_wait_ms": terms.group_wait_ms,
        "discard": int(terms.discard),
        "idle_ms": terms.idle_ms,
        "max_duration_ms": terms.max_duration_ms,
        "close_after_ms": terms.close_after_ms,
        "resource_limit": terms.resources,
        "close_on": "" if terms.close_on is CloseOn.AUTO else terms.close_on.value,
        "stale_after_ms": terms.stale_after_ms,
    }
    return {field: value for field, value in fields.items() if value}


def seed_args(seed: Seed, terms: Terms) -> Args:
    """The seed as fold.lua takes it: what it is of, how many of each kind follow, and they."""
    parts: tuple[Mapping[str, str | int], ...] = (
        seed_fields(seed, terms),
        {} if seed.closed else seed_resources(seed),
        seed_alerts(seed),
        seed_names(seed),
    )
    args: Args = [
        seed.epoch,
        CLOSED_FOLDED if seed.closed else seed.folded,
        f"{seed.incarnation}:{seed.folded}" if seed.closed else "",
        *(2 * len(pairs) for pairs in parts),
    ]
    for pairs in parts:
        for field, value in pairs.items():
            args += (field, value)
    return args


def seed_fields(seed: Seed, terms: Terms) -> dict[str, str | int]:
    """What a storm that goes on from its request begins with in Redis, without its incarnation."""
    fields: dict[str, str | int] = {
        "epoch": seed.epoch,
        "state": State.CLOSED if seed.closed else State.OPEN,
        "signals_floor": seed.through,
        "events_floor": seed.event_through,
        "alerts_unknown": seed.unknown_alerts,
        "stale_after_ms": terms.stale_after_ms,
    }
    if not seed.closed:
        fields |= _open_fields(seed) | terms_fields(terms)
    elif any(alert.firing for alert in seed.tracked_alerts):
        fields["severity_before"] = seed.severity
    told = {field: value for field, value in fields.items() if value not in (0, "")}
    if not seed.closed and seed.resources:
        told["resource_prefix"] = _prefix_of(seed)
    return told


def seed_alerts(seed: Seed) -> dict[str, str]:
    """The same of its alerts; the last word of each came when the request was last told of anything."""
    said = max(0, seed.arrived_ms)
    return {
        alert.id: f"{'f' if alert.firing else 's' if alert.stale else 'r'}{alert.starts_s},{said}"
        for alert in seed.tracked_alerts
    }


def seed_names(seed: Seed) -> dict[str, str]:
    """The same of the names of its signals, as names.lua writes them."""
    return {
        name: f"{of.signals + of.others} {of.others}" if of.others else str(of.signals)
        for name, of in seed.names.items()
    }


def _prefix_of(seed: Seed) -> str:
    return shared_prefix([encoded_resource(target) for target in seed.resources])


def _open_fields(seed: Seed) -> dict[str, str | int]:
    firing = sum(alert.firing for alert in seed.tracked_alerts)
    over = sum(not alert.firing and not alert.stale for alert in seed.tracked_alerts)
    resolved = min(over, seed.resolved)
    return {
        "origin": seed.origin,
        "alerts": seed.alerts,
        "alerts_firing": firing,
        "alerts_resolved": resolved,
        "alerts_stale": seed.stale_alerts,
        "still_firing": int(seed.still_firing),
        "total": seed.total,
        "changes": seed.folded - seed.total,
        "firing_signals": max(seed.firing, 1),
        "estimated_firing": max(0, seed.firing - firing),
        "estimated_resolved": max(0, seed.resolved - resolved),
        "estimated_firing_alerts": max(0, seed.firing_alerts - firing),
        "left_out": seed.left_out,
        "severity": seed.severity,
        "opened_ms": seed.opened_ms,
        "first_ms": seed.first_ms,
        "last_ms": seed.last_ms,
        "arrived_ms": seed.arrived_ms,
        "detected": seed.detected,
        "truncated": int(seed.truncated),
        "resources_at_least": seed.resource_count,
        "names_floor": seed.names_floor,
        "sampled": seed.sampled,
        "written": seed.folded,
        "written_ms": seed.written_ms,
        "settled": int(seed.settled),
        "reopened": seed.revision - 1,
        "signals_last": seed.through,
        "events_last": seed.event_through,
    }


def seed_resources(seed: Seed) -> dict[str, int]:
    """The same of its listed resources."""
    prefix = _prefix_of(seed)
    return {
        resource_field(encoded_resource(target), prefix): signals
        for target, signals in seed.resources.items()
    }
