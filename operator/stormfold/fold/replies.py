"""What the scripts answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import orjson

from stormfold.api.reason import Reason
from stormfold.api.reasons.signals import SignalReason
from stormfold.api.resource import MAX_INT
from stormfold.api.stormpolicy import CloseOn
from stormfold.fold.arguments import Piece
from stormfold.fold.resources import decoded_resource, resource_of_field
from stormfold.model.evidence import Evidence, NameCount
from stormfold.model.limits import FIRST_SAMPLES, LATEST_SAMPLES
from stormfold.model.storm import Detected, Snapshot, State, Terms, TrackedAlert


class FoldWord(StrEnum):
    """What fold.lua says of one storm."""

    COUNTED = "counted"
    APART = "apart"
    LOST = "lost"
    CLOSING = "closing"


class AckWord(StrEnum):
    """What ack.lua says."""

    ACKED = "acked"
    MORE = "more"
    GONE = "gone"
    NEWER_EPOCH = "newer-epoch"


class FreezeWord(StrEnum):
    """What freeze.lua says."""

    CLOSING = "closing"
    MOVED = "moved"
    GONE = "gone"
    NEWER_EPOCH = "newer-epoch"


class CloseWord(StrEnum):
    """What close.lua says."""

    CLOSED = "closed"
    MOVED = "moved"
    CLAIMED = "claimed"
    GONE = "gone"
    LOST = "lost"
    NEWER_EPOCH = "newer-epoch"


CAUSES = "causes_"
"""What fields of the evidence begin with that may explain a storm."""
UNDECIDED = {2: SignalReason.NOTHING_FIRING, 3: SignalReason.BELOW_THRESHOLD, 4: SignalReason.GROUP_WAIT}
"""What fold.lua says of an open group → why no request is to be made of it so far. The first two may be
discarded."""


@dataclass(frozen=True, slots=True)
class Folded:
    """What became of it."""

    word: FoldWord
    epoch: int
    folded: int
    open: bool
    due_ms: int
    """When the storm is to be looked at next; 0 if nothing changed."""
    written: int
    """The `folded` that the request is known to have reached."""
    incarnation: str
    ordinals: list[int]
    """One for each arrival, 0 for what was durable before; empty unless counted."""
    discarded: frozenset[int] = frozenset()
    """Places of those that are in no request, and will be in none; their ordinals are 0."""
    discarded_as: str = ""
    """What the last group that was discarded was to be told."""
    undecided: Reason | None = None
    """Why no request is to be made so far; None if one is, or is there."""


def folded_of(piece: Piece, reply: Sequence[Any]) -> Folded:
    """What fold.lua says of a piece."""
    word, epoch, folded, is_open, due_ms, written, incarnation, discarded_as, *ordinals = reply
    discarded: frozenset[int] = frozenset()
    if len(ordinals) == 1 < len(piece.places):  # all are new, and this is the first of them
        ordinals = list(range(ordinals[0], ordinals[0] + len(piece.places)))
    else:
        discarded = frozenset(place for place, ordinal in enumerate(ordinals) if ordinal is None)
        ordinals = [ordinal or 0 for ordinal in ordinals]
    return Folded(
        FoldWord(word),
        epoch,
        folded,
        is_open > 0,
        due_ms,
        written,
        incarnation,
        ordinals,
        discarded,
        discarded_as if discarded else "",
        UNDECIDED.get(is_open),
    )


def joined(answers: Sequence[Folded]) -> Folded:
    """What became of a fold, of whose pieces these are the answers, in order: it is counted or not as a
    whole."""
    first, last = answers[0], answers[-1]
    if len(answers) == 1:
        return first
    for answer in answers:
        if answer.word is not FoldWord.COUNTED:
            return answer
    ordinals: list[int] = []
    discarded: set[int] = set()
    for answer in answers:
        discarded.update(len(ordinals) + place for place in answer.discarded)
        ordinals += answer.ordinals
    return replace(
        last,
        due_ms=next((answer.due_ms for answer in reversed(answers) if answer.due_ms), 0),
        ordinals=ordinals,
        discarded=frozenset(discarded),
        discarded_as=next((answer.discarded_as for answer in answers if answer.discarded), ""),
    )


def rate_per_minute(minute: int, in_it: int, before: int, now_ms: int) -> int:
    """Signals in the minute before `now_ms`, from the counts of a clock minute and the one before it."""
    current, past = divmod(now_ms, 60_000)
    if current == minute:
        return in_it + before * (60_000 - past) // 60_000
    if current == minute + 1:
        return in_it * (60_000 - past) // 60_000
    return 0


def mapped(flat: Sequence[Any]) -> dict[str, Any]:
    """Names and values that take turns, as scripts give a map."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


def terms_of(fields: Mapping[str, Any]) -> Terms:
    """The terms that `arguments.terms_fields` wrote."""

    def number(name: str) -> int:
        return int(fields.get(name, 0))

    return Terms(
        threshold_signals=number("threshold_signals"),
        threshold_resources=number("threshold_resources"),
        within_ms=number("within_ms"),
        group_wait_ms=number("group_wait_ms"),
        discard=number("discard") == 1,
        idle_ms=number("idle_ms"),
        max_duration_ms=number("max_duration_ms"),
        close_after_ms=number("close_after_ms"),
        resources=number("resource_limit"),
        close_on=CloseOn(fields.get("close_on", CloseOn.AUTO)),
        stale_after_ms=number("stale_after_ms"),
    )


def tracked(known: Mapping[str, str]) -> tuple[TrackedAlert, ...]:
    """Alerts as `lua/include/alert.lua` writes them, by their ids."""
    return tuple(
        TrackedAlert(id_, int(text[1:].partition(",")[0]), firing=text[0] == "f", stale=text[0] == "s")
        for id_, text in known.items()
    )


def evidence_of(fields: Mapping[str, str], names: Mapping[str, str], sampled: int) -> Evidence:
    """What `lua/include/evidence.lua` has written, after so many samples, and `names.lua`."""
    field_of = {number: f"sample_{number}" for number in range(1, FIRST_SAMPLES + 1)}
    for number in range(max(FIRST_SAMPLES, sampled - LATEST_SAMPLES) + 1, sampled + 1):
        field_of[number] = f"latest_{number % LATEST_SAMPLES}"
    samples = {number: fields[field] for number, field in field_of.items() if field in fields}
    counts = {name: _name_count(text) for name, text in names.items()}
    in_order = sorted(counts, key=lambda name: (-counts[name].signals, name))
    return Evidence(
        sampled,
        samples,
        labels=orjson.loads(fields["labels"]) if "labels" in fields else None,
        annotations=orjson.loads(fields["annotations"]) if "annotations" in fields else None,
        runbook_urls=tuple(dict.fromkeys(fields.get("runbook_urls", "").split())),
        started_ms=int(fields["started_ms"]) if "started_ms" in fields else None,
        names={name: counts[name] for name in in_order},
        causes={
            int(field.removeprefix(CAUSES)): text
            for field, text in fields.items()
            if field.startswith(CAUSES)
        },
    )


def _name_count(text: str) -> NameCount:
    count, _, others = text.partition(" ")
    return NameCount(int(count) - int(others or 0), int(others or 0))


Told = tuple[
    int, int, int, str, Sequence[Any], Sequence[Any], Sequence[Any], Sequence[Any], Sequence[Any] | None
]
"""A storm as `lua/include/snapshot.lua` tells it."""


def snapshot_of(group_hash: str, reply: Told, now_ms: int) -> Snapshot:
    """What claim.lua and freeze.lua say of a storm."""
    distinct, instances, known_alerts, opening, flat, listed, shown, names, alerts = reply
    fields = mapped(flat)

    def number(name: str) -> int:
        said = int(fields.get(name, 0))
        if abs(said) > MAX_INT:
            raise ValueError(f"{name} is {said}")
        return said

    prefix = fields.get("resource_prefix", "")
    resources = sorted(
        (
            (decoded_resource(resource_of_field(field, prefix)), int(signals))
            for field, signals in mapped(listed).items()
        ),
        key=lambda item: (-item[1], item[0].kind, item[0].namespace or "", item[0].name),
    )
    truncated = number("truncated") == 1
    return Snapshot(
        group_hash=group_hash,
        epoch=number("epoch"),
        state=State(fields["state"]),
        incarnation=fields.get("incarnation", ""),
        origin=fields.get("origin", ""),
        terms=terms_of(fields),
        opening=opening,
        total=number("total"),
        folded=number("total") + number("changes"),
        alerts=number("alerts"),
        tracked_alerts=None if alerts is None else tracked(mapped(alerts)),
        unknown_alerts=number("alerts_unknown"),
        known_alerts=known_alerts,
        alerts_beyond=number("alerts_beyond"),
        firing=instances
        - number("instances_resolved")
        + number("alerts_firing")
        + number("estimated_firing"),
        resolved=number("instances_resolved") + number("alerts_resolved") + number("estimated_resolved"),
        firing_signals=number("firing_signals"),
        approximate=bool(number("estimated_firing") or number("estimated_resolved")),
        severity=number("severity"),
        first_ms=number("first_ms"),
        last_ms=number("last_ms"),
        opened_ms=number("opened_ms"),
        arrived_ms=number("arrived_ms"),
        late_ms=number("late_ms") if number("late_at_ms") == number("arrived_ms") else 0,
        window_ms=number("window_ms") or number("opened_ms"),
        detected=Detected(fields.get("detected", "")),
        rate_per_minute=rate_per_minute(
            number("minute"), number("minute_count"), number("minute_before_count"), now_ms
        ),
        resources=tuple(resources),
        resource_count=max(distinct, number("resources_at_least"), len(resources))
        if truncated
        else len(resources),
        truncated=truncated,
        settled=number("settled") == 1,
        revision=number("reopened") + 1,
        through=number("signals_last"),
        event_through=number("events_last"),
        written=number("written"),
        written_ms=number("written_ms"),
        close_reason=fields.get("close_reason", ""),
        closed_ms=number("closing_ms"),
        firing_alerts=number("alerts_firing") + number("estimated_firing_alerts"),
        still_firing=number("still_firing") > 0,
        fires_again=number("still_firing") == 2,
        stale_alerts=number("alerts_stale"),
        stale_look_ms=number("stale_look_ms") if number("alerts_firing") else 0,
        left_out=number("left_out"),
        evidence=evidence_of(mapped(shown), mapped(names), number("sampled")),
    )
