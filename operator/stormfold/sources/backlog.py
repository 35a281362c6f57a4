"""Rest: what stays in the cluster while its namespace has no room here.

To a namespace that is held back, stormfold is as if it were away: its objects wait where they are durable, of
each only the name is kept, and the checkpoint stays below the first. When there is room again they are read
one by one, in the order of the resourceVersions under which they were left, since that is the order in which
a group must be folded. What was deleted or changed meanwhile is left to the watch, which tells of it in its
own time.
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
"""How often it is looked whether there is room again."""
RETRY_SECONDS = 1.0
"""When it is tried again after the API server failed."""

LEFT = Gauge(
    "stormfold_signals_held_back",
    "Signals, or Events, that wait in the cluster since their namespace has no room.",
    ["kind"],
)
NAMESPACES = Gauge(
    "stormfold_namespaces_held_back", "Namespaces that have no room for more signals.", ["kind"]
)
MISSED = Counter(
    "stormfold_signals_missed_total",
    "Occurrences that were deleted or edited away before they were read, while their namespace was held "
    "back.",
    ["kind"],
)


class Left(NamedTuple):
    """An object as it was when it was left."""

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


class Rest(Generic[T]):
    """What was left of one kind, by the namespace of the request that each belongs to."""

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
        self._left: dict[str, dict[str, Left]] = {}
        """Namespace → uid → what was left, in the order of resourceVersions."""
        self._namespace_of: dict[str, str] = {}
        self._resuming: str | None = None
        """Of this namespace something is on its way: what comes now must not overtake it."""
        self._work = asyncio.Event()
        self._noted = 0, 0
        """How many objects and namespaces the gauges have of this one."""

    def __len__(self) -> int:
        return len(self._namespace_of)

    def waits(self, namespace: str) -> bool:
        """Whether something of a namespace waits, so that what the watch brings must wait behind it."""
        return namespace in self._left or namespace == self._resuming

    def others_wait(self, namespace: str) -> bool:
        """The same for what was left and is taken again: whether it has come to a namespace whose turn it is
        not."""
        return namespace != self._resuming and namespace in self._left

    def leave(self, namespace: str, left: Left) -> bool:
        """There is no room for an object whose request is made in the namespace; says whether it is the
        first."""
        waiting = self._left.setdefault(namespace, {})
        first = not waiting and namespace != self._resuming
        if first:
            log.warning(
                "namespace held back: no room for more of its signals", extra={"namespace": namespace}
            )
        last = waiting[next(reversed(waiting))] if waiting else left
        waiting[left.uid] = left
        if left.resource_version < last.resource_version:
            in_order = sorted(waiting.values(), key=lambda one: one.resource_version)
            self._left[namespace] = {one.uid: one for one in in_order}
        self._namespace_of[left.uid] = namespace
        self._note()
        return first

    def drop(self, uid: str) -> Left | None:
        """The object is gone, something newer has come of it, or it is taken now: what it was left as, if it
        was."""
        namespace = self._namespace_of.pop(uid, None)
        if namespace is None:
            return None
        left = self._left[namespace].pop(uid)
        if not self._left[namespace]:
            del self._left[namespace]
            if namespace != self._resuming:
                log.info("namespace no longer held back", extra={"namespace": namespace})
        self._note()
        return left

    def _note(self) -> None:
        left, namespaces = len(self._namespace_of), len(self._left)
        # Other shards of this process count in the same gauges.
        LEFT.labels(kind=self._kind).inc(left - self._noted[0])
        NAMESPACES.labels(kind=self._kind).inc(namespaces - self._noted[1])
        self._noted = left, namespaces
        if self._left:
            self._work.set()
        else:
            self._work.clear()

    async def run(self, room: Callable[[str], int], retake: Callable[[Left, T], Awaitable[None]]) -> None:
        """Read what was left, for ever, while there is room for it; the namespaces take turns.

        `room` gives how much a namespace has; `retake` takes an object that is as it was left, or leaves it
        again.
        """
        while True:
            await self._work.wait()
            moved = 0
            for namespace in list(self._left):
                try:
                    moved += await self._resume(namespace, room(namespace), retake)
                except ApiError as exc:
                    log.warning(
                        "what was held back cannot be read, trying again",
                        extra={"namespace": namespace, "error": str(exc)},
                    )
                    await asyncio.sleep(RETRY_SECONDS)
            if not moved:
                await asyncio.sleep(WAIT_SECONDS)

    async def _resume(self, namespace: str, room: int, retake: Callable[[Left, T], Awaitable[None]]) -> int:
        """Take some of a namespace, as far as there is room and nothing has changed; says how many."""
        waiting = self._left.get(namespace, {})
        first = list(islice(waiting.values(), min(room, READS_AT_ONCE)))
        if not first:
            return 0
        objects = await asyncio.gather(*(self._read(left) for left in first))
        moved = 0
        self._resuming = namespace
        try:
            for left, seen in zip(first, objects, strict=True):
                if seen is None or waiting.get(left.uid) is not left:
                    break
                self.drop(left.uid)
                await retake(left, seen)
                if left.uid in self._namespace_of:
                    break
                moved += 1
        finally:
            self._resuming = None
        if namespace not in self._left:
            log.info("namespace no longer held back", extra={"namespace": namespace})
        return moved

    async def _read(self, left: Left) -> T | None:
        """The object, if it is still as it was left. Otherwise the watch will say what became of it."""
        # A list of one, which the API server takes from its key: so that no right is needed that the watch
        # has not.
        answer = await self._client.get(
            self._collection(left.namespace), fieldSelector=f"metadata.name={left.name}"
        )
        for body in answer.get("items") or ():
            seen = self._parse(body)
            if (seen.uid, seen.generation) == (left.uid, left.generation):
                return seen
        return None
