"""Bodies: what is wanted of the API object of a RemediationRequest. Pure."""

from contextlib import suppress
from typing import Any

from pydantic import ValidationError

from stormfold.api.remediationrequest import Claim as StoredClaim
from stormfold.api.resource import identity_of

CLOSE_ANNOTATION = "stormfold.dev/close"
"""With the value `true` it closes the request."""
UNREADABLE = frozenset(("datetime_parsing", "datetime_from_date_parsing", "timezone_aware"))
"""What pydantic calls a time that it cannot read."""


def status_of(body: dict[str, Any]) -> dict[str, Any] | None:
    """The status of an API object; of what the consumer wrote only what `Request.report` says: it may be a
    megabyte."""
    status: dict[str, Any] | None = body.get("status")
    if not status:
        return None
    remediation = status.get("remediation")
    return status | ({"remediation": _reported(remediation)} if remediation else {})


def readable(status: dict[str, Any], exc: ValidationError) -> dict[str, Any]:
    """The status of an API object without a decision, or fields and items of lists with times, that could not
    be read: the API server takes times that Python does not, and they must not hide the request.

    Raises:
        ValidationError: something else could not be read.
    """
    kept, items = dict(status), dict[str, set[int]]()
    for fault in exc.errors(include_url=False, include_context=False, include_input=False):
        match fault["loc"]:
            case "status", "decision", *_:
                kept.pop("decision", None)
            case "status", str(field), int(item), *_ if fault["type"] in UNREADABLE:
                items.setdefault(field, set()).add(item)
            case "status", str(field), *_ if fault["type"] in UNREADABLE:
                kept.pop(field, None)
            case _:
                raise exc
    for field, unread in items.items():
        kept[field] = [item for number, item in enumerate(status[field]) if number not in unread]
    return kept


def _reported(remediation: dict[str, Any]) -> dict[str, Any]:
    kept = {key: remediation.get(key) for key in ("phase", "observedRevision")}
    with suppress(ValidationError):
        # The API server takes times that Python does not: they must not hide the request.
        return kept | {"claim": StoredClaim.model_validate(remediation.get("claim")).manifest()}
    return kept


def _asked(metadata: dict[str, Any]) -> dict[str, Any]:
    """Of the annotations the one that asks for the request to be closed, if it says so."""
    if (metadata.get("annotations") or {}).get(CLOSE_ANNOTATION) != "true":
        return {}
    return {"annotations": {CLOSE_ANNOTATION: "true"}}


def wanted(body: dict[str, Any]) -> dict[str, Any]:
    """What `Request.read` wants of an API object."""
    status = status_of(body)
    metadata = identity_of(body["metadata"]) | _asked(body["metadata"])
    kept = {"metadata": metadata, "spec": body.get("spec")}
    return kept | ({"status": status} if status else {})
