"""Gates as people type them, with the component `steering`: the API server itself refuses a consumer."""

from __future__ import annotations

import json

import pytest
from tests.e2e.cluster import SYSTEM, Cluster
from tests.harness.api import Api
from tests.harness.consumer import in_seconds
from tests.harness.eventually import eventually
from tests.harness.kubectl import Kubectl, KubectlError
from tests.harness.resources import API_VERSION, storm_gate
from tests.harness.scene import at
from tests.harness.team import Team

HOLDS = [{"by": "alice", "reason": "the registry is moved"}]
WAIT = "Do not begin; wait for the condition Proceed"


async def request_of(team: Team, name: str) -> str:
    """The name of the request of five signals, once it says Proceed."""
    await team.report(name, 5)
    (found,) = await eventually(
        lambda: team.requests_of(name),
        lambda seen: [at(one, "status.decision.verdict") for one in seen] == ["Proceed"],
        within=60,
        what=f"the request of {name} says Proceed",
    )
    return str(found["metadata"]["name"])


async def report(consumer: Kubectl, request: str, **remediation: object) -> str:
    """What the API server says to a consumer's report; nothing if it takes it."""
    body = {
        "apiVersion": API_VERSION,
        "kind": "RemediationRequest",
        "metadata": {"name": request},
        "status": {"remediation": remediation},
    }
    flags = ("--server-side", "--subresource=status", "--field-manager=robot")
    return await refusal(consumer, "apply", *flags, "-f", "-", stdin=json.dumps(body))


async def refusal(kubectl: Kubectl, *arguments: str, stdin: str = "") -> str:
    """What an admission policy says to it; nothing if it is done."""
    try:
        await kubectl(*arguments, stdin=stdin)
    except KubectlError as error:
        _, denied, why = error.stderr.rpartition(" denied request: ")
        if not denied:
            raise
        return why.strip()
    return ""


async def hold(person: Kubectl, namespace: str, holds: list[dict[str, str]]) -> None:
    gate = json.dumps(storm_gate(namespace, "freeze", {"holds": holds}))
    await person("apply", "--server-side", "--field-manager=alice", "-f", "-", stdin=gate)


@pytest.mark.overlay("standalone", "steering")
async def test_consumer_is_refused_while_a_gate_holds_not_once_it_is_lifted_and_again_with_no_operator(
    changing: Cluster, team: Team, api: Api
) -> None:
    namespace = team.namespace
    consumer = await changing.user("robot", namespace, "stormfold-consumer")
    person = await changing.user("alice", namespace, "stormfold-edit")
    first, second = await request_of(team, "trouble"), await request_of(team, "more")

    async def begin(request: str) -> str:
        claim = {"holderIdentity": "robot", "revision": 1, "expirationTime": in_seconds(300)}
        return await report(consumer, request, phase="InProgress", claim=claim)

    def refused_by_gate(request: str) -> str:
        name = f"RemediationRequest {namespace}/{request}"
        return f"StormGate {namespace}/freeze: alice holds {name}: the registry is moved. {WAIT}"

    await hold(person, namespace, HOLDS)
    refusals = {
        refused_by_gate(first),
        (
            f"RemediationRequest {namespace}/{first} says Hold: StormGate {namespace}/freeze: alice holds "
            f"it: the registry is moved. {WAIT}"
        ),
    }
    await eventually(lambda: begin(first), lambda said: said in refusals, within=30, what="it is refused")
    await hold(person, namespace, [])
    await eventually(lambda: begin(first), lambda said: said == "", within=30, what="it begins")

    await changing.kubectl("-n", SYSTEM, "scale", "deployment", "stormfold", "--replicas=0")
    await eventually(changing.pods, lambda pods: pods == [], within=120, what="no operator runs")
    await hold(person, namespace, HOLDS)
    await eventually(
        lambda: begin(second), lambda said: said == refused_by_gate(second), within=30, what="it is refused"
    )
    found = await api.get("RemediationRequest", second, namespace)
    assert at(found, "status.decision.verdict") == "Proceed"  # the last verdict stands
    assert await report(consumer, first, phase="Succeeded") == ""
    labelled = ("create", "configmap", "plan", "--dry-run=client", "-o", "json")
    plan = json.loads(await person(*labelled))
    plan["metadata"] |= {"namespace": namespace, "labels": {"stormfold.dev/request": second}}
    assert await refusal(changing.kubectl, "create", "-f", "-", stdin=json.dumps(plan)) == (
        f"StormGate {namespace}/freeze: alice holds all requests of namespace {namespace}: "
        "the registry is moved. Wait for the condition Proceed of the request"
    )
