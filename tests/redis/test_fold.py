"""fold.lua: what is counted, once, and what is said of it."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from tests.harness.folding import (
    INCARNATION,
    OPENED,
    T0,
    TERMS,
    Group,
    fields_of,
    pod,
    signal,
    signals,
)

from lab.valkey import Valkey
from stormfold.api.conditions import Reason
from stormfold.api.signal import Severity
from stormfold.fold import keys
from stormfold.fold.replies import Folded, FoldWord
from stormfold.model.arrival import Target
from stormfold.model.storm import Detected, Seed, Terms

pytestmark = pytest.mark.usefixtures("one_incarnation")


async def test_first_signal_opens_a_storm(group: Group) -> None:
    assert await group.fold(signal(1)) == Folded(FoldWord.COUNTED, 1, 1, True, T0 + 1000, 0, INCARNATION, [1])
    assert await group.claim(at=1000) == OPENED


async def test_batch_of_several_groups_is_counted_in_one_call(group: Group) -> None:
    others = [Group(group.store, f"{number:015x}7") for number in (0, 4, 8)]
    assert {other.partition for other in others} == {7}
    folds = [other.fold_of(*signals(10 * n, 10 * n + n)) for n, other in enumerate(others, 1)]
    answers = await group.store.fold(7, folds, now_ms=T0)
    assert [(a.epoch, a.folded, a.ordinals) for a in answers] == [
        (1, 2, [1, 2]),
        (1, 3, [1, 2, 3]),
        (1, 4, [1, 2, 3, 4]),
    ]
    assert await group.store.open_groups() == {other.group_hash for other in others}


async def test_second_delivery_of_a_signal_is_not_counted(group: Group) -> None:
    await group.fold(signal(1), signal(2))
    again = await group.fold(signal(1), signal(2), signal(3), known=(1, 2))
    assert (again.folded, again.ordinals) == (3, [2, 2, 3])


async def test_signal_twice_in_a_batch_is_counted_once(group: Group) -> None:
    twice = await group.fold(signal(1), signal(1), signal(2))
    assert (twice.folded, twice.ordinals) == (2, [1, 1, 2])


async def test_raised_generation_of_a_signal_is_counted(group: Group) -> None:
    first = signal(1)
    raised = replace(first, ref=replace(first.ref, generation=2, resource_version=2))
    assert (await group.fold(first, raised)).ordinals == [1, 2]


async def test_signal_at_or_below_the_checkpoint_is_not_counted(group: Group) -> None:
    await group.store.fence([group.partition], 10)
    answer = await group.fold(signal(9), signal(10), signal(11))
    assert (answer.folded, answer.ordinals) == (1, [0, 0, 1])


async def test_checkpoint_alone_opens_nothing(group: Group) -> None:
    await group.store.fence([group.partition], 10)
    assert await group.fold(signal(10)) == Folded(FoldWord.COUNTED, 0, 0, False, 0, 0, "", [0])
    assert await group.store.open_groups() == set()


async def test_checkpoint_never_goes_back(group: Group) -> None:
    await group.store.fence([group.partition], 10)
    await group.store.fence([group.partition], 5)
    assert (await group.fold(signal(10))).ordinals == [0]


async def test_empty_fold_goes_before_others_of_its_call(group: Group) -> None:
    """What follows it begins with a group hash, which is no number."""
    await group.fold(signal(1))
    other = replace(group.fold_of(signal(2)), group_hash="abcdef00000000a7")
    empty, more = await group.store.fold(group.partition, [group.fold_of(), other], now_ms=T0)
    assert ((empty.word, empty.ordinals), (more.word, more.ordinals)) == (("counted", []), ("counted", [1]))


async def test_empty_fold_of_a_known_storm_changes_nothing(group: Group) -> None:
    await group.fold(signal(1))
    assert await group.fold(known=(1, 1)) == Folded(FoldWord.COUNTED, 1, 1, True, 0, 0, INCARNATION, [])
    assert await group.claim(at=1000) == OPENED


async def test_concurrent_folds_of_the_same_signals_count_them_once(group: Group) -> None:
    batch = signals(1, 50)
    answers = await asyncio.gather(*(group.fold(*batch) for _ in range(8)))
    assert {answer.folded for answer in answers} == {50}


# --- when Redis knows less than the caller


@pytest.mark.parametrize("known", [(1, 2), (2, 0), (2, 1)])
async def test_storm_behind_what_is_known_is_lost(group: Group, known: tuple[int, int]) -> None:
    await group.fold(signal(1))
    assert await group.fold(signal(2), known=known) == Folded(FoldWord.LOST, 0, 0, False, 0, 0, "", [])
    assert (await group.look(at=10)).total == 1


async def test_lost_storm_does_not_hold_up_the_others_of_its_batch(group: Group) -> None:
    other = Group(group.store, f"{group.group_hash[:-3]}fa7")
    assert other.partition == group.partition
    folds = [group.fold_of(signal(1), signal(2), known=(1, 1)), other.fold_of(signal(3))]
    answers = await group.store.fold(group.partition, folds, now_ms=T0)
    assert [(a.word, a.ordinals) for a in answers] == [(FoldWord.LOST, []), (FoldWord.COUNTED, [1])]


async def counted_by_another_server(group: Group, redis: Valkey) -> None:
    """Make what Redis has of the group that of another server, as after a fail-over or a restart."""
    redis.command("HSET", group.storm_key, "incarnation", "lifexxxx")


async def test_storm_of_another_server_is_lost_to_who_knows_of_it(group: Group, redis: Valkey) -> None:
    await group.fold(signal(1))
    await counted_by_another_server(group, redis)
    assert (await group.fold(signal(2), known=(1, 1))).word == FoldWord.LOST


async def test_storm_of_another_server_is_continued_from_its_request(group: Group, redis: Valkey) -> None:
    await group.fold(*signals(1, 9), seed=SEED)
    await counted_by_another_server(group, redis)
    answer = await group.fold(signal(101), seed=SEED)
    assert (answer.epoch, answer.folded, answer.ordinals) == (3, 8, [8])


async def test_storm_of_another_server_without_a_request_begins_again_in_its_epoch(
    group: Group, redis: Valkey
) -> None:
    await group.fold(signal(1))
    await group.freeze_and_close(at=10)
    await group.fold(signal(2), signal(3), at=20)
    await counted_by_another_server(group, redis)
    answer = await group.fold(signal(1), signal(3), at=30)
    assert (answer.epoch, answer.folded, answer.ordinals) == (2, 1, [0, 1])


SEED = Seed(
    epoch=3,
    closed=False,
    incarnation="before",
    total=7,
    folded=7,
    firing=4,
    resolved=2,
    severity=3,
    first_ms=T0 - 5000,
    last_ms=T0 - 1000,
    opened_ms=T0 - 6000,
    arrived_ms=T0 - 1000,
    detected=Detected.BY_SIGNALS,
    revision=2,
    through=100,
    resource_count=2,
    resources={pod("web-1"): 5, pod("web-2"): 2},
    written_ms=T0 - 900,
)
CONTINUED = replace(
    OPENED,
    epoch=3,
    origin="before:7",
    total=7,
    folded=7,
    firing=4,
    resolved=2,
    firing_signals=4,
    approximate=True,
    severity=3,
    first_ms=T0 - 5000,
    last_ms=T0 - 1000,
    opened_ms=T0 - 6000,
    arrived_ms=T0 - 1000,
    window_ms=T0 - 6000,
    detected=Detected.BY_SIGNALS,
    rate_per_minute=0,
    resources=((pod("web-1"), 5), (pod("web-2"), 2)),
    resource_count=2,
    revision=2,
    through=100,
    written=7,
    written_ms=T0 - 900,
)


async def test_missing_storm_is_continued_from_its_seed_and_is_due_at_once(group: Group) -> None:
    assert await group.fold(seed=SEED) == Folded(FoldWord.COUNTED, 3, 7, True, T0, 7, INCARNATION, [])
    assert await group.claim(at=0) == CONTINUED


async def test_continued_storm_counts_only_what_is_above_its_seed(group: Group) -> None:
    answer = await group.fold(signal(99), signal(100), signal(101, "web-2"), signal(102, "web-3"), seed=SEED)
    assert (answer.epoch, answer.folded, answer.ordinals) == (3, 9, [0, 0, 8, 9])
    storm = await group.look(at=10)
    assert storm.resources == ((pod("web-1"), 5), (pod("web-2"), 3), (pod("web-3"), 1))


async def test_seed_of_a_settled_storm_keeps_it_settled_until_a_signal_reopens_it(group: Group) -> None:
    await group.fold(seed=replace(SEED, settled=True))
    storm = await group.look(at=0)
    assert (storm.settled, storm.revision) == (True, 2)
    await group.fold(signal(101), known=(3, 7))
    storm = await group.look(at=10)
    assert (storm.settled, storm.revision) == (False, 3)


@pytest.mark.parametrize(
    ("epoch", "total"),
    [pytest.param(3, 6, id="total behind the request"), pytest.param(2, 50, id="epoch behind the request")],
)
async def test_stale_storm_is_replaced_by_its_seed(group: Group, epoch: int, total: int) -> None:
    await group.fold(seed=replace(SEED, epoch=epoch, total=total, folded=total))
    await group.fold(seed=SEED)
    assert await group.look(at=0) == CONTINUED


@pytest.mark.parametrize(
    ("epoch", "total"),
    [pytest.param(3, 7, id="as far as the request"), pytest.param(4, 1, id="a later storm")],
)
async def test_seed_is_not_used_if_redis_knows_as_much(group: Group, epoch: int, total: int) -> None:
    await group.fold(seed=replace(SEED, epoch=epoch, total=total, folded=total, severity=1))
    await group.fold(seed=SEED)
    storm = await group.look(at=0)
    assert (storm.epoch, storm.total, storm.severity) == (epoch, total, 1)


async def test_stale_storm_forgets_ids_that_its_request_never_held(group: Group) -> None:
    await group.fold(signal(1), signal(105))
    answer = await group.fold(signal(105), seed=SEED)
    assert (answer.folded, answer.ordinals) == (8, [8])


async def test_seed_of_a_closed_request_opens_the_next_epoch_above_its_floor(group: Group) -> None:
    closed = Seed(epoch=3, closed=True, through=100)
    answer = await group.fold(signal(100), signal(101), seed=closed)
    assert (answer.epoch, answer.folded, answer.ordinals) == (4, 1, [0, 1])


async def test_closed_request_is_newer_than_an_open_storm_of_its_epoch(group: Group) -> None:
    await group.fold(seed=SEED)
    answer = await group.fold(signal(101), seed=Seed(epoch=3, closed=True, through=100))
    assert (answer.epoch, answer.folded, answer.ordinals) == (4, 1, [1])


async def test_request_that_looks_open_does_not_reopen_a_closed_storm(group: Group) -> None:
    await group.fold(seed=SEED)
    await group.freeze_and_close(at=10)
    answer = await group.fold(signal(101), seed=SEED)
    assert (answer.epoch, answer.folded, answer.ordinals) == (4, 1, [1])


# --- what is counted


async def test_severity_only_rises(group: Group) -> None:
    seen = []
    for version, severity in enumerate(
        [Severity.INFO, Severity.UNKNOWN, Severity.CRITICAL, Severity.WARNING], 1
    ):
        await group.fold(signal(version, severity=severity))
        seen.append((await group.look(at=10)).severity)
    assert seen == [Severity.INFO.rank, Severity.INFO.rank, Severity.CRITICAL.rank, Severity.CRITICAL.rank]


async def test_first_and_last_seen_span_signals_that_arrive_out_of_order(group: Group) -> None:
    await group.fold(signal(1, seen_ms=T0 - 10))
    await group.fold(signal(2, seen_ms=T0 - 30), signal(3, seen_ms=T0 - 20))
    storm = await group.look(at=10)
    assert (storm.first_ms, storm.last_ms) == (T0 - 30, T0 - 10)


async def test_same_pod_four_times_is_one_resource(group: Group) -> None:
    await group.fold(signal(1))
    await group.fold(signal(2), signal(3), signal(4))
    storm = await group.look(at=10)
    assert (storm.total, storm.resources, storm.resource_count) == (4, ((pod("web-0"), 4),), 1)


async def test_signal_without_a_target_names_no_resource(group: Group) -> None:
    await group.fold(signal(1, None), signal(2))
    storm = await group.look(at=10)
    assert (storm.total, storm.resources) == (2, ((pod("web-0"), 1),))


TARGETS = [
    Target("v1", "Pod", "web-0", "shop"),
    Target("v1", "Pod", "web-0", "shop-2"),
    Target("v1", "Pod", "web-00", "shop"),
    Target("apps/v1", "Deployment", "web", "shop"),
    Target("v1", "Node", "node-7"),
    Target("v1", "Pod", "w", "shop"),
    Target("v1", "Pod", "~" * 253, "s" * 63),
    Target("v1", "Pod", "grün", "shop"),
    Target("v1", "Pod", "grùn", "shop"),
    Target("example.org/v1", "日" * 40, "本日", "日"),
    Target("example.org/v1", "日" * 21 + "本", "本日", "日"),
]


@pytest.mark.parametrize("first", range(len(TARGETS)))
async def test_resources_of_all_kinds_are_told_apart(group: Group, first: int) -> None:
    targets = TARGETS[first:] + TARGETS[:first]
    await group.fold(*(signal(version, target) for version, target in enumerate(targets, 1)))
    await group.fold(*(signal(20 + version, target) for version, target in enumerate(targets, 1)))
    assert dict((await group.look(at=10)).resources) == dict.fromkeys(targets, 2)


@pytest.mark.parametrize("first", range(len(TARGETS)))
async def test_resources_of_a_seed_are_those_of_later_signals(group: Group, first: int) -> None:
    targets = TARGETS[first:] + TARGETS[:first]
    seed = replace(SEED, resources=dict.fromkeys(targets, 3), resource_count=len(targets))
    signals_again = [signal(200 + version, target) for version, target in enumerate(TARGETS)]
    await group.fold(*signals_again, seed=seed)
    assert dict((await group.look(at=10)).resources) == dict.fromkeys(targets, 4)


async def test_firing_and_resolved_count_instances_by_their_last_word(group: Group) -> None:
    seen = []
    for version, firing in enumerate([True, True, False, False, True], 1):
        await group.fold(signal(version, firing=firing))
        storm = await group.look(at=10)
        seen.append((storm.total, storm.firing, storm.resolved, storm.firing_signals))
    assert seen == [(1, 1, 0, 1), (2, 1, 0, 2), (3, 0, 1, 2), (4, 0, 1, 2), (5, 1, 0, 3)]


async def test_last_word_of_an_instance_counts_within_a_batch(group: Group) -> None:
    await group.fold(
        signal(1, "a"),
        signal(2, "b"),
        signal(3, "a", firing=False),
        signal(4, "b", firing=False),
        signal(5, "b"),
    )
    storm = await group.look(at=10)
    assert (storm.firing, storm.resolved, storm.approximate) == (1, 1, False)


async def test_resolved_before_firing_is_an_instance_that_fires(group: Group) -> None:
    await group.fold(signal(1, firing=False))
    await group.fold(signal(2))
    storm = await group.look(at=10)
    assert (storm.firing, storm.resolved, storm.firing_signals) == (1, 0, 1)


async def test_fingerprint_names_the_instance(group: Group) -> None:
    await group.fold(signal(1, "a", fingerprint="one"), signal(2, "b", fingerprint="one", firing=False))
    storm = await group.look(at=10)
    assert (storm.firing, storm.resolved) == (0, 1)


async def test_instances_beyond_the_tracked_ones_are_estimated(group: Group) -> None:
    for first in range(1, 601, 200):
        await group.fold(*signals(first, first + 199))
    storm = await group.look(at=10)
    assert (storm.total, storm.firing, storm.resolved, storm.approximate) == (600, 600, 0, True)
    for first in range(1001, 1601, 200):
        await group.fold(
            *(signal(version, f"web-{version - 1000}", firing=False) for version in range(first, first + 200))
        )
    storm = await group.look(at=10)
    assert (storm.total, storm.firing, storm.resolved, storm.approximate) == (1200, 0, 600, True)


async def test_tracked_instances_stay_bounded(group: Group, redis: Valkey) -> None:
    for first in range(1, 1001, 250):
        await group.fold(*signals(first, first + 249))
    key = keys.instances(group.partition, group.group_hash)
    assert (redis.command("SCARD", key), redis.command("OBJECT", "ENCODING", key)) == (512, "intset")


async def test_rate_counts_the_minute_before(group: Group) -> None:
    for version, at in enumerate((0, 10_000, 20_000, 70_000, 80_000), 1):
        await group.fold(signal(version), at=at)
    rates = [(await group.look(at=at)).rate_per_minute for at in (80_000, 90_000, 119_999, 130_000, 180_000)]
    assert rates == [4, 3, 2, 1, 0]


# --- thresholds


@pytest.mark.parametrize(
    ("count", "detected"),
    [pytest.param(4, Detected.NO, id="one below"), pytest.param(5, Detected.BY_SIGNALS, id="exactly at it")],
)
async def test_storm_is_detected_at_the_threshold(group: Group, count: int, detected: Detected) -> None:
    answer = await group.fold(*signals(1, count))
    assert (await group.look(at=0)).detected is detected
    assert answer.due_ms == (T0 if detected else T0 + TERMS.group_wait_ms)


async def test_resolved_signals_do_not_reach_the_threshold(group: Group) -> None:
    await group.fold(*signals(1, 4), *signals(5, 20, firing=False))
    assert (await group.look(at=10)).detected is Detected.NO


async def test_distinct_resources_reach_the_threshold_of_resources(group: Group) -> None:
    group.terms = replace(TERMS, threshold_signals=1000, threshold_resources=3)
    await group.fold(signal(1, "a"), signal(2, "b"), signal(3, "b"))
    assert (await group.look(at=10)).detected is Detected.NO
    await group.fold(signal(4, "c"))
    assert (await group.look(at=10)).detected is Detected.BY_RESOURCES


async def test_threshold_of_resources_beyond_the_listed_ones_is_reached(group: Group) -> None:
    group.terms = replace(TERMS, threshold_signals=1000, threshold_resources=30, resources=3)
    await group.fold(*signals(1, 20))
    assert (await group.look(at=10)).detected is Detected.NO
    await group.fold(*signals(21, 40))
    assert (await group.look(at=10)).detected is Detected.BY_RESOURCES


@pytest.mark.parametrize(
    ("at", "window", "detected"),
    [
        pytest.param(60_000, 0, Detected.BY_SIGNALS, id="at the end of the window"),
        pytest.param(60_001, 60_001, Detected.NO, id="after it"),
    ],
)
async def test_signals_after_the_window_begin_a_new_one(
    group: Group, at: int, window: int, detected: Detected
) -> None:
    await group.fold(*signals(1, 4))
    await group.fold(signal(5), at=at)
    storm = await group.look(at=at)
    assert (storm.window_ms, storm.detected) == (T0 + window, detected)


async def test_storm_stays_detected(group: Group) -> None:
    await group.fold(*signals(1, 5))
    await group.fold(signal(6), at=500_000)
    storm = await group.look(at=500_000)
    assert (storm.detected, storm.window_ms) == (Detected.BY_SIGNALS, T0)


DISCARDING = replace(TERMS, discard=True)


@pytest.mark.parametrize(
    ("terms", "firing", "due"),
    [
        pytest.param(TERMS, True, 1_000, id="request after hold"),
        pytest.param(DISCARDING, True, 60_000, id="discard after within"),
        pytest.param(TERMS, False, 60_000, id="nothing firing: discard after within"),
    ],
)
async def test_first_look_is_when_something_is_to_be_decided(
    group: Group, terms: Terms, firing: bool, due: int
) -> None:
    group.terms = terms
    assert (await group.fold(signal(1, firing=firing))).due_ms == T0 + due
    assert await group.claim(at=due - 1) is None
    assert await group.claim(at=due) is not None


@pytest.mark.parametrize(
    ("terms", "firing", "undecided"),
    [
        pytest.param(TERMS, [False], Reason.NOTHING_FIRING, id="nothing fires"),
        pytest.param(DISCARDING, [False] * 5, Reason.NOTHING_FIRING, id="nothing fires, however much"),
        pytest.param(TERMS, [False, True], None, id="a request below the threshold"),
        pytest.param(DISCARDING, [True] * 4, Reason.BELOW_THRESHOLD, id="one below the threshold"),
        pytest.param(DISCARDING, [True] * 5, None, id="exactly at the threshold"),
        pytest.param(replace(TERMS, group_wait_ms=5000), [True], None, id="a groupWait of 5 s"),
        pytest.param(replace(TERMS, group_wait_ms=5001), [True], Reason.GROUP_WAIT, id="a longer one"),
        pytest.param(replace(TERMS, group_wait_ms=5001), [True] * 5, None, id="which the threshold ends"),
    ],
)
async def test_answer_says_why_no_request_is_to_be_made_so_far(
    group: Group, terms: Terms, firing: list[bool], undecided: Reason | None
) -> None:
    group.terms = terms
    reports = [signal(number, firing=fires) for number, fires in enumerate(firing, 1)]
    first = await group.fold(*reports)
    again = await group.fold(*reports, known=(1, len(firing)))
    storm = await group.look(at=10)
    assert [(answer.open, answer.undecided) for answer in (first, again)] == [(True, undecided)] * 2
    await group.ack(storm, at=10)
    written = await group.fold(*reports, known=(1, len(firing)))
    assert written.undecided is None, "there is a request"
    await group.freeze_and_close(at=20)
    assert (await group.fold(*reports)).undecided is None, "there is no group"


async def test_firing_signal_brings_the_look_at_a_resolved_one_forward(group: Group) -> None:
    await group.fold(signal(1, firing=False))
    assert (await group.fold(signal(2), at=500)).due_ms == T0 + 1000
    storm = await group.claim(at=1000)
    assert storm is not None
    assert (storm.total, storm.firing_signals) == (2, 1)


# --- bounds


async def test_five_thousand_resources_are_counted_within_two_percent(group: Group, redis: Valkey) -> None:
    for first in range(1, 5001, 250):
        await group.fold(*signals(first, first + 249))
    storm = await group.look(at=10)
    assert (storm.total, storm.truncated, len(storm.resources)) == (5000, True, 25)
    assert abs(storm.resource_count - 5000) <= 100
    assert redis.command("HLEN", keys.resources(group.partition, group.group_hash)) == 25
    assert len(fields_of(redis, group.storm_key)) <= 36


async def test_resources_at_the_limit_are_exact_and_one_more_is_an_estimate(group: Group) -> None:
    group.terms = replace(TERMS, resources=3)
    await group.fold(*signals(1, 3))
    storm = await group.look(at=10)
    assert (storm.truncated, storm.resource_count) == (False, 3)
    await group.fold(signal(4, "web-4"), signal(5, "web-1"))
    storm = await group.look(at=10)
    assert (storm.truncated, storm.resource_count) == (True, 4)
    assert storm.resources == ((pod("web-1"), 2), (pod("web-2"), 1), (pod("web-3"), 1))


async def test_lost_estimate_never_goes_back(group: Group) -> None:
    group.terms = replace(TERMS, resources=2)
    seed = replace(SEED, truncated=True, resource_count=5000)
    await group.fold(signal(101, "web-9"), seed=seed)
    storm = await group.look(at=10)
    assert (storm.truncated, storm.resource_count) == (True, 5000)


async def test_listed_resources_of_a_continued_storm_are_counted_beside_new_ones(group: Group) -> None:
    group.terms = replace(TERMS, resources=2)
    await group.fold(*(signal(version, f"web-{version}") for version in range(101, 106)), seed=SEED)
    storm = await group.look(at=10)
    assert (storm.truncated, storm.resource_count) == (True, 7)


async def test_resource_of_any_length_is_listed(group: Group) -> None:
    target = Target("a" * 100, "K" * 63, "n" * 253, "s" * 63)
    await group.fold(signal(1, target), signal(2, target))
    assert (await group.look(at=10)).resources == ((target, 2),)


async def test_large_resource_version_is_kept_exactly(group: Group) -> None:
    await group.fold(signal(2**53 - 2, seen_ms=T0))
    answer = await group.fold(signal(2**53 - 2, seen_ms=T0), signal(2**53 - 1, seen_ms=T0), known=(1, 1))
    assert (answer.ordinals, (await group.look(at=10)).through) == ([1, 2], 2**53 - 1)
