"""What the reconciler does about what is due: when it believes Redis, and when it tries again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, cast

import pytest
from tests.harness.eventually import eventually
from tests.harness.request_bodies import STORM, request
from tests.harness.values import PHASES, T0

from stormfold.api.remediationrequest import RequestPhase
from stormfold.fold.connection import Memory
from stormfold.fold.errors import StoreUnavailableError
from stormfold.fold.replies import AckWord
from stormfold.fold.store import Sweep
from stormfold.kube.errors import ApiUnavailableError
from stormfold.model.group import PARTITIONS, partition
from stormfold.model.storm import Snapshot
from stormfold.policy.router import Router
from stormfold.request import backoff, reconciler, schedule
from stormfold.request.index import RequestIndex
from stormfold.request.places import Places
from stormfold.request.reading import Request
from stormfold.request.reconciler import Reconciler
from stormfold.request.schedule import STORMS_AT_ONCE, STORMS_THROTTLED, Schedule
from stormfold.request.writing import Outcome

CLAIMED = replace(STORM, total=8, folded=8)
"""The storm, one signal after its request was written."""
AHEAD = replace(STORM, total=9, folded=9)
"""The same incarnation of it, later."""


class Store:
    """A Redis in which every storm is as `CLAIMED`, and due when a test says so."""

    def __init__(self) -> None:
        self.is_due: set[str] = set()
        self.made_due: set[str] = set()
        """What it was told to make due; a test has the last word."""
        self.answers = True

    async def sweep(self, *, now_ms: int, fenced: bool = False) -> Sweep:
        return Sweep(await self.due(range(PARTITIONS), now_ms=now_ms), frozenset())

    async def due(self, numbers: Sequence[int], *, now_ms: int) -> dict[int, list[str]]:
        found: dict[int, list[str]] = {}
        for group_hash in sorted(self.is_due):
            if partition(group_hash) in numbers:
                found.setdefault(partition(group_hash), []).append(group_hash)
        return found

    async def make_due(self, group_hashes: Collection[str], *, now_ms: int) -> None:
        self.made_due |= set(group_hashes)

    async def claim(
        self, number: int, group_hashes: Sequence[str], *, now_ms: int, without_request: Collection[str]
    ) -> list[Snapshot]:
        if not self.answers:
            raise StoreUnavailableError("no answer")
        self.is_due -= set(group_hashes)
        return [replace(CLAIMED, group_hash=group_hash) for group_hash in group_hashes]

    async def ack(self, *_: Any, **__: Any) -> AckWord:
        return AckWord.GONE

    async def open_groups(self) -> set[str]:
        return set()

    async def memory(self) -> Memory:
        return Memory(0, 0)


class Writer:
    """Writes nothing; what comes of each write a test says."""

    def __init__(self, index: RequestIndex) -> None:
        self._index = index
        self.throttled = False
        self.outcome = Outcome.BEHIND
        self.fails = False
        self.told_meanwhile: Request | None = None
        """A request of which it hears between the claim and the write."""
        self.writing: list[str] = []
        """Storms whose write is under way."""
        self.word = asyncio.Event()
        """Lets the writes end."""
        self.word.set()

    async def write(self, storm: Snapshot, *_: Any, **__: Any) -> Outcome:
        if self.told_meanwhile:
            self._index.observe(self.told_meanwhile)
        self.writing.append(storm.group_hash)
        await self.word.wait()
        self.writing.remove(storm.group_hash)
        if self.fails:
            raise ApiUnavailableError("POST", 0, "", "no answer")
        return self.outcome

    async def let_end(self) -> None:
        """Let those end that are under way, and no other."""
        self.word.set()
        await asyncio.sleep(0)
        self.word.clear()


class Folder:
    """Folds nothing; hears of storms that are not to be believed. A storm of a test has its namespace as
    first letter."""

    def __init__(self) -> None:
        self.storms = self
        self.marked_stale: list[tuple[str, str]] = []
        """Group hash and incarnation."""

    def namespace_of(self, group_hash: str) -> str:
        return group_hash[0]

    def waits(self, group_hash: str) -> bool:
        return False

    def missing_in(self, group_hashes: Collection[str]) -> set[str]:
        return set()

    def mark_stale(self, request: Request, incarnation: str) -> None:
        self.marked_stale.append((request.group_hash, incarnation))

    def look_again_at_stale(self) -> None:
        pass

    def memory_full(self, full: bool) -> None:
        assert not full


class NothingElsewhere:
    """Other storms have told nothing."""

    async def refresh(self, *, now_ms: int, since_ms: int = 0) -> None:
        """Nothing is read."""


class NothingLed:
    """An ingest that does not lead."""

    leading = False

    def trim(self) -> int:
        return 0

    def fenced(self) -> None:
        return None


class Scene:
    """A reconciler that runs."""

    def __init__(self) -> None:
        self.store, self.folder, self.router = Store(), Folder(), Router()
        lookout = Schedule(cast("Any", self.store))
        self.index = RequestIndex(lookout)
        self.writer = Writer(self.index)
        self.reconciler = Reconciler(
            cast("Any", self.store),
            self.index,
            cast("Any", self.writer),
            folder=cast("Any", self.folder),
            schedule=lookout,
            ingest=NothingLed(),
            phases=PHASES,
            router=self.router,
            places=Places(
                self.index, self.router, deadlines=lookout, ingest=NothingLed(), changed=asyncio.Event()
            ),
            elsewhere=cast("Any", NothingElsewhere()),
        )

    async def look(self) -> None:
        """Let the storm be due, until something has been done about it."""
        self.store.made_due.clear()
        self.folder.marked_stale.clear()
        self.store.is_due.add(CLAIMED.group_hash)
        await eventually(lambda: self.store.made_due or self.folder.marked_stale, what="it is looked at")

    def let_be_due(self, **due: int) -> None:
        """Let so many storms of each namespace be due."""
        self.store.is_due |= {f"{name}{number:015x}" for name, n in due.items() for number in range(n)}

    async def writes(self, *namespaces: str) -> None:
        """Wait until it writes so many storms of these namespaces at the same time."""
        await eventually(
            lambda: sorted(group_hash[0] for group_hash in self.writer.writing),
            lambda writing: writing == list(namespaces),
            what=f"it writes {namespaces}",
        )


@pytest.fixture
async def scene(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    for module in (reconciler, schedule):
        monkeypatch.setattr(module, "now_ms", lambda: T0 + 12_000)
    for module in (reconciler, backoff):
        monkeypatch.setattr(module, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(reconciler, "SWEEP_SECONDS", 0.01)
    scene = Scene()
    running = asyncio.create_task(scene.reconciler.run())
    yield scene
    assert not running.done()
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


# --- when Redis is not believed: only if it held too little by the time that it was asked

NOT_BELIEVED = [(CLAIMED.group_hash, CLAIMED.incarnation)]


async def test_redis_that_held_less_than_the_request_is_not_believed(scene: Scene) -> None:
    scene.index.observe(request(AHEAD))
    await scene.look()
    assert scene.folder.marked_stale == NOT_BELIEVED


async def test_request_that_another_replica_wrote_since_the_claim_is_looked_at_again(scene: Scene) -> None:
    scene.index.observe(request(STORM))
    scene.writer.told_meanwhile = request(AHEAD, version=11)
    await scene.look()
    assert (scene.folder.marked_stale, scene.store.made_due) == ([], {CLAIMED.group_hash})


async def test_request_that_was_closed_since_the_claim_is_looked_at_again(scene: Scene) -> None:
    scene.index.observe(request(STORM))
    scene.writer.told_meanwhile = request(STORM, RequestPhase.CLOSED, version=11)
    await scene.look()
    assert (scene.folder.marked_stale, scene.store.made_due) == ([], {CLAIMED.group_hash})


async def test_storm_whose_request_was_not_known_at_the_claim_is_looked_at_again_first(scene: Scene) -> None:
    scene.writer.told_meanwhile = request(replace(AHEAD, incarnation="incarnation-0"))
    await scene.look()
    assert (scene.folder.marked_stale, scene.store.made_due) == ([], {CLAIMED.group_hash})
    await scene.look()
    assert scene.folder.marked_stale == NOT_BELIEVED


async def test_redis_that_knows_an_earlier_epoch_only_is_not_believed(scene: Scene) -> None:
    scene.index.observe(request(replace(AHEAD, epoch=3)))
    await scene.look()
    assert scene.folder.marked_stale == NOT_BELIEVED


# --- how many storms are worked on at the same time

HALF = STORMS_AT_ONCE // 2


async def test_fewer_storms_are_written_while_the_api_server_asks_for_less(scene: Scene) -> None:
    scene.writer.word.clear()
    scene.writer.throttled = True
    scene.let_be_due(a=100, b=1)
    await scene.writes(*"a" * (STORMS_THROTTLED // 2), "b")
    scene.writer.throttled = False
    await scene.writes(*"a" * HALF, "b")


async def test_namespace_whose_writes_fail_is_tried_with_one_storm_until_one_goes_well(scene: Scene) -> None:
    scene.writer.outcome = Outcome.WRITTEN
    scene.writer.word.clear()
    scene.writer.fails = True
    scene.let_be_due(a=20)
    await scene.writes(*"a" * HALF)
    await scene.writer.let_end()
    scene.let_be_due(b=2)
    await scene.writes("a", "b", "b")
    scene.writer.fails = False
    await scene.writer.let_end()
    await scene.writes(*"a" * HALF)


async def test_router_hears_that_the_namespace_of_a_request_is_not_there(scene: Scene) -> None:
    scene.router.namespaces_listed({"a": {}, "b": {}})
    scene.writer.outcome = Outcome.NO_NAMESPACE
    scene.let_be_due(a=1)
    await eventually(lambda: not scene.router.knows_namespace("a"), what="it is not known any more")
    assert scene.router.knows_namespace("b")


async def test_storms_whose_write_failed_are_made_due_again(scene: Scene) -> None:
    scene.writer.fails = True
    scene.let_be_due(a=3)
    due = set(scene.store.is_due)
    await eventually(lambda: scene.store.made_due, lambda made_due: made_due == due, what="they are made due")


async def test_storms_whose_claim_was_not_answered_are_made_due_and_hold_no_slot(scene: Scene) -> None:
    scene.writer.word.clear()
    scene.store.answers = False
    scene.let_be_due(a=HALF)
    due = set(scene.store.is_due)
    await eventually(lambda: scene.store.made_due, lambda made_due: made_due == due, what="they are made due")
    scene.store.answers = True
    await scene.writes(*"a" * HALF)
