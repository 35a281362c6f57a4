"""What is to be done about a storm: Snapshot + what the consumer says + now → decision. Pure."""

from dataclasses import dataclass

from stormfold.api.reason import Reason
from stormfold.api.reasons.requests import RequestReason
from stormfold.api.reasons.signals import SignalReason
from stormfold.api.remediationrequest import RequestPhase
from stormfold.api.stormpolicy import CloseOn
from stormfold.model.limits import KNOWN_ALERTS
from stormfold.model.storm import Detected, Snapshot, State


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing is to be written before the deadline."""

    deadline_ms: int


@dataclass(frozen=True, slots=True)
class Write:
    """The request is to say what the snapshot says."""

    phase: RequestPhase
    deadline_ms: int
    """When to look again if no signal comes."""


@dataclass(frozen=True, slots=True)
class Close:
    """The storm is over."""

    reason: Reason
    unless_grown: bool
    """Whether a signal that comes meanwhile keeps it open."""


@dataclass(frozen=True, slots=True)
class Finish:
    """The storm is frozen: its request is to say so, for good."""

    reason: Reason


@dataclass(frozen=True, slots=True)
class Discard:
    """The group makes no request."""

    reason: Reason
    message: str


Decision = Wait | Write | Close | Finish | Discard


@dataclass(frozen=True, slots=True)
class Finding:
    """What a condition says."""

    status: bool | None
    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Reported:
    """What follows from what the consumer has reported."""

    finished: bool = False
    """It says in a terminal phase that nobody works on the request any more."""
    closing: bool = False
    """An annotation asks for the request to be closed."""
    unsaid: bool = False
    """The conditions of the request do not say yet what is to be said of it."""
    expires_ms: int | None = None
    """When its claim expires, Unix ms; None if there is none, or it has expired."""


@dataclass(frozen=True, slots=True)
class DeadlinesMs:
    """When a storm goes on by itself, Unix ms."""

    settle: int
    close: int | None
    """None while what fires holds it open."""
    expire: int


def plural(number: int, noun: str) -> str:
    """`1 signal`, `2 signals`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def deadlines(storm: Snapshot, *, made_ms: int = 0, held_ms: int = 0) -> DeadlinesMs:
    """The three deadlines, from when the latest signal happened and from the opening.

    What is met late, or has waited for a place, may have closed long ago by that, but more of it may be on
    its way, and consumers are to see its request: it has `idle` from when it was met, and from `made_ms`,
    when the request was made. The last deadline is counted from then, too, and does not come closer for the
    `held_ms` in which the request was not allowed to proceed."""
    terms = storm.terms
    return DeadlinesMs(
        settle=storm.happened_ms + terms.idle_ms,
        close=None
        if storm.holding
        else max(
            storm.happened_ms + terms.close_after_ms,
            max(storm.arrived_ms, made_ms) + min(terms.idle_ms, terms.close_after_ms),
        ),
        expire=max(storm.opened_ms, made_ms) + terms.max_duration_ms + held_ms,
    )


def decide(
    storm: Snapshot,
    *,
    has_request: bool,
    reported: Reported,
    now_ms: int,
    made_ms: int = 0,
    held_ms: int = 0,
    stopped: bool = False,
) -> Decision:
    """What to do about a storm now.

    `has_request` says whether its RemediationRequest is known to be there, `made_ms` since when, `reported`
    what its consumer says in it, `held_ms` for how long it was not allowed to proceed. `stopped` says whether
    the request before says that nothing is to be done about what fires on.
    """
    if storm.state is State.CLOSING:
        return Finish(RequestReason[storm.close_reason])
    until = deadlines(storm, made_ms=made_ms, held_ms=held_ms)
    quiet = now_ms >= until.settle
    deadline = min(
        until.expire,
        until.expire if until.close is None else until.close,
        until.expire if quiet else until.settle,
        until.expire if reported.expires_ms is None else reported.expires_ms,
        storm.stale_look_ms or until.expire,
    )
    if not has_request and not storm.written:
        if not_yet := _before_request(storm, now_ms, stopped=stopped):
            return not_yet
        return Write(RequestPhase.SETTLED if quiet else RequestPhase.OPEN, deadline)
    if has_request and reported.closing:
        return Close(RequestReason.CLOSED_BY_ANNOTATION, unless_grown=False)
    if has_request and reported.finished:
        # A signal that reopens it meanwhile raises the revision: what was reported may be stale then.
        return Close(RequestReason.REMEDIATION_FINISHED, unless_grown=storm.settled)
    if now_ms >= until.expire:
        return Close(RequestReason.MAX_DURATION_REACHED, unless_grown=False)
    if until.close is not None and now_ms >= until.close:
        return Close(RequestReason.QUIET_FOR_CLOSE_AFTER, unless_grown=True)
    if has_request and storm.written == storm.folded and quiet == storm.settled and not reported.unsaid:
        return Wait(deadline)
    return Write(RequestPhase.SETTLED if quiet else RequestPhase.OPEN, deadline)


def _before_request(storm: Snapshot, now_ms: int, *, stopped: bool) -> Wait | Discard | None:
    """Why no request is made, not yet or never."""
    terms = storm.terms
    if storm.still_firing:
        if storm.total:
            return None
        if stopped and not storm.fires_again:
            return Discard(SignalReason.NOTHING_FIRING, "the request before says that nothing is to be done")
        if storm.firing:
            return None
        return Discard(
            SignalReason.NOTHING_FIRING, "all alerts of the request before have resolved, and none came"
        )
    detected = storm.detected is not Detected.NO
    if storm.firing_signals == 0 or (terms.discard and not detected):
        deadline = max(storm.window_ms, storm.opened_ms) + terms.within_ms
        if now_ms < deadline:
            return Wait(deadline)
        if storm.firing_signals == 0:
            return Discard(
                SignalReason.NOTHING_FIRING,
                f"{plural(storm.total, 'signal')} said Resolved, and no signal of the group said Firing",
            )
        return Discard(SignalReason.BELOW_THRESHOLD, below_threshold(storm))
    hold = storm.opened_ms + terms.group_wait_ms
    return Wait(hold) if not detected and now_ms < hold else None


def below_threshold(storm: Snapshot) -> str:
    """The sentence for a group that has not reached its threshold."""
    terms = storm.terms
    text = f"{plural(storm.firing_signals, 'signal')}, threshold {terms.threshold_signals}"
    if terms.threshold_resources:
        text += f"; {plural(storm.affected, 'resource')}, threshold {terms.threshold_resources}"
    return f"{text} within {_seconds(terms.within_ms)}"


def storm_detected(storm: Snapshot) -> Finding:
    """Whether the group has become a storm; once it has, it stays one."""
    terms = storm.terms
    match storm.detected:
        case Detected.BY_SIGNALS if storm.still_firing and storm.total < terms.threshold_signals:
            return Finding(
                True,
                RequestReason.SIGNAL_THRESHOLD_REACHED,
                f"{plural(terms.threshold_signals, 'alert')} or more fired, those of the request before "
                "included",
            )
        case Detected.BY_SIGNALS:
            return Finding(
                True,
                RequestReason.SIGNAL_THRESHOLD_REACHED,
                f"{plural(terms.threshold_signals, 'signal')} came within {_seconds(terms.within_ms)}",
            )
        case Detected.BY_RESOURCES:
            return Finding(
                True,
                RequestReason.RESOURCE_THRESHOLD_REACHED,
                f"{plural(terms.threshold_resources, 'resource')} affected within "
                f"{_seconds(terms.within_ms)}",
            )
    return Finding(False, SignalReason.BELOW_THRESHOLD, f"no storm: {below_threshold(storm)}")


def settled(storm: Snapshot, phase: RequestPhase) -> Finding:
    """Whether it is quiet; a closed storm is, whatever closed it."""
    if phase is RequestPhase.OPEN:
        return Finding(
            False,
            RequestReason.SIGNALS_ARRIVING,
            f"{plural(storm.total, 'signal')} so far, {storm.rate_per_minute} in the last minute",
        )
    how = "the counts are exact" if exact(storm).status else "the condition Exact says how exact"
    return Finding(True, RequestReason.QUIET, f"{plural(storm.total, 'signal')}; {how}")


def recovered(storm: Snapshot) -> Finding:
    """Whether everything that fired has resolved."""
    return recovery(
        firing=storm.firing,
        resolved=storm.resolved,
        stale=storm.stale_alerts,
        stale_after_ms=storm.terms.stale_after_ms,
        approximate=storm.approximate,
    )


def recovery(*, firing: int, resolved: int, stale: int, stale_after_ms: int, approximate: bool) -> Finding:
    """The same by these numbers."""
    silent = f", {plural(stale, 'alert')} neither repeated nor resolved for staleAfter" if stale else ""
    silent += f" ({_seconds(stale_after_ms)})" if stale else ""
    if firing:
        return Finding(False, RequestReason.STILL_FIRING, f"{firing} firing, {resolved} resolved{silent}")
    if stale:
        return Finding(None, RequestReason.ALERTS_STALE, f"{resolved} resolved{silent}")
    if approximate:
        return Finding(
            None,
            RequestReason.INSTANCES_NOT_TRACKED,
            f"about {resolved} resolved; not every instance could be followed",
        )
    return Finding(True, RequestReason.ALL_RESOLVED, f"all {resolved} resolved")


def truncated(storm: Snapshot) -> Finding:
    """Whether the list of resources is complete."""
    if storm.truncated:
        return Finding(
            True,
            RequestReason.RESOURCE_LIMIT_REACHED,
            f"{len(storm.resources)} of about {plural(storm.affected, 'resource')} listed",
        )
    return Finding(False, RequestReason.WITHIN_LIMIT, f"{plural(storm.affected, 'resource')} listed")


def exact(storm: Snapshot) -> Finding:
    """Whether each signal is known to count once. The gravest reason goes before the others, the message has
    all."""
    doubts: dict[Reason, str] = {}
    if storm.left_out:
        left_out = plural(storm.left_out, "alert")
        doubts[RequestReason.ALERTS_LEFT_OUT] = (
            f"a sender left {left_out} out of a post, which are in no request: set its max_alerts to 0"
        )
    if storm.unknown_alerts:
        unknown = plural(storm.unknown_alerts, "alert")
        doubts[RequestReason.ALERTS_MAY_REPEAT] = (
            f"up to {unknown} may count twice: Redis lost which ones were counted"
        )
    if storm.alerts_beyond:
        doubts[RequestReason.ALERTS_ESTIMATED] = (
            f"{storm.alerts_beyond} of {storm.alerts} alerts are an estimate: stormfold knows up to "
            f"{KNOWN_ALERTS} of a request one by one"
        )
    if not doubts:
        return Finding(True, RequestReason.EACH_COUNTED_ONCE, "each signal counts once")
    return Finding(False, next(iter(doubts)), "; ".join(doubts.values()))


CLOSING_SENTENCES: dict[Reason, str] = {
    RequestReason.REMEDIATION_FINISHED: "the consumer reported a terminal phase in status.remediation",
    RequestReason.CLOSED_BY_ANNOTATION: "somebody set the annotation stormfold.dev/close",
    RequestReason.QUIET_FOR_CLOSE_AFTER: "no signal came for closeAfter",
    RequestReason.MAX_DURATION_REACHED: "the request was open for window.maxDuration",
    RequestReason.NEWER_EPOCH_OPENED: "the group has a newer request",
}


def closed(reason: Reason) -> Finding:
    """That it is over, and why."""
    return Finding(True, reason, CLOSING_SENTENCES[reason])


def not_closed(storm: Snapshot) -> Finding:
    """That it is not, and what keeps it open."""
    if not storm.holding:
        return Finding(
            False, RequestReason.NOT_CLOSED, "the next signal of the group is counted in this request"
        )
    by_alerts = storm.terms.close_on is CloseOn.AUTO
    up_to = "up to " if storm.approximate else ""
    return Finding(
        False,
        RequestReason.ALERTS_FIRING if by_alerts else RequestReason.STILL_FIRING,
        f"{up_to}{plural(storm.holding, 'alert' if by_alerts else 'instance')} still firing: closeAfter "
        f"({_seconds(storm.terms.close_after_ms)}) begins when all have resolved",
    )


def _seconds(milliseconds: int) -> str:
    whole, rest = divmod(milliseconds, 1000)
    return f"{whole} s" if not rest else f"{milliseconds} ms"
