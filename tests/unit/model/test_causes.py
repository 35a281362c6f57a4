"""Bounded counters of values: nothing that is sure is wrong."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from stormfold.model.causes import COUNTED_VALUES, NOTHING_COUNTED, Counted, Sum
from stormfold.model.evidence import NameCount


def counted(of: list[str], batch: int) -> Counted:
    """These, counted in batches of which the most frequent values are told."""
    so_far = NOTHING_COUNTED
    for first in range(0, len(of), batch):
        counts = Counter(of[first : first + batch]).most_common()
        told, rest = counts[:COUNTED_VALUES], counts[COUNTED_VALUES:]
        left_out = rest[0][1] if rest else 0
        so_far = so_far.and_then(dict(told), left_out=left_out, signals=sum(Counter(dict(counts)).values()))
    return so_far


def mixture(seed: int, *, share: int) -> list[str]:
    """A value that so many in a hundred have, among values of many frequencies."""
    letters = random.Random(seed)
    some = ["it"] * share + [f"v{letters.randint(1, letters.randint(1, 60))}" for _ in range(100 - share)]
    letters.shuffle(some)
    return some


def assert_sure(of: list[str], said: Counted) -> None:
    true = Counter(of)
    assert said.signals == len(of)
    assert len(said.values) <= COUNTED_VALUES
    for value, (signals, others) in said.values.items():
        assert signals <= true[value] <= signals + others
    assert all(true[value] <= said.floor for value in true.keys() - said.values.keys())


@pytest.mark.parametrize("batch", [1, 3, 10, 100])
@pytest.mark.parametrize("seed", range(20))
def test_what_is_sure_is_true_and_a_frequent_value_is_nearly_exact(seed: int, batch: int) -> None:
    of = mixture(seed, share=60)
    said = counted(of, batch)
    assert_sure(of, said)
    assert said.values["it"].signals >= 57


@pytest.mark.parametrize("seed", range(20))
def test_sum_of_parts_is_sure_too_and_without_one_it_is_that_of_the_others(seed: int) -> None:
    parts = [mixture(100 * seed + n, share=10 * n) for n in range(4)]
    each = [counted(part, 7) for part in parts]
    total, others = sum_of(each), sum_of(each[:3])
    true = Counter(value for part in parts for value in part)
    assert total.signals == 400
    assert all(true[value] <= total.most(value) for value in true)
    rest = total.without(each[3])
    assert rest.signals == others.signals == 300
    assert {value: rest.most(value) for value in true} == {value: others.most(value) for value in true}
    for some in ([], ["it"], ["it", "v1", "unheard of"], list(each[3].values)):
        assert rest.values_beside(some) == others.values_beside(some)
    total.take(each[3])
    assert {value: total.most(value) for value in true} == {value: others.most(value) for value in true}
    assert total.values_beside([]) == others.values_beside([])


def sum_of(parts: list[Counted]) -> Sum:
    """What these have counted."""
    total = Sum()
    for part in parts:
        total.add(part)
    return total


def test_few_values_are_counted_exactly() -> None:
    said = NOTHING_COUNTED.and_then({"a": 3, "b": 1}, left_out=0, signals=5)
    assert said.and_then({"b": 2}, left_out=0, signals=2) == Counted(
        {"a": NameCount(3), "b": NameCount(3)}, 0, 7
    )


def test_of_signals_that_nobody_told_of_any_value_may_be() -> None:
    said = Counted({"a": NameCount(3)}, 0, 5).and_unknown(2)
    assert said == Counted({"a": NameCount(3, others=2)}, 2, 7)


def test_what_others_are_told_is_no_surer_than_what_is_known() -> None:
    said = Counted({"a": NameCount(70, others=1), "b": NameCount(29)}, 1, 100).scaled(50)
    assert said == Counted({"a": NameCount(35, others=1), "b": NameCount(14, others=1)}, 1, 50)
    few = Counted({"a": NameCount(3)}, 0, 5)
    assert few.scaled(50) is few
