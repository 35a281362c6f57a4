"""Opening: what is fixed when a storm opens, and what its request's spec is made of."""

from dataclasses import dataclass

import orjson

from stormfold.api.signal import Severity
from stormfold.model.arrival import Target
from stormfold.model.group import Group, PolicyId


@dataclass(frozen=True, slots=True)
class Opening:
    """The group, the policy as it was, and the first signal, or that of the request before."""

    group: Group
    policy_uid: str
    policy_generation: int
    policy_spec: str
    """The policy's spec as JSON, without what is at its default."""
    name: str
    severity: Severity
    target: Target | None

    def encoded(self) -> str:
        """A compact JSON text: Redis keeps it and does not look into it."""
        group, target = self.group, self.target
        return orjson.dumps(
            [
                [group.policy.kind, group.policy.namespace, group.policy.name],
                group.values,
                group.request_namespace,
                self.policy_uid,
                self.policy_generation,
                self.policy_spec,
                self.name,
                self.severity,
                [target.api_version, target.kind, target.name, target.namespace] if target else None,
            ]
        ).decode()

    @classmethod
    def decoded(cls, text: str) -> "Opening":
        """The opening that `encoded` wrote."""
        policy, values, namespace, uid, generation, spec, name, severity, target = orjson.loads(text)
        return cls(
            Group(PolicyId(*policy), tuple((key, value) for key, value in values), namespace),
            uid,
            generation,
            spec,
            name,
            Severity(severity),
            Target(*target) if target else None,
        )
