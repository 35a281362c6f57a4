"""What a reason is; `stormfold.api.reasons` has them all."""

from enum import StrEnum
from typing import Self


class Reason(StrEnum):
    """Every reason that a condition, an Event, the status of a Signal or an answer to Alertmanager can give;
    `where` it appears, and its `meaning`."""

    where: str
    meaning: str

    def __new__(cls, value: str, where: str, meaning: str) -> Self:
        member = str.__new__(cls, value)
        member._value_ = value
        member.where = where
        member.meaning = member.__doc__ = meaning
        return member
