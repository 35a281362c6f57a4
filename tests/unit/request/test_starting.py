"""Which of the storms that are due are worked on next."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from string import hexdigits
from typing import Any, cast

import pytest
from tests.harness.values import T0
from tests.unit.request.test_index import STORM

from stormfold.fold.errors import StoreUnavailableError
from stormfold.kube.errors import ApiUnavailableError
from stormfold.model.storm import Snapshot
from stormfold.request import reconciler
from stormfold.request.index import RequestIndex
from stormfold.request.reconciler import FAILING, STORMS_AT_ONCE, STORMS_THROTTLED, Reconciler
from stormfold.request.writing import Outcome


@dataclass
class Scene:
    """A reconciler whose storms are named by their namespace and a number, and whose writes wait for a word."""

    writing: list[str] = field(default_factory=list)
    """Gids whose write is under way."""
    fails: bool = False
    redis_fails: bool = False
    throttled: bool = False

    def __post_init__(self) -> None:
        self.word = asyncio.Event()
        this = cast("Any", self)
        self.reconciler = Reconciler(
            this,
            RequestIndex(),
            this,
            terminal_phases=(),
            trim=dict,
            fenced=dict,
            throttled=lambda: self.throttled,
        )
        self.reconciler.connect(this)
        self.tasks = asyncio.TaskGroup()

    # As the store, the writer and the folder

    async def claim(self, number: int, gids: Sequence[str], **_: Any) -> list[Snapshot]:
        if self.redis_fails:
            raise StoreUnavailableError("no answer")
        return [replace(STORM, gid=gid, total=8, folded=8) for gid in gids]

    async def write(self, storm: Snapshot, *_: Any, **__: Any) -> Outcome:
        self.writing.append(storm.gid)
        await self.word.wait()
        self.writing.remove(storm.gid)
        if self.fails:
            raise ApiUnavailableError("POST", 0, "", "no answer")
        return Outcome.WRITTEN

    async def settle(self, *_: Any, **__: Any) -> None:
        pass

    def namespace_of(self, gid: str) -> str:
        return gid[0]

    # What the test does

    async def start(self, **due: int) -> list[str]:
        """Let so many storms of each namespace be due; gives what is then written, by namespace."""
        gids = [f"{name}{number:015x}" for name, count in due.items() for number in range(count)]
        self.reconciler._line_up([gids])
        await self.reconciler._start(self.tasks)
        await asyncio.sleep(0)
        return sorted(gid[0] for gid in self.writing)

    async def go_on(self) -> None:
        """Let the writes end."""
        self.word.set()
        await asyncio.sleep(0)
        self.word.clear()
        for _ in range(5):
            await asyncio.sleep(0)


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.setattr(reconciler, "now_ms", lambda: T0 + 12_000)
    monkeypatch.setattr(reconciler, "RETRY_SECONDS", 0.0)
    return Scene()


async def test_namespace_gets_half_of_the_slots_and_the_next_one_half_of_the_rest(scene: Scene) -> None:
    half = STORMS_AT_ONCE // 2
    async with scene.tasks:
        assert await scene.start(a=100) == ["a"] * half
        # Nothing of the first has ended, and the second begins all the same.
        assert await scene.start(b=1) == ["a"] * half + ["b"]
        assert await scene.start(b=100) == ["a"] * half + ["b"] * (half // 2)
        scene.word.set()


async def test_fewer_storms_are_begun_while_the_api_server_asks_for_less(scene: Scene) -> None:
    async with scene.tasks:
        scene.throttled = True
        assert await scene.start(a=100, b=1) == ["a"] * (STORMS_THROTTLED // 2) + ["b"]
        scene.throttled = False
        assert (await scene.start()).count("a") > STORMS_THROTTLED // 2
        scene.word.set()


async def test_namespaces_take_turns_among_what_is_due(scene: Scene) -> None:
    async with scene.tasks:
        await scene.start(a=50, b=50)
        await scene.go_on()
        written = await scene.start()
        assert abs(written.count("a") - written.count("b")) <= STORMS_AT_ONCE // 2
        scene.word.set()


async def test_storm_is_lined_up_once(scene: Scene) -> None:
    async with scene.tasks:
        await scene.start(a=20)
        await scene.start(a=20)
        assert len(scene.reconciler._turns) == 20 - STORMS_AT_ONCE // 2
        scene.word.set()


async def test_namespace_that_only_fails_is_tried_with_one_storm(scene: Scene) -> None:
    async with scene.tasks:
        scene.fails = True
        await scene.start(a=20)
        await scene.go_on()
        assert scene.reconciler._failures["a"] == FAILING
        assert await scene.start(b=2) == ["a", "b", "b"]
        scene.fails = False
        await scene.go_on()
        # One write that goes well, and it is as before.
        assert await scene.start() == ["a"] * (STORMS_AT_ONCE // 2)
        scene.word.set()


async def test_namespaces_that_only_fail_take_no_more_slots_than_there_are(scene: Scene) -> None:
    failing = hexdigits[: STORMS_THROTTLED + 4]
    scene.throttled = True
    for namespace in failing:
        scene.reconciler._failures[namespace] = FAILING
        scene.reconciler._next_try[namespace] = 0.0
    async with scene.tasks:
        assert await scene.start(**dict.fromkeys(failing, 1)) == list(failing[:STORMS_THROTTLED])
        await scene.go_on()
        assert await scene.start() == list(failing[STORMS_THROTTLED:])
        scene.word.set()


async def test_storms_whose_claim_was_not_answered_are_hastened_and_hold_no_slot(scene: Scene) -> None:
    async with scene.tasks:
        scene.redis_fails = True
        with pytest.raises(StoreUnavailableError):
            await scene.start(a=3)
        assert len(scene.reconciler._hasten) == 3
        assert (scene.reconciler._busy, scene.reconciler._slots.taken) == (set(), 0)
