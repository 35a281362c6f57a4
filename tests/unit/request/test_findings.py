"""What a request says of its storm: detected, settled, recovered, truncated, and why it is not closed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.harness.values import POD, SNAPSHOT, TERMS

from stormfold.api.reason import Reason
from stormfold.api.reasons.requests import RequestReason
from stormfold.api.reasons.signals import SignalReason
from stormfold.api.remediationrequest import RequestPhase
from stormfold.api.stormpolicy import CloseOn
from stormfold.model.storm import Detected, Snapshot
from stormfold.request.deciding import (
    CLOSING_SENTENCES,
    Finding,
    closed,
    not_closed,
    recovered,
    settled,
    storm_detected,
    truncated,
)

BY_QUIET = replace(TERMS, close_on=CloseOn.QUIET)
BY_RECOVERY = replace(TERMS, close_on=CloseOn.RECOVERED)


@pytest.mark.parametrize(
    ("storm", "finding"),
    [
        pytest.param(
            SNAPSHOT,
            Finding(True, RequestReason.SIGNAL_THRESHOLD_REACHED, "5 signals came within 60 s"),
            id="by signals",
        ),
        pytest.param(
            replace(
                SNAPSHOT,
                detected=Detected.BY_RESOURCES,
                terms=replace(TERMS, threshold_resources=1, within_ms=1_500),
            ),
            Finding(True, RequestReason.RESOURCE_THRESHOLD_REACHED, "1 resource affected within 1500 ms"),
            id="by resources",
        ),
        pytest.param(
            replace(SNAPSHOT, detected=Detected.NO, firing_signals=1),
            Finding(False, SignalReason.BELOW_THRESHOLD, "no storm: 1 signal, threshold 5 within 60 s"),
            id="below",
        ),
        pytest.param(
            replace(SNAPSHOT, detected=Detected.NO, terms=replace(TERMS, threshold_resources=3)),
            Finding(
                False,
                SignalReason.BELOW_THRESHOLD,
                "no storm: 6 signals, threshold 5; 2 resources, threshold 3 within 60 s",
            ),
            id="below both",
        ),
    ],
)
def test_storm_is_detected(storm: Snapshot, finding: Finding) -> None:
    assert storm_detected(storm) == finding


@pytest.mark.parametrize(
    ("phase", "finding"),
    [
        (
            RequestPhase.OPEN,
            Finding(False, RequestReason.SIGNALS_ARRIVING, "7 signals so far, 7 in the last minute"),
        ),
        (RequestPhase.SETTLED, Finding(True, RequestReason.QUIET, "7 signals; the counts are exact")),
        (RequestPhase.CLOSED, Finding(True, RequestReason.QUIET, "7 signals; the counts are exact")),
    ],
)
def test_storm_is_settled_unless_it_is_open(phase: RequestPhase, finding: Finding) -> None:
    assert settled(SNAPSHOT, phase) == finding


@pytest.mark.parametrize(
    ("storm", "finding"),
    [
        pytest.param(
            SNAPSHOT, Finding(False, RequestReason.STILL_FIRING, "5 firing, 1 resolved"), id="some fire"
        ),
        pytest.param(
            replace(SNAPSHOT, approximate=True),
            Finding(False, RequestReason.STILL_FIRING, "5 firing, 1 resolved"),
            id="some of about so many fire",
        ),
        pytest.param(
            replace(SNAPSHOT, firing=0, resolved=6),
            Finding(True, RequestReason.ALL_RESOLVED, "all 6 resolved"),
            id="none fires",
        ),
        pytest.param(
            replace(SNAPSHOT, firing=0, resolved=600, approximate=True),
            Finding(
                None,
                RequestReason.INSTANCES_NOT_TRACKED,
                "about 600 resolved; not every instance could be followed",
            ),
            id="nobody knows",
        ),
        pytest.param(
            replace(SNAPSHOT, firing=0, resolved=5, stale_alerts=2),
            Finding(
                None,
                RequestReason.ALERTS_STALE,
                "5 resolved, 2 alerts neither repeated nor resolved for staleAfter (86400 s)",
            ),
            id="nobody has heard of some for long",
        ),
        pytest.param(
            replace(SNAPSHOT, firing=1, stale_alerts=1),
            Finding(
                False,
                RequestReason.STILL_FIRING,
                "1 firing, 1 resolved, 1 alert neither repeated nor resolved for staleAfter (86400 s)",
            ),
            id="and others fire",
        ),
    ],
)
def test_storm_has_recovered_when_nothing_fires(storm: Snapshot, finding: Finding) -> None:
    assert recovered(storm) == finding


@pytest.mark.parametrize(
    ("storm", "finding"),
    [
        (SNAPSHOT, Finding(False, RequestReason.WITHIN_LIMIT, "2 resources listed")),
        (
            replace(SNAPSHOT, resources=(), resource_count=0),
            Finding(False, RequestReason.WITHIN_LIMIT, "0 resources listed"),
        ),
        (
            replace(SNAPSHOT, total=900, truncated=True, resources=((POD, 9),), resource_count=480),
            Finding(True, RequestReason.RESOURCE_LIMIT_REACHED, "1 of about 480 resources listed"),
        ),
        (
            replace(SNAPSHOT, total=177, truncated=True, resources=((POD, 9),), resource_count=178),
            Finding(True, RequestReason.RESOURCE_LIMIT_REACHED, "1 of about 177 resources listed"),
        ),
    ],
)
def test_list_of_resources_is_truncated_or_whole(storm: Snapshot, finding: Finding) -> None:
    assert truncated(storm) == finding


@pytest.mark.parametrize(
    ("storm", "reason", "message"),
    [
        (SNAPSHOT, RequestReason.NOT_CLOSED, "the next signal of the group is counted in this request"),
        (
            replace(SNAPSHOT, firing_alerts=1),
            RequestReason.ALERTS_FIRING,
            "1 alert still firing: closeAfter (900 s) begins when all have resolved",
        ),
        (
            replace(SNAPSHOT, firing_alerts=3, approximate=True),
            RequestReason.ALERTS_FIRING,
            "up to 3 alerts still firing: closeAfter (900 s) begins when all have resolved",
        ),
        (
            replace(SNAPSHOT, firing_alerts=3, terms=BY_RECOVERY),
            RequestReason.STILL_FIRING,
            "5 instances still firing: closeAfter (900 s) begins when all have resolved",
        ),
        (
            replace(SNAPSHOT, firing_alerts=3, terms=BY_QUIET),
            RequestReason.NOT_CLOSED,
            "the next signal of the group is counted in this request",
        ),
    ],
)
def test_open_storm_is_not_closed_and_says_what_holds_it(
    storm: Snapshot, reason: Reason, message: str
) -> None:
    assert not_closed(storm) == Finding(False, reason, message)


@pytest.mark.parametrize("reason", [reason for reason in RequestReason if reason.where == "Closed is True"])
def test_every_reason_for_closing_has_a_sentence(reason: Reason) -> None:
    assert closed(reason) == Finding(True, reason, CLOSING_SENTENCES[reason])
