"""A policy as the API server has it → a version of it, and what is wrong with it."""

from typing import Any

from pydantic import ValidationError

from stormfold.api.reasons.specs import SpecReason
from stormfold.api.resource import ObjectMeta, identity_of
from stormfold.api.stormpolicy import PolicySpec
from stormfold.api.value_errors import first_fault
from stormfold.model.group import PolicyId
from stormfold.policy.validation import Fault, faults
from stormfold.policy.version import PolicyVersion


def examined(kind: str, body: dict[str, Any]) -> tuple[PolicyVersion | None, list[Fault]]:
    """The policy as a version, and what is wrong with it; a version with faults must not be put in force."""
    metadata = ObjectMeta.model_validate(identity_of(body["metadata"]))
    identity = PolicyId(kind, metadata.namespace, metadata.name)
    try:
        spec = PolicySpec.model_validate(body.get("spec") or {})
    except ValidationError as exc:
        return None, [Fault(SpecReason.INVALID_SPEC, first_fault(exc))]
    return PolicyVersion(identity, metadata.uid, metadata.generation, spec), faults(identity, spec)
