"""A group's page of the accounting: what was sent, what was said of it, and what its requests count.

A request lists up to 1,000 of its alerts; so many of the others may count twice as it says (`unlisted`).
An alert that was answered as discarded must be in none, unless Redis has lost something
since it was sent. One that was answered as pending and nothing else may be counted or not; it is asked about
in the end.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import Any

from tests.chaos.stream import Occurrence, Way

Manifest = Mapping[str, Any]


class Said(Enum):
    """What was answered of an alert."""

    ACCEPTED = auto()
    DISCARDED = auto()
    PENDING = auto()


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that happened to a group, for its history."""

    at: float
    what: str


@dataclass(frozen=True, slots=True)
class Shown:
    """What a request said."""

    name: str
    group_hash: str
    epoch: int
    phase: str
    total: int
    folded: int
    unlisted: int
    incarnation: str
    """Incarnation, and the one it was continued from."""
    pods: Mapping[str, int]
    reason: str = "NewSignals"
    """Why it opened."""
    remediation: str = ""
    """What its consumer says."""

    @classmethod
    def read(cls, request: Manifest) -> Shown:
        """Of a request as the API server gives it."""
        status = request.get("status") or {}
        kept = status.get("continuation") or {}
        pods: Counter[str] = Counter()
        for resource in status.get("resources", ()):
            pods[resource["name"]] += resource["signals"]
        return cls(
            request["metadata"]["name"],
            request["spec"].get("groupHash", ""),
            request["spec"]["epoch"],
            status.get("phase", ""),
            (status.get("signals") or {}).get("total", 0),
            kept.get("folded", 0),
            kept.get("unlistedAlerts", 0),
            f"{kept.get('incarnation', '')} of {kept.get('origin') or 'nothing'}",
            pods,
            request["spec"].get("reason", "NewSignals"),
            (status.get("remediation") or {}).get("phase", ""),
        )


@dataclass(frozen=True, slots=True)
class Account:
    """What became of one group's signals."""

    group: str
    sent: int
    counted: int
    discarded: int
    pending: int
    """Alerts of which nothing else was said, and that no request counts."""
    lost: int
    twice: int
    unlisted: int
    """Counted once more by requests that do not list all their alerts, and say so."""
    edited: int
    """Signals and Events counted once more by a known edge: they were edited, or happened again, while nobody
    led and Redis was emptied."""
    storms: int
    requests: int
    """As many as there are storms, unless something is wrong."""
    problems: tuple[str, ...]
    """What else is not as it must be."""

    @property
    def wrong(self) -> bool:
        """Whether anything is."""
        return bool(self.lost or self.twice or self.problems or self.requests != self.storms)


@dataclass
class Ledger:
    """One group's page."""

    sent: dict[Occurrence, float] = field(default_factory=dict)
    """When each occurrence was first sent."""
    edited: Counter[str] = field(default_factory=Counter)
    """Pod to how often a Signal about it may count once more by the known edge."""
    discarded: Counter[str] = field(default_factory=Counter)
    """Pod to how many Signals about it say so."""
    told: dict[Occurrence, set[Said]] = field(default_factory=dict)
    """What was answered of each alert."""
    requests: dict[str, Shown] = field(default_factory=dict)
    """Name to what it said last."""
    counts: list[tuple[float, int]] = field(default_factory=list)
    """When the sum over the requests rose, and to what."""
    problems: list[str] = field(default_factory=list)
    history: list[Entry] = field(default_factory=list)

    def _is_told_of_a_later_one(self, one: Occurrence) -> bool:
        """Whether an alert that was taken was later answered as discarded since it had begun anew meanwhile,
        and that was discarded: what is known of an alert is its latest start."""
        later = replace(one, repeat=one.repeat + 1)
        return Said.ACCEPTED in self.told[one] and Said.DISCARDED in self.told.get(later, ())

    def account(self, group: str, last_loss: float = -math.inf) -> Account:
        """Compare. What was sent before `last_loss` and answered as discarded may have been lost, folded
        again, and counted."""
        sent, counted = Counter(one.pod for one in self.sent), Counter[str]()
        problems = list(self.problems)
        for shown in self.requests.values():
            counted.update(shown.pods)
            if shown.total != sum(shown.pods.values()):
                problems.append(f"{shown.name} counts {shown.total} but lists {sum(shown.pods.values())}")
        discarded = [
            one
            for one, said in self.told.items()
            if Said.DISCARDED in said and not self._is_told_of_a_later_one(one)
        ]
        for_good = [one for one in discarded if self.sent[one] > last_loss]
        problems += [
            f"{one} was answered as discarded and as accepted"
            for one in for_good
            if Said.ACCEPTED in self.told[one]
        ]
        problems += [f"{one} is pending for ever" for one in self.pending() if not self.begins_anew(one)]
        told = Counter(one.pod for one in discarded)
        # Of a post without an answer nobody has promised anything, nor of what is pending: it may be counted,
        # or not.
        owed = Counter(one.pod for one in self.sent if one.way is not Way.WEBHOOK or self._is_decided(one))
        pending = Counter(one.pod for one in self.pending()) - (counted + self.discarded + told - owed)
        lost = sum((owed - counted - self.discarded - told).values())
        more = counted + self.discarded + Counter(one.pod for one in for_good) - sent
        edited = more & self.edited
        again = sum((more - edited).values())
        unlisted = min(again, sum(shown.unlisted for shown in self.requests.values()))
        storms: defaultdict[str, list[int]] = defaultdict(list)
        for shown in self.requests.values():
            storms[shown.group_hash].append(shown.epoch)
        for group_hash, epochs in storms.items():
            if sorted(epochs) != list(range(1, len(epochs) + 1)):
                problems.append(f"the epochs of {group_hash} are {sorted(epochs)}")
        new = [shown for shown in self.requests.values() if shown.reason != "StillFiring"]
        empty = [shown.name for shown in new if shown.total == 0]
        if empty:
            problems.append(f"requests without a signal: {', '.join(empty)}")
        return Account(
            group,
            len(self.sent),
            sum(counted.values()),
            sum((self.discarded + told).values()),
            sum(pending.values()),
            lost,
            again - unlisted,
            unlisted,
            sum(edited.values()),
            sum(len(set(epochs)) for epochs in storms.values()),
            len(self.requests),
            tuple(problems),
        )

    def pending(self) -> list[Occurrence]:
        """The alerts that were answered as pending and as nothing else."""
        return [one for one, said in self.told.items() if said == {Said.PENDING}]

    def _is_decided(self, one: Occurrence) -> bool:
        return not self.told.get(one, set()) <= {Said.PENDING}

    def begins_anew(self, one: Occurrence) -> bool:
        """Whether the alert has a later start, after which nobody can ask about this one."""
        return replace(one, repeat=one.repeat + 1) in self.sent


def worst_delay(ledger: Ledger) -> float:
    """The n-th signal sent has been counted once the sum has reached n; what was Discarded is left out."""
    times: list[float] = []
    for at in ledger.sent.values():
        insort(times, at)
    sums = [total for _, total in ledger.counts]
    worst = 0.0
    for place, at in enumerate(times, start=1):
        found = bisect_left(sums, place)
        if found < len(sums):
            worst = max(worst, ledger.counts[found][0] - at)
    return worst
