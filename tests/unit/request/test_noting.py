"""What a closed request still says of its alerts."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.harness.request_bodies import STORM, request
from tests.harness.values import T0

from stormfold.api.conditions import Reason
from stormfold.api.remediationrequest import RequestPhase
from stormfold.model.storm import TrackedAlert
from stormfold.request.alert_list import decoded
from stormfold.request.noting import noted

START = T0 // 1000
FIRES, OTHER, OVER = (TrackedAlert(f"{letter}" * 8, START, firing) for letter, firing in
                      (("a", True), ("b", True), ("c", False)))  # fmt: skip
CLOSED = request(
    replace(STORM, firing=2, resolved=1, firing_alerts=2, alerts=3, tracked_alerts=(FIRES, OTHER, OVER)),
    RequestPhase.CLOSED,
    closed_for=Reason.REMEDIATION_FINISHED,
    remediation="Succeeded",
)


def known(*alerts: TrackedAlert) -> dict[str, TrackedAlert]:
    return {alert.id: alert for alert in alerts}


@pytest.mark.parametrize(
    ("now", "counts", "recovered"),
    [
        pytest.param(
            [FIRES._replace(firing=False)], (1, 2, 1), ("False", "1 firing, 2 resolved"), id="one has ended"
        ),
        pytest.param(
            [FIRES._replace(firing=False), OTHER._replace(firing=False), OVER],
            (0, 3, 0),
            ("True", "all 3 resolved"),
            id="all have ended",
        ),
        pytest.param(
            [OVER._replace(firing=True)], (3, 0, 3), ("False", "3 firing, 0 resolved"), id="one fires again"
        ),
    ],
)
def test_closed_request_says_what_has_ended_or_fires_again(
    now: list[TrackedAlert], counts: tuple[int, int, int], recovered: tuple[str, str]
) -> None:
    status = noted(CLOSED, known(*now), now_ms=T0 + 20_000)
    assert status is not None
    assert status.keys() == {"signals", "continuation", "conditions", "withAlerts"}
    signals = status["signals"]
    assert (signals["firing"], signals["resolved"], status["continuation"]["firingAlerts"]) == counts
    assert signals.keys() == {"firing", "resolved"}, "the total is final"
    [said] = [one for one in status["conditions"] if one["type"] == "Recovered"]
    assert (said["status"], said["message"]) == recovered
    assert len(status["conditions"]) == len(CLOSED.conditions)
    listed = known(*(decoded(status["withAlerts"]) or ()))
    assert listed == known(FIRES, OTHER, OVER) | known(*now)


@pytest.mark.parametrize(
    "now",
    [
        pytest.param([], id="Redis has lost it"),
        pytest.param([FIRES, OTHER, OVER], id="nothing has changed"),
        pytest.param([FIRES._replace(firing=False, starts_s=START - 60)], id="an older occurrence"),
        pytest.param([TrackedAlert("z" * 8, START, False)], id="another alert"),
    ],
)
def test_nothing_is_written_if_nothing_is_new(now: list[TrackedAlert]) -> None:
    assert noted(CLOSED, known(*now), now_ms=T0 + 20_000) is None


def test_request_without_a_status_says_nothing() -> None:
    assert noted(request(phase=None), known(FIRES), now_ms=T0) is None
