"""Events in any order of steps: each occurrence is counted once, and the checkpoint never covers what is not
durable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.harness.events import ARRIVAL, COUNTED
from tests.harness.streams import event_stream
from tests.harness.values import T0

from stormfold.kube.changes import Change, Changed, Deleted, Listed
from stormfold.model.arrival import Arrival, EventRef
from stormfold.model.checkpoint import Checkpoint
from stormfold.sources.events.parser import SeenEvent
from stormfold.sources.progress import Progress


@dataclass
class Stored:
    """An Event on the API server."""

    count: int
    version: int
    created: int
    edited: bool = False

    def seen(self, uid: str) -> SeenEvent:
        ref = EventRef(uid, self.version, self.count, 0)
        return SeenEvent(
            *(uid, "shop", uid, self.version, self.created, self.created, self.edited, self.count),
            replace(ARRIVAL, ref=ref),
        )


class Occurrences(RuleBasedStateMachine):
    """An API server, a watch that is behind it, an operator that dies and comes back, and a Redis that
    remembers.

    Folding, becoming durable, renewing and forgetting come in any order; Redis adds what an arrival of an
    Event asks for: `count - max(after, what it remembers)`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.version = 10
        self.events: dict[str, Stored] = {}
        self.last: dict[str, int] = {}
        """Of Events that are there and of those that are gone, the highest count."""
        self.watch: list[Change[SeenEvent]] = []
        self.lease = Checkpoint(10)
        self.remembered: dict[str, tuple[int, int]] = {}
        self.totals: dict[str, int] = {}
        self.start()

    def start(self) -> None:
        self.progress = Progress()
        self.progress.begin(self.lease)
        self.stream = event_stream(self.progress, folder=self)
        self.queue: list[EventRef] = []
        self.folded: list[EventRef] = []
        self.known: set[str] = set()
        self.relist()

    async def submit(self, arrival: Arrival, waits: Callable[[str], bool]) -> None:
        """As the folder."""
        assert isinstance(arrival.ref, EventRef)
        self.queue.append(arrival.ref)

    def take(self, change: Change[SeenEvent]) -> None:
        with pytest.raises(StopIteration):
            self.stream.take(change).send(None)  # nothing in here waits

    def change(self, uid: str, stored: Stored) -> None:
        self.version += 1
        stored.version = self.version
        self.events[uid] = stored
        self.last[uid] = stored.count
        self.watch.append(Changed(stored.seen(uid)))

    @rule(count=st.sampled_from([1, 1, 1, 4]))
    def occurs_first(self, count: int) -> None:
        uid = f"uid-{len(self.last)}"
        self.change(uid, Stored(count, 0, T0 // 1000 + 20 * self.version))

    @precondition(lambda self: self.events)
    @rule(data=st.data(), more=st.integers(0, 3))
    def occurs_again_or_is_edited(self, data: st.DataObject, more: int) -> None:
        uid = data.draw(st.sampled_from(sorted(self.events)))
        stored = self.events[uid]
        self.change(uid, replace(stored, count=stored.count + more, edited=True))

    @precondition(lambda self: self.events)
    @rule(data=st.data())
    def expires(self, data: st.DataObject) -> None:
        uid = data.draw(st.sampled_from(sorted(self.events)))
        self.version += 1
        del self.events[uid]
        self.watch.append(Deleted(uid, self.version))

    @precondition(lambda self: self.watch)
    @rule()
    def deliver(self) -> None:
        change = self.watch.pop(0)
        if isinstance(change, Changed):
            self.known.add(change.item.uid)
        self.take(change)

    @rule()
    def relist(self) -> None:
        self.watch.clear()
        items = sorted(
            (stored.seen(uid) for uid, stored in self.events.items()), key=lambda it: it.resource_version
        )
        self.take(Listed(items, self.version, frozenset(self.known - self.events.keys())))
        self.known = set(self.events)

    @precondition(lambda self: self.queue or self.folded)
    @rule(data=st.data())
    def fold(self, data: st.DataObject) -> None:
        """One that waits, or one that is not durable yet once more."""
        ref = data.draw(st.sampled_from([*self.queue, *self.folded]))
        count, version = self.remembered.get(ref.uid, (0, 0))
        new = max(0, ref.count - max(ref.after, count))
        self.totals[ref.uid] = self.totals.get(ref.uid, 0) + new
        self.remembered[ref.uid] = max(ref.count, count), max(ref.resource_version, version)
        if ref in self.queue:
            self.queue.remove(ref)
            self.folded.append(ref)

    @precondition(lambda self: self.folded)
    @rule(data=st.data())
    def is_durable(self, data: st.DataObject) -> None:
        ref = data.draw(st.sampled_from(self.folded))
        self.folded.remove(ref)
        self.stream.durable(replace(ARRIVAL, ref=ref), COUNTED)

    @rule()
    def renew(self) -> None:
        self.lease = self.progress.checkpoint()
        self.progress.kept(self.lease)

    @rule()
    def forget(self) -> None:
        trim = self.progress.trim()
        self.remembered = {uid: (n, v) for uid, (n, v) in self.remembered.items() if v > trim}

    @rule()
    def die(self) -> None:
        self.start()

    @invariant()
    def no_occurrence_is_counted_twice(self) -> None:
        for uid, total in self.totals.items():
            assert total <= self.last[uid], uid

    def teardown(self) -> None:
        """Once it is quiet, every occurrence of an Event that is still there is counted."""
        while self.watch:
            self.deliver()
        while self.queue:
            ref = self.queue[0]
            self.fold(_Draw(ref))  # type: ignore[arg-type]
        for uid, stored in self.events.items():
            assert self.totals[uid] == stored.count, uid
        super().teardown()


class _Draw:
    """Draws what it is told to."""

    def __init__(self, drawn: object) -> None:
        self._drawn = drawn

    def draw(self, _: object) -> object:
        return self._drawn


TestOccurrences = Occurrences.TestCase
TestOccurrences.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
