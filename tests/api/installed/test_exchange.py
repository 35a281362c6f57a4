"""Exchanges over real connections: which are kept, which are given up, and what is sent again."""

from __future__ import annotations

import asyncio
import ssl
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import replace

import pytest
from tests.harness.eventually import eventually

from lab.controlplane import ControlPlane
from stormfold.kube import exchange
from stormfold.kube.exchange import Answer, BrokenExchangeError, Call, Exchanges

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
Talk = Callable[[int, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
"""What a server does with a connection, of which it gets the number; the connection is closed after it."""


def call(method: str = "GET") -> Call:
    """A call without anything to it."""
    return Call(method, "/", {}, {})


async def heard(reader: asyncio.StreamReader) -> bytes:
    """The head of the next request; empty if the client closed the connection."""
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return b""


class Server:
    """Counts its connections and what it has heard on each; unless told otherwise it answers whatever
    comes."""

    def __init__(self, talk: Talk | None = None) -> None:
        self._talk = talk or self.answer
        self.url = ""
        self.heard: list[int] = []
        self.closed = 0
        """How many connections are over."""

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = len(self.heard)
        self.heard.append(0)
        with closing(writer):
            await self._talk(number, reader, writer)
        self.closed += 1

    async def answer(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer whatever comes."""
        while await heard(reader):
            self.heard[number] += 1
            writer.write(OK)

    @asynccontextmanager
    async def running(self, *, limit: int = 4) -> AsyncIterator[Exchanges]:
        """The client of the server while it runs."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        exchanges = Exchanges(self.url, tls=None, limit=limit)
        async with server:
            yield exchanges
            await exchanges.close()
            await eventually(lambda: self.closed == len(self.heard), what="all connections are closed")


async def test_connection_is_kept_and_no_more_are_made_than_allowed() -> None:
    server = Server()
    async with server.running(limit=3) as exchanges:
        for _ in range(5):
            assert await exchanges(call()) == Answer(200, {}, b"{}")
        assert server.heard == [5]
        await asyncio.gather(*(exchanges(call("PATCH")) for _ in range(30)))
        assert (len(server.heard), sum(server.heard)) == (3, 35)


async def test_connection_that_was_idle_for_long_is_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server()
    async with server.running() as exchanges:
        await exchanges(call())
        monkeypatch.setattr(exchange, "KEPT_SECONDS", 0.0)
        await exchanges(call())
        assert server.heard == [1, 1]


@pytest.mark.parametrize(
    ("method", "again"), [("GET", True), ("PUT", True), ("DELETE", True), ("PATCH", False)]
)
async def test_only_what_is_repeatable_is_sent_again_if_a_kept_connection_is_closed_meanwhile(
    method: str, again: bool
) -> None:
    async def talk(number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if number:
            await server.answer(number, reader, writer)
        else:
            await heard(reader)
            writer.write(OK)
            await heard(reader)

    server = Server(talk)
    async with server.running() as exchanges:
        await exchanges(call(method))
        if again:
            assert (await exchanges(call(method))).status == 200
            assert server.heard == [0, 1]
        else:
            with pytest.raises(BrokenExchangeError, match="the server closed the connection"):
                await exchanges(call(method))
            assert server.heard == [0]


async def test_new_connection_that_breaks_is_not_tried_again() -> None:
    async def talk(_number: int, reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await heard(reader)

    server = Server(talk)
    async with server.running() as exchanges:
        with pytest.raises(BrokenExchangeError):
            await exchanges(call())
        assert len(server.heard) == 1


async def test_answer_that_began_is_not_asked_for_again() -> None:
    async def talk(_number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await heard(reader)
        writer.write(OK)
        await heard(reader)
        writer.write(OK[:-1])

    server = Server(talk)
    async with server.running() as exchanges:
        await exchanges(call())
        with pytest.raises(BrokenExchangeError):
            await exchanges(call())
        assert len(server.heard) == 1


async def test_exchange_out_of_time_gives_its_slot_and_its_connection_up() -> None:
    async def talk(number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await heard(reader)
        if number:
            writer.write(OK)
        await heard(reader)

    server = Server(talk)
    async with server.running(limit=1) as exchanges:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await exchanges(call())
        assert (await exchanges(call())).status == 200
        assert len(server.heard) == 2


async def test_server_that_is_not_there_is_an_error_of_the_system() -> None:
    server = Server()
    async with server.running():
        pass
    with pytest.raises(ConnectionRefusedError):
        await Exchanges(server.url, tls=None, limit=1)(call())


async def test_api_server_is_believed_by_its_certificate_only(control_plane: ControlPlane) -> None:
    trusting = ssl.create_default_context(cafile=str(control_plane.ca_file))
    exchanges = Exchanges(control_plane.url, tls=lambda: trusting, limit=1)
    asked = Call("GET", "/readyz", {}, {"Authorization": f"Bearer {control_plane.token}"})
    assert [await exchanges(asked) for _ in range(2)] == [Answer(200, {}, b"ok")] * 2
    await exchanges.close()
    with pytest.raises(ssl.SSLCertVerificationError):
        await Exchanges(control_plane.url, tls=ssl.create_default_context, limit=1)(asked)


@pytest.mark.parametrize("framing", ["length", "chunks"])
async def test_answer_that_is_too_long_is_let_go_with_its_connection(framing: str) -> None:
    body = b"x" * 3_000_000

    async def talk(number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await heard(reader):
            server.heard[number] += 1
            if framing == "length":
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
            else:
                writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % len(body))
            with suppress(ConnectionError):
                writer.write(body)
                await writer.drain()
            if framing == "chunks":
                writer.write(b"\r\n0\r\n\r\n")

    server = Server(talk)
    async with server.running(limit=1) as exchanges:
        assert await exchanges(replace(call(), longest=100_000)) == Answer(200, {}, b"", too_long=True)
        assert await exchanges(replace(call(), longest=len(body))) == Answer(200, {}, body)
        assert await exchanges(call()) == Answer(200, {}, body)
        assert server.heard == [1, 2]


async def test_connection_that_is_kept_keeps_no_answer() -> None:
    size = 4_000_000

    async def talk(number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await heard(reader):
            server.heard[number] += 1
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
            await writer.drain()

    server = Server(talk)
    async with server.running() as exchanges:
        tracemalloc.start()
        try:
            assert len((await exchanges(call())).body) == size
            await asyncio.sleep(0)  # the event loop lets go of it too
            assert tracemalloc.get_traced_memory()[0] < size / 4
        finally:
            tracemalloc.stop()
        await exchanges(call())
        assert server.heard == [2]
