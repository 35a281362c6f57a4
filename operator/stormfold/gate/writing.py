"""GateWriter: the status of gates, each written as it was read."""

import time
from typing import Any

from stormfold.api.stormgate import StormGate, StormGateStatus
from stormfold.gate.gates import Gate, GateIndex
from stormfold.kube import paths
from stormfold.kube.client import KubeClient
from stormfold.kube.errors import ConflictError, NotFoundError

COUNT_SECONDS = 10.0
"""A status in which only figures have changed is written so often."""


class GateWriter:
    """Writes; what it wrote, the index knows."""

    def __init__(self, client: KubeClient, gates: GateIndex) -> None:
        self._client = client
        self._gates = gates
        self._written: dict[tuple[str, str], float] = {}
        """Gate → when it was written last, by the monotonic clock."""

    async def write(self, gate: Gate, after: StormGateStatus) -> bool:
        """Make its status say that; False if the gate has changed since it was read, or is gone.

        Raises:
            ApiError: it could not be done, or it is not known whether it was.
        """
        metadata = gate.metadata
        # A merge patch keeps what it does not name: what is absent has to be named.
        status: dict[str, Any] = after.model_dump(mode="json", by_alias=True)
        status["conditions"] = [condition.manifest() for condition in after.conditions]
        body = {"metadata": {"resourceVersion": metadata.resource_version}, "status": status}
        path = paths.status(StormGate.plural, metadata.name, metadata.namespace)
        try:
            self._gates.seen(await self._client.merge_patch(path, body))
        except (ConflictError, NotFoundError):
            return False
        self._written[gate.key] = time.monotonic()
        return True

    def waits(self, gate: Gate, after: StormGateStatus) -> bool:
        """Whether it can wait, since only figures have changed."""
        before = gate.status
        figures: dict[str, Any] = {"requests": before.requests}
        if before.counts is not None:
            figures["counts"] = before.counts
        return after.model_copy(update=figures) == before and self._early(gate)

    def _early(self, gate: Gate) -> bool:
        return time.monotonic() - self._written.get(gate.key, -COUNT_SECONDS) < COUNT_SECONDS

    def keep(self, gates: list[Gate]) -> None:
        """Forget all gates but these."""
        self._written = {gate.key: self._written[gate.key] for gate in gates if gate.key in self._written}
