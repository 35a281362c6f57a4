"""The part `growth`: what comes in which order, and what is said of what was left out."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from benchmarks.growth import cases, figures
from benchmarks.growth.cases import BESIDE, CURVES, DECADES, REPLICAS, few_storms, small_storms
from benchmarks.growth.load import ACTIVE, Load
from benchmarks.growth.runs import Cost

COST = Cost(
    operator_us=30, redis_us=10, wall_seconds=1, writes=0.1, redis_mb=2, batch=16, failed_calls=0, began=0
)


def test_every_storm_gets_as_many_signals() -> None:
    for load in (Load(1_000, 100), Load(1_000, 100, waves=True), Load(5_000, 500, waves=True)):
        each = Counter(storm for storm, _ in load.order())
        assert set(each.values()) == {load.signals // load.storms}
        assert len(each) == load.storms


def test_storm_of_a_wave_has_all_its_signals_before_the_next_wave_begins() -> None:
    storms = [storm for storm, _ in Load(5_000, 500, waves=True).order()]
    assert [storm // ACTIVE for storm in storms] == sorted(storm // ACTIVE for storm in storms)


def test_resource_versions_rise() -> None:
    versions = [arrival.ref.resource_version for some in Load(3_000, 100).arrivals() for _, arrival in some]
    assert versions == sorted(set(versions))
    assert len(versions) == 3_000


def test_each_case_is_foreseen_by_one_that_is_measured_before_it() -> None:
    order = cases.order()
    for curve in CURVES.values():
        for signals, case in curve.items():
            if signals > DECADES[0]:
                assert order.index(case.tenth) < order.index(case)


def test_large_case_is_held_against_what_comes_right_before_and_after_it() -> None:
    order = cases.order()
    for first, case in [
        (few_storms(1_000), few_storms(1_000_000)),
        (small_storms(1_000, cluster=True), small_storms(1_000_000, cluster=True)),
    ]:
        place = order.index(case)
        assert order[place - BESIDE : place + 1 + BESIDE] == [first] * BESIDE + [case] + [first] * BESIDE
    for case in (REPLICAS[2, False], REPLICAS[1, True], REPLICAS[3, True]):
        place = order.index(case)
        assert REPLICAS[1, False] in order[place - 1 : place]
        assert REPLICAS[1, False] in order[place + 1 : place + 2 + BESIDE]


def test_ratio_is_to_the_machine_as_it_was_just_then() -> None:
    def at(began: float, us: float) -> Cost:
        return replace(COST, operator_us=us, redis_us=0, began=began)

    # Fast for a second, then half as fast.
    firsts = [
        at(0, 10),
        at(0.3, 10),
        at(0.6, 10),
        at(1, 20),
        at(1.3, 20),
        at(1.6, 20),
        at(9, 20),
        at(9.3, 22),
        at(9.6, 21),
    ]
    costs = {few_storms(1_000): firsts, few_storms(1_000_000): [at(2, 24)]}
    assert figures.reckon(costs) == {"few_storms_ratio": 1.2}


def test_ratio_of_what_was_left_out_is_not_there() -> None:
    costs = {few_storms(1_000): [COST], few_storms(1_000_000): [replace(COST, redis_us=20, began=1)]}
    assert figures.reckon(costs) == {"few_storms_ratio": 1.25}


def test_row_of_what_was_left_out_has_no_figures() -> None:
    row = figures.row("a million", {}, small_storms(1_000_000), small_storms(1_000))
    assert row == ["a million", *[None] * 8, 0, None]
