"""What fold.lua is told of what signals show: of the many of a batch, only what may change what is kept."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from heapq import nlargest

from stormfold.model.arrival import AlertRef, Arrival, SignalRef
from stormfold.model.evidence import short_name
from stormfold.model.limits import FIRST_SAMPLES, LATEST_SAMPLES
from stormfold.policy.showing import NOTHING, Showing


@dataclass(frozen=True, slots=True)
class Told:
    """What a storm in Redis, of one incarnation, is known to have been told."""

    sampled: int = 0
    """How many samples it was sent, at most `FIRST_SAMPLES`."""

    def and_then(self, arrivals: Sequence[Arrival]) -> "Told":
        """The same when these have been counted."""
        if self.sampled >= FIRST_SAMPLES:
            return self
        return replace(self, sampled=min(FIRST_SAMPLES, self.sampled + sum(a.firing for a in arrivals)))


NOTHING_TOLD = Told()


@dataclass(frozen=True, slots=True)
class Shown:
    """What is to be shown of the arrivals of a fold."""

    showing: Showing = NOTHING
    told: Told = NOTHING_TOLD

    def args(self, arrivals: Sequence[Arrival]) -> list[str | int]:
        """The arguments for some of them, all of one kind, as the header of fold.lua says; none if nothing is
        shown."""
        if not self.showing.samples and not self.showing.counts_names:
            return []
        places = self._sampled_places(arrivals)
        args: list[str | int] = [len(places)]
        for place in places:
            args += (place + 1, self.showing.sample(arrivals[place]))
        return args + (names_args(arrivals) if self.showing.counts_names else [0])

    def _sampled_places(self, arrivals: Sequence[Arrival]) -> list[int]:
        if not self.showing.samples:
            return []
        return sampled_places(arrivals, has_first=self.told.sampled >= FIRST_SAMPLES)


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
