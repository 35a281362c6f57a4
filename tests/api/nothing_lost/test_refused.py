"""The API server refuses our requests for long: people read why in its words, and when it is over nothing is
lost."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.api.conftest import NewOperator
from tests.harness.api import Api, ApiError, Manifest
from tests.harness.eventually import eventually
from tests.harness.operator import OperatorProcess
from tests.harness.scene import Scene

from stormfold.request.backoff import LONGEST_SECONDS

TOKEN = "sixteen characters at least"
QUOTA = "count/remediationrequests.stormfold.dev"
FAILED = "stormfold_storms_failed_total"
WRITES = "stormfold_request_writes_total"
REFUSED_GROUPS = 100
LONE_TRIES = 10
"""Of groups that were refused before: more than there can be in two minutes, by the waits between them."""
Lift = Callable[[], Awaitable[Any]]


async def quota(api: Api, namespace: str) -> Lift:
    """A ResourceQuota that leaves no room, with the status that a controller-manager would give it."""
    path = f"/api/v1/namespaces/{namespace}/resourcequotas"
    hard = {QUOTA: "0"}
    made = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "tight"},
        "spec": {"hard": hard},
    }
    found = await api.request("POST", path, made)
    status = {"hard": hard, "used": {QUOTA: "0"}}
    await api.request("PUT", f"{path}/tight/status", found | {"status": status})
    return lambda: api.request("DELETE", f"{path}/tight")


async def policy(api: Api, namespace: str) -> Lift:
    """A ValidatingAdmissionPolicy that takes no requests in a namespace."""
    group = "/apis/admissionregistration.k8s.io/v1"
    name = f"frozen-{namespace}"
    made: Manifest = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": {
                "resourceRules": [
                    {
                        "apiGroups": ["stormfold.dev"],
                        "apiVersions": ["*"],
                        "operations": ["CREATE", "UPDATE"],
                        "resources": ["remediationrequests", "remediationrequests/status"],
                    },
                    {
                        "apiGroups": [""],
                        "apiVersions": ["*"],
                        "operations": ["CREATE"],
                        "resources": ["configmaps"],
                    },
                ],
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
            },
            "validations": [{"expression": "false", "message": "change freeze until Monday"}],
        },
    }
    binding = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Deny"]},
    }
    await api.request("POST", f"{group}/validatingadmissionpolicies", made)
    await api.request("POST", f"{group}/validatingadmissionpolicybindings", binding)
    # A ConfigMap tells that it is in force: the schema of a request would have its say before.
    probe: Manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "probe-"}}

    async def denied() -> str:
        try:
            await api.request("POST", f"/api/v1/namespaces/{namespace}/configmaps", probe)
        except ApiError as error:
            return str(error)
        return ""

    await eventually(denied, lambda said: "change freeze" in said, within=30, what="the policy is in force")

    async def lift() -> None:
        await api.request("DELETE", f"{group}/validatingadmissionpolicybindings/{name}")
        await api.request("DELETE", f"{group}/validatingadmissionpolicies/{name}")

    return lift


async def deletion(api: Api, namespace: str) -> Lift:
    """The namespace is being deleted, and something holds that up; then it goes, and is made again."""
    await api.patch("Namespace", namespace, None, {"metadata": {"finalizers": ["example.org/hangs"]}})
    await api.delete("Namespace", namespace)

    async def lift() -> None:
        await api.patch("Namespace", namespace, None, {"metadata": {"finalizers": None}})
        found = await api.get("Namespace", namespace)
        assert found is not None
        found["spec"]["finalizers"] = []
        await api.request("PUT", f"/api/v1/namespaces/{namespace}/finalize", found)
        await eventually(
            lambda: api.get("Namespace", namespace), lambda seen: seen is None, what="it is gone"
        )
        await api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})

    return lift


REFUSALS = [
    pytest.param(
        quota,
        rf"exceeded quota: tight, requested: {QUOTA}=1, used: {QUOTA}=0, limited: {QUOTA}=0",
        id="quota",
    ),
    pytest.param(policy, "denied request: change freeze until Monday", id="admission policy"),
    pytest.param(deletion, "because it is being terminated", id="namespace being deleted"),
]


@pytest.fixture
async def process(operator: NewOperator, tmp_path: Path) -> OperatorProcess:
    """An operator that takes alerts of everybody with `TOKEN`, for up to two seconds."""
    token = tmp_path / "token"
    token.write_text(TOKEN)
    return await operator(webhook_token_file=token, environment={"STORMFOLD_WEBHOOK_WAIT_SECONDS": "2"})


def lines_about(process: OperatorProcess, words: str) -> list[str]:
    return [str(line["error"]) for line in process.log_lines() if words in str(line.get("error"))]


@pytest.mark.parametrize(("refuse", "words"), REFUSALS)
async def test_refusal_is_told_in_the_api_servers_words_and_when_it_is_over_nothing_is_lost(
    refuse: Callable[[Api, str], Awaitable[Lift]],
    words: str,
    api: Api,
    namespace: str,
    process: OperatorProcess,
) -> None:
    scene = Scene(api, namespace, process)
    requests = await scene.another_namespace()
    await scene.cluster_policy("elsewhere", groupBy=["name"], requestNamespace=requests)
    try:
        lift = await refuse(api, requests)
        await scene.pods("Trouble", 3)
        alert = {
            "status": "firing",
            "labels": {"alertname": "Trouble", "namespace": namespace, "pod": "pod-9", "severity": "high"},
            "startsAt": "2026-01-01T00:00:00Z",
        }
        body = {"version": "4", "alerts": [alert]}

        async def posted() -> tuple[int, Any]:
            return await process.post_alerts(body, token=TOKEN)

        status, answer = await posted()
        assert (status, answer["reason"]) == (503, "NotDurableInTime")
        said = rf"RemediationRequest {requests}/storm-[0-9a-f]{{16}}-1 is not written: .*{re.escape(words)}"
        assert re.search(said, answer["message"]), answer

        async def warnings() -> list[Manifest]:
            events = await api.list("Event", namespace)
            return [event for event in events if event["reason"] == "RequestRefused"]

        [event] = await eventually(warnings, what="a Signal of the group says why")
        assert (event["type"], event["involvedObject"]["kind"]) == ("Warning", "Signal")
        assert event["involvedObject"]["name"].startswith("signal-")
        assert re.search(said, event["message"]), event["message"]

        async def failed() -> float:
            return (await process.metrics()).total(FAILED, reason="api")

        await eventually(failed, lambda times: times >= 3, within=30, what="it is tried again and again")
        assert len(lines_about(process, words)) == 1
        assert len(await warnings()) == 1
        assert await scene.requests(requests) == []
        await lift()
        await scene.requests_come_to(
            "status.phase status.signals.total", [("Settled", 4)], namespace=requests
        )
        assert await posted() == (200, {"accepted": 1, "rejected": [], "discarded": [], "pending": []})
        await scene.requests_come_to(
            "status.phase status.signals.total", [("Settled", 4)], namespace=requests
        )
    finally:
        await scene.close()


async def test_request_that_is_open_goes_on_when_its_writes_are_allowed_again(
    api: Api, namespace: str, process: OperatorProcess
) -> None:
    scene = Scene(api, namespace, process)
    await scene.policy()
    await scene.pods("Trouble", 2)
    await scene.comes_to((1, "Settled", 2))
    lift = await policy(api, namespace)
    await scene.pods("Trouble", 3, first=2)
    await eventually(lambda: lines_about(process, "change freeze"), what="it is refused")
    await lift()
    await scene.comes_to((1, "Settled", 5))


async def test_namespaces_have_a_line_of_the_log_each(
    api: Api, namespace: str, process: OperatorProcess
) -> None:
    scene = Scene(api, namespace, process)
    other = await scene.another_namespace()
    for each in (namespace, other):
        await scene.policy(namespace=each, groupBy=["name"])
        await quota(api, each)
        await asyncio.gather(*(scene.signal(f"Trouble{n}", "pod-0", namespace=each) for n in range(6)))

    async def failed() -> float:
        return (await process.metrics()).total(FAILED, reason="api")

    await eventually(failed, lambda times: times >= 16, within=30, what="all are tried again")
    lines = [line for line in process.log_lines() if "exceeded quota" in str(line.get("error"))]
    assert sorted(line["namespace"] for line in lines) == sorted([namespace, other])


async def test_full_quota_is_told_once_though_an_open_request_goes_on(
    api: Api, namespace: str, process: OperatorProcess
) -> None:
    scene = Scene(api, namespace, process)
    await scene.policy(groupBy=["name"])
    await scene.pods("Trouble", 2)
    await scene.comes_to((1, "Settled", 2))
    await quota(api, namespace)
    await scene.signal("Refused", "pod-0")

    async def failed() -> float:
        return (await process.metrics()).total(FAILED, reason="api")

    for number in range(2, 5):
        before = await failed()
        await eventually(failed, lambda times, before=before: times > before, what="it is refused again")
        await scene.pods("Trouble", 1, first=number)
        await scene.comes_to((1, "Settled", number + 1))
    before = await failed()
    await eventually(failed, lambda times: times > before, what="it is refused still")
    said = [line for line in process.log_lines() if "requests of a namespace" in str(line)]
    assert len(said) == 1, said


async def test_refused_groups_cost_few_writes_hold_nothing_up_and_are_there_once_the_quota_is_raised(
    api: Api, namespace: str, process: OperatorProcess
) -> None:
    scene = Scene(api, namespace, process)
    await scene.policy(groupBy=["name"])
    await scene.pods("A", 2)
    await scene.comes_to((1, "Settled", 2))
    lift = await quota(api, namespace)
    names = [f"Refused{number:03}" for number in range(REFUSED_GROUPS)]
    await api.create_all([scene.manifest(name, f"pod-{n}") for name in names for n in range(2)])

    async def refused() -> float:
        return (await process.metrics()).total(WRITES, operation="create", outcome="refused")

    # The request that is there is written to meanwhile, which does not mean that another may be made.
    written = 2
    while await refused() < REFUSED_GROUPS or written < 10:
        await scene.pods("A", 1, first=written)
        written += 1
        await scene.comes_to((1, "Settled", written))
    assert await refused() <= REFUSED_GROUPS + LONE_TRIES
    alert = {"status": "firing", "labels": {"alertname": names[0], "namespace": namespace}}
    alert["startsAt"] = "2026-01-01T00:00:00Z"
    status, answer = await process.post_alerts({"version": "4", "alerts": [alert]}, token=TOKEN)
    assert (status, "exceeded quota" in answer["message"]) == (503, True), answer
    await lift()
    await eventually(
        scene.requests,
        lambda requests: len(requests) == 1 + REFUSED_GROUPS,
        within=LONGEST_SECONDS + 15,
        what="all requests are there",
    )
    await scene.requests_come_to("status.signals.total", [(written,), (3,), *[(2,)] * (REFUSED_GROUPS - 1)])
