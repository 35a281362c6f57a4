"""A reverse proxy in front of the API server that misbehaves on demand.

It takes plain HTTP on loopback, adds the administrator's token where the client sends none, and forwards over
TLS. Watches pass line by line, without buffering. Rules are asked in the order in which they were made; one
that has been used up is passed over.
"""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import aiohttp
from aiohttp import web
from tests.harness import guard
from tests.harness.sockets import Sockets

from lab.controlplane import ControlPlane
from lab.process import free_port

When = Literal["before", "after"]
"""`before` the server gets the request, or `after` it answered and before the client hears of it."""

HOP_BY_HOP = {"connection", "host", "keep-alive", "transfer-encoding", "content-length", "accept-encoding"}


@dataclass
class Rule:
    """What happens to the requests that match, and how often it still will; `hits` counts how often it
    did."""

    method: str
    path: re.Pattern[str]
    body: Callable[[bytes], bool] | None = None
    times: int | None = 1
    """None: until the rule is removed."""
    when: When = "before"
    answer: tuple[int, Mapping[str, str], bytes] | None = None
    cut: bool = False
    hits: int = 0
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a request first met the rule: the moment to kill somebody."""
    released: asyncio.Event | None = None
    """Of a hold: the request waits for it."""
    per_second: float | None = None
    """So many that match pass each second before one meets the rule."""
    _passes: float = 1.0
    _counted_at: float = 0.0

    def release(self) -> None:
        """Let the held request go on, and those after it pass."""
        self.times = self.hits
        if self.released is not None:
            self.released.set()

    def meets(self, method: str, path: str, body: bytes) -> bool:
        """Whether a request (method, path with query, body) is one of the rule's."""
        return (
            (self.times is None or self.hits < self.times)
            and self.method in {method, "*"}
            and self.path.search(path) is not None
            and (self.body is None or self.body(body))
            and not self._passes_now()
        )

    def _passes_now(self) -> bool:
        if self.per_second is None:
            return False
        now = time.monotonic()
        self._passes = min(1.0, self._passes + (now - self._counted_at) * self.per_second)
        self._counted_at = now
        if self._passes < 1.0:
            return False
        self._passes -= 1.0
        return True


@dataclass(frozen=True)
class Seen:
    """One request that came to the proxy."""

    method: str
    path: str
    """With its query."""
    body: bytes
    status: int
    """What the client got; 0 if the connection was cut."""


@dataclass(eq=False)
class Watch:
    """One open watch."""

    path: str
    response: web.StreamResponse
    frozen: bool = False
    """Nothing of it reaches the client any more, not even its end."""
    pump: asyncio.Task[None] = field(init=False)


class ApiProxy:
    """See the module. Paths in rules are regular expressions, searched in path and query; method `*` is
    any."""

    def __init__(self, control_plane: ControlPlane) -> None:
        self._control_plane = control_plane
        self._rules: list[Rule] = []
        self._sockets = Sockets()
        """Those towards the API server."""
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.seen: list[Seen] = []
        """Every finished request, oldest first; a watch when it was opened."""
        self.watches: list[Watch] = []
        self.adds_a_type = False
        """Whether a request without a Content-Type gets one on its way, as some proxies do it."""
        self.takes: Callable[[str], bool] | None = None
        """Whether a bearer token is taken, as the administrator's; None: the API server says so itself."""

    def kubeconfig(self, path: Path, *, token: str | None = None) -> Path:
        """Write a kubeconfig that points at the proxy."""
        return self._control_plane.write_kubeconfig(path, server=self.url, token=token)

    def respond(
        self,
        method: str,
        path: str,
        status: int,
        answer: Mapping[str, Any] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        body: Callable[[bytes], bool] | None = None,
        times: int | None = 1,
        when: When = "before",
    ) -> Rule:
        """Answer in the server's place; with `after`, the server did its work and the client hears
        otherwise."""
        text = json.dumps({"kind": "Status", "apiVersion": "v1", "code": status, **(answer or {})}).encode()
        sent = {"Content-Type": "application/json", **(headers or {})}
        rule = Rule(method, re.compile(path), body, times, when, answer=(status, sent, text))
        return self._add(rule)

    def throttle(self, method: str, path: str, per_second: float) -> Rule:
        """Answer 429 to all that match but so many a second, as API Priority and Fairness does."""
        rule = self.respond(method, path, 429, headers={"Retry-After": "1"}, times=None)
        rule.per_second = per_second
        return rule

    def cut(
        self,
        method: str,
        path: str,
        *,
        body: Callable[[bytes], bool] | None = None,
        times: int | None = 1,
        when: When = "before",
    ) -> Rule:
        """Reset the client's connection instead of answering."""
        return self._add(Rule(method, re.compile(path), body, times, when, cut=True))

    def hold(
        self,
        method: str,
        path: str,
        *,
        body: Callable[[bytes], bool] | None = None,
        when: When = "before",
        times: int | None = 1,
    ) -> Rule:
        """Let the request wait until `release()`; `arrived` is set when it is there.

        A held request whose client goes away is dropped: with `before`, the server never gets it.
        """
        rule = Rule(method, re.compile(path), body, times, when, released=asyncio.Event())
        return self._add(rule)

    def remove(self, rule: Rule) -> None:
        """Take a rule away and let go of what it holds."""
        self._rules.remove(rule)
        rule.release()

    def count(self, method: str, path: str) -> int:
        """How many finished requests matched."""
        found = re.compile(path)
        return sum(method in {s.method, "*"} for s in self.seen if found.search(s.path))

    def open_watches(self, path: str) -> list[Watch]:
        """The watches that are open now."""
        return [w for w in self.watches if re.search(path, w.path)]

    async def inject(self, path: str, event: Mapping[str, Any]) -> int:
        """Send a line into every open watch that matches; how many these were."""
        watches = self.open_watches(path)
        for watch in watches:
            await watch.response.write(json.dumps(event).encode() + b"\n")
        return len(watches)

    def end_watches(self, path: str) -> int:
        """End every open watch that matches the way a server does when its time is over; how many."""
        watches = self.open_watches(path)
        for watch in watches:
            watch.pump.cancel()
        return len(watches)

    def freeze_watches(self, path: str) -> int:
        """Let every open watch that matches be silent for ever, as a half-open connection is; how many."""
        watches = self.open_watches(path)
        for watch in watches:
            watch.frozen = True
        return len(watches)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[ApiProxy]:
        """Serve until the end of the block."""
        trust = ssl.create_default_context(cafile=str(self._control_plane.ca_file))
        self._upstream = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=trust, limit=0, socket_factory=self._sockets),
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None),
        )
        application = web.Application(client_max_size=64 * 1024 * 1024)
        application.router.add_route("*", "/{path:.*}", self._serve)
        # A request whose client was killed must not go on by itself, hence the cancellation.
        runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self.port).start()
        guard.own(self.url)
        try:
            yield self
        finally:
            guard.disown(self.url)
            for rule in self._rules:
                rule.release()
            for watch in self.watches:
                watch.pump.cancel()
            await runner.cleanup()
            await self._upstream.close()
            await self._sockets.closed()

    def _add(self, rule: Rule) -> Rule:
        self._rules.append(rule)
        return rule

    def _rule(self, method: str, path: str, body: bytes, when: When) -> Rule | None:
        for rule in self._rules:
            if rule.when == when and rule.meets(method, path, body):
                rule.hits += 1
                return rule
        return None

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        path, body = request.raw_path, await request.read()
        decided = self._refused(request) or await self._meet(request, path, body, "before")
        if decided is None:
            headers = {k: v for k, v in request.headers.items() if k.lower() not in HOP_BY_HOP}
            if self.takes is not None:
                headers.pop("Authorization", None)
            headers.setdefault("Authorization", f"Bearer {self._control_plane.token}")
            try:
                async with self._upstream.request(
                    request.method,
                    self._control_plane.url + path,
                    data=body if self.adds_a_type else body or None,
                    headers=headers,
                    skip_auto_headers=["Accept-Encoding", *([] if self.adds_a_type else ["Content-Type"])],
                ) as upstream:
                    try:
                        if request.query.get("watch") in {"1", "true"} and upstream.status == 200:
                            return await self._watch(request, path, upstream)
                        text = await upstream.read()
                    finally:
                        # A connection that is not read to its end would be closed in TLS' own time, later
                        # than the loop.
                        if upstream.connection is not None and upstream.connection.transport is not None:
                            upstream.connection.transport.abort()
                    passed = {k: v for k, v in upstream.headers.items() if k.lower() not in HOP_BY_HOP}
                    decided = web.Response(status=upstream.status, headers=passed, body=text)
            except aiohttp.ClientError:
                # The server is gone or broke off: the client sees the same.
                decided = _cut(request)
            else:
                decided = await self._meet(request, path, body, "after") or decided
        self.seen.append(Seen(request.method, path, body, decided.status if request.transport else 0))
        return decided

    def _refused(self, request: web.Request) -> web.Response | None:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if self.takes is None or self.takes(token):
            return None
        said = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 401}
        return web.json_response(said | {"message": "Unauthorized", "reason": "Unauthorized"}, status=401)

    async def _meet(
        self, request: web.Request, path: str, body: bytes, when: When
    ) -> web.StreamResponse | None:
        rule = self._rule(request.method, path, body, when)
        if rule is None:
            return None
        rule.arrived.set()
        if rule.released is not None:
            await rule.released.wait()
            return None
        if rule.answer is not None:
            status, headers, text = rule.answer
            return web.Response(status=status, headers=dict(headers), body=text)
        return _cut(request)

    async def _watch(
        self, request: web.Request, path: str, upstream: aiohttp.ClientResponse
    ) -> web.StreamResponse:
        passed = {k: v for k, v in upstream.headers.items() if k.lower() not in HOP_BY_HOP}
        response = web.StreamResponse(status=upstream.status, headers=passed)
        await response.prepare(request)
        watch = Watch(path, response)
        watch.pump = pump = asyncio.create_task(_pump_lines(upstream, watch), name=f"watch {path}")
        self.watches.append(watch)
        self.seen.append(Seen(request.method, path, b"", upstream.status))
        try:
            await asyncio.wait({pump})
            if watch.frozen:
                await asyncio.Event().wait()  # until the client goes
            if not pump.cancelled() and pump.exception() is not None:
                return _cut(request, response)
        finally:
            pump.cancel()
            self.watches.remove(watch)
        return response


async def _pump_lines(upstream: aiohttp.ClientResponse, watch: Watch) -> None:
    """Pass a watch on in whole lines, so that injected ones never land inside another."""
    pending = b""
    async for chunk in upstream.content.iter_any():
        whole, newline, pending = (pending + chunk).rpartition(b"\n")
        if newline and not watch.frozen:
            await watch.response.write(whole + newline)


def _cut(request: web.Request, response: web.StreamResponse | None = None) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    return response or web.Response()
