"""When `make chaos` takes it that nobody could decide."""

from __future__ import annotations

import math

from tests.chaos.leading import Disturbance, Renewals, Waits


def renewed(*times: tuple[float, str]) -> Renewals:
    renewals = Renewals()
    for at, holder in times:
        lease = {"spec": {"holderIdentity": holder, "renewTime": str(at)}}
        renewals.seen({"object": lease}, at)
        renewals.seen({"object": lease}, at + 0.1)  # the same again is no renewal
    return renewals


def test_fault_of_an_operator_is_an_excuse_until_another_one_or_itself_renews_the_lease() -> None:
    lost = Disturbance(2.5, 6.5, frozenset({"a"}))
    assert list(renewed((1, "a"), (2, "a"), (3, "b")).excused([lost])) == [(2.5, 3)]
    # A renewal by the one that does not run was on its way.
    assert list(renewed((2, "a"), (3, "a"), (4, "b")).excused([lost])) == [(2.5, 4)]
    assert list(renewed((6, "a"), (7, "a")).excused([lost])) == [(2.5, 7)]
    assert list(renewed((2, "a")).excused([lost])) == [(2.5, math.inf)]


def test_fault_of_the_api_server_is_an_excuse_until_the_lease_is_renewed_after_it() -> None:
    assert list(renewed((1, "a"), (2, "a"), (3, "a")).excused([Disturbance(1.5, 2.5)])) == [(1.5, 3)]


def test_lease_that_is_not_renewed_for_two_seconds_is_an_excuse() -> None:
    assert list(renewed((1, "a"), (3, "a"), (5.5, "b")).excused([])) == [(3, 5.5)]


def test_time_in_which_who_leads_waits_for_a_cpu_is_an_excuse() -> None:
    waits = Waits()
    for identity, at, seconds in (
        *(("a", 1, 5.0), ("a", 2, 5.25), ("a", 3, 0.0), ("a", 4, 9.0)),
        *(("b", 1, 0.0), ("b", 2, 0.9)),
    ):
        waits.note(identity, at, seconds)
    # In the second it was started anew; in the third it waited more than there was, as clocks are read.
    assert list(waits.of_leaders(renewed((0.5, "a")))) == [(1, 1.25), (3, 4)]
