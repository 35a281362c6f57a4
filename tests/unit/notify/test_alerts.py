"""The alert that people get of a request."""

from __future__ import annotations

import copy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.harness.request_bodies import STORM, body, request

from stormfold.api.remediationrequest import RequestPhase
from stormfold.model.storm import Detected
from stormfold.notify.alerts import VALID, alert, ended, is_storm, labels
from stormfold.request.reading import Request

NOW = datetime(2026, 3, 1, 10, 0, tzinfo=UTC)
LABELS = {
    "alertname": "StormOpen",
    "stormfold_storm": "true",
    "namespace": "shop",
    "request": request().resource.metadata.name,
    "policy": request().resource.spec.policy_ref.name,
    "severity": "warning",
    "group_name": "PodDown",
    "group_namespace": "shop",
}


def changed(group: list[dict[str, Any]] | None = None, **status: Any) -> Request:
    made = copy.deepcopy(body())
    if group is not None:
        made["spec"]["group"] = group
    made["status"] |= status
    return Request.read(made)


def test_labels_are_those_of_the_spec_alone() -> None:
    found = labels(request())
    assert found == LABELS
    assert labels(changed(severity="critical", summary="other")) == found


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        pytest.param([{"key": "labels.a-b", "value": "1"}], {"group_labels_a_b": "1"}, id="signs become _"),
        pytest.param(
            [{"key": "labels.a-b", "value": "1"}, {"key": "labels.a.b", "value": "2"}],
            {"group_labels_a_b": "1", "group_labels_a_b_": "2"},
            id="equal names",
        ),
        pytest.param([{"key": "node"}], {}, id="no value"),
        pytest.param([{"key": "node", "value": "\x1b[31mred\n"}], {"group_node": "red"}, id="harmful"),
    ],
)
def test_values_of_the_group_are_labels(group: list[dict[str, Any]], expected: dict[str, str]) -> None:
    found = labels(changed(group))
    assert {name: text for name, text in found.items() if name.startswith("group_")} == expected


def test_open_storm_fires_for_so_long_as_alertmanager_is_told_in_time() -> None:
    found = alert(changed(summary="6 signals on 3 pods: PodDown"), NOW)
    assert found["annotations"] == {"summary": "6 signals on 3 pods: PodDown"}
    assert found["endsAt"] == (NOW + VALID).isoformat()
    assert found["startsAt"] == request().resource.spec.opened_at.isoformat()


def test_closed_storm_has_ended_when_its_request_was_closed() -> None:
    closed = request(phase=RequestPhase.CLOSED)
    end = ended(closed)
    assert end is not None
    assert alert(closed, NOW)["endsAt"] == end.isoformat()


def test_storm_that_closed_in_the_second_in_which_it_opened_ends_when_it_opened() -> None:
    made = copy.deepcopy(body(phase=RequestPhase.CLOSED))
    opened = request().resource.spec.opened_at
    for condition in made["status"]["conditions"]:
        condition["lastTransitionTime"] = (opened - timedelta(milliseconds=400)).isoformat()
    assert alert(Request.read(made), NOW)["endsAt"] == opened.isoformat()


def test_alert_of_a_request_that_opened_or_closed_in_the_future_is_one_that_alertmanager_takes() -> None:
    """The clock of the replica that wrote it is ahead: an alert that begins after its end is refused, and the
    others of its post with it."""
    opened = request().resource.spec.opened_at
    early = opened - timedelta(hours=1)
    found = alert(request(), early)
    assert (found["startsAt"], found["endsAt"]) == (early.isoformat(), (early + VALID).isoformat())
    over = alert(request(phase=RequestPhase.CLOSED), early)
    assert (over["startsAt"], over["endsAt"]) == (early.isoformat(), early.isoformat())


def test_urls_are_the_first_that_the_request_shows() -> None:
    sample = {"name": "PodDown", "severity": "high", "startsAt": "2026-01-01T00:00:00Z"}
    found = changed(
        runbookURLs=["https://a/1", "https://a/2"],
        samples=[sample, sample | {"dashboardURL": "https://b/1"}, sample | {"dashboardURL": "https://b/2"}],
    )
    annotations = alert(found, NOW)["annotations"]
    assert (annotations["runbook_url"], annotations["dashboard_url"]) == ("https://a/1", "https://b/1")


@pytest.mark.parametrize(
    ("detected", "expected"),
    [(Detected.NO, False), (Detected.BY_SIGNALS, True), (Detected.BY_RESOURCES, True)],
)
def test_people_hear_of_groups_that_have_reached_their_threshold(detected: Detected, expected: bool) -> None:
    assert is_storm(request(replace(STORM, detected=detected))) is expected


def test_nobody_hears_of_a_request_that_says_nothing_yet() -> None:
    assert is_storm(request(phase=None)) is False
