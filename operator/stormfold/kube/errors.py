"""Errors of the API server's edge.

ClusterConfigError        no way to an API server is configured, or not one that we can go
CredentialError           there are no credentials now: a plugin or a file does not give any
ApiError
├── ApiUnavailableError   no answer, a 5xx, or one that has only just begun: try again; whether it was done is
│   │                     not known
│   └── UnauthorizedError 401, also with the latest credentials: nothing was done; later ones may be taken
├── ThrottledError        429 after all tries: slow down, and try again
├── GoneError             410: the resourceVersion or continue token is too old: list again
├── ConflictError         409: somebody else wrote: read again
├── AlreadyExistsError    409: there is one of that name: adopt it
├── NotFoundError         404: the object, its namespace or its kind is not there
└── RefusedError          400, 403, 405, 413, 415, 422, or too large for etcd: a repetition does not help
"""

from typing import Any

TOO_LARGE = ("request is too large", "message larger than max")
"""What etcd says of an object that is too large for it, and the API server hands on as a 500."""
NOT_CONFIGURED = "denied request: failed to configure"
"""What an API server says for up to 30 s after its start, as a refusal, of an admission policy whose
parameters are custom resources: it does not know their kind yet (kubernetes/kubernetes#124237)."""


class ClusterConfigError(Exception):
    """No way to the API server is configured; the message says how to fix it."""


class CredentialError(Exception):
    """What gives us credentials does not give any now; the message has its words."""


class ApiError(Exception):
    """The API server did not do what was asked. `status` is 0 if there was no answer."""

    retry_after = 0.0
    """How long a 429 asks to wait, in seconds, where that is left to the caller."""

    def __init__(self, doing: str, status: int, reason: str, message: str) -> None:
        super().__init__(f"{doing}: {message or reason or status}")
        self.status = status
        self.reason = reason
        self.message = message


class ApiUnavailableError(ApiError):
    """No answer, or one that says that it may go better later."""


class UnauthorizedError(ApiUnavailableError):
    """The credentials are not taken, or there are none; they end and are renewed while we run, so it is tried
    again."""


class ThrottledError(ApiError):
    """Too many requests, even after the waits that the server asked for."""


class GoneError(ApiError):
    """What was asked from is too old."""


class ConflictError(ApiError):
    """The object has changed since it was read."""


class AlreadyExistsError(ApiError):
    """There is an object of that name."""


class NotFoundError(ApiError):
    """There is no such object, or no such kind."""


class RefusedError(ApiError):
    """Refused: by RBAC, admission, a quota, a namespace that is being deleted, or the schema."""


def error_of(doing: str, status: int, body: Any) -> ApiError:
    """The error for an answer; `body` is a `Status` object, or whatever a proxy sent instead."""
    details = body if isinstance(body, dict) else {}
    reason = str(details.get("reason") or "")
    message = str(details.get("message") or "")
    match status:
        case 401:
            kind: type[ApiError] = UnauthorizedError
        case 404:
            kind = NotFoundError
        case 409:
            kind = AlreadyExistsError if reason == "AlreadyExists" else ConflictError
        case 410:
            kind = GoneError
        case 429:
            kind = ThrottledError
        case 500 if any(words in message for words in TOO_LARGE):
            kind = RefusedError
        case 403 | 422 if NOT_CONFIGURED in message:
            kind = ApiUnavailableError
        case _ if status == 408 or status >= 500:
            kind = ApiUnavailableError
        case _:
            kind = RefusedError
    return kind(doing, status, reason, message or f"HTTP {status}")
