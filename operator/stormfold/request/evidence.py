"""What a request shows of its signals: what it has shown so far, and what came since. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from stormfold.model.evidence import Evidence, NameCount
from stormfold.model.limits import COUNTED_NAMES, FIRST_SAMPLES

FIELDS = ("signalNames", "samples")
"""Those of a status that are kept as they were written, and written again only if they change."""
SHOWN_NAMES = COUNTED_NAMES // 2


def taken_out(status: dict[str, Any]) -> bytes:
    """These fields of a status as JSON; they are not in it any more."""
    return orjson.dumps({field: status.pop(field) for field in FIELDS if status.get(field) is not None})


def changes(
    new: Evidence, names: Mapping[str, NameCount], *, held: bytes, sampled: int, shown: int
) -> dict[str, Any]:
    """What is to be written over `held`, which was written after so many samples. `names` are all that are
    known, and `shown` is how many samples the policy wants."""
    before: Mapping[str, Any] = orjson.loads(held)
    after = {
        "signalNames": [_name(name, count) for name, count in list(names.items())[:SHOWN_NAMES]],
        "samples": _samples(new, before.get("samples", []), sampled, shown),
    }
    return {field: value for field, value in after.items() if value != before.get(field, [])}


def _name(name: str, count: NameCount) -> dict[str, Any]:
    said = {"name": name, "signals": count.signals}
    return said | {"approximate": True} if count.others else said


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
