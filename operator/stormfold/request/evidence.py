"""What a request shows of its signals: what it has shown so far, and what came since. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from stormfold.model.evidence import MAX_RUNBOOKS, MAX_SHARED, SHARED_BYTES, Evidence, NameCount, fitting
from stormfold.model.limits import COUNTED_NAMES, FIRST_SAMPLES
from stormfold.model.moments import LAST_SECOND, written
from stormfold.request.causes import Cause

FIELDS = (
    "signalNames",
    "commonCauses",
    "startedAt",
    "commonLabels",
    "commonAnnotations",
    "runbookURLs",
    "samples",
)
"""Those of a status that are kept as they were written, and written again only if they change."""
SHOWN_NAMES = COUNTED_NAMES // 2
MOST_MS = 1000 * LAST_SECOND
Texts = Mapping[str, str]
Held = Mapping[str, Any]
"""These fields, those that there are."""


def taken_out(status: dict[str, Any]) -> bytes:
    """These fields of a status as JSON; they are not in it any more."""
    return orjson.dumps({field: status.pop(field) for field in FIELDS if status.get(field) is not None})


def joined(
    new: Evidence,
    names: Mapping[str, NameCount],
    causes: Sequence[Cause] = (),
    *,
    held: Held | None,
    sampled: int,
    shown: int,
    first_ms: int = MOST_MS,
) -> dict[str, Any]:
    """What a request is to show that has shown `held`, which was written after so many samples; None: nothing
    was written yet. `names` are all that are known, and `shown` is how many samples the policy wants.
    `first_ms` is when the first signal came: the trouble did not begin after that, whatever its sender's
    clock says."""
    before: Held = held or {}
    begun = held is not None
    runbooks = dict.fromkeys((*before.get("runbookURLs", ()), *new.runbook_urls))
    return {
        "signalNames": [_name(name, count) for name, count in list(names.items())[:SHOWN_NAMES]],
        "commonCauses": [_cause(cause) for cause in causes],
        "startedAt": _started(before.get("startedAt"), new.started_ms, first_ms),
        "commonLabels": _common(before.get("commonLabels", {}), new.labels, begun=begun),
        "commonAnnotations": _common(before.get("commonAnnotations", {}), new.annotations, begun=begun),
        "runbookURLs": list(runbooks)[:MAX_RUNBOOKS],
        "samples": _samples(new, before.get("samples", []), sampled, shown),
    }


def changes(shown: Held, held: Held | None) -> dict[str, Any]:
    """What is to be written over `held`, so that this is shown. A merge patch keeps what it does not name."""
    before: Held = held or {}
    changed = {field: value for field, value in shown.items() if value and value != before.get(field)}
    if not shown["commonCauses"] and before.get("commonCauses"):
        changed["commonCauses"] = None
    return changed


def _cause(cause: Cause) -> dict[str, Any]:
    said = {"attribute": cause.attribute, "value": cause.value, "signals": cause.signals}
    said |= {"coverage": cause.coverage} | ({"lift": cause.lift} if cause.lift else {})
    return said | {"approximate": True} if cause.approximate else said


def causes_of(held: bytes) -> list[tuple[str, str]]:
    """Attribute and value of the causes that a request shows."""
    return [(item["attribute"], item["value"]) for item in orjson.loads(held).get("commonCauses", [])]


def _name(name: str, count: NameCount) -> dict[str, Any]:
    said = {"name": name, "signals": count.signals}
    return said | {"approximate": True} if count.others else said


def _started(before: str | None, new_ms: int | None, first_ms: int) -> str | None:
    if new_ms is None:
        return before
    new = written(min(new_ms, first_ms))
    return min(before, new) if before else new


def _common(
    before: Mapping[str, str], new: Mapping[str, str] | None, *, begun: bool
) -> dict[str, str | None]:
    """What both have in common. A merge patch keeps what it does not name: what is common no more is None."""
    if new is None:
        return dict(before)
    if not begun:
        return dict(list(fitting(new, SHARED_BYTES).items())[:MAX_SHARED])
    return {name: text if new.get(name) == text else None for name, text in before.items()}


def names_of(held: bytes, total: int) -> tuple[dict[str, NameCount], int]:
    """The names that a request shows which has counted so many signals, and how often another one may have
    come that it does not show."""
    shown: Sequence[Mapping[str, Any]] = orjson.loads(held).get("signalNames", [])
    names: dict[str, NameCount] = {}
    left = total
    for item in shown:
        signals = max(0, min(item["signals"], left))
        left -= signals
        names[item["name"]] = NameCount(signals, int(item.get("approximate", False)))
    return names, left


def _samples(new: Evidence, held: list[Any], sampled: int, shown: int) -> list[Any]:
    most_first = min(FIRST_SAMPLES, shown)
    first, latest = held[:most_first], held[most_first:]
    for number in sorted(new.samples):
        if number > sampled:
            (first if number <= FIRST_SAMPLES else latest).append(orjson.loads(new.samples[number]))
    latest = latest[max(0, len(latest) - (shown - most_first)) :]
    return first[:most_first] + latest
