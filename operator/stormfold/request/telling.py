"""What people read first of a request: its columns, and the sentence of its Events. Pure."""

from collections.abc import Iterator, Mapping, Sequence

from stormfold.api.conditions import ConditionType
from stormfold.api.reasons.requests import RequestReason
from stormfold.api.remediationrequest import (
    Display,
    GroupValue,
    RemediationRequestSpec,
    RemediationRequestStatus,
    RequestPhase,
)
from stormfold.api.site import see
from stormfold.model.evidence import NameCount, harmless
from stormfold.model.storm import Snapshot
from stormfold.request.causes import Cause
from stormfold.request.deciding import plural

WHAT_WIDTH, GROUP_WIDTH = 10, 9
"""Characters. With them a line of `kubectl get rreq` has at most 100, and the severity ends at the 79th."""


UNREADABLE_LIST = see(
    RequestReason.ALERT_LIST_UNREADABLE,
    "stormfold did not write the list in status.withAlerts, and ignores it: let nobody else write the status",
)
"""What the Event about such a list says."""
SUMMARY_WIDTH = 256
"""Characters of a summary."""
GROUP_SHARED_WIDTH, SHARED_WIDTH = 80, 120
"""Characters of it that say what all signals share since they were grouped by it, and what most share. The
others have room for how many of what there are."""
TOLD_OTHERWISE = frozenset(("name", "namespace", "severity", "source", "target.kind"))
"""Keys of a group of which the rest of a request's line tells."""
CALLED = {"target.name": "target", "target.owner": "owner"}
"""What some keys are called there."""


def display(spec: RemediationRequestSpec, namespace: str) -> Display:
    """What the columns say of a request that lies in `namespace`."""
    return Display(
        what=_cut(harmless(spec.name), WHAT_WIDTH),
        group=_cut(harmless(",".join(_values(spec, namespace))), GROUP_WIDTH),
    )


def _values(spec: RemediationRequestSpec, namespace: str) -> list[str]:
    """The values of the group that other columns do not have: not its name, and not the request's
    namespace."""
    shown = [item for item in spec.group if item.key != "name" and item.value != namespace]
    # Of an owner, Deployment/shop/checkout, the name.
    return [(item.value or "none").rpartition("/")[2] for item in shown]


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}~"


def transitions(
    before: RemediationRequestStatus | None, status: RemediationRequestStatus
) -> Iterator[tuple[RequestReason, str]]:
    """Reason and sentence of each Event that is due when a request says this after `before`; None: it is new.
    A write that is late may tell of two: the first one may say Settled."""
    said, old = status.summary or "", before.phase if before else None
    if before is None or old is None:
        yield RequestReason.STORM_OPENED, said
    elif old is RequestPhase.SETTLED and (
        status.phase is RequestPhase.OPEN or status.revision > before.revision
    ):
        yield RequestReason.STORM_REOPENED, f"{said}; revision {status.revision}"
        old = RequestPhase.OPEN
    if status.phase is old:
        return
    if status.phase is RequestPhase.SETTLED:
        yield RequestReason.STORM_SETTLED, said
    elif status.phase is RequestPhase.CLOSED:
        closed = (one.message for one in status.conditions if one.type == ConditionType.CLOSED and one.holds)
        yield RequestReason.STORM_CLOSED, f"{said}; {next(closed, '')}"


def with_policy(message: str, spec: RemediationRequestSpec) -> str:
    """What an Event says: a request's name does not tell its policy."""
    return f"{message} (policy {spec.policy_ref.name})"


def summary(
    storm: Snapshot,
    names: Mapping[str, NameCount],
    causes: Sequence[Cause] = (),
    *,
    group: Sequence[GroupValue] = (),
) -> str:
    """What came, on what, and what all and most of it shares, in one line of at most `SUMMARY_WIDTH`
    characters: `177 signals on 17 pods: KubePodNotReady 120, KubePodCrashLooping 57; all share zone eu-1;
    171 of 177 share node worker-7`. `group` are the values of its group. Where nothing came, what still
    fires."""
    if storm.still_firing and not storm.total:
        return still_firing(storm.firing, storm.stale_alerts)
    said = plural(storm.total, "signal")
    if storm.affected:
        kinds = {target.kind for target, _ in storm.resources}
        noun = harmless(kinds.pop()).lower() if len(kinds) == 1 and not storm.truncated else ""
        noun = noun or "resource"
        said += f" on {'about ' if storm.truncated else ''}{plural(storm.affected, noun)}"
    shared = _cut(f"; {_shared(causes[0], storm.total)}", SHARED_WIDTH) if causes else ""
    if told := ", ".join(_grouped(group)):
        shared = _cut(f"; {'all share ' if storm.total > 1 else ''}{told}", GROUP_SHARED_WIDTH) + shared
    return _with_names(storm, said, names, SUMMARY_WIDTH - len(shared)) + shared


def _grouped(group: Sequence[GroupValue]) -> Iterator[str]:
    for item in group:
        if item.value and item.key not in TOLD_OTHERWISE:
            yield f"{harmless(CALLED.get(item.key, item.key.removeprefix('labels.')))} {harmless(item.value)}"


def _shared(cause: Cause, total: int) -> str:
    at_least = "at least " if cause.approximate else ""
    attribute = harmless(cause.attribute.removeprefix("labels."))
    return f"{at_least}{cause.signals} of {total} share {attribute} {cause.value}"


def _with_names(storm: Snapshot, said: str, names: Mapping[str, NameCount], room: int) -> str:
    if len(names) == 1:
        return _cut(f"{said}: {next(iter(names))}", room)
    told = [f"{name} {of.signals}{'+' if of.others else ''}" for name, of in names.items()]
    for shown in range(len(told), 0, -1):
        more = ", others" if shown < len(told) or _is_short(storm, names) else ""
        text = f"{said}: {', '.join(told[:shown])}{more}"
        if len(text) <= room:
            return text
    return _cut(said, room)


def still_firing(firing: int, stale: int) -> str:
    """The summary of a request that holds nothing but alerts of the request before."""
    if not firing and stale:
        return f"{plural(stale, 'alert')} of the request before neither repeated nor resolved for staleAfter"
    if not firing:
        return "all alerts of the request before have resolved"
    return f"{plural(firing, 'alert')} of the request before still firing"


def _is_short(storm: Snapshot, names: Mapping[str, NameCount]) -> bool:
    """Whether signals have names that are not among these."""
    return sum(of.signals for of in names.values()) < storm.total
