"""Alerts of which no word came for `staleAfter`: they fire no more, until somebody speaks of them again."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.harness.folding import CLUSTER, Group, alert, resolved, signal
from tests.harness.values import T0, TERMS

from lab.valkey import Valkey
from stormfold.fold import keys
from stormfold.fold.closed_alerts import NONE_KNOWN, ClosedAlerts
from stormfold.fold.connection import Connection
from stormfold.fold.store import StormStore
from stormfold.model.arrival import Arrival
from stormfold.model.storm import Seed, Snapshot, TrackedAlert
from stormfold.request.alert_list import decoded, encoded

STALE = 16_000
"""`staleAfter` in ms: alerts are looked through once a second at most."""


@pytest.fixture
def group(connection: Connection) -> Group:
    """A group under a policy with a short `staleAfter`."""
    store = StormStore(connection, cluster=CLUSTER)
    return Group(store, terms=replace(TERMS, stale_after_ms=STALE))


def counts(storm: Snapshot) -> tuple[int, int, int, int, int]:
    """(total, firing, resolved, stale, folded)."""
    return storm.total, storm.firing, storm.resolved, storm.stale_alerts, storm.folded


async def test_alert_of_which_no_word_came_is_stale(group: Group) -> None:
    await group.fold(alert("a"), alert("b"), signal(1))
    before = await group.look(at=STALE - 1)
    assert (counts(before), before.firing_alerts, before.stale_look_ms) == ((3, 3, 0, 0, 3), 2, T0 + STALE)
    await group.ack(before, at=STALE - 1)
    after = await group.look(at=STALE)
    assert (counts(after), after.firing_alerts, after.stale_look_ms) == ((3, 1, 0, 2, 4), 0, 0)
    assert {one.firing for one in after.tracked_alerts or ()} == {False}, "the request is to list them anew"


async def test_repeat_is_a_word_and_opens_no_storm(group: Group) -> None:
    await group.fold(alert("a"), alert("b"))
    await group.fold(alert("a", seen_ms=T0 + 10_000), at=10_000)
    storm = await group.look(at=STALE)
    assert (counts(storm), storm.stale_look_ms) == ((2, 1, 0, 1, 3), T0 + 10_000 + STALE)
    storm = await group.look(at=10_000 + STALE)
    assert counts(storm) == (2, 0, 0, 2, 4)


async def test_alerts_are_looked_through_sixteen_times_in_that_time_at_most(group: Group) -> None:
    await group.fold(alert("a"), alert("b", seen_ms=T0 + 1), alert("c", seen_ms=T0 + 900))
    first = await group.look(at=STALE)
    assert (first.stale_alerts, first.stale_look_ms) == (1, T0 + STALE + 1000)
    assert (await group.look(at=STALE + 999)).stale_alerts == 1
    assert (await group.look(at=STALE + 1000)).stale_alerts == 3


@pytest.mark.parametrize(
    ("report", "last"),
    [
        pytest.param(alert("a", seen_ms=T0 + 20_000), (1, 1, 0, 0, 3), id="it fires: counted already"),
        pytest.param(resolved("a", seen_ms=T0 + 20_000), (1, 0, 1, 0, 3), id="it is over"),
        pytest.param(alert("a", 60, seen_ms=T0 + 20_000), (2, 1, 0, 0, 3), id="it began anew"),
        pytest.param(alert("a", seen_ms=T0 - 1), (1, 0, 0, 1, 2), id="a post that was held up"),
        pytest.param(resolved("a", -60, ends=-30, seen_ms=T0 + 20_000), (1, 0, 0, 1, 2), id="an older end"),
    ],
)
async def test_next_word_of_a_stale_alert_counts(
    group: Group, report: Arrival, last: tuple[int, int, int, int, int]
) -> None:
    await group.fold(alert("a"))
    await group.look(at=STALE)
    await group.fold(report, at=20_000)
    assert counts(await group.look(at=20_000)) == last


async def test_time_begins_anew_when_redis_has_lost_its_data(group: Group, redis: Valkey) -> None:
    await group.fold(alert("a"))
    storm = await group.look(at=10)
    redis.command("FLUSHALL")
    seed = Seed(
        epoch=1,
        closed=False,
        incarnation=storm.incarnation,
        total=1,
        folded=1,
        firing=1,
        opened_ms=T0,
        arrived_ms=T0,
        alerts=1,
        tracked_alerts=storm.tracked_alerts or (),
        firing_alerts=1,
        stale_alerts=2,
    )
    await group.fold(seed=seed, at=15_000)
    assert counts(await group.look(at=15_000 + STALE - 1)) == (1, 1, 0, 2, 1)
    assert counts(await group.look(at=15_000 + STALE + 1000)) == (1, 0, 0, 3, 2)


async def test_stale_alert_that_fires_again_after_a_loss_is_stale_no_more(
    group: Group, redis: Valkey
) -> None:
    await group.fold(alert("a"), alert("b"))
    await group.fold(resolved("b", seen_ms=T0 + 1), at=1)
    storm = await group.look(at=STALE)
    assert counts(storm) == (2, 0, 1, 1, 4)
    redis.command("FLUSHALL")
    seed = Seed(
        epoch=1,
        closed=False,
        incarnation=storm.incarnation,
        total=2,
        folded=4,
        alerts=2,
        resolved=1,
        stale_alerts=1,
        opened_ms=T0,
        arrived_ms=T0,
        tracked_alerts=decoded(encoded(storm.tracked_alerts or ())) or (),
    )
    await group.fold(alert("a", seen_ms=T0 + 20_000), at=20_000, seed=seed)
    assert counts(await group.look(at=20_000)) == (2, 1, 1, 0, 5)
    await group.fold(resolved("a", seen_ms=T0 + 21_000), at=21_000)
    await group.fold(alert("b", seen_ms=T0 + 21_000), at=21_000)
    assert counts(await group.look(at=21_000)) == (2, 1, 1, 0, 7)


async def test_alert_that_fires_through_storms_is_stale_by_its_last_word(group: Group) -> None:
    await group.fold(alert("a"), alert("b", seen_ms=T0 + 8000))
    await group.freeze_and_close(at=9000)
    await group.fold(signal(5), at=10_000)
    assert counts(await group.look(at=10_000)) == (1, 3, 0, 0, 1)
    assert counts(await group.look(at=STALE)) == (1, 2, 0, 1, 2)


async def test_stale_alert_of_an_earlier_storm_does_not_fire_in_the_next(group: Group) -> None:
    await group.fold(alert("a"), alert("b", seen_ms=T0 + 8000))
    await group.freeze_and_close(at=9000)
    await group.fold(signal(5), at=STALE)
    storm = await group.look(at=STALE)
    assert (counts(storm), storm.stale_look_ms) == ((1, 2, 0, 0, 1), T0 + 8000 + STALE)
    fires = TrackedAlert(alert("b").occurrence, T0 // 1000, firing=True)
    assert [one for one in storm.tracked_alerts or () if one.firing] == [fires]
    await group.fold(alert("a", seen_ms=T0 + STALE), at=STALE + 1)
    assert counts(await group.look(at=STALE + 1)) == (1, 3, 0, 0, 2)


async def test_time_of_what_a_closed_request_lists_begins_anew_too(group: Group) -> None:
    listed = TrackedAlert(alert("a").occurrence, T0 // 1000, firing=True)
    closed = Seed(epoch=1, closed=True, incarnation="before", folded=1, tracked_alerts=(listed,))
    await group.fold(seed=closed, at=10_000)
    await group.fold(signal(5), at=10_000 + STALE - 1)
    storm = await group.look(at=10_000 + STALE - 1)
    assert (counts(storm), storm.stale_look_ms) == ((1, 2, 0, 0, 1), T0 + 10_000 + STALE)


# --- after the close: what a closed request is told


async def known(group: Group, *, at: int, epoch: int = 1) -> ClosedAlerts | None:
    """What is known of the alerts of the closed group, `at` ms after `T0`."""
    return await group.store.closed.alerts(group.group_hash, epoch, stale_after_ms=STALE, now_ms=T0 + at)


def of(states: str) -> dict[str, TrackedAlert]:
    """The alerts a, b, …, each with the letter of its state: f fires, r resolved, s stale."""
    ids = [alert(name).occurrence for name in "abc"]
    return {
        id_: TrackedAlert(id_, T0 // 1000, firing=state == "f", stale=state == "s")
        for id_, state in zip(ids, states, strict=False)
    }


async def test_alerts_of_a_closed_group_are_stale_by_their_last_word(group: Group) -> None:
    await group.fold(alert("a"), alert("b"), alert("c"))
    await group.fold(resolved("c", seen_ms=T0 + 1), at=1)
    await group.freeze_and_close(at=10)
    await group.fold(alert("b", seen_ms=T0 + 9000), at=9000)
    assert await known(group, at=STALE - 1) == ClosedAlerts(of("ffr"))
    assert await known(group, at=STALE) == ClosedAlerts(of("sfr"))
    assert await known(group, at=9000 + STALE) == ClosedAlerts(of("ssr"))
    assert await known(group, at=10, epoch=2) == NONE_KNOWN


async def test_alert_that_was_stale_when_its_request_closed_stays_so(group: Group) -> None:
    await group.fold(alert("a"))
    await group.look(at=STALE)
    await group.freeze_and_close(at=STALE)
    assert await known(group, at=STALE) == ClosedAlerts(of("s"))


async def test_closed_group_that_redis_has_lost_is_told_from_one_of_which_nobody_spoke_for_a_day(
    group: Group, redis: Valkey
) -> None:
    await group.fold(alert("a"))
    storm = await group.freeze_and_close(at=10)
    redis.command("DEL", keys.before(group.partition, group.group_hash))
    assert await known(group, at=20) == ClosedAlerts({}, expired=True)
    redis.command("FLUSHALL")
    assert await known(group, at=20) is None
    listed = TrackedAlert(alert("a").occurrence, T0 // 1000, firing=True)
    seed = Seed(1, closed=True, incarnation=storm.incarnation, folded=1, tracked_alerts=(listed,))
    await group.fold(seed=seed, at=5000)
    assert await known(group, at=5000 + STALE - 1) == ClosedAlerts(of("f"))
    assert await known(group, at=5000 + STALE) == ClosedAlerts(of("s"))
