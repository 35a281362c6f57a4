"""kopf's HTTP session: what kopf reads is small and shallow, whatever somebody wrote into an object.

kopf asks for pages of a fixed number of objects and keeps each as it came. Here each page is sized by the
bytes of the last one (see `kube.paging`), and of each object only what a handler wants is handed on. Objects
that are nested too deep, each of which would end kopf whenever it is begun, are made shallow on the way (see
`kube.answers`).
"""

import math
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

import aiohttp
import kopf
import orjson
from aiohttp.connector import Connection
from yarl import URL

from stormfold.api.remediationrequest import RemediationRequest
from stormfold.api.resource import identity_of
from stormfold.api.stormpolicy import ClusterStormPolicy, StormPolicy
from stormfold.kube.access import Access
from stormfold.kube.answers import read_json
from stormfold.kube.client import lines
from stormfold.kube.paging import PageSize
from stormfold.request.bodies import wanted

Reduce = Callable[[dict[str, Any]], dict[str, Any]]
Whole = Callable[[frozenset[str], int], None]
"""Who hears what a whole list had: the uids of its objects, and its resourceVersion."""


def identity(body: dict[str, Any]) -> dict[str, Any]:
    """Which object it is."""
    return {"metadata": identity_of(body["metadata"])}


def labelled(body: dict[str, Any]) -> dict[str, Any]:
    """Which object it is, and its labels."""
    metadata = body["metadata"]
    return {"metadata": identity_of(metadata) | {"labels": metadata.get("labels") or {}}}


WANTED: Mapping[str, Reduce] = {
    StormPolicy.plural: identity,
    ClusterStormPolicy.plural: identity,
    RemediationRequest.plural: wanted,
    "namespaces": labelled,
}
"""What handlers want of an object, by the last step of its collection's path."""
CHANGES = frozenset(("ADDED", "MODIFIED", "DELETED"))


def reduced(event: dict[str, Any], reduce: Reduce) -> dict[str, Any]:
    """An event of a watch with no more than is wanted of its object; an error or a bookmark as it is."""
    if event.get("type") not in CHANGES:
        return event
    body = event["object"]
    return event | {"object": {key: body.get(key) for key in ("apiVersion", "kind")} | reduce(body)}


class ReducedLines:
    """The lines of a watch, each with no more than is wanted; all else is the stream's."""

    def __init__(self, stream: aiohttp.StreamReader, reduce: Reduce) -> None:
        self._stream = stream
        self._reduce = reduce

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    async def iter_chunked(self, _: int) -> AsyncIterator[bytes]:
        """Whole lines, as kopf reads a watch."""
        async for line in lines(self._stream):
            try:
                small = orjson.dumps(reduced(read_json(line), self._reduce))
            except orjson.JSONDecodeError as exc:
                raise aiohttp.ClientPayloadError("a line of a watch is cut short") from exc
            del line
            yield small + b"\n"


@dataclass(slots=True)
class Listing:
    """A list that is being read, page by page."""

    whole: Whole | None = None
    """Who hears of it when all of it was read."""
    size: PageSize = field(default_factory=PageSize)
    _uids: set[str] = field(default_factory=set)

    def took(self, answer: dict[str, Any], length: int) -> None:
        """A page came, of so many bytes."""
        items, metadata = answer.get("items") or [], answer.get("metadata") or {}
        self.size.took(len(items), length)
        if self.whole is None:
            return
        self._uids.update(item["metadata"]["uid"] for item in items)
        version = str(metadata.get("resourceVersion"))
        if version.isdecimal() and not metadata.get("continue"):
            self.whole(frozenset(self._uids), int(version))


class SmallResponse(aiohttp.ClientResponse):
    """An answer of which no more is handed on than is wanted."""

    _reduce: Reduce | None = None
    _page: tuple[bytes, Listing] | None = None

    async def start(self, connection: Connection) -> aiohttp.ClientResponse:
        """Begin to read it."""
        await super().start(connection)
        self._reduce = WANTED.get(self.url.name)
        if self._reduce and self.url.query.get("watch"):
            self.content = cast("aiohttp.StreamReader", ReducedLines(self.content, self._reduce))
        return self

    async def fits(self, listing: Listing) -> bool:
        """Read a page of a list, unless it is too long: then it is let go, and the next try is of fewer
        objects."""
        size = listing.size
        chunks: list[bytes] = []
        length = 0
        async for chunk in self.content.iter_any():
            length += len(chunk)
            if size.longest is not None and length > size.longest:
                size.too_long()
                self.close()
                return False
            chunks.append(chunk)
        self._page = b"".join(chunks), listing
        return True

    async def json(self, **_: Any) -> Any:
        """The whole of it; of each object in a list only what is wanted."""
        if self._page is None:
            return read_json(await self.read())
        (text, listing), self._page = self._page, None
        answer = read_json(text)
        listing.took(answer, len(text))
        items = answer.get("items") or []
        return answer | {"items": [self._reduce(body) for body in items] if self._reduce else items}


class SmallPages:
    """A session whose lists come in small pages; all else is the session's."""

    def __init__(self, session: aiohttp.ClientSession, whole: Mapping[str, Whole]) -> None:
        """`whole` hear of lists, by the last step of the collection's path."""
        self._session = session
        self._whole = whole
        self._lists: dict[str, Listing] = {}
        """The path of a collection → the list of it that is being read."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    async def request(self, method: str, url: str, **how: Any) -> aiohttp.ClientResponse:
        """The answer to a request; a page of a list is as large as it may be, whatever was asked for."""
        asked = URL(url)
        if "limit" not in asked.query:
            return await self._session.request(method, url, **how)
        if "continue" not in asked.query:
            self._lists[asked.path] = Listing(self._whole.get(asked.name))
        listing = self._lists.setdefault(asked.path, Listing())
        while True:
            sized = asked.update_query(limit=listing.size.limit)
            response = cast("SmallResponse", await self._session.request(method, sized, **how))
            if response.status >= 400 or await response.fits(listing):
                return response


async def session_of(access: Access, whole: Mapping[str, Whole]) -> kopf.AiohttpSession:
    """A session for kopf that goes the same way as our own requests; to be called in kopf's event loop.
    `whole` hear what each list has that kopf reads, by the plural of its kind.

    Raises:
        CredentialError: there are no credentials now.
    """
    credential = await access.credentials.get()
    session = access.session(credential, limit=0, response_class=SmallResponse)
    return kopf.AiohttpSession(
        server=access.server,
        # A certificate belongs to the connections of a session; tokens change within it.
        expiration=datetime.fromtimestamp(credential.ends, UTC)
        if credential.pair and credential.ends < math.inf
        else None,
        aiohttp_session=cast("aiohttp.ClientSession", SmallPages(session, whole)),
    )
