"""Bodies: what is wanted of the API object of a RemediationRequest. Pure."""

from contextlib import suppress
from typing import Any

from pydantic import ValidationError

from stormfold.api.decision import Decision
from stormfold.api.remediationrequest import Claim as StoredClaim
from stormfold.api.resource import identity_of

CLOSE_ANNOTATION = "stormfold.dev/close"
"""With the value `true` it closes the request."""


def status_of(body: dict[str, Any]) -> dict[str, Any] | None:
    """The status of an API object; of what the consumer wrote only what `Request.report` says: it may be a
    megabyte."""
    status: dict[str, Any] | None = body.get("status")
    if not status:
        return None
    remediation = status.get("remediation")
    return (
        status
        | ({"remediation": _reported(remediation)} if remediation else {})
        | ({"decision": _decided(status["decision"])} if status.get("decision") else {})
    )


def _decided(decision: dict[str, Any]) -> dict[str, Any] | None:
    """The decision, if it can be read: one that somebody else wrote is decided anew."""
    with suppress(ValidationError):
        return Decision.model_validate(decision).manifest()
    return None


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
