"""StormGate: who may say that requests are not acted upon now, and until when."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import AwareDatetime, ConfigDict, Field

from stormfold.api.conditions import Conditions
from stormfold.api.decision import Verdict
from stormfold.api.duration import Duration, parse_duration
from stormfold.api.match import SelectorKey, SelectorValue
from stormfold.api.resource import AS_SET, ApiModel, Count, Name, Namespace, Resource, as_map, cel
from stormfold.api.signal import Severity

MAX_TIME = 64
"""Characters of a time in a spec: the status of its gate repeats it, letter by letter."""


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
    """Somebody says: not now. Writing a hold of your own does not lift another one's."""

    by: Annotated[str, Field(min_length=1, max_length=63)]
    """Who holds: a person, a team or a program. A gate has one hold of each."""
    reason: Annotated[str, Field(min_length=1, max_length=256)]
    """Why, as a sentence for people who find it."""
    until: Annotated[AwareDatetime, Field(json_schema_extra={"maxLength": MAX_TIME})] | None = None
    """When the hold ends by itself. Absent: when somebody removes it."""
    verdict: Annotated[
        Verdict,
        Field(json_schema_extra=cel(("self != 'Proceed'", "must be Hold or Stop", ""))),
    ] = Verdict.HOLD
    """Hold: nothing starts, and what runs goes on. Stop: what runs ends, too."""


class Breaker(ApiModel):
    """Trips when the requests that the gate governs are more than one of these limits. A tripped gate holds
    all of them."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            *(
                (f"duration(self.{name}) > duration('0s')", f"{name} must be greater than 0s", f".{name}")
                for name in ("within", "cooldown")
            )
        )
    )

    open_requests: Annotated[int, Field(ge=0, le=100_000)] | None = None
    """More than so many requests that are not closed."""
    resources: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    """More than so many affected resources of them. A resource of two requests counts twice."""
    percent_of_nodes: Annotated[int, Field(ge=0, le=100)] | None = None
    """More than this share of the cluster's nodes: a node counts that a request lists among its resources, or
    by which its group is formed (groupBy node). The operator must be allowed to list nodes."""
    within: Duration = "5m"
    """Requests count that were opened within this time, and since the gate passed again."""
    cooldown: Duration = "5m"
    """How long a tripped gate holds everything. Then one request proceeds, the canary: if its consumer
    succeeds, the gate passes; if it fails, or nobody claims it for 5 minutes, the gate trips again."""

    @property
    def within_ms(self) -> int:
        """`within` in milliseconds."""
        return parse_duration(self.within)

    @property
    def cooldown_ms(self) -> int:
        """`cooldown` in milliseconds."""
        return parse_duration(self.cooldown)


class Budget(ApiModel):
    """How many of the requests proceed. A request keeps its place until it is closed. One that nobody claims
    loses it after 5 minutes, or at once when something else holds it."""

    concurrent: Annotated[int, Field(ge=0, le=100)] | None = None
    """So many at a time."""
    per_hour: Annotated[int, Field(ge=0, le=100)] | None = None
    """So many begin within an hour."""


class StormGateSpec(ApiModel):
    """Which requests are not to be acted upon now."""

    selector: GateSelector | None = None
    """Which requests it governs. Absent: all of its namespace; in the operator's namespace, all."""
    holds: Annotated[tuple[GateHold, ...], Field(max_length=16, json_schema_extra=as_map("by"))] = ()
    """Each of them holds the requests for itself. Of several, the strictest decides."""
    breaker: Breaker | None = None
    """When the gate holds everything by itself."""
    budget: Budget | None = None
    """How many requests proceed at a time, and in an hour."""


class ExpiredHold(ApiModel):
    """A hold whose time is over."""

    by: Annotated[str, Field(min_length=1, max_length=63)]
    """Whose it was."""
    until: Annotated[str, Field(max_length=MAX_TIME)]
    """Its `until`, letter by letter: the same hold with a later one holds again."""


class GateState(StrEnum):
    """Passing: the breaker holds nothing. Tripped: it holds everything. Probing: it holds everything but the
    canary."""

    PASSING = "Passing"
    TRIPPED = "Tripped"
    PROBING = "Probing"


class Place(ApiModel):
    """A request that proceeds by the budget, or as the canary."""

    uid: Annotated[str, Field(min_length=1, max_length=63)]
    """UID of the request."""
    namespace: Namespace
    """Its namespace."""
    name: Name
    """Its name."""
    since: AwareDatetime
    """When it got the place."""
    canary: bool = False
    """True: it tries whether the gate may pass again."""


class GateCounts(ApiModel):
    """What the breaker counts; at most 10 s old."""

    open_requests: Count = 0
    """Requests that are not closed."""
    resources: Count = 0
    """Their affected resources."""
    nodes: Count = 0
    """Their nodes."""


class StormGateStatus(ApiModel):
    """What the gate does now. Written by stormfold."""

    observed_generation: Count | None = None
    """Generation of the spec that this status is about."""
    verdict: Verdict | None = None
    """The verdict on the requests that it governs. Another gate may be stricter."""
    state: GateState | None = None
    """Of the breaker. Absent: the gate has none."""
    since: AwareDatetime | None = None
    """Since when the state is this one."""
    message: Annotated[str, Field(max_length=512)] = ""
    """Why the state is this one."""
    counted_from: AwareDatetime | None = None
    """The breaker counts requests that were opened since then: when the gate passed again."""
    counts: GateCounts | None = None
    """What the breaker counts. Absent: the gate has none."""
    places: Annotated[tuple[Place, ...], Field(max_length=100, json_schema_extra=as_map("uid"))] = ()
    """The requests that proceed by the budget, and the canary. A place is taken here before its request says
    Proceed, and given to another one after its request has said that it does not."""
    unclaimed: Annotated[
        tuple[Annotated[str, Field(max_length=63)], ...], Field(max_length=100, json_schema_extra=AS_SET)
    ] = ()
    """UIDs of open requests that lost a place since nobody claimed them: the others go first."""
    begun: Annotated[tuple[AwareDatetime, ...], Field(max_length=100)] = ()
    """When places were taken within the last hour, for budget.perHour."""
    turn: Count = 0
    """One more with each write that lets requests proceed."""
    held_by: Annotated[str, Field(max_length=63)] = ""
    """Whose holds are not over. What is cut ends in an ellipsis: all are in spec."""
    requests: Count = 0
    """How many requests that are not closed it governs; at most 10 s old."""
    expired_holds: Annotated[
        tuple[ExpiredHold, ...], Field(max_length=16, json_schema_extra=as_map("by"))
    ] = ()
    """The holds that have ended by the operator's clock. Checks of the API server have no clock: for them a
    hold that is not listed here still holds."""
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
