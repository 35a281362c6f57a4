"""The decision on a request: whether its consumer may begin, must wait, or must end."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import AwareDatetime, Field

from stormfold.api.resource import ApiModel, Count, Name, Namespace


class Verdict(StrEnum):
    """Proceed: act. Hold: do not start; what runs goes on. Stop: do not start, and end what runs."""

    PROCEED = "Proceed"
    HOLD = "Hold"
    STOP = "Stop"

    @property
    def strictness(self) -> int:
        """Of two verdicts the higher one wins."""
        return list(Verdict).index(self)


class DecisionRef(ApiModel):
    """What led to a decision."""

    kind: Annotated[str, Field(min_length=1, max_length=63)]
    """Kind of the object: StormGate."""
    namespace: Namespace
    """Namespace of the object."""
    name: Name
    """Name of the object."""
    hold: Annotated[str, Field(max_length=63)] | None = None
    """The `by` of the hold, if it was one."""


class Decision(ApiModel):
    """Whether a consumer may begin. No decision reads as Hold."""

    verdict: Verdict
    """Proceed: act. Hold: do not start; what runs goes on. Stop: do not start, and end what runs."""
    reason: Annotated[str, Field(pattern="^[A-Za-z]+$", max_length=63)]
    """Why, as one word: https://stormfold.dev/reasons/."""
    message: Annotated[str, Field(max_length=1024)] = ""
    """Why, as a sentence."""
    by: Annotated[tuple[DecisionRef, ...], Field(max_length=8)] = ()
    """What keeps it from Proceed, the strictest first: at most eight."""
    since: AwareDatetime
    """Since when the verdict is this one."""
    held_seconds: Count = 0
    """For how long the verdict was not Proceed before `since`: window.maxDuration does not run meanwhile."""
    until: AwareDatetime | None = None
    """When it is decided again at the latest. Absent: only a change of a gate, or of a request, leads to
    another decision."""
