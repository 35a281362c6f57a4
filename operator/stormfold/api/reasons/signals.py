"""Reasons of signals: what became of a Signal or an alert."""

from stormfold.api.reason import Reason


class SignalReason(Reason):
    """Of the status of a Signal, of an alert in the answer to its sender, and of Events of a Signal."""

    COUNTED = (
        "Counted",
        "Signal is Folded",
        "The signal is counted in the request that its status names.",
    )
    TARGET_IN_OTHER_NAMESPACE = (
        "TargetInOtherNamespace",
        "Signal is Rejected",
        (
            "The target is in another namespace than the Signal. Only Signals in the operator's namespace "
            "may report on other namespaces. Create the Signal in the namespace of its target."
        ),
    )
    STARTS_IN_FUTURE = (
        "StartsInFuture",
        "Signal is Rejected",
        "`startsAt` is more than 5 minutes in the future. Correct it, or the clock of the sender.",
    )
    NO_POLICY_MATCHES = (
        "NoPolicyMatches",
        "Signal is Rejected",
        (
            "No policy in force matches the signal. Add a ClusterStormPolicy with an empty `match`: it "
            "matches everything but Kubernetes Events."
        ),
    )
    INVALID_SIGNAL = (
        "InvalidSignal",
        "Signal is Rejected",
        "stormfold cannot use the signal. The message names the field and says what to write.",
    )
    GROUP_WAIT = (
        "GroupWait",
        "Alert is pending",
        "`groupWait` of the policy is longer than 5 s. stormfold makes the request when it is over.",
    )
    BELOW_THRESHOLD = (
        "BelowThreshold",
        "StormDetected is False; Signal is Discarded; alert is pending or discarded",
        (
            "The group did not reach the threshold. With `belowThreshold: Request` it has a request all the"
            " same. With `Discard` it has none. An alert is pending until the group reaches the threshold "
            "or `within` is over."
        ),
    )
    NOTHING_FIRING = (
        "NothingFiring",
        "Signal is Discarded; alert is pending or discarded",
        (
            "The signal says Resolved, and nothing of its group fires. So there is no request to make. An "
            "alert is pending for `within`."
        ),
    )
    REQUEST_REFUSED = (
        "RequestRefused",
        "Event of a Signal",
        (
            "The API server refuses the group's request; the message repeats its words. Fix that cause, "
            "often a quota or an admission policy. stormfold keeps the signals and tries again."
        ),
    )
    NAMESPACE_NOT_FOUND = (
        "NamespaceNotFound",
        "Alert is rejected",
        (
            "The alert's labels name a namespace that does not exist, so no request can be made there. "
            "Correct the label."
        ),
    )
    REQUEST_NAMESPACE_NOT_FOUND = (
        "RequestNamespaceNotFound",
        "Accepted is True; Signal is Rejected; alert is rejected",
        (
            "The `requestNamespace` of the policy does not exist, so the policy makes no requests. Create "
            "the namespace, or change `requestNamespace`."
        ),
    )
    INVALID_ALERT = (
        "InvalidAlert",
        "Alert is rejected",
        "The alert lacks a name, a status or a start that stormfold can read. The message says which.",
    )
    LOOP_DETECTED = (
        "LoopDetected",
        "Alert is rejected",
        (
            "stormfold sent this alert itself, and does not count it. Take the alert `StormOpen` out of the"
            " route to stormfold."
        ),
    )
    NAMESPACE_NOT_ALLOWED = (
        "NamespaceNotAllowed",
        "Alert is rejected; webhook answers 403",
        (
            "The sender may not create Signals in the namespace that the alert reports on. [Grant "
            "it](alertmanager.md#who-may-post-what), or correct the label."
        ),
    )
    NO_ROOM = (
        "NoRoom",
        "Webhook answers 503; Event of a Signal",
        (
            "The namespace has reached its [limit](overload.md#deferred) of signals that wait for a "
            "request. stormfold counts its Signals later, and its alerts when they are posted again. Find "
            "out why its requests are not written: a quota, an admission policy, or a slow API server."
        ),
    )
    OPEN_STORMS_REACHED = (
        "OpenStormsReached",
        "GroupsWaiting is True; Signal is Discarded; webhook answers 503",
        (
            "The policy has reached `limits.openStorms` in the namespace. A new group "
            "[waits](overload.md#waiting) until a request closes; the highest severity goes first. Signals "
            "wait for an hour at most. Close requests, group by fewer keys, or raise the limit."
        ),
    )
