"""What the API server says of a collection, and how its answers and the lines of its watches are read.

Objects may come as rows of a Table, which is how to get of a large object no more than its metadata and the
cells that `kubectl get` prints. Each row is then read like an object that has its `cells`, by column.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, Protocol, TypeVar, cast

from stormfold.kube.client import error_in

READS_AT_ONCE = 8
"""So many objects that were not kept are read at the same time; each may have a megabyte."""


class UnorderedVersionsError(Exception):
    """The API server's resourceVersions cannot be compared."""


class Versioned(Protocol):
    """What an item must tell of itself."""

    @property
    def uid(self) -> str:
        """Which object it is."""

    @property
    def resource_version(self) -> int:
        """Which version of it."""

    @property
    def places(self) -> int:
        """What it takes to keep: 1 for most, one more for each KB of text."""


class Unread(NamedTuple):
    """An object of a list that is read again when its turn comes: see `LISTED_PLACES`."""

    namespace: str
    name: str
    uid: str
    resource_version: int


T = TypeVar("T", bound=Versioned)


async def _nothing(_: Unread) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Listed(Generic[T]):
    """The whole collection, in the order of resourceVersions, and the uids that have gone since the last
    change.

    `read` gives one that is `Unread`, or None: it has changed since, and the watch will tell of it.
    """

    items: list[T | Unread]
    resource_version: int
    gone: frozenset[str]
    read: Callable[[Unread], Awaitable[T | None]] = _nothing

    async def each(self) -> AsyncIterator[T]:
        """The items in their order, each once it is there; the list is empty then."""
        self.items.reverse()
        while self.items:
            turn = [self.items.pop() for _ in range(min(READS_AT_ONCE, len(self.items)))]
            if any(isinstance(item, Unread) for item in turn):
                found: Iterable[T | None] = await asyncio.gather(*map(self._one, turn))
            else:
                found = cast("list[T]", turn)
            for item in found:
                if item is not None:
                    yield item

    async def _one(self, item: T | Unread) -> T | None:
        return await self.read(item) if isinstance(item, Unread) else item


@dataclass(frozen=True, slots=True)
class Changed(Generic[T]):
    """An object was added or changed."""

    item: T

    @property
    def resource_version(self) -> int:
        """How far all has been seen with this change."""
        return self.item.resource_version


@dataclass(frozen=True, slots=True)
class Deleted:
    """An object was deleted."""

    uid: str
    resource_version: int


@dataclass(frozen=True, slots=True)
class Reached:
    """All changes up to here have been seen."""

    resource_version: int


Change = Listed[T] | Changed[T] | Deleted | Reached


def version_number(text: object) -> int:
    """A resourceVersion as a number.

    Raises:
        UnorderedVersionsError: it is not a decimal integer, so that nothing can be said about what came
        before it.
    """
    if isinstance(text, str) and text.isascii() and text.isdigit():
        return int(text)
    raise UnorderedVersionsError(
        f"the API server gives resourceVersion {text!r}; stormfold needs decimal integers, "
        "as Kubernetes guarantees since 1.35 and gives with etcd in all versions"
    )


def edited(metadata: Mapping[str, Any]) -> bool:
    """Whether managedFields tell of a write after the creation; who strips them may have hidden one."""
    entries = metadata.get("managedFields") or []
    return len(entries) != 1 or entries[0].get("time") != metadata["creationTimestamp"]


class Reader(Generic[T]):
    """Makes changes of what the API server says, and remembers which objects are there."""

    def __init__(self, path: str, parse: Callable[[dict[str, Any]], T]) -> None:
        """`path` is for errors."""
        self._path = path
        self._parse = parse
        self._known: set[str] = set()
        self._columns: list[str] = []

    def listed(self, present: set[str]) -> frozenset[str]:
        """Note which uids there are by a new list; gives those that have gone unseen."""
        gone = frozenset(self._known - present)
        self._known = present
        return gone

    def objects(self, answer: dict[str, Any]) -> list[dict[str, Any]]:
        """What an answer holds. The columns of a Table are told in each list and in the first event of each
        watch."""
        if answer.get("kind") != "Table":
            return answer.get("items") or []
        if definitions := answer.get("columnDefinitions"):
            self._columns = [definition["name"] for definition in definitions]
        return [
            row["object"] | {"cells": dict(zip(self._columns, row["cells"], strict=True))}
            for row in answer.get("rows") or ()
        ]

    def change(self, event: dict[str, Any]) -> Changed[T] | Deleted | Reached:
        """What a line of a watch says.

        Raises:
            ApiError: that the watch is over, and why.
            UnorderedVersionsError: see `version_number`.
        """
        kind, body = event.get("type"), event.get("object") or {}
        if body.get("kind") == "Table":
            (body,) = self.objects(body)
        metadata = body.get("metadata") or {}
        match kind:
            case "ADDED" | "MODIFIED":
                item = self._parse(body)
                self._known.add(item.uid)
                return Changed(item)
            case "DELETED":
                self._known.discard(metadata["uid"])
                return Deleted(metadata["uid"], version_number(metadata.get("resourceVersion")))
            case "BOOKMARK":
                return Reached(version_number(metadata.get("resourceVersion")))
        raise error_in(event, self._path)
