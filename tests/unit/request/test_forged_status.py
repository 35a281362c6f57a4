"""What is believed of a status and of annotations into which somebody has written."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import orjson
import pytest
from pydantic import ValidationError
from tests.harness.request_bodies import STORM, body
from tests.harness.values import T0

from stormfold.api.conditions import ConditionType
from stormfold.api.remediationrequest import RequestPhase
from stormfold.api.resource import MAX_INT
from stormfold.request import rendering
from stormfold.request.bodies import wanted
from stormfold.request.reading import Request
from stormfold.request.remediation import Claim, Report
from stormfold.request.seeding import seed_of
from stormfold.request.writing import descends

CLAIM = {"holderIdentity": "robot-1", "revision": 2, "expirationTime": "2026-01-01T00:05:00Z"}
LATEST = "9999-12-31T23:59:59Z"
EARLIEST = "0001-01-01T00:00:00Z"


@pytest.mark.parametrize(
    "forged",
    [
        pytest.param({"signals": {"total": MAX_INT, "firing": MAX_INT, "resolved": MAX_INT}}, id="counts"),
        pytest.param({"signals": {"total": 99}}, id="more than was folded"),
        pytest.param(
            {"revision": MAX_INT, "affectedResourceCount": MAX_INT, "ratePerMinute": MAX_INT},
            id="further counts",
        ),
        pytest.param(
            {
                "continuation": {
                    "incarnation": "forged",
                    "origin": "incarnation-1:9",
                    "folded": MAX_INT,
                    "alerts": MAX_INT,
                    "unlistedAlerts": MAX_INT,
                    "firingAlerts": MAX_INT,
                    "leftOut": MAX_INT,
                    "sampled": MAX_INT,
                    "countedSignals": {"resourceVersion": "9" * 19},
                    "countedEvents": {"resourceVersion": "9" * 19},
                }
            },
            id="what it is continued from",
        ),
        pytest.param({"withAlerts": "AAAA"}, id="a list of alerts that is none"),
        pytest.param({"firstSeen": EARLIEST, "lastSeen": EARLIEST, "deadlines": None}, id="long ago"),
        pytest.param({"deadlines": {"close": EARLIEST}}, id="a deadline long ago"),
        pytest.param({"firstSeen": LATEST, "lastSeen": LATEST, "deadlines": None}, id="far ahead"),
        pytest.param({"deadlines": {"close": LATEST}}, id="a deadline far ahead"),
        pytest.param({"resources": [{"kind": "Pod", "name": "a", "signals": MAX_INT}]}, id="resource"),
        pytest.param(
            {
                "conditions": [
                    {"type": f"T{number}", "status": "True", "lastTransitionTime": LATEST, "reason": "R"}
                    for number in range(32)
                ]
            },
            id="as many conditions as there can be",
        ),
    ],
)
def test_storm_is_written_on_whatever_somebody_wrote_into_its_status(forged: dict[str, Any]) -> None:
    written = body()
    written["status"] |= forged
    held = Request.read(written)
    seed = seed_of(held)
    grown = replace(
        STORM,
        incarnation="incarnation-2",
        origin=seed.origin,
        total=seed.total + 1,
        folded=seed.folded + 1,
        firing=seed.firing + 1,
        resolved=seed.resolved + 1,
        alerts=seed.alerts + 1,
        unknown_alerts=seed.unknown_alerts + 1,
        firing_alerts=seed.firing_alerts + 1,
        left_out=seed.left_out + 1,
        first_ms=seed.first_ms,
        last_ms=seed.last_ms,
        arrived_ms=seed.arrived_ms,
        through=seed.through,
        event_through=seed.event_through,
        revision=seed.revision + 1,
        resource_count=seed.resource_count + 1,
        resources=tuple((target, signals + 1) for target, signals in seed.resources.items()),
    )
    assert descends(grown, held)
    assert held.resource.status is not None
    again = copy.deepcopy(written)
    again["status"] = rendering.status(
        grown,
        RequestPhase.OPEN,
        closed_for=None,
        spec=held.resource.spec,
        namespace=held.namespace,
        before=held.resource.status.conditions,
        reported={},
        generation=1,
        now_ms=T0,
    )
    counted = Request.read(again).resource.status
    assert counted is not None
    assert counted.signals.total == seed.total + 1
    assert {condition.type for condition in counted.conditions} >= set(ConditionType) - {
        ConditionType.ACCEPTED,
        ConditionType.CLAIM_EXPIRED,
        ConditionType.REMEDIATION_PHASE_UNKNOWN,
        ConditionType.STALE_REMEDIATION,
        ConditionType.GROUPS_WAITING,
        ConditionType.GROUP_VALUE_MISSING,
        ConditionType.PROCEED,
        ConditionType.REQUESTS_SELECTED,
    }


@pytest.mark.parametrize(
    "forged", [{"origin": "incarnation-1:x"}, {"origin": "nothing"}, {"incarnation": "a:b"}]
)
def test_continuation_that_we_could_not_have_written_is_none(forged: dict[str, str]) -> None:
    written = body()
    written["status"]["continuation"] |= forged
    with pytest.raises(ValidationError):
        Request.read(written)


def test_of_what_the_consumer_wrote_only_the_report_is_kept() -> None:
    written = body()
    written["status"]["remediation"] = {
        "phase": "Running",
        "observedRevision": 3,
        "claim": CLAIM,
        "message": "busy",
        "log": ["x" * 1000] * 1000,
    }
    for read in (written, orjson.loads(orjson.dumps(wanted(written)))):
        held = Request.read(read)
        assert held.report == Report("Running", 3, Claim("robot-1", 2, 1_767_225_900_000))


@pytest.mark.parametrize(("value", "closing"), [("true", True), ("True", False), ("", False)])
def test_annotation_is_kept_that_asks_for_closing_and_no_other(value: str, closing: bool) -> None:
    written = body()
    written["metadata"]["annotations"] = {"stormfold.dev/close": value, "other": "x" * 100_000}
    for read in (written, orjson.loads(orjson.dumps(wanted(written)))):
        held = Request.read(read)
        assert held.report == Report(closing=closing)
        assert held.resource.metadata.annotations == ({"stormfold.dev/close": "true"} if closing else {})


@pytest.mark.parametrize(
    "claim",
    [
        pytest.param(CLAIM | {"expirationTime": "0000-01-01T00:00:00Z"}, id="the year 0"),
        pytest.param(CLAIM | {"holderIdentity": ""}, id="nobody"),
        pytest.param({}, id="empty"),
    ],
)
def test_claim_that_cannot_be_read_is_none_and_hides_nothing_else(claim: dict[str, object]) -> None:
    written = body()
    written["status"]["remediation"] = {"phase": "Running", "claim": claim}
    assert Request.read(written).report == Report("Running")


def test_of_what_the_consumer_wrote_the_rest_is_not_kept() -> None:
    written = body()
    written["status"]["remediation"] = {"phase": "Running", "message": "busy", "log": ["x" * 1000] * 1000}
    held = Request.read(written)
    assert held.resource.status is not None
    assert held.resource.status.remediation is not None
    assert held.resource.status.remediation.model_dump(exclude_none=True) == {"phase": "Running"}
    assert len(written["status"]["remediation"]) == 3
