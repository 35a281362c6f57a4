"""What the scripts answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from stormfold.fold.arguments import Fold
from stormfold.fold.resources import decoded_resource, resource_of_field
from stormfold.model.storm import Detected, Snapshot, State, Terms


class FoldWord(StrEnum):
    """What fold.lua says of one storm."""

    COUNTED = "counted"
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
    GONE = "gone"
    LOST = "lost"
    NEWER_EPOCH = "newer-epoch"


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
    doubtful: frozenset[int] = frozenset()
    """Places of the alerts that may have been counted before Redis lost which ones were."""
    discarded: frozenset[int] = frozenset()
    """Places of those that are in no request, and will be in none; their ordinals are 0."""
    discarded_as: str = ""
    """What the last group that was discarded was to be told."""


def folded_of(fold: Fold, reply: Sequence[Any]) -> Folded:
    """What fold.lua says of one storm of a batch."""
    word, epoch, folded, is_open, due_ms, written, incarnation, discarded_as, *ordinals = reply
    doubtful: frozenset[int] = frozenset()
    discarded: frozenset[int] = frozenset()
    if len(ordinals) == 1 < len(fold.arrivals):  # all are new, and this is the first of them
        ordinals = list(range(ordinals[0], ordinals[0] + len(fold.arrivals)))
    else:
        doubtful = frozenset(place for place, ordinal in enumerate(ordinals) if (ordinal or 0) < 0)
        discarded = frozenset(place for place, ordinal in enumerate(ordinals) if ordinal is None)
        ordinals = [abs(ordinal or 0) for ordinal in ordinals]
    return Folded(
        FoldWord(word),
        epoch,
        folded,
        bool(is_open),
        due_ms,
        written,
        incarnation,
        ordinals,
        doubtful,
        discarded,
        discarded_as,
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


def snapshot_of(
    group_hash: str, reply: tuple[int, str, Sequence[Any], Sequence[Any]], now_ms: int
) -> Snapshot:
    """What claim.lua and freeze.lua say of a storm."""
    distinct, opening, flat, listed = reply
    fields = mapped(flat)

    def number(name: str) -> int:
        return int(fields.get(name, 0))

    resources = sorted(
        (
            (decoded_resource(resource_of_field(name, fields["b"])), signals)
            for name, signals in mapped(listed).items()
        ),
        key=lambda item: (-item[1], item[0].kind, item[0].namespace or "", item[0].name),
    )
    truncated = number("tr") == 1
    opened_ms = number("o")
    return Snapshot(
        group_hash=group_hash,
        epoch=number("e"),
        state=State(fields["s"]),
        incarnation=fields.get("g", ""),
        origin=fields.get("og", ""),
        terms=Terms.decoded(fields["k"]),
        opening=opening,
        total=number("t"),
        folded=number("t") + number("n"),
        alerts=number("na"),
        repeats=number("mb"),
        latest_start_ms=number("ls"),
        alerts_beyond=number("ab") == 1,
        firing=number("f") + number("af") + number("xf"),
        resolved=number("r") + number("ar") + number("xr"),
        firing_signals=number("nf"),
        approximate=bool(number("xf") or number("xr")),
        severity=number("v"),
        first_ms=opened_ms + number("a"),
        last_ms=opened_ms + number("z"),
        opened_ms=opened_ms,
        arrived_ms=opened_ms + number("l"),
        late_ms=number("y"),
        window_ms=number("ws") or opened_ms,
        detected=Detected(fields.get("d", "")),
        rate_per_minute=rate_per_minute(
            opened_ms // 60_000 + number("m"), number("c0"), number("c1"), now_ms
        ),
        resources=tuple(resources),
        resource_count=max(distinct, number("hb"), number("rc")) if truncated else number("rc"),
        truncated=truncated,
        settled=number("q") == 1,
        revision=number("re") + 1,
        through=number("p"),
        event_through=number("pe"),
        written=number("w"),
        written_ms=number("lw"),
        close_reason=fields.get("cr", ""),
        closed_ms=number("ct"),
        firing_alerts=number("af") + number("xa"),
        left_out=number("lo"),
    )
