"""Which arrivals a policy's `match` takes."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from re import _constants as sre
from re import _parser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.harness.values import ARRIVAL, version

from stormfold.api.match import Match, Selector
from stormfold.api.signal import Severity
from stormfold.model.arrival import EventRef
from stormfold.policy.matching import EVENT_SOURCE, glob_pattern, matcher, selects


def expression(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"matchExpressions": [{"key": key, "operator": operator, "values": values}]}


@pytest.mark.parametrize(
    ("glob", "text", "taken"),
    [
        pytest.param("PodDown", "PodDown", True, id="the text itself"),
        pytest.param("PodDown", "podDown", False, id="upper and lower case differ"),
        pytest.param("Pod", "PodDown", False, id="a beginning is not enough"),
        pytest.param("Down", "PodDown", False, id="an end is not enough"),
        pytest.param("*", "", True, id="a star takes nothing"),
        pytest.param("*", "a\nb", True, id="a star takes a new line"),
        pytest.param("Pod*n", "PodDown", True, id="a star within"),
        pytest.param("P?dDown", "PodDown", True, id="one character"),
        pytest.param("PodDown?", "PodDown", False, id="one character that is missing"),
        pytest.param("[PQ]odDown", "PodDown", True, id="a set"),
        pytest.param("[!P]odDown", "PodDown", False, id="a set that is excluded"),
        pytest.param("Pod.own", "PodDown", False, id="a dot is a dot"),
        pytest.param("(a|b)+", "(a|b)+", True, id="signs of patterns are plain"),
        pytest.param("PodDown", "PodDown\n", False, id="a new line at the end counts"),
    ],
)
def test_glob_takes_a_name(glob: str, text: str, taken: bool) -> None:
    pattern = glob_pattern([glob])
    assert pattern is not None
    assert (pattern.match(text) is not None) == taken


GLOB = st.text("ab*?", max_size=8)


@given(GLOB, st.text("ab", max_size=8))
def test_glob_takes_what_its_definition_says(glob: str, text: str) -> None:
    @cache
    def takes(g: int, t: int) -> bool:
        if g == len(glob):
            return t == len(text)
        if glob[g] == "*":
            return takes(g + 1, t) or (t < len(text) and takes(g, t + 1))
        return t < len(text) and glob[g] in ("?", text[t]) and takes(g + 1, t + 1)

    pattern = glob_pattern([glob])
    assert pattern is not None
    assert (pattern.match(text) is not None) == takes(0, 0)


def repeats(pattern: Any) -> list[int]:
    """For each repeat that may be backtracked into, how many others are inside it."""
    found: list[int] = []
    for kind, argument in pattern:
        if kind in (sre.MAX_REPEAT, sre.MIN_REPEAT):
            found.append(len(repeats(argument[2])))
        elif kind is sre.SUBPATTERN:
            found += repeats(argument[3])
        elif kind is sre.BRANCH:
            found += max((repeats(branch) for branch in argument[1]), key=len)
        elif kind is sre.ATOMIC_GROUP:
            assert set(repeats(argument)) <= {0}
    return found


# A match in which at most one repeat can be retried takes steps in proportion to pattern times text at most.
@given(st.lists(st.text("ab*?[]!-(+", min_size=1, max_size=20), min_size=1, max_size=3))
def test_pattern_of_globs_has_one_repeat_at_most_that_can_be_retried(globs: list[str]) -> None:
    pattern = glob_pattern(globs)
    assert pattern is not None
    assert repeats(_parser.parse(pattern.pattern)) in ([], [0])


def test_hostile_glob_is_answered() -> None:
    pattern = glob_pattern(["*a" * 120 + "*b"])
    assert pattern is not None
    assert pattern.match("a" * 253) is None


def test_one_of_several_globs_is_enough() -> None:
    pattern = glob_pattern(["a*", "*b"])
    assert pattern is not None
    assert [text for text in ("ax", "xb", "xx") if pattern.match(text)] == ["ax", "xb"]


def test_no_globs_make_no_pattern() -> None:
    assert glob_pattern([]) is None


@pytest.mark.parametrize(
    ("selector", "labels", "selected"),
    [
        pytest.param({}, {}, True, id="an empty selector selects everything"),
        pytest.param({"matchLabels": {"a": "1"}}, {"a": "1", "b": "2"}, True, id="the label"),
        pytest.param({"matchLabels": {"a": "1"}}, {"a": "2"}, False, id="another value"),
        pytest.param({"matchLabels": {"a": ""}}, {}, False, id="a missing label is not an empty one"),
        pytest.param({"matchLabels": {"a": "1", "b": "2"}}, {"a": "1"}, False, id="all labels must be there"),
        pytest.param(expression("a", "In", "1", "2"), {"a": "2"}, True, id="In"),
        pytest.param(expression("a", "In", "1", "2"), {"a": "3"}, False, id="In without the value"),
        pytest.param(expression("a", "In", "1"), {}, False, id="In without the label"),
        pytest.param(expression("a", "NotIn", "1"), {"a": "2"}, True, id="NotIn"),
        pytest.param(expression("a", "NotIn", "1"), {"a": "1"}, False, id="NotIn with the value"),
        pytest.param(expression("a", "NotIn", "1"), {}, True, id="NotIn without the label"),
        pytest.param(expression("a", "Exists"), {"a": ""}, True, id="Exists, though empty"),
        pytest.param(expression("a", "Exists"), {}, False, id="Exists without the label"),
        pytest.param(expression("a", "DoesNotExist"), {}, True, id="DoesNotExist"),
        pytest.param(expression("a", "DoesNotExist"), {"a": ""}, False, id="DoesNotExist, though empty"),
        pytest.param(
            {"matchLabels": {"a": "1"}} | expression("b", "Exists"),
            {"a": "1"},
            False,
            id="labels and expressions must both hold",
        ),
    ],
)
def test_selector_selects_as_in_kubernetes(
    selector: dict[str, Any], labels: dict[str, str], selected: bool
) -> None:
    assert selects(Selector.model_validate(selector), labels) == selected


def test_no_selector_selects_everything() -> None:
    assert selects(None, {"a": "1"})


@pytest.mark.parametrize(
    ("match", "taken"),
    [
        pytest.param({}, True, id="nothing set"),
        pytest.param({"names": ["Node*", "Pod*"]}, True, id="name"),
        pytest.param({"names": ["Node*"]}, False, id="another name"),
        pytest.param({"severities": ["critical", "warning"]}, True, id="severity"),
        pytest.param({"severities": ["critical"]}, False, id="another severity"),
        pytest.param({"sources": ["alert*"]}, True, id="source"),
        pytest.param({"sources": ["falco"]}, False, id="another source"),
        pytest.param({"labelSelector": {"matchLabels": {"app": "web"}}}, True, id="label"),
        pytest.param({"labelSelector": {"matchLabels": {"team": "a"}}}, False, id="the namespace's label"),
        pytest.param({"namespaceSelector": {"matchLabels": {"team": "a"}}}, True, id="namespace label"),
        pytest.param({"namespaceSelector": {"matchLabels": {"app": "web"}}}, False, id="the signal's label"),
        pytest.param({"names": ["Pod*"], "sources": ["falco"]}, False, id="all fields must take it"),
    ],
)
def test_match_takes_an_arrival(match: dict[str, Any], taken: bool) -> None:
    assert matcher(Match.model_validate(match))(ARRIVAL, {"team": "a"}) == taken


def test_empty_source_is_taken_by_a_star_only() -> None:
    silent = replace(ARRIVAL, source="", severity=Severity.UNKNOWN)
    assert matcher(Match(sources=("*",)))(silent, {})
    assert not matcher(Match(sources=("?*",)))(silent, {})


@pytest.mark.parametrize(
    ("match", "taken"),
    [
        pytest.param({}, False, id="nothing set"),
        pytest.param({"names": ["Pod*"]}, False, id="its name, but no source"),
        pytest.param({"sources": ["alertmanager"]}, False, id="another source"),
        pytest.param({"sources": ["alertmanager", "event"]}, True, id="its source"),
        pytest.param({"sources": ["*"]}, True, id="any source"),
        pytest.param({"sources": ["Event"]}, False, id="upper and lower case differ"),
    ],
)
def test_event_is_taken_only_by_a_policy_that_names_its_source(match: dict[str, Any], taken: bool) -> None:
    event = replace(ARRIVAL, ref=EventRef("uid-1", 100, 1, 0), source=EVENT_SOURCE)
    policy = version(match=match)
    assert policy.governs(event, {}) == taken
    assert policy.takes_events == taken


def test_signal_that_calls_its_source_event_is_no_event() -> None:
    signal = replace(ARRIVAL, source=EVENT_SOURCE)
    assert version().governs(signal, {})
    assert version(match={"sources": ["event"]}).governs(signal, {})
