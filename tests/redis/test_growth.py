"""The part `growth` of the benchmarks counts its load with the operator's own folder and reconciler."""

from __future__ import annotations

import pytest
from benchmarks.growth.load import Load
from benchmarks.growth.replicas import Requests
from benchmarks.growth.runs import run

from lab.valkey import Valkey

LOAD = Load(1_000, 100)


async def test_all_signals_become_durable(redis: Valkey) -> None:
    cost = await run([redis], redis.url, LOAD)
    assert cost.writes * LOAD.signals >= LOAD.storms
    assert cost.operator_us > 0


async def test_run_ends_when_a_part_of_the_operator_fails(
    redis: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(Requests, "told_others")
    with pytest.raises(ExceptionGroup) as failed:
        await run([redis], redis.url, LOAD)
    assert failed.group_contains(AttributeError, match="told_others")
