"""Signals into storms: what is counted, in which request, and what the request says of it."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import yaml
from tests.harness.eventually import eventually
from tests.harness.scene import Scene, at, rows

DEFAULT_POLICY = Path(__file__).parents[3] / "manifests" / "base" / "default-policy.yaml"
COUNTS = "group status.phase status.signals.total status.affectedResourceCount"


async def test_fifteen_signals_of_fifteen_pods_make_one_request_under_the_shipped_policy(
    scene: Scene,
) -> None:
    await scene.apply_policy(yaml.safe_load(DEFAULT_POLICY.read_text()))
    await scene.pods("KubePodCrashLooping", 15, severity="critical")
    [request] = await scene.requests_come_to("status.signals.total status.affectedResourceCount", [(15, 15)])
    folded = ("Folded", "Counted", request["metadata"]["name"])
    await scene.signals_come_to("status.phase status.reason status.remediationRequest.name", [folded] * 15)
    status = (await scene.comes_to((1, "Open", 15)))[0]["status"]
    assert status["signals"]["firing"] == 15
    assert [r["name"] for r in status["resources"]] == [f"pod-{n:05}" for n in range(15)]
    assert {r["signals"] for r in status["resources"]} == {1}
    assert at(request, "spec.policyRef.name") == "default"
    assert rows([{"status": status}], "status.severity status.truncated status.revision") == [
        ("critical", False, 1)
    ]
    assert {c["type"]: (c["status"], c["reason"]) for c in status["conditions"]} == {
        "StormDetected": ("True", "SignalThresholdReached"),
        "Settled": ("False", "SignalsArriving"),
        "Recovered": ("False", "StillFiring"),
        "Truncated": ("False", "WithinLimit"),
        "Closed": ("False", "NotClosed"),
        "Exact": ("True", "EachCountedOnce"),
        "Proceed": ("True", "NoGateApplies"),
    }


async def test_groups_below_the_threshold_get_a_request_that_says_it_is_no_storm(scene: Scene) -> None:
    await scene.policy(groupWait="2s")
    for count in (1, 2, 3, 4, 5):
        await scene.pods(f"Trouble{count}", count)
    detected = "status.conditions.StormDetected"
    found = await scene.requests_come_to(
        f"spec.name status.phase status.signals.total {detected}.status {detected}.reason",
        [(f"Trouble{n}", "Settled", n, "False", "BelowThreshold") for n in (1, 2, 3, 4)]
        + [("Trouble5", "Settled", 5, "True", "SignalThresholdReached")],
    )
    assert rows(found, f"{detected}.message") == [
        ("no storm: 1 signal, threshold 5 within 60 s",),
        ("no storm: 2 signals, threshold 5 within 60 s",),
        ("no storm: 3 signals, threshold 5 within 60 s",),
        ("no storm: 4 signals, threshold 5 within 60 s",),
        ("5 signals came within 60 s",),
    ]


async def test_groups_below_the_threshold_are_discarded_if_the_policy_says_so(scene: Scene) -> None:
    await scene.policy(belowThreshold="Discard", threshold={"signals": 5, "within": "2s"})
    expected = []
    for count in (1, 2, 3, 4):
        await scene.pods(f"Trouble{count}", count)
        noun = "signal" if count == 1 else "signals"
        message = f"{count} {noun}, threshold 5 within 2 s"
        expected += [("Discarded", "BelowThreshold", message, None)] * count
    await scene.signals_come_to(
        "status.phase status.reason status.message status.remediationRequest", expected
    )
    assert await scene.requests() == []


async def test_discarding_policy_makes_one_request_at_the_threshold(scene: Scene) -> None:
    await scene.policy(belowThreshold="Discard", threshold={"signals": 5, "within": "1m"})
    await scene.pods("Trouble", 4)
    await scene.pods("Barrier", 5)
    await scene.requests_come_to("spec.name status.signals.total", [("Barrier", 5)])
    await scene.pods("Trouble", 1, first=4)
    await scene.requests_come_to(COUNTS, _settled(("Barrier", 5, 5), ("Trouble", 5, 5), of=scene))


async def test_group_that_was_discarded_may_become_a_storm_later(scene: Scene) -> None:
    await scene.policy(belowThreshold="Discard", threshold={"signals": 3, "within": "1s"})
    await scene.pods("Trouble", 2)
    await scene.signals_come_to("status.phase", [("Discarded",)] * 2)
    await scene.pods("Trouble", 3)
    await scene.comes_to((1, "Settled", 3))


async def test_signals_after_the_request_was_made_reach_its_status_one_by_one_and_in_bursts(
    scene: Scene,
) -> None:
    await scene.policy()
    await scene.pods("Trouble", 5)
    [first] = await scene.requests_come_to("status.signals.total", [(5,)])
    for number in range(5, 8):
        await scene.pods("Trouble", 1, first=number)
        await scene.requests_come_to("status.signals.total", [(number + 1,)])
    await scene.pods("Trouble", 40, first=8)
    await scene.pods("Trouble", 2, first=48)
    [last] = await scene.requests_come_to(COUNTS, _settled(("Trouble", 50, 50), of=scene))
    assert last["spec"] == first["spec"]
    assert last["metadata"]["uid"] == first["metadata"]["uid"]


async def test_four_signals_of_one_pod_count_four_times_and_name_one_resource(scene: Scene) -> None:
    await scene.policy()
    for _ in range(4):
        await scene.signal("Trouble", "pod-0")
    [request] = await scene.requests_come_to(COUNTS, _settled(("Trouble", 4, 1), of=scene))
    assert request["status"]["signals"]["firing"] == 1
    assert request["status"]["resources"] == [
        {"apiVersion": "v1", "kind": "Pod", "name": "pod-0", "signals": 4}
    ]


async def test_signal_whose_spec_is_edited_three_times_counts_four_times(scene: Scene) -> None:
    await scene.policy()
    signal = await scene.signal("Trouble", "pod-0")
    for number in (2, 3, 4):
        await scene.requests_come_to("status.signals.total", [(number - 1,)])
        signal = await scene.edit(signal, annotations={"edit": str(number)})
    [request] = await scene.requests_come_to(COUNTS, _settled(("Trouble", 4, 1), of=scene))
    await scene.signals_come_to(
        "status.phase status.observedGeneration status.remediationRequest.name",
        [("Folded", 4, request["metadata"]["name"])],
    )


async def test_storm_of_fifteen_hundred_pods_lists_the_first_and_estimates_the_rest(scene: Scene) -> None:
    await scene.policy(limits={"resources": 25})
    await scene.pods("Trouble", 1500)
    [request] = await scene.requests_come_to(
        "status.phase status.signals.total status.truncated", [("Settled", 1500, True)]
    )
    status = request["status"]
    assert len(status["resources"]) == 25
    assert abs(status["affectedResourceCount"] - 1500) <= 1500 * 0.0243  # three standard errors
    assert status["affectedResourceCountPrecision"] == "Approximate"
    truncated = at(status, "conditions.Truncated")
    assert (truncated["status"], truncated["reason"], truncated["message"]) == (
        "True",
        "ResourceLimitReached",
        f"25 of about {status['affectedResourceCount']} resources listed",
    )


async def test_resources_are_exact_up_to_the_limit_and_those_with_most_signals_come_first(
    scene: Scene,
) -> None:
    await scene.policy(limits={"resources": 3})
    for pod, times in (("one", 1), ("three", 3), ("two", 2)):
        for _ in range(times):
            await scene.signal("Trouble", pod)
    [request] = await scene.requests_come_to(COUNTS, _settled(("Trouble", 6, 3), of=scene))
    status = request["status"]
    listed = [(r["name"], r["signals"]) for r in status["resources"]]
    assert listed == [("three", 3), ("two", 2), ("one", 1)]
    assert (status["truncated"], status["affectedResourceCountPrecision"]) == (False, "Exact")


async def test_resources_of_every_kind_are_told_apart(scene: Scene) -> None:
    await scene.policy()
    targets: list[dict[str, Any]] = [
        {"kind": "Node", "name": "web"},
        {"kind": "Pod", "name": "web"},
        {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        {"apiVersion": "example.com/v1", "kind": "Deployment", "name": "web"},
    ]
    for target in targets:
        await scene.signal("Trouble", target=target)
    await scene.signal("Trouble")
    [request] = await scene.requests_come_to(COUNTS, _settled(("Trouble", 5, 4), of=scene))
    listed = request["status"]["resources"]
    assert sorted(listed, key=str) == sorted(
        ({"apiVersion": "v1", **target, "signals": 1} for target in targets), key=str
    )


async def test_threshold_on_resources_counts_targets_and_not_signals(scene: Scene) -> None:
    await scene.policy(threshold={"signals": 100, "resources": 3, "within": "1m"})
    for _ in range(4):
        await scene.signal("Same", "pod-0")
    await scene.pods("Spread", 3)
    detected = "status.conditions.StormDetected"
    await scene.requests_come_to(
        f"spec.name status.phase status.signals.total {detected}.status {detected}.reason {detected}.message",
        [
            (
                "Same",
                "Settled",
                4,
                "False",
                "BelowThreshold",
                "no storm: 4 signals, threshold 100; 1 resource, threshold 3 within 60 s",
            ),
            ("Spread", "Settled", 3, "True", "ResourceThresholdReached", "3 resources affected within 60 s"),
        ],
    )


async def test_storms_that_run_at_the_same_time_do_not_mix(scene: Scene) -> None:
    await scene.policy()
    names = [f"Trouble{n}" for n in range(6)]
    await scene.api.create_all(
        [scene.manifest(name, f"pod-{n}") for n, name in itertools.product(range(30), names)]
    )
    await scene.requests_come_to(COUNTS, _settled(*((name, 30, 30) for name in names), of=scene))


async def test_firing_then_resolved_is_followed_until_all_have_recovered(scene: Scene) -> None:
    await scene.policy()
    signals = await scene.pods("Trouble", 3)
    says = (
        "status.signals.total status.signals.firing status.signals.resolved "
        "status.conditions.Recovered.status status.conditions.Recovered.reason"
    )
    await scene.requests_come_to(says, [(3, 3, 0, "False", "StillFiring")])
    await scene.edit(signals[0], state="Resolved")
    await scene.signal("Trouble", "pod-00001", state="Resolved")
    await scene.requests_come_to(says, [(5, 1, 2, "False", "StillFiring")])
    await scene.edit(signals[2], state="Resolved")
    await scene.requests_come_to(says, [(6, 0, 3, "True", "AllResolved")])
    await scene.signal("Trouble", "pod-00002")
    [request] = await scene.requests_come_to(says, [(7, 1, 2, "False", "StillFiring")])
    assert request["status"]["affectedResourceCount"] == 3


async def test_fingerprints_tell_instances_apart_whatever_their_targets(scene: Scene) -> None:
    await scene.policy()
    await scene.signal("Trouble", "pod-0", fingerprint="a")
    await scene.signal("Trouble", "pod-0", fingerprint="b")
    await scene.signal("Trouble", "pod-1", fingerprint="a", state="Resolved")
    await scene.requests_come_to(
        "status.phase status.signals.total status.signals.firing status.signals.resolved",
        [("Settled", 3, 1, 1)],
    )


async def test_resolved_signal_that_comes_first_is_counted_with_the_firing_one(scene: Scene) -> None:
    await scene.policy(threshold={"signals": 1, "within": "1m"})
    await scene.signal("Trouble", "pod-0", state="Resolved")
    await scene.signal("Barrier", "pod-0")
    await scene.requests_come_to("spec.name status.signals.total", [("Barrier", 1)])
    await scene.signal("Trouble", "pod-1")
    await scene.requests_come_to(
        "spec.name status.phase status.signals.total status.signals.firing status.signals.resolved",
        [("Barrier", "Settled", 1, 1, 0), ("Trouble", "Settled", 2, 1, 1)],
    )


async def test_resolved_signals_alone_make_no_request(scene: Scene) -> None:
    await scene.policy(threshold={"signals": 1, "within": "1s"})
    await scene.pods("Trouble", 2, state="Resolved")
    message = "2 signals said Resolved, and no signal of the group said Firing"
    await scene.signals_come_to(
        "status.phase status.reason status.message", [("Discarded", "NothingFiring", message)] * 2
    )
    assert await scene.requests() == []


async def test_severity_of_a_storm_only_rises(scene: Scene) -> None:
    await scene.policy()
    seen = []
    for total, severity in enumerate(("info", "warning", "unknown", "critical", "high"), 1):
        await scene.signal("Trouble", "pod-0", severity=severity)
        [request] = await scene.requests_come_to("status.signals.total", [(total,)])
        seen.append(request["status"]["severity"])
    assert seen == ["info", "warning", "warning", "critical", "critical"]
    assert request["spec"]["severity"] == "info"


async def test_request_is_written_at_most_once_a_second(scene: Scene) -> None:
    await scene.policy(window={"idle": "1s"})
    versions: set[str] = set()

    async def read() -> tuple[str, int]:
        [request] = await scene.requests() or [{"metadata": {}, "status": {}}]
        versions.add(at(request, "metadata.resourceVersion"))
        return at(request, "status.phase"), at(request, "status.signals.total")

    for number in range(40):
        await scene.pods("Trouble", 1, first=number)
        await read()
    await eventually(read, lambda seen: seen == ("Settled", 40), within=30)
    [request] = await scene.requests()
    seconds = _seconds_between(request["metadata"]["creationTimestamp"], _transition(request, "Settled"))
    # Made, then one write at once, then one a second, and the second in which it was made is cut off.
    assert len(versions - {None}) <= seconds + 3


def _transition(request: dict[str, Any], condition: str) -> str:
    return str(at(request, f"status.conditions.{condition}.lastTransitionTime"))


def _seconds_between(earlier: str, later: str) -> float:
    first, last = (yaml.safe_load(moment) for moment in (earlier, later))
    return float((last - first).total_seconds())


def _settled(*groups: tuple[str, int, int], of: Scene) -> list[tuple[Any, ...]]:
    return [((name, of.namespace), "Settled", total, resources) for name, total, resources in groups]
