"""A TCP proxy in front of Redis that holds, delays, refuses and cuts single commands on demand.

It reads RESP 2 and 3 just well enough to see whole commands and whole replies, and passes their bytes on
unchanged.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Literal

from lab.process import free_port

When = Literal["before", "after"]
"""`before` the server gets the command, or `after` it replied and before the client hears of it."""

Words = tuple[bytes, ...]


@dataclass
class Rule:
    """Which commands, what happens to them and how often it still will; `hits` counts how often it did."""

    command: str
    """Upper case, or `*` for any."""
    containing: bytes | tuple[bytes, ...]
    """Must occur in one of the arguments, each of several in one: a script's SHA-1, a key, a value."""
    times: int | None = 1
    """None: until the rule is removed."""
    when: When = "before"
    cut: bool = False
    delay_seconds: float = 0.0
    reply: bytes | None = None
    hits: int = 0
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a command first met the rule: the moment to kill somebody."""
    released: asyncio.Event | None = None

    def release(self) -> None:
        """Let the held command go on, and those after it pass."""
        self.times = self.hits
        if self.released is not None:
            self.released.set()

    def meets(self, words: Words) -> bool:
        """Whether a command is one of the rule's."""
        return (
            (self.times is None or self.hits < self.times)
            and self.command in {"*", words[0].decode(errors="replace").upper()}
            and all(any(part in word for word in words[1:]) for part in self._parts() if part)
        )

    def _parts(self) -> tuple[bytes, ...]:
        return (self.containing,) if isinstance(self.containing, bytes) else self.containing


class _CutError(Exception):
    """The connection is to be reset."""


class RedisProxy:
    """See the module; `port` is the server behind it."""

    def __init__(self, port: int) -> None:
        self._behind = port
        self._rules: list[Rule] = []
        self._connections: set[asyncio.Task[None]] = set()
        self._accepting = True
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.commands: Counter[str] = Counter()
        """How many commands of each name came from clients."""

    def hold(
        self,
        command: str,
        containing: bytes | tuple[bytes, ...] = b"",
        *,
        when: When = "before",
        times: int | None = 1,
    ) -> Rule:
        """Let the command wait until `release()`; `arrived` is set when it is there. Later ones queue behind
        it."""
        return self._add(Rule(command, containing, times, when, released=asyncio.Event()))

    def delay(
        self,
        command: str,
        seconds: float,
        containing: bytes | tuple[bytes, ...] = b"",
        *,
        times: int | None = None,
    ) -> Rule:
        """Let the command wait so many seconds before the server gets it."""
        return self._add(Rule(command, containing, times, delay_seconds=seconds))

    def cut(
        self,
        command: str,
        containing: bytes | tuple[bytes, ...] = b"",
        *,
        when: When = "before",
        times: int | None = 1,
    ) -> Rule:
        """Reset the client's connection instead of passing the command, or its reply, on."""
        return self._add(Rule(command, containing, times, when, cut=True))

    def refuse(
        self, command: str, error: str, containing: bytes | tuple[bytes, ...] = b"", *, times: int | None = 1
    ) -> Rule:
        """Reply an error such as `OOM command not allowed` although the server carried the command out."""
        return self.reply(command, b"-" + error.encode() + b"\r\n", containing, times=times)

    def reply(
        self,
        command: str,
        reply: bytes,
        containing: bytes | tuple[bytes, ...] = b"",
        *,
        times: int | None = None,
    ) -> Rule:
        """Reply this instead of what the server does, in the bytes of the protocol."""
        return self._add(Rule(command, containing, times, "after", reply=reply))

    def move(self, port: int) -> None:
        """Pass new connections on to another server, as a name or a Service does; those that are open
        stay."""
        self._behind = port

    def remove(self, rule: Rule) -> None:
        """Take a rule away and let go of what it holds."""
        self._rules.remove(rule)
        rule.release()

    def disconnect(self) -> None:
        """Reset all connections and refuse new ones, as if the server were gone."""
        self._accepting = False
        for connection in self._connections:
            connection.cancel()

    def reconnect(self) -> None:
        """Take connections again, after `disconnect`."""
        self._accepting = True

    @asynccontextmanager
    async def running(self) -> AsyncIterator[RedisProxy]:
        """Serve until the end of the block."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        try:
            yield self
        finally:
            server.close()
            for rule in self._rules:
                rule.release()
            open_now = list(self._connections)
            for connection in open_now:
                connection.cancel()
            await asyncio.gather(*open_now, return_exceptions=True)
            await server.wait_closed()

    def _add(self, rule: Rule) -> Rule:
        self._rules.append(rule)
        return rule

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._accepting:
            writer.transport.abort()
            return
        connection = asyncio.create_task(self._relay(reader, writer), name="redis proxy connection")
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)
        # Here, since a task that is cancelled before it has begun runs nothing of its own.
        connection.add_done_callback(lambda _: writer.transport.abort())

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            behind_reader, behind_writer = await asyncio.open_connection("127.0.0.1", self._behind)
        except OSError:
            return
        waiting: deque[Words] = deque()
        pumps = {
            asyncio.create_task(self._pump_commands(reader, behind_writer, waiting)),
            asyncio.create_task(self._pump_replies(behind_reader, writer, waiting)),
        }
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            # Before the last await: the end of the proxy may cancel that.
            behind_writer.transport.abort()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _pump_commands(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, waiting: deque[Words]
    ) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError, _CutError):
            while True:
                raw, words = await _read_command(reader)
                self.commands[words[0].decode(errors="replace").upper()] += 1
                await self._meet(words, "before")
                waiting.append(words)
                writer.write(raw)
                await writer.drain()

    async def _pump_replies(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, waiting: deque[Words]
    ) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError, _CutError):
            while True:
                raw = await _read_frame(reader)
                # RESP 3 pushes (`>`) answer no command.
                if not raw.startswith(b">") and waiting:
                    raw = await self._meet(waiting.popleft(), "after") or raw
                writer.write(raw)
                await writer.drain()

    async def _meet(self, words: Words, when: When) -> bytes | None:
        """The reply to give instead of the server's, if a rule says so."""
        rule = next((r for r in self._rules if r.when == when and r.meets(words)), None)
        if rule is None:
            return None
        rule.hits += 1
        rule.arrived.set()
        if rule.released is not None:
            await rule.released.wait()
        if rule.delay_seconds:
            await asyncio.sleep(rule.delay_seconds)
        if rule.cut:
            raise _CutError
        return rule.reply


async def _read_command(reader: asyncio.StreamReader) -> tuple[bytes, Words]:
    """The bytes of one command and its words; clients send arrays of bulk strings."""
    head = await reader.readuntil(b"\r\n")
    raw, words = [head], []
    for _ in range(int(head[1:])):
        size = await reader.readuntil(b"\r\n")
        word = await reader.readexactly(int(size[1:]) + 2)
        raw += [size, word]
        words.append(word[:-2])
    return b"".join(raw), tuple(words)


async def _read_frame(reader: asyncio.StreamReader) -> bytes:
    """The bytes of one reply, whatever it holds."""
    head = await reader.readuntil(b"\r\n")
    kind = head[:1]
    if kind in b"$=!":
        length = int(head[1:])
        return head if length < 0 else head + await reader.readexactly(length + 2)
    if kind in b"*~>%|":
        items = max(int(head[1:]), 0) * (2 if kind in b"%|" else 1)
        # An attribute (`|`) precedes the reply it belongs to.
        items += kind == b"|"
        return head + b"".join([await _read_frame(reader) for _ in range(items)])
    return head
