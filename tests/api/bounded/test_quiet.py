"""Nothing happens for long: the leader stays ready, and nothing is logged or listed anew.

The control plane's etcd sends no progress notifications, as that of any API server that was not set up by
kubeadm. So a quiet watch says nothing at all. Time runs `FASTER`: the constants of the watches are that much
smaller.
"""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from pathlib import Path

import pytest
from tests.api.conftest import NewOperator
from tests.harness.api import Api
from tests.harness.api_proxy import ApiProxy
from tests.harness.eventually import eventually
from tests.harness.operator import OperatorProcess
from tests.harness.scene import Scene

from lab.controlplane import ControlPlane

FASTER = 20
QUIET_SECONDS = 300 / FASTER
CONSTANTS = {
    "stormfold.kube.client.IDLE_SECONDS": 5,
    "stormfold.kube.listwatch.WATCH_SECONDS": 3,
    "stormfold.kube.listwatch.FRESH_SECONDS": 6,
    "stormfold.watches.kopf_thread.WATCH_SECONDS": 3,
    "stormfold.watches.kopf_thread.IDLE_SECONDS": 5,
}
WATCHED = (
    *("signals", "events", "remediationrequests", "stormpolicies", "clusterstormpolicies", "stormgates"),
    "namespaces",
)
LOOK_SECONDS = 0.1

pytestmark = pytest.mark.timed


@pytest.fixture
async def quiet(
    operator: NewOperator, api: Api, api_proxy: ApiProxy, namespace: str, tmp_path: Path
) -> OperatorProcess:
    """A leader that watches Signals and Events in vain."""
    process = await operator(kubeconfig=api_proxy.kubeconfig(tmp_path / "proxied"), constants=CONSTANTS)
    await Scene(api, namespace, process).policy(match={"sources": ["*"]})
    await eventually(
        lambda: api_proxy.open_watches(r"/api/v1/events\?"),
        lambda seen: len(seen) == 1,
        what="Events are watched",
    )
    return process


async def readiness(process: OperatorProcess, seconds: float) -> set[tuple[int, str]]:
    """All that `/readyz` says in so many seconds."""
    until = time.monotonic() + seconds
    said = set()
    while time.monotonic() < until:
        said.add(await process.get("/readyz"))
        await asyncio.sleep(LOOK_SECONDS)
    return said


def complaints(process: OperatorProcess) -> list[str]:
    """What was logged that is no news."""
    return [line["message"] for line in process.log_lines() if line.get("level") != "INFO"]


async def lists(process: OperatorProcess) -> tuple[float, float]:
    """How often Signals and Events were listed."""
    metrics = await process.metrics()
    return tuple(metrics.total("stormfold_lists_total", kind=kind) for kind in ("Signal", "Event"))


async def test_leader_with_nothing_to_do_is_ready_all_the_time(
    quiet: OperatorProcess, api_proxy: ApiProxy
) -> None:
    api_proxy.seen.clear()
    assert {status for status, _ in await readiness(quiet, QUIET_SECONDS)} == {200}
    assert complaints(quiet) == []
    assert await lists(quiet) == (1, 1)
    metrics = await quiet.metrics()
    assert metrics.total("stormfold_watch_errors_total") == 0
    assert metrics.total("stormfold_kopf_restarts_total") == 0
    # Each watch was opened anew, as often as its time was over: nothing else has proved that it is fresh.
    opened = [api_proxy.count("GET", rf"/{kind}\?.*watch=") for kind in WATCHED]
    assert [3 <= times <= QUIET_SECONDS for times in opened] == [True] * len(WATCHED), opened


async def test_connection_that_is_half_open_is_noticed_and_nothing_is_missed(
    quiet: OperatorProcess, api: Api, api_proxy: ApiProxy, namespace: str
) -> None:
    scene = Scene(api, namespace, quiet)
    assert api_proxy.freeze_watches(r"/signals\?") == 1
    await scene.pods("Trouble", 3)
    await scene.comes_to((1, "Settled", 3))
    # After 90 s of silence, before it is unready after 120.
    assert complaints(quiet) == ["watch failed, trying again"]
    assert await lists(quiet) == (1, 1)


def compact(control_plane: ControlPlane) -> None:
    """Let etcd forget all versions but the current ones, as kube-apiserver has it do every five minutes."""

    def ask(path: str, body: dict[str, object]) -> dict[str, dict[str, str]]:
        request = urllib.request.Request(f"{control_plane.etcd_url}{path}", json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read())

    revision = ask("/v3/kv/range", {"key": "AA=="})["header"]["revision"]
    ask("/v3/kv/compaction", {"revision": revision, "physical": True})


async def test_compaction_costs_a_quiet_watch_one_list_and_no_word(
    quiet: OperatorProcess, api: Api, control_plane: ControlPlane, namespace: str
) -> None:
    scene = Scene(api, namespace, quiet)
    for _ in range(5):  # others write meanwhile
        await scene.another_namespace()
    await asyncio.to_thread(compact, control_plane)
    said = await readiness(quiet, QUIET_SECONDS)
    assert {status for status, _ in said} == {200}
    assert complaints(quiet) == []
    # Events are read from etcd itself; Signals from what kube-apiserver holds, which knows no compaction.
    assert await lists(quiet) == (1, 2)
    await scene.pods("Trouble", 3)
    await scene.comes_to((1, "Settled", 3))
