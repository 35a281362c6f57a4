"""Accounting: what was sent, what the requests say, and whether the two agree. Pure: who reads and writes is
elsewhere.

Signals are compared pod by pod, so that one that is lost and another that counts twice do not make it even.
A request lists up to 1,000 of its alerts; so many of the others may count twice as it says (`unlisted`).
An alert that was answered as discarded must be in none, unless Redis has lost something
since it was sent. One that was answered as pending and nothing else may be counted or not; it is asked about
in the end.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import Any, NamedTuple

from tests.chaos.stream import Group, Law, Occurrence, Way

from stormfold.model.checkpoint import Checkpoints

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


def above(checkpoints: Checkpoints, occurrence: Occurrence, resource_version: int) -> bool:
    """Whether a Signal or Event of that version is above its checkpoint."""
    kept = checkpoints.events if occurrence.way is Way.EVENTS else checkpoints.signals
    return resource_version > kept.resource_version


class Gap(NamedTuple):
    """From the last sign of a leader to the first of the next one, in seconds from the beginning."""

    begin: float
    end: float


class Leaders:
    """When nobody led, as the Leases say. They are looked at now and then, and on a loaded machine seldom: a
    new leader may have begun at any time between two looks, and nobody may have led for long before."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, str, float]] = {}
        """Lease → its transitions, when it was renewed by its holder's clock, and when that was seen."""

    def look(self, leases: Iterable[Manifest], at: float) -> list[Gap]:
        """Note what the Leases say; gives when nobody led, for each that has changed hands since."""
        gaps = []
        for lease in leases:
            name, spec = lease["metadata"]["name"], lease["spec"]
            transitions, renewed = spec.get("leaseTransitions") or 0, str(spec.get("renewTime"))
            before = self._seen.get(name)
            if before and before[0] != transitions:
                gaps.append(Gap(before[2], at))
            if before is None or before[:2] != (transitions, renewed):
                self._seen[name] = (transitions, renewed, at)
        return gaps


class Accounting:
    """All pages. Times are seconds from the beginning."""

    def __init__(self, groups: Iterable[Group]) -> None:
        groups = list(groups)
        self.ledgers = {group.name: Ledger() for group in groups}
        self._limited = {group.name for group in groups if group.law is Law.MANY}
        self.most_open = 0
        """The most open requests that were seen at once of the policy with a limit."""
        self.most_waiting = 0
        """The most groups that were seen to wait at once."""
        self.losses: Sequence[float] = ()
        """When Redis lost something."""
        self.faults: list[Entry] = []
        self._specs: dict[str, Any] = {}
        self._edits: list[tuple[float, int, Occurrence]] = []
        self._leaders: list[tuple[Checkpoints, float]] = []
        """Of each that began while Redis lost something: the checkpoints, and when it had read all at the
        latest."""
        self._strangers: set[str] = set()

    # --- what is sent

    def sent(self, occurrence: Occurrence, at: float) -> None:
        """An occurrence is sent, or sent again."""
        self.ledgers[occurrence.group.name].sent.setdefault(occurrence, at)

    def answered(self, occurrence: Occurrence, said: Said) -> None:
        """What a replica has said of an alert."""
        self.ledgers[occurrence.group.name].told.setdefault(occurrence, set()).add(said)

    def answered_in_the_end(self, occurrence: Occurrence, said: Said) -> None:
        """The same, of an alert that is over by now: it tells of those that were pending. Of one with a later
        start it tells what became of that."""
        ledger = self.ledgers[occurrence.group.name]
        if ledger.told.get(occurrence) == {Said.PENDING} and not ledger.begins_anew(occurrence):
            self.answered(occurrence, said)

    def refused(self, occurrence: Occurrence, why: str) -> None:
        """A replica has rejected an alert."""
        self.ledgers[occurrence.group.name].problems.append(f"{occurrence} was rejected: {why}")

    def edited(self, occurrence: Occurrence, resource_version: int, at: float) -> None:
        """The metadata of a Signal were edited, or the count of an Event raised, which raised it to that
        resourceVersion."""
        self._edits.append((at, resource_version, occurrence))
        for leader in self._leaders:
            self._allow(leader, self._edits[-1])

    def note(self, group: str, what: str, at: float) -> None:
        """Something for the group's history."""
        self.ledgers[group].history.append(Entry(at, what))

    def fault(self, what: str, at: float) -> None:
        """Something for the history of all groups."""
        self.faults.append(Entry(at, what))

    def led_anew(self, checkpoints: Checkpoints, listed_at: float) -> None:
        """A new leader began, and Redis lost something about that time, while the checkpoints were these.

        What is above the checkpoint for no other reason than an edit may count once more
        (docs/decisions/0001). `listed_at` is when the leader has read all Signals at the latest.
        """
        self._leaders.append((checkpoints, listed_at))
        for edit in self._edits:
            self._allow(self._leaders[-1], edit)

    def _allow(self, leader: tuple[Checkpoints, float], edit: tuple[float, int, Occurrence]) -> None:
        (checkpoints, listed_at), (edited_at, version, occurrence) = leader, edit
        if above(checkpoints, occurrence, version) and edited_at <= listed_at:
            self.ledgers[occurrence.group.name].edited[occurrence.pod] += 1

    # --- what is counted

    def observe(self, requests: Iterable[Manifest], at: float) -> None:
        """What the API server has now, all of it."""
        seen: defaultdict[str, dict[str, Shown]] = defaultdict(dict)
        for request in requests:
            shown = Shown.read(request)
            group = request["spec"]["name"]
            if group not in self.ledgers:
                self._strangers.add(f"{shown.name} is of no group: {request['spec']['name']}")
                continue
            seen[group][shown.name] = shown
            uid = request["metadata"].get("uid", "")
            spec = self._specs.setdefault(uid, request["spec"])
            if spec != request["spec"]:
                self._specs[uid] = request["spec"]
                self._problem(group, f"the spec of {shown.name} has changed", at)
        open_now = [
            name
            for group in self._limited
            for name, shown in seen[group].items()
            if shown.phase not in {"", "Closed"}
        ]
        self.most_open = max(self.most_open, len(open_now))
        for group, ledger in self.ledgers.items():
            self._observe_group(group, ledger, seen[group], at)

    def _observe_group(self, group: str, ledger: Ledger, seen: dict[str, Shown], at: float) -> None:
        for name, shown in seen.items():
            before = ledger.requests.get(name)
            if shown == before:
                continue
            if not shown.phase and before:
                continue  # made again, its status follows
            if before and (shown.total, shown.folded) < (before.total, before.folded):
                self._problem(group, f"{name} went back from {before.total} to {shown.total}", at)
            if before and before.phase == "Closed" and shown.phase != "Closed":
                self._problem(group, f"{name} was Closed and is {shown.phase}", at)
            ledger.requests[name] = shown
            ledger.history.append(
                Entry(
                    at,
                    f"epoch {shown.epoch} {shown.phase or 'made'}: total {shown.total}, folded "
                    f"{shown.folded}, "
                    f"unlisted {shown.unlisted}, incarnation {shown.incarnation}",
                )
            )
        total = sum(shown.total for shown in ledger.requests.values())
        if total > (ledger.counts[-1][1] if ledger.counts else 0):
            ledger.counts.append((at, total))

    def unheard(self, groups: Iterable[str]) -> list[str]:
        """Those of the groups that have no open request."""
        return [
            group
            for group in groups
            if all(shown.phase == "Closed" for shown in self.ledgers[group].requests.values())
        ]

    def missing(self, names: Iterable[str]) -> list[str]:
        """Requests that were there once and are not among these."""
        there = set(names)
        return [name for ledger in self.ledgers.values() for name in ledger.requests if name not in there]

    def discarded(self, group: str, pods: Mapping[str, int]) -> None:
        """So many Signals about each pod say that they were Discarded."""
        self.ledgers[group].discarded = Counter(pods)

    def _problem(self, group: str, what: str, at: float) -> None:
        self.ledgers[group].problems.append(what)
        self.note(group, f"!!! {what}", at)

    # --- whether they agree

    def accounts(self) -> list[Account]:
        """Of all groups."""
        last_loss = max(self.losses, default=-math.inf)
        return [ledger.account(group, last_loss) for group, ledger in self.ledgers.items()]

    @property
    def problems(self) -> list[str]:
        """What is wrong and belongs to no group."""
        return sorted(self._strangers)

    def worst_delay(self) -> float:
        """The longest time from a signal's being sent to a request's counting it."""
        return max((worst_delay(ledger) for ledger in self.ledgers.values()), default=0.0)

    def history(self, group: str, logged: Iterable[Entry] = ()) -> Iterator[Entry]:
        """What was sent, in each second; what its requests said; what broke; and what else is given."""
        ledger = self.ledgers[group]
        entries = [*self.faults, *ledger.history, *logged]
        per_second = Counter(int(at) for at in ledger.sent.values())
        entries += [
            Entry(second + 1.0, f"{number} sent in this second") for second, number in per_second.items()
        ]
        yield from sorted(entries, key=lambda entry: entry.at)


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
