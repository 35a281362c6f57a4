"""What a lost storm is continued from: its status as a seed, whatever somebody has written into it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.harness.heard import Heard
from tests.harness.request_bodies import GROUP_HASH, OPENING, POLICY, STORM, request
from tests.harness.values import POD, T0

from stormfold.api.remediationrequest import RequestPhase
from stormfold.fold.holding import Continuation
from stormfold.model.arrival import Target
from stormfold.model.storm import Detected, Seed, Snapshot, TrackedAlert
from stormfold.policy.version import PolicyVersion
from stormfold.request.reading import opening_of, version_of
from stormfold.request.seeding import seed_of

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
                severity=3,
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
