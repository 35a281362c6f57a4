"""What looks wrong in policies that are in force."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.harness.values import ARRIVAL, cluster_version, version

from stormfold.api.match import Match
from stormfold.api.reasons.specs import SpecReason
from stormfold.model.arrival import Arrival, SignalRef
from stormfold.policy.caveats import COUNTED, Rivals, can_match_the_same, looks_like_regex
from stormfold.policy.router import Router
from stormfold.policy.validation import Fault
from stormfold.policy.version import PolicyVersion


class NothingOpen:
    """No storm is open, and no request holds anything."""

    def is_open(self, group_hash: str) -> bool:
        return False

    def holds(self, group_hash: str, arrival: Arrival) -> bool:
        return False


TEAM = {"matchLabels": {"team": "shop"}}


def expression(operator: str, *values: str) -> dict[str, Any]:
    """A selector of the label `team`."""
    return {"matchExpressions": [{"key": "team", "operator": operator, "values": list(values)}]}


MEET = [
    pytest.param({}, {}, id="both match everything"),
    pytest.param({}, {"names": ["Kube*"], "severities": ["high"]}, id="one matches everything"),
    pytest.param({"names": ["Kube*"]}, {"names": ["Node*", "KubePod"]}, id="a name and a glob for it"),
    pytest.param({"names": ["Kube*"]}, {"names": ["KubePod*"]}, id="a glob within another"),
    pytest.param({"severities": ["high", "info"]}, {"severities": ["info"]}, id="a severity"),
    pytest.param({"sources": ["prom*"]}, {}, id="a source and all but Events"),
    pytest.param({"sources": ["event"]}, {"sources": ["*"]}, id="Events in both"),
    pytest.param({"labelSelector": TEAM}, {"labelSelector": {"matchLabels": {"app": "web"}}}, id="labels"),
    pytest.param({"labelSelector": TEAM}, {"labelSelector": expression("Exists")}, id="a label that exists"),
    pytest.param(
        {"labelSelector": expression("NotIn", "shop")},
        {"labelSelector": expression("DoesNotExist")},
        id="a label that is missing",
    ),
]
PART = [
    pytest.param({"names": [*"abcdefgh", "Kube*"]}, {"names": ["KubePod"]}, id="the ninth glob"),
    pytest.param({"names": ["Kube*"]}, {"names": ["Node*"]}, id="other names"),
    pytest.param(
        {"names": ["A-*"]}, {"names": ["*-b"]}, id="globs neither of which matches the other's text"
    ),
    pytest.param({"severities": ["high"]}, {"severities": ["info"]}, id="other severities"),
    pytest.param({"sources": ["event"]}, {}, id="Events and all but Events"),
    pytest.param({"sources": ["a"]}, {"sources": ["b"]}, id="other sources"),
    pytest.param(
        {"labelSelector": TEAM}, {"labelSelector": {"matchLabels": {"team": "web"}}}, id="another value"
    ),
    pytest.param(
        {"labelSelector": TEAM}, {"labelSelector": expression("NotIn", "shop")}, id="a value not in"
    ),
    pytest.param(
        {"labelSelector": expression("In", "a", "b")}, {"labelSelector": expression("In", "c")}, id="sets"
    ),
    pytest.param(
        {"labelSelector": expression("Exists")},
        {"labelSelector": expression("DoesNotExist")},
        id="there and not there",
    ),
    pytest.param(
        {"namespaceSelector": TEAM},
        {"namespaceSelector": {"matchLabels": {"team": "web"}}},
        id="other namespaces",
    ),
]


@pytest.mark.parametrize(
    ("one", "other", "meet"),
    [pytest.param(*case.values, True, id=str(case.id)) for case in MEET]
    + [pytest.param(*case.values, False, id=str(case.id)) for case in PART],
)
def test_two_matches_meet_if_one_signal_can_be_what_both_match(
    one: dict[str, Any], other: dict[str, Any], meet: bool
) -> None:
    ours, theirs = Match.model_validate(one), Match.model_validate(other)
    assert (can_match_the_same(ours, theirs), can_match_the_same(theirs, ours)) == (meet, meet)


def told(*versions: PolicyVersion) -> dict[str, str | None]:
    """What each policy is told of its rivals."""
    rivals = Rivals()
    rivals.update(versions)
    caveats = {version.id.name: rivals.caveat(version) for version in versions}
    return {name: caveat.message if caveat else None for name, caveat in caveats.items()}


def test_policies_of_equal_priority_that_meet_are_told_of_each_other() -> None:
    said = "policies of equal priority (7) can match the same signals, so that their names decide: "
    assert told(
        version(name="b", priority=7),
        version(name="a", priority=7),
        version(name="c", priority=7, match={"sources": ["event"]}),
        version(name="d", priority=8),
    ) == {
        "a": f"{said}StormPolicy/shop/b goes after this one; set priority",
        "b": f"{said}StormPolicy/shop/a goes before this one; set priority",
        "c": None,
        "d": None,
    }


def test_policies_of_other_namespaces_and_of_the_cluster_are_no_rivals() -> None:
    policies = version(name="a"), version(namespace="other", name="b"), cluster_version("c")
    assert told(*policies) == {"a": None, "b": None, "c": None}


def test_so_many_rivals_are_named_and_the_others_counted() -> None:
    message = told(*(cluster_version(f"p-{number}") for number in range(8)))["p-0"]
    assert message is not None
    assert "ClusterStormPolicy/p-5 goes after this one, and 2 more policies; set priority" in message


def test_rival_that_is_changed_or_gone_is_forgotten() -> None:
    rivals, a = Rivals(), version(name="a")
    rivals.update([a, version(name="b")])
    assert rivals.caveat(a) is not None
    rivals.update([a, version(name="b", generation=2, priority=1)])
    assert rivals.caveat(a) is None
    rivals.update([a])
    assert rivals.caveat(a) is None


def arrivals(count: int) -> list[Arrival]:
    """Different Signals."""
    return [replace(ARRIVAL, ref=SignalRef("shop", "web", f"uid-{n}", 1, 100)) for n in range(count)]


def test_signals_that_lack_a_key_are_counted_once_each_and_the_first_is_told() -> None:
    told: list[str] = []
    router = Router(lambda: told.append("first"))
    by_rack = version(groupBy=["name", "labels.rack", "labels.row"])
    router.update([by_rack], in_use=())
    router.route(replace(ARRIVAL, labels={"rack": "1", "row": ""}), NothingOpen())
    assert (router.missing.finding(by_rack), told) == (None, [])
    for arrival in arrivals(3) * 2:
        router.route(replace(arrival, labels={"rack": "1"}), NothingOpen())
    router.route(replace(ARRIVAL, labels={"row": "1"}), NothingOpen())
    assert router.missing.finding(by_rack) == (
        "groupBy: 1 signal without labels.rack, 3 signals without labels.row. They go to the next policy "
        "whose keys they all have, or form a group of their own. Group by a key that they have, or let match "
        "select only signals that have it"
    )
    assert told == ["first", "first"]
    router.update([replace(by_rack, generation=2)], in_use=())
    assert router.missing.finding(by_rack) is None


def test_each_policy_that_a_signal_has_passed_says_so_and_only_those() -> None:
    router = Router()
    passed = version(name="a", groupBy=["labels.rack"])
    keeps = version(name="b", groupBy=["labels.row"], missingKeys="Group")
    beyond = version(name="c", groupBy=["labels.shelf"])
    router.update([passed, keeps, beyond], in_use=())
    router.route(replace(ARRIVAL, labels={}), NothingOpen())
    onward = "go to the next policy whose keys they all have, or form a group of their own"
    end = "Group by a key that they have, or let match select only signals that have it"
    assert [router.missing.finding(one) for one in (passed, keeps, beyond)] == [
        f"groupBy: 1 signal without labels.rack. They {onward}. {end}",
        f"groupBy: 1 signal without labels.row. They form a group of their own. {end}",
        None,
    ]


def test_signals_that_lack_a_key_are_counted_up_to_a_limit() -> None:
    router, by_rack = Router(), version(groupBy=["labels.rack"])
    router.update([by_rack], in_use=())
    for arrival in arrivals(COUNTED + 1):
        router.route(arrival, NothingOpen())
    said = router.missing.finding(by_rack)
    assert said is not None
    assert said.startswith("groupBy: 100 or more signals without labels.rack. ")


@pytest.mark.parametrize("glob", ["Kube.*", "Kube.+", "^Kube", "Pod$", "Kube|Node", r"Kube\w"])
def test_glob_that_looks_like_a_regular_expression_is_named(glob: str) -> None:
    assert looks_like_regex(version(match={"names": ["Kube*", glob]})) == Fault(
        SpecReason.GLOB_LOOKS_LIKE_REGEX,
        f"match.names: {glob!r} looks like a regular expression, but is a glob: write * for any characters, "
        "? for one, and one entry for each alternative",
    )


def test_globs_and_plain_names_do_not_look_like_regular_expressions() -> None:
    names = ["Kube*", "Node?", "[ab]*", "a.b", "CPU > 80% (prod)", "*.db"]
    assert looks_like_regex(version(match={"names": names, "sources": ["prom*"]})) is None
    in_sources = looks_like_regex(version(match={"sources": [".*"]}))
    assert in_sources is not None
    assert in_sources.message.startswith("match.sources: '.*' looks like")
