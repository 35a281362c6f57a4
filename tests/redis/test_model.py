"""Signals of one group through two replicas, in any interleaving: each counts once, whatever is lost or
late."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule
from tests.harness.folding import signal
from tests.harness.replicas import Replica
from tests.harness.two_replicas import Bench, Then, TwoReplicas, try_out
from tests.harness.values import version

from stormfold.api.signal import SignalPhase
from stormfold.model.arrival import Arrival, SignalRef, Verdict
from stormfold.model.storm import Snapshot
from stormfold.request.reading import Request
from stormfold.request.seeding import seed_of

PODS = 4
POLICY = version(groupBy=["name"])


def arrival(number: int) -> Arrival:
    """The Signal with that resourceVersion, about one of a few pods."""
    return replace(signal(number, f"web-{number % PODS}"), fingerprint=str(number))


class Signals(TwoReplicas):
    """One replica leads and takes Signals in; the other may think for a while that it still does."""

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        self.emitted = 0
        self.leader = 0
        self.checkpoint = 0
        """That of the leader's Lease."""
        self.untold: list[Counter[int]] = [Counter(), Counter()]
        """Of each replica: resourceVersion → how often it was taken in and nothing was told of it yet."""
        self.begin(POLICY, POLICY.group(arrival(1)))

    # --- Signals

    @initialize()
    def first_signals(self) -> None:
        self.signals_arrive(2, Then.WRITTEN)

    @rule(count=st.integers(1, 5), then=st.sampled_from(Then))
    def signals_arrive(self, count: int, then: Then) -> None:
        self.take_in(range(self.emitted + 1, self.emitted + count + 1))
        self.emitted += count
        self.goes_on(self.leader, then)

    def take_in(self, versions: Sequence[int]) -> None:
        """Submit them to the leader."""

        async def submit() -> None:
            for number in versions:
                self.untold[self.leader][number] += 1
                leader = self.replicas[self.leader]
                assert await leader.folder.submit(replace(arrival(number), via=leader)) is None

        self.run(submit())

    def tell(self, who: int, replica: Replica, arrival: Arrival, verdict: Verdict) -> None:
        """Whoever is told that a Signal is durable finds it in that request, or in an earlier one."""
        assert isinstance(arrival.ref, SignalRef)
        number, epoch = arrival.ref.resource_version, int(verdict.message)
        assert verdict.phase is SignalPhase.FOLDED
        assert self.untold[who][number], f"Signal {number} was told of already"
        self.untold[who][number] -= 1
        requests = self.requests.read().values()
        heard = replica.index.latest(self.group.group_hash) is not None
        assert epoch in [request.epoch for request in requests] or not heard, f"{number}: there is no {epoch}"
        assert number <= max(seed_of(request).through for request in requests), f"{number}"

    # --- the Lease

    @rule()
    def other_one_leads(self) -> None:
        """The Lease ran out: the other one reads on from its checkpoint."""
        self.leader = 1 - self.leader
        self.take_over()

    def take_over(self) -> None:
        self.run(self.replicas[self.leader].store.fence([self.group.partition], self.checkpoint))
        self.take_in(range(self.checkpoint + 1, self.emitted + 1))

    def fenced(self, who: int) -> int | None:
        return self.checkpoint if who == self.leader else None

    @rule()
    def checkpoint_is_kept(self) -> None:
        waiting = +self.untold[self.leader]
        self.checkpoint = max(self.checkpoint, min(waiting) - 1 if waiting else self.emitted)

    def write(self, who: int, storm: Snapshot, known: Request | None, *, noted: bool) -> bool:
        resources = sum(signals for _, signals in storm.resources)
        assert resources == storm.total
        return super().write(who, storm, known, noted=noted)

    # --- faults

    @rule(who=st.integers(0, 1))
    def replica_restarts(self, who: int) -> None:
        self.untold[who].clear()
        super().replica_restarts(who)
        if who == self.leader:
            self.take_over()

    # --- what holds

    @invariant()
    def nothing_is_counted_twice(self) -> None:
        assert self.requests.total() <= self.emitted

    def waiting(self) -> list[Counter[int]]:
        return [left for untold in self.untold if (left := +untold)]

    def check(self) -> None:
        assert self.requests.total() == self.emitted


def test_each_signal_counts_once_through_two_replicas_whatever_happens(bench: Bench) -> None:
    try_out(Signals, bench, examples=50)
