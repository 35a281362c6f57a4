"""Alerts that are posted again through another replica, found by `make chaos`."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.harness.folding import CLUSTER, T0, Group
from tests.redis.test_alerts import alert, resolved
from tests.redis.test_replicas import OneGroup

from stormfold.demo.valkey import Valkey
from stormfold.fold.connection import Connection
from stormfold.fold.store import StormStore
from stormfold.model.storm import Seed


@pytest.fixture
async def group(redis: Valkey) -> AsyncIterator[Group]:
    connection = Connection.from_url(redis.url)
    yield Group(StormStore(connection, cluster=CLUSTER))
    await connection.close()


def test_counted_alert_that_is_sent_again_is_not_taken_for_one_that_no_request_holds(redis: Valkey) -> None:
    """Its place in the storm is known from above only: it may lie in what the request holds."""
    group = OneGroup(redis)
    group.first_alert()
    group.replica_folds(0, answer_lost=False)
    group.replica_claims(0)
    group.replica_writes_what_it_claimed(0, noted=True, freeze=False)
    group.alert_begins(0)
    group.replica_folds(0, answer_lost=False)
    group.replica_hears_of_requests(1)
    group.alert_is_sent_again(1, which=0)
    group.replica_folds(1, answer_lost=False)
    group.redis_is_emptied()
    group.replica_folds(1, answer_lost=False)
    group.teardown()


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
        epoch=2, closed=closed, incarnation="life", total=3, folded=3, firing=3, latest_start_ms=T0
    )
    await group.fold(alert("old", -4000), at=1000, seed=signals_alone)
    assert (await group.look(at=1000)).repeats == 1


def test_closed_request_is_final_also_for_whoever_froze_a_storm_that_was_continued_from_it(
    redis: Valkey,
) -> None:
    """What it does not hold has been folded into the next storm since."""
    group = OneGroup(redis)
    group.first_alert()
    group.replica_folds(0, answer_lost=False)
    group.replica_claims(0)
    group.replica_writes_what_it_claimed(0, noted=True, freeze=False)
    group.replica_hears_of_requests(1)
    group.redis_is_copied()
    group.replica_claims(0)
    group.replica_writes_what_it_claimed(0, noted=True, freeze=True)
    group.copy_takes_over()
    group.alert_begins(1)
    group.replica_folds(1, answer_lost=False)
    group.replica_claims(1)
    group.replica_writes_what_it_claimed(1, noted=True, freeze=True, slow=True)
    group.alert_is_sent_again(0, which=1)
    group.replica_folds(0, answer_lost=False)
    group.replica_writes_what_it_claimed(1, noted=True, freeze=False)
    group.teardown()
