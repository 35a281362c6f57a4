"""Signals whose storm is over while they wait; found by `make chaos`."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.harness.folding import signal, signals
from tests.redis.test_folder import GROUP, POLICY, World, running

from stormfold.demo.valkey import Valkey
from stormfold.fold.batching import Held
from stormfold.model.storm import Seed


@pytest.fixture
async def world(redis: Valkey) -> AsyncIterator[World]:
    async with running(redis.url) as world:
        yield world


async def test_signals_that_the_closed_request_does_not_hold_go_before_later_ones(
    world: World, redis: Valkey
) -> None:
    """A later one that is counted first raises the floor, and those before it would never be counted."""
    await world.submit(*signals(1, 5))
    redis.command("FLUSHALL")
    world.request_says(Seed(epoch=1, closed=True, incarnation="another", folded=2, through=2))
    world.held = Held(1, "another", 2, "")
    world.folder.observed(GROUP.gid, world.held, POLICY, overflow=False, closed=True)
    await world.folder.submit(signal(6))
    await world.idle()
    assert await world.counted() == (2, 4)
