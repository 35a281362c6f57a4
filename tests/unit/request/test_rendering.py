"""What the status of a RemediationRequest says, word by word."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import orjson
import pytest
from tests.harness.values import ARRIVAL, POD, SNAPSHOT, T0, version

from stormfold.api.conditions import Condition, ConditionStatus, ConditionType
from stormfold.api.reason import Reason
from stormfold.api.reasons.consumers import ConsumerReason
from stormfold.api.reasons.requests import RequestReason
from stormfold.api.remediationrequest import RemediationRequestSpec, RequestPhase
from stormfold.model.storm import Detected, Snapshot, TrackedAlert
from stormfold.request import rendering
from stormfold.request.deciding import Finding
from stormfold.request.rendering import closed_conditions, manifest

FIXED = RemediationRequestSpec.model_validate(
    manifest(SNAPSHOT, version().opening(version().group(ARRIVAL), ARRIVAL))["spec"]
)
status = partial(rendering.status, spec=FIXED, namespace="shop", reported={})
"""That of a request of which its consumer has said nothing wrong."""
NOW = T0 + 11_000


def condition(kind: str, holds: str, reason: str, message: str, since: str = "00:00:11") -> dict[str, Any]:
    return {
        "type": kind,
        "status": holds,
        "observedGeneration": 1,
        "lastTransitionTime": f"2026-01-01T{since}Z",
        "reason": reason,
        "message": message,
    }


OPEN: dict[str, Any] = {
    "observedGeneration": 1,
    "phase": "Open",
    "signals": {
        "total": 7,
        "firing": 5,
        "resolved": 1,
        "stale": 0,
        "approximate": False,
    },
    "severity": "high",
    "firstSeen": "2025-12-31T23:59:56Z",
    "lastSeen": "2026-01-01T00:00:08Z",
    "resources": [
        {"apiVersion": "v1", "kind": "Pod", "namespace": "shop", "name": "web-0", "signals": 4},
        {"apiVersion": "v1", "kind": "Node", "name": "worker-07", "signals": 2},
    ],
    "summary": "7 signals on 2 resources: PodDown",
    "signalNames": [{"name": "PodDown", "signals": 7}],
    "affectedResourceCount": 2,
    "affectedResourceCountPrecision": "Exact",
    "truncated": False,
    "ratePerMinute": 7,
    "revision": 1,
    "display": {"what": "PodDown", "group": ""},
    "deadlines": {
        "settle": "2026-01-01T00:01:10Z",
        "close": "2026-01-01T00:15:10Z",
        "expire": "2026-01-01T06:00:00Z",
    },
    "conditions": [
        condition("StormDetected", "True", "SignalThresholdReached", "5 signals came within 60 s"),
        condition("Settled", "False", "SignalsArriving", "7 signals so far, 7 in the last minute"),
        condition("Recovered", "False", "StillFiring", "5 firing, 1 resolved"),
        condition("Truncated", "False", "WithinLimit", "2 resources listed"),
        condition("Closed", "False", "NotClosed", "the next signal of the group is counted in this request"),
        condition("Exact", "True", "EachCountedOnce", "each signal counts once"),
    ],
    "continuation": {
        "incarnation": "incarnation-1",
        "origin": "",
        "folded": 7,
        "alerts": 0,
        "unlistedAlerts": 0,
        "firingAlerts": 0,
        "sampled": 0,
        "causes": "",
        "leftOut": 0,
        "countedSignals": {"resourceVersion": "4711"},
    },
}
QUIET = condition("Settled", "True", "Quiet", "7 signals; the counts are exact")


def changed(base: Sequence[dict[str, Any]], *new: dict[str, Any]) -> list[dict[str, Any]]:
    by_type = {c["type"]: c for c in new}
    return [by_type.get(c["type"], c) for c in base]


@pytest.mark.parametrize(
    ("storm", "phase", "closed_for", "expected"),
    [
        pytest.param(SNAPSHOT, RequestPhase.OPEN, None, OPEN, id="open"),
        pytest.param(
            SNAPSHOT,
            RequestPhase.SETTLED,
            None,
            OPEN
            | {
                "phase": "Settled",
                "ratePerMinute": 0,
                "deadlines": OPEN["deadlines"] | {"settle": None},
                "conditions": changed(OPEN["conditions"], QUIET),
            },
            id="settled: its deadline is taken away",
        ),
        pytest.param(
            SNAPSHOT,
            RequestPhase.CLOSED,
            RequestReason.QUIET_FOR_CLOSE_AFTER,
            OPEN
            | {
                "phase": "Closed",
                "ratePerMinute": 0,
                "deadlines": None,
                "conditions": changed(
                    OPEN["conditions"],
                    QUIET,
                    condition("Closed", "True", "QuietForCloseAfter", "no signal came for closeAfter"),
                ),
            },
            id="closed: all deadlines are taken away",
        ),
        pytest.param(
            replace(SNAPSHOT, alerts=6, firing_alerts=2, left_out=9, unknown_alerts=1),
            RequestPhase.SETTLED,
            None,
            OPEN
            | {
                "phase": "Settled",
                "ratePerMinute": 0,
                "deadlines": {"settle": None, "close": None, "expire": "2026-01-01T06:00:00Z"},
                "continuation": OPEN["continuation"]
                | {"alerts": 6, "firingAlerts": 2, "leftOut": 9, "unlistedAlerts": 1},
                "conditions": changed(
                    OPEN["conditions"],
                    condition("Settled", "True", "Quiet", "7 signals; the condition Exact says how exact"),
                    condition(
                        "Closed",
                        "False",
                        "AlertsFiring",
                        "2 alerts still firing: closeAfter (900 s) begins when all have resolved",
                    ),
                    condition(
                        "Exact",
                        "False",
                        "AlertsLeftOut",
                        "a sender left 9 alerts out of a post, which are in no request: set its "
                        "max_alerts to "
                        "0; up to 1 alert may count twice: Redis lost which ones were counted",
                    ),
                ),
            },
            id="alerts fire and hold it open, and some were left out",
        ),
        pytest.param(
            replace(
                SNAPSHOT,
                total=900,
                firing=0,
                resolved=900,
                approximate=True,
                truncated=True,
                resource_count=880,
                detected=Detected.NO,
                revision=3,
                severity=0,
            ),
            RequestPhase.OPEN,
            None,
            OPEN
            | {
                "signals": OPEN["signals"]
                | {"total": 900, "firing": 0, "resolved": 900, "approximate": True},
                "summary": "900 signals on about 880 resources: PodDown",
                "signalNames": [{"name": "PodDown", "signals": 900}],
                "severity": "unknown",
                "affectedResourceCount": 880,
                "affectedResourceCountPrecision": "Approximate",
                "truncated": True,
                "revision": 3,
                "conditions": changed(
                    OPEN["conditions"],
                    condition(
                        "StormDetected",
                        "False",
                        "BelowThreshold",
                        "no storm: 6 signals, threshold 5 within 60 s",
                    ),
                    condition(
                        "Recovered",
                        "Unknown",
                        "InstancesNotTracked",
                        "about 900 resolved; not every instance could be followed",
                    ),
                    condition(
                        "Settled", "False", "SignalsArriving", "900 signals so far, 7 in the last minute"
                    ),
                    condition("Truncated", "True", "ResourceLimitReached", "2 of about 880 resources listed"),
                ),
            },
            id="estimates",
        ),
        pytest.param(
            replace(SNAPSHOT, resources=(), resource_count=0),
            RequestPhase.OPEN,
            None,
            OPEN
            | {
                "summary": "7 signals: PodDown",
                "resources": [],
                "affectedResourceCount": 0,
                "conditions": changed(
                    OPEN["conditions"], condition("Truncated", "False", "WithinLimit", "0 resources listed")
                ),
            },
            id="no resources",
        ),
        pytest.param(
            replace(SNAPSHOT, origin="incarnation-0:5", alerts=6, unknown_alerts=2, folded=9),
            RequestPhase.SETTLED,
            None,
            OPEN
            | {
                "phase": "Settled",
                "ratePerMinute": 0,
                "deadlines": OPEN["deadlines"] | {"settle": None},
                "continuation": OPEN["continuation"]
                | {"origin": "incarnation-0:5", "folded": 9, "alerts": 6, "unlistedAlerts": 2},
                "conditions": changed(
                    OPEN["conditions"],
                    condition("Settled", "True", "Quiet", "7 signals; the condition Exact says how exact"),
                    condition(
                        "Exact",
                        "False",
                        "AlertsMayRepeat",
                        "up to 2 alerts may count twice: Redis lost which ones were counted",
                    ),
                ),
            },
            id="alerts that may count twice",
        ),
        pytest.param(
            replace(SNAPSHOT, alerts=5000, known_alerts=4096, alerts_beyond=904),
            RequestPhase.OPEN,
            None,
            OPEN
            | {
                "continuation": OPEN["continuation"] | {"alerts": 5000, "unlistedAlerts": 4000},
                "conditions": changed(
                    OPEN["conditions"],
                    condition(
                        "Exact",
                        "False",
                        "AlertsEstimated",
                        "904 of 5000 alerts are an estimate: stormfold knows up to 4096 of a request "
                        "one by one",
                    ),
                ),
            },
            id="alerts beyond those that are known",
        ),
    ],
)
def test_status_says_what_the_snapshot_says(
    storm: Snapshot, phase: RequestPhase, closed_for: Reason | None, expected: dict[str, Any]
) -> None:
    rendered = status(storm, phase, closed_for=closed_for, before=(), generation=1, now_ms=NOW)
    assert rendered == expected


def test_status_with_25_resources_and_1000_alerts_is_small() -> None:
    pods = tuple((replace(POD, name=f"checkout-api-7d9f8b6c5-{n:05d}"), 1000 + n) for n in range(25))
    alerts = [
        TrackedAlert(b64encode(n.to_bytes(6)).decode(), T0 // 1000 + n, firing=True) for n in range(1000)
    ]
    large = replace(SNAPSHOT, resources=pods, alerts=1000, known_alerts=1000, tracked_alerts=alerts)
    rendered = status(large, RequestPhase.OPEN, closed_for=None, before=(), generation=1, now_ms=NOW)
    assert max(rendered) == "withAlerts", "people who read the object see it last"
    assert 13_336 < len(orjson.dumps(rendered)) < 32_768


def test_conditions_keep_their_time_until_they_turn_and_foreign_ones_stay() -> None:
    foreign = Condition(
        type="example.com/Seen",
        status=ConditionStatus.TRUE,
        last_transition_time=datetime(2025, 1, 1, tzinfo=UTC),
        reason="Looked",
    )
    first = status(SNAPSHOT, RequestPhase.OPEN, closed_for=None, before=(foreign,), generation=1, now_ms=NOW)
    before = tuple(Condition.model_validate(c) for c in first["conditions"])
    later = status(
        SNAPSHOT, RequestPhase.SETTLED, closed_for=None, before=before, generation=1, now_ms=NOW + 60_000
    )
    assert later["conditions"] == [
        foreign.manifest(),
        *changed(OPEN["conditions"], QUIET | {"lastTransitionTime": "2026-01-01T00:01:11Z"}),
    ]


def test_conditions_about_what_the_consumer_reports_come_last() -> None:
    wrong = Finding(True, ConsumerReason.CLAIM_NOT_RENEWED, "the claim expired")
    rendered = rendering.status(
        SNAPSHOT,
        RequestPhase.OPEN,
        closed_for=None,
        spec=FIXED,
        namespace="shop",
        before=(),
        reported={ConditionType.CLAIM_EXPIRED: wrong},
        generation=1,
        now_ms=NOW,
    )
    assert rendered["conditions"] == [
        *OPEN["conditions"],
        condition("ClaimExpired", "True", "ClaimNotRenewed", "the claim expired"),
    ]


def test_status_never_names_what_belongs_to_the_consumer() -> None:
    rendered = status(SNAPSHOT, RequestPhase.OPEN, closed_for=None, before=(), generation=1, now_ms=NOW)
    assert "remediation" not in rendered


def test_request_closed_without_a_snapshot_says_why() -> None:
    before = [Condition.model_validate(c) for c in OPEN["conditions"]]
    assert closed_conditions(
        before, RequestReason.NEWER_EPOCH_OPENED, generation=1, now_ms=NOW + 1_000
    ) == changed(
        OPEN["conditions"],
        condition("Closed", "True", "NewerEpochOpened", "the group has a newer request", since="00:00:12"),
    )
