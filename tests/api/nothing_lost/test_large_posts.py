"""Bodies of 8 MiB, eight at once: all alerts are counted, readiness stays, and memory keeps away from the
limit."""

from __future__ import annotations

import asyncio
import io
import secrets
from pathlib import Path

import aiohttp
import orjson
import pytest
from tests.api.conftest import NewNamespace, NewOperator
from tests.harness.accounts import account, allow
from tests.harness.api import Api
from tests.harness.operator import OperatorProcess
from tests.harness.scene import rows
from tests.harness.team import Team

from stormfold.sources.alerts.heads import MAX_BODY

BODIES = 8
LIMIT_MB = 400
"""The shipped limit is 512 MiB."""
ANSWER_SECONDS = 120.0
"""An answer that has not come by then never comes: no measure of how fast it is."""
PROBE_SECONDS = 5.0
"""How long the shipped probes wait for an answer. On a machine that does much else an answer takes longer
without a fault of the operator: what counts is how much of its own work is done before."""


def large_body(namespace: str, number: int) -> tuple[bytes, int]:
    """A body that is just within the limit, as the alerts of kube-prometheus look; and how many alerts it
    has."""
    text = '{"version":"4","alerts":['
    parts, size = [], len(text) + 2
    while True:
        pod = f"checkout-{number}-{len(parts):05}"
        part = orjson.dumps(
            {
                "status": "firing",
                "labels": {
                    "alertname": f"KubePodNotReady{number}-{len(parts) % 2}",  # 4,096 of a group are exact
                    "namespace": namespace,
                    "pod": pod,
                    "severity": "warning",
                    "prometheus": "monitoring/k8s",
                },
                "annotations": {
                    "description": f"Pod {namespace}/{pod} has been in a non-ready state for longer than 15 "
                    f"minutes.",
                    "runbook_url": "https://runbooks.example.org/runbooks/kubernetes/kubepodnotready",
                    "values": "x" * 1200,
                },
                "startsAt": "2026-01-01T00:00:00Z",
                "endsAt": "0001-01-01T00:00:00Z",
                "generatorURL": "http://prometheus.example.org/graph?g0.expr=sum+by",
                "fingerprint": f"{number:04x}{len(parts):012x}",
            }
        )
        if size + len(part) + 1 > MAX_BODY:
            return text.encode() + b",".join(parts) + b"]}", len(parts)
        parts.append(part)
        size += len(part) + 1


async def post(operator: OperatorProcess, body: bytes, token: str) -> tuple[int, str]:
    """Status and reason of the answer."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS)) as session,
        session.post(operator.webhook_url, data=io.BytesIO(body), headers=headers) as response,
    ):
        return response.status, (await response.json()).get("reason", "")


async def until_taken(operator: OperatorProcess, body: bytes, token: str) -> None:
    """Post like Alertmanager: again after a time that grows, until it is taken."""
    seconds = 0.5
    while (answer := await post(operator, body, token))[0] != 200:
        assert answer[0] in {429, 503}, answer
        await asyncio.sleep(seconds)
        seconds = min(2 * seconds, 15.0)


def peak_mb(operator: OperatorProcess) -> float:
    """The most memory that has been resident, from /proc."""
    status = Path(f"/proc/{operator.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


@pytest.mark.timed
async def test_eight_large_bodies_at_once_are_counted_and_nobody_is_kept_waiting(
    api: Api, operator: NewOperator, new_namespace: NewNamespace, tmp_path: Path
) -> None:
    token_file = tmp_path / "token"
    token_file.write_text(secrets.token_hex(16))
    process = await operator(webhook_token_file=token_file)
    # Nobody has more than half of the bytes, and no namespace more than half of the room.
    teams = [Team(api, await new_namespace()) for _ in range(2)]
    for team in teams:
        await team.policy()
    await process.obeys(2)
    await allow(api, teams[0].namespace)
    tokens = [token_file.read_text(), await account(api, teams[0].namespace)]
    bodies = [large_body(teams[number % 2].namespace, number) for number in range(BODIES)]
    small = orjson.dumps({"version": "4", "alerts": []})
    posts = asyncio.gather(
        *(until_taken(process, body, tokens[number % 2]) for number, (body, _) in enumerate(bodies))
    )
    slowest, unready = 0.0, []
    while not posts.done():
        asked = process.cpu_seconds()
        code, words = await process.get("/readyz", within=ANSWER_SECONDS)
        slowest = max(slowest, process.cpu_seconds() - asked)
        if code != 200:
            unready.append(words)
        asked = process.cpu_seconds()
        status, reason = await post(process, small, tokens[0])
        slowest = max(slowest, process.cpu_seconds() - asked)
        # It has its answer, also where the large ones have all the bytes.
        assert status in {200, 429} or reason == "TooManyPosts", (status, reason)
        await asyncio.sleep(0.05)
    await posts
    found = [row for team in teams for row in rows(await team.requests(), "spec.name status.signals.total")]
    assert sorted(found) == [
        (f"KubePodNotReady{number}-{half}", (alerts + 1 - half) // 2)
        for number, (_, alerts) in enumerate(bodies)
        for half in range(2)
    ]
    assert unready == []
    assert peak_mb(process) < LIMIT_MB
    assert slowest < PROBE_SECONDS
