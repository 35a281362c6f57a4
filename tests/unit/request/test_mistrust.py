"""When Redis is not believed: only if it held too little by the time that it was asked."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest
from tests.harness.values import T0
from tests.unit.request.test_index import STORM, request

from stormfold.api.remediationrequest import RequestPhase
from stormfold.model.storm import Snapshot
from stormfold.request import reconciler
from stormfold.request.index import RequestIndex
from stormfold.request.reconciler import Reconciler
from stormfold.request.writing import Outcome

CLAIMED = replace(STORM, total=8, folded=8)
"""The storm, one signal after its request was written."""
AHEAD = replace(STORM, total=9, folded=9)
"""The same life of it, later."""


@dataclass
class Scene:
    """A reconciler whose Redis gives `storm`, and whose writer finds what the index knows by the time of the write."""

    index: RequestIndex = field(default_factory=RequestIndex)
    storm: Snapshot = CLAIMED
    told_meanwhile: Any = None
    """A request of which the writer hears between the claim and the write."""
    mistrusted: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.reconciler = Reconciler(
            cast("Any", self),
            self.index,
            cast("Any", self),
            terminal_phases=(),
            trim=dict,
            fenced=dict,
        )
        self.reconciler.connect(cast("Any", self))

    # As the store, the writer and the folder

    async def claim(self, *_: Any, **__: Any) -> list[Snapshot]:
        return [self.storm]

    async def write(self, *_: Any, **__: Any) -> Outcome:
        if self.told_meanwhile:
            self.index.observe(self.told_meanwhile)
        return Outcome.BEHIND

    def mistrust(self, gid: str, incarnation: str, *_: Any, **__: Any) -> None:
        self.mistrusted.append(incarnation)

    def namespace_of(self, gid: str) -> str:
        return "shop"

    async def look(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            self.reconciler._line_up([[self.storm.gid]])
            await self.reconciler._start(tasks)

    @property
    def hastened(self) -> set[str]:
        return self.reconciler._hasten


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.setattr(reconciler, "now_ms", lambda: T0 + 12_000)
    return Scene()


async def test_redis_that_held_less_than_the_request_is_not_believed(scene: Scene) -> None:
    scene.index.observe(request(AHEAD))
    await scene.look()
    assert scene.mistrusted == [CLAIMED.incarnation]


async def test_request_that_another_replica_wrote_since_the_claim_is_looked_at_again(scene: Scene) -> None:
    scene.index.observe(request(STORM))
    scene.told_meanwhile = request(AHEAD, version=11)
    await scene.look()
    assert (scene.mistrusted, scene.hastened) == ([], {CLAIMED.gid})


async def test_request_that_was_closed_since_the_claim_is_looked_at_again(scene: Scene) -> None:
    scene.index.observe(request(STORM))
    scene.told_meanwhile = request(STORM, RequestPhase.CLOSED, version=11)
    await scene.look()
    assert (scene.mistrusted, scene.hastened) == ([], {CLAIMED.gid})


async def test_storm_whose_request_was_not_known_at_the_claim_is_looked_at_again_first(scene: Scene) -> None:
    scene.told_meanwhile = request(replace(AHEAD, incarnation="life-0"))
    await scene.look()
    assert (scene.mistrusted, scene.hastened) == ([], {CLAIMED.gid})
    await scene.look()
    assert scene.mistrusted == [CLAIMED.incarnation]


async def test_redis_that_knows_an_earlier_epoch_only_is_not_believed(scene: Scene) -> None:
    scene.index.observe(request(replace(AHEAD, epoch=3)))
    await scene.look()
    assert scene.mistrusted == [CLAIMED.incarnation]
