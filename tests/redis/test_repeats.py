"""Alerts that are posted again through another replica, found by `make chaos`."""

from __future__ import annotations

from tests.redis.test_replicas import OneGroup

from stormfold.demo.valkey import Valkey


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
