"""One exchange on one connection: what of the bytes that come is the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stormfold.kube.exchange import Answer, BrokenExchangeError, Call, Connection, Exchanges

PLAIN = b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: 7\r\n\r\n{'a':1}"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{'a'\r\n3\r\n:1}\r\n0\r\n\r\n"
THROTTLED = b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 3\r\nContent-Length: 0\r\n\r\n"
LAST = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}"


class Wire(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def abort(self) -> None:
        self.aborted = True


async def answer_to(chunks: Iterable[bytes]) -> tuple[Answer, Connection]:
    """What a request is answered by if these chunks come."""
    connection = Connection()
    connection.connection_made(Wire())
    carrying = asyncio.create_task(connection.carry(b"GET"))
    await asyncio.sleep(0)
    for chunk in chunks:
        connection.data_received(chunk)
    return await carrying, connection


@pytest.mark.parametrize(
    ("text", "answer", "kept"),
    [
        pytest.param(PLAIN, Answer(201, {}, b"{'a':1}"), True, id="with a length"),
        pytest.param(CHUNKED, Answer(200, {}, b"{'a':1}"), True, id="in chunks"),
        pytest.param(THROTTLED, Answer(429, {"Retry-After": "3"}, b""), True, id="that asks to wait"),
        pytest.param(LAST, Answer(200, {}, b"{}"), False, id="after which the server closes"),
        pytest.param(
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nRetry-After: 9\r\n\r\n" + PLAIN,
            Answer(201, {}, b"{'a':1}"),
            True,
            id="after informational ones",
        ),
        pytest.param(
            PLAIN + LAST, Answer(201, {}, b"{'a':1}"), False, id="before one for which nobody asked"
        ),
        pytest.param(b"HTTP/1.1 204 No Content\r\n\r\n", Answer(204, {}, b""), True, id="without a body"),
        pytest.param(
            b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}", Answer(200, {}, b"{}"), False, id="of HTTP/1.0"
        ),
    ],
)
async def test_answer_is_read(text: bytes, answer: Answer, kept: bool) -> None:
    read, connection = await answer_to([text])
    assert (read, connection.open) == (answer, kept)


@given(
    st.sampled_from([(PLAIN, Answer(201, {}, b"{'a':1}")), (CHUNKED, Answer(200, {}, b"{'a':1}"))]),
    st.lists(st.integers(0, 100)),
)
def test_answer_is_the_same_however_it_is_cut(of: tuple[bytes, Answer], cuts: list[int]) -> None:
    text, answer = of
    places = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    pieces = [text[begin:end] for begin, end in pairwise(places)]
    assert asyncio.run(answer_to(pieces))[0] == answer


async def test_connection_carries_one_exchange_after_the_other() -> None:
    connection, wire = Connection(), Wire()
    connection.connection_made(wire)
    for text, status in ((CHUNKED, 200), (PLAIN, 201), (THROTTLED, 429)):
        carrying = asyncio.create_task(connection.carry(text[:3]))
        await asyncio.sleep(0)
        connection.data_received(text)
        assert (await carrying).status == status
    assert wire.written == [b"HTT"] * 3


@pytest.mark.parametrize(
    ("chunks", "why"),
    [
        pytest.param([b"SSH-2.0-OpenSSH_9.2\r\n"], "the answer is no HTTP: ", id="no HTTP"),
        pytest.param(
            [b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"],
            "the answer is no HTTP: ",
            id="another protocol",
        ),
    ],
)
async def test_answer_that_is_no_http_breaks_the_exchange(chunks: list[bytes], why: str) -> None:
    with pytest.raises(BrokenExchangeError, match=f"^{why}"):
        await answer_to(chunks)


@pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 200 OK\r\nContent-Le", PLAIN[:-1], CHUNKED[:-2]])
@pytest.mark.parametrize(
    ("exc", "why"), [(None, "the server closed the connection"), (ConnectionResetError("reset"), "reset")]
)
async def test_connection_lost_before_the_end_breaks_the_exchange(
    begun: bytes, exc: Exception | None, why: str
) -> None:
    connection = Connection()
    connection.connection_made(Wire())
    carrying = asyncio.create_task(connection.carry(b"GET"))
    await asyncio.sleep(0)
    if begun:
        connection.data_received(begun)
    connection.connection_lost(exc)
    with pytest.raises(BrokenExchangeError, match=f"^{why}$"):
        await carrying
    assert (connection.open, connection.answer_began) == (False, bool(begun))


async def test_connection_of_a_cancelled_exchange_is_closed() -> None:
    connection, wire = Connection(), Wire()
    connection.connection_made(wire)
    carrying = asyncio.create_task(connection.carry(b"GET"))
    await asyncio.sleep(0)
    carrying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await carrying
    assert (connection.open, wire.aborted) == (False, True)


async def test_connection_on_which_something_comes_unasked_is_closed() -> None:
    connection, wire = Connection(), Wire()
    connection.connection_made(wire)
    connection.data_received(b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n")
    assert (connection.open, wire.aborted) == (False, True)


@pytest.mark.parametrize(
    ("url", "call", "text"),
    [
        pytest.param(
            "https://10.0.0.1:6443",
            Call("GET", "/api", {}, {"Accept": "application/json"}),
            b"GET /api HTTP/1.1\r\nHost: 10.0.0.1:6443\r\nAccept: application/json\r\n\r\n",
            id="GET",
        ),
        pytest.param(
            "http://[::1]:80/k8s/one",
            Call("PATCH", "/api", {"dryRun": "All", "a": "b c"}, {}, b"{}"),
            b"PATCH /k8s/one/api?dryRun=All&a=b+c HTTP/1.1\r\nHost: [::1]:80\r\nContent-Length: 2\r\n\r\n{}",
            id="a body, a query, a prefix and IPv6",
        ),
        pytest.param(
            "https://api.example.com",
            Call("DELETE", "/a b\r\nX: y/é/system:node", {}, {"Authorization": "Bearer x\n"}),
            b"DELETE /a%20b%0D%0AX:%20y/%C3%A9/system:node HTTP/1.1\r\nHost: api.example.com\r\n"
            b"Authorization: Bearer x\r\nContent-Length: 0\r\n\r\n",
            id="what must be quoted",
        ),
    ],
)
def test_request_is_written(url: str, call: Call, text: bytes) -> None:
    assert Exchanges(url, tls=None, limit=1).text(call) == text
