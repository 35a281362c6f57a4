"""What a request shows of its signals: from the Signal, the alert or the Event to the status."""

from __future__ import annotations

import json
from typing import Any

from tests.api.conftest import NewOperator
from tests.harness.api import Api
from tests.harness.scene import Scene

from lab.valkey import Valkey

HOSTILE = "\x1b[31mdown\x1b[0m\nnow \u202e<script>alert(1)</script> [x](javascript:alert(1))"
HARMLESS = "down now ‹script>alert(1)‹/script> [x](javascript :alert(1))"


def pods_of(request: dict[str, Any]) -> list[str]:
    """The pods that the samples are about."""
    return [sample["target"]["name"] for sample in request["status"].get("samples", [])]


async def test_request_shows_its_first_three_and_latest_two_signals(scene: Scene) -> None:
    await scene.policy()
    annotations = {"summary": "It is down.", "runbook_url": "https://runbooks.example/Trouble"}
    for number in range(6):
        await scene.signal(
            "Trouble",
            f"pod-{number}",
            severity="high",
            labels={"app": "web"},
            annotations=annotations,
            startsAt="2026-01-01T00:00:00Z",
        )
    [request] = await scene.comes_to((1, "Settled", 6))
    assert pods_of(request) == ["pod-0", "pod-1", "pod-2", "pod-4", "pod-5"]
    status = request["status"]
    assert status["startedAt"] == "2026-01-01T00:00:00Z"
    assert status["commonLabels"] == {"app": "web"}
    assert status["commonAnnotations"] == annotations
    assert status["runbookURLs"] == ["https://runbooks.example/Trouble"]
    assert status["samples"][0] == {
        "name": "Trouble",
        "severity": "high",
        "target": {"apiVersion": "v1", "kind": "Pod", "name": "pod-0"},
        "startsAt": "2026-01-01T00:00:00Z",
        "labels": {"app": "web"},
        "summary": "It is down.",
        "runbookURL": "https://runbooks.example/Trouble",
    }


async def test_samples_go_on_from_the_request_when_redis_has_lost_them(
    scene: Scene, shared_valkey: Valkey
) -> None:
    await scene.policy()
    for number in range(4):
        await scene.signal("Trouble", f"pod-{number}")
    await scene.requests_come_to("status.signals.total", [(4,)])
    shared_valkey.command("FLUSHALL")
    for number in range(4, 6):
        await scene.signal("Trouble", f"pod-{number}")
    [request] = await scene.comes_to((1, "Settled", 6))
    assert pods_of(request) == ["pod-0", "pod-1", "pod-2", "pod-4", "pod-5"]


async def test_request_that_is_deleted_and_made_again_shows_what_it_had_shown(scene: Scene) -> None:
    await scene.policy()
    await scene.pods("Trouble", 3)
    [request] = await scene.comes_to((1, "Settled", 3))
    before = pods_of(request)
    metadata = request["metadata"]
    await scene.api.delete("RemediationRequest", metadata["name"], metadata["namespace"])
    [again] = await scene.comes_to((1, "Settled", 3))
    assert again["metadata"]["uid"] != metadata["uid"]
    assert pods_of(again) == before


async def test_what_is_common_becomes_less_also_when_redis_has_lost_it(
    scene: Scene, shared_valkey: Valkey
) -> None:
    await scene.policy()
    began = "2026-01-01T00:00:00Z"
    await scene.signal("Trouble", "pod-0", labels={"a": "1", "b": "1", "c": "1"}, startsAt=began)
    [request] = await scene.comes_to((1, "Settled", 1))
    assert request["status"]["commonLabels"] == {"a": "1", "b": "1", "c": "1"}
    await scene.signal("Trouble", "pod-1", labels={"a": "1", "b": "1", "d": "1"})
    [request] = await scene.comes_to((1, "Settled", 2))
    assert request["status"]["commonLabels"] == {"a": "1", "b": "1"}
    shared_valkey.command("FLUSHALL")
    await scene.signal("Trouble", "pod-2", labels={"a": "1", "b": "2", "c": "1"})
    [request] = await scene.comes_to((1, "Settled", 3))
    assert request["status"]["commonLabels"] == {"a": "1"}
    assert request["status"]["startedAt"] == began


async def test_hostile_texts_are_shown_harmless_and_lose_nothing(scene: Scene) -> None:
    await scene.policy()
    annotations = {
        "summary": HOSTILE,
        "description": "x" * 4096,
        "runbook_url": "javascript:alert(1)",
        "dashboard_url": "https://admin:hunter2@grafana.example/",
    }
    await scene.signal("Trouble", "pod-0", labels={"why": HOSTILE}, annotations=annotations)
    [request] = await scene.comes_to((1, "Settled", 1))
    [sample] = request["status"]["samples"]
    assert (sample["summary"], sample["labels"]) == (HARMLESS, {"why": HARMLESS})
    assert (len(sample["description"]), sample["description"][-1], sample["truncated"]) == (1024, "…", True)
    assert not sample.keys() & {"runbookURL", "dashboardURL"}


async def test_secrets_are_in_no_request_whatever_the_globs_say(scene: Scene) -> None:
    secret = {"api_token": "hunter2", "password": "hunter2", "client-secret": "hunter2", "ssh_key": "hunter2"}
    globs = ["*", *secret]
    await scene.policy(evidence={"labels": globs, "annotations": globs})
    await scene.signal("Trouble", "pod-0", labels=secret | {"app": "web"}, annotations=secret)
    [request] = await scene.comes_to((1, "Settled", 1))
    assert request["status"]["samples"][0]["labels"] == {"app": "web"}
    assert "hunter2" not in str(request)


async def test_request_elsewhere_shows_nothing_of_signals_unless_the_cluster_policy_says_so(
    scene: Scene,
) -> None:
    elsewhere = await scene.another_namespace()
    policy: dict[str, Any] = {"groupBy": ["name"], "requestNamespace": elsewhere}
    shown = {"labels": {"app": "web", "tenant": "shop"}, "annotations": {"summary": "It is down."}}
    names = [f"{scene.namespace}-{way}" for way in ("silent", "open")]
    await scene.cluster_policy(names[0], match={"names": ["Silent"]}, **policy)
    evidence = {"samples": 1, "labels": ["app"]}
    await scene.cluster_policy(names[1], match={"names": ["Open"]}, evidence=evidence, **policy)
    await scene.signal("Silent", "pod-0", **shown)
    await scene.signal("Open", "pod-0", **shown)
    opened, silent = await scene.comes_to((1, "Settled", 1), (1, "Settled", 1), namespace=elsewhere)
    assert silent["status"].keys().isdisjoint(("samples", "commonLabels", "commonAnnotations", "runbookURLs"))
    [sample] = opened["status"]["samples"]
    assert sample["labels"] == {"app": "web"}
    assert opened["status"]["commonLabels"] == {"app": "web"}
    assert "It is down." not in str(opened["status"])


async def test_alert_shows_where_it_was_made(
    operator: NewOperator, api: Api, namespace: str, tmp_path: Any
) -> None:
    (tmp_path / "secret").write_text("0123456789abcdef")
    process = await operator(webhook_token_file=tmp_path / "secret")
    scene = Scene(api, namespace, process)
    await scene.policy()
    await process.obeys(1)
    alert = {
        "status": "firing",
        "labels": {"alertname": "PodDown", "namespace": namespace, "pod": "web-0"},
        "annotations": {"description": "Pod web-0 is down."},
        "startsAt": "2026-01-01T00:00:00Z",
        "generatorURL": "http://prometheus/graph?g0.expr=up",
        "dashboardURL": "https://grafana.example/d/1",
    }
    code, _ = await process.post_alerts({"version": "4", "alerts": [alert]}, token="0123456789abcdef")
    assert code == 200
    [request] = await scene.requests_come_to("status.signals.total", [(1,)])
    [sample] = request["status"]["samples"]
    assert {key: sample[key] for key in ("description", "generatorURL", "dashboardURL", "startsAt")} == {
        "description": "Pod web-0 is down.",
        "generatorURL": "http://prometheus/graph?g0.expr=up",
        "dashboardURL": "https://grafana.example/d/1",
        "startsAt": "2026-01-01T00:00:00Z",
    }


async def test_request_of_several_names_says_which_and_how_often(scene: Scene) -> None:
    await scene.policy(groupBy=["labels.node"])
    node = {"labels": {"node": "worker-7"}}
    await scene.pods("KubePodNotReady", 5, **node)
    await scene.pods("KubePodCrashLooping", 3, first=5, **node)
    await scene.pods("KubeNodeNotReady", 1, **node)
    [request] = await scene.comes_to((1, "Settled", 9))
    names = "KubePodNotReady 5, KubePodCrashLooping 3, KubeNodeNotReady 1"
    assert request["status"]["summary"] == f"9 signals on 8 pods: {names}; all share node worker-7"
    assert request["status"]["signalNames"] == [
        {"name": "KubePodNotReady", "signals": 5},
        {"name": "KubePodCrashLooping", "signals": 3},
        {"name": "KubeNodeNotReady", "signals": 1},
    ]


async def test_names_go_on_from_the_request_when_redis_has_lost_them(
    scene: Scene, shared_valkey: Valkey
) -> None:
    await scene.policy(groupBy=["namespace"])
    await scene.pods("A", 3)
    await scene.pods("B", 2, first=3)
    await scene.requests_come_to("status.signals.total", [(5,)])
    shared_valkey.command("FLUSHALL")
    await scene.pods("B", 2, first=5)
    await scene.pods("C", 1, first=7)
    [request] = await scene.comes_to((1, "Settled", 8))
    assert request["status"]["signalNames"] == [
        {"name": "B", "signals": 4},
        {"name": "A", "signals": 3},
        {"name": "C", "signals": 1},
    ]


async def test_storm_of_many_names_has_a_small_status(scene: Scene) -> None:
    await scene.policy(groupBy=["source"], threshold={"signals": 1})
    labels = {f"label-{number:02}": "x" * 256 for number in range(16)}
    annotations = {"summary": "y" * 600, "description": "z" * 4000, "runbook_url": f"https://r/{'u' * 600}"}
    for number in range(150):
        name = f"Alert-{number:04}-{'n' * 100}"
        await scene.signal(name, f"pod-{number:04}", labels=labels, annotations=annotations)
    [request] = await scene.comes_to((1, "Settled", 150))
    status = request["status"]
    assert len(json.dumps(status, separators=(",", ":")).encode()) <= 16 * 1024
    assert len(status["signalNames"]) == 10
    assert all(name["signals"] == 1 and name["approximate"] for name in status["signalNames"])
    assert len(status["summary"]) <= 256
    assert status["summary"].startswith("150 signals on about ")
