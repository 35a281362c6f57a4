"""What a closed request still says of its alerts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest
from tests.harness.request_bodies import STORM, body, request
from tests.harness.values import T0

from stormfold.api.conditions import Reason
from stormfold.api.remediationrequest import RequestPhase
from stormfold.kube.errors import ApiError, ApiUnavailableError, ConflictError
from stormfold.model.storm import TrackedAlert
from stormfold.request.alert_list import decoded
from stormfold.request.index import RequestIndex
from stormfold.request.noting import Noter, noted
from stormfold.request.reading import Request

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


# --- who writes it


class Nobody:
    """Deadlines that nobody minds, and a leader's Lease."""

    def make_due(self, group_hashes: Any) -> None:
        """Not of interest."""

    def fenced(self) -> int | None:
        return 1


class World:
    """A Redis in which one alert of each closed group has ended, and an API server that may refuse."""

    def __init__(self, refuses: dict[str, ApiError]) -> None:
        self.index = RequestIndex(Nobody())
        self.refuses = refuses
        self.read: list[str] = []
        self.written: list[str] = []
        self.bodies: dict[str, dict[str, Any]] = {}
        self.noter = Noter(cast("Any", self), cast("Any", self), self.index, Nobody())
        self.index.subscribe(self.noter)

    def close(self, group_hash: str, **changes: Any) -> None:
        """A group's request is seen as closed."""
        storm = replace(STORM, firing=1, firing_alerts=1, alerts=1, tracked_alerts=(FIRES,), **changes)
        made = body(storm, RequestPhase.CLOSED, closed_for=Reason.REMEDIATION_FINISHED, uid=group_hash)
        made["spec"]["groupHash"] = made["metadata"]["name"] = group_hash
        self.bodies[group_hash] = made
        self.index.observe(Request.read(made))

    async def known_of_closed(self, group_hash: str, epoch: int) -> dict[str, TrackedAlert]:
        self.read.append(group_hash)
        return known(FIRES._replace(firing=False))

    async def merge_patch(self, path: str, change: dict[str, Any]) -> dict[str, Any]:
        name = path.rsplit("/", 2)[1]
        if name in self.refuses:
            raise self.refuses[name]
        made = self.bodies[name]
        status = made["status"] | change["status"]
        status["signals"] = made["status"]["signals"] | change["status"]["signals"]
        status["continuation"] = made["status"]["continuation"] | change["status"]["continuation"]
        self.written.append(name)
        return made | {"metadata": made["metadata"] | {"resourceVersion": "99"}, "status": status}


GROUPS = ("0" * 16, "1" * 16, "2" * 16)


async def test_request_that_cannot_be_written_keeps_no_other_from_it() -> None:
    refusals = ApiUnavailableError("patching", 503, "", ""), ConflictError("patching", 409, "Conflict", "")
    world = World(dict(zip(GROUPS, refusals, strict=False)))
    for group_hash in GROUPS:
        world.close(group_hash)
    await world.noter.look()
    assert (world.read, world.written) == ([*GROUPS], [GROUPS[2]])
    world.refuses.clear()
    await world.noter.look()
    assert (world.read[3:], world.written) == ([*GROUPS[:2]], [GROUPS[2], *GROUPS[:2]])
    await world.noter.look()
    assert world.read[5:] == [], "of those nothing fires any more"
