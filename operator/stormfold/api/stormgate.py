"""StormGate: who may say that requests are not acted upon now, and until when."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import AwareDatetime, Field

from stormfold.api.conditions import Conditions
from stormfold.api.decision import Verdict
from stormfold.api.resource import AS_SET, ApiModel, Count, Name, Namespace, Resource, as_map, cel
from stormfold.api.signal import Severity
from stormfold.api.stormpolicy import SelectorKey, SelectorValue


class GateSelector(ApiModel):
    """Which requests a gate governs. What is left out selects everything; what is given must all hold."""

    policies: Annotated[tuple[Name, ...], Field(max_length=32, json_schema_extra=AS_SET)] = ()
    """Names of policies: the request was made under one of them (spec.policyRef.name)."""
    severities: Annotated[tuple[Severity, ...], Field(max_length=5, json_schema_extra=AS_SET)] = ()
    """Severities: the highest one that the request has seen is one of them."""
    labels: Annotated[dict[SelectorKey, SelectorValue], Field(max_length=16)] = Field(default_factory=dict)
    """Labels of the group: the policy groups by labels.<key>, and spec.group has this value of it."""
    namespaces: Annotated[tuple[Namespace, ...], Field(max_length=64, json_schema_extra=AS_SET)] = ()
    """Namespaces of requests. A gate outside of the operator's namespace governs its own one only."""


class GateHold(ApiModel):
    """Somebody says: not now. Nobody lifts another one's hold by writing their own."""

    by: Annotated[str, Field(min_length=1, max_length=63)]
    """Who holds: a person, a team or a program. A gate has one hold of each."""
    reason: Annotated[str, Field(min_length=1, max_length=256)]
    """Why, as a sentence for whoever finds it."""
    until: AwareDatetime | None = None
    """When the hold ends by itself. Absent: when somebody removes it."""
    verdict: Annotated[
        Verdict,
        Field(json_schema_extra=cel(("self != 'Proceed'", "must be Hold or Stop", ""))),
    ] = Verdict.HOLD
    """Hold: nothing starts, and what runs goes on. Stop: what runs ends, too."""


class StormGateSpec(ApiModel):
    """Which requests are not to be acted upon now."""

    selector: GateSelector | None = None
    """Which requests it governs. Absent: all of its namespace; in the operator's namespace, all."""
    holds: Annotated[tuple[GateHold, ...], Field(max_length=16, json_schema_extra=as_map("by"))] = ()
    """Each of them holds the requests for itself. Of several, the strictest decides."""


class ExpiredHold(ApiModel):
    """A hold whose time is over."""

    by: Annotated[str, Field(min_length=1, max_length=63)]
    """Whose it was."""
    until: Annotated[str, Field(max_length=64)]
    """Its `until`, letter by letter: the same hold with a later one holds again."""


class StormGateStatus(ApiModel):
    """What the gate does now. Written by stormfold."""

    observed_generation: Count | None = None
    """Generation of the spec that this status is about."""
    verdict: Verdict | None = None
    """The verdict on the requests that it governs. Another gate may be stricter."""
    requests: Count = 0
    """How many requests that are not closed it governs; at most 10 s old."""
    expired_holds: Annotated[
        tuple[ExpiredHold, ...], Field(max_length=16, json_schema_extra=as_map("by"))
    ] = ()
    """The holds that are over by the operator's clock. The API server has none for its own checks: it takes a
    hold that is not listed here as one that holds."""
    conditions: Conditions = ()
    """Accepted: the spec is in force; the message says what of it has no effect. RequestsSelected: it governs
    at least one request that is not closed."""


class StormGate(Resource):
    """A gate before consumers: while it says Hold or Stop, they do not act on the requests that it governs.
    Signals are counted all the same."""

    plural: ClassVar[str] = "stormgates"

    spec: StormGateSpec = Field(default_factory=StormGateSpec)
    """Which requests are not to be acted upon now, why, and until when."""
    status: StormGateStatus | None = None
    """What the gate does now. Written by stormfold."""
