"""kopf's HTTP session, whose answers are made shallow before kopf reads them: see `kube.answers`.

Without it one object that is nested too deep ends kopf each time that it is begun.
"""

import math
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, cast

import aiohttp
import kopf
from aiohttp.connector import Connection

from stormfold.kube.access import Access
from stormfold.kube.answers import read_json, shallow
from stormfold.kube.client import lines


class ShallowLines:
    """The lines of a stream, each made shallow; all else is the stream's."""

    def __init__(self, stream: aiohttp.StreamReader) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    async def iter_chunked(self, _: int) -> AsyncIterator[bytes]:
        """Whole lines, as kopf reads a watch."""
        async for line in lines(self._stream):
            yield shallow(line) + b"\n"


class ShallowResponse(aiohttp.ClientResponse):
    """An answer that can be read however deep it is."""

    async def start(self, connection: Connection) -> aiohttp.ClientResponse:
        """Begin to read it."""
        await super().start(connection)
        self.content = cast("aiohttp.StreamReader", ShallowLines(self.content))
        return self

    async def json(self, **_: Any) -> Any:
        """The whole of it."""
        return read_json(await self.read())


async def session_of(access: Access) -> kopf.AiohttpSession:
    """A session for kopf that goes the same way as our own requests; to be called in kopf's event loop.

    Raises:
        CredentialError: there are no credentials now.
    """
    credential = await access.credentials.get()
    return kopf.AiohttpSession(
        server=access.server,
        # A certificate belongs to the connections of a session; tokens change within it.
        expiration=datetime.fromtimestamp(credential.ends, UTC)
        if credential.pair and credential.ends < math.inf
        else None,
        aiohttp_session=access.session(credential, limit=0, response_class=ShallowResponse),
    )
