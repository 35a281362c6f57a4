"""Stream: what is sent, and when. A seed makes a plan, the same one each time; nothing is sent here.

A plan counts `Occurrence`s: each is to be counted once, in a request of its group, under its pod. Times are
seconds from the beginning.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto

GROUPS = 40
SIGNALS = 5_000
ALERTS = 15_400
SECONDS = 30.0
"""How long the stream lasts; storms close after 3 s of quiet, so that most groups have several."""
PODS = 12
"""Of a group: fewer than a request lists, so that each one's count is exact and can be compared."""
POST = (5, 60)
"""Alerts in one post."""
SMALL_POST = (1, 9)
"""The same where few alerts may be discarded."""
ENDING = (0.15, 1.0)
"""The share of its posts that a group tells the end of, as one or the other."""
EVENTS = 120
"""Kubernetes Events; most occur more than once."""
MOST_ALERTS = 2_000
"""Of a group. The alerts of up to 4,096 are known one by one; what is beyond is estimated, and not what this
is about."""
PORTION_SECONDS = 0.25
"""Signals of a burst that are created together."""


class Way(Enum):
    """How the signals of a group come in."""

    SIGNALS = auto()
    WEBHOOK = auto()
    BOTH = auto()
    EVENTS = auto()
    """As Kubernetes Events, which occur again and again."""


class Law(Enum):
    """Which policy governs a group."""

    TEAM = auto()
    """A StormPolicy: storms close when they are quiet."""
    BRISK = auto()
    """A StormPolicy: storms close although signals come, and Signals are deleted soon after they were
    counted."""
    DISCARD = auto()
    """A StormPolicy: what stays below the threshold makes no request."""
    CLUSTER = auto()
    """A ClusterStormPolicy: signals of two namespaces make one storm, by their node."""
    EVENTS = auto()
    """A StormPolicy that takes Kubernetes Events."""
    MANY = auto()
    """A StormPolicy with more groups than may have open storms: those beyond wait."""


NAMESPACES = {
    Law.TEAM: ("chaos-team",),
    Law.BRISK: ("chaos-brisk",),
    Law.DISCARD: ("chaos-discard",),
    Law.CLUSTER: ("chaos-east", "chaos-west"),
    Law.EVENTS: ("chaos-events",),
    Law.MANY: ("chaos-many",),
}
PLATFORM = "chaos-platform"
"""Where the requests of the cluster-wide policy are made."""

SHARES = (
    *((Law.TEAM, Way.SIGNALS),) * 5,
    *((Law.TEAM, Way.WEBHOOK),) * 6,
    *((Law.TEAM, Way.BOTH),) * 3,
    *((Law.BRISK, Way.SIGNALS),) * 2,
    *((Law.BRISK, Way.WEBHOOK),) * 3,
    *((Law.BRISK, Way.BOTH),) * 2,
    *((Law.DISCARD, Way.SIGNALS),) * 3,
    *((Law.DISCARD, Way.WEBHOOK),) * 2,
    *((Law.DISCARD, Way.BOTH),),
    *((Law.CLUSTER, Way.SIGNALS),) * 2,
    *((Law.CLUSTER, Way.WEBHOOK),) * 3,
    *((Law.CLUSTER, Way.BOTH),),
    *((Law.EVENTS, Way.EVENTS),) * 3,
    *((Law.MANY, Way.SIGNALS),) * 2,
    (Law.MANY, Way.WEBHOOK),
    (Law.MANY, Way.BOTH),
)
assert len(SHARES) == GROUPS


@dataclass(frozen=True, slots=True)
class Group:
    """Signals that belong together."""

    name: str
    """Of all its signals; no other group has it."""
    law: Law
    way: Way

    @property
    def home(self) -> str:
        """The namespace of its requests."""
        return PLATFORM if self.law is Law.CLUSTER else NAMESPACES[self.law][0]

    def place(self, number: int) -> str:
        """The namespace of its signal of that number."""
        namespaces = NAMESPACES[self.law]
        return namespaces[number % len(namespaces)]

    def pod(self, number: int) -> str:
        """The pod that its signal of that number is about."""
        return f"{self.name}-pod-{number % PODS:02}"


@dataclass(frozen=True, slots=True)
class Occurrence:
    """What is to be counted once."""

    group: Group
    number: int
    way: Way = Way.SIGNALS
    repeat: int = 0
    """A Signal whose spec was changed, an alert that fires anew, or an Event that happens again, is a further
    occurrence."""

    @property
    def pod(self) -> str:
        """What it is about."""
        return self.group.pod(self.number)


@dataclass(frozen=True, slots=True)
class Create:
    """Signals are created; a tenth of them says Resolved where the policy can live with that."""

    at: float
    group: Group
    numbers: tuple[int, ...]
    resolved: frozenset[int]


@dataclass(frozen=True, slots=True)
class Touch:
    """An annotation is written to a Signal: it comes again, and is no further occurrence."""

    at: float
    group: Group
    number: int


@dataclass(frozen=True, slots=True)
class Raise:
    """The spec of a Signal is changed, once it has been counted: a further occurrence."""

    at: float
    group: Group
    number: int


@dataclass(frozen=True, slots=True)
class Happen:
    """An Event has happened so often: it is made, or its count is raised."""

    at: float
    group: Group
    number: int
    count: int


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert of a post."""

    occurrence: Occurrence
    starts: float
    """Seconds from the beginning, as everything here."""
    firing: bool = True


@dataclass(frozen=True, slots=True)
class Post:
    """Alerts are posted to a replica, and on failure to the others, until one says 200."""

    at: float
    alerts: tuple[Alert, ...]
    replica: int
    copies: tuple[tuple[float, int], ...] = ()
    """The same alerts in another order: so many seconds after they were first posted, to that replica."""
    resolve_after: float | None = None
    """So long after they were taken, they are posted as resolved."""


Move = Create | Touch | Raise | Happen | Post


@dataclass(frozen=True)
class Plan:
    """All that is sent, in the order of time."""

    groups: tuple[Group, ...]
    moves: tuple[Move, ...]
    strangers: int
    """Signals that speak for another namespace, to be rejected."""


def planned(seed: int, *, seconds: float = SECONDS, signals: int = SIGNALS, alerts: int = ALERTS) -> Plan:
    """The plan of a seed."""
    dice = random.Random(f"stream {seed}")
    groups = tuple(Group(f"storm-{n:02}", law, way) for n, (law, way) in enumerate(SHARES))
    by_signal = [group for group in groups if group.way in {Way.SIGNALS, Way.BOTH}]
    by_webhook = [group for group in groups if group.way in {Way.WEBHOOK, Way.BOTH}]
    by_event = [group for group in groups if group.way is Way.EVENTS]
    moves: list[Move] = []
    for group, count in zip(by_signal, _shared(dice, signals, len(by_signal), most=signals), strict=True):
        moves += _signals(dice, group, count, seconds)
    for group, count in zip(
        by_webhook, _shared(dice, alerts, len(by_webhook), most=MOST_ALERTS), strict=True
    ):
        moves += _posts(dice, group, count, seconds)
    for group, count in zip(by_event, _shared(dice, EVENTS, len(by_event), most=EVENTS), strict=True):
        moves += _events(dice, group, count, seconds)
    return Plan(groups, tuple(sorted(moves, key=lambda move: move.at)), strangers=12)


def _shared(dice: random.Random, total: int, parts: int, *, most: int) -> list[int]:
    """The total in uneven parts, each of at least a quarter of the mean."""
    least = total // parts // 4
    weights = [dice.expovariate(1) + 0.1 for _ in range(parts)]
    counts = [min(most, least + int((total - least * parts) * w / sum(weights))) for w in weights]
    while (short := total - sum(counts)) > 0:
        place = min(range(parts), key=lambda n: counts[n])
        counts[place] += min(short, max(1, short // 4))
    return counts


def _bursts(dice: random.Random, count: int, seconds: float) -> Iterator[tuple[float, float, int]]:
    """Begin, end and size of the bursts of a group: between most of them its storm closes."""
    number = dice.choice((1, 2, 2, 3, 3, 4))
    begins = sorted(dice.uniform(0, seconds * 0.9) for _ in range(number))
    left = count
    for place, begin in enumerate(begins):
        size = left if place == number - 1 else left // (number - place)
        left -= size
        yield begin, min(seconds, begin + dice.uniform(0.5, 8.0)), size


def _signals(dice: random.Random, group: Group, count: int, seconds: float) -> Iterator[Move]:
    number = 0
    for begin, end, size in _bursts(dice, count, seconds):
        portions = max(1, int((end - begin) / PORTION_SECONDS))
        for portion in range(portions):
            at = begin + (end - begin) * portion / portions
            upto = number + size * (portion + 1) // portions - size * portion // portions
            numbers = tuple(range(number, upto))
            number = upto
            if not numbers:
                continue
            # Where Signals are deleted soon, nobody can tell in the end whether one was Discarded.
            tells = group.law is not Law.BRISK
            resolved = frozenset(n for n in numbers if tells and dice.random() < 0.1)
            yield Create(at, group, numbers, resolved)
            for one in numbers:
                if group.law is not Law.MANY and dice.random() < 0.04:
                    yield Touch(at + dice.uniform(0.1, 8.0), group, one)
                # Of a Signal that was Discarded and then raised, the status would tell of the second
                # occurrence only.
                told = group.law in {Law.TEAM, Law.CLUSTER} and one not in resolved
                if told and dice.random() < 0.04:
                    yield Raise(at + dice.uniform(4.0, 10.0), group, one)


def _posts(dice: random.Random, group: Group, count: int, seconds: float) -> Iterator[Move]:
    number = 0
    # Alerts that fire hold their storm open: half of the groups end all of theirs, and have several storms.
    ending = dice.choice(ENDING)
    for begin, end, size in _bursts(dice, count, seconds):
        stop = number + size
        while number < stop:
            at = dice.uniform(begin, end)
            post = SMALL_POST if group.law is Law.DISCARD else POST
            numbers = range(number, min(stop, number + dice.randint(*post)))
            number = numbers.stop
            alerts = tuple(Alert(Occurrence(group, n, Way.WEBHOOK), starts=at) for n in numbers)
            yield Post(at, alerts, dice.randrange(3), _copies(dice), _resolve_after(dice, ending))
            again = tuple(n for n in numbers if dice.random() < 0.02)
            if again:
                # It fires anew: a later start of the same fingerprint, by a whole second at least.
                later = at + dice.uniform(0.3, 6.0)
                fired = tuple(Alert(Occurrence(group, n, Way.WEBHOOK, 1), starts=at + 1.25) for n in again)
                over = _resolve_after(dice, ending) if ending == 1 else None
                yield Post(max(0.0, later), fired, dice.randrange(3), _copies(dice), over)


def _events(dice: random.Random, group: Group, count: int, seconds: float) -> Iterator[Move]:
    number = 0
    for begin, end, size in _bursts(dice, count, seconds):
        for one in range(number, number + size):
            at, happened = dice.uniform(begin, end), 1
            yield Happen(at, group, one, happened)
            for _ in range(dice.choice((0, 1, 2, 4))):
                at += dice.uniform(0.2, 5.0)
                happened += dice.choice((1, 1, 3))
                if at < seconds:
                    yield Happen(at, group, one, happened)
        number += size


def _copies(dice: random.Random) -> tuple[tuple[float, int], ...]:
    number = dice.choices((0, 1, 2), (6, 3, 1))[0]
    return tuple(
        (dice.choice((0.0, dice.uniform(0, 2), dice.uniform(2, 9))), dice.randrange(3)) for _ in range(number)
    )


def _resolve_after(dice: random.Random, ending: float) -> float | None:
    return dice.uniform(0.5, 8.0) if dice.random() < ending else None
