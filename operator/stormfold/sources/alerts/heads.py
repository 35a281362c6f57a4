"""Head of a post: where it goes, whose token it has, and whether its body is announced as one that is
taken."""

from aiohttp import web

from stormfold.api.reasons.webhook import WebhookReason
from stormfold.sources.alerts.parser import FOR_ALERTMANAGER
from stormfold.sources.alerts.posts import RefusalError

PATH = "/v1/alertmanager"
PATHS_OF_ALERTMANAGER = ("/api/v1/alerts", "/api/v2/alerts")
"""Ends of the paths at which an Alertmanager takes alerts itself."""
MAX_BODY = 8 * 2**20
"""Bytes of a body."""


def bearer_token(request: web.Request) -> str:
    """The token in the header Authorization."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise RefusalError(
            401, WebhookReason.NOT_AUTHENTICATED, "the header Authorization must be: Bearer <token>"
        )
    return token.strip()


def check_head(request: web.Request) -> None:
    """Refuse what its head says we do not take."""
    encoding = request.headers.get("Content-Encoding", "identity").lower()
    if (
        request.content_type != "application/json"
        or (request.charset or "utf-8").lower() != "utf-8"
        or encoding != "identity"
    ):
        raise RefusalError(
            415,
            WebhookReason.UNSUPPORTED_MEDIA_TYPE,
            "the body must be application/json in UTF-8, without a Content-Encoding",
        )
    if (request.content_length or 0) > MAX_BODY:
        raise too_large()


def too_large() -> RefusalError:
    """What is said to a body that is too large."""
    return RefusalError(
        413,
        WebhookReason.BODY_TOO_LARGE,
        f"The body must have at most {MAX_BODY} bytes. Let the sender group by more labels, so that fewer "
        f"alerts travel "
        "in one body. Set group_by in Alertmanager's route or in Grafana's notification policy.",
    )


def not_served(path: str) -> str:
    """What is said at a path that is none of ours."""
    only = f"Only POST {PATH} is served."
    return f"{only} {FOR_ALERTMANAGER}" if path.rstrip("/").endswith(PATHS_OF_ALERTMANAGER) else only
