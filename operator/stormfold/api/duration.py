"""Durations as users write them: `1h30m`, `250ms`, in the form of Gateway API's GEP-2257."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Annotated

from pydantic import Field

PATTERN = "^([0-9]{1,5}(h|m|s|ms)){1,4}$"
MAX_LENGTH = 28
"""Four parts of five digits and two letters."""

MAX_MS = 99_999 * 3_600_000 + 59 * 60_000 + 59_000 + 999
"""The longest duration that `format_duration` can write: 99999h59m59s999ms."""

_WHOLE = re.compile(r"([0-9]{1,5}(h|m|s|ms)){1,4}")
_PART = re.compile(r"([0-9]+)(h|ms|m|s)")
_MS = {"h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}


Duration = Annotated[str, Field(pattern=PATTERN, max_length=MAX_LENGTH)]
"""A field of a model that holds a duration as text; `parse_duration` gives its milliseconds."""


@lru_cache(maxsize=1024)
def parse_duration(text: str) -> int:
    """The milliseconds of a duration; parts add up, in any order, and a unit may come twice, as in Go.

    Raises:
        ValueError: the text is not of the form.
    """
    if _WHOLE.fullmatch(text) is None:
        raise ValueError(
            f"{text!r} is not a duration: must be one to four numbers with h, m, s or ms, such as 1h30m"
        )
    return sum(int(number) * _MS[unit] for number, unit in _PART.findall(text))


def format_duration(ms: int) -> str:
    """The shortest text of that many milliseconds, the largest unit first: 90000 gives `1m30s`, 0 gives `0s`.

    Raises:
        ValueError: negative, or more than `MAX_MS`.
    """
    if not 0 <= ms <= MAX_MS:
        raise ValueError(f"{ms} ms cannot be written as a duration: must be from 0 to {MAX_MS}")
    parts = []
    for unit, size in _MS.items():
        number, ms = divmod(ms, size)
        if number:
            parts.append(f"{number}{unit}")
    return "".join(parts) or "0s"
