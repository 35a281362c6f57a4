"""kopf's HTTP session, whose answers are made shallow before kopf reads them: see `kube.answers`.

Without it one object that is nested too deep ends kopf each time that it is begun.
"""

from collections.abc import AsyncIterator
from typing import Any, cast

import aiohttp
import kopf
from aiohttp.connector import Connection

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


def session_of(login: kopf.ConnectionInfo) -> kopf.AiohttpSession:
    """A session like that which kopf itself would make of these credentials; to be called in kopf's event loop."""
    return kopf.AiohttpSession(
        server=login.server,
        priority=login.priority,
        default_namespace=login.default_namespace,
        expiration=login.expiration,
        aiohttp_session=aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=login.as_ssl_context()),
            headers=login.as_http_headers(),
            proxy=login.proxy_url,
            trust_env=bool(login.trust_env),
            response_class=ShallowResponse,
        ),
    )
