"""The load, in a process of its own: bodies of alerts, posted over many connections at once."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection

import orjson
import uvloop

from benchmarks.alertmanager import alert
from stormfold.sources.alerts.heads import PATH

ALERTS = 100
"""In a body."""
GROUPS = 20
POST_SECONDS = 90.0
"""How long one answer may take."""
AGAIN_SECONDS = 0.5
"""After this a body is posted again for which there was no room."""
PHASE_SECONDS = 180.0


@dataclass(frozen=True)
class Load:
    """What is posted: so many bodies of alerts, of `GROUPS` namespaces with names of that kind in turn."""

    kind: str
    posts: int
    connections: int

    @property
    def alerts(self) -> int:
        """How many there are."""
        return self.posts * ALERTS

    @property
    def namespaces(self) -> list[str]:
        """With the default policy, each is a group."""
        return [f"{self.kind}-{number:02}" for number in range(GROUPS)]

    def bodies(self, *, api_v2: bool) -> Iterator[bytes]:
        """As Alertmanager posts them, or as they are posted to Alertmanager."""
        for post in range(self.posts):
            namespace = self.namespaces[post % GROUPS]
            alerts = [alert(post * ALERTS + number, namespace) for number in range(ALERTS)]
            if api_v2:
                fields = ("labels", "annotations", "startsAt", "generatorURL")
                yield orjson.dumps([{field: one[field] for field in fields} for one in alerts])
            else:
                yield orjson.dumps({"version": "4", "status": "firing", "alerts": alerts})


@dataclass(frozen=True)
class Posted:
    """What the load saw of one phase."""

    wall_seconds: float
    cpu_seconds: float
    """Its own."""
    answer_seconds: list[float]
    """From the first byte of a body to the last of the answer that takes it, in order."""
    accepted: int
    """Alerts that the answers say are accepted."""
    refused: int
    """Answers by 429 or 503: there was no room, and the body was posted again a little later."""


def generate(load: Load, port: int, path: str, tokens: Sequence[str], pipe: Connection) -> None:
    """What the process does: make the bodies, say so, and post them all whenever it is told to."""
    posts = [
        f"POST {path} HTTP/1.1\r\nHost: load\r\nAuthorization: Bearer {tokens[number % len(tokens)]}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        + body
        for number, body in enumerate(load.bodies(api_v2=path != PATH))
    ]
    pipe.send(None)
    while pipe.recv():
        pipe.send(uvloop.run(post_all(posts, port, load.connections)))


async def post_all(posts: list[bytes], port: int, connections: int) -> Posted:
    """Post each once; on each connection the next after the answer."""
    todo = iter(posts)
    answers: list[float] = []
    accepted = refused = 0

    async def some() -> None:
        nonlocal accepted, refused
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for post in todo:
            began = time.monotonic()
            while True:
                writer.write(post)
                async with asyncio.timeout(POST_SECONDS):
                    head = (await reader.readuntil(b"\r\n\r\n")).lower()
                    length = head.partition(b"content-length: ")[2].partition(b"\r\n")[0]
                    body = await reader.readexactly(int(length or 0))
                if head[:13] not in (b"http/1.1 503 ", b"http/1.1 429 "):
                    break
                refused += 1
                await asyncio.sleep(AGAIN_SECONDS)
            if not head.startswith(b"http/1.1 200 "):
                raise SystemExit(f"not taken: {head!r} {body[:500]!r}")
            answers.append(time.monotonic() - began)
            accepted += orjson.loads(body)["accepted"] if body else ALERTS
        writer.close()

    began, began_cpu = time.monotonic(), time.process_time()
    async with asyncio.timeout(PHASE_SECONDS), asyncio.TaskGroup() as tasks:
        for _ in range(connections):
            tasks.create_task(some())
    return Posted(
        time.monotonic() - began, time.process_time() - began_cpu, sorted(answers), accepted, refused
    )


class Generator:
    """The process that posts; `with` starts and ends it."""

    def __init__(self, load: Load, port: int, path: str, tokens: Sequence[str]) -> None:
        self._load = load
        self._pipe, its = multiprocessing.Pipe()
        self._process = multiprocessing.get_context("spawn").Process(
            target=generate, args=(load, port, path, tokens, its)
        )

    def __enter__(self) -> Generator:
        self._process.start()
        self._hear()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):  # it may have ended by itself
            self._pipe.send(False)
        self._process.join(POST_SECONDS)

    def post(self) -> Posted:
        """Let it post all; every alert must be accepted."""
        self._pipe.send(True)
        posted = self._hear()
        assert isinstance(posted, Posted)
        assert posted.accepted == self._load.alerts, posted.accepted
        return posted

    def _hear(self) -> object:
        try:
            return self._pipe.recv()
        except EOFError:
            raise SystemExit("the load ended before all was posted") from None
