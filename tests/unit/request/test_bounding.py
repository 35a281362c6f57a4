"""What gives way in a status that would be too large."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.harness.request_bodies import OPENING
from tests.harness.values import SNAPSHOT, T0

from stormfold.api.remediationrequest import RemediationRequestSpec, RemediationRequestStatus, RequestPhase
from stormfold.model.arrival import Target
from stormfold.model.evidence import SHARED_BYTES, Evidence, NameCount, short_name
from stormfold.model.storm import Snapshot
from stormfold.request import bounding, rendering
from stormfold.request.bounding import STATUS_BYTES, cut, room, within

HEAD = {"name": "PodDown", "severity": "high", "startsAt": "2026-01-01T00:00:00Z"}
TEXTS = ("generatorURL", "description", "dashboardURL", "labels", "runbookURL", "summary", "target")
SAMPLE = HEAD | dict.fromkeys(TEXTS, "x" * 100)


def size(value: object) -> int:
    return len(orjson.dumps(value))


def left_out(*fields: str) -> dict[str, Any]:
    """A sample without these."""
    return {name: SAMPLE[name] for name in SAMPLE if name not in fields} | {"truncated": True}


@pytest.mark.parametrize(
    ("over", "samples"),
    [
        pytest.param(0, [SAMPLE, SAMPLE], id="all has room"),
        pytest.param(1, [SAMPLE, left_out("generatorURL")], id="a text of the latest"),
        pytest.param(200, [left_out("generatorURL"), left_out("generatorURL")], id="that of both"),
        pytest.param(
            300,
            [left_out("generatorURL"), left_out("generatorURL", "description")],
            id="one that helps more, too",
        ),
        pytest.param(1400, [left_out(*TEXTS[:6]), left_out(*TEXTS)], id="all but the target of the first"),
        pytest.param(5000, [left_out(*TEXTS), left_out(*TEXTS)], id="never what is wrong, and since when"),
    ],
)
def test_samples_give_way_by_what_helps_least(over: int, samples: list[dict[str, Any]]) -> None:
    shown = {"startedAt": "2026-01-01T00:00:00Z", "samples": [SAMPLE, SAMPLE]}
    assert cut(shown, size(shown) - over) == shown | {"samples": samples}


def test_resources_with_the_most_signals_are_listed_where_not_all_have_room() -> None:
    resources = [{"kind": "Pod", "name": f"{'x' * 1000}{number:02}"} for number in range(25)]
    shown = {"samples": [SAMPLE] * 5}
    assert within(resources, shown, 25) == resources[:11]
    assert within(resources[:11], shown, 25) == resources[:11]


def test_each_resource_that_a_policy_lists_beyond_25_has_room() -> None:
    assert (room(1), room(25), room(26), room(100)) == (15_360, 15_360, 15_680, 39_360)
    resources = [{"kind": "Pod", "name": "x" * 280}] * 100
    assert within(resources, {"samples": [SAMPLE] * 5}, 100) == resources


def rendered(storm: Snapshot, *conditions: Any) -> dict[str, Any]:
    """What its request says, which was not written yet."""
    spec = RemediationRequestSpec.model_validate(rendering.manifest(storm, OPENING)["spec"])
    return rendering.status(
        storm,
        RequestPhase.OPEN,
        closed_for=None,
        spec=spec,
        namespace="shop",
        before=conditions,
        reported={},
        generation=1,
        now_ms=T0,
    )


def pods(names: Sequence[str]) -> tuple[tuple[Target, int], ...]:
    return tuple((Target("v1", "Pod", name, "shop"), 1) for name in names)


def test_request_that_cannot_list_all_resources_says_so() -> None:
    names = [f"{'🔥' * 250}-{number:02}" for number in range(25)]
    storm = replace(SNAPSHOT, total=25, resources=pods(names), resource_count=25)
    status = rendered(storm)
    assert [resource["name"] for resource in status["resources"]] == names[:10]
    assert (status["affectedResourceCount"], status["truncated"]) == (25, True)
    truncated = next(one for one in status["conditions"] if one["type"] == "Truncated")
    assert (truncated["reason"], truncated["message"]) == (
        "ResourceLimitReached",
        "10 of about 25 resources listed",
    )


def test_pods_with_the_longest_names_are_all_listed() -> None:
    names = [f"{'p' * 250}-{number:02}" for number in range(25)]
    status = rendered(replace(SNAPSHOT, total=25, resources=pods(names), resource_count=25))
    assert [resource["name"] for resource in status["resources"]] == names
    assert status["truncated"] is False


FILLS = st.sampled_from(["x", "é", "字", "🔥", '"', "\\", "\x01"])


@given(FILLS, st.integers(1, 100), st.integers(0, 256), st.integers(0, 253))
def test_status_takes_no_more_than_its_room(fill: str, resources: int, text: int, name: int) -> None:
    names = [f"{fill * max(0, name - 3)}{number:03}" for number in range(resources)]
    labels = {f"l{n}": fill * text for n in range(16)}
    words = dict.fromkeys(TEXTS[:3], fill * text) | {"labels": labels}
    shared = {f"l{n:02}": "x" * 16 for n in range(SHARED_BYTES // 25)}
    storm = replace(
        SNAPSHOT,
        total=resources,
        terms=replace(SNAPSHOT.terms, resources=resources),
        resources=pods(names),
        resource_count=resources,
        evidence=Evidence(
            sampled=5,
            samples={n: orjson.dumps(HEAD | words | {"name": names[0]}).decode() for n in range(1, 6)},
            labels=shared,
            annotations=shared,
            runbook_urls=tuple(f"https://{n}.example/{'u' * 490}" for n in range(3)),
            names={short_name(f"{n}{fill * 100}"): NameCount(n, 1) for n in range(10, 20)},
        ),
    )
    status = rendered(storm)
    RemediationRequestStatus.model_validate(status)
    assert size(status) <= STATUS_BYTES - 1024 + 320 * max(0, resources - 25)
    assert len(status["resources"]) == resources or status["truncated"]
    assert bounding.taken(status) <= room(resources)
