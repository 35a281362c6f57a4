"""A receiver of webhooks that keeps what it gets and answers what it is told to."""

from __future__ import annotations

import ssl
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from lab.process import free_port

PATH = "/v1/alertmanager"

Instance = tuple[str, str]
"""The fingerprint of an alert, and since when it fires: what is to be counted once."""


@dataclass(frozen=True)
class Delivery:
    """One body that came, and what was answered."""

    answer: int
    authorization: str | None
    body: Any

    def instances(self, status: str | None = None) -> list[Instance]:
        """Of its alerts, in their order; only those of a status, `firing` or `resolved`, if one is named."""
        return [
            (alert["fingerprint"], alert["startsAt"])
            for alert in self.body["alerts"]
            if status in {None, alert["status"]}
        ]


class Receiver:
    """See the module; `answer` is the HTTP status from now on."""

    def __init__(
        self, trust: ssl.SSLContext | None = None, *, host: str = "127.0.0.1", path: str = PATH
    ) -> None:
        self._trust = trust
        port = free_port()
        self._port = port
        self._path = path
        self.url = f"{'https' if trust else 'http'}://{host}:{port}{path}"
        self.answer = 200
        self.deliveries: list[Delivery] = []

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Receiver]:
        """Serve until the end of the block."""
        application = web.Application(client_max_size=64 * 1024**2)
        application.router.add_post(self._path, self._take)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", self._port, ssl_context=self._trust).start()
            yield self
        finally:
            await runner.cleanup()

    def taken(self) -> list[Delivery]:
        """The deliveries that were answered with 200."""
        return [delivery for delivery in self.deliveries if delivery.answer == 200]

    def counted(self, status: str | None = None) -> Counter[Instance]:
        """How often each instance was taken; see `Delivery.instances`."""
        return Counter(one for delivery in self.taken() for one in delivery.instances(status))

    async def _take(self, request: web.Request) -> web.Response:
        delivery = Delivery(self.answer, request.headers.get("Authorization"), await request.json())
        self.deliveries.append(delivery)
        return web.Response(status=delivery.answer)
