"""The decision on a request: an ordered list of checks, each of which gives its reason. Pure.

The first check that finds something decides; `by` names all that keep the request from Proceed.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from stormfold.api.decision import Decision, DecisionRef, Verdict
from stormfold.api.reason import Reason
from stormfold.api.reasons.gates import GateReason
from stormfold.api.resource import MAX_INT
from stormfold.api.stormgate import GateState
from stormfold.gate.gates import FOREVER, Gate, Hold, Subject
from stormfold.gate.passing import tripped_until
from stormfold.model.moments import milliseconds, moment, written

NAMED = 8
"""References in a decision."""
SAID = 3
"""Findings in its message."""
MAX_MESSAGE = 1024


@dataclass(frozen=True, slots=True)
class Gathered:
    """All that the checks are asked about."""

    subject: Subject
    gates: tuple[Gate, ...]
    """Those that govern the request."""
    now_ms: int


@dataclass(frozen=True, slots=True)
class Finding:
    """What keeps a request from Proceed."""

    verdict: Verdict
    reason: Reason
    message: str
    by: DecisionRef
    until_ms: int
    """When it ends by itself; `FOREVER` if it does not."""


Check = Callable[[Gathered], Iterator[Finding]]


def stopped(gathered: Gathered) -> Iterator[Finding]:
    """Somebody wants what runs to end."""
    yield from _holds(gathered, Verdict.STOP, GateReason.STOPPED_BY_GATE)


def held(gathered: Gathered) -> Iterator[Finding]:
    """Somebody wants nothing to start."""
    yield from _holds(gathered, Verdict.HOLD, GateReason.HELD_BY_GATE)


def tripped(gathered: Gathered) -> Iterator[Finding]:
    """There were too many."""
    for gate in gathered.gates:
        if gate.state is GateState.TRIPPED:
            until_ms = tripped_until(gate.status, gate.spec.breaker)
            message = f"{gate} tripped: {gate.status.message}"
            yield Finding(Verdict.HOLD, GateReason.BREAKER_TRIPPED, message, gate.ref(), until_ms)


def probing(gathered: Gathered) -> Iterator[Finding]:
    """Another request tries whether the gate may pass again."""
    for gate in gathered.gates:
        if gate.state is GateState.PROBING:
            canary = next((place for place in gate.status.places if place.canary), None)
            if canary is None or canary.uid != gathered.subject.uid:
                who = (
                    f"{canary.namespace}/{canary.name} tries first"
                    if canary
                    else "one request is to try first"
                )
                yield Finding(Verdict.HOLD, GateReason.AWAITING_CANARY, f"{gate}: {who}", gate.ref(), FOREVER)


def spent(gathered: Gathered) -> Iterator[Finding]:
    """All places are taken."""
    for gate in gathered.gates:
        budget = gate.spec.budget
        if not (budget and gate.has_budget) or gathered.subject.uid in gate.places:
            continue
        limits = (
            f"{budget.concurrent} at a time" if budget.concurrent else "",
            f"{budget.per_hour} an hour" if budget.per_hour else "",
        )
        message = f"{gate} lets {' and '.join(filter(None, limits))} proceed, and it has no place"
        yield Finding(Verdict.HOLD, GateReason.BUDGET_SPENT, message, gate.ref(), FOREVER)


CHECKS: tuple[Check, ...] = (stopped, held, tripped, probing, spent)
"""In the order in which they decide: the stricter verdict first, then what people say, then the breaker."""
FOR_A_PLACE = frozenset((GateReason.AWAITING_CANARY, GateReason.BUDGET_SPENT))
"""What a place in the gate would change."""


def waits_for(gathered: Gathered) -> tuple[Gate, ...] | None:
    """The gates in which a request needs a place to proceed; None if something else keeps it, too."""
    if any(finding.reason not in FOR_A_PLACE for check in CHECKS for finding in check(gathered)):
        return None
    named = {
        (finding.by.namespace, finding.by.name) for check in (probing, spent) for finding in check(gathered)
    }
    return tuple(gate for gate in gathered.gates if gate.key in named)


def _holds(gathered: Gathered, verdict: Verdict, reason: Reason) -> Iterator[Finding]:
    for gate in gathered.gates:
        for hold in gate.holds:
            if hold.verdict is verdict and not hold.is_over(gathered.now_ms):
                yield Finding(verdict, reason, _said(gate, hold), gate.ref(hold.by), hold.until_ms)


def _said(gate: Gate, hold: Hold) -> str:
    does = "stops" if hold.verdict is Verdict.STOP else "holds"
    until = "" if hold.until_ms == FOREVER else f" until {written(hold.until_ms)}"
    return f"{gate}: {hold.by} {does} it{until}: {hold.reason}"


def place_lost(gate: Gate, subject: Subject, now_ms: int) -> Decision:
    """What a request says that is about to lose its place. It differs for each turn of the gate, so that the
    request is written anew, whatever it says now."""
    before = subject.decision
    verdict = before.verdict if before and before.verdict is not Verdict.PROCEED else Verdict.HOLD
    since, held_seconds = _since(before, verdict, now_ms)
    return Decision(
        verdict=verdict,
        reason=GateReason.PLACE_LOST.value,
        message=f"{gate} takes its place back after turn {gate.status.turn}",
        by=(gate.ref(),),
        since=since,
        held_seconds=held_seconds,
    )


def judge(gathered: Gathered) -> Decision:
    """The decision by all checks; its verdict holds since now, or since the request says so."""
    found = [finding for check in CHECKS for finding in check(gathered)]
    if not found:
        reason, message = GateReason.NO_GATE_APPLIES, "no StormGate governs the request"
        if gathered.gates:
            reason = GateReason.GATES_PASS
            message = f"passed by {', '.join(str(gate) for gate in gathered.gates[:SAID])}"
            if tries := [gate for gate in gathered.gates if gate.state is GateState.PROBING]:
                reason = GateReason.CANARY
                message = f"the canary: if its consumer succeeds, {tries[0]} passes again"
        return _decision(gathered, Verdict.PROCEED, reason, message)
    more = f"; and {len(found) - SAID} more" if len(found) > SAID else ""
    message = "; ".join(finding.message for finding in found[:SAID])[: MAX_MESSAGE - len(more)] + more
    return _decision(
        gathered,
        found[0].verdict,
        found[0].reason,
        message,
        by=tuple(finding.by for finding in found[:NAMED]),
        until_ms=min(finding.until_ms for finding in found),
    )


def _decision(
    gathered: Gathered,
    verdict: Verdict,
    reason: Reason,
    message: str,
    *,
    by: tuple[DecisionRef, ...] = (),
    until_ms: int = FOREVER,
) -> Decision:
    before, until = gathered.subject.decision, None if until_ms == FOREVER else moment(until_ms)
    said = before and (before.verdict, before.reason, before.message, before.by, before.until)
    if before and said == (verdict, reason.value, message, by, until):
        return before  # as nearly always
    since, held_seconds = _since(before, verdict, gathered.now_ms)
    return Decision(
        verdict=verdict,
        reason=reason.value,
        message=message,
        by=by,
        since=since,
        held_seconds=held_seconds,
        until=until,
    )


def _since(before: Decision | None, verdict: Verdict, now_ms: int) -> tuple[datetime, int]:
    """Since when the verdict is this one, and for how many seconds it was not Proceed before that."""
    if before is None:
        return moment(now_ms), 0
    if before.verdict is verdict:
        return before.since, before.held_seconds
    return moment(now_ms), min(held_ms(before, now_ms) // 1000, MAX_INT)


def held_ms(decision: Decision | None, now_ms: int) -> int:
    """For how long a request has not been allowed to proceed in all, until now."""
    if decision is None:
        return 0
    now = now_ms - milliseconds(decision.since) if decision.verdict is not Verdict.PROCEED else 0
    return decision.held_seconds * 1000 + max(0, now)
