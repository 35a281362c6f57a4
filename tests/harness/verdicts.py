"""Verdicts: what an outside observer makes of gates and requests, as the API server gives them.

Versions are put in the order in
which the API server wrote them; each has the time at which it was seen. Times are Unix seconds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from tests.harness.steered import Gate, Manifest, Request, begins, goes_on

Interval = tuple[float, float]
AT_MOST_SECONDS = 1.0
"""For so long a request may say Proceed while a check says Hold, and a consumer may begin."""


@dataclass(frozen=True, slots=True)
class Version:
    """An object as it was from a moment on; None: it was gone."""

    number: int
    at: float
    """When it was seen, or a second after it was written at the latest."""
    uid: str
    object: Gate | Request | None
    listed: bool = False
    """A list has told of it: there may have been others since the last one."""


@dataclass
class Judgement:
    """What was wrong, and how much was seen."""

    wrong: list[str] = field(default_factory=list)
    longest: float = 0.0
    """For how long a request said Proceed against a check, at most, where that counts; seconds."""
    against: int = 0
    """How often one did."""
    begun: int = 0
    """How often a consumer began."""
    verdicts: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(Namespace, verdict) → how often a request there came to say so."""
    most: Counter[str] = field(default_factory=Counter)
    """Namespace → the most open requests that said Proceed at once."""
    canaries: Counter[str] = field(default_factory=Counter)
    """The same of those that did so as the canary of a gate."""


@dataclass
class _Against:
    """A request says Proceed while a check says Hold."""

    since: float
    until: float
    """When the check ends by itself."""


class Observer:
    """Notes what is seen, and judges it in the end."""

    def __init__(self, everywhere: str) -> None:
        """Gates of the namespace `everywhere` govern all."""
        self._everywhere = everywhere
        self._versions: dict[tuple[str, int], Version] = {}
        self._written: dict[str, float] = {}
        """UID → when it was written last, as it says itself."""

    def seen(self, event: Manifest, at: float, *, listed: bool = False) -> None:
        """A change as a watch tells it, or an object of a list. A watch may tell of it late; the object says
        when it was written, without the fraction of the second."""
        body = event["object"]
        uid, number = body["metadata"]["uid"], int(body["metadata"]["resourceVersion"])
        kind = Gate if body["kind"] == "StormGate" else Request
        known = None if event["type"] == "DELETED" else kind.read(body)
        written = written_at(body["metadata"])
        # The API server keeps the time where something is only taken away.
        if known and written > self._written.get(uid, 0.0):
            at, self._written[uid] = min(at, written + 1), written
        self._versions.setdefault((uid, number), Version(number, at, uid, known, listed))

    def gone(self, uid: str, number: int, at: float) -> None:
        """A list of that resourceVersion does not have the object."""
        self._versions.setdefault((uid, number), Version(number, at, uid, None, listed=True))

    def known(self, uid: str, number: int) -> bool:
        """Whether it has seen that version of an object."""
        return (uid, number) in self._versions

    def judged(
        self,
        until: float,
        *,
        excused: Sequence[Interval] = (),
        clock_error: float = 0.0,
        began: float = 0.0,
        writes: Mapping[int, float] = {},
    ) -> Judgement:
        """What was wrong until then. Within `excused` nobody could act; the clock of who decides is wrong by
        `clock_error` at most. Times are told from `began` on. `writes` say when a resourceVersion was
        written: a watch may tell of it later."""
        judging = _Judging(self._everywhere, excused, clock_error, began)
        versions = [
            replace(one, at=min(one.at, writes.get(one.number, one.at))) for one in self._versions.values()
        ]
        return judging.judge(versions, until)


class _Judging:
    """Goes through the versions in their order."""

    def __init__(
        self, everywhere: str, excused: Sequence[Interval], clock_error: float, began: float
    ) -> None:
        self._everywhere = everywhere
        self._excused = _merged(excused)
        self._clock_error = clock_error
        self._began_at = began
        self._gates: dict[str, Gate] = {}
        self._requests: dict[str, Request] = {}
        self._held_since: dict[tuple[str, str], float] = {}
        """(UID of a gate, check) → since when the gate says so. What is about places is not among them."""
        self._against: dict[tuple[str, str, str], _Against] = {}
        """(UID of a request, UID of a gate, check)."""
        self._told: dict[str, str] = {}
        self._found = Judgement()

    def judge(self, versions: Iterable[Version], until: float) -> Judgement:
        """What was wrong."""
        for version in sorted(versions, key=lambda one: one.number):
            before = self._gates.get(version.uid) or self._requests.get(version.uid)
            if isinstance(version.object or before, Gate):
                self._gate(version)
                affected: Iterable[str] = list(self._requests)
            else:
                self._request(version)
                affected = [version.uid]
            for uid in affected:
                self._compare(uid, version.at)
        for key, one in list(self._against.items()):
            self._over(key, one, until)
        return self._found

    def _gate(self, version: Version) -> None:
        before, after = self._gates.pop(version.uid, None), version.object
        held = {check for check, _ in before.checks("")} if before else set()
        holds: set[str] = set()
        if isinstance(after, Gate):
            self._gates[version.uid] = after
            holds = {check for check, _ in after.checks("")}
            self._places(before, after)
        moved = before is None or not isinstance(after, Gate)
        if moved or before.spec.get("selector") != after.spec.get("selector"):
            held = set()  # those that it governs are others
        for check in [check for uid, check in self._held_since if uid == version.uid]:
            if check not in held & holds:
                del self._held_since[version.uid, check]
        for check in holds:
            self._held_since.setdefault((version.uid, check), version.at)

    def _places(self, before: Gate | None, after: Gate) -> None:
        """What holds at any moment of the places in a gate."""
        if sum(after.places.values()) > 1:
            self._wrong(f"gate {after} has two canaries")
        limit = after.limit("concurrent")
        taken = after.places.keys() - (before.places.keys() if before else set())
        if limit and taken and len(after.places) > limit:
            self._wrong(f"gate {after} has given {len(after.places)} places of {limit}")

    def _request(self, version: Version) -> None:
        before, after = self._requests.pop(version.uid, None), version.object
        if not isinstance(after, Request):
            return
        self._requests[version.uid] = after
        if after.proceeds:
            beside = [
                one for one in self._requests.values() if one.namespace == after.namespace and one.proceeds
            ]
            for most, number in (
                (self._found.most, len(beside)),
                (self._found.canaries, sum(one.reason == "Canary" for one in beside)),
            ):
                most[after.namespace] = max(most[after.namespace], number)
        if after.verdict and (before is None or before.verdict != after.verdict):
            self._found.verdicts[after.namespace, after.verdict] += 1
        if before is None or version.listed or before.remediation == after.remediation:
            return
        if goes_on(before, after) and before.verdict == "Stop":
            self._wrong(f"a consumer went on in {after}, which said Stop")
        if begins(before, after):
            self._began(before, after, version.at)

    def _began(self, before: Request, after: Request, at: float) -> None:
        self._found.begun += 1
        if before.verdict != "Proceed":
            self._wrong(f"a consumer began in {after}, which said {before.verdict or 'nothing'}")
        for uid, gate in self._gates.items():
            for check, until in gate.checks(after.uid) if gate.governs(before, self._everywhere) else ():
                held = at - self._held_since.get((uid, check), at)
                if held > AT_MOST_SECONDS and at < until:
                    self._wrong(f"a consumer began in {after} {held:.2f} s after gate {gate}: {check}")

    def _compare(self, uid: str, at: float) -> None:
        """Note from when on, and until when, the request says Proceed against a check."""
        now: dict[tuple[str, str, str], float] = {}
        request = self._requests.get(uid)
        if request and request.proceeds:
            for gate_uid, gate in self._gates.items():
                if gate.governs(request, self._everywhere):
                    now |= {(uid, gate_uid, check): until for check, until in gate.checks(uid)}
        if request:
            self._told[uid] = str(request)
        for key, one in [item for item in self._against.items() if item[0][0] == uid]:
            if key not in now:
                self._over(key, one, at)
        for key, until in now.items():
            known = self._against.setdefault(key, _Against(at, until))
            if known.until != until:  # the hold was made anew, with another end
                self._over(key, known, at)
                self._against[key] = _Against(at, until)

    def _over(self, key: tuple[str, str, str], one: _Against, at: float) -> None:
        del self._against[key]
        end = min(at, one.until - self._clock_error)
        seconds = end - one.since - _overlap(self._excused, one.since, end)
        if seconds <= 0:
            return
        self._found.against += 1
        self._found.longest = max(self._found.longest, seconds)
        if seconds > AT_MOST_SECONDS:
            uid, gate_uid, check = key
            gate = self._gates.get(gate_uid, gate_uid)
            since, upto = one.since - self._began_at, end - self._began_at
            self._wrong(
                f"{self._told[uid]} said Proceed for {seconds:.2f} s ({since:.2f} to {upto:.2f}) against "
                f"gate {gate}: {check}"
            )

    def _wrong(self, what: str) -> None:
        self._found.wrong.append(what)


def written_at(metadata: Manifest) -> float:
    """When an object was written last, a whole second; 0 if it does not say so."""
    times = [one["time"] for one in metadata.get("managedFields") or () if one.get("time")]
    return max((datetime.fromisoformat(one).timestamp() for one in times), default=0.0)


def _merged(intervals: Iterable[Interval]) -> list[Interval]:
    """The same without overlaps."""
    merged: list[Interval] = []
    for begin, end in sorted(intervals):
        if merged and begin <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(merged[-1][1], end)
        else:
            merged.append((begin, end))
    return merged


def _overlap(intervals: Iterable[Interval], begin: float, end: float) -> float:
    """How much of a time lies within the intervals."""
    return sum(max(0.0, min(end, upto) - max(begin, since)) for since, upto in intervals)
