"""The faults of a seed, in the order of time, and by how much a clock is wrong."""

from __future__ import annotations

import random

from tests.chaos.faults.api_server import ApiAnswers, ApiServerKilled, Conflicts, WatchesCut, WatchesExpired
from tests.chaos.faults.fault import Fault
from tests.chaos.faults.operators import (
    AllKilled,
    OperatorKilled,
    OperatorPaused,
    ReplicaWithoutRedis,
    RepliesLost,
    SlowRedis,
)
from tests.chaos.faults.redis import (
    FailOver,
    RedisEmptied,
    RedisFull,
    RedisHangs,
    RedisKept,
    RedisLost,
    RedisRestored,
    ScriptsForgotten,
    SlotsMoved,
)
from tests.chaos.faults.requests import RequestsDeleted


class Dice:
    """What a seed decides about faults."""

    def __init__(self, seed: int, seconds: float) -> None:
        self.dice = random.Random(f"faults {seed}")
        self._seconds = seconds

    def at(self) -> float:
        """A moment of the stream."""
        return self.dice.uniform(2.0, self._seconds - 2.0)

    def lasting(self, least: float, most: float) -> tuple[float, float]:
        """A moment, and for how long."""
        return self.at(), self.dice.uniform(least, most)

    def someone(self) -> int:
        """One of three."""
        return self.dice.randrange(3)

    def likely(self, chance: float = 0.5) -> bool:
        """Whether it is so."""
        return self.dice.random() < chance

    def times(self, least: int, most: int) -> range:
        """How often."""
        return range(self.dice.randint(least, most))


def scheduled(seed: int, run: str, *, seconds: float) -> list[Fault]:
    """The faults of a run, in the order of time."""
    d = Dice(seed, seconds)
    faults = [*_of_operators(d), *_of_any_redis(d), *_of_the_api(d)]
    match run:
        case "main":
            faults += _of_one_redis(d)
        case "sentinel":
            faults += [
                FailOver(*d.lasting(0.5, 2.0), d.dice.choice((0.0, d.dice.uniform(0.2, 1.5))))
                for _ in d.times(2, 3)
            ]
        case "cluster":
            faults += [
                *(
                    SlotsMoved(d.at(), 0.0, tuple(d.dice.sample(range(64), 12)), d.someone())
                    for _ in d.times(3, 4)
                ),
                *(RedisKept(*d.lasting(0.0, 3.0), d.someone()) for _ in d.times(1, 2)),
                *(RedisLost(*d.lasting(0.0, 2.0), d.someone()) for _ in d.times(0, 1)),
            ]
    return sorted(faults, key=lambda fault: fault.at)


def _of_operators(d: Dice) -> list[Fault]:
    return [
        *(OperatorKilled(*d.lasting(0.0, 3.0), d.someone()) for _ in d.times(2, 4)),
        *(OperatorPaused(*d.lasting(0.5, 7.0), d.someone()) for _ in d.times(1, 3)),
        *(AllKilled(*d.lasting(0.2, 2.0), d.likely()) for _ in d.times(0, 1)),
    ]


def _of_any_redis(d: Dice) -> list[Fault]:
    return [
        *(RedisEmptied(d.at(), 0.0) for _ in d.times(1, 2)),
        *(ScriptsForgotten(d.at(), 0.0) for _ in d.times(1, 3)),
        *(RedisFull(*d.lasting(1.0, 4.0)) for _ in d.times(1, 1)),
        *(RedisHangs(*d.lasting(1.0, 6.5)) for _ in d.times(1, 2)),
    ]


def _of_one_redis(d: Dice) -> list[Fault]:
    return [
        *(RedisKept(*d.lasting(0.0, 3.0)) for _ in d.times(1, 2)),
        *(RedisLost(*d.lasting(0.0, 2.0)) for _ in d.times(0, 1)),
        *(RedisRestored(*d.lasting(0.0, 2.0), age=d.dice.uniform(0.5, 5.0)) for _ in d.times(1, 1)),
        *(ReplicaWithoutRedis(*d.lasting(0.2, 5.0), d.someone()) for _ in d.times(1, 2)),
        *(RepliesLost(*d.lasting(0.5, 2.0), d.someone()) for _ in d.times(2, 3)),
        *(SlowRedis(*d.lasting(1.0, 4.0), d.someone()) for _ in d.times(1, 2)),
    ]


def _of_the_api(d: Dice) -> list[Fault]:
    statuses = (0, 429, 500, 503)
    return [
        *(ApiServerKilled(*d.lasting(0.0, 2.0)) for _ in d.times(0, 1)),
        *(ApiAnswers(*d.lasting(0.5, 2.0), d.dice.choice(statuses), d.likely()) for _ in d.times(2, 4)),
        *(Conflicts(*d.lasting(0.5, 3.0)) for _ in d.times(1, 2)),
        *(WatchesCut(d.at(), 0.0) for _ in d.times(1, 3)),
        *(WatchesExpired(d.at(), 0.0) for _ in d.times(1, 2)),
        *(RequestsDeleted(d.at(), 0.0) for _ in d.times(2, 4)),
    ]


def clock_offset(seed: int) -> float:
    """By how many seconds the clock of one operator is wrong, in a third of the seeds."""
    dice = random.Random(f"clock {seed}")
    if dice.random() >= 1 / 3:
        return 0.0
    return dice.choice((-30.0, 30.0)) * dice.uniform(0.2, 1.0)
