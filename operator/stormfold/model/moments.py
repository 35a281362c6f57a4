"""Moments: times as the API writes them, and the operator's clock."""

import time
from datetime import UTC, datetime

FIRST_SECOND = int(datetime.min.replace(tzinfo=UTC).timestamp())
LAST_SECOND = int(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp())
"""What can be written: whoever forges a time in a status must not keep the storm from being written."""


def now_ms() -> int:
    """The operator's clock, Unix ms."""
    return int(time.time() * 1000)


def moment(milliseconds: int) -> datetime:
    """A time as the API writes it, to the second."""
    return datetime.fromtimestamp(max(FIRST_SECOND, min(milliseconds // 1000, LAST_SECOND)), UTC)


def written(milliseconds: int) -> str:
    """The text of such a time: `2026-01-31T09:30:00Z`."""
    return moment(milliseconds).isoformat().removesuffix("+00:00") + "Z"


def milliseconds(moment: datetime | None) -> int:
    """Unix ms of a time; 0 if there is none."""
    return int(moment.timestamp() * 1000) if moment else 0
