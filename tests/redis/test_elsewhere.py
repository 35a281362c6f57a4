"""Alerts that are posted again when their own group and the overflow group of its policy have changed
places."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest
from tests.harness.eventually import eventually
from tests.harness.folders import POLICY, View, folding
from tests.harness.folding import DISCARDED_AS, Group
from tests.harness.metrics import sample
from tests.harness.redis_proxy import RedisProxy
from tests.harness.values import ARRIVAL, T0

from lab.valkey import Valkey
from stormfold.api.conditions import Reason
from stormfold.api.signal import SignalPhase
from stormfold.api.stormpolicy import Limits, PolicySpec
from stormfold.fold.folder import Folder
from stormfold.fold.holding import Continuation, RequestPosition
from stormfold.fold.replies import CloseWord, Recalled
from stormfold.fold.store import StormStore
from stormfold.model.arrival import AlertRef, Arrival, Span, Verdict
from stormfold.model.storm import Seed
from stormfold.policy.grouping import overflow_group
from stormfold.policy.router import Router
from stormfold.policy.version import PolicyVersion

ONE = PolicyVersion(POLICY.id, "policy-uid", 1, PolicySpec(group_by=("name",), limits=Limits(open_storms=1)))
"""Of which one group may have a storm; what is beyond shares the overflow group."""


def alert(group: str, *, firing: bool = True, starts_ms: int = T0) -> Arrival:
    """The only alert of a group."""
    return replace(ARRIVAL, ref=AlertRef(0, starts_ms), name=group, fingerprint=f"of-{group}", firing=firing)


GIDS = {
    **{name: ONE.group(alert(name)).group_hash for name in ("own", "other")},
    "overflow": overflow_group(ONE.group(alert("own"))).group_hash,
}
NAMES = {group_hash: name for name, group_hash in GIDS.items()}


def unanswered() -> float:
    """How many calls of this process Redis has not answered."""
    return sample("stormfold_fold_errors_total", reason="unavailable")


@dataclass(eq=False)
class Replica:
    """A folder that hears of requests when the test says so, and all that it works with."""

    store: StormStore
    told: list[tuple[str, str]] = field(default_factory=list)
    """(name, what of) in the order of the telling."""
    requests: dict[str, Continuation] = field(default_factory=dict)
    """group_hash → what its request says, where a test lets Redis lose something."""

    def __post_init__(self) -> None:
        router = Router()
        router.update([ONE], in_use=())
        self.folder = Folder(self.store, router, self, self, asyncio.Event())

    # --- as the source of its alerts

    leading = True

    def current(self, arrival: Arrival) -> Arrival:
        return arrival

    def folded(self, arrival: Arrival) -> None:
        """Not of interest."""

    def delayed(self, arrival: Arrival, why: str) -> None:
        """Not of interest."""

    def refused(self, arrival: Arrival, why: str) -> None:
        """Not of interest."""

    def durable(self, arrival: Arrival, verdict: Verdict) -> None:
        self.told.append((arrival.name, verdict.message))

    # --- as the index of requests

    def position(self, group_hash: str, epoch: int) -> RequestPosition | None:
        return None

    def continuation(self, group_hash: str) -> Continuation | None:
        return self.requests.get(group_hash)

    def closed_spans(self, group_hash: str, stream: str) -> Sequence[Span]:
        return ()

    def verdict(self, group_hash: str, epoch: int) -> Verdict:
        return Verdict(SignalPhase.FOLDED, Reason.COUNTED, f"{NAMES[group_hash]} {epoch}")

    # --- as the schedule

    def expect(self, number: int, due_ms: int) -> None:
        """Not of interest."""

    # --- what a test does

    def offer(self, *alerts: Arrival) -> None:
        """Take alerts in."""
        assert self.folder.offer([replace(alert, via=self) for alert in alerts]) == []

    async def post(self, *alerts: Arrival) -> None:
        """Take alerts in and wait until they are folded."""
        self.offer(*alerts)
        await eventually(lambda: self.folder.idle, what="all is folded")

    def group(self, name: str) -> Group:
        """That group in Redis."""
        return Group(self.store, GIDS[name], ONE.terms)

    async def total(self, name: str) -> int:
        """What the open storm of a group has counted."""
        return (await self.group(name).look(at=10)).total

    async def write(self, name: str, *, close: bool = False) -> None:
        """Let a request of the open storm hold all that there is, and be closed if it is to be."""
        group = self.group(name)
        storm = await (group.freeze_and_close(at=10) if close else group.look(at=10))
        held = RequestPosition(storm.epoch, storm.incarnation, storm.folded, storm.origin)
        self.folder.observed(View(held, storm.group_hash, ONE, overflow=name == "overflow", closed=close))

    async def open_groups(self) -> set[str]:
        """Those that have a storm in Redis."""
        return {NAMES[group_hash] for group_hash in await self.store.open_groups()}


@asynccontextmanager
async def running(url: str) -> AsyncIterator[Replica]:
    async with folding(url) as (store, let_fold):
        replica = Replica(store)
        let_fold(replica.folder)
        yield replica


@pytest.fixture
async def replica(redis: Valkey) -> AsyncIterator[Replica]:
    async with running(redis.url) as replica:
        yield replica


@pytest.fixture
async def replicas(redis: Valkey) -> AsyncIterator[tuple[Replica, Replica]]:
    async with AsyncExitStack() as stack:
        yield (
            await stack.enter_async_context(running(redis.url)),
            await stack.enter_async_context(running(redis.url)),
        )


# --- the other storm is over


async def test_alert_of_a_closed_overflow_storm_opens_none_of_its_own(replica: Replica) -> None:
    await replica.post(alert("other"), alert("own"))
    await replica.write("other", close=True)
    await replica.write("overflow", close=True)
    replica.told.clear()
    await replica.post(alert("own"), alert("own", firing=False))
    assert (await replica.open_groups(), replica.told) == (set(), [("own", "overflow 1")] * 2)
    assert not any(map(replica.folder.storms.is_open, NAMES))
    # A later start is a new occurrence.
    await replica.post(alert("own", starts_ms=T0 + 1))
    assert (await replica.open_groups(), await replica.total("own")) == ({"own"}, 1)


async def test_alert_of_a_closed_storm_of_its_own_is_not_in_the_overflow_storm(replica: Replica) -> None:
    await replica.post(alert("own"))
    await replica.write("own", close=True)
    await replica.post(alert("other"))
    replica.told.clear()
    await replica.post(alert("own"))
    assert (await replica.open_groups(), replica.told) == ({"other"}, [("own", "own 1")])
    await replica.post(alert("own", starts_ms=T0 + 1))
    assert (await replica.open_groups(), await replica.total("overflow")) == ({"other", "overflow"}, 1)


async def test_alert_of_a_discarded_overflow_storm_counts_in_one_of_its_own(replica: Replica) -> None:
    await replica.post(alert("other"), alert("own"))
    await replica.write("other", close=True)
    overflow = replica.group("overflow")
    storm = await overflow.look(at=10)
    assert await replica.store.discard(storm, DISCARDED_AS) is CloseWord.CLOSED
    replica.folder.released(storm, Verdict(SignalPhase.DISCARDED, Reason.BELOW_THRESHOLD, "too few"))
    await replica.post(alert("own"))
    assert (await replica.open_groups(), await replica.total("own")) == ({"own"}, 1)


# --- the other storm is open, and another replica's


async def test_alert_waits_for_the_overflow_request_of_another_replica(
    replicas: tuple[Replica, Replica],
) -> None:
    first, second = replicas
    await first.post(alert("other"), alert("own"))
    await second.post(alert("own"), alert("own", firing=False))
    assert (await second.open_groups(), await second.total("overflow")) == ({"other", "overflow"}, 1)
    assert second.folder.storms.namespace_of(GIDS["overflow"]) == "shop"
    assert [second.folder.storms.is_open(GIDS[name]) for name in ("own", "overflow")] == [False, True]
    assert second.told == []
    await second.write("overflow")
    assert second.told == [("own", "overflow 1")] * 2
    storm = await second.group("overflow").look(at=20)
    assert (storm.total, storm.firing, storm.resolved, storm.folded) == (1, 0, 1, 2)


async def test_alert_waits_for_the_request_of_its_own_that_another_replica_is_to_write(
    replicas: tuple[Replica, Replica],
) -> None:
    first, second = replicas
    await first.post(alert("own"))
    await second.post(alert("other"))
    await second.post(alert("own"))
    assert (await second.open_groups(), await second.total("own")) == ({"own", "other"}, 1)
    assert second.told == []
    await second.write("own")
    assert second.told == [("own", "own 1")]


async def test_alert_that_waited_for_its_closing_storm_is_not_in_the_overflow_storm(replica: Replica) -> None:
    await replica.post(alert("own"))
    await replica.write("own")
    await replica.post(alert("other"))
    assert await replica.open_groups() == {"own", "overflow"}
    own = replica.group("own")
    _, frozen = await own.freeze(await own.look(at=10), at=10)
    assert frozen is not None
    calls = sample("stormfold_fold_duration_seconds_count")
    replica.offer(alert("own"))
    await eventually(
        lambda: sample("stormfold_fold_duration_seconds_count") > calls, what="it hears that the storm closes"
    )
    assert await replica.store.close_storm(frozen) is CloseWord.CLOSED
    replica.told.clear()
    replica.folder.closed(frozen.group_hash)
    await eventually(lambda: replica.told == [("own", "own 1")], what="it is durable")
    assert (await replica.open_groups(), await replica.total("overflow")) == ({"overflow"}, 1)


# --- Redis has lost the other storm


async def test_alert_that_a_lost_storm_may_have_counted_is_said_to_be_in_doubt(
    replica: Replica, redis: Valkey
) -> None:
    await replica.post(alert("other"), alert("own"))
    storm = await replica.group("overflow").look(at=10)
    await replica.write("other", close=True)
    await replica.write("overflow", close=True)
    replica.requests[GIDS["overflow"]] = Continuation(
        Seed(
            epoch=1,
            closed=True,
            incarnation=storm.incarnation,
            total=1,
            folded=1,
            opened_ms=T0,
            latest_start_ms=storm.latest_start_ms,
        ),
        ONE,
        "",
    )
    redis.command("FLUSHALL")
    await replica.post(alert("own"))
    own = await replica.group("own").look(at=20)
    assert (own.total, own.repeats) == (1, 1)
    # What began later the lost storm has not counted.
    await replica.post(alert("own", starts_ms=T0 + 1))
    own = await replica.group("own").look(at=30)
    assert (own.total, own.repeats) == (2, 1)


# --- what it costs


async def test_only_what_opens_a_storm_asks_while_there_is_no_overflow_storm(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[set[str]] = []
    recall = replica.store.recall

    async def noted(alerts: Mapping[str, Sequence[Arrival]]) -> dict[str, Recalled]:
        asked.append({NAMES[group_hash] for group_hash in alerts})
        return await recall(alerts)

    monkeypatch.setattr(replica.store, "recall", noted)
    for starts_ms in range(T0, T0 + 3):
        await replica.post(alert("own", starts_ms=starts_ms))
    assert (await replica.total("own"), asked) == (3, [{"overflow"}])
    await replica.post(alert("other"))
    assert asked == [{"overflow"}, {"other"}]
    await replica.post(alert("own", starts_ms=T0 + 3))
    assert asked == [{"overflow"}, {"other"}, {"overflow"}]


async def test_question_is_asked_again_when_redis_does_not_answer(
    valkey: Valkey, redis_proxy: RedisProxy
) -> None:
    async with running(redis_proxy.url) as replica:
        await replica.post(alert("other"), alert("own"))
        await replica.write("other", close=True)
        await replica.write("overflow", close=True)
        redis_proxy.disconnect()
        failed = unanswered()
        replica.offer(alert("own"))
        await eventually(lambda: unanswered() > failed, what="Redis does not answer")
        redis_proxy.reconnect()
        await eventually(lambda: replica.folder.idle, what="it is known")
        assert (await replica.open_groups(), Counter(replica.told)["own", "overflow 1"]) == (set(), 2)
