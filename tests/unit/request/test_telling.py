"""What people read first of a request."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.harness.values import ARRIVAL, NODE, POD, SNAPSHOT, version

from stormfold.api.remediationrequest import (
    Display,
    GroupValue,
    RemediationRequestSpec,
    RemediationRequestStatus,
    RequestPhase,
)
from stormfold.model.evidence import NameCount
from stormfold.request.causes import Cause
from stormfold.request.rendering import manifest
from stormfold.request.telling import GROUP_WIDTH, SUMMARY_WIDTH, WHAT_WIDTH, display, summary, transitions

OWN = version()
SPEC = RemediationRequestSpec.model_validate(
    manifest(SNAPSHOT, OWN.opening(OWN.group(ARRIVAL), ARRIVAL))["spec"]
)


def spec(name: str = "KubePodNotReady", /, **group: str | None) -> RemediationRequestSpec:
    values = tuple(GroupValue(key=key.replace("_", "."), value=value) for key, value in group.items())
    return SPEC.model_copy(update={"name": name, "group": values})


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        pytest.param(
            spec("PodDown", name="PodDown", namespace="shop"), Display(what="PodDown"), id="the default"
        ),
        pytest.param(
            spec("PodDown", name="PodDown", namespace="web"), Display(what="PodDown", group="web"),
            id="of another namespace",
        ),
        pytest.param(
            spec(name="KubePodNotReady", node="worker-7"), Display(what="KubePodNo~", group="worker-7"),
            id="a long name, and a node",
        ),
        pytest.param(
            spec(owner="Deployment/shop/checkout"), Display(what="KubePodNo~", group="checkout"),
            id="an owner",
        ),
        pytest.param(
            spec(labels_team="pay", labels_zone="eu-1"), Display(what="KubePodNo~", group="pay,eu-1"),
            id="two labels",
        ),
        pytest.param(
            spec(labels_team=None, labels_zone="eu-west"), Display(what="KubePodNo~", group="none,eu-~"),
            id="a label that is missing",
        ),
    ],
)  # fmt: skip
def test_columns_say_what_and_where(said: RemediationRequestSpec, shown: Display) -> None:
    assert display(said, "shop") == shown


def test_storm_without_a_signal_is_told_by_what_still_fires() -> None:
    again = replace(SNAPSHOT, still_firing=True, total=0, firing=6)
    assert summary(again, {}) == "6 alerts of the request before still firing"
    assert summary(replace(again, firing=0), {}) == "all alerts of the request before have resolved"
    silent = replace(again, firing=0, stale_alerts=4)
    assert summary(silent, {}) == (
        "4 alerts of the request before neither repeated nor resolved for staleAfter"
    )
    assert summary(replace(again, total=1, resource_count=1), {}).startswith("1 signal on ")


def test_line_of_kubectl_get_has_at_most_100_columns_and_the_severity_ends_before_the_80th() -> None:
    name = len("storm-0123456789abcdef-1")
    widths = [name, WHAT_WIDTH, GROUP_WIDTH, len("Settled"), len("FIRING"), len("critical")]
    gaps = 3 * len(widths)
    assert sum(widths) + gaps - 3 < 80
    assert sum(widths) + gaps + len("REMEDIATION") + 3 + len("359d") <= 100


PODS = tuple((replace(POD, name=f"web-{number}"), 1) for number in range(14))
MANY = {f"Alert{number:03}-{'x' * 40}": NameCount(40 - number) for number in range(10)}


@pytest.mark.parametrize(
    ("storm", "names", "sentence"),
    [
        pytest.param(
            {"total": 14, "resources": PODS}, {"PodDown": NameCount(14)}, "14 signals on 14 pods: PodDown",
            id="pods",
        ),
        pytest.param(
            {"total": 1, "resources": PODS[:1]}, {"PodDown": NameCount(1)}, "1 signal on 1 pod: PodDown",
            id="one pod",
        ),
        pytest.param(
            {"total": 20, "resources": (*PODS, (NODE, 6))},
            {"PodDown": NameCount(14), "NodeDown": NameCount(6)},
            "20 signals on 15 resources: PodDown 14, NodeDown 6",
            id="pods and a node",
        ),
        pytest.param(
            {"total": 900, "resources": PODS, "resource_count": 480, "truncated": True},
            {"PodDown": NameCount(900)},
            "900 signals on about 480 resources: PodDown",
            id="more than are listed",
        ),
        pytest.param(
            {"total": 3, "resources": ()}, {"TargetDown": NameCount(3)}, "3 signals: TargetDown",
            id="about no object",
        ),
        pytest.param(
            {"total": 9, "resources": ()}, {"A": NameCount(5, 2), "B": NameCount(2)},
            "9 signals: A 5+, B 2, others", id="not all are counted by name",
        ),
        pytest.param(
            {"total": 355, "resources": ()}, MANY,
            "355 signals: " + ", ".join(f"{name} {of.signals}" for name, of in list(MANY.items())[:4])
            + ", others", id="more names than fit",
        ),
    ],
)  # fmt: skip
def test_summary_says_what_of_what_in_one_line(
    storm: dict[str, Any], names: dict[str, NameCount], sentence: str
) -> None:
    snapshot = replace(SNAPSHOT, **{"resource_count": len(storm["resources"])} | storm)
    assert summary(snapshot, names) == sentence
    assert len(sentence) <= SUMMARY_WIDTH


LONGEST = Cause(f"labels.{'l' * 128}", "v" * 63, 123_400, 99, approximate=True)
"""A cause of the longest label, value and counts."""


@pytest.mark.parametrize("names", [{"A": NameCount(3, 1)}, {"A": NameCount(3, 1), "B": NameCount(2, 1)}])
@pytest.mark.parametrize("kind", ["Pod", "K" * 63])
def test_summary_has_room_for_the_longest_cause(kind: str, names: dict[str, NameCount]) -> None:
    of = ((replace(POD, kind=kind), 123_456),)
    for truncated in (False, True):
        storm = replace(SNAPSHOT, total=123_456, resource_count=123_456, resources=of, truncated=truncated)
        said = summary(storm, names, [LONGEST])
        assert len(said) <= SUMMARY_WIDTH
        assert said.startswith("123456 signals on ")


def test_summary_is_harmless_whatever_kinds_and_labels_are_called() -> None:
    odd = replace(POD, kind="P\x1b[31mo\nd\u202e")
    storm = replace(SNAPSHOT, total=5, resource_count=2, resources=((odd, 5),))
    said = summary(storm, {"Down": NameCount(5)}, [Cause("labels.ra\u202eck", "r7", 5, 100)])
    assert said == "5 signals on 2 po ds: Down; 5 of 5 share rack r7"


def group(**values: str | None) -> tuple[GroupValue, ...]:
    return tuple(GroupValue(key=key.replace("_", "."), value=value) for key, value in values.items())


@pytest.mark.parametrize(
    ("of", "total", "shared"),
    [
        pytest.param(group(name="PodDown", namespace="shop"), 7, "", id="what the other words say"),
        pytest.param(group(labels_node="worker-7"), 7, "; all share node worker-7", id="a label"),
        pytest.param(group(node="worker-7", severity="high"), 1, "; node worker-7", id="one signal"),
        pytest.param(
            group(owner="Deployment/shop/web", labels_zone=None, target_name="web-0"), 7,
            "; all share owner Deployment/shop/web, target web-0", id="several, of which one is missing",
        ),
        pytest.param(
            group(labels_why="\x1b[31m<b>\n" + "x" * 300), 7, "; all share why ‹b> " + "x" * 59 + "~",
            id="long and harmful",
        ),
    ],
)  # fmt: skip
def test_summary_says_by_what_its_signals_were_grouped(
    of: tuple[GroupValue, ...], total: int, shared: str
) -> None:
    storm = replace(SNAPSHOT, total=total, resources=(), resource_count=0)
    signals = "7 signals" if total > 1 else "1 signal"
    assert summary(storm, {"PodDown": NameCount(total)}, group=of) == f"{signals}: PodDown{shared}"
    cause = "; 6 of 7 share image x" if total > 1 else "; 6 of 1 share image x"
    with_cause = summary(storm, {"PodDown": NameCount(total)}, [Cause("labels.image", "x", 6, 85)], group=of)
    assert with_cause == f"{signals}: PodDown{shared}{cause}"
    longest = summary(
        replace(storm, total=123_456), {"A": NameCount(1, 1), "B": NameCount(1)}, [LONGEST], group=of
    )
    assert len(longest) <= SUMMARY_WIDTH
    assert longest.startswith("123456 signals")


OPEN, SETTLED, CLOSED = RequestPhase.OPEN, RequestPhase.SETTLED, RequestPhase.CLOSED


@pytest.mark.parametrize(
    ("before", "after", "events"),
    [
        pytest.param(None, (OPEN, 1), ["StormOpened"], id="new"),
        pytest.param(None, (SETTLED, 1), ["StormOpened", "StormSettled"], id="the first write was late"),
        pytest.param(None, (CLOSED, 1), ["StormOpened", "StormClosed"], id="it came after the end"),
        pytest.param((OPEN, 1), (OPEN, 1), [], id="more came"),
        pytest.param((OPEN, 1), (SETTLED, 1), ["StormSettled"], id="quiet"),
        pytest.param((SETTLED, 1), (SETTLED, 1), [], id="still quiet"),
        pytest.param((SETTLED, 1), (OPEN, 2), ["StormReopened"], id="again"),
        pytest.param(
            (SETTLED, 1), (SETTLED, 2), ["StormReopened", "StormSettled"], id="again, and written late"
        ),
        pytest.param((SETTLED, 2), (OPEN, 2), ["StormReopened"], id="again, counted on from the request"),
        pytest.param((OPEN, 1), (CLOSED, 1), ["StormClosed"], id="closed while signals came"),
        pytest.param((SETTLED, 1), (CLOSED, 1), ["StormClosed"], id="closed"),
    ],
)
def test_each_step_of_a_request_is_told_also_where_one_write_tells_of_two(
    before: tuple[RequestPhase, int] | None, after: tuple[RequestPhase, int], events: list[str]
) -> None:
    was = RemediationRequestStatus(phase=before[0], revision=before[1]) if before else None
    now = RemediationRequestStatus(phase=after[0], revision=after[1], summary="7 signals")
    found = list(transitions(was, now))
    assert [reason.value for reason, _ in found] == events
    assert {message.split(";")[0] for _, message in found} <= {"7 signals"}


def test_request_that_only_a_consumer_has_written_is_new() -> None:
    now = RemediationRequestStatus(phase=OPEN)
    assert [reason.value for reason, _ in transitions(RemediationRequestStatus(), now)] == ["StormOpened"]
