"""Group: which signals make one storm."""

from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b

PARTITIONS = 64
"""The shares that groups are spread over, each with a Redis hash tag of its own. A constant: keys depend on
it."""


@dataclass(frozen=True, slots=True)
class PolicyId:
    """Which policy, whatever its version. `namespace` is empty for a ClusterStormPolicy."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        """The policy as people write it: `kind/namespace/name`, without an empty part."""
        return "/".join(part for part in (self.kind, self.namespace, self.name) if part)


def group_hash(policy: PolicyId, values: tuple[tuple[str, str | None], ...]) -> str:
    """16 hex digits that name a group.

    Parts are length-prefixed, so that no two groups share a text; a missing value differs from an empty one.
    """
    digest = blake2b(digest_size=8)
    for part in (policy.kind, policy.namespace, policy.name):
        digest.update(b"%d:%b" % (len(encoded := part.encode()), encoded))
    for key, value in values:
        digest.update(b"%d:%b" % (len(encoded := key.encode()), encoded))
        digest.update(b"-" if value is None else b"%d:%b" % (len(encoded := value.encode()), encoded))
    return digest.hexdigest()


def partition(group_hash: str) -> int:
    """The partition of a group: 0 … 63."""
    return int(group_hash, 16) % PARTITIONS


@dataclass(frozen=True)
class Group:
    """The values that a policy's `groupBy` picked; a value is None where the signal had none."""

    policy: PolicyId
    values: tuple[tuple[str, str | None], ...]
    request_namespace: str

    @cached_property
    def group_hash(self) -> str:
        """16 hex digits: the group's name everywhere."""
        return group_hash(self.policy, self.values)

    @cached_property
    def missing(self) -> tuple[str, ...]:
        """The keys of which the signal had no value."""
        return tuple(key for key, value in self.values if value is None)

    @cached_property
    def partition(self) -> int:
        """The group's share, 0 … 63."""
        return partition(self.group_hash)
