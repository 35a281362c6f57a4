"""ListWatch: every change of a collection, in order, whatever the API server answers. It knows no kind.

| answer | what follows |
|---|---|
| 410, as a status, as an event, or for a page | list again; what is missing then was deleted |
| the end of the watch, each minute | open the next one where we were |
| 429 | wait as long as it says, for a watch no longer than we may, and go on where we were |
| 5xx, a cut connection, silence for 90 s, another ERROR event | go on where we were, at growing intervals |
| none in time | the same, and it gets more time |
| 401, 403, 404 | say so, and try again: rights and CRDs may come |
"""

import asyncio
import logging
import math
import random
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from operator import attrgetter
from typing import Any, Generic

from prometheus_client import Counter, Gauge

from stormfold.kube.changes import (
    Change,
    Changed,
    Deleted,
    Listed,
    Reached,
    Reader,
    T,
    Unread,
    version_number,
)
from stormfold.kube.client import JSON, TIMEOUT_SECONDS, WATCH_SECONDS, KubeClient
from stormfold.kube.errors import ApiError, GoneError, NotFoundError, RefusedError

log = logging.getLogger(__name__)

SHORTEST_SHARE = 0.75
"""A watch is asked to last between this share of `WATCH_SECONDS` and all of it: so that replicas do not
reconnect together."""
SHORT_SECONDS = 1.0
"""A watch that says nothing and ends sooner was not what was asked for: the next one waits."""
FIRST_WAIT_SECONDS = 0.2
LONGEST_WAIT_SECONDS = 10.0
HEARD_SECONDS = 0.1
"""Of all that is heard within so long only the first is noted."""
LISTED_PLACES = 64 * 1024
"""Beyond what all objects take, those of one list may take so many places (of 1 KB) until each has had its
turn, in the order of resourceVersions. Of what is beyond, only the name is kept: it is read again, some
hundred a second."""
READ_AGAIN_SECONDS = 1.0
"""When it is tried again to read such an object."""
FRESH_SECONDS = 120.0
"""A watch that was neither opened nor said anything for longer is not fresh; a new one is opened each
minute."""

LAST_EVENT = Gauge(
    "stormfold_watch_last_event_timestamp_seconds",
    "When the watch last heard from the API server, bookmarks included.",
    ["kind"],
)
LISTS = Counter("stormfold_lists_total", "Full lists that the watch had to begin with.", ["kind"])
WATCH_ERRORS = Counter("stormfold_watch_errors_total", "Watches and lists that failed.", ["kind", "reason"])
MISSED_DELETIONS = Counter("stormfold_missed_deletions_total", "Deletions noticed only by a list.", ["kind"])


class ListWatch(Generic[T]):
    """The changes of one collection. `parse` makes an item of an object, so that no list is held as JSON."""

    def __init__(
        self,
        client: KubeClient,
        path: str,
        *,
        kind: str,
        parse: Callable[[dict[str, Any]], T],
        params: Mapping[str, str] = {},
        accept: str = JSON,
        longest_wait: float = LONGEST_WAIT_SECONDS,
        answered_within: float = TIMEOUT_SECONDS,
    ) -> None:
        """`params` select, such as a fieldSelector; `accept` asks for another form of the objects.
        `longest_wait` is how long it waits at most, in seconds, before it asks an API server again;
        `answered_within`, how long that may take to begin a watch, at first."""
        self._longest_wait = longest_wait
        self._answered_within = answered_within
        self._client = client
        self._path = path
        self._params = dict(params)
        self._accept = accept
        self._kind = kind
        self._parse = parse
        self._reader = Reader(path, parse)
        self._places = LISTED_PLACES
        self._heard = -math.inf

    @property
    def fresh(self) -> bool:
        """Whether the API server was heard of lately."""
        return time.monotonic() - self._heard < FRESH_SECONDS

    def _hear(self) -> None:
        now = time.monotonic()
        if now - self._heard > HEARD_SECONDS:
            LAST_EVENT.labels(kind=self._kind).set_to_current_time()
            self._heard = now

    def end(self) -> None:
        """Nobody reads the changes any more: from now on silence means nothing."""
        LAST_EVENT.remove(self._kind)

    async def changes(self) -> AsyncGenerator[Change[T], None]:
        """All changes, for ever, beginning with a `Listed`; whoever reads slowly slows the watch.

        Raises:
            UnorderedVersionsError: see `version_number`.
        """
        version: int | None = None
        wait = FIRST_WAIT_SECONDS
        within = self._answered_within
        while True:
            asked_for = 0.0
            try:
                if version is None:
                    listed = await self._list()
                    version = listed.resource_version
                    wait = FIRST_WAIT_SECONDS
                    yield listed
                    del listed
                asked, came = time.monotonic(), False
                async with aclosing(self._watch(version, within)) as watch:
                    async for change in watch:
                        self._hear()
                        version = change.resource_version
                        wait, within, came = FIRST_WAIT_SECONDS, self._answered_within, True
                        yield change
                        del change
                if came or time.monotonic() - asked >= SHORT_SECONDS:
                    wait, within = FIRST_WAIT_SECONDS, self._answered_within
                    yield Reached(version)  # nothing was missed; who waits for a sign of life has one
                    continue
            except GoneError:
                WATCH_ERRORS.labels(kind=self._kind, reason="gone").inc()
                version = None
            except ApiError as exc:
                asked_for = min(exc.retry_after, self._longest_wait)
                reason = "refused" if isinstance(exc, RefusedError | NotFoundError) else "unavailable"
                WATCH_ERRORS.labels(kind=self._kind, reason=reason).inc()
                level = logging.ERROR if reason == "refused" else logging.WARNING
                log.log(level, "watch failed, trying again", extra={"kind": self._kind, "error": str(exc)})
            await asyncio.sleep(max(asked_for, wait * random.uniform(0.5, 1.0)))  # noqa: S311
            wait, within = min(wait * 2, self._longest_wait), min(within * 2, TIMEOUT_SECONDS)

    def _watch(self, version: int, within: float) -> AsyncGenerator[Changed[T] | Deleted | Reached, None]:
        """The changes after a version, for a minute at most; `within` so many seconds it is to begin.

        That the API server opens the watch proves that it answers, and the version, that nothing was missed
        before. So a quiet collection is as fresh as one with changes, also where no bookmarks come.
        """
        seconds = WATCH_SECONDS * random.uniform(SHORTEST_SHARE, 1.0)  # noqa: S311 - spreads load, hides nothing
        return self._client.watch(
            self._path,
            self._reader.change,
            accept=self._accept,
            within=within,
            opened=self._hear,
            params=self._params
            | {
                "resourceVersion": str(version),
                "allowWatchBookmarks": "true",
                "timeoutSeconds": str(max(1, round(seconds))),
            },
        )

    async def _list(self) -> Listed[T]:
        LISTS.labels(kind=self._kind).inc()
        self._places = LISTED_PLACES
        found, version = await self._client.list_all(
            self._path, self._kept, objects=self._page, params=self._params, accept=self._accept
        )
        items = [item for item in found if item is not None]
        items.sort(key=attrgetter("resource_version"))
        gone = self._reader.listed({item.uid for item in items})
        MISSED_DELETIONS.labels(kind=self._kind).inc(len(gone))
        return Listed(items, version_number(version), gone, self._read)

    def _kept(self, body: dict[str, Any]) -> T | Unread:
        """What is kept of an object of a list."""
        metadata = body["metadata"]
        item = self._parse(body)
        more = item.places - 1
        if more > self._places:
            return Unread(metadata.get("namespace", ""), metadata["name"], item.uid, item.resource_version)
        self._places -= more
        return item

    async def _read(self, unread: Unread) -> T | None:
        """The object of a list, if it is still as it was listed."""
        head, _, plural = self._path.rpartition("/")
        path = f"{head}/namespaces/{unread.namespace}/{plural}"
        # A version that the API server has already: it need not ask etcd for how far it is, which takes it 50
        # ms.
        select = {
            "fieldSelector": f"metadata.name={unread.name}",
            "resourceVersion": str(unread.resource_version),
        }
        while True:
            try:
                found, _ = await self._client.list_all(
                    path, self._parse, objects=self._page, params=select, accept=self._accept
                )
            except ApiError as exc:
                log.warning(
                    "listed object not read, trying again", extra={"kind": self._kind, "error": str(exc)}
                )
                await asyncio.sleep(READ_AGAIN_SECONDS)
            else:
                as_listed = unread.uid, unread.resource_version
                return next((item for item in found if (item.uid, item.resource_version) == as_listed), None)

    def _page(self, answer: dict[str, Any]) -> list[dict[str, Any]]:
        """What a page of a list holds."""
        self._hear()
        return self._reader.objects(answer)
