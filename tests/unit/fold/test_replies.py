"""Storms as scripts tell them: those that go on from a seed, and any other; and rates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.harness.values import POD, SNAPSHOT, T0, TERMS

from stormfold.fold.replies import rate_per_minute, snapshot_of
from stormfold.fold.resources import encoded_resource, resource_field
from stormfold.fold.seeds import seed_alerts, seed_fields, seed_resources, terms_fields
from stormfold.model.storm import Detected, Seed, Snapshot, State, TrackedAlert

# --- seeds

SEED = Seed(
    epoch=2,
    closed=False,
    incarnation="incarnation-0",
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
    revision=2,
    through=4711,
    resource_count=2,
    resources=dict(SNAPSHOT.resources),
    written_ms=T0 + 10_500,
)


def storm_of(
    fields: Mapping[str, Any],
    listed: Mapping[str, int] | None = None,
    *,
    group_hash: str = "g",
    distinct: int = 0,
    instances: int = 0,
    opening: str = "",
    now_ms: int = T0,
) -> Snapshot:
    """The storm with these fields, as if a script had told them."""
    flat, pairs = ([str(part) for item in of.items() for part in item] for of in (fields, listed or {}))
    return snapshot_of(group_hash, (distinct, instances, 0, opening, flat, pairs, [], [], None), now_ms)


@pytest.mark.parametrize(
    "seed",
    [
        pytest.param(SEED, id="open"),
        pytest.param(replace(SEED, settled=True), id="settled"),
        pytest.param(replace(SEED, detected=Detected.NO, resources={}, resource_count=0), id="no storm"),
        pytest.param(replace(SEED, truncated=True, resource_count=880), id="truncated"),
    ],
)
def test_storm_continued_from_a_seed_has_its_numbers(seed: Seed) -> None:
    fields = seed_fields(seed, TERMS) | {"incarnation": "incarnation-1"}
    listed = seed_resources(seed)
    assert storm_of(
        fields, listed, group_hash=SNAPSHOT.group_hash, opening="opening", now_ms=T0 + 12_000
    ) == replace(
        SNAPSHOT,
        opening="opening",
        origin="incarnation-0:7",
        # Which signals fired is not known any more: at least as many as instances fire, and these are
        # estimates.
        firing_signals=5,
        approximate=True,
        rate_per_minute=0,
        revision=2,
        resources=tuple(seed.resources.items()),
        resource_count=seed.resource_count,
        truncated=seed.truncated,
        settled=seed.settled,
        detected=seed.detected,
    )


def test_storm_of_which_nothing_fires_has_fired_if_it_has_a_request() -> None:
    quiet = replace(SEED, firing=0, resolved=6)
    assert storm_of(seed_fields(quiet, TERMS)).firing_signals == 1


def test_seed_of_a_closed_request_is_its_epoch_and_floor() -> None:
    assert seed_fields(
        Seed(epoch=1, closed=True, incarnation="incarnation-0", folded=8, through=99, event_through=7),
        TERMS,
    ) == {
        "epoch": 1,
        "state": State.CLOSED,
        "signals_floor": 99,
        "events_floor": 7,
        "stale_after_ms": 86400000,
    }


def test_seed_of_a_request_with_alerts_says_which_fire() -> None:
    alerts = (TrackedAlert("AAAAAAAA", 17, firing=True), TrackedAlert("BBBBBBBB", 5, firing=False))
    seed = replace(SEED, alerts=4, firing_alerts=3, tracked_alerts=alerts, unknown_alerts=2)
    said = seed.arrived_ms
    assert seed_alerts(seed) == {"AAAAAAAA": f"f17,{said}", "BBBBBBBB": f"r5,{said}"}
    fields = seed_fields(seed, TERMS)
    assert [fields.get(f"alerts{of}") for of in ("", "_firing", "_resolved", "_unknown")] == [4, 1, 1, 2]
    assert [fields.get(f"estimated_{of}", 0) for of in ("firing", "firing_alerts", "resolved")] == [4, 2, 0]


# --- snapshots

PREFIX = "|Pod|shop|web-"
FIELDS = {"epoch": 1, "state": "open", "resource_prefix": PREFIX, **terms_fields(TERMS)}
TRACKED = {"instances_resolved": 2}


def test_resources_are_ordered_by_signals_then_by_name() -> None:
    named = {
        replace(POD, name=name): n for name, n in (("web-2", 1), ("web-1", 1), ("web-0", 1), ("web-3", 9))
    }
    listed = {resource_field(encoded_resource(target), PREFIX): n for target, n in named.items()}
    found = storm_of(FIELDS, listed).resources
    assert [target.name for target, _ in found] == ["web-3", "web-0", "web-1", "web-2"]


@pytest.mark.parametrize(
    ("fields", "listed", "distinct", "count"),
    [
        pytest.param({}, 3, 0, 3, id="all are listed"),
        pytest.param({"truncated": 1}, 25, 480, 480, id="estimated"),
        pytest.param(
            {"truncated": 1, "resources_at_least": 900},
            25,
            480,
            900,
            id="at least as many as the request says",
        ),
        pytest.param({"truncated": 1}, 25, 24, 25, id="at least as many as are listed"),
        pytest.param({"resources_at_least": 900}, 3, 480, 3, id="not truncated: the listed ones"),
    ],
)
def test_resources_are_counted_or_estimated(
    fields: dict[str, int], listed: int, distinct: int, count: int
) -> None:
    names = {
        resource_field(encoded_resource(replace(POD, name=f"web-{n}")), PREFIX): 1 for n in range(listed)
    }
    assert storm_of(FIELDS | fields, names, distinct=distinct).resource_count == count


@pytest.mark.parametrize(
    ("fields", "firing", "resolved", "approximate"),
    [
        pytest.param(TRACKED, 3, 2, False, id="tracked"),
        pytest.param(
            TRACKED | {"estimated_firing": 1},
            4,
            2,
            True,
            id="some firing are estimated",
        ),
        pytest.param(
            TRACKED | {"estimated_resolved": 5},
            3,
            7,
            True,
            id="some resolved are estimated",
        ),
    ],
)
def test_instances_are_tracked_or_estimated(
    fields: dict[str, int], firing: int, resolved: int, approximate: bool
) -> None:
    found = storm_of(FIELDS | fields, instances=5)
    assert (found.firing, found.resolved, found.approximate) == (firing, resolved, approximate)


# --- rate

MINUTE = T0 // 60_000


@pytest.mark.parametrize(
    ("now_ms", "rate"),
    [
        pytest.param(T0, 10 + 60, id="the minute begins: all of the one before"),
        pytest.param(T0 + 30_000, 10 + 30, id="half of the one before"),
        pytest.param(T0 + 59_999, 10, id="almost nothing of the one before"),
        pytest.param(T0 + 60_000, 10, id="a minute later"),
        pytest.param(T0 + 90_000, 5, id="one and a half"),
        pytest.param(T0 + 120_000, 0, id="two"),
        pytest.param(T0 - 1, 0, id="a clock that was set back"),
    ],
)
def test_rate_is_that_of_the_last_sixty_seconds(now_ms: int, rate: int) -> None:
    assert rate_per_minute(MINUTE, 10, 60, now_ms) == rate


@given(st.integers(0, 1000), st.integers(0, 1000), st.integers(-60_000, 300_000))
def test_rate_is_never_more_than_what_came(in_it: int, before: int, later: int) -> None:
    assert 0 <= rate_per_minute(MINUTE, in_it, before, T0 + later) <= in_it + before
