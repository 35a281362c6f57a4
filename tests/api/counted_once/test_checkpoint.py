"""How far everything is durable, and what proves that a Signal was counted: the checkpoint, its id in Redis,
its mark."""

from __future__ import annotations

import pytest
from tests.api.conftest import OPERATOR_NAMESPACE
from tests.harness.api import Api
from tests.harness.eventually import eventually
from tests.harness.kubectl import Kubectl
from tests.harness.stage import Stage
from tests.harness.steps import LEASE, checkpoint_of, create, script
from tests.harness.team import Team

from stormfold.fold.scripts import ACK, FOLD, Script

pytestmark = pytest.mark.started


async def marked(team: Team, api: Api) -> int:
    """How many of the team's Signals say where they went."""
    return sum("status" in signal for signal in await api.list("Signal", team.namespace))


async def test_checkpoint_is_never_ahead_of_a_signal_that_no_request_holds(stage: Stage) -> None:
    team = stage.team
    held = create(stage, "trouble", "before")
    made = await team.report("trouble", 6)
    await eventually(
        lambda: stage.metric("stormfold_signals_in_flight"),
        lambda in_flight: in_flight == 6,
        what="6 are taken in",
    )
    # The first of the two may have been on its way before the last Signal was taken in.
    renewals = stage.api_proxy.count("PUT", LEASE)
    await eventually(
        lambda: stage.api_proxy.count("PUT", LEASE), lambda count: count >= renewals + 2, what="2 renewals"
    )
    await stage.kill_at(held)
    [lease] = await stage.api.list("Lease", OPERATOR_NAMESPACE)
    first = min(int(signal["metadata"]["resourceVersion"]) for signal in made)
    assert checkpoint_of(lease) < first
    stage.lose("emptied")
    await stage.operator.start(ready=False)
    await team.assert_exact()


async def test_metadata_edited_while_the_operator_is_down_is_no_new_signal(
    stage: Stage, kubectl: Kubectl
) -> None:
    team = stage.team
    unmarked = stage.api_proxy.respond("PATCH", r"/signals/trouble-(?:[6-9]|1[01])/status", 500, times=None)
    await team.report("trouble", 12)
    await team.counted("trouble")
    await eventually(
        lambda: marked(team, stage.api), lambda count: count == 6, what="half of them are marked"
    )
    stage.kill()
    stage.api_proxy.remove(unmarked)
    await kubectl("label", "signals", "--all", "--namespace", team.namespace, "seen=yes")
    await team.report("trouble", 3)
    await stage.operator.start()
    await kubectl("annotate", "signals", "--all", "--namespace", team.namespace, "seen=twice")
    await team.report("trouble", 2)
    await team.assert_exact()


async def test_metadata_edited_before_the_next_leader_reads_it_is_no_new_signal(
    stage: Stage, kubectl: Kubectl
) -> None:
    team = stage.team
    # Each is answered, and none reaches the API server: a held one would be written when it is let go.
    marks = stage.api_proxy.respond("PATCH", r"/signals/[^/]+/status", 500, times=None)
    made = await team.report("trouble", 12)
    await team.counted("trouble")
    newest = max(int(signal["metadata"]["resourceVersion"]) for signal in made)

    async def checkpoint() -> int:
        [lease] = await stage.api.list("Lease", OPERATOR_NAMESPACE)
        return checkpoint_of(lease)

    await eventually(checkpoint, lambda version: version >= newest, what="all are below the checkpoint")
    stage.kill()
    stage.api_proxy.remove(marks)
    assert await marked(team, stage.api) == 0
    await kubectl("label", "signals", "--all", "--namespace", team.namespace, "seen=yes")
    # The storm is looked at before Signals are read, as by another replica or where the API server is slow.
    read = stage.api_proxy.hold("GET", r"/signals\?")
    await stage.operator.start(ready=False)
    await eventually(read.arrived.is_set, within=30, what="Signals are to be read")
    looked_at = script(ACK)(stage, "trouble", "after")
    [request] = await team.requests_of("trouble")
    name, done = request["metadata"]["name"], {"status": {"remediation": {"phase": "Looking"}}}
    await stage.api.patch("RemediationRequest", name, team.namespace, done, subresource="status")
    await eventually(looked_at.arrived.is_set, within=30, what="the storm is looked at")
    looked_at.release()
    read.release()
    await team.report("trouble", 3)
    await team.assert_exact()


@pytest.mark.parametrize("which", [FOLD, ACK], ids=["folded", "acked"])
async def test_metadata_edited_right_after_the_count_is_no_new_signal(
    which: Script, stage: Stage, kubectl: Kubectl
) -> None:
    team = stage.team
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
    made = await team.report("trouble", 8)
    await team.counted("trouble")
    stage.kill()
    again = [signal["metadata"]["name"] for signal in made[:3]]
    for name in again:
        await stage.api.patch("Signal", name, team.namespace, {"spec": {"labels": {"try": "second"}}})
    team.expect("trouble", again)
    await stage.operator.start(ready=False)
    await team.assert_exact()
