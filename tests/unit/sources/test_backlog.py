"""What is left in the cluster while a namespace has no room, and how it is taken again."""

from __future__ import annotations

import asyncio
from collections import Counter as Tally
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from tests.harness.eventually import eventually
from tests.harness.metrics import sample
from tests.harness.signals import COUNTED, body
from tests.harness.streams import signal_stream
from tests.harness.values import ARRIVAL, T0

from stormfold.kube import paths
from stormfold.kube.changes import Changed, Deleted
from stormfold.kube.errors import ApiUnavailableError
from stormfold.model.arrival import Arrival, SignalRef
from stormfold.model.checkpoint import Checkpoint
from stormfold.sources.progress import Progress


class World:
    """A cluster with Signals, a stream of them, and a folder that has room for so many of each namespace."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], dict[str, Any]] = {}
        self.version = 100
        self.room = 0
        self.held: Tally[str] = Tally()
        self.taken: list[tuple[str, int]] = []
        """(name, resourceVersion) in the order of the taking."""
        self.progress = Progress()
        self.progress.begin(Checkpoint(100, T0 // 1000 - 60))
        self.progress.begun()
        self.stream = signal_stream(self.progress, folder=self, client=self)
        self.backlog = self.stream.backlog
        self.reads = 0
        self.fails = 0
        self.taken_before = self.unchanged = 0

    async def get(self, path: str, **params: str) -> dict[str, Any]:
        """As the client: a list of what has a name in the collection of a namespace."""
        self.reads += 1
        if self.fails:
            self.fails -= 1
            raise ApiUnavailableError("GET", 0, "", "no answer")
        name = params["fieldSelector"].removeprefix("metadata.name=")
        namespace = next(there for there in ("shop", "ops") if path == paths.collection("signals", there))
        return {"items": [found] if (found := self.objects.get((namespace, name))) else []}

    async def submit(self, arrival: Arrival, waits: Any) -> str | None:
        """As the folder; the request's namespace is the signal's."""
        namespace = arrival.namespace
        if waits(namespace) or not self.left(namespace):
            return namespace
        assert isinstance(arrival.ref, SignalRef)
        self.held[namespace] += 1
        self.taken.append((arrival.ref.name, arrival.ref.resource_version))
        return None

    def left(self, namespace: str) -> int:
        return self.room - self.held[namespace]

    def capacity(self, namespace: str) -> int:
        """What is left; counts how often that was asked without anything being taken in between."""
        self.unchanged = self.unchanged + 1 if len(self.taken) == self.taken_before else 0
        self.taken_before = len(self.taken)
        return self.left(namespace)

    def store(self, name: str, namespace: str = "shop", **metadata: Any) -> Changed[Any]:
        """Make or change a Signal; gives what the watch will tell."""
        self.version += 1
        there = {"name": name, "namespace": namespace, "uid": f"uid-{name}"}
        there |= {"resourceVersion": str(self.version)} | metadata
        self.objects[namespace, name] = body(metadata=there, target=None)
        return Changed(self.stream.parse(self.objects[namespace, name]))

    async def report(self, *names: str, namespace: str = "shop") -> None:
        """Make Signals and let the watch tell of them."""
        for name in names:
            await self.stream.take(self.store(name, namespace))

    async def resume(self, room: int) -> None:
        """Let there be so much room, until nothing more is taken."""
        self.room = room
        self.unchanged = 0
        reading = asyncio.create_task(self.backlog.run(self.capacity, self.stream.resume))
        await eventually(lambda: not len(self.backlog) or self.unchanged > 4, what="nothing more is taken")
        reading.cancel()
        with suppress(asyncio.CancelledError):
            await reading

    def conclude(self) -> None:
        """All that was taken is durable."""
        for name, version in self.taken:
            namespace = next(namespace for namespace, known in self.objects if known == name)
            ref = SignalRef(namespace, name, f"uid-{name}", 1, version)
            self.stream.durable(replace(ARRIVAL, ref=ref), COUNTED)

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.taken]

    @property
    def checkpoint(self) -> int:
        return self.progress.checkpoint().resource_version


def missed() -> float:
    return sample("stormfold_signals_missed_total", kind="Signal")


@pytest.fixture
def world() -> World:
    return World()


async def test_what_has_no_room_is_taken_in_its_order_once_there_is_some(world: World) -> None:
    world.room = 2
    await world.report("a", "b", "c", "d")
    assert (world.names, len(world.backlog), world.checkpoint) == (["a", "b"], 2, 100)
    await world.resume(9)
    assert world.taken == [("a", 101), ("b", 102), ("c", 103), ("d", 104)]
    world.conclude()
    assert (len(world.backlog), world.checkpoint) == (0, 104)


async def test_what_comes_later_does_not_overtake_what_waits(world: World) -> None:
    await world.report("a")
    world.room = 9
    await world.report("b")
    assert world.names == []
    await world.resume(9)
    await world.report("c")
    assert world.names == ["a", "b", "c"]


async def test_another_namespace_is_not_held_back(world: World) -> None:
    await world.report("a")
    world.room = 1
    world.held["shop"] = 1
    await world.report("b", namespace="ops")
    assert (world.names, world.backlog.waits("shop"), world.backlog.waits("ops")) == (["b"], True, False)


async def test_namespaces_are_taken_again_by_turns(world: World) -> None:
    for number in range(40):
        await world.report(f"a{number:02}")
    await world.report("b", namespace="ops")
    await world.resume(99)
    assert world.names.index("b") == 16
    assert sorted(world.names) == [*(f"a{number:02}" for number in range(40)), "b"]


async def test_edit_of_the_metadata_does_not_change_the_place_of_what_was_left(world: World) -> None:
    await world.report("a", "b")
    await world.stream.take(world.store("a", labels={"team": "web"}))
    await world.resume(9)
    assert world.taken == [("a", 101), ("b", 102)]


async def test_newer_occurrence_takes_the_place_of_the_one_that_was_left(world: World) -> None:
    before = missed()
    await world.report("a", "b")
    await world.stream.take(world.store("a", generation=2))
    assert missed() - before == 1
    await world.resume(9)
    assert world.taken == [("b", 102), ("a", 103)]
    assert world.checkpoint == 101


async def test_change_that_the_watch_has_not_told_yet_waits_for_it(world: World) -> None:
    await world.report("a", "b")
    change = world.store("a", generation=2)
    await world.resume(9)
    assert world.names == []
    await world.stream.take(change)
    await world.resume(9)
    assert world.taken == [("b", 102), ("a", 103)]


async def test_what_is_deleted_before_its_turn_holds_nothing_up(world: World) -> None:
    before = missed()
    await world.report("a", "b")
    del world.objects["shop", "a"]
    await world.resume(9)
    assert world.names == []  # the watch has yet to tell
    await world.stream.take(Deleted("uid-a", 103))
    await world.resume(9)
    assert (world.names, missed() - before, world.checkpoint) == (["b"], 1, 101)


async def test_object_made_anew_under_the_same_name_is_not_taken_for_the_old_one(world: World) -> None:
    await world.report("a")
    await world.stream.take(Deleted("uid-a", 102))
    await world.stream.take(world.store("a", uid="uid-new"))
    await world.resume(9)
    assert world.taken == [("a", 102)]


async def test_namespace_that_runs_out_of_room_again_keeps_its_order(world: World) -> None:
    await world.report("a", "b", "c")
    await world.resume(2)
    assert world.names == ["a", "b"]
    await world.report("d")
    await world.resume(4)
    assert world.names == ["a", "b", "c", "d"]


async def test_api_server_that_fails_is_asked_again(world: World) -> None:
    await world.report("a")
    world.room, world.fails = 9, 1
    reading = asyncio.create_task(world.backlog.run(world.left, world.stream.resume))
    await eventually(lambda: world.names == ["a"], what="what was left is taken")
    reading.cancel()
    with suppress(asyncio.CancelledError):
        await reading
    assert world.reads == 2


async def test_what_is_left_anew_out_of_its_order_goes_back_to_its_place(world: World) -> None:
    await world.report("a", "b", "c")
    deferred = world.backlog.drop("uid-b")
    assert deferred
    world.backlog.defer("shop", deferred)
    first = world.backlog.drop("uid-a")
    assert first
    world.backlog.defer("shop", first)
    await world.resume(9)
    assert world.names == ["a", "b", "c"]
