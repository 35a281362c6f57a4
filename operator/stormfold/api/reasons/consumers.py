"""Reasons about what a consumer says in a request: its claim, and its phase."""

from stormfold.api.reason import Reason


class ConsumerReason(Reason):
    """Of the conditions ClaimExpired, RemediationPhaseUnknown and StaleRemediation, and their Events."""

    CLAIM_EXPIRED = (
        "ClaimExpired",
        "Event of a RemediationRequest",
        (
            "The consumer did not renew its claim in time. Another consumer may [take "
            "over](consumers.md#claim-it)."
        ),
    )
    CLAIM_NOT_RENEWED = (
        "ClaimNotRenewed",
        "ClaimExpired is True",
        (
            "`status.remediation.claim.expirationTime` has passed. Another consumer may [take "
            "over](consumers.md#claim-it)."
        ),
    )
    CLAIM_VALID = (
        "ClaimValid",
        "ClaimExpired is False",
        "A consumer holds the claim.",
    )
    NOT_CLAIMED = (
        "NotClaimed",
        "ClaimExpired is False",
        "No consumer holds a claim any more.",
    )
    CLAIM_ENDED = (
        "ClaimEnded",
        "ClaimExpired is False",
        "The request is closed, so its claim has ended.",
    )
    REMEDIATION_PHASE_UNKNOWN = (
        "RemediationPhaseUnknown",
        "Event of a RemediationRequest",
        "stormfold does not know the phase in `status.remediation.phase`. The request stays open.",
    )
    PHASE_NOT_KNOWN = (
        "PhaseNotKnown",
        "RemediationPhaseUnknown is True",
        (
            "`status.remediation.phase` is neither in `STORMFOLD_TERMINAL_PHASES` nor in "
            "`STORMFOLD_ACTIVE_PHASES`. The request stays open. Correct the phase, or add it to the "
            "[setting](settings.md)."
        ),
    )
    PHASE_KNOWN = (
        "PhaseKnown",
        "RemediationPhaseUnknown is False",
        "stormfold knows the phase, or there is none.",
    )
    STALE_REMEDIATION = (
        "StaleRemediation",
        "Event of a RemediationRequest",
        "The reported terminal phase is about an older revision. The request stays open.",
    )
    OLDER_REVISION = (
        "OlderRevision",
        "StaleRemediation is True",
        (
            "The consumer reported a terminal phase, but signals came after it had looked: "
            "`observedRevision` is below `status.revision`. Look again, and report with the current "
            "revision."
        ),
    )
    REVISION_CURRENT = (
        "RevisionCurrent",
        "StaleRemediation is False",
        "The report is about the current revision, or the phase is not terminal.",
    )
