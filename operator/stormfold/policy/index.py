"""PolicyIndex: the policies in force, in the order in which they are asked."""

from collections.abc import Iterable, Iterator

from stormfold.model.arrival import Arrival
from stormfold.policy.matching import Labels
from stormfold.policy.version import PolicyVersion


class PolicyIndex:
    """An immutable set of accepted policies; a change makes a new one."""

    def __init__(self, versions: Iterable[PolicyVersion] = ()) -> None:
        self.versions = tuple(sorted(versions, key=lambda version: version.precedence))
        self._of_namespace: dict[str, list[PolicyVersion]] = {}
        for version in self.versions:
            self._of_namespace.setdefault(version.id.namespace, []).append(version)

    def governing(self, arrival: Arrival, namespace_labels: Labels) -> Iterator[PolicyVersion]:
        """The policies that govern the arrival, in order: its namespace's own come first."""
        for namespace in (arrival.namespace, ""):
            for version in self._of_namespace.get(namespace, ()):
                if version.governs(arrival, namespace_labels):
                    yield version
