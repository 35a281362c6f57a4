"""Nodes: how many the cluster has, for breakers that trip by a share of them."""

import logging
import math
import time

from stormfold.gate.gates import GateIndex
from stormfold.kube import paths
from stormfold.kube.client import KubeClient
from stormfold.kube.errors import ApiError, RefusedError

log = logging.getLogger(__name__)

COUNT_SECONDS = 60.0
"""How often they are counted."""
AGAIN_SECONDS = 5.0
"""When it is tried again, if the API server did not tell."""


class Nodes:
    """Counts them while a gate asks for it."""

    def __init__(self, client: KubeClient, gates: GateIndex) -> None:
        self._client = client
        self._gates = gates
        self._due = -math.inf
        """When they are to be counted again, by the monotonic clock."""
        self.number: int | None = None
        """None: not known."""
        self.denied = False
        """Whether the operator may not list them."""

    @property
    def due(self) -> bool:
        """Whether they are to be counted now."""
        return time.monotonic() > self._due and any(gate.counts_nodes for gate in self._gates.all())

    async def count(self) -> bool:
        """Count them, if they are due; whether something else is known now. A right that is missing is
        noted."""
        if not self.due:
            return False
        before = self.number, self.denied
        try:
            page = await self._client.get(paths.built_in("", "nodes"), limit="1")
            rest = (page.get("metadata") or {}).get("remainingItemCount") or 0
            self.number, self.denied = len(page.get("items") or ()) + rest, False
        except RefusedError:
            self.number, self.denied = None, True
        except ApiError as exc:
            log.warning("nodes not counted, trying again", extra={"error": str(exc)})
            self._due = time.monotonic() + AGAIN_SECONDS
            return False
        self._due = time.monotonic() + COUNT_SECONDS
        return (self.number, self.denied) != before
