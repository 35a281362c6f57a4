"""Which Signals are kept, and which are to be deleted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import cast

import pytest
from tests.harness.eventually import eventually
from tests.harness.metrics import sample
from tests.harness.values import ARRIVAL

from stormfold.app import end_all
from stormfold.kube.client import KubeClient
from stormfold.model.arrival import SignalRef
from stormfold.sources.signals import retention
from stormfold.sources.signals.retention import (
    DELETIONS_AT_MOST,
    DELETIONS_AT_ONCE,
    DELETIONS_BEHIND,
    SWEEP,
    Retention,
)
from stormfold.sources.signals.rush import LIVE_AT_MOST, RUSH_SECONDS, RUSH_SIGNALS


def ref(uid: str, namespace: str = "shop", *, generation: int = 1, version: int = 100) -> SignalRef:
    return replace(ARRIVAL.ref, uid=uid, namespace=namespace, generation=generation, resource_version=version)


@dataclass
class Client:
    """An API server that deletes when it is told to, and at once by default."""

    under_way: int = 0
    deleted: list[tuple[str, int]] = field(default_factory=list)
    """(uid, resourceVersion) in the order of the deletions."""
    word: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.word.set()

    async def delete(self, path: str, *, uid: str, resource_version: int) -> None:
        self.under_way += 1
        await self.word.wait()
        self.under_way -= 1
        self.deleted.append((uid, resource_version))

    @property
    def uids(self) -> list[str]:
        return [uid for uid, _ in self.deleted]


@dataclass
class Scene:
    """A book that keeps two Signals in each namespace, and the API server where it deletes."""

    client: Client
    retention: Retention

    async def come_to(self, *uids: str) -> None:
        """Wait until these are deleted, in this order, and no deletion is due."""
        await eventually(
            lambda: (self.client.uids, sample("stormfold_signal_deletions_waiting")),
            lambda seen: seen == (list(uids), 0),
            what=f"{uids} are deleted",
        )


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    client = Client()
    retention = Retention(cast("KubeClient", client), per_namespace=2)
    parts = [asyncio.create_task(part, name=name) for name, part in retention.parts().items()]
    yield Scene(client, retention)
    await end_all(parts)


async def test_oldest_of_a_namespace_with_too_many_is_deleted_once(scene: Scene) -> None:
    for uid in ("a", "b", "c", "d"):
        scene.retention.keep(ref(uid), 600)
    scene.retention.keep(ref("other", "ops"), 600)
    await scene.come_to("a", "b")
    scene.retention.keep(ref("e"), 600)
    await scene.come_to("a", "b", "c")


async def test_signal_that_is_kept_anew_is_the_youngest(scene: Scene) -> None:
    for uid in ("a", "b", "a", "c"):
        scene.retention.keep(ref(uid), 600)
    await scene.come_to("b")


async def test_signal_that_has_gone_makes_room(scene: Scene) -> None:
    for uid in ("a", "b"):
        scene.retention.keep(ref(uid), 600)
    scene.retention.forget("a")
    scene.retention.keep(ref("c"), 600)
    scene.retention.keep(ref("d"), 600)
    await scene.come_to("b")


async def test_signal_is_deleted_when_its_time_is_over(scene: Scene) -> None:
    scene.retention.keep(ref("later"), 600)
    scene.retention.keep(ref("now"), 0)
    await scene.come_to("now")


async def test_edited_signal_is_deleted_at_its_new_version(scene: Scene) -> None:
    scene.retention.keep(ref("a"), 0)
    scene.retention.changed(ref("a", version=200))
    await scene.come_to("a")
    assert scene.client.deleted == [("a", 200)]


async def test_raised_generation_is_not_deleted(scene: Scene) -> None:
    scene.retention.keep(ref("a"), 0)
    scene.retention.changed(ref("a", generation=2, version=200))
    scene.retention.keep(ref("after"), 0)
    await scene.come_to("after")


async def test_signal_that_is_not_kept_is_none_of_its_business(scene: Scene) -> None:
    scene.retention.keep(ref("b"), 600)
    scene.retention.changed(ref("a"))
    scene.retention.forget("a")
    assert sample("stormfold_signals_kept") == 1


async def test_ends_of_what_has_gone_do_not_pile_up(scene: Scene) -> None:
    scene.retention.keep(ref("stays", "ops"), 0)
    for number in range(5 * SWEEP):
        scene.retention.keep(ref(f"uid-{number}"), 86_400)
        scene.retention.forget(f"uid-{number}")
    assert scene.retention.ends <= SWEEP + 2
    await scene.come_to("stays")


async def test_backlog_says_how_many_deletions_are_due(scene: Scene) -> None:
    scene.client.word.clear()
    for uid in ("a", "b", "c", "d", "e"):
        scene.retention.keep(ref(uid), 600)
    assert sample("stormfold_signal_deletions_waiting") == 3
    scene.client.word.set()
    await scene.come_to("a", "b", "c")


@pytest.mark.parametrize(
    ("waiting", "at_once"),
    [
        pytest.param(3, 3, id="no more than there are"),
        pytest.param(DELETIONS_BEHIND, DELETIONS_AT_ONCE, id="few"),
        pytest.param(DELETIONS_AT_ONCE + 1 + DELETIONS_BEHIND, DELETIONS_AT_ONCE + 1, id="some wait"),
        pytest.param(DELETIONS_AT_MOST * DELETIONS_BEHIND, DELETIONS_AT_MOST, id="many wait"),
    ],
)
async def test_more_are_deleted_at_once_while_many_wait(scene: Scene, waiting: int, at_once: int) -> None:
    scene.client.word.clear()
    for uid in ("kept-1", "kept-2"):
        scene.retention.keep(ref(uid), 600)
    due = ["kept-1", "kept-2", *(f"uid-{number}" for number in range(waiting))][:waiting]
    for number in range(waiting):
        scene.retention.keep(ref(f"uid-{number}"), 600)
    for _ in range(30):
        await asyncio.sleep(0)
    assert scene.client.under_way == at_once

    scene.client.word.set()
    await scene.come_to(*due)
    assert sample("stormfold_signals_kept") == 2


@dataclass
class Clock:
    """A monotonic clock that stands still until it is moved."""

    seconds: float = 1000.0

    def monotonic(self) -> float:
        return self.seconds


async def looked_at_again() -> None:
    """Deletions that wait have looked several times whether they may begin."""
    for _ in range(30):
        await asyncio.sleep(0)


async def test_deletions_wait_while_signals_arrive_and_then_catch_up(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(retention, "time", clock)
    monkeypatch.setattr(retention, "RUSH_WAIT_SECONDS", 0)
    for number in range(RUSH_SIGNALS):
        scene.retention.arrived(number)
    for uid in ("a", "b", "c", "d"):
        scene.retention.keep(ref(uid), 600)
    await looked_at_again()
    assert (scene.client.uids, sample("stormfold_signal_deletions_waiting")) == ([], 2)

    clock.seconds += RUSH_SECONDS
    await scene.come_to("a", "b")


async def test_deletions_go_on_in_a_rush_when_the_cluster_has_many_signals(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "time", Clock())
    for _ in range(RUSH_SIGNALS):
        scene.retention.arrived(LIVE_AT_MOST)
    for uid in ("a", "b", "c"):
        scene.retention.keep(ref(uid), 600)
    await scene.come_to("a")
