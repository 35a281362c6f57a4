"""Fairness: what one namespace sends, or cannot have written, does not delay another's request by more than 2
s."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.api.conftest import NewNamespace, NewOperator
from tests.harness.api import Api
from tests.harness.api_proxy import ApiProxy
from tests.harness.eventually import eventually
from tests.harness.operator import OperatorProcess
from tests.harness.stage import Stage
from tests.harness.team import Team

FLOOD = 600
"""Signals of the namespace that floods, created at full speed; `benchmarks/overload.py` has 10,000."""
FLOODS_AT_ONCE = 20
"""Creates under way."""
CALLS = 4
"""From a signal to its request: a line of the watch, two writes, and our list. A flood makes the API server
slow for everybody, which is not ours to mend: what it takes for so many calls is not counted."""
DELAY_SECONDS = 2.0
WRITES_A_SECOND = 5.0
STORMS = 20
THROTTLED_SECONDS = 25.0
"""Within this a namespace has its request while another one's storms take all that the API server allows. Its
turn comes at once, but whom the API server tells to wait for a second is chance: for each of two writes it
may be told so several times."""
MEMORY_MB = 40.0
"""By this much the operator may grow meanwhile."""
ROOM = 200
"""Signals that the operator holds in these tests: half of them of one namespace."""
SMALL_ROOM = {"stormfold.fold.queue.MAX_HELD": ROOM}

pytestmark = pytest.mark.timed


async def probed(team: Team, name: str) -> tuple[float, float]:
    """How long the first signal of a group takes from its creation to its request, and how long its creation
    took, in seconds."""
    began = time.monotonic()
    await team.report(name, 1)
    created = time.monotonic()
    await team.counted(name)
    return time.monotonic() - created, created - began


async def in_flight(process: OperatorProcess) -> float:
    """How many signals wait for their request."""
    return (await process.metrics()).total("stormfold_signals_in_flight")


@pytest.mark.parametrize("groups", [1, 200], ids=["one storm", "hundreds of storms"])
async def test_flood_of_one_namespace_does_not_delay_another(
    operator: NewOperator, api: Api, new_namespace: NewNamespace, groups: int
) -> None:
    flooding, other = Team(api, await new_namespace()), Team(api, await new_namespace())
    await flooding.policy()
    await other.policy()
    process = await operator()
    await process.obeys(2)
    quiet = [await probed(other, f"quiet-{number}") for number in range(3)]
    flood = [flooding.next_signal(f"flood-{number % groups}") for number in range(FLOOD)]
    creates = asyncio.create_task(api.create_all(flood, at_once=FLOODS_AT_ONCE))
    delays: list[tuple[float, float]] = []
    while not creates.done():
        delays.append(await probed(other, f"probe-{len(delays)}"))
    await creates
    # What the flood has left behind is still being written.
    delays += [await probed(other, f"late-{number}") for number in range(3)]
    usual = statistics.median(delay for delay, _ in quiet)
    late = [delay - usual for delay, _ in delays]
    # The API server is slower, too: on the way to a request it is called so often.
    slower = CALLS * max(creating for _, creating in delays)
    assert max(late) <= DELAY_SECONDS + slower, f"median {statistics.median(late):.2f} s of {len(late)}"
    await eventually(lambda: in_flight(process), lambda left: left == 0, within=40, what="all are counted")
    counts = [request["status"]["signals"]["total"] for request in await flooding.requests()]
    assert counts == [FLOOD // groups] * groups


async def test_throttled_writes_are_late_and_exact_and_each_namespace_has_its_turn(stage: Stage) -> None:
    team, api = stage.team, stage.api
    await api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"{team.namespace}-b"}})
    other = Team(api, f"{team.namespace}-b")
    await team.policy()
    await other.policy()
    await stage.operator.start()
    await stage.operator.obeys(2)
    before = stage.operator.resident_mb()
    throttle = stage.api_proxy.throttle("*", "/remediationrequests($|/.*/status)", WRITES_A_SECOND)
    for number in range(STORMS):
        await team.report(f"flood-{number}", 20)
    await eventually(lambda: throttle.hits, within=20, what="writes are throttled")
    delay, creating = await probed(other, "lonely")
    assert delay <= THROTTLED_SECONDS + CALLS * creating
    # It did not wait for the storms that came before it.
    assert len([name for name in team.expected if await team.totals(name) == [20]]) < STORMS
    await team.assert_exact(within=60)
    await other.assert_exact(within=60)
    assert stage.operator.resident_mb() - before <= MEMORY_MB


async def comes_soon(team: Team, name: str) -> None:
    """Report one signal and see its request in time."""
    delay, creating = await probed(team, name)
    assert delay <= DELAY_SECONDS + CALLS * creating


async def test_namespace_whose_groups_wait_below_a_threshold_does_not_stop_another(
    operator: NewOperator, api: Api, new_namespace: NewNamespace
) -> None:
    waiting, other = Team(api, await new_namespace()), Team(api, await new_namespace())
    await waiting.policy(belowThreshold="Discard", threshold={"signals": 100_000, "within": "10m"})
    await other.policy()
    process = await operator(constants=SMALL_ROOM)
    await process.obeys(2)
    await waiting.report("waits", 2 * ROOM)

    async def held() -> tuple[float, float]:
        metrics = await process.metrics()
        return metrics.total("stormfold_signals_in_flight"), metrics.total("stormfold_signals_deferred")

    full = (ROOM / 2, 2 * ROOM - ROOM / 2)
    await eventually(held, lambda seen: seen == full, within=20, what=f"held, deferred: {full}")
    for number in range(3):
        await comes_soon(other, f"trouble-{number}")
    metrics = await process.metrics()
    assert metrics.total("stormfold_namespaces_deferred") == 1
    events = await eventually(lambda: api.list("Event", waiting.namespace), what="an Event")
    assert [(event["type"], event["reason"]) for event in events] == [("Warning", "NoRoom")]


@pytest.mark.parametrize("killed", [False, True], ids=["", "killed meanwhile"])
async def test_namespace_whose_requests_are_refused_does_not_stop_another_and_is_counted_once_they_are_not(
    *,
    operator: NewOperator,
    api: Api,
    api_proxy: ApiProxy,
    new_namespace: NewNamespace,
    tmp_path: Path,
    killed: bool,
) -> None:
    refused, other = Team(api, await new_namespace()), Team(api, await new_namespace())
    await refused.policy()
    await other.policy()
    refusal = api_proxy.respond(
        "POST",
        f"/namespaces/{refused.namespace}/remediationrequests",
        403,
        {"reason": "Forbidden", "message": "exceeded quota"},
        times=None,
    )
    process = await operator(kubeconfig=api_proxy.kubeconfig(tmp_path / "proxied"), constants=SMALL_ROOM)
    await process.obeys(2)
    names = [f"storm-{number}" for number in range(40)]
    await asyncio.gather(*(refused.report(name, ROOM // 20) for name in names))

    async def deferred() -> float:
        return (await process.metrics()).total("stormfold_signals_deferred")

    await eventually(deferred, lambda left: left == 2 * ROOM - ROOM / 2, within=20, what="most are deferred")
    for number in range(3):
        await comes_soon(other, f"trouble-{number}")
    if killed:
        await process.restart()
    hits = refusal.hits
    await comes_soon(other, "trouble-3")
    # Whoever begins tries each once; those that were refused are tried one at a time.
    assert refusal.hits - hits <= 20 + len(names) * killed
    api_proxy.remove(refusal)
    await refused.assert_exact(within=40)
    await other.assert_exact()
    assert await eventually(deferred, lambda left: left == 0, what="nothing is deferred") == 0


async def test_alerts_of_a_namespace_without_room_are_refused_and_those_of_others_taken(
    operator: NewOperator, api: Api, new_namespace: NewNamespace, tmp_path: Path
) -> None:
    waiting, other = Team(api, await new_namespace()), Team(api, await new_namespace())
    await waiting.policy(belowThreshold="Discard", threshold={"signals": 100_000, "within": "10m"})
    await other.policy()
    token = tmp_path / "token"
    token.write_text("correct horse battery staple")
    process = await operator(constants=SMALL_ROOM, webhook_token_file=token)
    await process.obeys(2)
    await waiting.report("waits", ROOM)

    async def post(*namespaces: str) -> tuple[int, object]:
        alerts: Sequence[object] = [
            {
                "status": "firing",
                "labels": {"alertname": "PodDown", "namespace": namespace},
                "startsAt": "2026-01-01T00:00:00Z",
                "fingerprint": f"f-{namespace}",
            }
            for namespace in namespaces
        ]
        code, answer = await process.post_alerts(
            {"version": "4", "alerts": alerts}, token="correct horse battery staple"
        )
        return code, answer.get("reason", answer)

    await eventually(
        lambda: in_flight(process), lambda held: held == ROOM / 2, within=20, what="the namespace is full"
    )
    taken = {"accepted": 1, "rejected": [], "discarded": [], "pending": []}
    assert await post(waiting.namespace) == (503, "NoRoom")
    assert await post(other.namespace) == (200, taken)
    assert await post(waiting.namespace, other.namespace) == (503, "NoRoom")
    assert await other.totals("PodDown") == [1]
