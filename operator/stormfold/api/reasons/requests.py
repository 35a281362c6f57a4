"""Reasons of requests: is it a storm, is it over, and do its counts hold."""

from stormfold.api.reason import Reason


class RequestReason(Reason):
    """Of the conditions StormDetected, Settled, Recovered, Truncated, Closed and Exact, and their Events."""

    SIGNAL_THRESHOLD_REACHED = (
        "SignalThresholdReached",
        "StormDetected is True",
        "The group is a storm: `threshold.signals` signals came within `threshold.within`.",
    )
    RESOURCE_THRESHOLD_REACHED = (
        "ResourceThresholdReached",
        "StormDetected is True",
        (
            "The group is a storm: its signals named `threshold.resources` different targets within "
            "`threshold.within`."
        ),
    )
    QUIET = (
        "Quiet",
        "Settled is True",
        "No signal came for `window.idle`. The counts are final unless another signal comes.",
    )
    SIGNALS_ARRIVING = (
        "SignalsArriving",
        "Settled is False",
        "The latest signal is younger than `window.idle`.",
    )
    ALL_RESOLVED = (
        "AllResolved",
        "Recovered is True",
        "Every instance has resolved.",
    )
    STILL_FIRING = (
        "StillFiring",
        "Recovered is False; Closed is False",
        "At least one instance fires. With `closeOn: Recovered` this keeps the request open.",
    )
    ALERTS_STALE = (
        "AlertsStale",
        "Recovered is Unknown",
        (
            "Nothing is known to fire. But some alerts were neither repeated nor resolved for `staleAfter`;"
            " `status.signals.stale` counts them. Set `send_resolved: true` in the sender's receiver."
        ),
    )
    INSTANCES_NOT_TRACKED = (
        "InstancesNotTracked",
        "Recovered is Unknown",
        (
            "stormfold cannot tell whether all instances have resolved. There are more than it tracks, or "
            "Redis lost its data."
        ),
    )
    WITHIN_LIMIT = (
        "WithinLimit",
        "Truncated is False",
        "`status.resources` lists every target.",
    )
    RESOURCE_LIMIT_REACHED = (
        "ResourceLimitReached",
        "Truncated is True",
        (
            "There are more targets than `limits.resources`, or their names are too long to list them all."
            " The first ones are listed, and all are counted."
        ),
    )
    NOT_CLOSED = (
        "NotClosed",
        "Closed is False",
        "The request is open: the next signal of the group is counted in it.",
    )
    ALERTS_FIRING = (
        "AlertsFiring",
        "Closed is False",
        (
            "Alerts still fire, so the request stays open. `closeAfter` begins when all have resolved or "
            "are stale. `window.maxDuration` closes it in any case."
        ),
    )
    REMEDIATION_FINISHED = (
        "RemediationFinished",
        "Closed is True",
        (
            "The consumer reported a terminal phase in `status.remediation.phase`. The next signal opens "
            "the next request."
        ),
    )
    CLOSED_BY_ANNOTATION = (
        "ClosedByAnnotation",
        "Closed is True",
        (
            'Somebody set the annotation `stormfold.dev/close: "true"`. The next signal opens the next '
            "request."
        ),
    )
    QUIET_FOR_CLOSE_AFTER = (
        "QuietForCloseAfter",
        "Closed is True",
        "No signal came for `closeAfter`, and no alert that keeps the request open fires.",
    )
    MAX_DURATION_REACHED = (
        "MaxDurationReached",
        "Closed is True",
        "The request was open for `window.maxDuration`. Later signals are counted in the next request.",
    )
    NEWER_EPOCH_OPENED = (
        "NewerEpochOpened",
        "Closed is True",
        "The group has a newer request, so this one gets no more signals.",
    )
    EACH_COUNTED_ONCE = (
        "EachCountedOnce",
        "Exact is True",
        "Each signal is counted exactly once.",
    )
    ALERTS_MAY_REPEAT = (
        "AlertsMayRepeat",
        "Exact is False",
        (
            "Redis lost its data, and the request does not list all its alerts. The message says how many "
            "may count twice. A request lists up to 1,000 alerts."
        ),
    )
    ALERT_LIST_UNREADABLE = (
        "AlertListUnreadable",
        "Event of a RemediationRequest",
        (
            "Something else wrote `status.withAlerts`. stormfold ignores it and writes it again when an "
            "alert changes. Find the writer, and take away its right to write the status."
        ),
    )
    ALERTS_ESTIMATED = (
        "AlertsEstimated",
        "Exact is False",
        (
            "The request has more alerts than stormfold knows one by one. The count of the others is an "
            "estimate."
        ),
    )
    ALERTS_LEFT_OUT = (
        "AlertsLeftOut",
        "Exact is False",
        ("The sender left alerts out of a post (`truncatedAlerts`). Set `max_alerts` of its receiver to 0."),
    )
    STORM_OPENED = (
        "StormOpened",
        "Event of a RemediationRequest",
        "stormfold made the request.",
    )
    STORM_SETTLED = (
        "StormSettled",
        "Event of a RemediationRequest",
        "No signal came for `window.idle`.",
    )
    STORM_REOPENED = (
        "StormReopened",
        "Event of a RemediationRequest",
        "A signal came after the request had settled.",
    )
    STORM_CLOSED = (
        "StormClosed",
        "Event of a RemediationRequest",
        "The request is closed for good. The message says why.",
    )
