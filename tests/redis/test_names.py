"""How often each name has come, where the signals of a storm have several."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
from tests.harness.folding import Group, alert, event, resolved, signal
from tests.harness.values import T0, version

from lab.valkey import Valkey
from stormfold.fold import keys
from stormfold.fold.showing import Shown
from stormfold.model.arrival import Arrival
from stormfold.model.evidence import NameCount
from stormfold.model.limits import COUNTED_NAMES
from stormfold.model.storm import Seed

SHOWING = version(groupBy=["node"], evidence={"samples": 0}).showing
SHOWN = Shown(SHOWING)


async def count(group: Group, *arrivals: Arrival, seed: Seed | None = None) -> None:
    """Count them in one call."""
    fold = replace(group.fold_of(*arrivals, seed=seed), shown=SHOWN)
    await group.store.fold(group.partition, [fold], now_ms=T0)


async def names(group: Group) -> dict[str, NameCount]:
    """The names, the most frequent first."""
    return dict((await group.look(at=10)).evidence.names)


def named(*of: str, first: int = 1) -> list[Arrival]:
    """Signals of these names."""
    return [signal(number, f"web-{number}", name=name) for number, name in enumerate(of, first)]


async def test_names_are_counted_and_the_most_frequent_comes_first(group: Group, redis: Valkey) -> None:
    await count(group, *named("B", "A", "B"))
    await count(group, *named("C", "B", "C", first=4))
    assert await names(group) == {"B": NameCount(3), "C": NameCount(2), "A": NameCount(1)}
    assert list(await names(group)) == ["B", "C", "A"]
    flat = redis.command("HGETALL", keys.names(group.partition, group.group_hash))
    assert isinstance(flat, list)
    assert dict(zip(flat[::2], flat[1::2], strict=True)) == {"A": "1", "B": "3", "C": "2"}


async def test_signal_that_is_sent_again_counts_its_name_once(group: Group) -> None:
    await count(group, *named("A", "B"))
    await count(group, *named("A", "B", "B"))
    assert await names(group) == {"B": NameCount(2), "A": NameCount(1)}


async def test_repeats_and_ends_of_alerts_count_no_names(group: Group) -> None:
    a, b, c = (replace(alert(name), name=name[0]) for name in ("A1", "B1", "B2"))
    await count(group, a, b, c)
    await count(group, a, replace(resolved("B1"), name="B"), replace(alert("B2", 7), name="B"))
    assert await names(group) == {"B": NameCount(3), "A": NameCount(1)}


async def test_events_count_their_names_as_often_as_they_have_occurred(group: Group) -> None:
    await count(group, event("1", 1, 3, name="BackOff"), event("2", 2, 1, name="Failed"))
    await count(group, event("1", 3, 5, name="BackOff"))
    assert await names(group) == {"BackOff": NameCount(5), "Failed": NameCount(1)}


async def test_long_and_hostile_names_stay_apart(group: Group) -> None:
    long = "x" * 200
    await count(group, *named(f"{long}1", f"{long}2", "\x1b[31mA", "A"))
    assert sorted((len(name.encode()), of.signals) for name, of in (await names(group)).items()) == [
        *((1, 2), (63, 1), (63, 1)),
    ]


def mixture(seed: int, frequent: int, rare: int) -> list[str]:
    """Names in random order: some that come often, and many that come once or twice."""
    letters = random.Random(seed)
    some = [f"Often{n}" for n in range(frequent) for _ in range(60 - 5 * n)]
    some += [f"Rare{n}" for n in range(rare) for _ in range(1 + n % 2)]
    letters.shuffle(some)
    return some


@pytest.mark.parametrize("seed", range(4))
async def test_no_count_is_too_high_and_none_that_is_exact_is_wrong(group: Group, seed: int) -> None:
    of = mixture(seed, frequent=8, rare=200)
    for first in range(0, len(of), 50):
        await count(group, *named(*of[first : first + 50], first=first + 1))
    true, counted = Counter(of), await names(group)
    assert len(counted) <= COUNTED_NAMES
    for name, (signals, others) in counted.items():
        assert signals <= true[name] <= signals + others
    assert {f"Often{n}" for n in range(5)} <= counted.keys()


async def test_names_that_all_differ_take_bounded_room_and_claim_nothing(group: Group, redis: Valkey) -> None:
    for first in range(1, 2001, 100):
        of = (f"Alert{number:04}" for number in range(first, first + 100))
        await count(group, *named(*of, first=first))
    counted = await names(group)
    assert len(counted) == COUNTED_NAMES
    assert {of.signals for of in counted.values()} == {1}
    assert all(of.others for of in counted.values())
    used = redis.command("MEMORY", "USAGE", keys.names(group.partition, group.group_hash), "SAMPLES", 0)
    assert isinstance(used, int)
    assert used < 1024


def seed(names_: Sequence[tuple[str, NameCount]], floor: int = 0, total: int = 9) -> Seed:
    """What a request says that has counted names."""
    return Seed(
        1,
        closed=False,
        incarnation="before",
        total=total,
        folded=total,
        through=total,
        names=dict(names_),
        names_floor=floor,
    )


async def test_names_are_counted_on_from_the_request(group: Group) -> None:
    before = seed([("A", NameCount(6)), ("B", NameCount(3))])
    await count(group, *named("B", "C", first=10), seed=before)
    assert await names(group) == {"A": NameCount(6), "B": NameCount(4), "C": NameCount(1)}


async def test_after_a_loss_a_name_that_the_request_does_not_show_is_an_estimate(group: Group) -> None:
    before = seed([("A", NameCount(6, others=1))], floor=3)
    await count(group, *named("B", "A", first=10), seed=before)
    assert await names(group) == {"A": NameCount(7, others=1), "B": NameCount(1, others=3)}


async def test_next_storm_of_the_group_counts_its_own_names(group: Group) -> None:
    await count(group, *named("A", "B"))
    await group.freeze_and_close(at=10)
    await count(group, *named("C", first=3))
    assert await names(group) == {"C": NameCount(1)}


async def test_no_names_are_counted_where_all_have_the_same(group: Group, redis: Valkey) -> None:
    one = Shown(version(evidence={"samples": 0}).showing)
    await group.store.fold(group.partition, [replace(group.fold_of(*named("A", "A")), shown=one)], now_ms=T0)
    assert redis.command("EXISTS", keys.names(group.partition, group.group_hash)) == 0
