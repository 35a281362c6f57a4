"""HTTP/1.1 for calls that are many and small: one request at a time on each of a few kept connections.

It knows what an API server's answers need (TLS, kept connections, a length or chunks, a proxy on the way) and
nothing else: no redirects, cookies or compression, and no streams. So a call takes little more than half the
CPU that it takes with aiohttp.
"""

import asyncio
import math
import socket
import ssl
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import quote, urlencode, urlsplit

import httptools
from aiohappyeyeballs import start_connection

from stormfold.kube.proxies import Proxy

KEPT_SECONDS = 15.0
"""How long a connection is kept without a request; API servers and what stands before them close it later."""
NEXT_ADDRESS_SECONDS = 0.25
"""How long one address of a host is tried alone before the next one is tried beside it (RFC 8305)."""
MAX_PROXY_ANSWER = 16384
"""Bytes of a proxy's answer to CONNECT."""
REPEATABLE = frozenset({"GET", "PUT", "DELETE"})
"""What may be sent again if nobody knows whether it was done (RFC 9110, 9.2.2)."""


class BrokenExchangeError(ConnectionError):
    """The connection ended before the answer did, or the answer is no HTTP."""


@dataclass(frozen=True, slots=True)
class Call:
    """What is sent. `path` is quoted where it must be; header values are sent as they are, without blanks
    around."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes = b""
    longest: int | None = None
    """Bytes of the answer's body beyond which the rest of it is not wanted; None: all of it is."""


@dataclass(slots=True)
class Answer:
    """What came back. Of the headers only `Retry-After` is kept."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    too_long: bool = False
    """The body was longer than the call wanted: it was let go, with the connection."""


class Connection(asyncio.Protocol):
    """One connection and the exchange that it carries."""

    def __init__(self) -> None:
        self.open = False
        self.idle_since = 0.0
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done once the socket is closed."""
        self.answer_began = False
        """Whether anything came since the last request."""
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._waiting: asyncio.Future[Answer] | None = None
        self._answer = Answer()
        self._chunks: list[bytes] = []
        self._room: float = math.inf
        """How many bytes more the body may have."""

    async def carry(self, request: bytes, longest: int | None = None) -> Answer:
        """Send a request and wait for the whole of its answer, or for more than `longest` bytes of its body.

        Raises:
            BrokenExchangeError: there was no whole answer.
        """
        assert self._transport is not None
        self.answer_began = False
        self._room = math.inf if longest is None else longest
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        try:
            return await self._waiting
        except BaseException:
            # What still comes would be taken for the answer to the next request.
            self.abort()
            raise
        finally:
            self._waiting = None

    def abort(self) -> None:
        """Close it at once."""
        self.open = False
        if self._transport is not None:
            self._transport.abort()

    # --- what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's are not of that class.
        self._transport = cast("asyncio.Transport", transport)
        self.open = True

    def data_received(self, data: bytes) -> None:
        if self._waiting is None:
            self.abort()
            return
        self.answer_began = True
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as exc:
            self._break(f"the answer is no HTTP: {exc}")
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        if not self.lost.done():
            self.lost.set_result(None)
        self._break(str(exc) if exc else "the server closed the connection")

    def _break(self, why: str) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(BrokenExchangeError(why))

    # --- what the parser calls

    def on_message_begin(self) -> None:
        if self._waiting is None or self._waiting.done():
            self.open = False  # a second answer, for which nobody asked
        self._answer, self._chunks = Answer(), []

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(name) == len(b"retry-after") and name.lower() == b"retry-after":
            self._answer.headers["Retry-After"] = value.decode("latin-1")

    def on_body(self, chunk: bytes) -> None:
        self._room -= len(chunk)
        if self._room >= 0:
            self._chunks.append(chunk)
        elif self.open:
            self._chunks.clear()
            self._finish(Answer(self._parser.get_status_code(), too_long=True))
            self.abort()

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:
            return  # the answer itself comes after it
        answer, chunks = self._answer, self._chunks
        # A connection that is kept must not keep an answer.
        self._answer, self._chunks = Answer(), []
        answer.status, answer.body = status, b"".join(chunks)
        self.open = self.open and self._parser.should_keep_alive()
        self._finish(answer)

    def _finish(self, answer: Answer) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(answer)


class Exchanges:
    """Connections to one server, `limit` at most, of which those in use last are used next."""

    def __init__(
        self,
        url: str,
        *,
        tls: Callable[[], ssl.SSLContext] | None,
        limit: int,
        headers: Sequence[tuple[str, str]] = (),
        proxy: Proxy | None = None,
    ) -> None:
        """`tls` is asked for each connection, `headers` go with each call, `proxy` leads there."""
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._prefix = parts.path
        authority = parts.netloc.rpartition("@")[2]
        lines = [("Host", authority), *headers]
        self._proxy = proxy
        if proxy and not tls:  # such a proxy takes the whole URL instead of a connection
            self._prefix = f"http://{authority}{self._prefix}"
            if proxy.authorization:
                lines.append(("Proxy-Authorization", proxy.authorization))
        self._always = [f"{name}: {value}" for name, value in lines]
        self._tls = tls
        self._slots = asyncio.Semaphore(limit)
        self._kept: deque[Connection] = deque()
        self._connected: set[Connection] = set()

    async def __call__(self, call: Call) -> Answer:
        """The answer to a call, whatever its status; a slot is waited for.

        A server may close a kept connection while we write on it: what is repeatable is sent once more.

        Raises:
            OSError: no connection, or it ended before the answer did.
        """
        text = self.text(call)
        async with self._slots:
            connection = self._take()
            if connection is not None:
                try:
                    return await self._carry(connection, text, call.longest)
                except BrokenExchangeError:
                    if connection.answer_began or call.method not in REPEATABLE:
                        raise
            return await self._carry(await self._connect(), text, call.longest)

    async def close(self) -> None:
        """Close all connections, and wait until their sockets are closed."""
        self._kept.clear()
        for connection in self._connected:
            connection.abort()
        if self._connected:
            await asyncio.wait([connection.lost for connection in self._connected])

    def drop(self) -> None:
        """Close those that are kept: they were opened with what counts no longer."""
        while self._kept:
            self._kept.pop().abort()

    def text(self, call: Call) -> bytes:
        """The request of a call, as it is sent."""
        target = self._prefix + quote(call.path, safe="/:@!$&'()*+,;=")
        if call.query:
            target += "?" + urlencode(call.query)
        lines = [f"{call.method} {target} HTTP/1.1", *self._always]
        lines += [f"{name}: {value.strip()}" for name, value in call.headers.items()]
        if call.body or call.method != "GET":
            lines.append(f"Content-Length: {len(call.body)}")
        return "\r\n".join((*lines, "\r\n")).encode("latin-1") + call.body

    async def _carry(self, connection: Connection, text: bytes, longest: int | None) -> Answer:
        answer = await connection.carry(text, longest)
        if connection.open:
            connection.idle_since = asyncio.get_running_loop().time()
            self._kept.append(connection)
        else:
            connection.abort()
        return answer

    def _take(self) -> Connection | None:
        """The kept connection that was used last, if it still can be; those that cannot are closed."""
        oldest = asyncio.get_running_loop().time() - KEPT_SECONDS
        while self._kept and self._kept[0].idle_since < oldest:
            self._kept.popleft().abort()
        while self._kept:
            connection = self._kept.pop()
            if connection.open:
                return connection
        return None

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        host, port = (self._proxy.host, self._proxy.port) if self._proxy else (self._host, self._port)
        addresses = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        sock = await start_connection(addresses, happy_eyeballs_delay=NEXT_ADDRESS_SECONDS)
        try:
            if self._proxy and self._tls:
                await self._pass(sock, self._proxy)
            _, connection = await loop.create_connection(
                Connection,
                sock=sock,
                ssl=self._tls() if self._tls else None,
                server_hostname=self._host if self._tls else None,
            )
        except BaseException:
            sock.close()
            raise
        self._connected.add(connection)
        connection.lost.add_done_callback(lambda _: self._connected.discard(connection))
        return connection

    async def _pass(self, sock: socket.socket, proxy: Proxy) -> None:
        """Have the proxy connect us."""
        loop = asyncio.get_running_loop()
        there = f"[{self._host}]:{self._port}" if ":" in self._host else f"{self._host}:{self._port}"
        lines = [f"CONNECT {there} HTTP/1.1", f"Host: {there}"]
        if proxy.authorization:
            lines.append(f"Proxy-Authorization: {proxy.authorization}")
        await loop.sock_sendall(sock, "\r\n".join((*lines, "\r\n")).encode("latin-1"))
        # Behind the answer nothing comes before we have spoken.
        answer = b""
        while b"\r\n\r\n" not in answer:
            piece = await loop.sock_recv(sock, 4096)
            if not piece or len(answer) > MAX_PROXY_ANSWER:
                raise BrokenExchangeError(f"the proxy {proxy.url} closed the connection")
            answer += piece
        status = answer.split(b"\r\n", 1)[0].decode("latin-1")
        if status.split(" ")[1:2] != ["200"]:
            raise BrokenExchangeError(f"the proxy {proxy.url} does not connect to {there}: {status[:100]}")
