"""What is said to a sender whose post is not taken. Each is an answer to raise, or a sentence of one."""

from stormfold.api.reasons.webhook import WebhookReason
from stormfold.sources.alerts.posts import RefusalError


def unknown_token() -> RefusalError:
    """The API server does not know the token."""
    return RefusalError(
        401, WebhookReason.NOT_AUTHENTICATED, "the token is not known, or was not made for this audience"
    )


def not_reviewed() -> RefusalError:
    """Nobody knows what the token may do."""
    return RefusalError(
        503,
        WebhookReason.REVIEW_UNAVAILABLE,
        "The API server did not answer the review of the token or its rights.",
    )


def not_allowed(caller: str, namespace: str) -> str:
    """The caller has no right in the namespace of an alert."""
    return f"{caller} may not create signals.stormfold.dev in namespace {namespace}"


def too_slow(seconds: float) -> RefusalError:
    """The body was not there in time."""
    return RefusalError(408, WebhookReason.BODY_TOO_SLOW, f"the body did not come within {seconds:g} s")


def cut_short(why: str) -> RefusalError:
    """The body is not complete."""
    return RefusalError(400, WebhookReason.INVALID_BODY, f"the body ends too early: {why}")


def not_durable(seconds: float, delay: str) -> RefusalError:
    """Not all alerts are in a request in time; `delay` says why, if that is known."""
    return RefusalError(
        503,
        WebhookReason.NOT_DURABLE_IN_TIME,
        f"not all alerts were taken within {seconds:g} s{': ' + delay if delay else ''}. "
        "Send the post again; each alert counts once, however often it is posted",
    )


def failed() -> RefusalError:
    """A fault of stormfold."""
    return RefusalError(500, WebhookReason.INTERNAL_ERROR, "stormfold failed: its log says how")
