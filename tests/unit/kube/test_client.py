"""What comes over the wire from the API server, read without one."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any, cast

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stormfold.kube import client, paths
from stormfold.kube.access import Access
from stormfold.kube.client import KubeClient, error_in, lines, parsed, retry_after
from stormfold.kube.errors import (
    AlreadyExistsError,
    ApiError,
    ApiUnavailableError,
    ConflictError,
    GoneError,
    NotFoundError,
    RefusedError,
    ThrottledError,
    UnauthorizedError,
    error_of,
)
from stormfold.kube.exchange import Answer, Call, Exchanges


class Stream:
    """A body that comes in these chunks."""

    def __init__(self, chunks: list[bytes]) -> None:
        self._chunks = chunks

    async def iter_any(self) -> AsyncIterator[bytes]:
        for chunk in self._chunks:
            yield chunk


async def read_lines(chunks: list[bytes]) -> list[bytes]:
    return [line async for line in lines(cast("aiohttp.StreamReader", Stream(chunks)))]


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param([b"a\nb\n"], [b"a", b"b"], id="two in one chunk"),
        pytest.param([b"a", b"b\nc", b"\n"], [b"ab", b"c"], id="one in two chunks"),
        pytest.param([b"a\n\n\nb\n"], [b"a", b"b"], id="empty lines"),
        pytest.param([b"a\nb"], [b"a", b"b"], id="cut in the middle: the rest is told too"),
        pytest.param([b"a\n \n"], [b"a", b" "], id="blank"),
        pytest.param([b"a\n  "], [b"a"], id="blank rest"),
        pytest.param([b"x" * 200_000 + b"\n"], [b"x" * 200_000], id="longer than any buffer"),
    ],
)
async def test_lines_of_a_stream(chunks: list[bytes], expected: list[bytes]) -> None:
    assert await read_lines(chunks) == expected


@given(
    st.lists(
        st.binary(min_size=1, max_size=6).filter(lambda line: b"\n" not in line and line.strip() == line)
    ),
    st.lists(st.integers(0, 60)),
)
def test_lines_are_the_same_however_the_stream_is_cut(whole: list[bytes], cuts: list[int]) -> None:
    text = b"".join(line + b"\n" for line in whole)
    places = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    chunks = [text[begin:end] for begin, end in pairwise(places)]
    assert asyncio.run(read_lines(chunks)) == whole


def test_long_line_in_many_chunks_takes_little_more_than_itself() -> None:
    chunk, number = b"x" * 10_000, 500

    class Endless:
        async def iter_any(self) -> AsyncIterator[bytes]:
            for _ in range(number):
                yield bytes(chunk[:-1] + b"x")
            yield b"\n"

    async def longest() -> int:
        return max([len(line) async for line in lines(cast("aiohttp.StreamReader", Endless()))])

    tracemalloc.start()
    try:
        assert asyncio.run(longest()) == number * len(chunk)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2.2 * number * len(chunk)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 1.0),
        ({"Retry-After": "0"}, 0.0),
        ({"Retry-After": "3"}, 3.0),
        ({"Retry-After": "10"}, 10.0),
        ({"Retry-After": "3600"}, 10.0),
        ({"Retry-After": "-1"}, 1.0),
        ({"Retry-After": ""}, 1.0),
        ({"Retry-After": "²"}, 1.0),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, 1.0),
    ],
)
def test_server_says_how_long_to_wait(headers: dict[str, str], seconds: float) -> None:
    assert retry_after(headers) == seconds


@pytest.mark.parametrize(
    ("status", "reason", "kind"),
    [
        (400, "BadRequest", RefusedError),
        (401, "Unauthorized", UnauthorizedError),
        (403, "Forbidden", RefusedError),
        (404, "NotFound", NotFoundError),
        (405, "MethodNotAllowed", RefusedError),
        (408, "", ApiUnavailableError),
        (409, "Conflict", ConflictError),
        (409, "AlreadyExists", AlreadyExistsError),
        (409, "", ConflictError),
        (410, "Expired", GoneError),
        (413, "RequestEntityTooLarge", RefusedError),
        (415, "UnsupportedMediaType", RefusedError),
        (422, "Invalid", RefusedError),
        (429, "TooManyRequests", ThrottledError),
        (500, "InternalError", ApiUnavailableError),
        (502, "", ApiUnavailableError),
        (503, "ServiceUnavailable", ApiUnavailableError),
        (504, "Timeout", ApiUnavailableError),
    ],
)
def test_answer_is_an_error_of_its_kind(status: int, reason: str, kind: type[ApiError]) -> None:
    error = error_of("GET /x", status, {"reason": reason, "message": "no"})
    assert type(error) is kind
    assert (error.status, error.reason, error.message, str(error)) == (status, reason, "no", "GET /x: no")


@pytest.mark.parametrize(
    "message",
    [
        "etcdserver: request is too large",
        "rpc error: code = ResourceExhausted desc = trying to send message larger than max (2097305 vs. 2)",
    ],
)
def test_object_that_etcd_does_not_take_is_refused_for_good(message: str) -> None:
    assert type(error_of("PATCH /x", 500, {"reason": "InternalError", "message": message})) is RefusedError
    assert type(error_of("PATCH /x", 503, {"message": message})) is ApiUnavailableError


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (
            403,
            "'stormfold-gates' denied request: failed to configure policy: failed to find resource",
        ),
        (422, "'p' with binding 'b' denied request: failed to configure binding: paramKind not yet synced"),
    ],
)
def test_refusal_of_an_api_server_that_has_only_just_begun_is_no_refusal(status: int, message: str) -> None:
    assert type(error_of("PATCH /x", status, {"message": message})) is ApiUnavailableError


@pytest.mark.parametrize("body", [{}, [], None, "<html>", {"message": None, "reason": None}])
def test_answer_of_something_else_is_told_by_its_status(body: Any) -> None:
    error = error_of("GET /x", 502, body)
    assert (error.reason, str(error)) == ("", "GET /x: HTTP 502")


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        ({"object": {"code": 410, "message": "too old"}}, GoneError),
        ({"object": {"code": 504}}, ApiUnavailableError),
        ({"object": {"code": "410"}}, ApiUnavailableError),
        ({"object": "text"}, ApiUnavailableError),
        ({}, ApiUnavailableError),
    ],
)
def test_event_carries_an_error(event: dict[str, Any], kind: type[ApiError]) -> None:
    assert type(error_in(event, "/x")) is kind


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", {}),
        (b'{"a":1}', {"a": 1}),
        (b"<html>", {"message": "<html>"}),
        (b"\xff" * 300, {"message": "\ufffd" * 200}),
    ],
)
def test_answer_is_read_whatever_it_is(data: bytes, expected: Any) -> None:
    assert parsed(data) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (paths.collection("signals"), "/apis/stormfold.dev/v1alpha1/signals"),
        (paths.collection("signals", "shop"), "/apis/stormfold.dev/v1alpha1/namespaces/shop/signals"),
        (paths.item("signals", "a", "shop"), "/apis/stormfold.dev/v1alpha1/namespaces/shop/signals/a"),
        (
            paths.status("clusterstormpolicies", "default"),
            "/apis/stormfold.dev/v1alpha1/clusterstormpolicies/default/status",
        ),
        (paths.leases("ops"), "/apis/coordination.k8s.io/v1/namespaces/ops/leases"),
        (paths.events("shop"), "/api/v1/namespaces/shop/events"),
    ],
)
def test_objects_are_where_the_api_server_has_them(path: str, expected: str) -> None:
    assert path == expected


async def test_429_is_remembered_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [Answer(429, {"Retry-After": "0"}, b""), Answer(200, {}, b"{}")]

    async def exchange(_: object, call: Call) -> Answer:
        return answers.pop(0)

    monkeypatch.setattr(Exchanges, "__call__", exchange)
    async with KubeClient(Access.plain("http://127.0.0.1:1")) as kube:
        assert not kube.throttled
        await kube.get("/api/v1/namespaces")
        assert (kube.throttled, answers) == (True, [])
        monkeypatch.setattr(client, "THROTTLED_SECONDS", 0.0)
        assert not kube.throttled
