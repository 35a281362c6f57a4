"""What the webhook does not take, or not whole, and what it says of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.harness.served_webhook import (
    ANSWER_SECONDS,
    GOOD,
    NO_POLICY,
    Everybody,
    OneUser,
    alert,
    body,
    connected,
    in_flight,
    in_request,
    metric,
    served,
)

from stormfold.kube.reviews import Caller
from stormfold.sources.alerts.heads import MAX_BODY, PATH


async def chunks(total: int) -> AsyncIterator[bytes]:
    for _ in range(total // 65_536 + 1):
        yield b" " * 65_536


@pytest.mark.parametrize(
    ("data", "headers", "code", "reason"),
    [
        pytest.param(GOOD, {"Authorization": None}, 401, "NotAuthenticated", id="no token"),
        pytest.param(GOOD, {"Authorization": "Bearer"}, 401, "NotAuthenticated", id="an empty token"),
        pytest.param(GOOD, {"Authorization": "Basic dGVhbQ=="}, 401, "NotAuthenticated", id="another scheme"),
        pytest.param(GOOD, {"Authorization": "Bearer who?"}, 401, "NotAuthenticated", id="an unknown token"),
        pytest.param(GOOD, {"Authorization": "Bearer nobody"}, 403, "NamespaceNotAllowed", id="no right"),
        pytest.param(GOOD, {"Content-Type": "text/plain"}, 415, "UnsupportedMediaType", id="text"),
        pytest.param(
            GOOD,
            {"Content-Type": "application/json; charset=latin-1"},
            415,
            "UnsupportedMediaType",
            id="not in UTF-8",
        ),
        pytest.param(GOOD, {"Content-Encoding": "gzip"}, 415, "UnsupportedMediaType", id="compressed"),
        pytest.param(b" " * (MAX_BODY + 1), {}, 413, "BodyTooLarge", id="announced too large"),
        pytest.param(lambda: chunks(MAX_BODY), {}, 413, "BodyTooLarge", id="too large in pieces"),
        pytest.param(body(*[{}] * 20_001), {}, 413, "TooManyAlerts", id="too many alerts"),
        pytest.param(b"{", {}, 400, "InvalidBody", id="no JSON"),
        pytest.param(body(alert(), version="5"), {}, 400, "UnsupportedPayloadVersion", id="version"),
        pytest.param(body({}, {}), {}, 400, "NoAlertUsable", id="only bad alerts"),
        pytest.param(json.dumps([alert()]).encode(), {}, 400, "InvalidBody", id="a list as for Alertmanager"),
    ],
)
async def test_post_that_is_not_taken_has_a_reason(
    data: Any, headers: dict[str, str | None], code: int, reason: str
) -> None:
    before = metric("stormfold_webhook_posts_total", code=str(code))
    async with served() as it:
        found = await it.post(data() if callable(data) else data, **headers)
        assert (found.code, found.reason) == (code, reason)
        assert found.json["message"]
        assert ("WWW-Authenticate" in found.headers) == (code == 401)
        assert it.behind.arrivals == []
        assert metric("stormfold_webhook_posts_total", code=str(code)) == before + 1
        assert in_flight() == 0
        assert (await it.post(GOOD, **{"Content-Type": "application/json; charset=UTF-8"})).code == 200


async def test_token_that_is_no_text_is_nobodys_without_a_word_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with served(authorizer=OneUser()) as it, connected(it) as (reader, writer):
        writer.write(
            b"POST %b HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer team\xff\xfe\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
            % (PATH.encode(), len(GOOD), GOOD)
        )
        answer = await asyncio.wait_for(reader.read(), ANSWER_SECONDS)
        assert answer.startswith(b"HTTP/1.1 401 ")
        assert it.behind.arrivals == []
    assert caplog.records == []


async def test_post_of_bad_alerts_alone_lists_them() -> None:
    async with served() as it:
        found = await it.post(body({}, alert(alertname=None)))
        assert (found.code, found.json["accepted"]) == (400, 0)
        assert [(r["index"], r["reason"]) for r in found.json["rejected"]] == [
            (0, "InvalidAlert"),
            (1, "InvalidAlert"),
        ]


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", PATH, 405),
        ("PATCH", f"{PATH}/", 405),
        ("POST", "/", 404),
        ("POST", f"{PATH}/x", 404),
        ("GET", "/metrics", 404),
    ],
)
async def test_nothing_else_is_served(method: str, path: str, code: int) -> None:
    async with served() as it:
        found = await it.request(method, path, None)
        assert (found.code, found.reason) == (code, "NoSuchEndpoint")
        assert found.headers.get("Allow") == ("POST,PUT" if code == 405 else None)


@pytest.mark.parametrize(
    "path", ["/api/v1/alerts", "/api/v2/alerts", f"{PATH}/api/v2/alerts", "/api/v2/alerts/"]
)
async def test_sender_that_takes_us_for_an_alertmanager_is_told_which_setting_to_use(path: str) -> None:
    async with served() as it:
        by_path = await it.request("POST", path, json.dumps([alert()]).encode())
        by_body = await it.post(json.dumps([alert()]).encode())
    advice = "In that Alertmanager, set the url of webhook_configs to http://<stormfold>:8090/v1/alertmanager"
    assert (by_path.code, by_path.reason) == (404, "NoSuchEndpoint")
    assert advice in by_path.json["message"]
    assert (by_body.code, by_body.reason) == (400, "InvalidBody")
    assert advice in by_body.json["message"]


@pytest.mark.parametrize(("method", "path"), [("POST", f"{PATH}/"), ("PUT", PATH), ("PUT", f"{PATH}/")])
async def test_path_with_a_slash_behind_it_and_the_method_put_are_taken(method: str, path: str) -> None:
    async with served() as it:
        assert (await it.request(method, path, GOOD)).code == 200


async def test_too_large_a_body_is_answered_with_what_to_change() -> None:
    async with served() as it:
        found = await it.post(b" " * (MAX_BODY + 1))
    assert found.json["message"] == (
        "The body must have at most 8388608 bytes. Let the sender group by more labels, so that fewer alerts "
        "travel "
        "in one body. Set group_by in Alertmanager's route or in Grafana's notification policy."
    )


async def test_answer_says_what_was_cut_and_left_out() -> None:
    cut = metric("stormfold_webhook_labels_shortened_total", how="cut")
    left_out = metric("stormfold_webhook_labels_shortened_total", how="left-out")
    many = {f"l{number}": "x" for number in range(70)}
    async with served() as it:
        found = await it.post(body(alert(0, query="q" * 257), alert(1, **many), alert(2)))
    assert (found.code, found.json) == (
        200,
        {
            "accepted": 3,
            "requests": [in_request("storm-1", 3)],
            "rejected": [],
            "discarded": [],
            "pending": [],
            "shortened": {"alerts": 2, "labelsCut": 1, "labelsLeftOut": 9},
        },
    )
    assert metric("stormfold_webhook_labels_shortened_total", how="cut") == cut + 1
    assert metric("stormfold_webhook_labels_shortened_total", how="left-out") == left_out + 9


async def test_rejected_alerts_are_logged_once_for_a_post(caplog: pytest.LogCaptureFixture) -> None:
    async with served() as it:
        it.behind.holds = True
        answer = it.post_later(body(alert(0), alert(1) | {"startsAt": None}, {}, alert(3)))
        arrivals = await it.taken(2)
        it.behind.conclude(arrivals[:1], NO_POLICY)
        it.behind.conclude(arrivals[1:])
        assert (await answer).code == 200
        (record,) = caplog.records
        assert (record.levelname, record.message) == ("WARNING", "alerts rejected")
        assert (record.__dict__["alerts"], record.__dict__["alertname"], record.__dict__["reasons"]) == (
            3,
            "PodDown",
            {"NoPolicyMatches": 1, "InvalidAlert": 2},
        )
        caplog.clear()
        assert (await it.post(body({}, {}))).code == 400
        (record,) = caplog.records
        assert (record.__dict__["alerts"], record.__dict__["error"]) == (
            2,
            "status: must be firing or resolved, not None",
        )
        caplog.clear()
        assert (await it.post(GOOD, Authorization="Bearer nobody")).code == 403
        assert caplog.records == [], "who has no right must not fill the log"


class OfShop(Everybody):
    """Everybody may post for the namespace shop alone."""

    async def may_post(self, caller: Caller, namespace: str) -> bool:
        return namespace == "shop"


async def test_alerts_without_a_right_are_logged_where_others_of_the_post_are_taken(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with served(authorizer=OfShop()) as it:
        found = await it.post(body(alert(0), alert(1, namespace="ops")))
        assert (found.code, found.json["accepted"]) == (200, 1)
    (record,) = caplog.records
    assert (record.message, record.__dict__["alerts"], record.__dict__["reasons"]) == (
        "alerts rejected",
        1,
        {"NamespaceNotAllowed": 1},
    )


async def test_body_of_exactly_the_limit_is_taken() -> None:
    async with served() as it:
        assert (await it.post(GOOD + b" " * (MAX_BODY - len(GOOD)))).code == 200
