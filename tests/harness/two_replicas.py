"""TwoReplicas: the steps that Signals and alerts have in common, in any order that hypothesis thinks of."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from enum import Enum, auto
from typing import Any, TypeVar
from unittest.mock import patch

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from tests.harness.failing_redis import Fate, Servers
from tests.harness.replicas import Clock, Replica
from tests.harness.requests import Requests

from lab.valkey import Valkey
from stormfold.fold import folder, folding, patience, storms
from stormfold.model.arrival import Arrival, Verdict
from stormfold.model.group import Group
from stormfold.model.storm import Snapshot, State
from stormfold.policy.version import PolicyVersion
from stormfold.request.reading import Request

T = TypeVar("T")
REPLICAS = st.integers(0, 1)
NOTICED = st.sampled_from([(), (0,), (1,), (0, 1)])
ROUNDS = 20
"""In so many rounds without a fault all must be counted."""
SWEEP_ROUNDS = 3
"""In each third of them the replicas look after what waits: it takes more time than all else."""


class Then(Enum):
    """What becomes at once of what has come in."""

    WAIT = auto()
    FOLDED = auto()
    CLAIMED = auto()
    """The storm is claimed, and who is to write it is slow."""
    WRITTEN = auto()
    FROZEN = auto()
    """The storm is to be closed, and whoever does it is slow."""
    CLOSED = auto()
    """With the storm."""


class Bench:
    """What all worlds of a test use one after the other."""

    def __init__(self, servers: Sequence[Valkey]) -> None:
        self._runner = asyncio.Runner()
        self.clock = Clock()
        self.servers = Servers(servers)

    @classmethod
    @contextmanager
    def on(cls, servers: Sequence[Valkey]) -> Iterator[Bench]:
        """A bench with these servers, on which folders do not wait for a time to pass."""
        bench = cls(servers)
        with (
            patch.multiple(folding, time=bench.clock, CLOSING_SECONDS=0.0),
            patch.multiple(storms, time=bench.clock),
            patch.multiple(folder, time=bench.clock),
            patch.object(patience, "RETRY_SECONDS", (0.0,)),
        ):
            yield bench
        bench.run(bench.servers.close())
        bench._runner.close()

    def run(self, step: Coroutine[Any, Any, T]) -> T:
        """The result of one step."""
        return self._runner.run(step)


def try_out(world: Callable[[Bench], TwoReplicas], bench: Bench, *, examples: int) -> None:
    """Take up to 40 steps in each of so many worlds, the same ones each time; or in as many random ones as
    `MODEL_EXAMPLES` in the environment says.

    What fails is not made shorter: that takes minutes. Its steps are printed.
    """
    at_random = os.environ.get("MODEL_EXAMPLES")
    run_state_machine_as_test(
        lambda: world(bench),
        settings=settings(
            max_examples=int(at_random or examples),
            stateful_step_count=40,
            deadline=None,
            derandomize=not at_random,
            phases=(Phase.explicit, Phase.reuse, Phase.generate),
            suppress_health_check=list(HealthCheck),
        ),
    )


class TwoReplicas(RuleBasedStateMachine):
    """One group through two replicas; what comes in, and what must hold, is up to who inherits."""

    version: PolicyVersion
    group: Group

    def __init__(self, bench: Bench) -> None:
        super().__init__()
        self.bench = bench
        self.servers = bench.servers
        self.servers.begin()
        self.copied = False
        self.steps = 0
        self.requests = Requests()
        self.replicas: list[Replica] = []

    def begin(self, version: PolicyVersion, group: Group) -> None:
        """Start the replicas under a policy that has such a group."""
        self.version, self.group = version, group
        self.replicas = [self.new_replica(who) for who in (0, 1)]

    def new_replica(self, who: int) -> Replica:
        """A process that has just started."""
        replica = Replica(
            self.servers,
            self.requests,
            self.bench.clock,
            self.version,
            self.group,
            tell=lambda arrival, verdict: self.tell(who, replica, arrival, verdict),
        )
        return self.run(replica.started())

    def run(self, step: Coroutine[Any, Any, T]) -> T:
        """The result of one step, some time after the last one."""
        self.steps += 1
        self.bench.clock.passed_ms += 100
        return self.bench.run(step)

    def tell(self, who: int, replica: Replica, arrival: Arrival, verdict: Verdict) -> None:
        """Hear from a folder what became of an arrival."""
        raise NotImplementedError

    def goes_on(self, who: int, then: Then) -> None:
        """Do with what has come to a replica what is most often done next."""
        if then is not Then.WAIT:
            self.replica_folds(who)
        if then is Then.CLAIMED:
            self.replica_claims(who)
        if then in {Then.WRITTEN, Then.FROZEN, Then.CLOSED}:
            self.replica_acts_at_once(who)
        if then in {Then.FROZEN, Then.CLOSED}:
            self.replica_claims(who)
            self.replica_writes_what_it_claimed(who, freeze=True, slow=then is Then.FROZEN)

    # --- folding

    @rule(who=REPLICAS, fate=st.sampled_from(Fate))
    def replica_folds(self, who: int, fate: Fate = Fate.ANSWERED) -> None:
        self.run(self.replicas[who].fold(fate))

    @rule(who=REPLICAS)
    def delayed_call_goes_on(self, who: int) -> None:
        self.run(self.replicas[who].go_on())

    @rule(who=REPLICAS)
    def replica_looks_after_what_waits(self, who: int) -> None:
        self.run(self.replicas[who].sweep(self.fenced(who)))

    def fenced(self, who: int) -> int | None:
        """What the replica's Lease says."""
        return None

    # --- requests

    @rule(who=REPLICAS)
    def replica_hears_of_requests(self, who: int) -> None:
        self.hears_of_requests(who)

    def hears_of_requests(self, who: int) -> None:
        async def hear() -> None:
            self.replicas[who].hear_of_requests()

        self.run(hear())

    @rule(who=REPLICAS)
    def replica_claims(self, who: int) -> None:
        self.run(self.replicas[who].claim())

    @rule(who=REPLICAS, noted=st.booleans(), freeze=st.booleans(), slow=st.booleans())
    def replica_writes_what_it_claimed(
        self, who: int, noted: bool = True, freeze: bool = False, slow: bool = False
    ) -> None:
        """`noted` is false where it dies before it can settle.

        What was claimed may be old by now, and so may be what it has frozen where it is `slow`.
        """
        replica = self.replicas[who]
        if not replica.claimed:
            return
        storm, known = replica.claimed.pop(0)
        if freeze and storm.state is State.OPEN and replica.index.get(storm.group_hash, storm.epoch):
            frozen = self.run(replica.freeze(storm))
            if frozen is None:
                return
            if slow:
                replica.claimed.append((frozen, known))
                return
            storm = frozen
        self.write(who, storm, known, noted=noted)

    @rule(who=REPLICAS, noted=st.booleans(), freeze=st.booleans())
    def replica_acts_at_once(self, who: int, noted: bool = True, freeze: bool = False) -> None:
        """What was claimed before is lost, as by a call that hangs for good."""
        self.replicas[who].claimed.clear()
        self.replica_claims(who)
        self.replica_writes_what_it_claimed(who, noted, freeze)

    def write(self, who: int, storm: Snapshot, known: Request | None, *, noted: bool) -> bool:
        """Whether the request now says what the snapshot says."""
        return self.run(self.replicas[who].write(storm, known, noted=noted, trim=self.fenced(who) or 0))

    # --- faults

    @rule(who=REPLICAS)
    def replica_restarts(self, who: int) -> None:
        self.run(self.replicas[who].end())
        self.replicas[who] = self.new_replica(who)

    @rule(noticed=NOTICED)
    def redis_is_emptied(self, noticed: Sequence[int] = ()) -> None:
        """`noticed` are the replicas that give it back what they hold before anything else happens."""
        self.servers.empty()
        self.loses()
        self.notice(noticed)

    @rule()
    def redis_is_copied(self) -> None:
        self.servers.copy()
        self.copied = True

    @rule(noticed=NOTICED)
    def copy_takes_over(self, noticed: Sequence[int] = ()) -> None:
        """The last words of Redis are lost, and another server answers."""
        if self.copied and self.servers.can_take_over:
            self.servers.take_over()
            self.loses()
            self.notice(noticed)

    def notice(self, noticed: Sequence[int]) -> None:
        """Let replicas see that Redis has lost the partition."""
        for who in noticed:
            self.replicas[who].folder.partition_lost(self.group.partition)
            self.replica_folds(who)

    def loses(self) -> None:
        """Redis has lost something."""

    # --- the end

    def drain(self) -> None:
        """Without a fault any more, everything comes to be counted, and is told so."""
        writer = self.steps % 2  # either must be able to do it alone
        for number in range(1, ROUNDS + 1):
            if self.is_done():
                return
            self.comes_again()
            for who in (0, 1):
                self.hears_of_requests(who)
                if number % SWEEP_ROUNDS == 0:
                    self.replica_looks_after_what_waits(who)
                self.replica_folds(who)
            self.acts(writer)
        raise AssertionError(f"never durable: {self.waiting()}")

    def is_done(self) -> bool:
        """Whether nobody waits for anything."""
        folders = [replica.folder for replica in self.replicas]
        return not self.waiting() and all(folder.idle and not folder.storms.in_flight() for folder in folders)

    def waiting(self) -> Any:
        """What is not counted, or not told."""
        raise NotImplementedError

    def comes_again(self) -> None:
        """What is not told is sent again, where the source does so."""

    def acts(self, who: int) -> None:
        """Write what there is."""
        self.replica_acts_at_once(who)

    def teardown(self) -> None:
        """Count, after the last step."""
        try:
            if self.replicas:
                self.drain()
                self.check()
        finally:
            for replica in self.replicas:
                self.run(replica.end())

    def check(self) -> None:
        """What holds in the end."""
        raise NotImplementedError
