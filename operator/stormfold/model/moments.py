"""Moments: times as the API writes them."""

from datetime import UTC, datetime

FIRST_SECOND = int(datetime.min.replace(tzinfo=UTC).timestamp())
LAST_SECOND = int(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp())
"""What can be written: whoever forges a time in a status must not keep the storm from being written."""


def moment(milliseconds: int) -> datetime:
    """A time as the API writes it, to the second."""
    return datetime.fromtimestamp(max(FIRST_SECOND, min(milliseconds // 1000, LAST_SECOND)), UTC)


def milliseconds(moment: datetime | None) -> int:
    """Unix ms of a time; 0 if there is none."""
    return int(moment.timestamp() * 1000) if moment else 0
