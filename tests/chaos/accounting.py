"""Accounting: what was sent, what the requests say, and whether the two agree. Pure: who reads and writes is
elsewhere.

Signals are compared pod by pod (`ledger.py`), so that one that is lost and another that counts twice do not
make it even.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from tests.chaos.ledger import Account, Entry, Ledger, Manifest, Said, Shown, worst_delay
from tests.chaos.stream import Group, Law, Occurrence, Way

from stormfold.model.checkpoint import Checkpoints

NOTHING_TO_DO = ("Skipped", "Cancelled")
"""After these a group opens again only if something new comes."""


def above(checkpoints: Checkpoints, occurrence: Occurrence, resource_version: int) -> bool:
    """Whether a Signal or Event of that version is above its checkpoint."""
    kept = checkpoints.events if occurrence.way is Way.EVENTS else checkpoints.signals
    return resource_version > kept.resource_version


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

    def edits(self, group: str, pod: str) -> Iterator[str]:
        """What was done to the Signals and Events about a pod that may make them count again, and from where
        leaders read again."""
        for at, version, one in self._edits:
            if (one.group.name, one.pod) == (group, pod):
                yield f"{one.way.name} {one.number} was edited at {at:.2f} to version {version}"
        for checkpoints, listed_at in self._leaders:
            yield f"read again by {listed_at:.2f} from {checkpoints}"

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
        """Those of the groups that have no open request, although no consumer has said of the last one that
        nothing is to be done."""
        return [group for group in groups if not self._is_heard(self.ledgers[group].requests.values())]

    @staticmethod
    def _is_heard(requests: Collection[Shown]) -> bool:
        last = max(requests, key=lambda shown: shown.epoch, default=None)
        is_left = last is not None and last.remediation in NOTHING_TO_DO
        return is_left or any(shown.phase != "Closed" for shown in requests)

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
