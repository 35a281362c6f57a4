"""What the operator knows of requests, and how a lost storm is continued from them."""

from __future__ import annotations

import copy
from collections.abc import Collection
from dataclasses import replace
from typing import Any

import orjson
import pytest
from pydantic import ValidationError
from tests.harness.metrics import sample
from tests.harness.request_bodies import GROUP_HASH, OPENING, POLICY, STORM, body, request
from tests.harness.values import ARRIVAL, POD, T0

from stormfold.api.conditions import ConditionType, Reason
from stormfold.api.remediationrequest import RequestPhase
from stormfold.api.resource import MAX_INT
from stormfold.api.signal import SignalPhase
from stormfold.fold.holding import Continuation, RequestPosition
from stormfold.model.arrival import AlertRef, EventRef, SignalRef, Target, Verdict
from stormfold.model.storm import Detected, Seed, Snapshot, TrackedAlert
from stormfold.policy.version import PolicyVersion
from stormfold.request import rendering
from stormfold.request.bodies import wanted
from stormfold.request.index import RequestIndex
from stormfold.request.reading import Request, opening_of, version_of
from stormfold.request.remediation import Claim, Report
from stormfold.request.seeding import seed_of
from stormfold.request.writing import descends

CLAIM = {"holderIdentity": "robot-1", "revision": 2, "expirationTime": "2026-01-01T00:05:00Z"}


class Heard:
    """An index, and who hears of it."""

    def __init__(self) -> None:
        self.versions: list[tuple[str, int, int]] = []
        """Group hash, epoch and folded signals of each version that was observed."""
        self.looks: list[str] = []
        """Groups that were to be looked at."""
        self.index = RequestIndex(self)
        self.index.subscribe(self)

    def observed(self, request: Request) -> None:
        """As who folds."""
        self.versions.append((request.group_hash, request.epoch, request.folded))

    def make_due(self, group_hashes: Collection[str]) -> None:
        """As the schedule."""
        self.looks += group_hashes


@pytest.fixture
def heard() -> Heard:
    return Heard()


# --- what it holds


def test_observed_request_is_held_and_told(heard: Heard) -> None:
    heard.index.observe(request())
    assert heard.index.get(GROUP_HASH, 2) == request()
    assert heard.index.latest(GROUP_HASH) == request()
    assert list(heard.index.open_requests()) == [request()]
    assert heard.versions == [(GROUP_HASH, 2, 7)]
    assert heard.looks == []


def test_request_that_is_met_with_a_word_of_the_consumer_needs_a_look(heard: Heard) -> None:
    heard.index.observe(request(remediation="Succeeded"))
    assert heard.looks == [GROUP_HASH]


def test_unknown_group_has_nothing(heard: Heard) -> None:
    assert heard.index.get(GROUP_HASH, 1) is None
    assert heard.index.latest(GROUP_HASH) is None
    assert heard.index.continuation(GROUP_HASH) is None
    assert heard.index.open_before(GROUP_HASH, 9) == []


@pytest.mark.parametrize("later", [9, 10])
def test_older_version_and_a_repeat_change_nothing(heard: Heard, later: int) -> None:
    heard.index.observe(request(version=10))
    heard.index.observe(request(replace(STORM, folded=99), version=later))
    assert heard.index.get(GROUP_HASH, 2) == request(version=10)
    assert heard.versions == [(GROUP_HASH, 2, 7)]


@pytest.mark.parametrize(("version", "read"), [(9, False), (10, False), (11, True)])
def test_only_a_newer_version_is_read(
    heard: Heard, caplog: pytest.LogCaptureFixture, version: int, read: bool
) -> None:
    heard.index.observe(request(version=10))
    again = body(version=version)
    again["status"]["phase"] = "Merged"  # which nobody who reads it understands
    heard.index.seen(again)
    assert [record.message for record in caplog.records] == NOT_UNDERSTOOD * read


NOT_UNDERSTOOD = ["RemediationRequest not understood, left alone"]


def test_request_of_another_storm_is_read(heard: Heard) -> None:
    heard.index.observe(request(version=10))
    heard.index.seen(body(replace(STORM, epoch=3)))
    assert heard.versions == [(GROUP_HASH, 2, 7), (GROUP_HASH, 3, 7)]


def test_what_is_no_request_is_left_alone(heard: Heard, caplog: pytest.LogCaptureFixture) -> None:
    nothing = {"metadata": {"resourceVersion": "1"}}
    heard.index.seen(nothing)
    heard.index.gone(nothing)
    assert [record.message for record in caplog.records] == NOT_UNDERSTOOD * 2


def test_request_whose_deletion_is_told_is_gone(heard: Heard) -> None:
    heard.index.seen(body())
    heard.index.gone(body(version=11))
    assert heard.index.get(GROUP_HASH, 2) is None
    assert heard.looks == [GROUP_HASH]


def test_every_listener_hears_of_each_newer_version() -> None:
    first, second = Heard(), Heard()
    first.index.subscribe(second)
    first.index.seen(body())
    first.index.seen(body())
    assert first.versions == second.versions == [(GROUP_HASH, 2, 7)]


def test_newer_version_replaces_it(heard: Heard) -> None:
    heard.index.observe(request())
    heard.index.observe(request(replace(STORM, folded=9), version=11))
    assert heard.versions == [(GROUP_HASH, 2, 7), (GROUP_HASH, 2, 9)]
    assert heard.looks == []


def test_new_word_of_the_consumer_needs_a_look(heard: Heard) -> None:
    heard.index.observe(request())
    heard.index.observe(request(version=11, remediation="Running"))
    heard.index.observe(request(version=12, remediation="Running"))
    heard.index.observe(request(version=13, remediation="Succeeded"))
    assert heard.looks == [GROUP_HASH] * 2
    latest = heard.index.latest(GROUP_HASH)
    assert latest is not None
    assert latest.report == Report("Succeeded")


def test_claim_and_revision_are_words_of_the_consumer(heard: Heard) -> None:
    later = CLAIM | {"revision": 3}
    words = ({"claim": CLAIM}, {"claim": CLAIM}, {"claim": later}, {"observedRevision": 3}, {})
    for version, changes in enumerate(words, 10):
        written = body(version=version)
        written["status"]["remediation"] = {"phase": "Running", **changes}
        heard.index.observe(Request.read(written))
    assert heard.looks == [GROUP_HASH] * 4


@pytest.mark.parametrize(
    ("phase", "now_ms", "claims"),
    [
        pytest.param(RequestPhase.OPEN, 1_767_225_899_999, (1, 0), id="valid"),
        pytest.param(RequestPhase.OPEN, 1_767_225_900_000, (0, 1), id="expired"),
        pytest.param(RequestPhase.CLOSED, 1_767_225_899_999, (0, 0), id="of a closed request"),
    ],
)
def test_claims_are_counted(heard: Heard, phase: RequestPhase, now_ms: int, claims: tuple[int, int]) -> None:
    written = body(phase=phase)
    written["status"]["remediation"] = {"claim": CLAIM}
    heard.index.observe(Request.read(written))
    heard.index.update_gauges(now_ms)
    name = "stormfold_remediation_claims"
    assert (sample(name, state="valid"), sample(name, state="expired")) == claims


def test_closed_request_of_an_earlier_epoch_is_forgotten(heard: Heard) -> None:
    heard.index.observe(request(replace(STORM, epoch=1), RequestPhase.CLOSED))
    heard.index.observe(request(version=11))
    assert heard.index.get(GROUP_HASH, 1) is None
    heard.index.observe(request(replace(STORM, epoch=1), RequestPhase.CLOSED, version=12))
    assert heard.index.get(GROUP_HASH, 1) is None
    assert heard.index.get(GROUP_HASH, 2) == request(version=11)


def test_closed_request_is_kept_while_the_next_one_says_nothing_yet(heard: Heard) -> None:
    """Redis may be emptied between the two: what has been counted before is told by the closed one alone."""
    early = replace(STORM, epoch=1, alerts=5)
    heard.index.observe(request(early, RequestPhase.CLOSED))
    heard.index.observe(request(phase=None, version=11))
    continuation = heard.index.continuation(GROUP_HASH)
    assert continuation is not None
    assert continuation.seed == seed_of(request(early, RequestPhase.CLOSED))
    heard.index.observe(request(version=12))
    assert heard.index.get(GROUP_HASH, 1) is None


def test_group_is_over_by_its_last_request_that_says_anything(heard: Heard) -> None:
    assert heard.index.over(GROUP_HASH) is None
    heard.index.observe(request())
    assert heard.index.over(GROUP_HASH) is None
    heard.index.observe(closed := request(phase=RequestPhase.CLOSED, version=11))
    assert heard.index.over(GROUP_HASH) is closed
    # A later one was made, but nobody may know of it in Redis.
    later = replace(STORM, epoch=3, folded=1, total=0)
    heard.index.observe(request(later, None, version=12, uid="request-2"))
    assert heard.index.over(GROUP_HASH) is closed
    heard.index.observe(request(later, version=13, uid="request-2"))
    assert heard.index.over(GROUP_HASH) is None


def test_closed_requests_come_in_any_order(heard: Heard) -> None:
    heard.index.observe(request(replace(STORM, epoch=3), None, version=13))
    for epoch, version in ((1, 11), (2, 12)):
        heard.index.observe(request(replace(STORM, epoch=epoch), RequestPhase.CLOSED, version=version))
    continuation = heard.index.continuation(GROUP_HASH)
    assert continuation is not None
    assert continuation.seed.epoch == 2
    assert continuation.seed.through == STORM.through
    assert heard.index.get(GROUP_HASH, 1) is None


def test_request_that_says_nothing_yet_is_begun_anew_if_the_one_before_is_gone(heard: Heard) -> None:
    heard.index.observe(request(phase=None))
    continuation = heard.index.continuation(GROUP_HASH)
    assert continuation is not None
    assert continuation.seed == Seed(epoch=1, closed=True)


def test_open_request_of_an_earlier_epoch_is_held_until_it_is_closed(heard: Heard) -> None:
    early = replace(STORM, epoch=1)
    heard.index.observe(request(early))
    heard.index.observe(request(version=11))
    assert heard.index.open_before(GROUP_HASH, 2) == [request(early)]
    assert heard.index.open_before(GROUP_HASH, 1) == []
    heard.index.observe(request(early, RequestPhase.CLOSED, version=12))
    assert heard.index.open_before(GROUP_HASH, 2) == []
    assert heard.index.get(GROUP_HASH, 1) is None


def test_group_takes_a_place_while_its_latest_request_is_open_and_there(heard: Heard) -> None:
    def taken() -> set[str]:
        return set(heard.index.open_in(POLICY.id, "shop"))

    assert taken() == set()
    heard.index.observe(request(replace(STORM, epoch=1), None))
    assert taken() == {GROUP_HASH}
    heard.index.observe(request(replace(STORM, epoch=1), RequestPhase.CLOSED, version=11))
    assert taken() == set()
    heard.index.observe(request(version=12))
    assert (taken(), heard.index.open_in(POLICY.id, "ops")) == ({GROUP_HASH}, frozenset())
    heard.index.gone(body(version=13))
    assert taken() == set()


COUNTED = replace(STORM, through=4711, event_through=90, first_ms=T0 - 4_000)
EARLIER = replace(COUNTED, epoch=1, through=4000, first_ms=T0 - 60_000)


@pytest.mark.parametrize(
    ("ref", "seen_ms", "holds"),
    [
        pytest.param(SignalRef("shop", "a", "uid", 1, 4711), T0, True, id="the newest"),
        pytest.param(SignalRef("shop", "a", "uid", 1, 4712), T0, False, id="a newer one"),
        pytest.param(SignalRef("shop", "a", "uid", 1, 4000), T0 - 60_000, True, id="of the request before"),
        pytest.param(SignalRef("shop", "a", "uid", 1, 3000), T0 - 60_001, False, id="from before the first"),
        pytest.param(EventRef("uid", 90, 3, 0), T0, True, id="the newest Event"),
        pytest.param(EventRef("uid", 91, 3, 0), T0, False, id="a newer one of Events"),
        pytest.param(AlertRef(0, T0), T0, False, id="an alert has no resourceVersion"),
    ],
)
def test_requests_hold_what_is_not_newer_than_what_they_counted_and_happened_since(
    heard: Heard, ref: SignalRef | EventRef | AlertRef, seen_ms: int, holds: bool
) -> None:
    arrival = replace(ARRIVAL, ref=ref, seen_ms=seen_ms)
    assert not heard.index.holds(GROUP_HASH, arrival)
    heard.index.observe(request(EARLIER, RequestPhase.CLOSED))
    heard.index.observe(request(COUNTED, version=11))
    assert heard.index.holds(GROUP_HASH, arrival) is holds
    assert not heard.index.holds("fedcba9876543210", arrival)


def test_versions_by_which_there_are_requests_are_told(heard: Heard) -> None:
    assert list(heard.index.versions()) == []
    heard.index.observe(request(phase=RequestPhase.CLOSED))
    assert [version.key for version in heard.index.versions()] == [POLICY.key]


def test_closed_request_is_the_latest_but_not_open(heard: Heard) -> None:
    heard.index.observe(request(phase=RequestPhase.CLOSED))
    assert heard.index.latest(GROUP_HASH) == request(phase=RequestPhase.CLOSED)
    assert list(heard.index.open_requests()) == []


def test_request_deleted_in_mid_storm_is_remembered_and_looked_at(heard: Heard) -> None:
    heard.index.observe(request())
    heard.index.observe_deleted(request(version=11))
    assert heard.index.get(GROUP_HASH, 2) is None
    last = replace(request(version=11), deleted=True)
    assert heard.index.latest(GROUP_HASH) == heard.index.deleted(GROUP_HASH, 2) == last
    assert heard.looks == [GROUP_HASH]
    heard.index.observe_deleted(request(version=11))
    assert heard.looks == [GROUP_HASH]


def test_request_made_again_takes_the_place_of_the_deleted_one(heard: Heard) -> None:
    heard.index.observe(request())
    heard.index.observe_deleted(request(version=11))
    again = request(version=12, uid="request-2")
    heard.index.observe(again)
    assert heard.index.get(GROUP_HASH, 2) == again
    heard.index.observe_deleted(request(version=11))
    assert heard.index.get(GROUP_HASH, 2) == again


def test_closed_request_that_is_deleted_is_forgotten(heard: Heard) -> None:
    heard.index.observe(request(phase=RequestPhase.CLOSED))
    heard.index.observe_deleted(request(phase=RequestPhase.CLOSED, version=11))
    assert heard.index.latest(GROUP_HASH) is None
    assert heard.looks == []


def test_deletion_of_a_request_never_seen_changes_nothing(heard: Heard) -> None:
    heard.index.observe_deleted(request())
    assert heard.index.latest(GROUP_HASH) is None
    assert heard.looks == []


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda b: b["spec"].pop("groupHash"), id="no groupHash"),
        pytest.param(lambda b: b["spec"].update(epoch=0), id="no epoch"),
        pytest.param(lambda b: b["status"].update(phase="Merged"), id="a phase of the future"),
    ],
)
def test_request_that_we_could_not_have_made_is_no_request(spoil: Any) -> None:
    spoiled = copy.deepcopy(body())
    spoil(spoiled)
    with pytest.raises(ValidationError):
        Request.read(spoiled)


def test_next_version_of_a_request_shares_its_spec_until_that_changes(heard: Heard) -> None:
    first = request(version=10)
    heard.index.observe(first)
    assert heard.index.read(body(version=11)).resource.spec is first.resource.spec
    edited = body(version=12)
    edited["metadata"]["generation"] = 2
    edited["spec"]["name"] = "Edited"
    assert heard.index.read(edited).resource.spec.name == "Edited"
    assert heard.index.read(body(version=13, uid="made-again")).resource.spec is not first.resource.spec


def test_requests_of_a_policy_share_what_they_hold_of_it() -> None:
    one, other = request(), request(replace(STORM, group_hash="1" * 16))
    assert one.resource.spec.policy is other.resource.spec.policy


# --- what a lost storm is continued from

ALERTS = (
    TrackedAlert("AAAAAAAA", T0 // 1000, firing=True),
    TrackedAlert("BBBBBBBB", T0 // 1000 - 7, firing=False),
)
CONTINUED = Seed(
    epoch=2,
    closed=False,
    incarnation="incarnation-1",
    total=7,
    folded=7,
    firing=5,
    resolved=1,
    severity=3,
    first_ms=T0 - 4_000,
    last_ms=T0 + 8_000,
    opened_ms=T0,
    arrived_ms=T0 + 10_000,
    detected=Detected.BY_SIGNALS,
    settled=False,
    revision=1,
    through=4711,
    resource_count=2,
    truncated=False,
    resources=dict(STORM.resources),
)


@pytest.mark.parametrize(
    ("storm", "phase", "seed"),
    [
        pytest.param(STORM, RequestPhase.OPEN, CONTINUED, id="open"),
        pytest.param(STORM, RequestPhase.SETTLED, replace(CONTINUED, settled=True), id="settled"),
        pytest.param(
            STORM,
            RequestPhase.CLOSED,
            Seed(
                epoch=2,
                closed=True,
                incarnation="incarnation-1",
                folded=7,
                arrived_ms=T0 + 8_000,
                through=4711,
            ),
            id="closed: the next epoch",
        ),
        pytest.param(STORM, None, Seed(epoch=1, closed=True), id="no status: nothing is counted in it"),
        pytest.param(
            replace(STORM, detected=Detected.NO),
            RequestPhase.OPEN,
            replace(CONTINUED, detected=Detected.NO),
            id="no storm",
        ),
        pytest.param(
            replace(STORM, detected=Detected.BY_RESOURCES),
            RequestPhase.OPEN,
            replace(CONTINUED, detected=Detected.BY_RESOURCES),
            id="a storm by resources",
        ),
        pytest.param(
            replace(
                STORM,
                total=900,
                folded=950,
                alerts=40,
                tracked_alerts=ALERTS,
                unknown_alerts=3,
                known_alerts=1004,
                left_out=12,
                event_through=2**53 - 1,
                firing=0,
                resolved=870,
                severity=4,
                revision=6,
                through=2**53 - 1,
                truncated=True,
                resource_count=850,
                resources=((replace(POD, api_version="apps/v1"), 12),),
            ),
            RequestPhase.OPEN,
            replace(
                CONTINUED,
                total=900,
                folded=950,
                alerts=40,
                tracked_alerts=ALERTS,
                unknown_alerts=7,
                left_out=12,
                event_through=2**53 - 1,
                firing=0,
                resolved=870,
                severity=4,
                revision=6,
                through=2**53 - 1,
                truncated=True,
                resource_count=850,
                resources={Target("apps/v1", "Pod", "web-0", "shop"): 12},
            ),
            id="a large one",
        ),
        pytest.param(
            replace(STORM, opened_ms=T0 + 999, arrived_ms=T0 + 10_999, first_ms=T0 + 1),
            RequestPhase.OPEN,
            replace(CONTINUED, first_ms=T0),
            id="times are those of the request, to the second",
        ),
        pytest.param(
            replace(STORM, alerts=4, firing_alerts=2, tracked_alerts=ALERTS),
            RequestPhase.SETTLED,
            replace(
                CONTINUED,
                alerts=4,
                firing_alerts=2,
                tracked_alerts=ALERTS,
                settled=True,
                arrived_ms=CONTINUED.last_ms,
            ),
            id="alerts fire",
        ),
        pytest.param(
            replace(STORM, alerts=4),
            RequestPhase.OPEN,
            replace(CONTINUED, alerts=4, unknown_alerts=4),
            id="somebody has taken its list of alerts away",
        ),
        pytest.param(
            replace(STORM, alerts=4, alerts_beyond=4),
            RequestPhase.OPEN,
            replace(CONTINUED, alerts=4, unknown_alerts=4),
            id="alerts that Redis did not know one by one either",
        ),
        pytest.param(
            replace(STORM, alerts=40, unknown_alerts=40, firing_alerts=STORM.firing + 1),
            RequestPhase.OPEN,
            replace(
                CONTINUED,
                alerts=40,
                unknown_alerts=40,
                firing_alerts=STORM.firing,
                arrived_ms=CONTINUED.last_ms,
            ),
            id="no more alerts fire than fire at all",
        ),
    ],
)
def test_snapshot_comes_back_from_the_status_as_a_seed(
    storm: Snapshot, phase: RequestPhase | None, seed: Seed
) -> None:
    assert seed_of(request(storm, phase)) == seed


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


def test_consumer_that_reports_before_the_first_status_leaves_nothing_counted() -> None:
    assert seed_of(request(phase=None, remediation="Running")) == Seed(epoch=1, closed=True)


def test_policy_and_opening_come_back_from_the_spec() -> None:
    assert version_of(request().resource.spec) == PolicyVersion(
        POLICY.id, POLICY.uid, POLICY.generation, POLICY.spec
    )
    assert opening_of(request()) == OPENING
    assert opening_of(request()).group.group_hash == GROUP_HASH


def test_continuation_is_that_of_the_latest_epoch(heard: Heard) -> None:
    heard.index.observe(request(replace(STORM, epoch=1, total=3)))
    heard.index.observe(request(version=11))
    assert heard.index.continuation(GROUP_HASH) == Continuation(
        seed_of(request()), version_of(request().resource.spec), OPENING.encoded()
    )


def test_request_deleted_in_mid_storm_is_continued_from_what_it_said(heard: Heard) -> None:
    heard.index.observe(request())
    heard.index.observe_deleted(request(version=11))
    continuation = heard.index.continuation(GROUP_HASH)
    assert continuation is not None
    assert continuation.seed == CONTINUED


# --- what folding asks


def test_position_is_how_much_the_request_of_an_epoch_holds(heard: Heard) -> None:
    heard.index.observe(request(replace(STORM, origin="incarnation-0:3")))
    assert heard.index.position(GROUP_HASH, 2) == RequestPosition(2, "incarnation-1", 7, "incarnation-0:3")
    assert heard.index.position(GROUP_HASH, 3) is None


def test_signal_is_told_which_request_holds_it_and_how_long_it_is_kept(heard: Heard) -> None:
    heard.index.observe(request())
    assert heard.index.verdict(GROUP_HASH, 2) == Verdict(
        SignalPhase.FOLDED,
        Reason.COUNTED,
        f"counted in RemediationRequest shop/{request().resource.metadata.name}",
        "shop",
        request().resource.metadata.name,
        POLICY.spec.retention_ms,
        "default",
    )


def test_signal_of_a_request_that_is_not_known_any_more_is_told_its_name(heard: Heard) -> None:
    name = request(replace(STORM, epoch=1)).resource.metadata.name
    assert heard.index.verdict(GROUP_HASH, 1) == Verdict(
        SignalPhase.FOLDED, Reason.COUNTED, f"counted in RemediationRequest /{name}", "", name, 600_000
    )
    # What is known of a later one of its group says where it was, and how long its Signals are kept.
    heard.index.observe(request())
    told = heard.index.verdict(GROUP_HASH, 1)
    assert (told.request_namespace, told.request_name, told.retention_ms) == (
        "shop",
        name,
        POLICY.spec.retention_ms,
    )
