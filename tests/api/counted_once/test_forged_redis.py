"""Whatever somebody has written into Redis about a storm: its request gives it back, and nothing ends."""

from __future__ import annotations

import pytest
from tests.harness.stage import Stage

from stormfold.fold import keys
from stormfold.model.group import partition

NAMES = ("number", "kind", "opening", "untouched")


@pytest.mark.started(closeAfter="1h")
async def test_storms_that_cannot_be_read_in_redis_go_on_from_their_requests(stage: Stage) -> None:
    team = stage.team
    for name in NAMES:
        await team.report(name, 6)
    for name in NAMES:
        await team.counted(name)

    def key(of: str, name: str) -> str:
        group_hash = team.group_hash(name)
        made: str = getattr(keys, of)(partition(group_hash), group_hash)
        return made

    stage.valkey.command("HSET", key("storm", "number"), "total", "forged")
    for of, name in (("resources", "kind"), ("opening", "opening")):
        stage.valkey.command("DEL", key(of, name))
        stage.valkey.command("XADD", key(of, name), "*", "forged", "1")
    for name in NAMES:
        await team.report(name, 2)
    for name in NAMES:
        await team.counted(name)
    assert stage.operator.running
    stage.valkey.command("HSET", key("storm", "number"), "state", "forged")
    await stage.operator.restart()
    for name in NAMES:
        await team.report(name, 1)
    for name in NAMES:
        await team.counted(name)
    assert stage.operator.running
