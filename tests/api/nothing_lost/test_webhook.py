"""The webhook on a real socket: who may post, how much, what is answered, and who does it no harm.

What comes behind it is stood in for by `Behind`; whose token it is and what its owner may do, the API server
says where a test asks for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import io
import json
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, cast

import aiohttp
import pytest
from prometheus_client import REGISTRY
from tests.api.conftest import NewNamespace
from tests.harness.accounts import account, allow
from tests.harness.api import Api
from tests.harness.eventually import eventually

from lab.controlplane import ControlPlane
from lab.process import free_port
from stormfold.api.conditions import Reason
from stormfold.api.signal import SignalPhase
from stormfold.enrich.enricher import Enricher
from stormfold.fold.folder import Folder
from stormfold.kube.access import Access, find_access
from stormfold.kube.client import KubeClient
from stormfold.kube.reviews import Caller, Reviews
from stormfold.model.arrival import Arrival, Verdict
from stormfold.policy.router import Router
from stormfold.sources.alerts import receiver, webhook
from stormfold.sources.alerts.heads import MAX_BODY, PATH
from stormfold.sources.alerts.parser import AlertParser, Body, Shortened
from stormfold.sources.alerts.posts import LISTED
from stormfold.sources.alerts.receiver import Authorizer, WebhookOptions
from stormfold.sources.alerts.webhook import Webhook

COUNTED = Verdict(SignalPhase.FOLDED, Reason.COUNTED, "counted", "shop", "storm-1", policy="team")
NO_POLICY = Verdict(SignalPhase.REJECTED, Reason.NO_POLICY_MATCHES, "no policy governs it")
BELOW = Verdict(SignalPhase.DISCARDED, Reason.BELOW_THRESHOLD, "below the threshold")
ANSWER_SECONDS = 30.0
"""An answer that has not come by then never comes: no measure of how fast it is."""
SECRET = "a-secret-of-this-test"
OPTIONS = WebhookOptions(host="127.0.0.1", port=0, namespace="ops", wait_seconds=5.0)


def alert(number: int = 0, *, status: str = "firing", **labels: str | None) -> dict[str, Any]:
    """An alert on a pod of the namespace shop; a label of None is left out."""
    named = {"alertname": "PodDown", "namespace": "shop", "pod": f"web-{number}"} | labels
    return {
        "status": status,
        "labels": {key: value for key, value in named.items() if value is not None},
        "startsAt": "2026-01-01T00:00:00Z",
        "fingerprint": f"{number:016x}",
    }


def body(*alerts: Any, **changes: Any) -> bytes:
    """What Alertmanager would post."""
    return json.dumps({"version": "4", "alerts": list(alerts)} | changes).encode()


class Behind:
    """What comes behind the webhook, as its enricher, its folder and the process that it serves in: it takes
    arrivals and, unless told to hold them, concludes each as counted."""

    def __init__(self) -> None:
        self.arrivals: list[Arrival] = []
        self.room_for: Callable[[Arrival], bool] = lambda arrival: True
        self.holds = False
        self.problem: str | None = None

    def not_serving(self) -> str | None:
        return self.problem

    async def all_enriched(self, arrivals: list[Arrival]) -> list[Arrival]:
        return arrivals

    def offer(self, arrivals: list[Arrival]) -> list[Arrival]:
        taken = [arrival for arrival in arrivals if self.room_for(arrival)]
        self.arrivals += taken
        if not self.holds:
            self.conclude(taken)
        return [arrival for arrival in arrivals if not self.room_for(arrival)]

    @staticmethod
    def conclude(arrivals: Iterable[Arrival], verdict: Verdict = COUNTED) -> None:
        for arrival in arrivals:
            arrival.via.folded(arrival)
            arrival.via.durable(arrival, verdict)

    @staticmethod
    def fold(arrivals: Iterable[Arrival]) -> None:
        for arrival in arrivals:
            arrival.via.folded(arrival)


class Everybody:
    """Knows each token that is a name, and lets it speak for all namespaces."""

    async def caller(self, token: str) -> Caller | None:
        return Caller(token.encode(), token) if token.isalnum() else None

    async def may_post(self, caller: Caller, namespace: str) -> bool:
        return caller.name != "nobody"


@dataclass
class Answered:
    """An answer as it was read."""

    code: int
    json: Any
    headers: dict[str, str]

    @property
    def reason(self) -> str:
        return str(self.json["reason"])


@dataclass
class Served:
    """A webhook that is served, and a client of it."""

    webhook: Webhook
    behind: Behind
    session: aiohttp.ClientSession
    scheme: str = "http"
    tasks: list[asyncio.Task[Answered]] = field(default_factory=list)

    async def request(self, method: str, path: str, data: Any, **headers: str | None) -> Answered:
        sent = {"Content-Type": "application/json", "Authorization": "Bearer team"} | {
            key.replace("_", "-"): value for key, value in headers.items()
        }
        url = f"{self.scheme}://127.0.0.1:{self.webhook.port}{path}"
        kept = {key: value for key, value in sent.items() if value is not None}
        data = io.BytesIO(data) if isinstance(data, bytes) else data
        async with self.session.request(method, url, data=data, headers=kept) as response:
            return Answered(response.status, await response.json(), dict(response.headers))

    async def post(self, data: Any, **headers: str | None) -> Answered:
        return await self.request("POST", PATH, data, **headers)

    def post_later(self, data: Any, **headers: str | None) -> asyncio.Task[Answered]:
        task = asyncio.create_task(self.post(data, **headers))
        self.tasks.append(task)
        return task

    async def taken(self, number: int) -> list[Arrival]:
        """The arrivals, once there are so many."""
        await eventually(lambda: len(self.behind.arrivals) == number, what=f"{number} alerts are submitted")
        return self.behind.arrivals


@asynccontextmanager
async def served(
    options: WebhookOptions = OPTIONS, authorizer: Authorizer | None = None
) -> AsyncIterator[Served]:
    behind = Behind()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
        serving = Webhook(
            options,
            enricher=cast("Enricher", behind),
            folder=cast("Folder", behind),
            authorizer=authorizer or Everybody(),
            serving=behind,
            policies=Router(),
        )
        it = Served(serving, behind, session)
        await serving.start()
        try:
            yield it
        finally:
            for task in it.tasks:
                task.cancel()
            await asyncio.gather(*it.tasks, return_exceptions=True)
            await serving.stop()


@asynccontextmanager
async def connected(
    it: Served, **options: Any
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A bare connection to the webhook, closed in the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", it.webhook.port, **options)
    try:
        yield reader, writer
    finally:
        await close(writer)


async def close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


def metric(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def in_flight() -> float:
    return metric("stormfold_webhook_posts_in_flight")


# --- what is answered, and when


async def test_post_is_answered_when_every_alert_is_concluded_and_not_before() -> None:
    async with served() as it:
        it.behind.holds = True
        answer = it.post_later(body(alert(0), alert(1, status="resolved"), alert(2)))
        arrivals = await it.taken(3)
        assert [(a.labels["pod"], a.firing) for a in arrivals] == [
            ("web-0", True),
            ("web-1", False),
            ("web-2", True),
        ]
        it.behind.fold(arrivals)
        it.behind.conclude(arrivals[:2])
        it.behind.conclude(arrivals[:2])
        assert not answer.done()
        it.behind.conclude(arrivals[2:])
        found = await answer
        assert (found.code, found.json) == (
            200,
            {
                "accepted": 3,
                "requests": [in_request("storm-1", 3)],
                "rejected": [],
                "discarded": [],
                "pending": [],
            },
        )


def in_request(name: str, alerts: int) -> dict[str, object]:
    return {"namespace": "shop", "name": name, "policy": "team", "alerts": alerts}


async def test_answer_says_how_many_alerts_are_in_which_request_under_which_policy() -> None:
    async with served() as it:
        it.behind.holds = True
        answer = it.post_later(body(*(alert(number) for number in range(LISTED + 3))))
        arrivals = await it.taken(LISTED + 3)
        it.behind.fold(arrivals)
        for number, arrival in enumerate(arrivals):
            where = replace(COUNTED, request_name=f"storm-{max(0, number - 1):03}")
            Behind.conclude([arrival], where)
        assert (await answer).json == {
            "accepted": LISTED + 3,
            "requests": [in_request(f"storm-{n:03}", 2 if n == 0 else 1) for n in range(LISTED)],
            "inFurtherRequests": 2,
            "rejected": [],
            "discarded": [],
            "pending": [],
        }


async def test_ack_redis_answers_when_every_alert_is_folded() -> None:
    async with served(replace(OPTIONS, ack="redis")) as it:
        it.behind.holds = True
        answer = it.post_later(body(alert(0), alert(1)))
        arrivals = await it.taken(2)
        it.behind.fold(arrivals[:1])
        it.behind.conclude(arrivals[:1])
        it.behind.fold(arrivals[:1])
        assert not answer.done()
        # Concluded without a fold: no policy governs it.
        Behind.conclude(arrivals[1:], NO_POLICY)
        assert (await answer).json["accepted"] == 2


async def test_alert_that_nothing_governs_is_told_before_it_is_folded() -> None:
    async with served(replace(OPTIONS, ack="redis")) as it:
        it.behind.holds = True
        answer = it.post_later(body(alert(0)))
        (arrival,) = await it.taken(1)
        arrival.via.durable(arrival, NO_POLICY)
        assert (await answer).json == {
            "accepted": 0,
            "rejected": [{"index": 0, "reason": "NoPolicyMatches", "message": "no policy governs it"}],
            "discarded": [],
            "pending": [],
        }


async def test_what_no_request_takes_is_final_and_listed_by_its_index() -> None:
    rejected = metric("stormfold_signals_rejected_total", source="alertmanager", reason="NoPolicyMatches")
    received = metric("stormfold_signals_received_total", source="alertmanager")
    async with served() as it:
        it.behind.holds = True
        answer = it.post_later(body(alert(0), alert(1, alertname=None), alert(2), alert(3), {}))
        arrivals = await it.taken(3)
        it.behind.conclude(arrivals[:1])
        it.behind.conclude(arrivals[1:2], NO_POLICY)
        it.behind.conclude(arrivals[2:], BELOW)
        found = await answer
    assert found.code == 200
    assert found.json["accepted"] == 1
    assert [(r["index"], r["reason"]) for r in found.json["rejected"]] == [
        (1, "InvalidAlert"),
        (2, "NoPolicyMatches"),
        (4, "InvalidAlert"),
    ]
    assert [(r["index"], r["reason"]) for r in found.json["discarded"]] == [(3, "BelowThreshold")]
    assert (
        metric("stormfold_signals_rejected_total", source="alertmanager", reason="NoPolicyMatches")
        == rejected + 1
    )
    assert metric("stormfold_signals_received_total", source="alertmanager") == received + 3


def say_pending(arrivals: Iterable[Arrival], message: str = "below") -> list[bool]:
    """Say of alerts that no request of their group is to be made so far."""
    return [arrival.via.pending(arrival, Reason.BELOW_THRESHOLD, message) for arrival in arrivals]


@pytest.mark.parametrize("ack", ["request", "redis"])
async def test_post_does_not_wait_for_alerts_of_groups_that_need_no_request(
    ack: Literal["request", "redis"],
) -> None:
    async with served(replace(OPTIONS, ack=ack)) as it:
        it.behind.holds = True
        answer = it.post_later(body(alert(0), alert(1), alert(2)))
        arrivals = await it.taken(3)
        assert say_pending(reversed(arrivals[:2])) == [True, True]
        arrivals[2].via.durable(arrivals[2], BELOW)
        found = await answer
        said = {"reason": "BelowThreshold", "message": "below"}
        assert (found.code, found.json["accepted"]) == (200, 0)
        assert found.json["pending"] == [{"index": index, **said} for index in (0, 1)]
        assert [refusal["index"] for refusal in found.json["discarded"]] == [2]
        assert say_pending(arrivals) == [True] * 3, "also when nobody waits any more"
        it.behind.conclude(arrivals[:2])


async def test_pending_alert_whose_request_is_made_while_its_post_waits_is_accepted() -> None:
    async with served() as it:
        it.behind.holds = True
        answer = it.post_later(body(alert(0), alert(1), alert(2)))
        arrivals = await it.taken(3)
        say_pending(arrivals[:2])
        it.behind.conclude(arrivals[:1])
        say_pending(arrivals[:2], "later")
        it.behind.conclude(arrivals[2:])
        found = await answer
    assert (found.code, found.json["accepted"]) == (200, 2)
    assert [(one["index"], one["message"]) for one in found.json["pending"]] == [(1, "below")]


async def test_post_that_takes_too_long_is_to_come_again() -> None:
    async with served(replace(OPTIONS, wait_seconds=0.2)) as it:
        it.behind.holds = True
        found = await it.post(body(alert(0), alert(1)))
        assert (found.code, found.reason, found.headers["Retry-After"]) == (503, "NotDurableInTime", "2")
        assert in_flight() == 0
        # Nobody waits any longer; what comes now does no harm.
        it.behind.conclude(it.behind.arrivals)


async def test_post_that_takes_too_long_says_which_request_is_refused() -> None:
    async with served(replace(OPTIONS, wait_seconds=0.3)) as it:
        it.behind.holds = True
        answers = []
        for number in range(2):
            answer = it.post_later(body(alert(2 * number), alert(2 * number + 1)))
            first, second = (await it.taken(2 * number + 2))[-2:]
            second.via.delayed(second, "x" * 5000)
            it.behind.conclude([second] if number else [first])
            answers.append((await answer).json["message"])
        assert f" within 0.3 s: {'x' * 1023}…; " in answers[0]
        assert " within 0.3 s; " in answers[1], "that request has been written since"


async def test_post_without_alerts_is_taken() -> None:
    async with served() as it:
        found = await it.post(body())
        assert (found.code, found.json) == (
            200,
            {"accepted": 0, "rejected": [], "discarded": [], "pending": []},
        )


async def test_alerts_for_which_there_is_no_room_are_refused_and_the_others_taken() -> None:
    async with served() as it:
        it.behind.room_for = lambda arrival: arrival.namespace != "shop"
        found = await it.post(body(alert(), alert(namespace="ops"), alert()))
        assert (found.code, found.reason, found.headers["Retry-After"]) == (503, "NoRoom", "2")
        assert found.json["message"] == (
            "2 alerts were not taken: the queue of namespace shop is full. "
            "Send the post again; alerts that were taken are not counted twice."
        )
        it.behind.room_for = lambda arrival: False
        one = (await it.post(body(alert()))).json["message"]
        assert one.startswith("1 alert was not taken: the queue of namespace shop is full. ")
        many = (await it.post(body(alert(), alert(namespace="ops")))).json["message"]
        assert many.startswith("2 alerts were not taken: the queues of namespaces ops, shop are full. ")
        # Those of others count, whether or not the post is sent again.
        assert [arrival.namespace for arrival in it.behind.arrivals] == ["ops"]


async def test_post_whose_alerts_have_no_place_is_refused_and_one_of_several_is_listed() -> None:
    nowhere = Verdict(SignalPhase.REJECTED, Reason.NAMESPACE_NOT_FOUND, "there is no namespace shopp")
    async with served() as it:
        it.behind.holds = True
        answer = it.post_later(body(alert(0), {}))
        it.behind.conclude(await it.taken(1), nowhere)
        found = await answer
        assert (found.code, found.reason, found.json["accepted"]) == (400, "NoAlertUsable", 0)
        assert found.json["message"] == "no alert of 2 can be used; the first: there is no namespace shopp"
        assert [(r["index"], r["reason"]) for r in found.json["rejected"]] == [
            (0, "NamespaceNotFound"),
            (1, "InvalidAlert"),
        ]
        answer = it.post_later(body(alert(0), alert(1)))
        await it.taken(3)
        it.behind.conclude(it.behind.arrivals[1:2], nowhere)
        it.behind.conclude(it.behind.arrivals[2:])
        found = await answer
        assert (found.code, found.json["accepted"]) == (200, 1)
        assert [(r["index"], r["reason"]) for r in found.json["rejected"]] == [(0, "NamespaceNotFound")]


async def test_process_that_does_not_serve_says_why() -> None:
    async with served() as it:
        it.behind.problem = "this replica is stopping"
        found = await it.post(body(alert()))
        assert (found.code, found.json) == (
            503,
            {"reason": "NotServing", "message": "this replica is stopping"},
        )
        assert found.headers["Retry-After"] == "2"
        it.behind.problem = None
        assert (await it.post(body(alert()))).code == 200


async def test_alerts_that_alertmanager_left_out_are_counted() -> None:
    before = metric("stormfold_webhook_alerts_truncated_total")
    async with served() as it:
        assert (await it.post(body(alert(), truncatedAlerts=7))).code == 200
    assert metric("stormfold_webhook_alerts_truncated_total") == before + 7


GOOD = body(alert())


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


# --- who takes more than is there


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


class OneUser(Everybody):
    """Everybody is the same user, under a token for each post."""

    async def caller(self, token: str) -> Caller | None:
        return Caller(token.encode(), "system:serviceaccount:shop:sender")


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


# --- who is slow, or goes


def head(length: int, *, token: str = "slow") -> bytes:
    return (
        f"POST {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


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


# --- files: the shared secret and the certificate


async def test_shared_secret_speaks_for_all_and_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\n")
    async with served(replace(OPTIONS, secret_file=str(file)), authorizer=Nobody()) as it:
        assert (await it.post(GOOD, Authorization=f"Bearer {SECRET}")).code == 200
        assert (await it.post(GOOD, Authorization=f"Bearer {SECRET}x")).code == 401
        file.write_text("another-secret-of-it")
        it.webhook.reload()
        assert (await it.post(GOOD, Authorization=f"Bearer {SECRET}")).code == 401
        assert (await it.post(GOOD, Authorization="Bearer another-secret-of-it")).code == 200
        for bad in (lambda: file.write_text("short"), file.unlink):
            bad()
            it.webhook.reload()
            assert (await it.post(GOOD, Authorization="Bearer another-secret-of-it")).code == 200
        file.write_text(SECRET)
        it.webhook.reload()
        assert (await it.post(GOOD, Authorization=f"Bearer {SECRET}")).code == 200


class Nobody:
    """Knows no token."""

    async def caller(self, token: str) -> Caller | None:
        return None

    async def may_post(self, caller: Caller, namespace: str) -> bool:
        raise AssertionError("there is no caller")


@pytest.mark.parametrize("text", [None, "", "fifteen-charact"], ids=["missing", "empty", "short"])
async def test_secret_that_is_none_ends_the_start(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "secret").write_text(text)
    with pytest.raises(OSError, match="STORMFOLD_WEBHOOK_SECRET_FILE"):
        async with served(replace(OPTIONS, secret_file=str(tmp_path / "secret"))):
            pass


async def test_port_that_is_taken_ends_the_start() -> None:
    async with served() as it:
        with pytest.raises(OSError, match="set STORMFOLD_WEBHOOK_HOST and STORMFOLD_WEBHOOK_PORT"):
            async with served(replace(OPTIONS, port=it.webhook.port)):
                pass


def make_certificate(folder: Path, name: str) -> None:
    """A self-signed pair for this name, `tls.crt` and `tls.key`."""
    pair = ("-keyout", str(folder / "tls.key"), "-out", str(folder / "tls.crt"))
    kind = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    command = ("openssl", "req", "-x509", *kind, "-days", "1", "-subj", f"/CN={name}", *pair)
    subprocess.run(command, check=True, stderr=subprocess.PIPE)


async def served_name(it: Served) -> bytes:
    """The subject's name in the certificate that is served, as its DER holds it."""
    trust = ssl.create_default_context()
    trust.check_hostname = False
    trust.verify_mode = ssl.CERT_NONE
    async with connected(it, ssl=trust) as (_, writer):
        certificate = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    return next(name for name in (b"first.example", b"second.example") if name in certificate)


async def test_certificate_is_served_and_read_again(tmp_path: Path) -> None:
    make_certificate(tmp_path, "first.example")
    files = {"tls_cert_file": str(tmp_path / "tls.crt"), "tls_key_file": str(tmp_path / "tls.key")}
    async with served(replace(OPTIONS, **files)) as it:  # type: ignore[arg-type]
        assert await served_name(it) == b"first.example"
        kept = (tmp_path / "tls.key").read_bytes()
        make_certificate(tmp_path, "second.example")
        new = (tmp_path / "tls.key").read_bytes()
        (tmp_path / "tls.key").write_bytes(kept)
        it.webhook.reload()
        assert await served_name(it) == b"first.example"
        (tmp_path / "tls.key").write_bytes(new)
        it.webhook.reload()
        assert await served_name(it) == b"second.example"
        trust = ssl.create_default_context(cafile=str(tmp_path / "tls.crt"))
        url = f"https://127.0.0.1:{it.webhook.port}{PATH}"
        headers = {"Content-Type": "application/json", "Authorization": "Bearer team"}
        async with it.session.post(
            url, data=GOOD, headers=headers, ssl=trust, server_hostname="second.example"
        ) as answer:
            assert answer.status == 200


async def test_files_are_looked_at_in_the_background(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "RELOAD_SECONDS", 0.05)
    file = tmp_path / "secret"
    file.write_text(SECRET)
    async with served(replace(OPTIONS, secret_file=str(file)), authorizer=Nobody()) as it:
        looking = asyncio.create_task(it.webhook.run())
        file.write_text("another-secret-of-it")
        await eventually(
            lambda: it.post(GOOD, Authorization="Bearer another-secret-of-it"),
            lambda found: found.code == 200,
        )
        looking.cancel()


async def test_pair_that_does_not_fit_ends_the_start(tmp_path: Path) -> None:
    make_certificate(tmp_path, "first.example")
    (tmp_path / "kept").write_bytes((tmp_path / "tls.crt").read_bytes())
    make_certificate(tmp_path, "second.example")
    files = {"tls_cert_file": str(tmp_path / "kept"), "tls_key_file": str(tmp_path / "tls.key")}
    with pytest.raises(OSError, match="STORMFOLD_WEBHOOK_TLS_CERT_FILE"):
        async with served(replace(OPTIONS, **files)):  # type: ignore[arg-type]
            pass


async def test_plain_http_to_a_tls_port_does_no_harm(tmp_path: Path) -> None:
    make_certificate(tmp_path, "first.example")
    files = {"tls_cert_file": str(tmp_path / "tls.crt"), "tls_key_file": str(tmp_path / "tls.key")}
    async with served(replace(OPTIONS, **files)) as it:  # type: ignore[arg-type]
        with pytest.raises(aiohttp.ClientError):
            await it.post(GOOD)
        assert await served_name(it) == b"first.example"


# --- whose token it is, as a real API server says


Token = Callable[..., Any]


@asynccontextmanager
async def reviewed(
    control_plane: ControlPlane, *, audience: str = "", host: str | None = None
) -> AsyncIterator[Served]:
    access = await find_access({"KUBECONFIG": str(control_plane.kubeconfig)})
    if host:
        access = Access.plain(host)
    async with (
        KubeClient(access) as client,
        served(authorizer=Reviews(client, audience=audience)) as it,
    ):
        yield it


async def test_token_speaks_for_the_namespaces_in_which_its_owner_may_create_signals(
    api: Api, control_plane: ControlPlane, new_namespace: NewNamespace
) -> None:
    own, other = await new_namespace(), await new_namespace()
    token = await account(api, own)
    await allow(api, own, own)
    async with reviewed(control_plane) as it:
        found = await it.post(
            body(
                alert(0, namespace=own),
                alert(1, namespace=other),
                alert(2, namespace=None),
                alert(3, namespace=own),
            ),
            Authorization=f"Bearer {token}",
        )
        assert (found.code, found.json["accepted"]) == (200, 2)
        who = f"system:serviceaccount:{own}:alerts"
        assert found.json["rejected"] == [
            {
                "index": index,
                "reason": "NamespaceNotAllowed",
                "message": f"{who} may not create signals.stormfold.dev in namespace {namespace}",
            }
            for index, namespace in ((1, other), (2, "ops"))
        ]
        assert [arrival.namespace for arrival in it.behind.arrivals] == [own, own]
        alone = await it.post(body(alert(1, namespace=other)), Authorization=f"Bearer {token}")
        assert (alone.code, alone.reason, alone.json["accepted"]) == (403, "NamespaceNotAllowed", 0)


async def test_token_with_the_right_in_all_namespaces_is_asked_about_once(
    api: Api, control_plane: ControlPlane, namespace: str
) -> None:
    token = await account(api, namespace)
    await allow(api, namespace)
    asked = metric("stormfold_reviews_total", kind="access", outcome="yes")
    known = metric("stormfold_reviews_total", kind="token", outcome="yes")
    async with reviewed(control_plane) as it:
        for _ in range(3):
            found = await it.post(
                body(*(alert(number, namespace=f"team-{number}") for number in range(50))),
                Authorization=f"Bearer {token}",
            )
            assert (found.code, found.json["accepted"]) == (200, 50)
    assert metric("stormfold_reviews_total", kind="access", outcome="yes") == asked + 1
    assert metric("stormfold_reviews_total", kind="token", outcome="yes") == known + 1


async def test_token_that_the_api_server_does_not_know_is_not_let_in(control_plane: ControlPlane) -> None:
    async with reviewed(control_plane) as it:
        for token in ("made-up", f"{control_plane.token}x", "ö"):
            found = await it.post(GOOD, Authorization=f"Bearer {token}")
            assert (found.code, found.reason) == (401, "NotAuthenticated")


async def test_token_must_be_made_for_the_audience_that_is_set(
    api: Api, control_plane: ControlPlane, namespace: str
) -> None:
    for_us = await account(api, namespace, audience="stormfold")
    for_others = await account(api, namespace, audience="others")
    for_the_api = await account(api, namespace)
    await allow(api, namespace, namespace)
    post = body(alert(0, namespace=namespace))
    tokens = (for_us, for_others, for_the_api)
    async with reviewed(control_plane, audience="stormfold") as it:
        assert [(await it.post(post, Authorization=f"Bearer {token}")).code for token in tokens] == [
            200,
            401,
            401,
        ]
    async with reviewed(control_plane) as it:
        assert [(await it.post(post, Authorization=f"Bearer {token}")).code for token in tokens] == [
            401,
            401,
            200,
        ]


async def test_api_server_that_does_not_answer_is_said(control_plane: ControlPlane) -> None:
    async with reviewed(control_plane, host=f"https://127.0.0.1:{free_port()}") as it:
        found = await it.post(GOOD)
        assert (found.code, found.reason, found.headers["Retry-After"]) == (503, "ReviewUnavailable", "2")
        assert found.json["message"] == "The API server did not answer the review of the token or its rights."
