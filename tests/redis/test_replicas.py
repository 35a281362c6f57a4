"""Alerts of one group through two replicas, in any interleaving: none is lost, and each counts once.

Where Redis is emptied, an alert from before may count twice: then the request says so, and of how many. A group below its
threshold is discarded: who posts its alerts is told so, and then they are in no request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar, cast

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from tests.harness.folding import CLUSTER, COPY_KEYS, GID, SAVED, Group, descends, fields_of
from tests.harness.values import ARRIVAL, T0

from stormfold.demo.valkey import Valkey
from stormfold.fold.connection import Connection
from stormfold.fold.holding import Held, Life, Unsafe, places
from stormfold.fold.keys import PREFIX
from stormfold.fold.replies import FoldWord, ForgetWord
from stormfold.fold.store import StormStore
from stormfold.model.arrival import AlertRef, Arrival
from stormfold.model.storm import Seed, Snapshot, State
from stormfold.policy.routing import Routed

T = TypeVar("T")
REPLICAS = st.integers(0, 1)
OTHER_SERVER = """
for _, key in ipairs(redis.call('KEYS', ARGV[1] .. '*:storm:*')) do
  local storm = cmsgpack.unpack(redis.call('GET', key))
  if storm.g then storm.g = string.sub(storm.g, 1, 4) .. 'xxxx' end
  if storm.ds then storm.ds = 'xxxx' end
  if storm.og then storm.og = string.sub(storm.og, 1, 4) .. 'xxxx' .. string.sub(storm.og, 9) end
  redis.call('SET', key, cmsgpack.pack(storm), 'KEEPTTL')
end
"""
"""Makes the storms those of a server with another run id; `of_another_server` does it to whoever knows of them."""


@dataclass(frozen=True)
class Request:
    """What the API server has of one storm."""

    last: Snapshot
    closed: bool
    version: int

    @property
    def held(self) -> Held:
        """As the folder compares it."""
        return Held(self.last.epoch, self.last.incarnation, self.last.folded, self.last.origin)

    def seed(self) -> Seed:
        """What a lost storm is continued from."""
        return Seed(
            epoch=self.last.epoch,
            closed=self.closed,
            incarnation=self.last.incarnation,
            total=self.last.total,
            folded=self.last.folded,
            firing=self.last.firing,
            resolved=self.last.resolved,
            opened_ms=self.last.opened_ms,
            latest_start_ms=self.last.latest_start_ms,
            alerts=self.last.alerts,
            repeats=self.last.repeats,
        )


@dataclass
class Replica:
    """What one process knows; `view` is what it has heard of the requests."""

    view: dict[int, Request]
    queue: list[Arrival] = field(default_factory=list)
    known: tuple[int, int, str] = (0, 0, "")
    distrusted: str = ""
    unsafe: list[Unsafe] = field(default_factory=list)
    claimed: list[Snapshot] = field(default_factory=list)

    def latest(self) -> Request | None:
        """The request of the highest epoch it has heard of."""
        return self.view[max(self.view)] if self.view else None

    def sees_held(self, item: Unsafe) -> bool:
        """Whether a request that it has heard of holds the alert."""
        return any(item.is_in(request.held) for request in self.view.values())


def of_another_server(life: str) -> str:
    """An incarnation, or what begins with one, as if the server that it names were not this one."""
    return f"{life[:4]}xxxx{life[8:]}" if life else life


def name_of(item: Unsafe) -> Arrival:
    """The alert that was folded."""
    return cast("Arrival", item.routed)


class OneGroup(RuleBasedStateMachine):
    """Alertmanager sends alerts, and repeats them until they are acknowledged and also afterwards."""

    def __init__(self, server: Valkey) -> None:
        super().__init__()
        self.server = server
        server.command("FLUSHALL")
        self.runner = asyncio.Runner()
        self.connection = Connection.from_url(server.url)
        self.group = Group(StormStore(self.connection, cluster=CLUSTER))
        self.at = 0
        self.versions = 0
        self.losses = 0
        self.copied = False
        self.requests: dict[int, Request] = {}
        self.replicas = [Replica({}), Replica({})]
        self.threshold = 1
        self.alerts: list[Arrival] = []
        self.acknowledged: set[str] = set()
        self.discarded: set[str] = set()
        """Fingerprints of alerts of which somebody has been told so."""
        self.forgiven: set[str] = set()
        """Those that Redis may have lost since, while somebody held them still or posted them again."""

    def run(self, step: Coroutine[Any, Any, T]) -> T:
        self.at += 100
        return self.runner.run(step)

    @initialize(threshold=st.sampled_from([1, 1, 2, 3]))
    def first_alert(self, threshold: int = 1) -> None:
        self.threshold = threshold
        self.alert_begins(0)

    # --- Alertmanager

    @rule(who=REPLICAS, clock=st.integers(-1000, 1000))
    def alert_begins(self, who: int, clock: int = 0) -> None:
        """`clock` is by how much that of whoever says when it began is wrong."""
        number = len(self.alerts)
        ref = AlertRef(cast("Any", None), number, T0 + self.at + clock)
        self.alerts.append(replace(ARRIVAL, ref=ref, fingerprint=f"alert-{number}", seen_ms=T0 + self.at))
        self.replicas[who].queue.append(self.alerts[-1])

    @rule(who=REPLICAS, which=st.integers(0, 99))
    def alert_is_sent_again(self, who: int, which: int) -> None:
        alert = self.alerts[which % len(self.alerts)]
        self.replicas[who].queue.append(alert)
        if self.losses:
            self.forgive({alert.fingerprint})

    # --- folding, as batching.py does it

    @rule(who=REPLICAS, answer_lost=st.booleans())
    def replica_folds(self, who: int, answer_lost: bool) -> None:
        replica = self.replicas[who]
        batch, replica.queue = replica.queue, []
        if answer_lost and not replica.distrusted:
            self.call(replica, batch)
        self.fold(replica, batch)

    def fold(self, replica: Replica, batch: list[Arrival]) -> None:
        outdated = bool(replica.unsafe) and replica.unsafe[0].life.incarnation != replica.known[2]
        trusted = not (replica.distrusted or outdated)
        if not trusted or not self.note(replica, batch, self.call(replica, batch)):
            self.fold_again(replica, batch)

    def fold_again(self, replica: Replica, batch: list[Arrival]) -> None:
        latest = replica.latest()
        lost, replica.unsafe, replica.known = replica.unsafe, [], (0, 0, "")
        sure = places([item.is_surely_not_in(latest.seed() if latest else None) for item in lost])
        batch = [name_of(item) for item in lost] + batch
        assert self.note(replica, batch, self.call(replica, batch, sure), lost)

    def call(self, replica: Replica, batch: list[Arrival], sure: Iterable[int] = ()) -> Any:
        latest = replica.latest() if replica.known[0] == 0 else None
        return self.run(
            self.group.fold(
                *batch,
                known=replica.known[:2],
                life=replica.known[2],
                distrusted=replica.distrusted,
                seed=latest.seed() if latest else None,
                sure=sure,
                at=self.at,
            )
        )

    def note(self, replica: Replica, batch: list[Arrival], answer: Any, lost: Sequence[Unsafe] = ()) -> bool:
        """`lost` are the first of the batch: those that were folded before."""
        if answer.word is FoldWord.LOST:
            return False
        if answer.word is FoldWord.CLOSING:
            replica.queue = batch + replica.queue
            return True
        replica.distrusted = ""
        replica.known = (answer.epoch, answer.folded, answer.incarnation) if answer.open else (0, 0, "")
        items = [*lost, *(Unsafe(cast("Routed", alert)) for alert in batch[len(lost) :])]
        for place, (item, ordinal) in enumerate(zip(items, answer.ordinals, strict=True)):
            alert = name_of(item)
            item = item.folded(Life(answer.epoch, answer.incarnation, ordinal, place in answer.doubtful))
            if place in answer.discarded:
                self.discard(alert)
            elif not ordinal or ordinal <= answer.written or replica.sees_held(item):
                self.acknowledged.add(alert.fingerprint)
            else:
                replica.unsafe.append(item)
        return True

    # --- requests

    @rule(who=REPLICAS)
    def replica_hears_of_requests(self, who: int) -> None:
        self.observe(self.replicas[who], dict(self.requests))

    def observe(self, replica: Replica, view: dict[int, Request]) -> None:
        replica.view = view
        for request in view.values():
            while replica.unsafe and replica.unsafe[0].is_in(request.held):
                self.acknowledged.add(name_of(replica.unsafe.pop(0)).fingerprint)
            if request.closed and replica.known[0] <= request.last.epoch:
                replica.known = (0, 0, "")

    @rule(who=REPLICAS)
    def replica_claims(self, who: int) -> None:
        async def claim() -> Snapshot | None:
            await self.group.store.hasten([GID], now_ms=0)
            return await self.group.claim(at=self.at)

        storm = self.run(claim())
        if storm:
            self.replicas[who].claimed.append(storm)

    @rule(who=REPLICAS, told=st.booleans())
    def replica_discards_what_it_claimed(self, who: int, told: bool) -> None:
        """`told` is false where it dies, or does not hear of what it did."""
        replica = self.replicas[who]
        if not replica.claimed:
            return
        storm = replica.claimed.pop(0)
        decided = (
            storm.state is State.OPEN
            and storm.total < self.threshold
            and not storm.written
            and storm.epoch not in replica.view
        )
        if not decided or storm.epoch in self.requests:
            return
        word = self.run(self.group.discard(storm))
        if word is ForgetWord.FORGOTTEN and told:
            gone = [item for item in replica.unsafe if item.is_of(storm)]
            replica.unsafe = [item for item in replica.unsafe if not item.is_of(storm)]
            for item in gone:
                self.discard(name_of(item))
            if replica.known[2] == storm.incarnation:
                replica.known = (0, 0, "")

    def discard(self, alert: Arrival) -> None:
        self.acknowledged.add(alert.fingerprint)
        self.discarded.add(alert.fingerprint)

    def lose(self) -> None:
        """Redis has lost something; who holds an alert that was discarded elsewhere cannot hear of it any more."""
        self.losses += 1
        for replica in self.replicas:
            held = [*replica.queue, *(name_of(item) for item in replica.unsafe)]
            self.forgive({alert.fingerprint for alert in held})

    def forgive(self, fingerprints: set[str]) -> None:
        self.forgiven |= fingerprints & self.discarded

    @rule(who=REPLICAS, noted=st.booleans(), freeze=st.booleans(), slow=st.booleans())
    def replica_writes_what_it_claimed(self, who: int, noted: bool, freeze: bool, slow: bool = False) -> None:
        """`noted` is false where it dies before it can settle; what was claimed may be old by now, and where it is `slow`
        the same goes for what it has frozen."""
        replica = self.replicas[who]
        if not replica.claimed:
            return
        storm = replica.claimed.pop(0)
        if storm.state is State.OPEN and freeze and storm.epoch in self.requests:
            _, frozen = self.run(self.group.close(storm, at=self.at))
            if frozen is None:
                return
            storm = frozen
            if slow:
                replica.claimed.append(storm)
                return
        if self.write(replica, storm) and noted:
            if storm.state is State.CLOSING:
                self.run(self.group.store.forget_closed(storm))
            else:
                self.run(self.group.settle(storm, at=self.at, next_look=self.at))

    def write(self, replica: Replica, storm: Snapshot) -> bool:
        closed = storm.state is State.CLOSING
        for _ in range(2):
            request = replica.view.get(storm.epoch)
            current = self.requests.get(storm.epoch)
            if current is None and not self.may_be_made(storm):
                return False
            if request and not may_be_written(request, storm, closed=closed):
                replica.distrusted = storm.incarnation
                return False
            if (request.version if request else 0) != (current.version if current else 0):
                self.observe(replica, dict(self.requests))  # a conflict: read again
                continue
            self.versions += 1
            self.requests[storm.epoch] = Request(storm, closed, self.versions)
            for epoch, earlier in list(self.requests.items()):
                if epoch < storm.epoch and not earlier.closed:
                    self.requests[epoch] = replace(earlier, closed=True, version=self.versions)
            self.observe(replica, dict(self.requests))
            return True
        return False

    def may_be_made(self, storm: Snapshot) -> bool:
        """A request is made at once: Redis is not emptied, and the group not discarded by somebody else, before it is."""
        if self.threshold == 1:
            return True
        life = fields_of(self.server, self.group.storm_key).get("g")
        return storm.total >= self.threshold and life == storm.incarnation

    # --- faults

    @rule(who=REPLICAS)
    def replica_restarts(self, who: int) -> None:
        self.replicas[who] = Replica(dict(self.requests))

    @rule()
    def redis_is_emptied(self) -> None:
        self.server.command("FLUSHALL")
        self.lose()

    @rule()
    def redis_is_copied(self) -> None:
        """What a replica, or a file on a disk, has."""
        self.server.command("EVAL", COPY_KEYS, 0, PREFIX, SAVED)
        self.copied = True

    @rule()
    def copy_takes_over(self) -> None:
        """A fail-over, or a restart: the last words of Redis are lost, and another server answers."""
        if self.copied:
            self.server.command("EVAL", COPY_KEYS, 0, SAVED, PREFIX)
            self.server.command("EVAL", OTHER_SERVER, 0, PREFIX)
            self.lose()
            self.requests = {epoch: before(request) for epoch, request in self.requests.items()}
            for replica in self.replicas:
                replica.view = {epoch: before(request) for epoch, request in replica.view.items()}
                replica.known = (*replica.known[:2], of_another_server(replica.known[2]))
                replica.distrusted = of_another_server(replica.distrusted)
                replica.claimed = [told_before(storm) for storm in replica.claimed]
                replica.unsafe = [
                    Unsafe(item.routed, tuple(counted_before(life) for life in item.lives))
                    for item in replica.unsafe
                ]

    # --- what holds

    def teardown(self) -> None:
        try:
            self.drain()
            counted = sum(request.last.total for request in self.requests.values())
            repeats = sum(request.last.repeats for request in self.requests.values())
            in_no_request = len(self.discarded)
            assert len(self.alerts) - in_no_request <= counted, "an alert is lost"
            most = len(self.alerts) - len(self.discarded - self.forgiven)
            assert counted - repeats <= most, (
                "an alert counts twice, or although it is discarded, and no request says so"
            )
            assert self.losses or not repeats
        finally:
            self.run(self.connection.close())
            self.runner.close()

    def drain(self) -> None:
        """Alertmanager tries again until all is acknowledged; no faults any more."""
        for _ in range(20):
            waiting = [alert for alert in self.alerts if alert.fingerprint not in self.acknowledged]
            if not waiting and not any(replica.unsafe or replica.queue for replica in self.replicas):
                return
            self.post_again(waiting)
            for who in (0, 1):
                self.replica_hears_of_requests(who)
                self.replica_folds(who, answer_lost=False)
            for act in (self.drain_by_writing, self.drain_by_discarding):
                self.replica_claims(0)
                while self.replicas[0].claimed:
                    act()
        raise AssertionError(f"never safe: {self.replicas}")

    def post_again(self, waiting: list[Arrival]) -> None:
        self.replicas[0].queue += waiting

    def drain_by_writing(self) -> None:
        self.replica_writes_what_it_claimed(0, noted=True, freeze=False)

    def drain_by_discarding(self) -> None:
        self.replica_discards_what_it_claimed(0, told=True)


class OneHolder(OneGroup):
    """Each alert comes once, to a replica that lives: whatever Redis loses and whoever writes, it knows them all."""

    replica_restarts = alert_is_sent_again = None

    @initialize()
    def first_alert(self) -> None:
        self.alert_begins()

    @rule()
    def alert_begins(self) -> None:
        super().alert_begins(0)

    @rule(who=REPLICAS)
    def replica_folds(self, who: int, answer_lost: bool = False) -> None:
        super().replica_folds(who, answer_lost)

    def write(self, replica: Replica, storm: Snapshot) -> bool:
        """Of what the other one has written it hears before Redis is continued from that."""
        written = super().write(replica, storm)
        self.replica_hears_of_requests(0)
        return written

    def post_again(self, waiting: list[Arrival]) -> None:
        """It holds them still."""

    def teardown(self) -> None:
        super().teardown()
        doubted = {epoch: request.last.repeats for epoch, request in self.requests.items()}
        assert not any(doubted.values()), f"alerts are said to count twice: {doubted}"


def may_be_written(request: Request, storm: Snapshot, *, closed: bool) -> bool:
    """As request.writing tells it."""
    if request.closed:
        return closed and storm.life == request.last.life
    return descends(storm, request.last)


def told_before(storm: Snapshot) -> Snapshot:
    """A snapshot that another server gave."""
    return replace(
        storm,
        incarnation=of_another_server(storm.incarnation),
        origin=of_another_server(storm.origin),
    )


def counted_before(life: Life) -> Life:
    """What another server had said of an alert."""
    return life._replace(incarnation=of_another_server(life.incarnation))


def before(request: Request) -> Request:
    """A request that was written from what another server had."""
    return replace(request, last=told_before(request.last))


@pytest.mark.parametrize("world", [OneGroup, OneHolder])
def test_each_alert_counts_once_through_two_replicas_whatever_happens(
    redis: Valkey, world: type[OneGroup]
) -> None:
    run_state_machine_as_test(
        lambda: world(redis),
        settings=settings(
            max_examples=100,
            stateful_step_count=40,
            deadline=None,
            derandomize=True,
            phases=(Phase.explicit, Phase.reuse, Phase.generate),
            suppress_health_check=list(HealthCheck),
        ),
    )
