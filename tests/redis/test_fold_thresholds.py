"""fold.lua: when a group becomes a storm, when it is looked at, and how much of it is kept."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.harness.folding import T0, TERMS, Group, fields_of, pod, signal, signals
from tests.harness.seeds import SEED

from lab.valkey import Valkey
from stormfold.api.reason import Reason
from stormfold.api.reasons.signals import SignalReason
from stormfold.fold import keys
from stormfold.model.arrival import Target
from stormfold.model.storm import Detected, Terms

pytestmark = pytest.mark.usefixtures("one_incarnation")


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
        pytest.param(TERMS, [False], SignalReason.NOTHING_FIRING, id="nothing fires"),
        pytest.param(DISCARDING, [False] * 5, SignalReason.NOTHING_FIRING, id="nothing fires, however much"),
        pytest.param(TERMS, [False, True], None, id="a request below the threshold"),
        pytest.param(DISCARDING, [True] * 4, SignalReason.BELOW_THRESHOLD, id="one below the threshold"),
        pytest.param(DISCARDING, [True] * 5, None, id="exactly at the threshold"),
        pytest.param(replace(TERMS, group_wait_ms=5000), [True], None, id="a groupWait of 5 s"),
        pytest.param(replace(TERMS, group_wait_ms=5001), [True], SignalReason.GROUP_WAIT, id="a longer one"),
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
