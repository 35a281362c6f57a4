"""A policy as it was read, and which of those that can be read are put in force. Pure."""

from bisect import insort
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from stormfold.api.reasons.specs import SpecReason
from stormfold.api.resource import ObjectMeta, identity_of
from stormfold.api.stormpolicy import ClusterStormPolicy, PolicyStatus, StormPolicy
from stormfold.policy.examining import examined
from stormfold.policy.validation import Fault
from stormfold.policy.version import PolicyVersion

Kind = type[StormPolicy] | type[ClusterStormPolicy]
KINDS: tuple[Kind, ...] = (StormPolicy, ClusterStormPolicy)
MAX_POLICIES = 50
"""StormPolicies of a namespace that are in force at once: each may be asked about each of its signals, and
whoever may write there must not make everybody's signals wait. ClusterStormPolicies are the
administrators'."""

BEYOND = Fault(
    SpecReason.TOO_MANY_POLICIES,
    f"the namespace has {MAX_POLICIES} policies that go before this one: merge some, or delete them",
)


@dataclass(slots=True)
class Policy:
    """What is kept of a policy resource: whoever may write one may write a megabyte into its metadata."""

    kind: Kind
    metadata: ObjectMeta
    status: PolicyStatus
    version: PolicyVersion | None
    """None: it is not to be put in force."""
    faults: list[Fault]

    @classmethod
    def read(cls, kind: Kind, body: dict[str, Any]) -> "Policy":
        """The policy of an API object."""
        version, wrong = examined(kind.__name__, body)
        metadata = ObjectMeta.model_validate(identity_of(body["metadata"]))
        try:
            status = PolicyStatus.model_validate(body.get("status") or {})
        except ValidationError:  # somebody else wrote it, and it is written anew
            status = PolicyStatus()
        return cls(kind, metadata, status, None if wrong else version, wrong)


class Accepted:
    """The policies that are to be put in force: of a namespace's own, those that go before all its others."""

    def __init__(self) -> None:
        self._of: dict[str, list[Policy]] = {}

    def add(self, policy: Policy) -> None:
        """Take in one that may be put in force; of too many, the one that goes last is not."""
        version = policy.version
        if version is None:
            return
        namespace = version.id.namespace
        ours = self._of.setdefault(namespace, [])
        insort(ours, policy, key=_precedence)
        if namespace and len(ours) > MAX_POLICIES:
            last = ours.pop()
            last.version = None
            last.faults.append(BEYOND)

    @property
    def versions(self) -> list[PolicyVersion]:
        """Their versions."""
        return [policy.version for ours in self._of.values() for policy in ours if policy.version]


def _precedence(policy: Policy) -> tuple[bool, int, str]:
    assert policy.version is not None
    return policy.version.precedence
