"""What a request shows of its signals: what it has shown so far, and what came since. Pure."""

from collections.abc import Mapping
from typing import Any

import orjson

from stormfold.model.evidence import Evidence
from stormfold.model.limits import FIRST_SAMPLES

FIELDS = ("samples",)
"""Those of a status that are kept as they were written, and written again only if they change."""


def taken_out(status: dict[str, Any]) -> bytes:
    """These fields of a status as JSON; they are not in it any more."""
    return orjson.dumps({field: status.pop(field) for field in FIELDS if status.get(field) is not None})


def changes(new: Evidence, *, held: bytes, sampled: int, shown: int) -> dict[str, Any]:
    """What is to be written over `held`, which was written after so many samples. `shown` is how many samples
    the policy wants."""
    before: Mapping[str, Any] = orjson.loads(held)
    samples = _samples(new, before.get("samples", []), sampled, shown)
    return {} if samples == before.get("samples", []) else {"samples": samples}


def _samples(new: Evidence, held: list[Any], sampled: int, shown: int) -> list[Any]:
    most_first = min(FIRST_SAMPLES, shown)
    first, latest = held[:most_first], held[most_first:]
    for number in sorted(new.samples):
        if number > sampled:
            (first if number <= FIRST_SAMPLES else latest).append(orjson.loads(new.samples[number]))
    latest = latest[max(0, len(latest) - (shown - most_first)) :]
    return first[:most_first] + latest
