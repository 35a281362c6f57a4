"""The watch of Events, while a policy takes them."""

import asyncio
import logging
from contextlib import aclosing

from stormfold.kube import paths
from stormfold.kube.client import KubeClient
from stormfold.kube.errors import ApiError
from stormfold.kube.listwatch import WATCH_ERRORS, ListWatch
from stormfold.kube.preflight import denied_event_rights
from stormfold.sources.events.stream import EventStream

log = logging.getLogger(__name__)

SELECT = {"fieldSelector": "type!=Normal"}
"""What the API server is asked for: Normal Events, most of all, never come here."""
RIGHTS_SECONDS = 30.0
"""How often it is looked whether rights that were missing have come."""


class EventWatch:
    """Watches Events while a policy takes them."""

    def __init__(self, client: KubeClient, intake: EventStream) -> None:
        self._client = client
        self._intake = intake
        self._events = ListWatch(client, paths.events(), kind="Event", parse=intake.parse, params=SELECT)
        self._wanted = asyncio.Event()

    def want(self, wanted: bool) -> None:
        """Say whether a policy takes Events. One that is not wanted any more ends with its next word or
        its end, a minute away at most."""
        if wanted:
            self._wanted.set()
        else:
            self._wanted.clear()

    @property
    def wanted(self) -> bool:
        """Whether a policy takes Events."""
        return self._wanted.is_set()

    async def run(self) -> None:
        """Watch for ever, whenever it is wanted."""
        while True:
            await self._wanted.wait()
            if not await self._allowed():
                await asyncio.sleep(RIGHTS_SECONDS)
                continue
            log.info("watching Events, since a policy takes them")
            async with aclosing(self._events.changes()) as changes:
                async for change in changes:
                    await self._intake.take(change)
                    # Between changes only: one that was taken in by halves would hold the checkpoint for
                    # ever.
                    if not self._wanted.is_set():
                        break
            log.info("not watching Events any more, since no policy takes them")

    async def _allowed(self) -> bool:
        """Whether we may watch, as far as one knows; if not, the log says what to do about it."""
        try:
            denied = await denied_event_rights(self._client)
        except ApiError:
            return True
        if denied:
            WATCH_ERRORS.labels(kind="Event", reason="refused").inc()
            log.error(
                "a policy takes Events, but they cannot be watched: apply "
                "manifests/components/events/rbac.yaml",
                extra={"denied": denied},
            )
        return not denied
