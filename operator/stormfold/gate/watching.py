"""Watching: tells the index of gates what the API server has.

Not by kopf, which some answers end, and which is begun again seconds later: a hold counts within a second.
"""

from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Self

from stormfold.api.stormgate import StormGate
from stormfold.gate.gates import Gate, GateIndex
from stormfold.kube import paths
from stormfold.kube.changes import Changed, Deleted, Listed
from stormfold.kube.client import KubeClient
from stormfold.kube.listwatch import ListWatch

AGAIN_SECONDS = 1.0
"""How long it waits at most while the API server is away: then a hold counts within a second again."""
ANSWERED_SECONDS = 5.0
"""How long an API server may take to begin a watch, at first: a loaded one takes 1 s. Longer, and it is asked
again."""


@dataclass(frozen=True, slots=True)
class Watched:
    """A gate as a list or a watch gave it."""

    gate: Gate
    places: int = 1
    """What it takes to keep; not those of requests."""

    @property
    def uid(self) -> str:
        """Which object it is."""
        return self.gate.metadata.uid

    @property
    def resource_version(self) -> int:
        """Which version of it."""
        return self.gate.resource_version

    @classmethod
    def read(cls, body: dict[str, Any]) -> Self:
        """Of an API object, whatever it says."""
        return cls(Gate.read(body))


class GateWatch:
    """Watches the gates of all namespaces."""

    def __init__(self, client: KubeClient, gates: GateIndex) -> None:
        self._gates = gates
        self._watch = ListWatch(
            client,
            paths.collection(StormGate.plural),
            kind=StormGate.__name__,
            parse=Watched.read,
            longest_wait=AGAIN_SECONDS,
            answered_within=ANSWERED_SECONDS,
        )

    async def run(self) -> None:
        """Watch for ever."""
        async with aclosing(self._watch.changes()) as changes:
            async for change in changes:
                match change:
                    case Listed():
                        listed = [item.gate async for item in change.each()]
                        self._gates.listed(listed, change.resource_version)
                    case Changed(item):
                        self._gates.observe(item.gate)
                    case Deleted(uid, version):
                        self._gates.gone(uid, version)
