"""fold.lua: what is counted, once, and what is said of it."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from tests.harness.folding import INCARNATION, OPENED, T0, Group, pod, signal, signals
from tests.harness.seeds import SEED

from lab.valkey import Valkey
from stormfold.api.signal import Severity
from stormfold.fold import keys
from stormfold.fold.replies import Folded, FoldWord
from stormfold.model.arrival import Target

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
