"""Sockets: a factory for aiohttp that knows when all of its sockets are closed.

aiohttp does not wait for TLS connections that it cuts off, as that of a request that is cancelled. Their
sockets close some rounds of the loop later. If the loop is gone by then, Python warns of them in a later
test.
"""

from __future__ import annotations

import socket

import aiohttp
from tests.harness.eventually import eventually


class Sockets:
    """Give it to a connector as its `socket_factory`."""

    def __init__(self) -> None:
        self._made: list[socket.socket] = []

    def __call__(self, address: aiohttp.AddrInfoType) -> socket.socket:
        """A socket as asyncio makes it."""
        family, kind, protocol, *_ = address
        made = socket.socket(family=family, type=kind, proto=protocol)
        self._made = [*self._open(), made]
        return made

    def _open(self) -> list[socket.socket]:
        return [one for one in self._made if one.fileno() != -1]

    async def closed(self) -> None:
        """Wait until each is closed; to be called once the session is."""
        await eventually(lambda: not self._open(), what="all sockets are closed")
