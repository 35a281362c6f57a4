"""What fold.lua is told of what signals show: of the many of a batch, only what may change what is kept."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from heapq import nlargest

import orjson

from stormfold.fold.causes import causes_arg
from stormfold.model import evidence
from stormfold.model.arrival import AlertRef, Arrival, SignalRef
from stormfold.model.evidence import (
    MAX_RUNBOOKS,
    RUNBOOK_URL,
    RUNBOOK_URL_BYTES,
    harmless,
    short_name,
    web_address,
)
from stormfold.model.limits import FIRST_SAMPLES, LATEST_SAMPLES
from stormfold.policy.showing import NO_NAMES, NOTHING, Names, Showing

Texts = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Told:
    """What a storm in Redis, of one incarnation, is known to have been told. Redis, or the request, may know
    that less is common to all: others have told it so."""

    sampled: int = 0
    """How many samples it was sent, at most `FIRST_SAMPLES`."""
    labels: Texts | None = None
    """Labels that all signals have in common; None: it was told nothing, or none may be shown."""
    annotations: Texts | None = None
    runbook_urls: frozenset[str] = frozenset()
    """At most `MAX_RUNBOOKS`."""
    started_ms: int | None = None

    def and_then(self, showing: Showing, arrivals: Sequence[Arrival]) -> "Told":
        """The same when these have been counted."""
        if not arrivals:
            return self
        sampled = self.sampled
        if sampled < FIRST_SAMPLES:
            sampled = min(FIRST_SAMPLES, sampled + sum(arrival.firing for arrival in arrivals))
        began_ms = min([arrival.began_ms for arrival in arrivals])
        annotations = shared(
            self.annotations, showing.annotation, [arrival.annotations for arrival in arrivals]
        )
        # A runbook that all signals name is no news.
        same = annotations is self.annotations and any(name in (annotations or ()) for name in RUNBOOK_URL)
        return Told(
            sampled,
            shared(self.labels, showing.label, [arrival.labels for arrival in arrivals]),
            annotations,
            self.runbook_urls if same else self._runbook_urls(showing, arrivals),
            began_ms if self.started_ms is None else min(self.started_ms, began_ms),
        )

    def _runbook_urls(self, showing: Showing, arrivals: Sequence[Arrival]) -> frozenset[str]:
        if len(self.runbook_urls) >= MAX_RUNBOOKS:
            return self.runbook_urls
        texts = {
            arrival.annotations[name]
            for name in RUNBOOK_URL
            if showing.annotation(name)
            for arrival in arrivals
            if name in arrival.annotations
        }
        urls = {url for text in texts if 0 < len((url := web_address(text)).encode()) <= RUNBOOK_URL_BYTES}
        new = sorted(urls - self.runbook_urls)[: MAX_RUNBOOKS - len(self.runbook_urls)]
        return self.runbook_urls.union(new) if new else self.runbook_urls


NOTHING_TOLD = Told()


@dataclass(frozen=True, slots=True)
class Shown:
    """What is to be shown of the arrivals of a fold."""

    showing: Showing = NOTHING
    told: Told = NOTHING_TOLD
    telling: Told = NOTHING_TOLD
    """What will have been told with these arrivals."""

    def args(self, arrivals: Sequence[Arrival]) -> list[str | int]:
        """The arguments for some of them, all of one kind, as the header of fold.lua says."""
        fields, has_first = self._fields(), self.told.sampled >= FIRST_SAMPLES
        places = sampled_places(arrivals, has_first=has_first) if self.showing.samples else []
        names = names_args(arrivals) if self.showing.counts_names else [0]
        causes = causes_arg(self.showing.causes, arrivals)
        if not fields and not places and names == [0] and not causes:
            return []
        args: list[str | int] = [len(fields), len(places), causes]
        for field in fields.items():
            args += field
        for place in places:
            args += (place + 1, self.showing.sample(arrivals[place]))
        return args + names

    def _fields(self) -> dict[str, str | int]:
        """Fields of the evidence, and what is joined to them: only what was not told."""
        before, after, fields = self.told, self.telling, dict[str, str | int]()
        if after.labels is not None and after.labels is not before.labels:
            fields["labels"] = _written(after.labels, self.showing.label)
        if after.annotations is not None and after.annotations is not before.annotations:
            fields["annotations"] = _written(after.annotations, self.showing.annotation)
        if urls := sorted(after.runbook_urls - before.runbook_urls):
            fields["runbook_urls"] = "\n".join(urls)
        if after.started_ms is not None and after.started_ms != before.started_ms:
            fields["started_ms"] = after.started_ms
        return fields


def shown(showing: Showing, told: Told, arrivals: Sequence[Arrival]) -> Shown:
    """What is to be shown of the arrivals of a fold, where so much was told before."""
    return Shown(showing, told, told.and_then(showing, arrivals))


def shared(before: Texts | None, names: Names, of: Sequence[Texts]) -> Texts | None:
    """What all of these have in common, and what was common to all before: that itself, if it is the same."""
    if names is NO_NAMES:
        return None
    common = before
    for texts in of:
        if common is None:
            common = {name: text for name, text in texts.items() if names(name)}
        elif not common.items() <= texts.items():
            common = {name: text for name, text in common.items() if texts.get(name) == text}
    if before is None and common:
        told = evidence.fitting({name: harmless(text) for name, text in common.items()}, evidence.TOLD_BYTES)
        return {name: common[name] for name in told}
    return common


def _written(texts: Texts, names: Names) -> str:
    """These as JSON, harmless."""
    return orjson.dumps({names(name): harmless(text) for name, text in texts.items()}).decode()


def names_args(arrivals: Sequence[Arrival]) -> list[str | int]:
    """Their names; of Signals, which are summed up, how many have each, else which each has."""
    names = [short_name(arrival.name) for arrival in arrivals]
    if isinstance(arrivals[0].ref, SignalRef):
        counts = Counter(names)
        return [len(counts), *counts, *counts.values()]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names), 1)}
    return [len(numbers), *numbers, *(numbers[name] for name in names)]


def sampled_places(arrivals: Sequence[Arrival], *, has_first: bool) -> list[int]:
    """Which of them may be samples: of those that say Firing the first and the latest, in order. Alerts come
    in any order and may be repeats: the latest of them are those that began last."""
    firing = [place for place, arrival in enumerate(arrivals) if arrival.firing]
    if len(firing) <= (LATEST_SAMPLES if has_first else FIRST_SAMPLES + LATEST_SAMPLES):
        return firing
    first = [] if has_first else firing[:FIRST_SAMPLES]
    rest = firing[len(first) :]
    if isinstance(arrivals[0].ref, AlertRef):
        latest = sorted(nlargest(LATEST_SAMPLES, rest, key=lambda place: (arrivals[place].began_ms, place)))
    else:
        latest = rest[-LATEST_SAMPLES:]
    return first + latest


NONE_SHOWN = Shown()
