"""Which groups may have a request at limits.openStorms, and in which order those that wait get a place."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import replace

import pytest
from tests.harness.request_bodies import OPENING, POLICY, STORM, request
from tests.harness.values import T0

from stormfold.api.remediationrequest import RequestPhase
from stormfold.model.group import PolicyId
from stormfold.model.storm import Snapshot
from stormfold.request import places
from stormfold.request.backoff import RETRY_SECONDS
from stormfold.request.places import ASK_AGAIN_SECONDS, GRANT_SECONDS, MAX_WAITING, Answer, Places, Queued
from stormfold.request.schedule import SWEEP_SECONDS

GRANTED, WAITS, OVER = Answer.GRANTED, Answer.WAITS, Answer.OVER
GROUP = OPENING.group
HOUR_MS = 3_600_000
NOW = T0 + 10_000


class World:
    """A policy with a limit, open requests by name, and a clock that the test moves."""

    def __init__(self, limit: int | None = 1) -> None:
        self.limit, self.leading = limit, True
        self.open: set[str] = set()
        self.due: list[str] = []
        self.seconds = 1000.0
        self.changed = asyncio.Event()
        self.places = Places(self, self, deadlines=self, ingest=self, changed=self.changed)

    def open_in(self, policy: PolicyId, namespace: str) -> Collection[str]:
        return self.open if (policy, namespace) == (GROUP.policy, GROUP.request_namespace) else ()

    def open_storms(self, policy: PolicyId) -> int | None:
        return self.limit

    def make_due(self, group_hashes: Collection[str]) -> None:
        self.due += group_hashes

    def monotonic(self) -> float:
        return self.seconds

    def ask(self, name: str, *, severity: int = 0, at: int = 0, now: int = NOW, signals: int = 1) -> Answer:
        return self.places.ask(storm(name, severity, at, signals), GROUP, now_ms=now)

    def opens(self, *names: str) -> None:
        """These have been granted a place and have a request now."""
        for name in names:
            assert self.ask(name) is GRANTED
            self.made(name)

    def made(self, name: str) -> None:
        """The request of a group is made, and that is seen."""
        self.open.add(name)
        self.places.observed(request())

    def closes(self, name: str) -> None:
        """The request of a group is closed, and that is seen."""
        self.open.remove(name)
        self.places.observed(request(phase=RequestPhase.CLOSED))

    def queued(self) -> list[Queued]:
        return self.places.waiting_of(POLICY.id)


def storm(name: str, severity: int = 0, at: int = 0, signals: int = 1) -> Snapshot:
    return replace(
        STORM, group_hash=name, severity=severity, opened_ms=T0 + at, window_ms=T0 + at, folded=signals
    )


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()
    monkeypatch.setattr(places.time, "monotonic", world.monotonic)
    return world


def test_group_gets_a_place_while_one_is_free_and_waits_otherwise(world: World) -> None:
    world.opens("a")
    assert [world.ask("b", at=2), world.ask("c", at=1, signals=7)] == [WAITS, WAITS]
    assert world.queued() == [Queued("shop", 2, 8, T0 + 1)]
    world.closes("a")
    assert (world.due, world.ask("b", at=2), world.ask("c", at=1)) == (["c"], WAITS, GRANTED)


def test_place_that_is_granted_is_taken_before_its_request_is_there(world: World) -> None:
    assert [world.ask("a"), world.ask("b"), world.ask("a")] == [GRANTED, WAITS, GRANTED]


def test_group_that_makes_no_request_of_its_place_gives_it_back(world: World) -> None:
    assert [world.ask("a"), world.ask("b")] == [GRANTED, WAITS]
    world.seconds += GRANT_SECONDS - 1
    world.places.look()
    assert world.due == []
    world.seconds += 1
    world.places.look()
    assert (world.due, world.ask("b"), world.ask("a")) == (["b"], GRANTED, WAITS)


def test_freed_place_goes_to_the_highest_severity_and_then_to_the_oldest(world: World) -> None:
    world.opens("chronic")
    waiting = {"new": (1, 5), "old": (1, 3), "critical": (4, 9), "info": (0, 1)}
    for name, (severity, at) in waiting.items():
        assert world.ask(name, severity=severity, at=at) is WAITS
    order, before = [], "chronic"
    for _ in waiting:
        world.closes(before)
        (before,) = world.due
        world.due.clear()
        assert world.ask(before, severity=waiting[before][0], at=waiting[before][1]) is GRANTED
        world.made(before)
        order.append(before)
    assert order == ["critical", "old", "new", "info"]


def test_500_chronic_storms_hold_all_places_and_the_critical_group_gets_the_first_that_is_free(
    world: World,
) -> None:
    world.limit = 500
    world.opens(*(f"chronic-{n}" for n in range(500)))
    assert [world.ask(f"chronic-{n}", severity=2, at=n) for n in (500, 501)] == [WAITS] * 2
    assert world.ask("critical", severity=4, at=900) is WAITS
    world.closes("chronic-7")
    assert (world.due, world.ask("chronic-500", severity=2)) == (["critical"], WAITS)
    assert world.ask("critical", severity=4, at=900) is GRANTED


def test_group_that_becomes_graver_while_it_waits_moves_up(world: World) -> None:
    world.opens("a")
    assert [world.ask("b", severity=2), world.ask("c", severity=1), world.ask("c", severity=3)] == [WAITS] * 3
    world.closes("a")
    assert world.due == ["c"]


def test_limit_of_the_policy_as_it_is_now_holds(world: World) -> None:
    world.opens("a")
    assert [world.ask("b"), world.ask("c")] == [WAITS, WAITS]
    world.limit = 3
    world.places.look()
    assert sorted(world.due) == ["b", "c"]
    world.opens("b", "c")
    world.limit = 1
    world.closes("a")
    assert world.ask("d") is WAITS
    world.limit = None
    assert world.ask("d") is GRANTED, "a policy that is gone has no limit"


def test_group_waits_for_an_hour_and_is_then_over(world: World) -> None:
    world.opens("a")
    assert [world.ask("b", now=T0), world.ask("b", now=T0 + HOUR_MS - 1)] == [WAITS, WAITS]
    assert world.places.ask_again_ms(storm("b"), now_ms=T0) == T0 + ASK_AGAIN_SECONDS * 1000
    assert world.places.ask_again_ms(storm("b"), now_ms=T0 + HOUR_MS - 1) == T0 + HOUR_MS
    assert world.ask("b", now=T0 + HOUR_MS) is OVER
    assert world.queued() == []


def test_last_in_line_are_over_if_too_much_waits_in_the_namespace(world: World) -> None:
    world.opens("a")
    half = MAX_WAITING // 2
    for name, severity, at in (("first", 1, 1), ("critical", 4, 9), ("last", 1, 5)):
        assert world.ask(name, severity=severity, at=at, signals=half) is WAITS
    world.places.look()
    assert (world.due, world.queued()) == (["last"], [Queued("shop", 3, 2 * half, T0 + 1)])
    assert world.ask("last", severity=1, at=5, signals=half) is OVER
    world.places.look()
    assert (world.due, world.queued()) == (["last"], [Queued("shop", 2, 2 * half, T0 + 1)])


def test_first_in_line_is_kept_however_much_of_it_waits(world: World) -> None:
    world.opens("a")
    assert world.ask("small", severity=1) is WAITS
    assert world.ask("huge", severity=4, signals=2 * MAX_WAITING) is WAITS
    world.places.look()
    world.places.look()
    assert (world.due, world.ask("small", severity=1)) == (["small"], OVER)
    assert world.ask("huge", severity=4, signals=2 * MAX_WAITING) is WAITS


def test_only_who_leads_keeps_the_line(world: World) -> None:
    world.opens("a")
    world.leading = False
    assert (world.ask("b"), world.queued()) == (WAITS, [])
    assert world.places.ask_again_ms(storm("b"), now_ms=NOW) == NOW + 1000
    world.closes("a")
    assert (world.due, world.ask("b")) == ([], GRANTED)


def test_replica_that_does_not_lead_leaves_a_group_that_waits_to_the_leader(world: World) -> None:
    """Longer than sweeps are apart, or it might claim the group each time before the leader does."""
    assert world.places.leave_seconds() == RETRY_SECONDS
    world.leading = False
    assert world.places.leave_seconds() > 2 * SWEEP_SECONDS


def test_group_that_needs_no_request_any_more_leaves_the_line(world: World) -> None:
    world.opens("a")
    assert [world.ask("b"), world.ask("c", at=1)] == [WAITS, WAITS]
    world.places.over(storm("b"), GROUP)
    assert world.queued() == [Queued("shop", 1, 1, T0 + 1)]
    world.closes("a")
    assert world.due == ["c"]


def test_group_that_is_gone_holds_up_no_other_for_longer_than_its_place_is_kept(world: World) -> None:
    """Another replica has discarded it."""
    world.opens("a")
    assert [world.ask("gone", severity=4), world.ask("b")] == [WAITS, WAITS]
    world.closes("a")
    assert world.due == ["gone"]
    world.seconds += GRANT_SECONDS
    world.places.look()
    assert (world.due, world.queued()) == (["gone", "b"], [Queued("shop", 1, 1, T0)])
    world.seconds += GRANT_SECONDS - 1
    assert world.ask("b") is GRANTED


def test_group_that_does_not_ask_any_more_is_forgotten(world: World) -> None:
    world.opens("a")
    assert world.ask("gone", severity=4) is WAITS
    world.seconds += 2 * ASK_AGAIN_SECONDS
    assert world.ask("b") is WAITS
    world.seconds += ASK_AGAIN_SECONDS + 1
    world.places.look()
    world.closes("a")
    assert world.due == ["b"]


def test_policy_hears_when_groups_begin_to_wait_and_when_none_waits_any_more(world: World) -> None:
    world.opens("a")
    world.places.look()
    assert not world.changed.is_set()
    world.ask("b")
    world.places.look()
    assert world.changed.is_set()
    world.changed.clear()
    world.ask("c")
    world.places.look()
    assert not world.changed.is_set(), "it says how many once a minute"
    world.closes("a")
    world.opens("c")
    world.limit = 2
    world.opens("b")
    world.places.look()
    assert (world.changed.is_set(), world.queued()) == (True, [])
