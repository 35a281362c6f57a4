"""Ingest: the shards of this process, and what is done when one of them becomes ours."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Protocol

from stormfold.enrich.enricher import Enricher
from stormfold.fold.folder import Folder
from stormfold.fold.patience import until_done
from stormfold.fold.store import StormStore
from stormfold.kube.client import KubeClient
from stormfold.kube.lease import Lease
from stormfold.kube.recorder import Recorder
from stormfold.model.segment import segments_of
from stormfold.settings import Settings
from stormfold.sources.shard import Shard
from stormfold.sources.signals.stream import Keeper


class Deadlines(Protocol):
    """Who looks at storms."""

    async def take_over(self) -> None:
        """Look at once at what the last leader may have claimed."""


class Ingest:
    """Takes in Signals and Events."""

    def __init__(
        self,
        client: KubeClient,
        store: StormStore,
        settings: Settings,
        *,
        enricher: Enricher,
        folder: Folder,
        keeper: Keeper,
        recorder: Recorder,
        deadlines: Deadlines,
        policies_changed: asyncio.Event,
    ) -> None:
        """`policies_changed` is set when this process begins to lead: who leads writes what becomes of
        policies."""
        self._store = store
        self._folder = folder
        self._deadlines = deadlines
        self._policies_changed = policies_changed
        self._leases = [
            Lease(
                client,
                namespace=settings.namespace,
                shard=number,
                shards=settings.shards,
                identity=settings.identity,
                leads_others=lambda: any(lease.wanted for lease in self._leases),
            )
            for number in range(settings.shards)
        ]
        self._shards = [
            Shard(
                client,
                store,
                lease,
                segments_of(number, settings.shards),
                operator_namespace=settings.namespace,
                enricher=enricher,
                folder=folder,
                keeper=keeper,
                recorder=recorder,
            )
            for number, lease in enumerate(self._leases)
        ]

    def parts(self) -> dict[str, Coroutine[None, None, None]]:
        """What runs for ever, by name."""
        return {f"shard-{number}": shard.run(self._take_over) for number, shard in enumerate(self._shards)}

    @property
    def leading(self) -> bool:
        """Whether it is this process that speaks for all: the one that leads the first shard."""
        return self._shards[0].leading

    def not_ready(self) -> dict[str, str]:
        """What keeps the process from being ready."""
        return {what: why for shard in self._shards for what, why in shard.not_ready().items()}

    def want_events(self, wanted: bool) -> None:
        """Say whether a policy takes Events."""
        for shard in self._shards:
            shard.want_events(wanted)

    def fenced(self) -> dict[int, int]:
        """Segment → the resourceVersion up to which all is durable, as our Leases say."""
        return self._of_shards(Shard.fenced)

    def trim(self) -> dict[int, int]:
        """Segment → the resourceVersion up to which Redis may forget ids."""
        return self._of_shards(Shard.trim)

    def _of_shards(self, tell: Callable[[Shard], dict[int, int]]) -> dict[int, int]:
        return {number: version for shard in self._shards for number, version in tell(shard).items()}

    async def _take_over(self) -> None:
        """A shard is ours: look after what its last leader left."""
        group_hashes = await until_done(self._store.open_groups)
        self._folder.adopt(group_hashes, ())
        self._folder.storms.count_since(await until_done(lambda: self._store.since(group_hashes)))
        await until_done(self._deadlines.take_over)
        self._policies_changed.set()

    def stop_taking(self) -> None:
        """Take nothing more in."""
        for shard in self._shards:
            shard.stop_taking()

    async def release(self) -> None:
        """Leave the Leases to the next process; `parts` must have ended."""
        await asyncio.gather(*(shard.release() for shard in self._shards))
