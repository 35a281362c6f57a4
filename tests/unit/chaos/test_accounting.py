"""The accounting of `make chaos`: what it calls lost, counted twice, and wrong; and the plan that it is held
against."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from tests.chaos.accounting import Accounting
from tests.chaos.faults.schedule import scheduled
from tests.chaos.leaders import Gap, Leaders
from tests.chaos.ledger import Account, Said
from tests.chaos.stream import (
    GROUPS,
    SIGNALS,
    Create,
    Group,
    Law,
    Occurrence,
    Post,
    Way,
    planned,
)

from stormfold.model.checkpoint import Checkpoint, Checkpoints

GROUP = Group("storm-00", Law.TEAM, Way.BOTH)


def request(epoch: int, *counts: int, phase: str = "Closed", **changes: Any) -> dict[str, Any]:
    """A request of the group that lists so many signals of pod 0, 1, …; `changes` are of its continuation."""
    pods = [{"name": GROUP.pod(number), "signals": count} for number, count in enumerate(counts)]
    return {
        "metadata": {"name": f"storm-00000000000000a7-{epoch}", "uid": f"uid-{epoch}"},
        "spec": {"name": GROUP.name, "groupHash": "00000000000000a7", "epoch": epoch},
        "status": {
            "phase": phase,
            "signals": {"total": sum(counts)},
            "resources": pods,
            "continuation": {"folded": sum(counts), "incarnation": "life", **changes},
        },
    }


@pytest.fixture
def accounting() -> Accounting:
    """Two signals about pod 0 and one about pod 1 were sent in the first three seconds."""
    accounting = Accounting([GROUP])
    for number, repeat in ((0, 0), (0, 1), (1, 0)):
        accounting.sent(Occurrence(GROUP, number, repeat=repeat), float(number + repeat))
    return accounting


def account(accounting: Accounting) -> Account:
    (account,) = accounting.accounts()
    return account


def test_each_signal_in_one_request_is_right(accounting: Accounting) -> None:
    accounting.observe([request(1, 1), request(2, 1, 1)], at=3.0)
    assert not account(accounting).wrong
    assert (account(accounting).sent, account(accounting).counted, account(accounting).storms) == (3, 3, 2)


def test_signal_that_is_sent_again_is_expected_once(accounting: Accounting) -> None:
    accounting.sent(Occurrence(GROUP, 1), 9.0)
    assert account(accounting).sent == 3


def test_alert_and_signal_of_one_number_are_two(accounting: Accounting) -> None:
    accounting.sent(Occurrence(GROUP, 1, Way.WEBHOOK), 9.0)
    assert account(accounting).sent == 4


def test_alert_of_a_post_without_an_answer_may_be_counted_or_not(accounting: Accounting) -> None:
    accounting.observe([request(1, 2, 1)], at=3.0)
    alert = Occurrence(GROUP, 1, Way.WEBHOOK)
    accounting.sent(alert, 4.0)
    assert not account(accounting).wrong
    accounting.answered(alert, Said.ACCEPTED)
    assert (account(accounting).lost, account(accounting).twice) == (1, 0)
    accounting.observe([request(1, 2, 2)], at=5.0)
    assert not account(accounting).wrong


def test_one_lost_and_one_counted_twice_do_not_make_it_even(accounting: Accounting) -> None:
    accounting.observe([request(1, 1, 2)], at=3.0)
    assert (account(accounting).lost, account(accounting).twice) == (1, 1)


def test_alerts_that_the_request_does_not_list_may_count_twice(accounting: Accounting) -> None:
    accounting.observe([request(1, 4, 1, unlistedAlerts=2)], at=3.0)
    assert (account(accounting).twice, account(accounting).unlisted, account(accounting).wrong) == (
        0,
        2,
        False,
    )
    accounting.observe([request(1, 5, 1, unlistedAlerts=2)], at=4.0)
    assert account(accounting).twice == 1


def test_what_says_discarded_is_not_lost(accounting: Accounting) -> None:
    accounting.observe([request(1, 2)], at=3.0)
    assert account(accounting).lost == 1
    accounting.discarded(GROUP.name, Counter({GROUP.pod(1): 1}))
    assert not account(accounting).wrong


ALERT = Occurrence(GROUP, 1, Way.WEBHOOK)


def test_alert_answered_as_discarded_is_in_no_request(accounting: Accounting) -> None:
    accounting.sent(ALERT, 3.0)
    accounting.answered(ALERT, Said.DISCARDED)
    accounting.observe([request(1, 2, 1)], at=4.0)
    assert (account(accounting).wrong, account(accounting).discarded) == (False, 1)
    accounting.observe([request(1, 2, 2)], at=5.0)
    assert account(accounting).twice == 1


def test_alert_answered_as_discarded_may_be_counted_if_redis_has_lost_that(accounting: Accounting) -> None:
    accounting.sent(ALERT, 3.0)
    accounting.answered(ALERT, Said.DISCARDED)
    accounting.answered(ALERT, Said.ACCEPTED)
    accounting.observe([request(1, 2, 2)], at=5.0)
    assert account(accounting).problems == (f"{ALERT} was answered as discarded and as accepted",)
    accounting.losses = [3.5]
    assert not account(accounting).wrong


def test_alert_answered_as_pending_may_be_counted_or_not_and_is_asked_about_in_the_end(
    accounting: Accounting,
) -> None:
    accounting.sent(ALERT, 3.0)
    accounting.answered(ALERT, Said.PENDING)
    accounting.observe([request(1, 2, 1)], at=4.0)
    assert (account(accounting).pending, account(accounting).lost) == (1, 0)
    assert account(accounting).problems == (f"{ALERT} is pending for ever",)
    accounting.observe([request(1, 2, 2)], at=5.0)
    assert (account(accounting).pending, account(accounting).twice) == (0, 0)
    accounting.answered_in_the_end(ALERT, Said.DISCARDED)
    assert (account(accounting).problems, account(accounting).twice) == ((), 1)


def test_end_of_an_alert_that_was_accepted_tells_nothing(accounting: Accounting) -> None:
    accounting.sent(ALERT, 3.0)
    accounting.answered(ALERT, Said.ACCEPTED)
    accounting.answered_in_the_end(ALERT, Said.DISCARDED)
    accounting.observe([request(1, 2, 2)], at=4.0)
    assert not account(accounting).wrong


def test_pending_start_before_a_later_one_cannot_be_asked_about(accounting: Accounting) -> None:
    later = Occurrence(GROUP, 1, Way.WEBHOOK, repeat=1)
    for alert in (ALERT, later):
        accounting.sent(alert, 3.0)
        accounting.answered(alert, Said.PENDING)
    accounting.answered_in_the_end(ALERT, Said.DISCARDED)
    accounting.answered_in_the_end(later, Said.DISCARDED)
    accounting.observe([request(1, 2, 1)], at=4.0)
    assert (account(accounting).pending, account(accounting).wrong) == (1, False)


def test_alert_that_begins_anew_and_is_discarded_then_may_be_answered_so_as_a_whole(
    accounting: Accounting,
) -> None:
    later = replace(ALERT, repeat=1)
    for at, alert in enumerate((ALERT, later)):
        accounting.sent(alert, 3.0 + at)
    accounting.answered(ALERT, Said.ACCEPTED)
    accounting.answered(ALERT, Said.DISCARDED)
    accounting.observe([request(1, 2, 2)], at=5.0)
    assert account(accounting).problems == (f"{ALERT} was answered as discarded and as accepted",)
    accounting.answered(later, Said.DISCARDED)
    assert (account(accounting).wrong, account(accounting).discarded) == (False, 1)


def test_alert_that_is_rejected_is_a_problem(accounting: Accounting) -> None:
    accounting.sent(ALERT, 3.0)
    accounting.refused(ALERT, "no policy matches")
    assert account(accounting).problems == (f"{ALERT} was rejected: no policy matches",)


def test_most_open_requests_of_the_policy_with_a_limit_are_counted() -> None:
    groups = [Group(f"storm-{number:02}", Law.MANY, Way.SIGNALS) for number in range(3)]
    accounting = Accounting(groups)

    def seen(number: int, phase: str) -> dict[str, Any]:
        shown = request(1, 1, phase=phase)
        shown["metadata"] = {"name": f"storm-{number}-1", "uid": f"uid-{number}"}
        shown["spec"] |= {"name": groups[number].name}
        return shown

    accounting.observe([seen(0, "Open")], at=1.0)
    accounting.observe([seen(0, "Closed"), seen(1, "Open"), seen(2, "Settled")], at=2.0)
    accounting.observe([seen(0, "Closed"), seen(1, "Closed"), seen(2, "Settled")], at=3.0)
    assert accounting.most_open == 2


def at(version: int, *, of_events: int = 0) -> Checkpoints:
    """Checkpoints at these versions."""
    return Checkpoints(Checkpoint(version), Checkpoint(of_events))


def test_edit_while_nobody_led_may_count_once_more(accounting: Accounting) -> None:
    accounting.edited(Occurrence(GROUP, 1), 20, at=5.0)
    accounting.led_anew(at(20), listed_at=6.0)
    accounting.observe([request(1, 2, 2)], at=7.0)
    assert account(accounting).twice == 1
    accounting.led_anew(at(19, of_events=30), listed_at=6.0)
    assert (account(accounting).twice, account(accounting).edited) == (0, 1)


def lease(name: str, transitions: int, renewed: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"leaseTransitions": transitions, "renewTime": renewed}}


def test_nobody_led_from_the_last_renewal_that_was_seen_to_the_look_that_sees_the_next_leader() -> None:
    leaders = Leaders()
    assert leaders.look([lease("a", 1, "12:00"), lease("b", 1, "12:00")], 0.5) == []
    assert leaders.look([lease("a", 1, "12:01"), lease("b", 1, "12:01")], 1.0) == []
    # All are killed; nobody looks for long.
    assert leaders.look([lease("a", 1, "12:01"), lease("b", 1, "12:01")], 28.0) == []
    assert leaders.look([lease("a", 2, "12:09"), lease("b", 1, "12:09")], 100.0) == [Gap(1.0, 100.0)]
    assert leaders.look([lease("a", 2, "12:09"), lease("b", 2, "12:10")], 101.0) == [Gap(100.0, 101.0)]


@pytest.mark.parametrize(
    ("requests", "problem"),
    [
        ([request(2, 2, 1)], "the epochs of 00000000000000a7 are [2]"),
        ([request(1, 2, 1), request(2)], "requests without a signal: storm-00000000000000a7-2"),
    ],
)
def test_epochs_follow_each_other_and_none_is_empty(
    accounting: Accounting, requests: list[dict[str, Any]], problem: str
) -> None:
    accounting.observe(requests, at=3.0)
    assert account(accounting).problems == (problem,)


def test_count_that_goes_back_is_wrong(accounting: Accounting) -> None:
    accounting.observe([request(1, 2, 1)], at=3.0)
    accounting.observe([request(1, 2, 0)], at=4.0)
    assert account(accounting).problems == ("storm-00000000000000a7-1 went back from 3 to 2",)


def test_closed_request_that_opens_again_is_wrong(accounting: Accounting) -> None:
    accounting.observe([request(1, 1)], at=3.0)
    accounting.observe([request(1, 2, 1, phase="Open")], at=4.0)
    assert account(accounting).problems == ("storm-00000000000000a7-1 was Closed and is Open",)


def test_spec_that_changes_is_wrong_and_a_request_made_again_may_differ(accounting: Accounting) -> None:
    first, changed = request(1, 2, 1), request(1, 2, 1)
    changed["spec"] |= {"severity": "high"}
    accounting.observe([first], at=3.0)
    changed["metadata"] |= {"uid": "uid-made-again"}
    accounting.observe([changed], at=4.0)
    assert account(accounting).problems == ()
    changed["metadata"] |= {"uid": "uid-1"}
    accounting.observe([changed], at=5.0)
    assert account(accounting).problems == ("the spec of storm-00000000000000a7-1 has changed",)


def test_request_of_nobody_is_a_problem_of_its_own(accounting: Accounting) -> None:
    stray = request(1, 1)
    stray["spec"] |= {"name": "storm-99"}
    accounting.observe([stray], at=3.0)
    assert accounting.problems == ["storm-00000000000000a7-1 is of no group: storm-99"]


def test_request_that_was_there_and_is_gone_is_missing(accounting: Accounting) -> None:
    accounting.observe([request(1, 2, 1)], at=3.0)
    assert accounting.missing([]) == ["storm-00000000000000a7-1"]
    assert accounting.missing(["storm-00000000000000a7-1"]) == []


def test_worst_delay_is_from_a_signal_to_the_sum_that_holds_it(accounting: Accounting) -> None:
    accounting.observe([request(1, 1, phase="Open")], at=0.5)
    accounting.observe([request(1, 2, 1)], at=9.0)
    assert accounting.worst_delay() == 8.0


def test_seed_makes_the_same_plan_each_time() -> None:
    assert planned(3) == planned(3)
    assert planned(3) != planned(4)
    assert scheduled(3, "cluster", seconds=40.0) == scheduled(3, "cluster", seconds=40.0)


@pytest.mark.parametrize("seed", range(1, 6))
def test_plan_has_twenty_thousand_signals_of_forty_groups(seed: int) -> None:
    plan = planned(seed)
    created = sum(len(move.numbers) for move in plan.moves if isinstance(move, Create))
    alerts = {alert.occurrence for move in plan.moves if isinstance(move, Post) for alert in move.alerts}
    assert len(plan.groups) == GROUPS
    assert created == SIGNALS
    assert created + len(alerts) >= 20_000


def test_request_of_what_still_fires_may_count_nothing_and_its_group_is_heard(accounting: Accounting) -> None:
    first, again = request(1, 2, 1), request(2, phase="Open")
    again["spec"]["reason"] = "StillFiring"
    accounting.observe([first], at=3.0)
    assert accounting.unheard([GROUP.name]) == [GROUP.name]
    accounting.observe([first, again], at=4.0)
    assert accounting.unheard([GROUP.name]) == []
    assert not account(accounting).wrong


@pytest.mark.parametrize(
    ("ends", "heard"),
    [
        pytest.param(["Skipped"], True, id="nothing is to be done"),
        pytest.param(["Failed", "Cancelled"], True, id="said of the last one"),
        pytest.param(["Failed"], False, id="it failed"),
        pytest.param(["Skipped", "Succeeded"], False, id="said of an earlier one"),
        pytest.param([], False, id="there is none"),
    ],
)
def test_group_whose_last_request_was_skipped_or_cancelled_needs_no_open_one(
    accounting: Accounting, ends: list[str], heard: bool
) -> None:
    requests = [request(epoch) for epoch in range(1, len(ends) + 1)]
    for one, end in zip(requests, ends, strict=True):
        one["status"]["remediation"] = {"phase": end}
    accounting.observe(requests, at=3.0)
    assert accounting.unheard([GROUP.name]) == ([] if heard else [GROUP.name])
