"""What a closed request still says of its alerts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import pytest
from tests.harness.request_bodies import STORM, body, request
from tests.harness.values import T0

from stormfold.api.reasons.requests import RequestReason
from stormfold.api.remediationrequest import RequestPhase
from stormfold.fold.arguments import Fold
from stormfold.fold.closed_alerts import ClosedAlerts
from stormfold.fold.errors import StoreUnavailableError
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
    closed_for=RequestReason.REMEDIATION_FINISHED,
    remediation="Succeeded",
)


STALE = OVER._replace(stale=True)


def known(*alerts: TrackedAlert) -> dict[str, TrackedAlert]:
    return {alert.id: alert for alert in alerts}


def in_redis(*alerts: TrackedAlert, stale: str = "", **more: bool) -> ClosedAlerts:
    """What Redis knows; those whose ids begin with a letter of `stale` are stale."""
    return ClosedAlerts(known(*(one._replace(stale=one.id[0] in stale) for one in alerts)), **more)


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
    status = noted(CLOSED, in_redis(*now), now_ms=T0 + 20_000)
    assert status is not None
    assert status.keys() == {"signals", "continuation", "conditions", "withAlerts"}
    signals = status["signals"]
    assert (signals["firing"], signals["resolved"], status["continuation"]["firingAlerts"]) == counts
    assert signals.keys() == {"firing", "resolved", "stale"}, "the total is final"
    assert signals["stale"] == 0
    [said] = [one for one in status["conditions"] if one["type"] == "Recovered"]
    assert (said["status"], said["message"]) == recovered
    assert len(status["conditions"]) == len(CLOSED.conditions)
    listed = known(*(decoded(status["withAlerts"]) or ()))
    assert listed == known(FIRES, OTHER, OVER) | known(*now)


@pytest.mark.parametrize(
    "now",
    [
        pytest.param([], id="it is at another epoch"),
        pytest.param([FIRES, OTHER, OVER], id="nothing has changed"),
        pytest.param([FIRES._replace(firing=False, starts_s=START - 60)], id="an older occurrence"),
        pytest.param([TrackedAlert("z" * 8, START, False)], id="another alert"),
    ],
)
def test_nothing_is_written_if_nothing_is_new(now: list[TrackedAlert]) -> None:
    assert noted(CLOSED, in_redis(*now, complete=False), now_ms=T0 + 20_000) is None


def counts(request_: Request, redis: ClosedAlerts) -> tuple[int, int, int, int]:
    """(firing, resolved, stale, firingAlerts) as they are noted."""
    status = noted(request_, redis, now_ms=T0 + 20_000)
    assert status is not None
    signals = status["signals"]
    return (
        signals["firing"],
        signals["resolved"],
        signals["stale"],
        status["continuation"]["firingAlerts"],
    )


@pytest.mark.parametrize(
    ("redis", "expected", "recovered"),
    [
        pytest.param(
            in_redis(FIRES._replace(firing=False), OTHER, OVER, stale="a"),
            (1, 1, 1, 1),
            ("False", "1 firing, 1 resolved, 1 alert neither repeated nor resolved for staleAfter (86400 s)"),
            id="no word of one came for staleAfter",
        ),
        pytest.param(
            in_redis(expired=True),
            (0, 1, 2, 0),
            ("Unknown", "1 resolved, 2 alerts neither repeated nor resolved for staleAfter (86400 s)"),
            id="no word of any came for a day",
        ),
    ],
)
def test_closed_request_says_what_is_stale(
    redis: ClosedAlerts, expected: tuple[int, int, int, int], recovered: tuple[str, str]
) -> None:
    assert counts(CLOSED, redis) == expected
    status = noted(CLOSED, redis, now_ms=T0 + 20_000)
    assert status is not None
    [said] = [one for one in status["conditions"] if one["type"] == "Recovered"]
    assert (said["status"], said["message"]) == recovered
    firing = [alert.firing for alert in decoded(status["withAlerts"]) or ()]
    assert sum(firing) == expected[3]


def test_stale_alert_that_is_heard_of_again_is_not_stale() -> None:
    said = request(
        replace(STORM, firing=1, resolved=0, stale_alerts=1, firing_alerts=1, tracked_alerts=(FIRES, STALE)),
        RequestPhase.CLOSED,
    )
    assert counts(said, in_redis(FIRES, OVER._replace(firing=True))) == (2, 0, 0, 2)


MANY = request(
    replace(STORM, firing=5, resolved=0, firing_alerts=5, tracked_alerts=(FIRES, OTHER)), RequestPhase.CLOSED
)
"""It lists 2 of 5 alerts that fire."""
UNLISTED = tuple(TrackedAlert(letter * 8, START, True) for letter in "xyz")


@pytest.mark.parametrize(
    ("redis", "expected"),
    [
        pytest.param(
            in_redis(FIRES, OTHER, *UNLISTED[:1], UNLISTED[1]._replace(firing=False), stale="y"),
            (3, 1, 1, 3),
            id="one has ended, one is stale",
        ),
        pytest.param(in_redis(FIRES, OTHER), (2, 3, 0, 2), id="all have ended"),
    ],
)
def test_alerts_beyond_the_list_end_too(redis: ClosedAlerts, expected: tuple[int, int, int, int]) -> None:
    assert counts(MANY, redis) == expected
    assert noted(MANY, in_redis(FIRES, OTHER, complete=False), now_ms=T0) is None


def test_summary_of_a_request_that_opened_for_alerts_before_it_says_that_they_have_ended() -> None:
    again = replace(
        STORM,
        total=0,
        firing=2,
        resolved=0,
        firing_alerts=2,
        still_firing=True,
        tracked_alerts=(FIRES, OTHER),
    )
    status = noted(
        request(again, RequestPhase.CLOSED),
        in_redis(FIRES._replace(firing=False), OTHER._replace(firing=False)),
        now_ms=T0,
    )
    assert status is not None
    assert status["summary"] == "all alerts of the request before have resolved"


def test_request_without_a_status_says_nothing() -> None:
    assert noted(request(phase=None), in_redis(FIRES), now_ms=T0) is None


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
        self.lost = False
        """Whether Redis has lost all groups."""
        self.given_back: list[Fold] = []
        self.written: list[str] = []
        self.bodies: dict[str, dict[str, Any]] = {}
        self.noter = Noter(cast("Any", self), cast("Any", self), self.index, Nobody())
        self.index.subscribe(self.noter)
        self.index.subscribe_to_deletions(self.noter)
        self.forgotten: list[tuple[str, int]] = []
        self.has_next_storm = False
        """Whether the groups have opened again, without a request so far."""
        self.closed = self

    def close(self, group_hash: str, **changes: Any) -> None:
        """A group's request is seen as closed."""
        storm = replace(STORM, firing=1, firing_alerts=1, alerts=1, tracked_alerts=(FIRES,), **changes)
        made = body(storm, RequestPhase.CLOSED, closed_for=RequestReason.REMEDIATION_FINISHED, uid=group_hash)
        made["spec"]["groupHash"] = made["metadata"]["name"] = group_hash
        self.bodies[group_hash] = made
        self.index.observe(Request.read(made))

    async def alerts(self, group_hash: str, epoch: int, **_: int) -> ClosedAlerts | None:
        self.read.append(group_hash)
        return None if self.lost else in_redis(FIRES._replace(firing=False))

    async def forget_firing(self, group_hash: str, epoch: int) -> bool:
        if self.lost:
            raise StoreUnavailableError("no answer")
        self.forgotten.append((group_hash, epoch))
        return not self.has_next_storm

    async def fold(self, number: int, folds: Sequence[Fold], *, now_ms: int) -> None:
        self.given_back += folds

    async def merge_patch(self, path: str, change: dict[str, Any]) -> dict[str, Any]:
        name = path.rsplit("/", 2)[1]
        if name in self.refuses:
            raise self.refuses[name]
        made = self.bodies[name]
        status = made["status"] | change["status"]
        status["signals"] = made["status"]["signals"] | change["status"]["signals"]
        status["continuation"] = made["status"]["continuation"] | change["status"]["continuation"]
        self.written.append(name)
        self.bodies[name] = made | {"status": status}
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


async def test_group_that_redis_has_lost_is_given_back_so_that_its_alerts_become_stale_in_time() -> None:
    world = World({})
    world.close(GROUPS[0])
    world.lost = True
    await world.noter.look()
    [fold] = world.given_back
    assert (fold.group_hash, fold.arrivals, world.written) == (GROUPS[0], (), [])
    assert fold.seed is not None
    assert (fold.seed.closed, fold.seed.epoch, fold.seed.tracked_alerts) == (True, STORM.epoch, (FIRES,))


async def test_alerts_of_a_deleted_request_are_forgotten_after_a_storm_that_makes_none() -> None:
    world = World({})
    world.close(GROUPS[0])
    world.has_next_storm = True
    world.index.gone(world.bodies[GROUPS[0]])
    await world.noter.forget()
    await world.noter.forget()
    world.has_next_storm = False
    await world.noter.forget()
    await world.noter.forget()
    assert world.forgotten == [(GROUPS[0], STORM.epoch)] * 3


async def test_alerts_of_a_deleted_request_are_forgotten_once_redis_answers() -> None:
    world = World({})
    world.close(GROUPS[0])
    world.index.gone(world.bodies[GROUPS[0]])
    world.lost = True
    with pytest.raises(StoreUnavailableError):
        await world.noter.forget()
    world.lost = False
    await world.noter.forget()
    await world.noter.forget()
    assert world.forgotten == [(GROUPS[0], STORM.epoch)]
    await world.noter.look()
    assert world.read == [], "there is nothing to note"


async def test_deleted_request_of_which_nothing_fired_is_no_matter() -> None:
    world = World({})
    world.close(GROUPS[0])
    await world.noter.look()
    world.index.gone(world.bodies[GROUPS[0]])
    await world.noter.forget()
    assert world.forgotten == []
