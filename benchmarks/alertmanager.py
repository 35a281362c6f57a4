"""What an alert costs from the socket to its arrival and back: CPU of the serving process, bodies of 100
alerts.

The client is a process of its own; what comes behind the webhook concludes each alert at once. Reading alone,
without HTTP, is measured too. CPU times grow when other work shares the cores, so the best of several rounds
counts.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import time
from typing import Any

import orjson
import uvloop

from stormfold.api.reasons.signals import SignalReason
from stormfold.api.signal import SignalPhase
from stormfold.kube.reviews import Caller
from stormfold.model.arrival import Arrival, Verdict
from stormfold.policy.router import Router
from stormfold.sources.alerts.heads import PATH
from stormfold.sources.alerts.parser import AlertParser
from stormfold.sources.alerts.posts import Post
from stormfold.sources.alerts.receiver import WebhookOptions
from stormfold.sources.alerts.webhook import Webhook

ALERTS = 100
POSTS = 200
CONNECTIONS = 8
ROUNDS = 5
COUNTED = Verdict(SignalPhase.FOLDED, SignalReason.COUNTED, "counted")


def body() -> bytes:
    """Alerts as kube-state-metrics causes them: 12 labels, 0.7 KB each."""
    alerts = [alert(number, f"team-{number % 7}") for number in range(ALERTS)]
    return orjson.dumps({"version": "4", "alerts": alerts})


def alert(number: int, namespace: str) -> dict[str, object]:
    """One of them."""
    return {
        "status": "firing",
        "labels": {
            "alertname": "KubePodCrashLooping",
            "container": "web",
            "endpoint": "http",
            "instance": "10.42.0.17:8080",
            "job": "kube-state-metrics",
            "namespace": namespace,
            "pod": f"web-6d4b79c5f9-{number:05}",
            "prometheus": "monitoring/k8s",
            "reason": "CrashLoopBackOff",
            "service": "kube-state-metrics",
            "severity": "warning",
            "uid": f"00000000-0000-4000-8000-{number:012}",
        },
        "annotations": {
            "summary": "A container of the pod crashes again and again.",
            "runbook_url": "https://runbooks.example.org/KubePodCrashLooping",
        },
        "startsAt": f"2026-03-01T10:15:{number % 60:02}.{number:09}Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "https://prometheus.example.org/graph?g0.expr=up",
        "fingerprint": f"{number:016x}",
    }


class Everybody:
    """Lets everybody speak for everything."""

    async def caller(self, token: str) -> Caller | None:
        return Caller(token.encode(), token)

    async def may_post(self, caller: Caller, namespace: str) -> bool:
        return True


class Behind:
    """What comes behind the webhook: as the enricher, the folder and the process."""

    async def all_enriched(self, arrivals: list[Arrival]) -> list[Arrival]:
        """All as they came."""
        return arrivals

    def offer(self, arrivals: list[Arrival]) -> list[Arrival]:
        """Take them, and say that they are durable when the webhook waits."""

        def conclude() -> None:
            for arrival in arrivals:
                arrival.via.folded(arrival)
                arrival.via.durable(arrival, COUNTED)

        asyncio.get_running_loop().call_soon(conclude)
        return []

    def not_serving(self) -> str | None:
        """It is well."""
        return None


async def post_all(port: int) -> None:
    """What the client process does."""
    data = body()
    head = (
        f"POST {PATH} HTTP/1.1\r\nHost: webhook\r\nAuthorization: Bearer t\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    ).encode()

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(POSTS // CONNECTIONS):
            writer.write(head + data)
            answer = await reader.readuntil(b"}\n")
            assert answer.startswith(b"HTTP/1.1 200 "), answer
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*(one() for _ in range(CONNECTIONS)))


def client(port: int) -> None:
    """The client process."""
    asyncio.run(post_all(port))


async def serving_us() -> float:
    """CPU per alert of the process that serves, in µs."""
    options = WebhookOptions(host="127.0.0.1", port=0, namespace="stormfold-system")
    behind: Any = Behind()
    webhook = Webhook(
        options, enricher=behind, folder=behind, authorizer=Everybody(), serving=behind, policies=Router()
    )
    await webhook.start()
    process = multiprocessing.get_context("spawn").Process(target=client, args=(webhook.port,))
    process.start()
    began = time.process_time()
    await asyncio.to_thread(process.join)
    spent = time.process_time() - began
    assert process.exitcode == 0
    await webhook.stop()
    return spent / (POSTS * ALERTS) * 1e6


def reading_us() -> float:
    """CPU per alert of reading a body, in µs."""
    parse, data = AlertParser("stormfold-system", Router()), body()
    post = Post(ack_folded=False)
    now_ms = time.time_ns() // 1_000_000
    began = time.process_time()
    for _ in range(POSTS):
        assert len(parse(data, post=post, now_ms=now_ms).arrivals) == ALERTS
    return (time.process_time() - began) / (POSTS * ALERTS) * 1e6


def main() -> None:
    """Print one JSON line."""
    reading = min(reading_us() for _ in range(ROUNDS))
    serving = min(uvloop.run(serving_us()) for _ in range(ROUNDS))
    print(
        json.dumps(
            {
                "reading_us_per_alert": round(reading, 2),
                "serving_us_per_alert": round(serving, 2),
                "alerts_per_second_of_cpu": round(1e6 / serving),
                "body_bytes": len(body()),
            }
        )
    )


if __name__ == "__main__":
    main()
