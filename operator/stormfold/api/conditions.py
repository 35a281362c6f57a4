"""Conditions of requests, policies and gates."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated

from pydantic import AwareDatetime, Field

from stormfold.api.resource import ApiModel, Count, as_map


class ConditionType(StrEnum):
    """The conditions that stormfold sets."""

    STORM_DETECTED = "StormDetected"
    SETTLED = "Settled"
    RECOVERED = "Recovered"
    TRUNCATED = "Truncated"
    CLOSED = "Closed"
    EXACT = "Exact"
    CLAIM_EXPIRED = "ClaimExpired"
    REMEDIATION_PHASE_UNKNOWN = "RemediationPhaseUnknown"
    STALE_REMEDIATION = "StaleRemediation"
    PROCEED = "Proceed"
    ACCEPTED = "Accepted"
    GROUPS_WAITING = "GroupsWaiting"
    GROUP_VALUE_MISSING = "GroupValueMissing"
    REQUESTS_SELECTED = "RequestsSelected"


OURS = frozenset(ConditionType)


class ConditionStatus(StrEnum):
    """Whether a condition holds."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Condition(ApiModel):
    """One finding about an object."""

    type: Annotated[str, Field(min_length=1, max_length=316)]
    """What the finding is about."""
    status: ConditionStatus
    """Whether it holds."""
    observed_generation: Count | None = None
    """Generation of the spec that the finding is about."""
    last_transition_time: AwareDatetime
    """When status changed last."""
    reason: Annotated[
        str, Field(min_length=1, max_length=1024, pattern="^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$")
    ]
    """Why, as one word; https://stormfold.dev/reasons/ explains those of stormfold."""
    message: Annotated[str, Field(max_length=32768)] = ""
    """Why, as a sentence."""

    @property
    def holds(self) -> bool:
        """Whether it is True."""
        return self.status is ConditionStatus.TRUE


MAX_CONDITIONS = 32
Conditions = Annotated[
    tuple[Condition, ...], Field(max_length=MAX_CONDITIONS, json_schema_extra=as_map("type"))
]
"""A status field of conditions, one per type."""


def set_condition(conditions: Iterable[Condition], new: Condition) -> tuple[Condition, ...]:
    """The conditions with `new` in the place of the one of its type, or behind all others.

    `new.last_transition_time` is the present: it is kept only if `status` differs from what was there. Other
    types, also those that somebody else set, stay as they are and where they are. Where there is no room, the
    last of somebody else gives way.
    """
    result = list(conditions)
    for place, old in enumerate(result):
        if old.type == new.type:
            since = old.last_transition_time if old.status == new.status else new.last_transition_time
            result[place] = new.model_copy(update={"last_transition_time": since})
            return tuple(result)
    if len(result) >= MAX_CONDITIONS:
        del result[max(place for place, old in enumerate(result) if old.type not in OURS)]
    return (*result, new)
