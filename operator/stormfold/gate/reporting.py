"""What the status of a StormGate says. Pure."""

from collections.abc import Collection

from stormfold.api.conditions import Condition, ConditionStatus, ConditionType, set_condition
from stormfold.api.decision import Verdict
from stormfold.api.reason import Reason
from stormfold.api.reasons.gates import GateReason
from stormfold.api.reasons.specs import SpecReason
from stormfold.api.site import see
from stormfold.api.stormgate import ExpiredHold, GateState, StormGateStatus
from stormfold.gate.gates import MAX_GATES, Gate, Subject
from stormfold.gate.passing import counts
from stormfold.model.evidence import cut
from stormfold.model.moments import moment

MAX_MESSAGE = 2000
MAX_HELD_BY = 63
NO_NODES = (
    "breaker.percentOfNodes has no effect: the operator may not list nodes; apply the component steering"
)
SILENT = frozenset((SpecReason.VALID, GateReason.REQUESTS_MATCH, GateReason.NO_REQUEST_MATCHES))
"""Reasons with which nobody has to do anything."""


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
    held_by = ", ".join(hold.by for hold in gate.holds if in_force and not hold.is_over(now_ms))
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
            message=message if reason in SILENT else see(reason, message, most=MAX_MESSAGE),
            observed_generation=generation,
            last_transition_time=moment(now_ms),
        )
        conditions = set_condition(conditions, condition)
    return gate.status.model_copy(
        update={
            "observed_generation": generation,
            "verdict": verdict(gate, now_ms) if in_force else Verdict.PROCEED,
            "held_by": cut(held_by, MAX_HELD_BY),
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
        return False, SpecReason.INVALID_SPEC, gate.fault
    if not in_force:
        return (
            False,
            SpecReason.TOO_MANY_GATES,
            f"the namespace has {MAX_GATES} gates whose names go before this one: merge some, or delete them",
        )
    selector, own = gate.spec.selector, gate.metadata.namespace
    others = [name for name in selector.namespaces if name != own] if selector and not governs_all else []
    caveats = [(SpecReason.INVALID_UNTIL, warning) for warning in gate.warnings]
    caveats += [(SpecReason.LIMIT_IS_ZERO, zero) for zero in gate.zeros]
    if nodes_denied:
        caveats.append((SpecReason.NODES_NOT_READABLE, NO_NODES))
    if others:
        caveats.append(
            (
                SpecReason.NAMESPACE_NOT_GOVERNED,
                (
                    f"selector.namespaces: a gate in {own} governs no request of {', '.join(others)}; "
                    "make it in the operator's namespace"
                ),
            )
        )
    if over := [hold for hold in gate.holds if hold.is_over(now_ms)]:
        named = ", ".join(f"{hold.by} (until {hold.until})" for hold in over)
        caveats.append((SpecReason.HOLD_EXPIRED, f"these holds have ended: {named}. Remove them"))
    if not caveats:
        return True, SpecReason.VALID, "the gate is in force"
    said = "; ".join(message for _, message in caveats)
    return True, caveats[0][0], f"the gate is in force, but {said}"


def _selected(requests: int) -> tuple[bool, Reason, str]:
    if requests:
        return True, GateReason.REQUESTS_MATCH, "the gate governs requests that are not closed"
    return False, GateReason.NO_REQUEST_MATCHES, "selector matches no open request"
