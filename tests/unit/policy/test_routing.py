"""Which storm an arrival goes to, with what is open taken into account."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.harness.routing import DEFAULT, NOTHING_OPEN, OF_DEFAULT, Open, routed
from tests.harness.values import ARRIVAL, cluster_version, version

from stormfold.api.reasons.signals import SignalReason
from stormfold.api.signal import Severity, SignalPhase
from stormfold.model.arrival import AlertRef, Verdict
from stormfold.policy.index import PolicyIndex
from stormfold.policy.router import DEFAULT_RETENTION_MS, Router
from stormfold.policy.routing import Place, Routed, Routing
from stormfold.policy.version import PolicyVersion

OWN = version()


def place_of(version: PolicyVersion) -> Place:
    """Where a request is that was made under it."""
    return Place(version, version.group(ALERT))


@pytest.mark.parametrize(
    ("versions", "expected"),
    [
        pytest.param([DEFAULT, OWN], "own", id="a namespaced policy goes first"),
        pytest.param(
            [cluster_version("a", priority=1_000_000), OWN], "own", id="whatever the other's priority"
        ),
        pytest.param([version(name="a"), version(name="b", priority=1)], "b", id="then the higher priority"),
        pytest.param([version(name="b"), version(name="a")], "a", id="then the name"),
        pytest.param([version(namespace="ops"), DEFAULT], "default", id="another namespace's is not asked"),
        pytest.param(
            [version(match={"names": ["X"]}), DEFAULT], "default", id="the next if it does not match"
        ),
        pytest.param([cluster_version("b"), cluster_version("a")], "a", id="names of cluster policies too"),
        pytest.param([], None, id="none"),
        pytest.param([version(match={"names": ["X"]})], None, id="none that matches"),
    ],
)
def test_first_policy_in_order_of_precedence_wins(
    versions: list[PolicyVersion], expected: str | None
) -> None:
    found = Routing(PolicyIndex(versions)).in_force(ARRIVAL)
    assert (found.version.id.name if found else None) == expected
    assert Routing(PolicyIndex(reversed(versions))).in_force(ARRIVAL) == found


def test_arrival_goes_to_its_group_under_the_policy_in_force() -> None:
    assert Routing(PolicyIndex([DEFAULT])).route(ARRIVAL, NOTHING_OPEN) == Routed(
        ARRIVAL, ARRIVAL, OF_DEFAULT, DEFAULT
    )


BY_RACK = version(name="a-rack", groupBy=["labels.rack"])
BY_ROW = version(name="b-row", groupBy=["labels.row"], retention="3s")
KEEPS = version(name="b-row", groupBy=["labels.row"], missingKeys="Group")


@pytest.mark.parametrize(
    ("versions", "labels", "expected", "lacking"),
    [
        pytest.param([BY_RACK, DEFAULT], {"rack": "1"}, "a-rack", [], id="it has the key"),
        pytest.param([BY_RACK, DEFAULT], {"rack": ""}, "a-rack", [], id="an empty value is one"),
        pytest.param([BY_RACK, DEFAULT], {}, "default", ["a-rack"], id="the next that has its keys"),
        pytest.param([BY_RACK, BY_ROW, DEFAULT], {}, "default", ["a-rack", "b-row"], id="the one after"),
        pytest.param([BY_RACK, BY_ROW], {"row": "1"}, "b-row", ["a-rack"], id="any of whose keys it has all"),
        pytest.param([BY_RACK, BY_ROW], {}, "a-rack", ["a-rack", "b-row"], id="the first if none has"),
        pytest.param([BY_RACK, KEEPS, DEFAULT], {}, "b-row", ["a-rack", "b-row"], id="one that says Group"),
    ],
)
def test_signal_that_lacks_a_key_goes_to_the_next_policy(
    versions: list[PolicyVersion], labels: dict[str, str], expected: str, lacking: list[str]
) -> None:
    arrival = replace(ARRIVAL, labels=labels)
    found = routed(Routing(PolicyIndex(versions)).route(arrival, NOTHING_OPEN))
    assert (found.version.id.name, found.group) == (expected, found.version.group(arrival))
    assert [version.id.name for version, _ in found.lacking] == lacking
    assert [group for _, group in found.lacking] == [version.group(arrival) for version, _ in found.lacking]


def test_signal_is_kept_for_as_long_as_the_policy_says_that_takes_it() -> None:
    router = Router()
    router.update([BY_RACK, BY_ROW], in_use=())
    assert router.retention_ms(replace(ARRIVAL, labels={"rack": "1"})) == DEFAULT_RETENTION_MS
    assert router.retention_ms(replace(ARRIVAL, labels={"row": "1"})) == 3_000


def test_storm_of_signals_that_lack_a_key_goes_on_when_another_policy_is_added() -> None:
    """What is open under a version that is in force goes by the policies in force, as ever."""
    lacking = replace(ARRIVAL, labels={})
    opened = BY_RACK.group(lacking).group_hash
    retained = Routing(PolicyIndex([DEFAULT]), (BY_RACK,))
    assert routed(retained.route(lacking, Open(frozenset({opened})))).version is BY_RACK
    assert routed(retained.route(lacking, NOTHING_OPEN)).version is DEFAULT
    held = Routing(PolicyIndex([BY_RACK, DEFAULT]), (), {}, (BY_RACK,))
    assert routed(held.route(lacking, Open(held=frozenset({opened})))).version is BY_RACK


OWNED = version(name="a-owner", groupBy=["owner"])
NODES = version(name="a-node", groupBy=["node"], match={"names": ["Node*"]})


@pytest.mark.parametrize(
    ("in_force", "retained", "needed"),
    [
        pytest.param([DEFAULT], [], False, id="none groups by it"),
        pytest.param([OWNED, DEFAULT], [], True, id="the first does"),
        pytest.param([NODES, DEFAULT], [], False, id="one does that does not match"),
        pytest.param([version(name="0", priority=1), OWNED], [], False, id="one before takes it"),
        pytest.param(
            [version(name="0", groupBy=["labels.rack"]), OWNED], [], True, id="one before lacks a key"
        ),
        pytest.param([DEFAULT], [OWNED], True, id="that of an open storm does"),
    ],
)
def test_owner_is_needed_where_it_may_decide(
    in_force: list[PolicyVersion], retained: list[PolicyVersion], needed: bool
) -> None:
    assert Routing(PolicyIndex(in_force), tuple(retained)).needs_owner(ARRIVAL) is needed


def test_arrival_without_a_policy_is_rejected() -> None:
    assert Routing(PolicyIndex([version(namespace="ops")])).route(ARRIVAL, NOTHING_OPEN) == Verdict(
        SignalPhase.REJECTED,
        SignalReason.NO_POLICY_MATCHES,
        "no policy in force matches signal 'PodDown' of namespace 'shop': add a policy, or let the match "
        "of one select it",
    )


def test_namespace_selector_sees_the_labels_of_the_namespace_that_the_signal_speaks_for() -> None:
    chosen = cluster_version(match={"namespaceSelector": {"matchLabels": {"team": "a"}}})
    routing = Routing(PolicyIndex([chosen]), (), {"shop": {"team": "a"}, "ops": {"team": "b"}})
    assert isinstance(routing.route(ARRIVAL, NOTHING_OPEN), Routed)
    assert isinstance(routing.route(replace(ARRIVAL, namespace="ops"), NOTHING_OPEN), Verdict)
    assert isinstance(routing.route(replace(ARRIVAL, namespace="unheard-of"), NOTHING_OPEN), Verdict)


def test_severity_is_mapped_before_it_is_grouped_and_counted() -> None:
    mapping = version(groupBy=["severity"], severityMap={"warning": "critical"})
    found = routed(Routing(PolicyIndex([mapping])).route(ARRIVAL, NOTHING_OPEN))
    assert found.original is ARRIVAL
    assert found.arrival == replace(ARRIVAL, severity=Severity.CRITICAL)
    assert found.group.values == (("severity", "critical"),)


@pytest.mark.parametrize(
    ("severity", "text", "mapping", "expected"),
    [
        pytest.param("unknown", "P0", {}, "unknown", id="no map"),
        pytest.param("unknown", "P0", {"P0": "critical"}, "critical", id="the word of the source"),
        pytest.param("unknown", "p0", {"P0": "critical"}, "critical", id="in another case"),
        pytest.param("unknown", "P0", {"p0": "critical"}, "critical", id="in another case in the map"),
        pytest.param("unknown", "p0", {"P0": "critical", "p0": "high"}, "high", id="exactly goes first"),
        pytest.param("unknown", "sev9", {"sev1": "critical"}, "unknown", id="a word that is not mapped"),
        pytest.param("unknown", "sev9", {"unknown": "info"}, "info", id="which counts as unknown"),
        pytest.param(
            "unknown", "sev9", {"sev9": "high", "unknown": "info"}, "high", id="unless it is mapped"
        ),
        pytest.param("unknown", "", {"": "high", "unknown": "info"}, "info", id="no word at all"),
        pytest.param("critical", "", {"critical": "warning"}, "warning", id="one of ours"),
        pytest.param("critical", "", {"Critical": "warning"}, "warning", id="one of ours in another case"),
        pytest.param("critical", "", {"warning": "info"}, "critical", id="one of ours that is not mapped"),
    ],
)
def test_severity_map_knows_the_words_of_the_source_and_ours(
    severity: str, text: str, mapping: dict[str, str], expected: str
) -> None:
    arrival = replace(ARRIVAL, severity=Severity(severity), severity_text=text)
    found = routed(Routing(PolicyIndex([version(severityMap=mapping)])).route(arrival, NOTHING_OPEN))
    assert found.arrival.severity == Severity(expected)


def test_match_sees_the_severity_as_the_signal_states_it() -> None:
    mapping = version(match={"severities": ["critical"]}, severityMap={"warning": "critical"})
    assert isinstance(Routing(PolicyIndex([mapping])).route(ARRIVAL, NOTHING_OPEN), Verdict)


def test_open_storm_goes_on_under_the_version_that_opened_it() -> None:
    before, after = cluster_version(groupBy=["name"], requestNamespace="ops"), cluster_version(generation=2)
    routing = Routing(PolicyIndex([after]), (before,))
    open_before = Open(frozenset([before.group(ARRIVAL).group_hash]))
    assert routed(routing.route(ARRIVAL, open_before)).version is before
    assert routed(routing.route(ARRIVAL, NOTHING_OPEN)).version is after


def test_retained_version_takes_only_what_it_governs() -> None:
    before = cluster_version(match={"names": ["Pod*"]}, groupBy=["namespace"])
    routing = Routing(PolicyIndex([cluster_version(generation=2)]), (before,))
    still_open = Open(frozenset([before.group(ARRIVAL).group_hash]))
    assert routed(routing.route(replace(ARRIVAL, name="NodeDown"), still_open)).version.generation == 2


def test_open_storm_of_a_deleted_policy_goes_on() -> None:
    before = cluster_version()
    routing = Routing(PolicyIndex(), (before,))
    assert routed(routing.route(ARRIVAL, Open(frozenset([OF_DEFAULT.group_hash])))).version is before
    assert isinstance(routing.route(ARRIVAL, NOTHING_OPEN), Verdict)


def test_what_a_request_holds_stays_there_whatever_policies_say_now() -> None:
    before, now = cluster_version(groupBy=["namespace"]), version(priority=9)
    routing = Routing(PolicyIndex([now]), held=(before,))
    held = Open(held=frozenset([before.group(ARRIVAL).group_hash]))
    assert routed(routing.route(ARRIVAL, held)).version is before
    assert routed(routing.route(ARRIVAL, NOTHING_OPEN)).version is now
    only_others = Routing(PolicyIndex([now]), held=(cluster_version(match={"names": ["X"]}),))
    assert routed(only_others.route(ARRIVAL, held)).version is now


def test_version_in_force_is_not_retained_beside_itself() -> None:
    router = Router()
    router.update([DEFAULT], in_use={DEFAULT.key})
    router.retain([DEFAULT], in_use={DEFAULT.key})
    assert router.versions == (DEFAULT,)


ALERT = replace(ARRIVAL, ref=AlertRef(0, 0))
GONE = version(name="gone", groupBy=["name"])
"""A policy that was deleted, or replaced by one of higher priority."""


def test_alert_that_an_open_request_lists_goes_there_whatever_policies_say_now() -> None:
    routing = Routing(PolicyIndex([version(priority=9), DEFAULT]))
    place = place_of(GONE)
    assert routed(routing.route(ALERT, Open(listed=place))).version is GONE
    assert routed(Routing(PolicyIndex([])).route(ALERT, Open(listed=place))).version is GONE


def test_alert_that_an_open_request_lists_goes_there_although_it_is_on_another_node_now() -> None:
    by_node = version(groupBy=["node"])
    place = place_of(by_node)
    moved = replace(ALERT, node="worker-08")
    routing = Routing(PolicyIndex([by_node]))
    assert routed(routing.route(moved, NOTHING_OPEN)).group != place.group
    assert routed(routing.route(moved, Open(listed=place))).group == place.group


def test_signal_that_looks_like_it_goes_by_the_policies() -> None:
    assert routed(Routing(PolicyIndex([OWN])).route(ARRIVAL, Open(listed=place_of(GONE)))).version is OWN


def test_request_that_could_not_have_counted_an_alert_does_not_get_it_by_listing_it() -> None:
    foreign = version(name="foreign", namespace="ops")
    assert routed(Routing(PolicyIndex([OWN])).route(ALERT, Open(listed=place_of(foreign)))).version is OWN
