"""What the status of a StormGate says. Pure."""

from collections.abc import Collection

from stormfold.api.conditions import (
    Condition,
    ConditionStatus,
    ConditionType,
    Reason,
    set_condition,
)
from stormfold.api.decision import Verdict
from stormfold.api.stormgate import ExpiredHold, GateState, StormGateStatus
from stormfold.gate.gates import MAX_GATES, Gate, Subject
from stormfold.gate.passing import counts
from stormfold.model.moments import moment

MAX_MESSAGE = 2000


def verdict(gate: Gate, now_ms: int) -> Verdict:
    """The strictest verdict of its holds and its breaker."""
    said = [hold.verdict for hold in gate.holds if not hold.is_over(now_ms)]
    if gate.state is not GateState.PASSING:
        said.append(Verdict.HOLD)
    return max(said, key=lambda verdict: verdict.strictness, default=Verdict.PROCEED)


def status(
    gate: Gate,
    *,
    in_force: bool,
    governs_all: bool,
    governed: Collection[Subject],
    nodes_denied: bool,
    now_ms: int,
) -> StormGateStatus:
    """The status of a gate that governs these requests that are not closed. `nodes_denied` says that the
    operator may not list nodes."""
    generation = gate.metadata.generation
    nodes_denied &= gate.counts_nodes
    conditions = gate.status.conditions
    for kind, holds, reason, message in (
        (
            ConditionType.ACCEPTED,
            *_accepted(
                gate, in_force=in_force, governs_all=governs_all, nodes_denied=nodes_denied, now_ms=now_ms
            ),
        ),
        (ConditionType.REQUESTS_SELECTED, *_selected(len(governed))),
    ):
        condition = Condition(
            type=kind,
            status=ConditionStatus.TRUE if holds else ConditionStatus.FALSE,
            reason=reason,
            message=message[:MAX_MESSAGE],
            observed_generation=generation,
            last_transition_time=moment(now_ms),
        )
        conditions = set_condition(conditions, condition)
    return gate.status.model_copy(
        update={
            "observed_generation": generation,
            "verdict": verdict(gate, now_ms) if in_force else Verdict.PROCEED,
            "requests": len(governed),
            "counts": counts(gate, governed, now_ms),
            "expired_holds": tuple(
                ExpiredHold(by=hold.by, until=hold.until) for hold in gate.holds if hold.is_over(now_ms)
            ),
            "conditions": conditions,
        }
    )


def _accepted(
    gate: Gate, *, in_force: bool, governs_all: bool, nodes_denied: bool, now_ms: int
) -> tuple[bool, Reason, str]:
    if gate.fault:
        return False, Reason.INVALID_SPEC, gate.fault
    if not in_force:
        return (
            False,
            Reason.TOO_MANY_GATES,
            f"the namespace has {MAX_GATES} gates whose names go before this one: merge some, or delete them",
        )
    selector, own = gate.spec.selector, gate.metadata.namespace
    others = [name for name in selector.namespaces if name != own] if selector and not governs_all else []
    caveats = [(Reason.INVALID_UNTIL, warning) for warning in gate.warnings]
    caveats += [(Reason.LIMIT_IS_ZERO, zero) for zero in gate.zeros]
    if nodes_denied:
        caveats.append(
            (Reason.NODES_NOT_READABLE, "breaker.percentOfNodes has no effect: may not list nodes")
        )
    if others:
        caveats.append(
            (
                Reason.NAMESPACE_NOT_GOVERNED,
                (
                    f"selector.namespaces: it governs no request of {', '.join(others)}, since it lies in "
                    f"{own}: make it in the operator's namespace"
                ),
            )
        )
    if over := [hold for hold in gate.holds if hold.is_over(now_ms)]:
        named = ", ".join(f"{hold.by} (until {hold.until})" for hold in over)
        caveats.append((Reason.HOLD_EXPIRED, f"no longer held by {named}: remove what is over"))
    if not caveats:
        return True, Reason.VALID, "the gate is in force"
    said = "; ".join(message for _, message in caveats)
    return True, caveats[0][0], f"the gate is in force, but {said}"


def _selected(requests: int) -> tuple[bool, Reason, str]:
    if requests:
        return True, Reason.REQUESTS_MATCH, "it governs requests that are not closed"
    return False, Reason.NO_REQUEST_MATCHES, "no request that is not closed matches selector"
