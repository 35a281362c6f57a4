"""Discarder: a group that makes no request is forgotten, and its signals are told why."""

from prometheus_client import Counter

from stormfold.api.reason import Reason
from stormfold.api.reasons.signals import SignalReason
from stormfold.api.signal import SignalPhase
from stormfold.fold.folder import Folder
from stormfold.fold.folding import encoded
from stormfold.fold.replies import CloseWord
from stormfold.fold.store import StormStore
from stormfold.model.arrival import Verdict
from stormfold.model.storm import Snapshot
from stormfold.request.index import RequestIndex
from stormfold.request.places import Places
from stormfold.request.schedule import Schedule
from stormfold.request.writing import RequestWriter

FORGOTTEN = frozenset((SignalReason.OPEN_STORMS_REACHED, SignalReason.REQUEST_NAMESPACE_NOT_FOUND))
"""Reasons that pass: who posts an alert of such a group posts it again, and it counts then."""

DISCARDED = Counter("stormfold_groups_discarded_total", "Groups that made no request.", ["reason"])


class Discarder:
    """Discards groups."""

    def __init__(
        self,
        store: StormStore,
        index: RequestIndex,
        writer: RequestWriter,
        *,
        folder: Folder,
        schedule: Schedule,
        places: Places,
    ) -> None:
        self._store = store
        self._index = index
        self._writer = writer
        self._folder = folder
        self._schedule = schedule
        self._places = places

    async def discard_unless_found(self, storm: Snapshot, reason: Reason, message: str) -> None:
        """Discard the group, unless the API server has a request of it: then it is looked at again.

        Raises:
            ApiError: it could not be asked.
            StoreError: see `StormStore`.
        """
        if await self._writer.finds(storm):
            self._schedule.make_due([storm.group_hash])
            return
        verdict = Verdict(SignalPhase.DISCARDED, reason, message)
        if storm.still_firing and reason is SignalReason.NOTHING_FIRING:
            # What it has are ends of alerts that the request before has counted.
            verdict = self._index.verdict(storm.group_hash, storm.epoch - 1)
            self._places.over(storm, self._writer.opening(storm).group)
        await self.discard(storm, verdict, reason)

    async def discard(self, storm: Snapshot, verdict: Verdict, reason: Reason) -> None:
        """Discard the group for a reason; its signals hear the verdict.

        Raises:
            StoreError: see `StormStore`.
        """
        forget = reason in FORGOTTEN
        word = await self._store.discard(storm, encoded(verdict), forget_alerts=forget)
        if word is CloseWord.CLOSED:
            DISCARDED.labels(reason=reason.value).inc()
            self._folder.released(storm, verdict)
        elif word is CloseWord.MOVED:
            self._schedule.make_due([storm.group_hash])
        elif word is not CloseWord.CLAIMED:  # then it is due again when it was to be anyway
            self._folder.look_again(storm.group_hash)
