"""Reasons of policies and gates: is the spec in force, and what in it looks wrong."""

from stormfold.api.reason import Reason


class SpecReason(Reason):
    """Of the conditions Accepted, GroupsWaiting and GroupValueMissing."""

    VALID = (
        "Valid",
        "Accepted is True",
        "The policy or gate is in force.",
    )
    OPEN_STORMS_WITHIN_LIMIT = (
        "OpenStormsWithinLimit",
        "GroupsWaiting is False",
        "Every group that needs a request has one.",
    )
    GROUP_VALUE_MISSING = (
        "GroupValueMissing",
        "GroupValueMissing is True",
        (
            "Some signals lack a key of `groupBy`. They go to the next policy whose keys they all have. If "
            "there is none, they form a group of their own. Group by keys that your signals have, or select"
            " only signals that have them in `match`. `missingKeys: Group` keeps them here. The leader "
            "counts such signals since it started, up to 100."
        ),
    )
    GROUP_VALUES_THERE = (
        "GroupValuesThere",
        "GroupValueMissing is False",
        "Since the policy was changed, every signal had all keys of `groupBy`.",
    )
    OWNERS_NOT_READABLE = (
        "OwnersNotReadable",
        "Accepted is True",
        (
            "The policy is in force and groups by `owner` or `node`. stormfold may not read them, so they "
            "are null for all signals. Apply the [component `owners`](install.md#owners-and-nodes)."
        ),
    )
    EQUAL_PRIORITY = (
        "EqualPriority",
        "Accepted is True",
        (
            "Another policy has the same `priority` and can match the same signals. The policy whose name "
            "sorts first goes first. Give each a `priority` of its own."
        ),
    )
    GLOB_LOOKS_LIKE_REGEX = (
        "GlobLooksLikeRegex",
        "Accepted is True",
        (
            "A pattern in `match` looks like a regular expression, but is read as a glob. Write `*` for any"
            " characters, `?` for one, `[abc]` for one of these."
        ),
    )
    TOO_MANY_POLICIES = (
        "TooManyPolicies",
        "Accepted is False",
        "50 policies of the namespace go before this one, which is the limit. Merge or delete some.",
    )
    TOO_MANY_GATES = (
        "TooManyGates",
        "Accepted is False",
        (
            "50 StormGates of the namespace go before this one by name, which is the limit. Merge or delete"
            " some."
        ),
    )
    HOLD_EXPIRED = (
        "HoldExpired",
        "Accepted is True",
        "A hold has ended: its `until` has passed. Remove it, or set a later `until`.",
    )
    INVALID_UNTIL = (
        "InvalidUntil",
        "Accepted is True",
        (
            "stormfold cannot read the `until` of a hold. The hold lasts until you remove it. Write a time "
            "such as `2026-03-01T11:00:00Z`."
        ),
    )
    NAMESPACE_NOT_GOVERNED = (
        "NamespaceNotGoverned",
        "Accepted is True",
        (
            "The gate names namespaces that it does not govern. A gate governs its own namespace. Only a "
            "gate in the operator's namespace governs others: make it there."
        ),
    )
    LIMIT_IS_ZERO = (
        "LimitIsZero",
        "Accepted is True",
        (
            "A limit of the gate is 0, or its breaker or budget has none, so it has no effect. To hold "
            "everything, add a [hold](gates.md#hold-lift-look)."
        ),
    )
    NODES_NOT_READABLE = (
        "NodesNotReadable",
        "Accepted is True",
        (
            "stormfold may not list nodes, so `breaker.percentOfNodes` has no effect. Apply the [component "
            "`steering`](gates.md#enforced-by-the-api-server)."
        ),
    )
    INVALID_SPEC = (
        "InvalidSpec",
        "Accepted is False",
        "stormfold cannot use the spec. The message names the field and says what to write.",
    )
    GLOB_MATCHES_NOTHING = (
        "GlobMatchesNothing",
        "Accepted is False",
        "A glob in `match` or `evidence` can match nothing. The message names it and says why.",
    )
    EMPTY_LABEL_NAME = (
        "EmptyLabelName",
        "Accepted is False",
        "`groupBy` or `causes` has `labels.` without a name. Write for example `labels.node`.",
    )
    INVALID_LABEL_NAME = (
        "InvalidLabelName",
        "Accepted is False",
        (
            "A label has a name that no signal can have, or whose values are never shown. The message names"
            " it. Correct it, or leave it out."
        ),
    )
    UNKNOWN_GROUP_KEY = (
        "UnknownGroupKey",
        "Accepted is False",
        (
            "An entry of `groupBy` or `causes` is not a key. The message lists [all "
            "keys](policies.md#choose-the-keys-of-groupby)."
        ),
    )
    IDLE_LONGER_THAN_MAX_DURATION = (
        "IdleLongerThanMaxDuration",
        "Accepted is False",
        (
            "`window.idle` is longer than `window.maxDuration`, so no request would ever settle. Make "
            "`window.idle` shorter."
        ),
    )
    IDLE_LONGER_THAN_CLOSE_AFTER = (
        "IdleLongerThanCloseAfter",
        "Accepted is False",
        (
            "`window.idle` is longer than `closeAfter`, so requests would close before they settle. Make "
            "`window.idle` shorter."
        ),
    )
    GROUP_WAIT_LONGER_THAN_WITHIN = (
        "GroupWaitLongerThanWithin",
        "Accepted is False",
        "`groupWait` is longer than `threshold.within`. Make `groupWait` shorter.",
    )
    REQUEST_RETENTION_TOO_SHORT = (
        "RequestRetentionTooShort",
        "Accepted is False",
        "`requestRetention` is less than 1h. Set 1h or more.",
    )
    REOPEN_AFTER_TOO_LONG = (
        "ReopenAfterTooLong",
        "Accepted is False",
        "`reopenAfter.succeeded` or `reopenAfter.failed` is more than 23h. Set 23h or less.",
    )
    DURATION_NOT_POSITIVE = (
        "DurationNotPositive",
        "Accepted is False",
        "A duration that must be more than 0 is 0. The message names it.",
    )
    REQUEST_NAMESPACE_MISSING = (
        "RequestNamespaceMissing",
        "Accepted is False",
        (
            "The ClusterStormPolicy does not group by `namespace`, so stormfold does not know where its "
            "requests go. Set `requestNamespace`."
        ),
    )
