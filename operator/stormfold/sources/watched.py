"""WatchedSource: what the streams of Signals and of Events do alike."""

from collections.abc import Callable

from stormfold.api.conditions import Reason
from stormfold.enrich.enricher import Enricher
from stormfold.fold.folder import Folder
from stormfold.model.arrival import Arrival
from stormfold.sources.progress import Progress


class WatchedSource:
    """A stream of objects that the leader takes in."""

    def __init__(self, progress: Progress, *, enricher: Enricher, folder: Folder) -> None:
        self._progress = progress
        self._enricher = enricher
        self._folder = folder

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
