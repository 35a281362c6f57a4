"""What the webhook answers to a post on a real socket, and when."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Literal

import pytest
from tests.harness.served_webhook import (
    BELOW,
    COUNTED,
    NO_POLICY,
    OPTIONS,
    Behind,
    alert,
    body,
    in_flight,
    in_request,
    metric,
    served,
)

from stormfold.api.reasons.signals import SignalReason
from stormfold.api.signal import SignalPhase
from stormfold.model.arrival import Arrival, Verdict
from stormfold.sources.alerts.posts import LISTED


async def test_post_is_answered_when_every_alert_is_concluded_and_not_before() -> None:
    async with served() as it:
        it.behind.holds = True
        answer = it.post_later(body(alert(0), alert(1, status="resolved"), alert(2)))
        arrivals = await it.taken(3)
        assert [(a.labels["pod"], a.firing) for a in arrivals] == [
            ("web-0", True),
            ("web-1", False),
            ("web-2", True),
        ]
        it.behind.fold(arrivals)
        it.behind.conclude(arrivals[:2])
        it.behind.conclude(arrivals[:2])
        assert not answer.done()
        it.behind.conclude(arrivals[2:])
        found = await answer
        assert (found.code, found.json) == (
            200,
            {
                "accepted": 3,
                "requests": [in_request("storm-1", 3)],
                "rejected": [],
                "discarded": [],
                "pending": [],
            },
        )


async def test_answer_says_how_many_alerts_are_in_which_request_under_which_policy() -> None:
    async with served() as it:
        it.behind.holds = True
        answer = it.post_later(body(*(alert(number) for number in range(LISTED + 3))))
        arrivals = await it.taken(LISTED + 3)
        it.behind.fold(arrivals)
        for number, arrival in enumerate(arrivals):
            where = replace(COUNTED, request_name=f"storm-{max(0, number - 1):03}")
            Behind.conclude([arrival], where)
        assert (await answer).json == {
            "accepted": LISTED + 3,
            "requests": [in_request(f"storm-{n:03}", 2 if n == 0 else 1) for n in range(LISTED)],
            "inFurtherRequests": 2,
            "rejected": [],
            "discarded": [],
            "pending": [],
        }


async def test_ack_redis_answers_when_every_alert_is_folded() -> None:
    async with served(replace(OPTIONS, ack="redis")) as it:
        it.behind.holds = True
        answer = it.post_later(body(alert(0), alert(1)))
        arrivals = await it.taken(2)
        it.behind.fold(arrivals[:1])
        it.behind.conclude(arrivals[:1])
        it.behind.fold(arrivals[:1])
        assert not answer.done()
        # Concluded without a fold: no policy governs it.
        Behind.conclude(arrivals[1:], NO_POLICY)
        assert (await answer).json["accepted"] == 2


async def test_alert_that_nothing_governs_is_told_before_it_is_folded() -> None:
    async with served(replace(OPTIONS, ack="redis")) as it:
        it.behind.holds = True
        answer = it.post_later(body(alert(0)))
        (arrival,) = await it.taken(1)
        arrival.via.durable(arrival, NO_POLICY)
        assert (await answer).json == {
            "accepted": 0,
            "rejected": [{"index": 0, "reason": "NoPolicyMatches", "message": "no policy governs it"}],
            "discarded": [],
            "pending": [],
            "docs": "https://stormfold.dev/reasons/",
        }


async def test_what_no_request_takes_is_final_and_listed_by_its_index() -> None:
    rejected = metric("stormfold_signals_rejected_total", source="alertmanager", reason="NoPolicyMatches")
    received = metric("stormfold_signals_received_total", source="alertmanager")
    async with served() as it:
        it.behind.holds = True
        answer = it.post_later(body(alert(0), alert(1, alertname=None), alert(2), alert(3), {}))
        arrivals = await it.taken(3)
        it.behind.conclude(arrivals[:1])
        it.behind.conclude(arrivals[1:2], NO_POLICY)
        it.behind.conclude(arrivals[2:], BELOW)
        found = await answer
    assert found.code == 200
    assert found.json["accepted"] == 1
    assert [(r["index"], r["reason"]) for r in found.json["rejected"]] == [
        (1, "InvalidAlert"),
        (2, "NoPolicyMatches"),
        (4, "InvalidAlert"),
    ]
    assert [(r["index"], r["reason"]) for r in found.json["discarded"]] == [(3, "BelowThreshold")]
    assert (
        metric("stormfold_signals_rejected_total", source="alertmanager", reason="NoPolicyMatches")
        == rejected + 1
    )
    assert metric("stormfold_signals_received_total", source="alertmanager") == received + 3


def say_pending(arrivals: Iterable[Arrival], message: str = "below") -> list[bool]:
    """Say of alerts that no request of their group is to be made so far."""
    return [arrival.via.pending(arrival, SignalReason.BELOW_THRESHOLD, message) for arrival in arrivals]


@pytest.mark.parametrize("ack", ["request", "redis"])
async def test_post_does_not_wait_for_alerts_of_groups_that_need_no_request(
    ack: Literal["request", "redis"],
) -> None:
    async with served(replace(OPTIONS, ack=ack)) as it:
        it.behind.holds = True
        answer = it.post_later(body(alert(0), alert(1), alert(2)))
        arrivals = await it.taken(3)
        assert say_pending(reversed(arrivals[:2])) == [True, True]
        arrivals[2].via.durable(arrivals[2], BELOW)
        found = await answer
        said = {"reason": "BelowThreshold", "message": "below"}
        assert (found.code, found.json["accepted"]) == (200, 0)
        assert found.json["pending"] == [{"index": index, **said} for index in (0, 1)]
        assert [refusal["index"] for refusal in found.json["discarded"]] == [2]
        assert say_pending(arrivals) == [True] * 3, "also when nobody waits any more"
        it.behind.conclude(arrivals[:2])


async def test_pending_alert_whose_request_is_made_while_its_post_waits_is_accepted() -> None:
    async with served() as it:
        it.behind.holds = True
        answer = it.post_later(body(alert(0), alert(1), alert(2)))
        arrivals = await it.taken(3)
        say_pending(arrivals[:2])
        it.behind.conclude(arrivals[:1])
        say_pending(arrivals[:2], "later")
        it.behind.conclude(arrivals[2:])
        found = await answer
    assert (found.code, found.json["accepted"]) == (200, 2)
    assert [(one["index"], one["message"]) for one in found.json["pending"]] == [(1, "below")]


async def test_post_that_takes_too_long_is_to_come_again() -> None:
    async with served(replace(OPTIONS, wait_seconds=0.2)) as it:
        it.behind.holds = True
        found = await it.post(body(alert(0), alert(1)))
        assert (found.code, found.reason, found.headers["Retry-After"]) == (503, "NotDurableInTime", "2")
        assert in_flight() == 0
        # Nobody waits any longer; what comes now does no harm.
        it.behind.conclude(it.behind.arrivals)


async def test_post_that_takes_too_long_says_which_request_is_refused() -> None:
    async with served(replace(OPTIONS, wait_seconds=0.3)) as it:
        it.behind.holds = True
        answers = []
        for number in range(2):
            answer = it.post_later(body(alert(2 * number), alert(2 * number + 1)))
            first, second = (await it.taken(2 * number + 2))[-2:]
            second.via.delayed(second, "x" * 5000)
            it.behind.conclude([second] if number else [first])
            answers.append((await answer).json["message"])
        assert f" within 0.3 s: {'x' * 1023}…. " in answers[0]
        assert " within 0.3 s. " in answers[1], "that request has been written since"


async def test_post_without_alerts_is_taken() -> None:
    async with served() as it:
        found = await it.post(body())
        assert (found.code, found.json) == (
            200,
            {"accepted": 0, "rejected": [], "discarded": [], "pending": []},
        )


async def test_alerts_for_which_there_is_no_room_are_refused_and_the_others_taken() -> None:
    async with served() as it:
        it.behind.room_for = lambda arrival: arrival.namespace != "shop"
        found = await it.post(body(alert(), alert(namespace="ops"), alert()))
        assert (found.code, found.reason, found.headers["Retry-After"]) == (503, "NoRoom", "2")
        assert found.json["message"] == (
            "2 alerts were not taken: namespace shop has too many signals that wait for a request. "
            "Send the post again; alerts that were taken are not counted twice."
        )
        it.behind.room_for = lambda arrival: False
        waiting = "too many signals that wait for a request. "
        one = (await it.post(body(alert()))).json["message"]
        assert one.startswith(f"1 alert was not taken: namespace shop has {waiting}")
        many = (await it.post(body(alert(), alert(namespace="ops")))).json["message"]
        assert many.startswith(f"2 alerts were not taken: namespaces ops, shop have {waiting}")
        # Those of others count, whether or not the post is sent again.
        assert [arrival.namespace for arrival in it.behind.arrivals] == ["ops"]


async def test_post_whose_alerts_have_no_place_is_refused_and_one_of_several_is_listed() -> None:
    nowhere = Verdict(SignalPhase.REJECTED, SignalReason.NAMESPACE_NOT_FOUND, "there is no namespace shopp")
    async with served() as it:
        it.behind.holds = True
        answer = it.post_later(body(alert(0), {}))
        it.behind.conclude(await it.taken(1), nowhere)
        found = await answer
        assert (found.code, found.reason, found.json["accepted"]) == (400, "NoAlertUsable", 0)
        assert found.json["message"] == "no alert of 2 can be used; the first: there is no namespace shopp"
        assert [(r["index"], r["reason"]) for r in found.json["rejected"]] == [
            (0, "NamespaceNotFound"),
            (1, "InvalidAlert"),
        ]
        answer = it.post_later(body(alert(0), alert(1)))
        await it.taken(3)
        it.behind.conclude(it.behind.arrivals[1:2], nowhere)
        it.behind.conclude(it.behind.arrivals[2:])
        found = await answer
        assert (found.code, found.json["accepted"]) == (200, 1)
        assert [(r["index"], r["reason"]) for r in found.json["rejected"]] == [(0, "NamespaceNotFound")]


async def test_process_that_does_not_serve_says_why() -> None:
    async with served() as it:
        it.behind.problem = "this replica is stopping"
        found = await it.post(body(alert()))
        assert (found.code, found.json) == (
            503,
            {
                "reason": "NotServing",
                "message": "this replica is stopping",
                "docs": "https://stormfold.dev/reasons/#NotServing",
            },
        )
        assert found.headers["Retry-After"] == "2"
        it.behind.problem = None
        assert (await it.post(body(alert()))).code == 200


async def test_alerts_that_alertmanager_left_out_are_counted() -> None:
    before = metric("stormfold_webhook_alerts_truncated_total")
    async with served() as it:
        assert (await it.post(body(alert(), truncatedAlerts=7))).code == 200
    assert metric("stormfold_webhook_alerts_truncated_total") == before + 7
