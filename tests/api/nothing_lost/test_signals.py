"""Single signals: which are counted, which are refused and told why, and how long they stay."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.api.conftest import OPERATOR_NAMESPACE
from tests.harness.api import Manifest
from tests.harness.eventually import eventually
from tests.harness.scene import Scene, at

FATE = "status.phase status.reason"


async def test_signal_that_names_a_target_of_another_namespace_is_rejected(scene: Scene) -> None:
    other = await scene.another_namespace()
    await scene.policy()
    await scene.policy(namespace=other)
    rejected = "stormfold_signals_rejected_total"
    before = (await scene.operator.metrics()).total(rejected, reason="TargetInOtherNamespace")
    signal = await scene.signal("Trouble", target={"kind": "Pod", "name": "pod-0", "namespace": other})
    await scene.signals_come_to(FATE, [("Rejected", "TargetInOtherNamespace")])
    await scene.events_come_to(signal, [("Warning", "TargetInOtherNamespace")])
    after = (await scene.operator.metrics()).total(rejected, reason="TargetInOtherNamespace")
    assert after == before + 1
    assert (await scene.requests(), await scene.requests(other)) == ([], [])
    [event] = await scene.api.list("Event", scene.namespace)
    [marked] = await scene.api.list("Signal", scene.namespace)
    assert event["message"] == at(marked, "status.message")
    assert at(marked, "status.message") == (
        f"spec.target.namespace: '{other}' must be '{scene.namespace}', the Signal's own namespace. "
        f"Only Signals in '{OPERATOR_NAMESPACE}' may report on other namespaces. "
        "See https://stormfold.dev/reasons/#TargetInOtherNamespace"
    )


async def test_rejected_signal_that_is_mended_is_counted(scene: Scene) -> None:
    await scene.policy()
    signal = await scene.signal(
        "Trouble", target={"kind": "Pod", "name": "pod-0", "namespace": "kube-system"}
    )
    await scene.signals_come_to(FATE, [("Rejected", "TargetInOtherNamespace")])
    await scene.edit(signal, target={"namespace": None})
    [request] = await scene.comes_to((1, "Settled", 1))
    await scene.signals_come_to(
        f"{FATE} status.observedGeneration status.remediationRequest.name",
        [("Folded", "Counted", 2, request["metadata"]["name"])],
    )


async def test_signal_in_the_operators_namespace_may_speak_for_another(scene: Scene) -> None:
    await scene.policy()
    signal = scene.manifest(
        "Trouble",
        namespace=OPERATOR_NAMESPACE,
        target={"kind": "Pod", "name": "pod-0", "namespace": scene.namespace},
    )
    signal["metadata"]["name"] = f"for-{scene.namespace}"
    await scene.api.create(signal)
    await scene.pods("Trouble", 1)
    [request] = await scene.comes_to((1, "Settled", 2))
    assert request["spec"]["policyRef"]["namespace"] == scene.namespace


@pytest.mark.parametrize("other", ["No Such", "a/b", "../secrets", "x?y", "a%2fb"])
async def test_signal_whose_target_lies_in_no_possible_namespace_is_rejected(
    scene: Scene, other: str
) -> None:
    await scene.cluster_policy(f"all-{scene.namespace}", match={"names": [f"Of-{scene.namespace}"]})
    signal = scene.manifest(
        f"Of-{scene.namespace}",
        namespace=OPERATOR_NAMESPACE,
        target={"kind": "Pod", "name": "pod-0", "namespace": other},
    )
    signal["metadata"]["name"] = f"of-{scene.namespace}"
    await scene.api.create(signal)
    seen = await eventually(
        lambda: scene.api.get("Signal", signal["metadata"]["name"], OPERATOR_NAMESPACE),
        lambda seen: at(seen, "status.phase"),
        within=30,
    )
    assert (at(seen, "status.phase"), at(seen, "status.reason")) == ("Rejected", "InvalidSignal")
    assert at(seen, "status.message") == (
        f"spec.target.namespace: {other!r} is not a valid name of a namespace. "
        "See https://stormfold.dev/reasons/#InvalidSignal"
    )


async def test_signal_whose_trouble_starts_in_the_future_is_rejected(scene: Scene) -> None:
    await scene.policy()
    now = datetime.now(UTC).replace(microsecond=0)
    await scene.signal("Trouble", "pod-0", startsAt=(now + timedelta(hours=1)).isoformat())
    await scene.signal("Trouble", "pod-1", startsAt=(now + timedelta(minutes=1)).isoformat())
    await scene.signal("Trouble", "pod-2", startsAt=(now - timedelta(days=400)).isoformat())
    await scene.comes_to((1, "Settled", 2))
    await scene.signals_come_to(
        FATE, [("Rejected", "StartsInFuture"), ("Folded", "Counted"), ("Folded", "Counted")]
    )


async def test_signal_that_no_policy_governs_is_rejected_with_one_event_for_the_namespace(
    scene: Scene,
) -> None:
    first, *_ = [await scene.signal("Trouble", f"pod-{n}") for n in range(3)]
    await scene.signals_come_to(FATE, [("Rejected", "NoPolicyMatches")] * 3)
    [marked, *_] = await scene.api.list("Signal", scene.namespace)
    assert at(marked, "status.message") == (
        f"no policy in force matches signal 'Trouble' of namespace '{scene.namespace}': add a policy, or let "
        "the match of one select it. See https://stormfold.dev/reasons/#NoPolicyMatches"
    )
    await scene.events_come_to(first, [("Warning", "NoPolicyMatches")])
    assert len(await scene.api.list("Event", scene.namespace)) == 1


async def test_edits_of_metadata_and_status_are_not_counted(scene: Scene) -> None:
    await scene.policy()
    signal = await scene.signal("Trouble", "pod-0")
    await scene.signals_come_to(FATE, [("Folded", "Counted")])
    where = ("Signal", signal["metadata"]["name"], scene.namespace)
    await scene.api.patch(*where, {"metadata": {"labels": {"a": "b"}}})
    await scene.api.patch(*where, {"metadata": {"annotations": {"note": "seen"}}})
    await scene.api.patch(*where, {"status": {"message": "mine"}}, subresource="status")
    await scene.api.patch(*where, {"spec": {"name": "Trouble"}})
    await scene.signal("Trouble", "pod-1")
    await scene.comes_to((1, "Settled", 2))


async def test_deleted_signal_stays_counted_and_one_of_its_name_counts_anew(scene: Scene) -> None:
    await scene.policy()
    signal = scene.manifest("Trouble", "pod-0")
    for total in (1, 2, 3):
        await scene.api.create(signal)
        await scene.requests_come_to("status.signals.total", [(total,)])
        await scene.api.delete("Signal", signal["metadata"]["name"], scene.namespace)
    [request] = await scene.comes_to((1, "Settled", 3))
    assert request["status"]["affectedResourceCount"] == 1


async def test_signals_that_are_deleted_at_once_are_counted_once_each(scene: Scene) -> None:
    await scene.policy()
    for number in range(20):
        signal = await scene.signal("Trouble", f"pod-{number}")
        await scene.api.delete("Signal", signal["metadata"]["name"], scene.namespace)
    await scene.comes_to((1, "Settled", 20))


async def test_counted_signals_are_deleted_after_retention(scene: Scene) -> None:
    await scene.policy(retention="1s")
    await scene.pods("Trouble", 12)
    await scene.comes_to((1, "Settled", 12))
    await scene.signals_come_to("metadata.name", [])
    await scene.comes_to((1, "Settled", 12))


async def test_discarded_signals_are_deleted_after_the_retention_of_their_policy(scene: Scene) -> None:
    await scene.policy(retention="1s", belowThreshold="Discard", threshold={"signals": 5, "within": "1s"})
    await scene.pods("Trouble", 3)
    await scene.signals_come_to("metadata.name", [])
    assert await scene.requests() == []


async def test_signal_that_changes_before_its_retention_is_over_stays_and_is_counted(scene: Scene) -> None:
    await scene.policy(retention="6s", priority=1, match={"names": ["Short"]})
    await scene.policy("long", retention="1h")
    signal = await scene.signal("Short", "pod-0")
    await scene.requests_come_to("status.signals.total", [(1,)])
    await scene.edit(signal, name="Long")
    await scene.requests_come_to(
        "spec.name status.phase status.signals.total", [("Long", "Settled", 1), ("Short", "Settled", 1)]
    )
    sure = await scene.signal("Short", "pod-1")
    await eventually(
        lambda: scene.api.get("Signal", sure["metadata"]["name"], scene.namespace),
        lambda seen: seen is None,
        within=30,
    )
    await scene.signals_come_to("spec.name", [("Long",)])


HOSTILE: list[dict[str, Any]] = [
    {"name": "Trouble", "target": {"kind": "Pod", "name": "a|b"}},
    {"name": "Trouble", "target": {"kind": "Pod|||", "name": "a"}},
    {"name": "Trouble", "target": {"apiVersion": "|" + "k" * 99, "kind": "Pod", "name": "a"}},
    {"name": "Trouble", "target": {"apiVersion": "v1|", "kind": "Pod", "name": "a"}},
    {"name": "Trouble", "target": {"kind": "~", "name": "~\x00\r\n"}},
    {"name": "Trouble", "labels": {"__proto__": "\x00", "a\x1fb": "\U0001f4a5"}, "fingerprint": "\x1f"},
]


async def test_control_characters_in_a_signal_harm_nobody(scene: Scene) -> None:
    await scene.policy()
    for spec in HOSTILE:
        await scene.signal(**spec)
    await scene.signal("\x00\x1f\N{BELL}", "pod-0")
    await scene.pods("Trouble", 1)
    found = await scene.requests_come_to(
        "status.phase status.signals.total status.affectedResourceCount",
        [("Settled", len(HOSTILE) + 1, 6), ("Settled", 1, 1)],
    )
    kinds = [r["kind"] for r in found[0]["status"]["resources"]]
    assert sorted(kinds) == ["Pod", "Pod", "Pod", "Pod", "Pod   ", "~"]


async def test_first_and_last_seen_are_when_the_signals_were_created(scene: Scene) -> None:
    await scene.policy()
    first = await scene.signal("Trouble", "pod-0", startsAt="2026-01-01T00:00:00Z")
    await scene.comes_to((1, "Settled", 1))
    last = await scene.signal("Trouble", "pod-1")
    await scene.requests_come_to(
        "status.phase status.firstSeen status.lastSeen",
        [("Settled", first["metadata"]["creationTimestamp"], last["metadata"]["creationTimestamp"])],
    )


async def test_request_says_which_signal_is_the_newest_that_it_counts(scene: Scene) -> None:
    await scene.policy()
    signals = await scene.pods("Trouble", 6)
    versions = [int(signal["metadata"]["resourceVersion"]) for signal in signals]
    counted = {"resourceVersion": str(max(versions))}
    await scene.requests_come_to(
        "status.phase status.signals.total status.continuation.countedSignals", [("Settled", 6, counted)]
    )


@pytest.mark.parametrize("count", [1, 30])
async def test_every_one_of_a_few_signals_says_where_it_went(scene: Scene, count: int) -> None:
    await scene.policy()
    await scene.pods("Trouble", count)
    [request] = await scene.comes_to((1, "Settled", count))
    name = request["metadata"]["name"]
    marked = await scene.signals_come_to(FATE, [("Folded", "Counted")] * count)
    assert (
        _statuses(marked)
        == [
            {
                "phase": "Folded",
                "reason": "Counted",
                "message": f"counted in RemediationRequest {scene.namespace}/{name}",
                "remediationRequest": {"namespace": scene.namespace, "name": name},
                "observedGeneration": 1,
            }
        ]
        * count
    )


async def test_ten_megabytes_of_labels_make_a_small_request(scene: Scene) -> None:
    await scene.policy(groupBy=["name", "labels." + "l0".ljust(128, "k")])
    labels = {f"l{n}".ljust(128, "k"): "\N{COLLISION SYMBOL}" * 256 for n in range(64)}
    await scene.api.create_all(
        [scene.manifest("Trouble", f"pod-{n}", labels=labels) for n in range(140)], at_once=10
    )
    [request] = await scene.requests_come_to(
        "group status.phase status.signals.total",
        [(("Trouble", "\N{COLLISION SYMBOL}" * 256), "Settled", 140)],
    )
    assert len(json.dumps(request, ensure_ascii=False).encode()) < 20_000


def _statuses(signals: list[Manifest]) -> list[Any]:
    return [signal["status"] for signal in signals]
