"""Conditions of requests and policies, and every reason that a status can give."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Self

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
    """Why, as one word; docs/reasons.md explains those of stormfold."""
    message: Annotated[str, Field(max_length=32768)] = ""
    """Why, as a sentence."""

    @property
    def holds(self) -> bool:
        """Whether it is True."""
        return self.status is ConditionStatus.TRUE


Conditions = Annotated[tuple[Condition, ...], Field(max_length=32, json_schema_extra=as_map("type"))]
"""A status field of conditions, one per type."""


def set_condition(conditions: Iterable[Condition], new: Condition) -> tuple[Condition, ...]:
    """The conditions with `new` in the place of the one of its type, or behind all others.

    `new.last_transition_time` is the present: it is kept only if `status` differs from what was there. Other
    types, also those that somebody else set, stay as they are and where they are.
    """
    result = list(conditions)
    for place, old in enumerate(result):
        if old.type == new.type:
            since = old.last_transition_time if old.status == new.status else new.last_transition_time
            result[place] = new.model_copy(update={"last_transition_time": since})
            return tuple(result)
    return (*result, new)


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

    SIGNAL_THRESHOLD_REACHED = (
        "SignalThresholdReached",
        "StormDetected is True",
        "As many signals came within `threshold.within` as `threshold.signals` asks for.",
    )
    RESOURCE_THRESHOLD_REACHED = (
        "ResourceThresholdReached",
        "StormDetected is True",
        "As many different targets were named within `threshold.within` as `threshold.resources` asks for.",
    )
    BELOW_THRESHOLD = (
        "BelowThreshold",
        "StormDetected is False; Signal is Discarded; alert is pending or discarded",
        (
            "The group stayed below the threshold. It has a request if `belowThreshold` is Request, none if "
            "it is Discard. An alert is pending until the threshold is reached or `within` is over."
        ),
    )
    QUIET = (
        "Quiet",
        "Settled is True",
        "No signal came for `window.idle`; the counts are final unless another one comes.",
    )
    SIGNALS_ARRIVING = (
        "SignalsArriving",
        "Settled is False",
        "The latest signal is younger than `window.idle`.",
    )
    ALL_RESOLVED = ("AllResolved", "Recovered is True", "The last signal of every instance was Resolved.")
    STILL_FIRING = (
        "StillFiring",
        "Recovered is False; Closed is False",
        (
            "The last signal of at least one instance was Firing. With `closeOn: Recovered` this holds the "
            "request open."
        ),
    )
    ALERTS_STALE = (
        "AlertsStale",
        "Recovered is Unknown",
        (
            "Nothing is known to fire, but alerts were neither repeated nor resolved for `staleAfter`. "
            "`status.signals.stale` is how many. A sender that resolves (`send_resolved: true`) leaves none."
        ),
    )
    INSTANCES_NOT_TRACKED = (
        "InstancesNotTracked",
        "Recovered is Unknown",
        (
            "There are more instances than are tracked, or Redis lost them, so nobody can say whether all "
            "are resolved."
        ),
    )
    WITHIN_LIMIT = ("WithinLimit", "Truncated is False", "`status.resources` lists every target.")
    RESOURCE_LIMIT_REACHED = (
        "ResourceLimitReached",
        "Truncated is True",
        ("There are more targets than `limits.resources`. The first ones are listed, all are counted."),
    )
    NOT_CLOSED = (
        "NotClosed",
        "Closed is False",
        "The next signal of the group is still counted in this request.",
    )
    ALERTS_FIRING = (
        "AlertsFiring",
        "Closed is False",
        (
            "Alerts still fire and hold the request open. `closeAfter` begins when all have resolved, or are "
            "stale; `window.maxDuration` ends it in any case."
        ),
    )
    REMEDIATION_FINISHED = (
        "RemediationFinished",
        "Closed is True",
        "`status.remediation.phase` is terminal. The next signal opens another request.",
    )
    CLOSED_BY_ANNOTATION = (
        "ClosedByAnnotation",
        "Closed is True",
        'Somebody set the annotation `stormfold.dev/close: "true"`. The next signal opens another request.',
    )
    QUIET_FOR_CLOSE_AFTER = (
        "QuietForCloseAfter",
        "Closed is True",
        "No signal came for `closeAfter`, and nothing fires that holds the request open.",
    )
    MAX_DURATION_REACHED = (
        "MaxDurationReached",
        "Closed is True",
        "The storm has lasted `window.maxDuration`. Signals that still come are counted in the next request.",
    )
    NEWER_EPOCH_OPENED = (
        "NewerEpochOpened",
        "Closed is True",
        "A later storm of the same group is open, so this one can get no more signals.",
    )
    EACH_COUNTED_ONCE = ("EachCountedOnce", "Exact is True", "Each signal is known to count once.")
    ALERTS_MAY_REPEAT = (
        "AlertsMayRepeat",
        "Exact is False",
        (
            "Redis lost its data, and the request does not list all its alerts: it lists up to 1,000, or its "
            "list was unreadable. So many of the others may count twice."
        ),
    )
    ALERT_LIST_UNREADABLE = (
        "AlertListUnreadable",
        "Event of a RemediationRequest",
        (
            "`status.withAlerts` is no list that stormfold has written. It is ignored, and written anew with "
            "the next change of an alert. Let nobody else write the status."
        ),
    )
    ALERTS_ESTIMATED = (
        "AlertsEstimated",
        "Exact is False",
        "There are more alerts than are known one by one. Those beyond are counted by an estimate.",
    )
    ALERTS_LEFT_OUT = (
        "AlertsLeftOut",
        "Exact is False",
        (
            "The sender says that it left alerts out of a post (`truncatedAlerts`). Set `max_alerts` in its "
            "receiver to 0."
        ),
    )
    CLAIM_EXPIRED = (
        "ClaimExpired",
        "Event of a RemediationRequest",
        "A consumer has not renewed its claim. Another one may take over.",
    )
    CLAIM_NOT_RENEWED = (
        "ClaimNotRenewed",
        "ClaimExpired is True",
        "The time in `status.remediation.claim.expirationTime` is over. Another consumer may take over.",
    )
    CLAIM_VALID = ("ClaimValid", "ClaimExpired is False", "A consumer holds the claim.")
    NOT_CLAIMED = ("NotClaimed", "ClaimExpired is False", "There is no claim any more.")
    CLAIM_ENDED = ("ClaimEnded", "ClaimExpired is False", "The request is closed, and its claim with it.")
    REMEDIATION_PHASE_UNKNOWN = (
        "RemediationPhaseUnknown",
        "Event of a RemediationRequest",
        "`status.remediation.phase` is no known phase. The request stays open.",
    )
    PHASE_NOT_KNOWN = (
        "PhaseNotKnown",
        "RemediationPhaseUnknown is True",
        (
            "`status.remediation.phase` is in neither `STORMFOLD_TERMINAL_PHASES` nor "
            "`STORMFOLD_ACTIVE_PHASES`. It leaves the request open. Correct it, or add it to the setting."
        ),
    )
    PHASE_KNOWN = ("PhaseKnown", "RemediationPhaseUnknown is False", "The phase is known, or there is none.")
    STALE_REMEDIATION = (
        "StaleRemediation",
        "Event of a RemediationRequest",
        "A terminal phase is about an older revision. The request stays open.",
    )
    OLDER_REVISION = (
        "OlderRevision",
        "StaleRemediation is True",
        (
            "`status.remediation.phase` is terminal and `observedRevision` is below `status.revision`: "
            "signals came after the consumer had looked. Look again, and report anew."
        ),
    )
    REVISION_CURRENT = (
        "RevisionCurrent",
        "StaleRemediation is False",
        "`status.remediation` reports no end of an older revision.",
    )
    NO_GATE_APPLIES = ("NoGateApplies", "Proceed is True", "No StormGate governs the request.")
    GATES_PASS = (
        "GatesPass",
        "Proceed is True",
        "StormGates govern the request, and none says Hold or Stop.",
    )
    HELD_BY_GATE = (
        "HeldByGate",
        "Proceed is False",
        "A hold in a StormGate says that nothing may start; the message says whose, why and until when.",
    )
    STOPPED_BY_GATE = (
        "StoppedByGate",
        "Proceed is False",
        "A hold in a StormGate says Stop: nothing may start, and what runs is to end.",
    )
    BREAKER_TRIPPED = (
        "BreakerTripped",
        "Proceed is False",
        "A limit of `breaker` in a StormGate was exceeded: it holds all its requests for `cooldown`.",
    )
    AWAITING_CANARY = (
        "AwaitingCanary",
        "Proceed is False",
        "`cooldown` of a StormGate is over, and one other request tries first, the canary.",
    )
    BUDGET_SPENT = (
        "BudgetSpent",
        "Proceed is False",
        (
            "As many requests proceed as `budget` of a StormGate allows. A place is freed when a request "
            "closes, or when nobody has claimed it for 5 minutes."
        ),
    )
    PLACE_LOST = (
        "PlaceLost",
        "Proceed is False",
        "Nobody claimed the request for 5 minutes, so that it loses its place. It is judged anew at once.",
    )
    CANARY = (
        "Canary",
        "Proceed is True",
        "This request tries whether a tripped StormGate may pass again: if its consumer succeeds, it does.",
    )
    STORM_OPENED = ("StormOpened", "Event of a RemediationRequest", "The request was made.")
    STORM_SETTLED = ("StormSettled", "Event of a RemediationRequest", "No signal came for `window.idle`.")
    STORM_REOPENED = (
        "StormReopened",
        "Event of a RemediationRequest",
        "A signal came after the storm had settled.",
    )
    STORM_CLOSED = (
        "StormClosed",
        "Event of a RemediationRequest",
        "The storm is over for good; the message says why.",
    )
    COUNTED = ("Counted", "Signal is Folded", "The signal is counted in the request that its status names.")
    TARGET_IN_OTHER_NAMESPACE = (
        "TargetInOtherNamespace",
        "Signal is Rejected",
        (
            "The target is in another namespace than the Signal, and only Signals in the operator's own one "
            "may name such."
        ),
    )
    STARTS_IN_FUTURE = (
        "StartsInFuture",
        "Signal is Rejected",
        "`startsAt` lies in the future by more than clocks may differ.",
    )
    NO_POLICY_MATCHES = (
        "NoPolicyMatches",
        "Signal is Rejected",
        (
            "No accepted policy governs the signal. A ClusterStormPolicy with an empty `match` governs all "
            "but Kubernetes Events."
        ),
    )
    INVALID_SIGNAL = (
        "InvalidSignal",
        "Signal is Rejected",
        "The spec cannot be read; the message says which field is at fault.",
    )
    GROUP_WAIT = (
        "GroupWait",
        "Alert is pending",
        "The `groupWait` of the policy is longer than 5 s: the request is made when it is over.",
    )
    NOTHING_FIRING = (
        "NothingFiring",
        "Signal is Discarded; alert is pending or discarded",
        "A Resolved signal came for a group that has no open storm. An alert is pending for `within`.",
    )
    REQUEST_REFUSED = (
        "RequestRefused",
        "Event of a Signal",
        (
            "The API server does not take the request of its group; the message has its words. The signals "
            "are kept, and it is tried again."
        ),
    )
    NAMESPACE_NOT_FOUND = (
        "NamespaceNotFound",
        "Alert is rejected",
        "The alert's labels name a namespace that does not exist, and its request would be made there.",
    )
    REQUEST_NAMESPACE_NOT_FOUND = (
        "RequestNamespaceNotFound",
        "Accepted is True; Signal is Rejected; alert is rejected",
        (
            "The namespace that the policy names in `requestNamespace` does not exist. The policy is in "
            "force, but makes no requests."
        ),
    )
    INVALID_ALERT = (
        "InvalidAlert",
        "Alert is rejected",
        "The alert has no name, no status or no start that can be read; the message says which.",
    )
    LOOP_DETECTED = (
        "LoopDetected",
        "Alert is rejected",
        "stormfold has posted the alert itself, to say that a storm is open: it counts in no storm.",
    )
    NAMESPACE_NOT_ALLOWED = (
        "NamespaceNotAllowed",
        "Alert is rejected; webhook answers 403",
        "The sender may not create Signals in the namespace that the alert reports on.",
    )
    INVALID_BODY = (
        "InvalidBody",
        "Webhook answers 400",
        (
            "The body is not what Alertmanager's or Grafana's webhook sends: JSON, an object with `version` "
            "and a list of `alerts`."
        ),
    )
    UNSUPPORTED_PAYLOAD_VERSION = (
        "UnsupportedPayloadVersion",
        "Webhook answers 400",
        "The `version` of the body is neither 4, as Alertmanager says, nor 1, as Grafana does.",
    )
    NO_ALERT_USABLE = (
        "NoAlertUsable",
        "Webhook answers 400",
        "Every alert of the body is rejected; the list `rejected` says why.",
    )
    NOT_AUTHENTICATED = (
        "NotAuthenticated",
        "Webhook answers 401",
        "There is no bearer token, or the API server does not know it, or it is for another audience.",
    )
    NO_SUCH_ENDPOINT = (
        "NoSuchEndpoint",
        "Webhook answers 404 or 405",
        (
            "Alerts are taken by POST to /v1/alertmanager and nowhere else. Prometheus and vmalert send to "
            "an Alertmanager."
        ),
    )
    BODY_TOO_SLOW = ("BodyTooSlow", "Webhook answers 408", "The body did not come in time.")
    BODY_TOO_LARGE = (
        "BodyTooLarge",
        "Webhook answers 413",
        (
            "The body is larger than the webhook takes: more labels in `group_by` of the sender's route make "
            "it smaller."
        ),
    )
    TOO_MANY_ALERTS = (
        "TooManyAlerts",
        "Webhook answers 413",
        "The body has more alerts than the webhook takes at once.",
    )
    UNSUPPORTED_MEDIA_TYPE = (
        "UnsupportedMediaType",
        "Webhook answers 415",
        "The body is not said to be plain application/json in UTF-8.",
    )
    TOO_MANY_POSTS_OF_CALLER = (
        "TooManyPostsOfCaller",
        "Webhook answers 429",
        "This caller has its share of the posts that may be under way at once: half of what others leave.",
    )
    TOO_MANY_POSTS = (
        "TooManyPosts",
        "Webhook answers 503",
        "The posts of other callers take what may be under way at once; come again.",
    )
    INTERNAL_ERROR = ("InternalError", "Webhook answers 500", "A fault of stormfold, which its log tells of.")
    NOT_SERVING = (
        "NotServing",
        "Webhook answers 503",
        "This replica is starting or stopping, or cannot reach Redis; the message says which.",
    )
    REVIEW_UNAVAILABLE = (
        "ReviewUnavailable",
        "Webhook answers 503",
        "The API server did not say whose token it is or what it may.",
    )
    NO_ROOM = (
        "NoRoom",
        "Webhook answers 503; Event of a Signal",
        (
            "As many signals of the namespace wait for requests as may. Signals are counted later, alerts "
            "when posted again."
        ),
    )
    NOT_DURABLE_IN_TIME = (
        "NotDurableInTime",
        "Webhook answers 503",
        (
            "Not all alerts were in a request in time. They may well be soon; posted again, they are counted "
            "once."
        ),
    )
    VALID = ("Valid", "Accepted is True", "The policy is in force.")
    OPEN_STORMS_WITHIN_LIMIT = (
        "OpenStormsWithinLimit",
        "GroupsWaiting is False",
        "Each group that needs a request has one.",
    )
    OPEN_STORMS_REACHED = (
        "OpenStormsReached",
        "GroupsWaiting is True; Signal is Discarded; webhook answers 503",
        (
            "The policy has `limits.openStorms` open storms in the namespace: a new group waits until one is "
            "closed, the highest severity first. Its Signals wait for an hour at most."
        ),
    )
    GROUP_VALUE_MISSING = (
        "GroupValueMissing",
        "GroupValueMissing is True",
        (
            "Signals came that have no value of a key in `groupBy`. They go to the next policy of "
            "which they have all keys, or form a group of their own: see `missingKeys`. The number is what "
            "the leading replica has met since it started, up to 100."
        ),
    )
    GROUP_VALUES_THERE = (
        "GroupValuesThere",
        "GroupValueMissing is False",
        "Since the policy was changed, no signal has lacked a key of `groupBy`.",
    )
    OWNERS_NOT_READABLE = (
        "OwnersNotReadable",
        "Accepted is True",
        (
            "The policy is in force, but groups by owner or node, which are null while RBAC keeps stormfold "
            "from reading them."
        ),
    )
    EQUAL_PRIORITY = (
        "EqualPriority",
        "Accepted is True",
        (
            "Another policy of the same namespace, or of the cluster, has the same `priority` and can match "
            "the same signals: the name decides which goes first."
        ),
    )
    GLOB_LOOKS_LIKE_REGEX = (
        "GlobLooksLikeRegex",
        "Accepted is True",
        "A pattern in `match` looks like a regular expression. Patterns are globs: `*`, `?`, `[abc]`.",
    )
    TOO_MANY_POLICIES = (
        "TooManyPolicies",
        "Accepted is False",
        "The namespace has 50 policies that go before this one. Merge some, or delete them.",
    )
    TOO_MANY_GATES = (
        "TooManyGates",
        "Accepted is False",
        "The namespace has 50 StormGates whose names go before this one. Merge some, or delete them.",
    )
    HOLD_EXPIRED = (
        "HoldExpired",
        "Accepted is True",
        "The `until` of a hold is over, so that it holds nothing. Remove it, or set a later `until`.",
    )
    INVALID_UNTIL = (
        "InvalidUntil",
        "Accepted is True",
        "The `until` of a hold cannot be read, so that it holds until somebody removes it.",
    )
    NAMESPACE_NOT_GOVERNED = (
        "NamespaceNotGoverned",
        "Accepted is True",
        (
            "A StormGate names namespaces that it does not govern: outside of the operator's namespace it "
            "governs its own one only."
        ),
    )
    LIMIT_IS_ZERO = (
        "LimitIsZero",
        "Accepted is True",
        "A limit of a StormGate is 0 and has no effect. To hold everything, use a hold.",
    )
    NODES_NOT_READABLE = (
        "NodesNotReadable",
        "Accepted is True",
        (
            "The operator may not list nodes, so that `breaker.percentOfNodes` has no effect: apply the "
            "component `steering`."
        ),
    )
    REQUESTS_MATCH = (
        "RequestsMatch",
        "RequestsSelected is True",
        "At least one request that is not closed matches `selector`.",
    )
    NO_REQUEST_MATCHES = (
        "NoRequestMatches",
        "RequestsSelected is False",
        "No request that is not closed matches `selector`: the gate holds nothing now.",
    )
    INVALID_SPEC = (
        "InvalidSpec",
        "Accepted is False",
        (
            "The spec cannot be read, perhaps since it is older than the CRD; the message says which field "
            "is at fault."
        ),
    )
    GLOB_MATCHES_NOTHING = (
        "GlobMatchesNothing",
        "Accepted is False",
        "A glob in `match` can match no name or source at all.",
    )
    EMPTY_LABEL_NAME = (
        "EmptyLabelName",
        "Accepted is False",
        "`groupBy` has `labels.` with no label behind it.",
    )
    INVALID_LABEL_NAME = (
        "InvalidLabelName",
        "Accepted is False",
        "A label in `groupBy` or a selector has a name that no signal or namespace can have.",
    )
    UNKNOWN_GROUP_KEY = (
        "UnknownGroupKey",
        "Accepted is False",
        "An entry of `groupBy` is none of the keys that exist.",
    )
    IDLE_LONGER_THAN_MAX_DURATION = (
        "IdleLongerThanMaxDuration",
        "Accepted is False",
        "`window.idle` is longer than `window.maxDuration`, so that no storm would ever settle.",
    )
    IDLE_LONGER_THAN_CLOSE_AFTER = (
        "IdleLongerThanCloseAfter",
        "Accepted is False",
        "`window.idle` is longer than `closeAfter`, so that storms would close before they settle.",
    )
    GROUP_WAIT_LONGER_THAN_WITHIN = (
        "GroupWaitLongerThanWithin",
        "Accepted is False",
        "`groupWait` is longer than `threshold.within`.",
    )
    REQUEST_RETENTION_TOO_SHORT = (
        "RequestRetentionTooShort",
        "Accepted is False",
        "`requestRetention` is less than 1h.",
    )
    DURATION_NOT_POSITIVE = (
        "DurationNotPositive",
        "Accepted is False",
        (
            "One of `window.idle`, `window.maxDuration`, `closeAfter`, `staleAfter` and `threshold.within` "
            "is zero."
        ),
    )
    REQUEST_NAMESPACE_MISSING = (
        "RequestNamespaceMissing",
        "Accepted is False",
        (
            "A ClusterStormPolicy whose `groupBy` does not contain `namespace` must say in "
            "`requestNamespace` where requests go."
        ),
    )


def reasons_page() -> str:
    """The page `docs/reasons.md`: every reason, where it appears, and what it means."""
    rows = [f"| `{reason}` | {reason.where} | {reason.meaning} |" for reason in sorted(Reason)]
    return "\n".join(
        [
            (
                "<!-- Generated from operator/stormfold/api/conditions.py: change it there, then run `make "
                "generate`. -->"
            ),
            "# Reasons",
            "",
            (
                "The `reason` of a condition, of an Event, of a Signal's status, and of an answer to "
                "Alertmanager."
            ),
            "",
            "| reason | where | meaning |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )
