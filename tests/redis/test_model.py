"""One group against a plain model of it: whatever is lost, repeated or late, each signal counts once."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)
from tests.harness.folding import CLUSTER, COPY_KEYS, GID, SAVED, Group, descends, signal
from tests.harness.values import SHOP

from stormfold.demo.valkey import Valkey
from stormfold.fold import keys
from stormfold.fold.connection import Connection
from stormfold.fold.keys import PREFIX
from stormfold.fold.replies import FoldWord
from stormfold.fold.store import StormStore
from stormfold.model.arrival import Arrival
from stormfold.model.storm import Seed, Snapshot, State

T = TypeVar("T")
PODS = 4


@dataclass
class Request:
    """What the API server has of one storm: it is never lost."""

    last: Snapshot
    closed: bool = False

    def seed(self) -> Seed:
        """What a lost storm is continued from."""
        if self.closed:
            return Seed(
                epoch=self.last.epoch,
                closed=True,
                incarnation=self.last.incarnation,
                folded=self.last.folded,
                through=self.last.through,
            )
        return Seed(
            epoch=self.last.epoch,
            closed=False,
            incarnation=self.last.incarnation,
            total=self.last.total,
            folded=self.last.folded,
            firing=self.last.firing,
            through=self.last.through,
            resources=dict(self.last.resources),
            resource_count=self.last.resource_count,
        )


@dataclass
class Operator:
    """What the process knows; a restart forgets all of it."""

    queue: list[int]
    """resourceVersions that wait for their fold, in order."""
    known: tuple[int, int, str] = (0, 0, "")
    distrusted: str = ""
    unsafe: list[tuple[int, str, int, int]] = field(default_factory=list)
    """(epoch, incarnation, ordinal, resourceVersion) of what is folded and not known to be in a request."""


def steps(*names: str) -> st.SearchStrategy[list[str]]:
    """A few of the steps that `OneGroup.take` knows."""
    return st.lists(st.sampled_from(names), max_size=3)


class OneGroup(RuleBasedStateMachine):
    """Deliveries, writes, closings, restarts and losses in any order."""

    def __init__(self, server: Valkey) -> None:
        super().__init__()
        self.server = server
        server.command("FLUSHALL")
        self.runner = asyncio.Runner()
        self.connection = Connection.from_url(server.url)
        self.group = Group(StormStore(self.connection, cluster=CLUSTER))
        self.at = 0
        self.emitted = 0
        self.checkpoint = 0
        self.requests: dict[int, Request] = {}
        self.operator = Operator([])

    def teardown(self) -> None:
        """Let everything that is left be counted, and count."""
        try:
            self.drain()
            assert sum(request.last.total for request in self.requests.values()) == self.emitted
        finally:
            self.run(self.connection.close())
            self.runner.close()

    def run(self, step: Coroutine[Any, Any, T]) -> T:
        """The result of one call, some time after the last one."""
        self.at += 100
        return self.runner.run(step)

    # --- signals

    @rule(count=st.integers(1, 5), folded=st.booleans())
    def signals_arrive(self, count: int, folded: bool) -> None:
        self.operator.queue += range(self.emitted + 1, self.emitted + count + 1)
        self.emitted += count
        if folded:
            self.batch_is_folded(count=count, answer_lost=False)

    @rule(count=st.integers(1, 8), answer_lost=st.booleans())
    def batch_is_folded(self, count: int, answer_lost: bool) -> None:
        batch, self.operator.queue = self.operator.queue[:count], self.operator.queue[count:]
        if answer_lost:
            self.run(self.call(batch))
        self.fold(batch)

    @rule()
    def unsafe_signals_are_folded_again(self) -> None:
        unsafe, self.operator.unsafe = self.operator.unsafe, []
        self.fold([version for *_, version in unsafe])

    def call(self, batch: list[int]) -> Coroutine[Any, Any, Any]:
        seed = None
        operator = self.operator
        if operator.known == (0, 0, "") and self.requests:
            seed = self.requests[max(self.requests)].seed()
        return self.group.fold(
            *map(arrival, batch),
            known=operator.known[:2],
            life=operator.known[2],
            distrusted=operator.distrusted,
            seed=seed,
            at=self.at,
        )

    def fold(self, batch: list[int]) -> None:
        operator = self.operator
        answer = self.run(self.call(batch))
        if answer.word is FoldWord.COUNTED:
            operator.distrusted = ""
            operator.known = (answer.epoch, answer.folded, answer.incarnation) if answer.open else (0, 0, "")
            operator.unsafe += [
                (answer.epoch, answer.incarnation, ordinal, version)
                for ordinal, version in zip(answer.ordinals, batch, strict=True)
                if ordinal
            ]
            return
        if answer.word is FoldWord.LOST:
            operator.known = (0, 0, "")
            unsafe, operator.unsafe = operator.unsafe, []
            self.fold(sorted({*batch, *(version for *_, version in unsafe)}))
        else:
            operator.queue = batch + operator.queue

    # --- requests

    @rule(freeze=st.booleans(), meanwhile=steps("signals", "again", "empty"), noted=st.booleans())
    def storm_is_looked_at_and_acted_on(self, freeze: bool, meanwhile: list[str], noted: bool) -> None:
        """`noted` is false where the process dies between the write of the request and its note."""
        storm = self.look()
        if storm and freeze and storm.state is State.OPEN and storm.epoch in self.requests:
            _, storm = self.run(self.group.close(storm, at=self.at, only_at_total=True))
        self.take(meanwhile)
        if storm and storm.state is State.CLOSING:
            self.finish(storm, forget=noted)
        elif storm and self.write(storm, closed=False) and noted:
            self.advance_checkpoint()
            self.run(self.group.settle(storm, at=self.at, next_look=self.at, trim={SHOP: self.checkpoint}))

    def take(self, names: list[str]) -> None:
        """Take steps in their order."""
        for name in names:
            match name:
                case "signals":
                    self.signals_arrive(count=2, folded=True)
                case "again":
                    self.unsafe_signals_are_folded_again()
                case "empty":
                    self.redis_is_emptied()
                case "restart":
                    self.operator_restarts()
                case "write" | "close":
                    self.storm_is_looked_at_and_acted_on(freeze=name == "close", meanwhile=[], noted=True)

    def look(self) -> Snapshot | None:
        async def look() -> Snapshot | None:
            await self.group.store.hasten([GID], now_ms=0)
            return await self.group.claim(at=self.at)

        storm = self.run(look())
        if storm:
            assert sum(signals for _, signals in storm.resources) == storm.total
        return storm

    def finish(self, storm: Snapshot, *, forget: bool) -> None:
        if self.write(storm, closed=True) and forget:
            self.run(self.group.store.forget_closed(storm))
            self.operator.known = (0, 0, "")

    def write(self, storm: Snapshot, *, closed: bool) -> bool:
        """Whether the request now says what the snapshot says; if it says more, Redis is not to be trusted."""
        request = self.requests.get(storm.epoch)
        if request and (not descends(storm, request.last) or (request.closed and not closed)):
            self.operator.distrusted = storm.incarnation
            self.operator.known = (0, 0, "")
            return False
        for epoch, earlier in self.requests.items():
            earlier.closed = earlier.closed or epoch < storm.epoch
        self.requests[storm.epoch] = Request(storm, closed)
        self.operator.unsafe = [
            item
            for item in self.operator.unsafe
            if item[:2] != (storm.epoch, storm.incarnation) or item[2] > storm.folded
        ]
        return True

    def advance_checkpoint(self) -> None:
        waiting = [*self.operator.queue, *(version for *_, version in self.operator.unsafe)]
        self.checkpoint = min(waiting) - 1 if waiting else self.emitted

    # --- faults

    @rule()
    def operator_restarts(self) -> None:
        self.operator = Operator(list(range(self.checkpoint + 1, self.emitted + 1)))
        self.run(self.group.store.fence([self.group.partition], {SHOP: self.checkpoint}))

    @rule(count=st.integers(1, 8))
    def paused_leader_folds_what_is_long_safe(self, count: int) -> None:
        fence = self.server.command("HGET", keys.checkpoint(self.group.partition), "0")
        if int(str(fence or 0)) < self.checkpoint:
            return  # lost, and not put up again yet
        late = range(max(1, self.checkpoint - count + 1), self.checkpoint + 1)
        answer = self.run(self.group.fold(*map(arrival, late), at=self.at))
        assert set(answer.ordinals) <= {0}

    @rule()
    def redis_is_emptied(self) -> None:
        self.server.command("FLUSHALL")

    @rule(meanwhile=steps("signals", "again", "write", "close", "restart"))
    def redis_comes_back_as_it_was_before(self, meanwhile: list[str]) -> None:
        self.server.command("EVAL", COPY_KEYS, 0, PREFIX, SAVED)
        self.take(meanwhile)
        self.server.command("EVAL", COPY_KEYS, 0, SAVED, PREFIX)

    # --- what holds

    @invariant()
    def nothing_is_counted_twice(self) -> None:
        assert sum(request.last.total for request in self.requests.values()) <= self.emitted

    def drain(self) -> None:
        for _ in range(20):
            self.take(["write", "write", "again"])
            self.batch_is_folded(count=self.emitted, answer_lost=False)
            self.take(["write"])
            if not self.operator.queue and not self.operator.unsafe:
                return
        raise AssertionError(f"never safe: {self.operator}")


def arrival(version: int) -> Arrival:
    """The signal with that resourceVersion, about one of a few pods."""
    return replace(signal(version, f"web-{version % PODS}"), fingerprint=str(version))


def test_each_signal_counts_once_whatever_happens(redis: Valkey) -> None:
    run_state_machine_as_test(
        lambda: OneGroup(redis),
        settings=settings(
            max_examples=50,
            stateful_step_count=30,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
