"""WatchedSource: what the streams of Signals and of Events do alike."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Generic

from stormfold.api.reason import Reason
from stormfold.enrich.enricher import Enricher
from stormfold.fold.folder import Folder
from stormfold.kube.changes import Change, Changed, Deleted, Listed, T
from stormfold.model.arrival import Arrival
from stormfold.sources.progress import Progress


class WatchedSource(ABC, Generic[T]):
    """A stream of objects that the leader takes in."""

    def __init__(self, progress: Progress, *, enricher: Enricher, folder: Folder) -> None:
        self._progress = progress
        self._enricher = enricher
        self._folder = folder

    @property
    def listed(self) -> bool:
        """Whether the first list has been taken in."""
        return not self._progress.beginning

    async def take(self, change: Change[T]) -> None:
        """Take in one change of the collection; the progress then reaches what was seen."""
        match change:
            case Listed():
                for uid in change.gone:
                    self._forget(uid)
                async for item in change.each():
                    await self._take_item(item)
                    self._progress.reach(item.resource_version)
                self._progress.begun()
            case Changed(item):
                await self._take_item(item)
            case Deleted(uid):
                self._forget(uid)
        self._progress.reach(change.resource_version)

    @abstractmethod
    async def _take_item(self, item: T) -> None:
        """Take in a version of an object."""

    @abstractmethod
    def _forget(self, uid: str) -> None:
        """The object is gone."""

    def current(self, arrival: Arrival) -> Arrival:
        """The same: an occurrence stays what it is."""
        return arrival

    def folded(self, arrival: Arrival) -> None:
        """Nothing: an object is durable only once its request holds it."""

    def delayed(self, arrival: Arrival, why: str) -> None:
        """Nothing: an object waits in the cluster for as long as it takes."""

    def waits(self, arrival: Arrival, why: str) -> bool:
        """An object that is not durable is read again by the next leader, not by this one."""
        return False

    def pending(self, arrival: Arrival, reason: Reason, message: str) -> bool:
        """An object stays in the cluster until it is durable."""
        return False

    def refused(self, arrival: Arrival, why: str) -> None:
        """Nothing: it is said at a Signal of the group, if there is one."""

    async def _submit(self, arrival: Arrival, waits: Callable[[str], bool]) -> str | None:
        """Hand it to the folder; the namespace that has reached its limit, if it has."""
        return await self._folder.submit(await self._enricher.enriched(arrival), waits)
