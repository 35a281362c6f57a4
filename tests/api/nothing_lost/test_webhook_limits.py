"""Who takes more of the webhook than there is, who is slow, and who goes."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast

import pytest
from tests.harness.eventually import eventually
from tests.harness.served_webhook import (
    ANSWER_SECONDS,
    GOOD,
    OPTIONS,
    Everybody,
    OneUser,
    alert,
    body,
    connected,
    head,
    in_flight,
    metric,
    served,
)

from stormfold.kube.reviews import Caller
from stormfold.model.arrival import Arrival
from stormfold.sources.alerts import receiver, webhook
from stormfold.sources.alerts.heads import PATH
from stormfold.sources.alerts.parser import AlertParser, Body, Shortened


async def test_caller_has_half_of_the_posts_and_all_callers_have_all() -> None:
    async with served(replace(OPTIONS, posts=2)) as it:
        it.behind.holds = True
        first = it.post_later(body(alert(0)), Authorization="Bearer first")
        await it.taken(1)
        again = await it.post(body(alert(1)), Authorization="Bearer first")
        assert (again.code, again.reason, again.headers["Retry-After"]) == (429, "TooManyPostsOfCaller", "2")
        second = it.post_later(body(alert(2)), Authorization="Bearer second")
        await it.taken(2)
        third = await it.post(body(alert(3)), Authorization="Bearer third")
        assert (third.code, third.reason, third.headers["Retry-After"]) == (503, "TooManyPosts", "2")
        it.behind.conclude(it.behind.arrivals)
        assert [(await first).code, (await second).code] == [200, 200]
        it.behind.holds = False
        assert (await it.post(body(alert(1)), Authorization="Bearer first")).code == 200


async def test_further_tokens_of_a_user_bring_no_further_share() -> None:
    async with served(replace(OPTIONS, posts=2), authorizer=OneUser()) as it:
        it.behind.holds = True
        first = it.post_later(body(alert(0)), Authorization="Bearer first")
        await it.taken(1)
        again = await it.post(body(alert(1)), Authorization="Bearer second")
        assert (again.code, again.reason) == (429, "TooManyPostsOfCaller")
        it.behind.conclude(it.behind.arrivals)
        assert (await first).code == 200


async def test_bytes_of_bodies_are_limited_and_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiver, "BYTES", 2 * len(GOOD))
    async with served() as it:
        assert (await it.post(GOOD + b" " * len(GOOD))).code == 429
        for _ in range(3):
            assert (await it.post(GOOD)).code == 200


class Slow(Everybody):
    """Says what somebody may do when the test lets it."""

    def __init__(self) -> None:
        self.asked = 0
        self.may_answer = asyncio.Event()

    async def may_post(self, caller: Caller, namespace: str) -> bool:
        self.asked += 1
        await self.may_answer.wait()
        return True


async def test_bytes_of_a_body_are_held_until_its_alerts_are_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiver, "BYTES", 2 * len(GOOD))
    slow = Slow()
    async with served(authorizer=slow) as it:
        it.behind.holds = True
        first = it.post_later(GOOD)
        await eventually(lambda: slow.asked == 1)
        found = await it.post(GOOD)
        assert (found.code, found.reason) == (429, "TooManyPostsOfCaller")
        slow.may_answer.set()
        await it.taken(1)
        second = it.post_later(GOOD)
        await it.taken(2)
        it.behind.conclude(it.behind.arrivals)
        assert [(await first).code, (await second).code] == [200, 200]


async def test_body_that_is_not_parsed_in_time_is_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def endless(*_: Any, **__: Any) -> Iterator[Body]:
        while True:
            yield Body([], [], 0, Shortened())

    monkeypatch.setattr(AlertParser, "pieces", endless)
    async with served(replace(OPTIONS, wait_seconds=0.3)) as it:
        posts = [it.post_later(GOOD, Authorization=f"Bearer {token}") for token in ("first", "second")]
        found = [await asyncio.wait_for(post, ANSWER_SECONDS) for post in posts]
        assert [(one.code, one.reason) for one in found] == [(503, "NotDurableInTime")] * 2
        assert in_flight() == 0


async def test_connections_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "CONNECTIONS", 2)
    before = metric("stormfold_webhook_connections_refused_total")
    async with served() as it:
        async with connected(it), connected(it):
            async with connected(it) as (reader, _):
                assert await reader.read() == b""
            assert metric("stormfold_webhook_connections_refused_total") == before + 1
        await eventually(lambda: it.post(GOOD), lambda found: found.code == 200)


async def test_connections_that_come_while_others_are_worked_on_wait_to_be_taken() -> None:
    async with served() as it:
        address = ("127.0.0.1", it.webhook.port)
        # Nothing is accepted meanwhile: this is the very thread that would.
        sockets = [socket.create_connection(address, timeout=5) for _ in range(300)]
        for one in sockets:
            one.close()
        assert (await it.post(body(alert()))).code == 200


async def test_connection_that_never_ends_its_head_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "IDLE_SECONDS", 0.3)
    async with served() as it, connected(it) as (reader, writer):

        async def drip() -> None:
            for byte in head(10):
                writer.write(bytes([byte]))
                await asyncio.sleep(0.02)

        dripping = asyncio.create_task(drip())
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.wait_for(reader.read(), ANSWER_SECONDS) == b""
        dripping.cancel()


async def test_body_that_does_not_come_is_given_up_while_others_are_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(receiver, "BODY_SECONDS", 1.0)
    monkeypatch.setattr(webhook, "LINGER_SECONDS", 0.1)
    async with served() as it, contextlib.AsyncExitStack() as stack:
        slow = [await stack.enter_async_context(connected(it)) for _ in range(50)]
        for _, writer in slow:
            writer.write(head(1000) + b"{")
        await eventually(in_flight, what="some bodies are waited for")
        assert (await it.post(GOOD)).code == 200
        for reader, _ in slow:
            answer = await asyncio.wait_for(reader.read(), ANSWER_SECONDS)
            assert answer.startswith(b"HTTP/1.1 408 ")
            assert b'"reason":"BodyTooSlow"' in answer
        assert in_flight() == 0


@pytest.mark.parametrize("part", [b"", b'{"version"', GOOD], ids=["head", "half", "all"])
async def test_client_that_goes_leaves_nothing(part: bytes) -> None:
    async with served() as it:
        it.behind.holds = True
        async with connected(it) as (_, writer):
            writer.write(head(len(GOOD)) + part)
            await eventually(lambda: in_flight() == 1)
            if part == GOOD:
                await it.taken(1)
        await eventually(lambda: in_flight() == 0)
        it.behind.conclude(it.behind.arrivals)


async def test_post_of_a_client_that_has_gone_holds_nothing_but_itself() -> None:
    async with served() as it:
        it.behind.holds = True
        async with connected(it) as (_, writer):
            writer.write(head(len(GOOD)) + GOOD)
            (arrival,) = await it.taken(1)
        await eventually(lambda: in_flight() == 0)
        post = arrival.via
        held = [value for value in gc.get_referents(post) if not isinstance(value, type)]
        assert sorted(map(repr, held)) == sorted(
            map(repr, [False, None, 1, -1, "", "", bytearray(), [], [], {}, {}])
        )


CHUNKED = head(0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        pytest.param([b"\x16\x03\x01\x02\x00\r\n\r\n"], 400, id="no HTTP"),
        pytest.param([f"POST {PATH} HTTP/1.1\r\nX: {'a' * 9000}\r\n\r\n".encode()], 400, id="a large header"),
        pytest.param([CHUNKED + b"zz\r\n{}\r\n"], 400, id="a bad chunk"),
        # aiohttp tells nobody: the rest of the body does not come.
        pytest.param([CHUNKED + b"2\r\n{}\r\n", b"zz\r\n"], 408, id="a bad chunk behind a good one"),
    ],
)
async def test_what_is_no_http_is_refused_without_a_word_in_the_log(
    sent: list[bytes], code: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiver, "BODY_SECONDS", 0.5)
    async with served() as it:
        async with connected(it) as (reader, writer):
            for number, part in enumerate(sent):
                if number:
                    await eventually(lambda: in_flight() == 1)
                writer.write(part)
            answer = await asyncio.wait_for(reader.read(), ANSWER_SECONDS)
            assert answer.partition(b" ")[2].startswith(f"{code} ".encode())
        assert (await it.post(GOOD)).code == 200
    assert caplog.records == []


async def test_bug_behind_the_webhook_is_logged_and_the_post_is_to_come_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with served() as it:
        it.behind.arrivals = cast("list[Arrival]", None)
        found = await it.post(GOOD)
        assert (found.code, found.reason) == (500, "InternalError")
        assert in_flight() == 0
    assert [record.message for record in caplog.records] == ["post failed"]


async def test_server_that_stops_answers_what_is_under_way() -> None:
    async with served() as it:
        it.behind.holds = True
        answer = it.post_later(GOOD)
        arrivals = await it.taken(1)
        stopping = asyncio.create_task(it.webhook.stop())
        await asyncio.sleep(0)
        it.behind.conclude(arrivals)
        assert (await answer).code == 200
        await stopping
