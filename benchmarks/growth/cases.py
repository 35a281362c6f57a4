"""The points of each curve, and the order in which they are measured."""

from __future__ import annotations

import itertools
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.growth.load import ACTIVE, Load

DECADES = (1_000, 10_000, 100_000, 1_000_000)
ROUNDS = {1_000: 7, 10_000: 3, 100_000: 1, 1_000_000: 1}
"""How often each number of signals is measured, for a median."""
AT = 100_000
"""Signals where something else grows than their number."""
BESIDE = 3
"""Rounds before and after a case that it is held against."""


@dataclass(frozen=True)
class Case:
    """One point of a curve."""

    load: Load
    replicas: int = 1
    cluster: bool = False

    @property
    def tenth(self) -> Case:
        """By which it is foreseen how long this one takes: a tenth of the signals, or of the storms if each
        has but one."""
        load = self.load
        if load.storms == load.signals:
            return replace(self, load=replace(load, storms=load.storms // 10))
        storms = load.storms // 10 if load.waves else load.storms
        return replace(self, load=replace(load, signals=load.signals // 10, storms=storms))


def few_storms(signals: int, **where: Any) -> Case:
    """Of a hundred storms, however many signals there are."""
    return Case(Load(signals, 100), **where)


def small_storms(signals: int, **where: Any) -> Case:
    """Of ten signals each."""
    return Case(Load(signals, signals // 10, waves=True), **where)


SINGLE = ("100 storms", "10 signals a storm")
"""The curves on one server."""
CURVES: dict[str, dict[int, Case]] = {
    "100 storms": {signals: few_storms(signals) for signals in DECADES},
    "10 signals a storm": {signals: small_storms(signals) for signals in DECADES},
    "100 storms, Cluster": {signals: few_storms(signals, cluster=True) for signals in DECADES},
    "10 signals a storm, Cluster": {signals: small_storms(signals, cluster=True) for signals in DECADES},
}
"""By the number of signals."""
STORMS = {storms: Case(Load(AT, storms)) for storms in (10, 100, 1_000, 10_000, 100_000)}
REPLICAS = {
    (number, cluster): few_storms(AT, replicas=number, cluster=cluster)
    for cluster in (False, True)
    for number in (1, 2, 3)
}


def order() -> list[Case]:
    """Each case as often as it is measured: rounds of all small ones, then the most telling first, while
    there is time.

    What a large case is held against comes right before and after it, too (see `ratio`).
    """
    small = [case for curve in CURVES.values() for case in curve.values() if case.load.signals < AT]
    rounds = [
        case for number in range(max(ROUNDS.values())) for case in small if number < ROUNDS[case.load.signals]
    ]
    single = [case for name in SINGLE for case in CURVES[name].values()]
    large = [
        *sorted(single, key=lambda case: case.load.signals),
        *(REPLICAS[key] for key in ((1, True), (2, False), (3, False))),
        *(STORMS[storms] for storms in (10, 1_000, 10_000)),
        *REPLICAS.values(),
        *(case for curve in CURVES.values() for case in curve.values()),
        *STORMS.values(),
    ]
    bases: dict[Case, list[Case]] = defaultdict(list)
    for curve in CURVES.values():
        for case in curve.values():
            bases[case].append(curve[DECADES[0]])
    for case in REPLICAS.values():
        if case != REPLICAS[1, False]:
            bases[case].append(REPLICAS[1, False])
    for case in dict.fromkeys(large):
        if case.load.signals >= AT:
            beside = [beside_it(base) for base in bases[case]]
            missing = [some for some in beside if rounds[-len(some) :] != some]
            rounds += [*itertools.chain(*missing), case, *itertools.chain(*beside)]
    return rounds


def beside_it(base: Case) -> list[Case]:
    """What is measured before a case, and after it, to hold it against its base."""
    return [base] * (BESIDE if base.load.signals < AT else 1)


def described(case: Case) -> str:
    """For whoever waits, and for `raw`."""
    load = case.load
    turns = f", {ACTIVE} at a time" if load.waves else ""
    replicas = f", {case.replicas} replicas" if case.replicas > 1 else ""
    where = ", Cluster" if case.cluster else ""
    return f"{load.signals:,} signals of {load.storms:,} storms{turns}{replicas}{where}"
