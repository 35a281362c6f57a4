"""What stands between the operator and the API server: an address of its own, as of a tunnel, or a forward
proxy."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass
class Forward:
    """Where it listens, and what it was asked for."""

    host: str
    port: int = 0
    asked: list[str] = field(default_factory=list)
    """The first line of each connection to a proxy."""
    logins: set[str] = field(default_factory=set)
    """The values of `Proxy-Authorization`."""

    @property
    def address(self) -> str:
        """host:port"""
        return f"{self.host}:{self.port}"


@asynccontextmanager
async def tunnel(backend: int, host: str = "127.0.0.2") -> AsyncIterator[Forward]:
    """Passes every connection on to that port of 127.0.0.1."""
    async with _listening(Forward(host), backend, proxy=False) as made:
        yield made


@asynccontextmanager
async def forward_proxy(backend: int) -> AsyncIterator[Forward]:
    """Takes CONNECT for any name, all of which it finds at that port of 127.0.0.1; anything else is
    refused."""
    async with _listening(Forward("127.0.0.1"), backend, proxy=True) as made:
        yield made


@asynccontextmanager
async def _listening(made: Forward, backend: int, *, proxy: bool) -> AsyncIterator[Forward]:
    writers: set[asyncio.StreamWriter] = set()

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        if proxy:
            first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
            made.asked.append(first)
            made.logins.update(
                line.partition(": ")[2] for line in lines if line.lower().startswith("proxy-authorization:")
            )
            if not first.startswith("CONNECT "):
                writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
                writer.close()
                return
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", backend)
        writers.add(up_writer)
        await asyncio.gather(pipe(reader, up_writer), pipe(up_reader, writer))

    server = await asyncio.start_server(serve, made.host, 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        for writer in writers:
            writer.close()
