"""The webhook on a real socket, with a stand-in for what comes behind it."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import aiohttp
from prometheus_client import REGISTRY
from tests.harness.eventually import eventually

from stormfold.api.reasons.signals import SignalReason
from stormfold.api.signal import SignalPhase
from stormfold.enrich.enricher import Enricher
from stormfold.fold.folder import Folder
from stormfold.kube.reviews import Caller
from stormfold.model.arrival import Arrival, Verdict
from stormfold.policy.router import Router
from stormfold.sources.alerts.heads import PATH
from stormfold.sources.alerts.receiver import Authorizer, WebhookOptions
from stormfold.sources.alerts.webhook import Webhook

COUNTED = Verdict(SignalPhase.FOLDED, SignalReason.COUNTED, "counted", "shop", "storm-1", policy="team")
NO_POLICY = Verdict(SignalPhase.REJECTED, SignalReason.NO_POLICY_MATCHES, "no policy governs it")
BELOW = Verdict(SignalPhase.DISCARDED, SignalReason.BELOW_THRESHOLD, "below the threshold")
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


def in_request(name: str, alerts: int) -> dict[str, object]:
    return {"namespace": "shop", "name": name, "policy": "team", "alerts": alerts}


GOOD = body(alert())


class OneUser(Everybody):
    """Everybody is the same user, under a token for each post."""

    async def caller(self, token: str) -> Caller | None:
        return Caller(token.encode(), "system:serviceaccount:shop:sender")


def head(length: int, *, token: str = "slow") -> bytes:
    return (
        f"POST {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    ).encode()
