"""Reasons of gates: may a request proceed, and does a gate select any."""

from stormfold.api.reason import Reason


class GateReason(Reason):
    """Of the conditions Proceed and RequestsSelected."""

    NO_GATE_APPLIES = (
        "NoGateApplies",
        "Proceed is True",
        "No StormGate governs the request. A consumer may begin.",
    )
    GATES_PASS = (
        "GatesPass",
        "Proceed is True",
        "StormGates govern the request, and none says Hold or Stop. A consumer may begin.",
    )
    HELD_BY_GATE = (
        "HeldByGate",
        "Proceed is False",
        (
            "A hold in a StormGate says *not now*. The message says who holds, why and until when. Nothing "
            "starts, and what runs goes on."
        ),
    )
    STOPPED_BY_GATE = (
        "StoppedByGate",
        "Proceed is False",
        "A hold in a StormGate says Stop. Nothing starts, and consumers end what runs.",
    )
    BREAKER_TRIPPED = (
        "BreakerTripped",
        "Proceed is False",
        ("A limit of `breaker` in a StormGate was exceeded. The gate holds all its requests for `cooldown`."),
    )
    AWAITING_CANARY = (
        "AwaitingCanary",
        "Proceed is False",
        "`cooldown` of the StormGate is over. One other request, the canary, tries first.",
    )
    BUDGET_SPENT = (
        "BudgetSpent",
        "Proceed is False",
        (
            "The request has no place: the StormGate's `budget` is used up. A place becomes free when its "
            "request closes, when nobody claims it for 5 minutes, or when something else holds it before "
            "anybody has claimed it."
        ),
    )
    PLACE_LOST = (
        "PlaceLost",
        "Proceed is False",
        (
            "The request lost its place in a StormGate: nobody claimed it for 5 minutes, or something else "
            "holds it. stormfold decides again at once."
        ),
    )
    CANARY = (
        "Canary",
        "Proceed is True",
        (
            "The request is the canary of a tripped StormGate. If its consumer succeeds, the gate passes "
            "again."
        ),
    )
    REQUESTS_MATCH = (
        "RequestsMatch",
        "RequestsSelected is True",
        "The gate governs at least one request that is not closed.",
    )
    NO_REQUEST_MATCHES = (
        "NoRequestMatches",
        "RequestsSelected is False",
        (
            "No open request matches `selector`, so the gate holds nothing now. Check the selector if you "
            "expect one."
        ),
    )
