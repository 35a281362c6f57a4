"""What the observer of gates and requests calls wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.harness.audit import writes_of
from tests.harness.gates import OPERATOR_NAMESPACE, gate_body, hold, time_at
from tests.harness.values import T0
from tests.harness.verdicts import Judgement, Observer

T = T0 / 1000
SAID = "shop/storm-1 said Proceed for"
ROBOT = {"holderIdentity": "robot-1", "revision": 1, "expirationTime": "2026-01-01T01:00:00Z"}


def gate(**more: Any) -> dict[str, Any]:
    return gate_body(**more) | {"kind": "StormGate"}


def request(uid: str = "uid-1", verdict: str = "Proceed", **status: Any) -> dict[str, Any]:
    decision = {"decision": {"verdict": verdict}} if verdict else {}
    return {
        "kind": "RemediationRequest",
        "metadata": {"uid": uid, "namespace": "shop", "name": uid.replace("uid", "storm")},
        "spec": {"policyRef": {"name": "team"}, "severity": "high"},
        "status": {"phase": "Open", **decision, **status},
    }


def judged(*seen: tuple[float, dict[str, Any]], until: float = 60, **more: Any) -> Judgement:
    """What is seen at each second since T0, in the order of resourceVersions."""
    observer = Observer(OPERATOR_NAMESPACE)
    for number, (at, body) in enumerate(seen, 1):
        event = "DELETED" if body.get("deleted") else "MODIFIED"
        metadata = body["metadata"] | {"resourceVersion": str(number)}
        observer.seen({"type": event, "object": body | {"metadata": metadata}}, T + at)
    excused = [(T + begin, T + end) for begin, end in more.pop("excused", ())]
    return observer.judged(T + until, excused=excused, **more)


def probing(canary: str) -> dict[str, Any]:
    return {"state": "Probing", "places": [{"uid": canary, "canary": True}]}


def said(seconds: float, begin: float, end: float, check: str, gate: str = "everything") -> str:
    where = f"stormfold-system/{gate}"
    return f"{SAID} {seconds:.2f} s ({T + begin:.2f} to {T + end:.2f}) against gate {where}: {check}"


def test_request_that_says_hold_within_a_second_is_right() -> None:
    found = judged((0, request()), (1, gate(holds=[hold()])), (2, request(verdict="Hold")))
    assert (found.wrong, found.against, found.longest) == ([], 1, 1.0)
    assert found.verdicts == {("shop", "Proceed"): 1, ("shop", "Hold"): 1}
    assert found.most == {"shop": 1}


def test_version_counts_from_when_it_was_written_although_a_watch_tells_of_it_late() -> None:
    held = request(verdict="Hold")
    held["metadata"]["managedFields"] = [{"time": time_at(-60)}, {"time": time_at(2)}, {"manager": "no time"}]
    found = judged((0, request()), (1, gate(holds=[hold()])), (9, held))
    assert (found.longest, found.wrong) == (2.0, [said(2, 1, 3, "alice says Hold")])


def test_version_that_does_not_say_that_it_was_written_later_counts_from_when_it_was_seen() -> None:
    frozen, lifted = gate(holds=[hold()]), gate()
    for body in (frozen, lifted):
        body["metadata"] = body["metadata"] | {"managedFields": [{"time": time_at(0)}]}
    found = judged((0, request()), (1, frozen), (9, lifted))
    assert (found.longest, found.wrong) == (8.0, [said(8, 1, 9, "alice says Hold")])


def test_version_counts_from_its_write_if_that_is_known() -> None:
    seen = (0, request()), (3, gate(holds=[hold()])), (9, request(verdict="Hold"))
    found = judged(*seen, writes={2: T + 1.2, 3: T + 1.9})
    assert (round(found.longest, 3), found.wrong) == (0.7, [])
    # Whoever saw it sooner is right.
    found = judged(*seen, writes={2: T + 1.2, 3: T + 9.5})
    assert (round(found.longest, 3), found.wrong) == (7.8, [said(7.8, 1.2, 9, "alice says Hold")])


def test_log_says_when_each_version_was_written(tmp_path: Path) -> None:
    def line(version: str | None, answered: str) -> str:
        event = {
            "verb": "patch",
            "user": {"username": "robot"},
            "requestReceivedTimestamp": "2026-01-01T00:00:00.500000Z",
            "stageTimestamp": f"2026-01-01T00:00:{answered}Z",
            "responseObject": {"metadata": {"resourceVersion": version} if version else {}},
        }
        return json.dumps(event) + "\n"

    log = tmp_path / "audit.log"
    log.write_text(
        line("7", "01.250000") + line(None, "01.5") + '{"verb": "pa' + line("9", "02.5") + line("7", "03")
    )
    assert writes_of(log) == {7: T0 / 1000 + 1.25}
    log.write_text(line("7", "01.250000") + line("8", "02.000000"))
    assert writes_of(log) == {7: T0 / 1000 + 1.25, 8: T0 / 1000 + 2}


@pytest.mark.parametrize(
    ("seen", "wrong"),
    [
        pytest.param(
            [(0, request()), (1, gate(holds=[hold()])), (2.5, request(verdict="Hold"))],
            [said(1.5, 1, 2.5, "alice says Hold")],
            id="it follows a hold too late",
        ),
        pytest.param(
            [(0, request()), (1, gate(holds=[hold()])), (3, request(phase="Closed"))],
            [said(2, 1, 3, "alice says Hold")],
            id="until it closes",
        ),
        pytest.param(
            [(0, request()), (1, gate(holds=[hold()])), (4, request() | {"deleted": True})],
            [said(3, 1, 4, "alice says Hold")],
            id="until it is deleted",
        ),
        pytest.param(
            [(0, request()), (1, gate(holds=[hold()])), (4, gate())],
            [said(3, 1, 4, "alice says Hold")],
            id="until the hold is lifted",
        ),
        pytest.param(
            [(0, request()), (1, gate(holds=[hold()])), (4, gate() | {"deleted": True})],
            [said(3, 1, 4, "alice says Hold", "uid-stormfold-system-everything").replace(
                "gate stormfold-system/", "gate ")],
            id="until the gate is deleted",
        ),
        pytest.param(
            [(0, request()), (1, gate(holds=[hold(until=time_at(5), verdict="Stop")]))],
            [said(4, 1, 5, "alice says Stop")],
            id="until the hold ends by itself",
        ),
        pytest.param(
            [(0, request()), (1, gate(holds=[hold()]))],
            [said(59, 1, 60, "alice says Hold")],
            id="to the end",
        ),
        pytest.param(
            [(0, request()), (1, gate(breaker={}, status={"state": "Tripped"}))],
            [said(59, 1, 60, "it is Tripped")],
            id="a tripped breaker",
        ),
        pytest.param(
            [(0, request()), (1, gate(status={"state": "Tripped"}))],
            [],
            id="one that is a breaker no more",
        ),
        pytest.param(
            [
                (0, request()),
                (1, gate(breaker={}, status=probing("uid-2"))),
            ],
            [said(59, 1, 60, "it probes by another request")],
            id="beside a canary",
        ),
        pytest.param(
            [
                (0, request()),
                (1, gate(breaker={}, status=probing("uid-1"))),
            ],
            [],
            id="the canary",
        ),
        pytest.param(
            [(0, request()), (1, gate(budget={"concurrent": 1}))],
            [said(59, 1, 60, "it has no place for it")],
            id="without a place",
        ),
        pytest.param(
            [(0, request()), (1, gate(budget={"concurrent": 1}, status={"places": [{"uid": "uid-1"}]}))],
            [],
            id="with a place",
        ),
        pytest.param(
            [(0, request()), (1, gate(budget={"concurrent": 0}))], [], id="a limit of 0 is none"
        ),
        pytest.param(
            [(0, request()), (1, gate(holds=[hold()], selector={"policies": ["other"]}))],
            [],
            id="a gate that selects others",
        ),
        pytest.param(
            [(0, request()), (1, gate(holds=[hold()], namespace="billing"))], [], id="a gate of elsewhere"
        ),
    ],
)  # fmt: skip
def test_request_that_says_proceed_against_a_check_for_more_than_a_second_is_wrong(
    seen: list[tuple[float, dict[str, Any]]], wrong: list[str]
) -> None:
    assert judged(*seen).wrong == wrong


def test_time_in_which_nobody_could_act_is_excused_and_what_is_left_counts() -> None:
    seen = (0, request()), (1, gate(holds=[hold()])), (6, request(verdict="Hold"))
    assert judged(*seen, excused=[(0, 3), (2, 5)]).wrong == []
    found = judged(*seen, excused=[(0, 3), (2, 4.5)])
    assert found.wrong == [said(1.5, 1, 6, "alice says Hold")]


def test_hold_may_end_as_much_earlier_as_a_clock_is_wrong() -> None:
    seen = (0, request()), (1, gate(holds=[hold(until=time_at(9))]))
    assert judged(*seen, clock_error=7.5).wrong == []
    assert judged(*seen, clock_error=6.5).wrong == [said(1.5, 1, 2.5, "alice says Hold")]


def test_versions_are_put_in_the_order_of_the_api_server() -> None:
    observer = Observer(OPERATOR_NAMESPACE)
    for at, number, body in (
        (3.0, 3, request(verdict="Hold")),
        (3.1, 2, gate(holds=[hold()])),
        (0, 1, request()),
    ):
        metadata = body["metadata"] | {"resourceVersion": str(number)}
        observer.seen({"type": "MODIFIED", "object": body | {"metadata": metadata}}, T + at)
    found = observer.judged(T + 60)
    assert (found.wrong, found.against) == ([], 0)


@pytest.mark.parametrize(
    ("verdict", "before", "after", "wrong"),
    [
        ("Proceed", {}, {"phase": "InProgress"}, False),
        ("Hold", {}, {"phase": "InProgress"}, True),
        ("", {}, {"claim": ROBOT}, True),
        ("Hold", {}, {"phase": "Failed", "claim": ROBOT}, False),
        ("Hold", {"phase": "InProgress"}, {"phase": "Verifying"}, False),
        ("Hold", {"phase": "InProgress", "claim": ROBOT}, {"phase": "InProgress"}, False),
        ("Hold", {"phase": "A", "claim": ROBOT}, {"phase": "A", "claim": ROBOT | {"revision": 2}}, False),
        ("Hold", {"claim": ROBOT}, {"claim": ROBOT | {"holderIdentity": "robot-2"}}, True),
        ("Stop", {"phase": "InProgress"}, {"phase": "Verifying"}, True),
        ("Stop", {"phase": "A", "claim": ROBOT}, {"phase": "A", "claim": ROBOT | {"revision": 2}}, True),
        ("Stop", {"phase": "InProgress", "claim": ROBOT}, {"phase": "InProgress"}, False),
        ("Stop", {"phase": "InProgress"}, {"phase": "Aborted"}, False),
    ],
)
def test_consumer_that_goes_on_against_what_the_request_says_is_wrong(
    verdict: str, before: dict[str, Any], after: dict[str, Any], wrong: bool
) -> None:
    found = judged((0, request(verdict=verdict, remediation=before)), (1, request(remediation=after)))
    assert bool(found.wrong) is wrong


def test_consumer_that_begins_a_second_after_a_hold_is_wrong_whatever_the_request_says() -> None:
    working = request(remediation={"phase": "InProgress"})
    found = judged((0, request()), (1, gate(holds=[hold()])), (1.9, working), (2, gate()))
    assert (found.wrong, found.begun) == ([], 1)
    found = judged((0, request()), (1, gate(holds=[hold()])), (2.2, working), (2.3, gate()), excused=[(0, 9)])
    assert found.wrong == [
        "a consumer began in shop/storm-1 1.20 s after gate stormfold-system/everything: alice says Hold"
    ]


def test_two_canaries_and_more_places_than_the_budget_has_are_wrong() -> None:
    places = [{"uid": f"uid-{number}", "canary": True} for number in range(2)]
    found = judged((0, gate(breaker={}, budget={"concurrent": 1}, status={"places": places})))
    assert found.wrong == [
        "gate stormfold-system/everything has two canaries",
        "gate stormfold-system/everything has given 2 places of 1",
    ]
