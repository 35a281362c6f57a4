"""Whatever a sender calls things, to Redis and its scripts it is text."""

from __future__ import annotations

import pytest
from tests.harness.folding import Group, signal

from lab.valkey import Valkey
from stormfold.model.arrival import Target

pytestmark = pytest.mark.usefixtures("one_incarnation")

HOSTILE = (
    "'); redis.call('FLUSHALL') --",
    "]] redis.call('FLUSHALL') --[[",
    "\r\n*1\r\n$8\r\nFLUSHALL\r\n",
    "sf:{p1}:due",
    "{p1}",
    "%s%.0f%d",
    "e0,99",
    "-inf",
    "\x00\x01~",
)


@pytest.mark.parametrize("text", HOSTILE)
async def test_names_are_no_commands_and_no_keys(group: Group, redis: Valkey, text: str) -> None:
    redis.command("SET", "bystander", "there")
    target = Target("v1", text, text, text)
    hostile = signal(1, target, name=text, labels={text: text}, source=text, fingerprint=text)
    await group.fold(hostile, signal(2))
    storm = await group.look(at=10)
    assert (storm.total, storm.resource_count) == (2, 2)
    names = redis.command("KEYS", "*")
    assert isinstance(names, list)
    prefix = group.storm_key.partition("storm:")[0]
    assert sorted(name for name in names if not str(name).startswith(prefix)) == ["bystander"]
    assert all(text not in str(name) for name in names)
