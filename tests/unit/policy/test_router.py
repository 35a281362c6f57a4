"""The router keeps the routing of the moment: the versions in force, and those that open storms hold to."""

from __future__ import annotations

from dataclasses import replace

from tests.harness.routing import DEFAULT, NOTHING_OPEN, OF_DEFAULT, Open, routed
from tests.harness.values import ARRIVAL, cluster_version

from stormfold.api.reasons.signals import SignalReason
from stormfold.api.signal import SignalPhase
from stormfold.model.arrival import AlertRef, Verdict
from stormfold.policy.router import DEFAULT_RETENTION_MS, Router
from stormfold.policy.routing import Routed


def test_router_retains_what_an_open_storm_holds_to_and_drops_it_after() -> None:
    before, after = cluster_version(groupBy=["name", "namespace", "source"]), cluster_version(generation=2)
    router = Router()
    still_open = Open(frozenset([before.group(ARRIVAL).group_hash]))
    router.update([before], in_use=())
    router.update([after], in_use={before.key})
    assert routed(router.route(ARRIVAL, still_open)).version == before
    assert routed(router.route(ARRIVAL, NOTHING_OPEN)).version == after
    router.update([after], in_use={before.key})
    assert routed(router.route(ARRIVAL, still_open)).version == before
    router.update([after], in_use=())
    assert routed(router.route(ARRIVAL, still_open)).version == after


def test_router_takes_over_versions_that_it_never_saw_in_force() -> None:
    before = cluster_version()
    router = Router()
    router.retain([before], in_use={before.key})
    assert routed(router.route(ARRIVAL, Open(frozenset([OF_DEFAULT.group_hash])))).version == before


def test_router_asks_each_version_by_which_there_are_requests_once_and_in_order() -> None:
    router = Router()
    lower, higher = cluster_version("b"), cluster_version("a", priority=5)
    router.hold([lower, higher, lower])
    router.update([DEFAULT], in_use=())
    assert router.versions == (higher, lower, DEFAULT)
    router.hold(())
    router.update([DEFAULT], in_use=())
    assert router.versions == (DEFAULT,)


def test_router_needs_owners_as_long_as_a_version_in_force_or_retained_does() -> None:
    by_owner, by_name = cluster_version(groupBy=["namespace", "owner"]), cluster_version(generation=2)
    router = Router()
    assert not any(version.needs_owners for version in router.versions)
    router.update([by_owner], in_use=())
    assert any(version.needs_owners for version in router.versions)
    router.update([by_name], in_use={by_owner.key})
    assert any(version.needs_owners for version in router.versions)
    router.update([by_name], in_use=())
    assert not any(version.needs_owners for version in router.versions)


def test_router_follows_namespaces() -> None:
    chosen = cluster_version(match={"namespaceSelector": {"matchLabels": {"team": "a"}}}, retention="3s")
    router = Router()
    router.update([chosen], in_use=())
    assert router.retention_ms(ARRIVAL) == DEFAULT_RETENTION_MS
    router.namespace_changed("shop", {"team": "a"})
    assert router.retention_ms(ARRIVAL) == 3_000
    assert isinstance(router.route(ARRIVAL, NOTHING_OPEN), Routed)
    router.namespace_changed("shop", None)
    assert isinstance(router.route(ARRIVAL, NOTHING_OPEN), Verdict)
    router.namespaces_listed({"shop": {"team": "a"}})
    assert isinstance(router.route(ARRIVAL, NOTHING_OPEN), Routed)
    router.namespaces_listed({})
    assert isinstance(router.route(ARRIVAL, NOTHING_OPEN), Verdict)


def test_alert_whose_request_would_be_made_in_no_namespace_hears_so() -> None:
    alert = replace(ARRIVAL, ref=AlertRef(0, 0))
    router = Router()
    router.update([cluster_version(groupBy=["namespace"])], in_use=())
    assert isinstance(router.route(alert, NOTHING_OPEN), Routed)
    router.absent.add("shop")
    assert router.route(alert, NOTHING_OPEN) == Verdict(
        SignalPhase.REJECTED,
        SignalReason.NAMESPACE_NOT_FOUND,
        "the alert is about namespace 'shop', which does not exist: fix that label in the alert",
    )
    assert isinstance(router.route(ARRIVAL, NOTHING_OPEN), Routed), "a Signal waits"
    router.namespace_changed("shop", {})
    assert isinstance(router.route(alert, NOTHING_OPEN), Routed)


def test_alert_of_no_namespace_is_taken_where_the_policy_names_one_for_requests() -> None:
    alert = replace(ARRIVAL, ref=AlertRef(0, 0))
    router = Router()
    router.update([cluster_version("all", groupBy=["name"], requestNamespace="platform")], in_use=())
    assert router.request_namespaces == {"platform"}
    router.absent.add("shop")
    assert isinstance(router.route(alert, NOTHING_OPEN), Routed)
    router.absent.add("platform")
    assert router.route(alert, NOTHING_OPEN) == Verdict(
        SignalPhase.REJECTED,
        SignalReason.REQUEST_NAMESPACE_NOT_FOUND,
        "ClusterStormPolicy/all makes its requests in namespace 'platform', which does not exist: create it, "
        "or change requestNamespace",
    )


def test_what_is_no_arrival_is_kept_for_the_default_time() -> None:
    assert Router().retention_ms(None) == DEFAULT_RETENTION_MS == 600_000


def test_router_knows_the_labels_that_policies_in_force_and_retained_use() -> None:
    router = Router()
    assert router.labels_used == frozenset()
    first = cluster_version(
        groupBy=["labels.node", "namespace", "labels.app.kubernetes.io/name"],
        causes=["owner", "labels.image"],
        match={
            "labelSelector": {
                "matchLabels": {"team": "a"},
                "matchExpressions": [{"key": "zone", "operator": "Exists"}],
            },
            "namespaceSelector": {"matchLabels": {"of-a-namespace": "x"}},
        },
    )
    used = {"node", "image", "app.kubernetes.io/name", "team", "zone"}
    second = cluster_version(generation=2, groupBy=["labels.rack", "namespace"], causes=[])
    router.update([first], in_use=())
    assert router.labels_used == used
    router.update([second], in_use={first.key})
    assert router.labels_used == used | {"rack"}
    router.update([second], in_use=())
    assert router.labels_used == {"rack"}
