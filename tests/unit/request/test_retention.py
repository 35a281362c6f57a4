"""Which Signals are kept, and which are to be deleted."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import cast

import pytest
from tests.harness.eventually import eventually
from tests.harness.values import ARRIVAL

from stormfold.kube.client import KubeClient
from stormfold.model.arrival import SignalRef
from stormfold.request.retention import (
    BACKLOG,
    DELETIONS_AT_MOST,
    DELETIONS_AT_ONCE,
    DELETIONS_BEHIND,
    SWEEP,
    Retention,
)


def ref(uid: str, namespace: str = "shop", *, generation: int = 1, version: int = 100) -> SignalRef:
    return replace(ARRIVAL.ref, uid=uid, namespace=namespace, generation=generation, resource_version=version)


@pytest.fixture
def retention() -> Retention:
    """A book that deletes nothing by itself; two Signals are kept in each namespace."""
    return Retention(cast("KubeClient", None), per_namespace=2)


def ending(retention: Retention) -> list[str]:
    """The uids that are to be deleted now, since the last look."""
    return [retention._over.get_nowait() for _ in range(retention._over.qsize())]


def test_oldest_of_a_namespace_with_too_many_ends_each_once(retention: Retention) -> None:
    for uid in ("a", "b", "c", "d"):
        retention.keep(ref(uid), 600)
    retention.keep(ref("other", "ops"), 600)
    assert ending(retention) == ["a", "b"]
    retention.keep(ref("e"), 600)
    assert ending(retention) == ["c"]


def test_signal_that_is_kept_anew_is_the_youngest(retention: Retention) -> None:
    for uid in ("a", "b", "a", "c"):
        retention.keep(ref(uid), 600)
    assert ending(retention) == ["b"]


def test_signal_that_has_gone_makes_room(retention: Retention) -> None:
    for uid in ("a", "b"):
        retention.keep(ref(uid), 600)
    retention.forget("a")
    retention.keep(ref("c"), 600)
    assert ending(retention) == []


def test_edited_signal_is_deleted_at_its_new_version(retention: Retention) -> None:
    retention.keep(ref("a"), 600)
    retention.changed(ref("a", version=200))
    assert retention._kept["a"] == ref("a", version=200)


def test_raised_generation_is_not_deleted(retention: Retention) -> None:
    retention.keep(ref("a"), 600)
    retention.changed(ref("a", generation=2, version=200))
    assert retention._kept == {}


def test_signal_that_is_not_kept_is_none_of_its_business(retention: Retention) -> None:
    retention.changed(ref("a"))
    retention.forget("a")
    assert retention._kept == {}


def test_ends_of_what_has_gone_do_not_pile_up(retention: Retention) -> None:
    retention.keep(ref("stays", "ops"), 86_400)
    for number in range(5 * SWEEP):
        retention.keep(ref(f"uid-{number}"), 86_400)
        retention.forget(f"uid-{number}")
    assert len(retention._ends) <= SWEEP + 2
    assert [uid for _, _, uid in retention._ends if uid == "stays"] == ["stays"]


def test_backlog_says_how_many_deletions_are_due(retention: Retention) -> None:
    for uid in ("a", "b", "c", "d", "e"):
        retention.keep(ref(uid), 600)
    assert BACKLOG._value.get() == 3


@dataclass
class Slow:
    """A client whose deletions end when they are told to."""

    under_way: int = 0
    deleted: list[str] = field(default_factory=list)
    word: asyncio.Event = field(default_factory=asyncio.Event)

    async def delete(self, path: str, *, uid: str, resource_version: int) -> None:
        self.under_way += 1
        await self.word.wait()
        self.under_way -= 1
        self.deleted.append(uid)


@pytest.mark.parametrize(
    ("waiting", "at_once"),
    [
        pytest.param(3, 3, id="no more than there are"),
        pytest.param(DELETIONS_BEHIND, DELETIONS_AT_ONCE, id="few"),
        pytest.param(DELETIONS_AT_ONCE + 1 + DELETIONS_BEHIND, DELETIONS_AT_ONCE + 1, id="some wait"),
        pytest.param(DELETIONS_AT_MOST * DELETIONS_BEHIND, DELETIONS_AT_MOST, id="many wait"),
    ],
)
async def test_more_are_deleted_at_once_while_many_wait(waiting: int, at_once: int) -> None:
    client = Slow()
    retention = Retention(cast("KubeClient", client), per_namespace=0)
    for number in range(waiting):
        retention.keep(ref(f"uid-{number}"), 600)
    deleting = asyncio.create_task(retention._delete_for_ever())
    for _ in range(30):
        await asyncio.sleep(0)
    assert client.under_way == at_once

    client.word.set()
    await eventually(lambda: len(client.deleted) == waiting, within=10, what="all are deleted")
    assert client.deleted == [f"uid-{number}" for number in range(waiting)]
    assert (retention._kept, retention._under_way, BACKLOG._value.get()) == ({}, 0, 0)
    deleting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await deleting
