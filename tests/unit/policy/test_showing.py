"""What the requests of a policy show of signals."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.harness.values import ARRIVAL, NODE, POD, T0, cluster_version, version

from stormfold.api.evidence import Sample
from stormfold.model.arrival import AlertRef, Arrival, EventRef, address_target
from stormfold.policy.showing import SAMPLE_BYTES, Showing, samples
from stormfold.policy.version import PolicyVersion

ANNOTATIONS = {
    "summary": "Pod is down.",
    "description": "Pod shop/web-0 is down.",
    "runbook_url": "https://runbooks.example/PodDown",
    "dashboard_url": "https://grafana.example/d/1",
    "generator_url": "http://prometheus/graph?g0.expr=up",
}
WHOLE = replace(ARRIVAL, annotations=ANNOTATIONS, labels={"app": "web", "api_token": "s3cr3t"})
SHOWN: dict[str, Any] = {
    "name": "PodDown",
    "severity": "warning",
    "target": {"apiVersion": "v1", "kind": "Pod", "name": "web-0", "namespace": "shop"},
    "startsAt": "2026-01-01T00:00:00Z",
    "summary": "Pod is down.",
    "runbookURL": "https://runbooks.example/PodDown",
    "labels": {"app": "web"},
    "dashboardURL": "https://grafana.example/d/1",
    "description": "Pod shop/web-0 is down.",
    "generatorURL": "http://prometheus/graph?g0.expr=up",
}
ALL = version().showing


def shown(arrival: Arrival, showing: Showing = ALL) -> dict[str, Any]:
    """The sample, which is one by the CRD and within its bound."""
    text = showing.sample(arrival)
    assert len(text.encode()) <= SAMPLE_BYTES
    Sample.model_validate_json(text)
    sample: dict[str, Any] = orjson.loads(text)
    return sample


def test_sample_says_all_that_the_signal_does_but_secrets() -> None:
    assert shown(WHOLE) == SHOWN


def test_event_shows_its_message_as_description() -> None:
    sample = shown(replace(ARRIVAL, annotations={"message": "Back-off pulling image"}))
    assert sample["description"] == "Back-off pulling image"


@pytest.mark.parametrize(
    ("arrival", "starts"),
    [
        (replace(ARRIVAL, started_ms=T0 - 60_000), "2025-12-31T23:59:00Z"),
        (replace(ARRIVAL, ref=AlertRef(0, T0 // 1000 - 5)), "2025-12-31T23:59:55Z"),
        (replace(ARRIVAL, ref=EventRef("uid", 7, 3, 0, 30_000)), "2025-12-31T23:59:30Z"),
    ],
    ids=["a Signal's startsAt", "an alert's startsAt", "an Event's first occurrence"],
)
def test_sample_says_since_when(arrival: Arrival, starts: str) -> None:
    assert shown(arrival)["startsAt"] == starts


@pytest.mark.parametrize(
    ("policy", "fields", "labels"),
    [
        pytest.param(version(), {*SHOWN}, {"app"}, id="StormPolicy"),
        pytest.param(cluster_version(), {*SHOWN}, {"app"}, id="requests in the namespace of their signals"),
        pytest.param(
            cluster_version(requestNamespace="platform"),
            {"name", "severity", "target", "startsAt"},
            set(),
            id="requests elsewhere",
        ),
        pytest.param(
            cluster_version(
                requestNamespace="platform", evidence={"labels": ["a*"], "annotations": ["run*"]}
            ),
            {"name", "severity", "target", "startsAt", "labels", "runbookURL"},
            {"app"},
            id="the cluster policy says so",
        ),
        pytest.param(
            version(evidence={"labels": ["*", "api_token"], "annotations": []}),
            {"name", "severity", "target", "startsAt", "labels"},
            {"app"},
            id="a secret is none of the globs' business",
        ),
    ],
)
def test_policy_says_what_is_shown(policy: PolicyVersion, fields: set[str], labels: set[str]) -> None:
    sample = shown(WHOLE, policy.showing)
    assert set(sample) == fields
    assert set(sample.get("labels", {})) == labels


@pytest.mark.parametrize(
    ("policy", "number"),
    [
        (version(), 5),
        (cluster_version(), 5),
        (cluster_version(requestNamespace="platform"), 0),
        (cluster_version(requestNamespace="platform", evidence={"samples": 2}), 2),
        (version(evidence={"samples": 0}), 0),
    ],
)
def test_policy_says_how_many_samples_there_are(policy: PolicyVersion, number: int) -> None:
    assert samples(policy.spec, policy.id.namespace) == policy.showing.samples == number


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param(
            {"annotations": {"description": "x" * 1025}},
            {"description": "x" * 1023 + "…", "truncated": True},
            id="a long description",
        ),
        pytest.param(
            {"annotations": {"summary": "é" * 513}},
            {"summary": "é" * 511 + "…", "truncated": True},
            id="a long summary",
        ),
        pytest.param(
            {"labels": {"a": "x" * 257}},
            {"labels": {"a": "x" * 255 + "…"}, "truncated": True},
            id="a long label",
        ),
        pytest.param(
            {"labels": {f"l{n:02}": "x" for n in range(17)}},
            {"labels": {f"l{n:02}": "x" for n in range(16)}, "truncated": True},
            id="many labels",
        ),
        pytest.param(
            {"annotations": {"runbook_url": "https://runbooks.example/" + "x" * 1000}},
            {"runbookURL": "https://runbooks.example/" + "x" * 998 + "…", "truncated": True},
            id="a long URL",
        ),
        pytest.param({"annotations": {"runbook_url": "javascript:alert(1)"}}, {}, id="no URL of the web"),
        pytest.param(
            {"annotations": {"summary": "\x1b[31mdown\n<b>now"}}, {"summary": "down ‹b>now"}, id="harmless"
        ),
        pytest.param(
            {"name": "🔥" * 253, "target": address_target("🔥" * 253), "labels": {"app": "web"}},
            {
                "name": "🔥" * 62 + "…",
                "target": {"apiVersion": "", "kind": "Instance", "name": "🔥" * 62 + "…"},
                "labels": {"app": "web"},
                "truncated": True,
            },
            id="names of wide characters",
        ),
        pytest.param(
            {"labels": {f"l{n:02}": "x" * 256 for n in range(16)}, "annotations": {"description": "y" * 900}},
            {
                "labels": {f"l{n:02}": "x" * 256 for n in range(2)},
                "description": "y" * 823 + "…",
                "truncated": True,
            },
            id="more than there is room for",
        ),
    ],
)
def test_what_is_long_is_cut_and_the_sample_says_so(
    changes: dict[str, Any], expected: dict[str, Any]
) -> None:
    arrival = replace(ARRIVAL, **{"target": NODE, "labels": {}} | changes)
    base = {
        "name": "PodDown",
        "severity": "warning",
        "target": {"apiVersion": "v1", "kind": "Node", "name": "worker-07"},
        "startsAt": "2026-01-01T00:00:00Z",
    }
    assert shown(arrival) == base | expected


TEXTS = st.text(max_size=600) | st.text('"\\🔥\x1b\n<a', max_size=600)


HOSTILE = st.builds(
    replace,
    st.just(ARRIVAL),
    name=st.text(min_size=1, max_size=253),
    target=st.text(min_size=1, max_size=253).map(lambda name: replace(POD, name=name)),
    labels=st.dictionaries(st.text(min_size=1, max_size=128), st.text(max_size=256), max_size=20),
    annotations=st.fixed_dictionaries(
        {
            "summary": TEXTS,
            "description": TEXTS,
            "runbook_url": TEXTS.map(lambda text: f"https://example.org/{text}"),
            "dashboard_url": TEXTS,
        }
    ),
)


@given(HOSTILE)
def test_sample_of_whatever_comes_is_taken_by_the_api(arrival: Arrival) -> None:
    sample = shown(arrival)
    assert all(sample.get(field, "").isprintable() for field in ("summary", "description", "runbookURL"))
