"""Backlog: the objects that stay in the cluster while their namespace has reached its limit.

stormfold does not read them. Of each it keeps the name, and the checkpoint stays below the first. Below the
limit they are read one by one, in the order of the resourceVersions under which they were deferred, since a
group is folded in that order. Objects that were deleted or changed meanwhile are skipped: the watch brings
what became of them.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from itertools import islice
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from prometheus_client import Counter, Gauge

from stormfold.kube.client import KubeClient
from stormfold.kube.errors import ApiError

log = logging.getLogger(__name__)

READS_AT_ONCE = 16
"""Objects read at the same time: some thousand a second, as many as are folded and written then."""
WAIT_SECONDS = 0.1
"""How often the limit is looked at again."""
RETRY_SECONDS = 1.0
"""When it is tried again after the API server failed."""

DEFERRED = Gauge(
    "stormfold_signals_deferred",
    "Signals, or Events, that wait in the cluster until their namespace is below its limit.",
    ["kind"],
)
NAMESPACES = Gauge(
    "stormfold_namespaces_deferred",
    "Namespaces that have reached their limit of signals in flight.",
    ["kind"],
)
MISSED = Counter(
    "stormfold_signals_missed_total",
    "Occurrences that were deleted or edited away before they were read, while their namespace was deferred.",
    ["kind"],
)


class Deferred(NamedTuple):
    """An object as it was when it was deferred."""

    uid: str
    namespace: str
    name: str
    generation: int
    """Of an Event, its count."""
    resource_version: int


class Occurred(Protocol):
    """What an object that was read must tell of itself."""

    @property
    def uid(self) -> str:
        """Which object it is."""

    @property
    def generation(self) -> int:
        """Which occurrence of it; of an Event, its count."""


T = TypeVar("T", bound=Occurred)


class Backlog(Generic[T]):
    """The deferred objects of one kind, by the namespace of the request that each belongs to."""

    def __init__(
        self,
        client: KubeClient,
        *,
        kind: str,
        collection: Callable[[str], str],
        parse: Callable[[dict[str, Any]], T],
    ) -> None:
        """`collection` gives the path of those in a namespace."""
        self._client = client
        self._kind = kind
        self._collection = collection
        self._parse = parse
        self._deferred: dict[str, dict[str, Deferred]] = {}
        """Namespace → uid → what was deferred, in the order of resourceVersions."""
        self._namespace_of: dict[str, str] = {}
        self._resuming: str | None = None
        """Of this namespace something is on its way: what comes now must not overtake it."""
        self._work = asyncio.Event()

    def __len__(self) -> int:
        return len(self._namespace_of)

    def waits(self, namespace: str) -> bool:
        """Whether something of a namespace waits, so that what the watch brings must wait behind it."""
        return namespace in self._deferred or namespace == self._resuming

    def others_wait(self, namespace: str) -> bool:
        """The same for what was deferred and is taken again: whether it has come to a namespace whose turn it
        is not."""
        return namespace != self._resuming and namespace in self._deferred

    def defer(self, namespace: str, deferred: Deferred) -> bool:
        """There is no room for an object whose request is made in the namespace; says whether it is the
        first."""
        waiting = self._deferred.setdefault(namespace, {})
        first = not waiting and namespace != self._resuming
        if first:
            log.warning(
                "signals of the namespace are deferred: it has reached its limit",
                extra={"namespace": namespace},
            )
        last = waiting[next(reversed(waiting))] if waiting else deferred
        waiting[deferred.uid] = deferred
        if deferred.resource_version < last.resource_version:
            in_order = sorted(waiting.values(), key=lambda one: one.resource_version)
            self._deferred[namespace] = {one.uid: one for one in in_order}
        self._namespace_of[deferred.uid] = namespace
        self._note()
        return first

    def drop(self, uid: str) -> Deferred | None:
        """The object is gone, something newer has come of it, or it is taken now: what it was deferred as, if
        it was."""
        namespace = self._namespace_of.pop(uid, None)
        if namespace is None:
            return None
        deferred = self._deferred[namespace].pop(uid)
        if not self._deferred[namespace]:
            del self._deferred[namespace]
            if namespace != self._resuming:
                log.info("signals of the namespace are no longer deferred", extra={"namespace": namespace})
        self._note()
        return deferred

    def _note(self) -> None:
        DEFERRED.labels(kind=self._kind).set(len(self._namespace_of))
        NAMESPACES.labels(kind=self._kind).set(len(self._deferred))
        if self._deferred:
            self._work.set()
        else:
            self._work.clear()

    async def run(
        self, capacity: Callable[[str], int], resume: Callable[[Deferred, T], Awaitable[None]]
    ) -> None:
        """Read what was deferred, for ever, while there is room for it; the namespaces take turns.

        `capacity` gives how many more a namespace may have; `resume` takes an object that is as it was
        deferred, or leaves it again.
        """
        while True:
            await self._work.wait()
            moved = 0
            for namespace in list(self._deferred):
                try:
                    moved += await self._resume(namespace, capacity(namespace), resume)
                except ApiError as exc:
                    log.warning(
                        "deferred signals cannot be read, trying again",
                        extra={"namespace": namespace, "error": str(exc)},
                    )
                    await asyncio.sleep(RETRY_SECONDS)
            if not moved:
                await asyncio.sleep(WAIT_SECONDS)

    async def _resume(
        self, namespace: str, capacity: int, resume: Callable[[Deferred, T], Awaitable[None]]
    ) -> int:
        """Take some of a namespace, as far as there is room and nothing has changed; says how many."""
        waiting = self._deferred.get(namespace, {})
        first = list(islice(waiting.values(), min(capacity, READS_AT_ONCE)))
        if not first:
            return 0
        objects = await asyncio.gather(*(self._read(deferred) for deferred in first))
        moved = 0
        self._resuming = namespace
        try:
            for deferred, seen in zip(first, objects, strict=True):
                if seen is None or waiting.get(deferred.uid) is not deferred:
                    break
                self.drop(deferred.uid)
                await resume(deferred, seen)
                if deferred.uid in self._namespace_of:
                    break
                moved += 1
        finally:
            self._resuming = None
        if namespace not in self._deferred:
            log.info("signals of the namespace are no longer deferred", extra={"namespace": namespace})
        return moved

    async def _read(self, deferred: Deferred) -> T | None:
        """The object, if it is still as it was deferred. Otherwise the watch will say what became of it."""
        # A list of one, which the API server takes from its key: so that no right is needed that the watch
        # has not.
        answer = await self._client.get(
            self._collection(deferred.namespace), fieldSelector=f"metadata.name={deferred.name}"
        )
        for body in answer.get("items") or ():
            seen = self._parse(body)
            if (seen.uid, seen.generation) == (deferred.uid, deferred.generation):
                return seen
        return None
