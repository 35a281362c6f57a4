"""The storms of the part `store`: groups, the pods that they affect, and signals about them, always the
same."""

from __future__ import annotations

import itertools
import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from tests.harness.values import NOBODY

from stormfold.api.signal import Severity
from stormfold.api.stormpolicy import PolicySpec
from stormfold.model.arrival import Arrival, SignalRef, Target
from stormfold.model.group import Group, PolicyId
from stormfold.policy.version import PolicyVersion

SAFE_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
"""What Kubernetes makes the random parts of names of."""
TROUBLE = "KubePodCrashLooping"
LABELS = {"container": "api", "job": "kube-state-metrics", "team": "payments"}
T0 = 1_767_225_600_000
"""2026-01-01T00:00:00Z in Unix ms."""


def policy(resources: int) -> PolicyVersion:
    """The catch-all as it is shipped, but for the number of resources that are listed."""
    spec = PolicySpec.model_validate({"limits": {"resources": resources}})
    return PolicyVersion(PolicyId("ClusterStormPolicy", "", "default"), str(uuid.UUID(int=7)), 3, spec)


@dataclass(frozen=True, eq=False)
class Storm:
    """One group: pods of a Deployment in a namespace of its own."""

    number: int
    version: PolicyVersion
    _pods: list[str] = field(default_factory=list, repr=False)

    @property
    def namespace(self) -> str:
        """Also tells the group, with the name of its signals."""
        return f"payments-{self.number:05}"

    @cached_property
    def group(self) -> Group:
        """Where its signals go."""
        return self.version.group(self.signal("nobody", 1))

    @cached_property
    def opening(self) -> str:
        """What the request will say of the first signal."""
        return self.version.opening(self.group, self.signal("nobody", 1)).encoded()

    def pods(self, count: int) -> list[str]:
        """The names of its first pods."""
        if len(self._pods) < count:
            letters = random.Random(self.number)
            replica_set, *ends = (
                "".join(letters.choices(SAFE_LETTERS, k=length)) for length in (9, *[5] * count)
            )
            self._pods[:] = [f"checkout-api-{replica_set}-{end}" for end in ends]
        return self._pods[:count]

    def signal(self, pod: str, version: int) -> Arrival:
        """A new Signal about one of its pods."""
        ref = SignalRef(self.namespace, f"{pod}-{version}", str(uuid.UUID(int=version << 32)), 1, version)
        return Arrival(
            ref=ref,
            name=TROUBLE,
            namespace=self.namespace,
            severity=Severity.CRITICAL,
            firing=True,
            target=Target("v1", "Pod", pod, self.namespace),
            labels=LABELS,
            source="alertmanager",
            seen_ms=T0 + version,
            fingerprint="",
            via=NOBODY,
        )


def storms(
    count: int, version: PolicyVersion, *, partition: int | None = None, first: int = 0
) -> list[Storm]:
    """So many, all of one partition if one is named; their numbers begin at `first`."""
    all_of_them = (Storm(number, version) for number in itertools.count(first))
    fit = (storm for storm in all_of_them if partition in (None, storm.group.partition))
    return list(itertools.islice(fit, count))


def endless(
    of: list[Storm], resources: int, first_version: int = 48_000_000
) -> Iterator[tuple[Storm, Arrival]]:
    """Signals of the storms in turn, each about the next of its storm's pods."""
    pods = [storm.pods(resources) for storm in of]
    for n in itertools.count():
        turn, place = divmod(n, len(of))
        yield of[place], of[place].signal(pods[place][turn % resources], first_version + n)
