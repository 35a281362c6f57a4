"""What people write who may write little, and mean harm: it harms nobody but them, and says no more than it
must."""

from __future__ import annotations

import json
from typing import Any

from tests.api.conftest import NewOperator
from tests.harness.api import STORMFOLD, Api
from tests.harness.eventually import eventually
from tests.harness.operator import OperatorProcess
from tests.harness.resources import storm_policy
from tests.harness.scene import QUICK, Scene, at

from lab.valkey import Valkey
from stormfold.watches.policy import MAX_POLICIES

ENVIRONMENT = {"STORMFOLD_LOG_LEVEL": "DEBUG"}
LEVELS = 5_000
"""Deeper than Python's JSON reader, orjson and jiter go, and half of what the API server takes."""
FLOOD = 20
"""Signals, each with words of its own."""
WORD = "hunter2"
"""What must be found nowhere."""


def made_deep(manifest: dict[str, Any]) -> bytes:
    """The manifest with managedFields of somebody's own, nested deep, as a creator may write them."""
    fields = '{"f:a":' * LEVELS + "{}" + "}" * LEVELS
    entry = {
        "manager": "somebody",
        "operation": "Update",
        "apiVersion": manifest["apiVersion"],
        "time": "2020-01-01T00:00:00Z",
        "fieldsType": "FieldsV1",
        "fieldsV1": "HERE",
    }
    manifest = manifest | {"metadata": manifest["metadata"] | {"managedFields": [entry]}}
    return json.dumps(manifest).replace('"HERE"', fields).encode()


async def test_objects_that_are_nested_too_deep_hide_nothing_and_end_no_watch(
    operator: NewOperator, api: Api, namespace: str
) -> None:
    process = await operator(start=False)
    scene = Scene(api, namespace, process)
    ours = f"{STORMFOLD}/namespaces/{namespace}"

    async def report(pod: str) -> None:
        await api.request("POST", f"{ours}/signals", made_deep(scene.manifest("Trouble", pod)))

    policy = storm_policy(namespace, "team", QUICK)
    await api.request("POST", f"{ours}/stormpolicies", made_deep(policy))
    await report("listed")
    await process.start()
    [request] = await scene.comes_to((1, "Settled", 1))
    await report("watched")
    await scene.comes_to((1, "Settled", 2))
    status = f"{ours}/remediationrequests/{request['metadata']['name']}/status"
    for phase in ("Running", "Succeeded"):
        change = json.dumps({"status": {"remediation": {"phase": phase, "deep": "HERE"}}})
        deep = change.replace('"HERE"', "[" * LEVELS + "]" * LEVELS).encode()
        await api.request("PATCH", status, deep, content_type="application/merge-patch+json")
        if phase == "Running":
            await process.restart()
            await report("after a restart")
            await scene.comes_to((1, "Settled", 3))
    # kopf has read it too.
    await scene.comes_to((1, "Closed", 3))
    assert (await process.metrics()).total("stormfold_kopf_restarts_total") == 0


async def told(api: Api, valkey: Valkey, process: OperatorProcess) -> dict[str, str]:
    """All that stormfold says of what it was told, by where."""
    redis = []
    keys = valkey.command("KEYS", "*")
    assert isinstance(keys, list)
    for key in keys:
        assert isinstance(key, str)
        commands: dict[object, tuple[str | int, ...]] = {
            "hash": ("HGETALL", key),
            "string": ("GET", key),
            "set": ("SMEMBERS", key),
            "zset": ("ZRANGE", key, 0, -1),
        }
        redis.append(str(valkey.command(*commands[valkey.command("TYPE", key)])))
    signals = await api.list("Signal")
    return {
        "requests": json.dumps(await api.list("RemediationRequest")),
        "status of Signals": json.dumps([signal.get("status") for signal in signals]),
        "Events": json.dumps(await api.list("Event")),
        "Redis": "".join(redis),
        "log": process.log.read_text(),
        "metrics": (await process.get("/metrics"))[1],
    }


async def test_annotations_and_tokens_are_told_nowhere(
    operator: NewOperator, api: Api, namespace: str, valkey: Valkey
) -> None:
    process = await operator(environment=ENVIRONMENT)
    scene = Scene(api, namespace, process)
    await scene.policy()
    for name, target in (("Trouble", None), ("Rejected", {"namespace": "kube-system"})):
        signal = scene.manifest(name, "pod-0", annotations={"password": WORD, f"{WORD}-token": "key"})
        signal["metadata"]["annotations"] = {"mine": WORD}
        signal["metadata"]["labels"] = {"mine": WORD}
        if target:
            signal["spec"]["target"] |= target
        await api.create(signal)
    alert = {
        "status": "firing",
        "labels": {"alertname": "Posted", "namespace": namespace},
        "annotations": {"password": WORD},
        "startsAt": "2026-01-01T00:00:00Z",
        "generatorURL": f"http://{WORD}@prometheus",
    }
    for token in (WORD, f"{WORD} {WORD}", f"ey.{WORD}.x"):
        code, _ = await process.post_alerts({"version": "4", "alerts": [alert]}, token=token)
        assert code == 401
    [request] = await scene.comes_to((1, "Settled", 1))
    await scene.signals_come_to("status.phase", [("Folded",), ("Rejected",)])
    # The API server shows a write before the operator hears of it, and logs it.
    group_hash = request["spec"]["groupHash"]
    await eventually(process.log.read_text, lambda log: group_hash in log, what="the storm is logged")
    found = await told(api, valkey, process)
    assert [where for where, text in found.items() if WORD in text] == []
    assert all("Trouble" in found[where] for where in ("requests", "Redis"))


async def test_nothing_that_a_sender_writes_becomes_a_series(scene: Scene) -> None:
    await scene.policy()

    async def flood(first: int) -> set[str]:
        for number in range(first, first + FLOOD):
            word = f"{WORD}-{number}"
            target = {"apiVersion": f"{word}/v1", "kind": word, "name": word}
            await scene.signal(
                word, source=word, labels={word: word}, fingerprint=word, target=target, severity="critical"
            )
            await scene.signal(word, target=target | {"namespace": "kube-system"}, source=word)
        await eventually(
            scene.requests,
            lambda found: [at(r, "status.signals.total") for r in found] == [1] * (first + FLOOD),
            within=40,
        )
        samples = (await scene.operator.metrics()).samples
        return {f"{name} {labels}" for name, labels, _ in samples if not name.endswith("_bucket")}

    once, twice = await flood(0), await flood(FLOOD)
    # What happens by chance, as a conflict, may have its first sample in the second one.
    assert len(twice - once) < FLOOD
    assert [series for series in twice if WORD in series] == []


async def test_what_a_sender_writes_is_no_line_of_the_log_and_no_word_for_a_terminal(scene: Scene) -> None:
    await scene.policy()
    hostile = '\n{"level":"CRITICAL","message":"forged"}\r\x1b[2J\u202e\u2028'
    await scene.signal("Trouble" + hostile, source=hostile[:40], labels={"l" + hostile[:40]: hostile})
    await scene.signal("Trouble", target={"kind": hostile[:60], "name": hostile, "namespace": "kube-system"})
    await scene.comes_to((1, "Settled", 1))
    await scene.signals_come_to("status.phase", [("Folded",), ("Rejected",)])
    lines = scene.operator.log.read_text().splitlines()
    assert lines
    for line in lines:
        assert line.isascii()
        assert line.isprintable()
        assert json.loads(line)["message"] != "forged"


async def test_consumer_that_forges_a_whole_status_loses_no_later_signal_and_stops_no_other_storm(
    scene: Scene,
) -> None:
    await scene.policy()
    await scene.pods("Forged", 2)
    await scene.pods("Other", 2)
    forged, _ = await scene.requests_come_to(
        "spec.name status.phase status.signals.total", [("Forged", "Settled", 2), ("Other", "Settled", 2)]
    )
    metadata = forged["metadata"]
    lies = {
        "phase": "Closed",
        "signals": {"total": 2**53 - 1, "firing": 0},
        "firstSeen": "0001-01-01T00:00:00Z",
        "lastSeen": "9999-12-31T23:59:59Z",
        "deadlines": None,
        "conditions": [],
        "continuation": {"incarnation": "forged", "origin": "forged:7", "folded": 2**53 - 1},
    }
    await scene.api.patch(
        "RemediationRequest", metadata["name"], metadata["namespace"], {"status": lies}, subresource="status"
    )
    await scene.pods("Forged", 3, first=2)
    await scene.pods("Other", 3, first=2)
    await scene.requests_come_to(
        "spec.name spec.epoch status.phase status.signals.total",
        [
            ("Forged", 1, "Closed", 2**53 - 1),
            ("Forged", 2, "Settled", 3),
            ("Other", 1, "Settled", 5),
        ],
    )


async def test_flood_of_policies_governs_no_more_than_so_many_and_says_so(scene: Scene) -> None:
    for number in range(MAX_POLICIES):
        terms = QUICK | {"priority": 1, "match": {"names": ["No*"]}}
        await scene.api.create(storm_policy(scene.namespace, f"p-{number:03}", terms))
    last = await scene.policy("last", accepted=False)
    assert at(last, "status.conditions.Accepted.reason") == "TooManyPolicies"
    elsewhere = await scene.another_namespace()
    await scene.policy(namespace=elsewhere)
    await scene.pods("Trouble", 1, namespace=elsewhere)
    await scene.comes_to((1, "Settled", 1), namespace=elsewhere)
    await scene.api.delete("StormPolicy", "p-000", scene.namespace)
    await scene.judged(last)
