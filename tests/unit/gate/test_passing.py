"""What a gate's breaker and budget let through."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.harness.gates import SUBJECT, gate, time_at
from tests.harness.values import T0

from stormfold.api.resource import MAX_INT
from stormfold.api.stormgate import GateState
from stormfold.gate.gates import FOREVER, Gate, Subject
from stormfold.gate.passing import Outcome, Room, Settled, admitted, counts, order, settled

NOW = T0 + 60_000
MINUTE = 60_000
BREAKER = {"openRequests": 2, "within": "5m", "cooldown": "10m"}
TRIPPED = {"state": "Tripped", "since": time_at(0), "message": "3 requests within 5m, limit 2"}
PROBING = {"state": "Probing", "since": time_at(0), "message": "one tries"}


def subject(uid: str, **more: Any) -> Subject:
    return replace(SUBJECT, uid=uid, name=uid, opened_ms=T0, **more)


def place(uid: str, *, canary: bool = False, seconds: float = 0) -> dict[str, Any]:
    return {"uid": uid, "namespace": "shop", "name": uid, "since": time_at(seconds), "canary": canary}


def moved(found: Gate, *subjects: Subject, now_ms: int = NOW, **more: Any) -> Settled:
    given: dict[str, Any] = {"ended": {}, "held": (), "claimed_ms": {}, "nodes": None} | more
    return settled(found, {one.uid: one for one in subjects}, now_ms=now_ms, **given)


def three(**more: Any) -> list[Subject]:
    return [subject(f"uid-{number}", **more) for number in range(3)]


@pytest.mark.parametrize(
    ("breaker", "subjects", "message"),
    [
        pytest.param(BREAKER, three()[:2], "", id="as many requests as may be"),
        pytest.param(BREAKER, three(), "3 requests within 5m, limit 2", id="one more"),
        pytest.param(
            BREAKER,
            [*three()[:2], replace(subject("old"), opened_ms=NOW - 5 * MINUTE - 1)],
            "",
            id="one was opened before",
        ),
        pytest.param({"resources": 9}, three(resources=3), "", id="as many resources as may be"),
        pytest.param(
            {"resources": 8}, three(resources=3), "9 resources within 5m, limit 8", id="one resource more"
        ),
        pytest.param(
            {"percentOfNodes": 20},
            [subject("a", node="worker-1"), subject("b", affected=b'[{"kind":"Node","name":"worker-1"}]')],
            "",
            id="two requests about one of five nodes",
        ),
        pytest.param(
            {"percentOfNodes": 20},
            [subject("a", node="worker-1"), subject("b", affected=b'[{"kind":"Node","name":"worker-2"}]')],
            "2 of 5 nodes within 5m, limit 20 %",
            id="about two of five",
        ),
        pytest.param({"openRequests": 0}, three(), "", id="a limit of 0 is none"),
    ],
)
def test_breaker_trips_when_a_limit_is_exceeded(
    breaker: dict[str, Any], subjects: list[Subject], message: str
) -> None:
    after = moved(gate(breaker=breaker), *subjects, nodes=5).status
    expected = (GateState.TRIPPED, message) if message else (GateState.PASSING, "")
    assert (after.state, after.message) == expected


def test_share_of_nodes_trips_nothing_while_nodes_cannot_be_counted() -> None:
    found = gate(breaker={"percentOfNodes": 1})
    assert moved(found, subject("a", node="worker-1"), nodes=None).status.state is GateState.PASSING


def test_tripped_gate_probes_after_its_cooldown_and_passes_if_nothing_is_open() -> None:
    found = gate(breaker=BREAKER, status=TRIPPED)
    still = moved(found, *three(), now_ms=T0 + 10 * MINUTE - 1)
    assert (still.status, still.next_ms) == (found.status, T0 + 10 * MINUTE)
    probing = moved(found, *three(), now_ms=T0 + 10 * MINUTE).status
    assert (probing.state, probing.message) == (
        GateState.PROBING,
        "cooldown (10m) is over: one request tries",
    )
    passing = moved(found, now_ms=T0 + 10 * MINUTE).status
    assert (passing.state, passing.message) == (GateState.PASSING, "no request is open after cooldown")
    assert passing.counted_from == passing.since


@pytest.mark.parametrize(
    ("ended", "others", "state", "message"),
    [
        (Outcome.SUCCEEDED, 2, GateState.PASSING, "the canary shop/canary succeeded"),
        (Outcome.FAILED, 2, GateState.TRIPPED, "the canary shop/canary failed"),
        (Outcome.GONE, 2, GateState.PROBING, "one tries"),
        (
            Outcome.GONE,
            0,
            GateState.PASSING,
            "the canary shop/canary is gone, and no request is open any more",
        ),
    ],
)
def test_what_becomes_of_the_canary_decides(
    ended: Outcome, others: int, state: GateState, message: str
) -> None:
    found = gate(breaker=BREAKER, status=PROBING | {"places": [place("canary", canary=True)]})
    after = moved(found, *three()[:others], ended={"canary": ended}).status
    assert (after.state, after.message, after.places) == (state, message, ())
    # What was counted before is not counted again.
    assert (after.counted_from == after.since) is (state is GateState.PASSING)


def test_canary_that_nobody_claims_trips_the_gate_again_and_goes_last_next_time() -> None:
    found = gate(breaker=BREAKER, status=PROBING | {"places": [place("uid-0", canary=True)]})
    waits = moved(found, *three(), now_ms=T0 + 5 * MINUTE - 1)
    assert (waits.status, waits.next_ms) == (found.status, T0 + 5 * MINUTE)
    after = moved(found, *three(), now_ms=T0 + 5 * MINUTE)
    assert (after.status.state, after.status.message) == (
        GateState.TRIPPED,
        "nobody has claimed the canary shop/uid-0 for 5m",
    )
    assert (after.told, after.status.unclaimed) == (("uid-0",), ("uid-0",))
    found = gate(breaker=BREAKER, status=PROBING | {"unclaimed": ["uid-0"]})
    assert [one.uid for one in order(three(), [found], NOW)] == ["uid-1", "uid-2", "uid-0"]


def test_request_that_loses_its_place_again_goes_behind_those_that_have_lost_theirs_meanwhile() -> None:
    lost = ["uid-0", "uid-1", "uid-2"]
    found = gate(budget={"concurrent": 1}, status={"places": [place("uid-0")], "unclaimed": lost})
    after = moved(found, *three(), now_ms=T0 + 5 * MINUTE)
    assert after.status.unclaimed == ("uid-1", "uid-2", "uid-0")


@pytest.mark.parametrize(
    ("claimed_until", "seen_claimed", "kept"),
    [
        pytest.param(0, 0, False, id="never claimed"),
        pytest.param(6 * MINUTE, 0, True, id="claimed now"),
        pytest.param(1 * MINUTE, 0, True, id="the claim expired 4 minutes ago"),
        pytest.param(0, 3 * MINUTE, True, id="released 2 minutes ago"),
    ],
)
def test_place_is_kept_for_five_minutes_without_a_claim(
    claimed_until: int, seen_claimed: int, kept: bool
) -> None:
    found = gate(budget={"concurrent": 1}, status={"places": [place("uid-0")]})
    one = subject("uid-0", claimed_until_ms=T0 + claimed_until if claimed_until else 0)
    claimed = {"uid-0": T0 + seen_claimed} if seen_claimed else {}
    after = moved(found, one, now_ms=T0 + 5 * MINUTE, claimed_ms=claimed)
    assert bool(after.status.places) is kept
    assert after.told == (() if kept else ("uid-0",))


def test_place_is_freed_when_its_request_is_over_or_the_gate_needs_none() -> None:
    places = {"places": [place("uid-0"), place("uid-1")]}
    found = gate(budget={"concurrent": 2}, status=places)
    after = moved(found, subject("uid-1"), ended={"uid-0": Outcome.GONE})
    assert [one.uid for one in after.status.places] == ["uid-1"]
    without = moved(gate(status=places), *three())
    assert (without.status.places, without.told, without.next_ms) == ((), (), FOREVER)


@pytest.mark.parametrize("claimed", [False, True])
def test_place_of_a_request_that_something_else_holds_is_freed_at_once_unless_it_is_claimed(
    claimed: bool,
) -> None:
    found = gate(budget={"concurrent": 1}, status={"places": [place("uid-0")]})
    one = subject("uid-0", claimed_until_ms=NOW + 1 if claimed else 0)
    after = moved(found, one, held={"uid-0"})
    assert [place.uid for place in after.status.places] == (["uid-0"] if claimed else [])
    assert after.told == (() if claimed else ("uid-0",))
    # Nobody could claim it: it does not go behind the others.
    assert after.status.unclaimed == ()


def test_canary_that_is_held_is_followed_by_another_one_and_trips_nothing() -> None:
    found = gate(breaker=BREAKER, status=PROBING | {"places": [place("uid-0", canary=True)]})
    after = moved(found, *three(), held={"uid-0"}, now_ms=T0 + 5 * MINUTE)
    assert (after.status.state, after.status.message) == (GateState.PROBING, "one tries")
    assert (after.status.places, after.status.unclaimed, after.told) == ((), (), ("uid-0",))


def test_forged_counts_add_up_to_what_a_status_can_hold() -> None:
    subjects = [subject("a", resources=MAX_INT), subject("b", resources=MAX_INT)]
    counted = counts(gate(breaker={"resources": 1}), subjects, NOW)
    assert counted
    assert counted.resources == MAX_INT


def test_who_works_goes_first_then_the_highest_severity_then_the_oldest() -> None:
    subjects = [
        replace(subject("young"), opened_ms=T0 + 5),
        subject("old"),
        subject("severe", rank=4),
        replace(subject("works"), opened_ms=T0 + 9, claimed_until_ms=NOW + 1),
    ]
    assert [one.uid for one in order(subjects, [], NOW)] == ["works", "severe", "old", "young"]


@pytest.mark.parametrize(
    ("spec", "status", "subjects", "granted"),
    [
        pytest.param({"budget": {"concurrent": 2}}, {}, three(), 2, id="so many at a time"),
        pytest.param({"budget": {"concurrent": 2}}, {"places": [place("x")]}, three(), 1, id="one is taken"),
        pytest.param(
            {"budget": {"concurrent": 2}},
            {},
            [subject("a", claimed_until_ms=NOW + 1), *three()],
            2,
            id="who works already takes a place, too",
        ),
        pytest.param(
            {"budget": {"perHour": 2}}, {"begun": [time_at(0)]}, three(), 1, id="so many in an hour"
        ),
        pytest.param({"breaker": BREAKER}, PROBING, three(), 1, id="one canary"),
        pytest.param(
            {"breaker": BREAKER},
            PROBING,
            [subject("a", claimed_until_ms=NOW + 1), *three()],
            1,
            id="one canary, which is worked on already",
        ),
        pytest.param(
            {"breaker": BREAKER},
            PROBING | {"places": [place("x", canary=True)]},
            three(),
            0,
            id="there is a canary",
        ),
        pytest.param({"breaker": BREAKER, "budget": {"concurrent": 9}}, TRIPPED, three(), 0, id="tripped"),
        pytest.param(
            {"breaker": BREAKER, "budget": {"concurrent": 1}},
            PROBING | {"places": [place("uid-1")]},
            three(),
            1,
            id="one that has a place of the budget becomes the canary with it",
        ),
    ],
)
def test_room_of_a_gate(
    spec: dict[str, Any], status: dict[str, Any], subjects: list[Subject], granted: int
) -> None:
    room = Room.of(gate(status=status, **spec), subjects, NOW)
    given = 0
    for one in order(subjects, [], NOW):
        if room.has(one, NOW):
            room.take(one, NOW)
            given += 1
    assert given == granted


def test_request_that_becomes_the_canary_with_its_place_has_one() -> None:
    spec = {"breaker": BREAKER, "budget": {"concurrent": 2, "perHour": 3}}
    found = gate(**spec, status=PROBING | {"places": [place("uid-0"), place("uid-1")], "begun": [time_at(0)]})
    after = admitted(found, [subject("uid-0")], NOW)
    assert [(one.uid, one.canary) for one in after.places] == [("uid-1", False), ("uid-0", True)]
    # It begins once.
    assert len(after.begun) == 1


def test_each_write_that_lets_requests_proceed_has_a_turn_of_its_own() -> None:
    found = gate(budget={"perHour": 3}, status={"turn": 6, "begun": [time_at(0)]})
    after = admitted(found, [subject("uid-0")], NOW)
    assert (after.turn, [one.uid for one in after.places], len(after.begun)) == (7, ["uid-0"], 2)
    assert admitted(found, [], NOW).turn == 7


def test_turn_after_the_highest_that_can_be_written_is_the_first() -> None:
    found = gate(status={"turn": MAX_INT}, budget={"concurrent": 1})
    assert admitted(found, [subject("uid-0")], NOW).turn == 1
