"""SIGKILL at every step of a signal's way: one request a storm, every signal counted once, whatever was lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.api.conftest import NewOperator
from tests.harness.api import Api, Manifest
from tests.harness.api_proxy import Rule as ApiRule
from tests.harness.eventually import eventually
from tests.harness.kubectl import Kubectl
from tests.harness.redis_proxy import Rule as RedisRule
from tests.harness.stage import Stage
from tests.harness.team import Team

from stormfold.fold.scripts import CLAIM, CLOSE, FOLD, FORGET, SETTLE, Script
from stormfold.kube.lease import CHECKPOINT

LEASE = "/leases/stormfold-ingest-0"


Arm = Callable[[Stage, str, Any], ApiRule | RedisRule]
"""Makes the rule that holds the step: stage, name of the storm, before or after."""


def script(which: Script) -> Arm:
    """A script's call about the storm."""
    return lambda stage, name, when: stage.redis_proxy.hold(
        "EVALSHA", (which.sha.encode(), stage.team.gid(name).encode()), when=when
    )


def call(method: str, path: str, body: Callable[[bytes], bool] | None = None) -> Arm:
    """A request about the storm: `{name}`, `{gid}` and `{namespace}` in `path` are its own."""
    return lambda stage, name, when: stage.api_proxy.hold(
        method,
        path.format(name=name, gid=stage.team.gid(name), namespace=stage.team.namespace),
        when=when,
        body=body,
    )


def checkpoint(stage: Stage, name: str, when: Any) -> ApiRule:
    """The renewal that carries a checkpoint beyond what the Lease carries now."""
    seen: list[int] = []

    def beyond(body: bytes) -> bool:
        annotations = json.loads(body)["metadata"]["annotations"]
        seen.append(int(annotations[CHECKPOINT]))
        return seen[-1] > seen[0]

    return stage.api_proxy.hold("PUT", LEASE, when=when, body=beyond)


REQUEST = r"/namespaces/{namespace}/remediationrequests/storm-{gid}-1/status"
SIGNAL = r"/namespaces/{namespace}/signals/{name}-\d+"

STEPS = [
    # (step, armed before the storm's first signal?, policy, the rule)
    pytest.param(True, {}, script(FOLD), id="first fold"),
    pytest.param(True, {}, script(CLAIM), id="first claim"),
    pytest.param(True, {}, call("POST", "/namespaces/{namespace}/remediationrequests"), id="create"),
    pytest.param(True, {}, call("PATCH", REQUEST), id="first patch"),
    pytest.param(True, {}, script(SETTLE), id="first settle"),
    pytest.param(False, {}, script(FOLD), id="fold"),
    pytest.param(False, {}, script(CLAIM), id="claim"),
    pytest.param(False, {}, call("PATCH", REQUEST), id="patch"),
    pytest.param(False, {}, script(SETTLE), id="settle"),
    pytest.param(False, {}, checkpoint, id="checkpoint"),
    pytest.param(False, {}, call("PATCH", SIGNAL + "/status"), id="mark"),
    pytest.param(False, {"retention": "1s"}, call("DELETE", SIGNAL), id="delete"),
]


@pytest.mark.parametrize(("opening", "policy", "arm"), STEPS)
async def test_operator_killed_at_a_step_counts_each_signal_once(
    opening: bool, policy: Manifest, arm: Arm, stage: Stage
) -> None:
    team = stage.team
    await team.policy(**policy)
    await stage.operator.start()
    for when in ("before", "after"):
        for redis in ("kept", "emptied"):
            name = f"{when}-{redis}"
            if opening:
                held = arm(stage, name, when)
                await team.report(name, 6)
            else:
                await team.report(name, 6)
                await team.counted(name)
                held = arm(stage, name, when)
                await team.report(name, 5)
            await stage.kill_at(held)
            stage.lose(redis)
            await team.report(name, 4)
            await stage.operator.start(ready=False)
            await team.report(name, 3)
    await team.assert_exact()


@pytest.mark.parametrize("redis", ["kept", "emptied"])
async def test_operator_killed_while_it_starts_counts_each_signal_once(redis: str, stage: Stage) -> None:
    team = stage.team
    await team.policy()
    for method, path in (
        ("PUT", LEASE),
        ("GET", r"/remediationrequests\?limit"),
        ("GET", r"/signals\?limit"),
        ("GET", r"/signals\?watch"),
    ):
        await team.report("trouble", 4)
        held = stage.api_proxy.hold(method, path, when="before" if "watch" in path else "after")
        await stage.operator.start(ready=False)
        await stage.kill_at(held)
        stage.lose(redis)
    await stage.operator.start(ready=False)
    await team.report("trouble", 4)
    await team.assert_exact()


@pytest.mark.parametrize(
    "arm",
    [
        pytest.param(script(CLOSE), id="close"),
        pytest.param(call("PATCH", REQUEST), id="patch"),
        pytest.param(script(FORGET), id="forget"),
    ],
)
async def test_operator_killed_while_it_closes_a_storm_opens_the_next_epoch_once(
    arm: Arm, stage: Stage
) -> None:
    team = stage.team
    await team.policy(window={"idle": "1m", "maxDuration": "1h"})
    await stage.operator.start()
    for when in ("before", "after"):
        for redis in ("kept", "emptied"):
            name = f"{when}-{redis}"
            await team.report(name, 6)
            await team.counted(name)
            held = arm(stage, name, when)
            (request,) = await team.requests(name)
            done = {"status": {"remediation": {"phase": "Succeeded"}}}
            await stage.api.patch(
                "RemediationRequest", request["metadata"]["name"], team.namespace, done, subresource="status"
            )
            await stage.kill_at(held)
            stage.lose(redis)
            await stage.operator.start(ready=False)
    first = await eventually(
        team.storms,
        lambda storms: all(storm.phase == "Closed" for epochs in storms.values() for storm in epochs),
        within=30,
        what="all storms are closed",
    )
    assert {name: [storm.total for storm in storms] for name, storms in first.items()} == {
        key: [6] for key in team.expected
    }
    for name in first:
        await team.report(name, 5)
    second = await eventually(
        team.storms,
        lambda storms: all(sum(storm.total for storm in epochs) >= 11 for epochs in storms.values()),
        within=30,
        what="all signals are counted",
    )
    assert {
        name: sorted((storm.epoch, storm.total, storm.phase) for storm in storms)
        for name, storms in second.items()
    } == {key: [(1, 6, "Closed"), (2, 5, "Open")] for key in first}


async def marked(team: Team, api: Api) -> int:
    """How many of the team's Signals say where they went."""
    return sum("status" in signal for signal in await api.list("Signal", team.namespace))


async def test_metadata_edited_while_the_operator_is_down_is_no_new_signal(
    stage: Stage, kubectl: Kubectl
) -> None:
    team = stage.team
    await team.policy()
    await stage.operator.start()
    await team.report("trouble", 12)
    await team.counted("trouble")
    await eventually(lambda: marked(team, stage.api), lambda count: 0 < count < 12, what="some are marked")
    stage.kill()
    await kubectl("label", "signals", "--all", "--namespace", team.namespace, "seen=yes")
    await team.report("trouble", 3)
    await stage.operator.start()
    await kubectl("annotate", "signals", "--all", "--namespace", team.namespace, "seen=twice")
    await team.report("trouble", 2)
    await team.assert_exact()


@pytest.mark.parametrize("which", [FOLD, SETTLE], ids=["folded", "settled"])
async def test_metadata_edited_right_after_the_count_is_no_new_signal(
    which: Script, stage: Stage, kubectl: Kubectl
) -> None:
    team = stage.team
    await team.policy()
    await stage.operator.start()
    held = script(which)(stage, "trouble", "after")
    await team.report("trouble", 12)
    await stage.kill_at(held)
    await kubectl("label", "signals", "--all", "--namespace", team.namespace, "seen=yes")
    await stage.operator.start(ready=False)
    await team.report("trouble", 3)
    await team.assert_exact()


async def test_marked_signals_edited_while_redis_is_lost_too_are_not_counted_again(
    stage: Stage, kubectl: Kubectl
) -> None:
    team = stage.team
    await team.policy()
    await stage.operator.start()
    await team.report("trouble", 8)
    await eventually(lambda: marked(team, stage.api), lambda count: count == 8, what="all are marked")
    stage.kill()
    stage.lose("emptied")
    await kubectl("label", "signals", "--all", "--namespace", team.namespace, "seen=yes")
    await stage.operator.start(ready=False)
    await team.report("trouble", 3)
    await team.assert_exact()


async def test_raised_generation_while_the_operator_is_down_is_counted(stage: Stage) -> None:
    team = stage.team
    await team.policy()
    await stage.operator.start()
    made = await team.report("trouble", 8)
    await team.counted("trouble")
    stage.kill()
    again = [signal["metadata"]["name"] for signal in made[:3]]
    for name in again:
        await stage.api.patch("Signal", name, team.namespace, {"spec": {"labels": {"try": "second"}}})
    team.expect("trouble", again)
    await stage.operator.start(ready=False)
    await team.assert_exact()


async def test_another_operator_waits_for_the_lease_of_a_killed_one_and_counts_on(
    stage: Stage, operator: NewOperator
) -> None:
    team = stage.team
    await team.policy()
    await stage.operator.start()
    await team.report("trouble", 7)
    await team.counted("trouble")
    stage.kill()
    await team.report("trouble", 5)
    other = await operator(identity="test-1")
    await team.report("trouble", 3)
    await team.assert_exact()
    waited = [
        (entry["message"], entry.get("holder"))
        for entry in other.log_lines()
        if entry["logger"] == "stormfold.kube.lease"
    ]
    assert waited == [("waiting for the Lease", "test-0"), ("leading ingest", None)]
