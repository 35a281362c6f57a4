"""SIGKILL at every step of a signal's way: one request a storm, every signal counted once, whatever was
lost."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from tests.api.conftest import OPERATOR_NAMESPACE, NewOperator
from tests.harness.api_proxy import When
from tests.harness.eventually import eventually
from tests.harness.scene import at
from tests.harness.stage import Stage
from tests.harness.steps import LEASE, REQUEST, SIGNAL, Step, call, checkpoint, create, script
from tests.harness.team import Team

from stormfold.fold.scripts import ACK, CLAIM, FOLD

WHENS: tuple[When, ...] = ("before", "after")
LOSSES = ("kept", "emptied")
"""Of Redis. First kept: what was counted twice there would be gone once it is emptied."""

STEPS = [
    # (a storm's first signals, or later ones?, steps; a script that is held holds up the others: it is last)
    pytest.param(True, {"create": create, "fold": script(FOLD)}, id="new: create and fold"),
    pytest.param(True, {"patch": call("PATCH", REQUEST), "ack": script(ACK)}, id="new: patch and ack"),
    pytest.param(True, {"claim": script(CLAIM)}, id="new: claim"),
    pytest.param(False, {"patch": call("PATCH", REQUEST), "fold": script(FOLD)}, id="patch and fold"),
    pytest.param(False, {"mark": call("PATCH", SIGNAL + "/status"), "ack": script(ACK)}, id="mark and ack"),
    pytest.param(
        False,
        {"delete": call("DELETE", SIGNAL), "claim": script(CLAIM)},
        marks=pytest.mark.started(retention="1s"),
        id="delete and claim",
    ),
    pytest.param(False, {"checkpoint": checkpoint}, id="checkpoint"),
]


@pytest.mark.parametrize(("opening", "steps"), STEPS)
@pytest.mark.started
async def test_operator_killed_with_storms_at_their_steps_counts_each_signal_once(
    opening: bool, steps: dict[str, Step], stage: Stage
) -> None:
    team = stage.team
    for redis in LOSSES:
        for when in WHENS:
            names = {f"{step}-{when}-{redis}": step for step in steps}
            if not opening:
                await report_each(team, names, 6)
                for name in names:
                    await team.counted(name)
            rules = []
            for name, step in names.items():
                rules.append(steps[step](stage, name, when))
                await team.report(name, 5)
                await eventually(rules[-1].arrived.is_set, within=30, what=f"{name} is held")
            await stage.kill_at(*rules)
            stage.lose(redis)
            await report_each(team, names, 4)
            await stage.operator.start(ready=False)
            await report_each(team, names, 3)
        await team.assert_exact()


async def report_each(team: Team, names: Iterable[str], count: int) -> None:
    """So many signals of each name."""
    for name in names:
        await team.report(name, count)


async def renewed(stage: Stage) -> str:
    """When the Lease was last renewed."""
    lease = await stage.api.get("Lease", "stormfold-ingest", OPERATOR_NAMESPACE)
    assert lease is not None
    return str(lease["spec"]["renewTime"])


@pytest.mark.parametrize("redis", LOSSES)
@pytest.mark.started(belowThreshold="Discard", threshold={"signals": 5, "within": "1s"})
async def test_signals_whose_discarding_was_lost_with_the_operator_say_so_all_the_same(
    redis: str, stage: Stage
) -> None:
    team = stage.team
    mark = stage.api_proxy.hold("PATCH", SIGNAL.format(namespace=team.namespace, name="trouble") + "/status")
    await team.report("trouble", 3)
    await eventually(mark.arrived.is_set, within=30, what="one is marked")
    for _ in range(2):  # the checkpoint as it is after the discarding is kept with the second
        before = await renewed(stage)
        await eventually(lambda: renewed(stage), lambda now, before=before: now != before, what="renewed")
    await stage.kill_at(mark)
    stage.lose(redis)
    await stage.operator.start(ready=False)
    await eventually(
        lambda: stage.api.list("Signal", team.namespace),
        lambda signals: [at(one, "status.phase") for one in signals] == ["Discarded"] * 3,
        within=30,
        what="three say Discarded",
    )


@pytest.mark.parametrize("redis", LOSSES)
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


@pytest.mark.started
async def test_another_operator_waits_for_the_lease_of_a_killed_one_and_counts_on(
    stage: Stage, operator: NewOperator
) -> None:
    team = stage.team
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
