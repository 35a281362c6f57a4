"""Alerts that are posted again through another replica, found by `make chaos`."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.harness.folding import CLUSTER, T0, Group, alert, resolved

from lab.valkey import Valkey
from stormfold.fold.connection import Connection
from stormfold.fold.store import StormStore
from stormfold.model.storm import Seed


@pytest.fixture
async def group(redis: Valkey) -> AsyncIterator[Group]:
    connection = Connection.from_url(redis.url)
    yield Group(StormStore(connection, cluster=CLUSTER))
    await connection.close()


async def test_end_of_an_alert_is_not_taken_for_one_that_no_request_holds(group: Group) -> None:
    """If Redis loses that the alert was counted, its end counts as the alert once more."""
    await group.fold(alert("a"))
    answer = await group.fold(alert("b"), resolved("a"), at=10)
    assert (answer.ordinals, answer.doubtful) == ([2, 3], {1})


@pytest.mark.parametrize("closed", [True, False])
async def test_alert_of_an_earlier_epoch_is_no_new_one_where_its_successor_holds_none(
    group: Group, closed: bool
) -> None:
    """The request of epoch 2 holds signals alone, that of epoch 1 may hold the alert."""
    signals_alone = Seed(
        epoch=2, closed=closed, incarnation="incarnation", total=3, folded=3, firing=3, latest_start_ms=T0
    )
    await group.fold(alert("old", -4000), at=1000, seed=signals_alone)
    assert (await group.look(at=1000)).repeats == 1
