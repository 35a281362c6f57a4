"""What the API server takes, and what `kubectl` shows of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml
from tests.harness.api import KINDS, Api, ApiError, Manifest
from tests.harness.kubectl import Kubectl

from lab.controlplane import ControlPlane

CASES_FOLDER = Path(__file__).parents[1] / "cases"
CASES: list[dict[str, Any]] = yaml.safe_load((CASES_FOLDER / "schema.yaml").read_text())
SHOP = "shop-of-the-tables"


async def answer(api: Api, case: dict[str, Any], namespace: str) -> str | None:
    """What the API server said against the last step of a case, None if it took it; the others must pass."""
    manifest = case["manifest"]
    root, plural = KINDS[manifest["kind"]]
    scope = "" if manifest["kind"].startswith("Cluster") else f"/namespaces/{namespace}"
    steps: list[tuple[str, str, Manifest, str]] = [
        ("POST", f"{root}{scope}/{plural}", manifest, "application/json")
    ]
    one = f"{root}{scope}/{plural}/{manifest['metadata']['name']}"
    if "change" in case:
        steps.append(("PATCH", one, case["change"], "application/merge-patch+json"))
    if "status" in case:
        steps.append(("PATCH", f"{one}/status", case["status"], "application/merge-patch+json"))
    said = None
    for method, path, body, content_type in steps:
        assert said is None, f"an earlier step was refused: {said}"
        try:
            await api.request(method, path, body, content_type=content_type, fieldValidation="Strict")
        except ApiError as error:
            said = str(error)
    return said


@pytest.mark.parametrize("case", [pytest.param(case, id=case["name"]) for case in CASES])
async def test_api_server_judges_the_manifest_as_the_table_says(
    case: dict[str, Any], control_plane: ControlPlane
) -> None:
    namespace = f"case-{uuid4().hex[:12]}"
    async with Api(control_plane) as client:
        await client.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
        said = await answer(client, case, namespace)
        if case["manifest"]["kind"].startswith("Cluster") and await client.get("ClusterStormPolicy", "case"):
            await client.delete("ClusterStormPolicy", "case")
    if case["refused"] is None:
        assert said is None
    else:
        assert said is not None
        assert case["refused"] in said or as_1_32_says(case["refused"]) in said


def as_1_32_says(refused: str) -> str:
    """A message of today's API server in the words of 1.32.

    It names the type of a value that a CEL rule refuses, and prints a map as Go does.
    """
    of_a_string = re.sub(r'Invalid value: "[^"]*": (?=[a-z])', 'Invalid value: "string": ', refused)
    of_an_object = re.sub(r"Invalid value: (?=[a-z])", 'Invalid value: "object": ', of_a_string)
    return of_an_object.replace("Duplicate value: {", "Duplicate value: map[string]interface {}{")


def case_manifest(name: str) -> Manifest:
    """The manifest of a case of the table."""
    return next(case["manifest"] for case in CASES if case["name"] == name)


@pytest.fixture
async def shop(api: Api) -> str:
    """A namespace with one object of each kind, each with a status."""
    if not await api.get("Namespace", SHOP):
        await api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SHOP}})
    condition = {"status": "True", "lastTransitionTime": "2026-03-01T10:00:01Z", "reason": "Valid"}
    claim = {"holderIdentity": "robot-1", "revision": 1, "expirationTime": "2026-03-01T10:05:00Z"}
    signal = case_manifest("a signal with every field is accepted")
    request = case_manifest("a request is accepted")
    policy = case_manifest("a policy with an empty spec is accepted")
    cluster = case_manifest("a cluster policy with an empty spec is accepted")
    gate = case_manifest("a gate with every field is accepted")
    name = "storm-0123456789abcdef-1"
    statuses: list[tuple[Manifest, str, Manifest]] = [
        (
            signal,
            "checkout-crash-8hx2v",
            {
                "phase": "Folded",
                "reason": "Counted",
                "remediationRequest": {"namespace": SHOP, "name": name},
            },
        ),
        (
            request,
            name,
            {
                "phase": "Open",
                "signals": {"total": 12, "firing": 9, "resolved": 3},
                "severity": "critical",
                "lastSeen": "2026-03-01T10:00:41Z",
                "affectedResourceCount": 7,
                "resources": [{"kind": "Pod", "name": "web-0", "signals": 12}],
                "ratePerMinute": 18,
                "summary": "12 signals on 7 resources: NodeDown 9, KubeNodeNotReady 3",
                "display": {"what": "NodeDown", "group": "worker-07"},
                "decision": {
                    "verdict": "Hold",
                    "reason": "HeldByGate",
                    "since": "2026-03-01T10:00:41Z",
                },
                "conditions": [{"type": "StormDetected", **condition}],
                "remediation": {"phase": "Executing", "claim": claim},
            },
        ),
        (gate, "everything", {"verdict": "Stop", "state": "Tripped", "requests": 3, "heldBy": "alice"}),
        (policy, "team", {"conditions": [{"type": "Accepted", **condition}]}),
        (cluster, "default", {"conditions": [{"type": "Accepted", **condition}]}),
    ]
    for manifest, called, status in statuses:
        metadata: Manifest = {"name": called}
        if manifest is not cluster:
            metadata["namespace"] = SHOP
        await api.create({**manifest, "metadata": metadata})
        await api.patch(
            manifest["kind"], called, metadata.get("namespace"), {"status": status}, subresource="status"
        )
    return SHOP


def without_ages(table: str) -> str:
    """A table of kubectl with <age> for each age, its columns where they were."""
    aged = re.compile(r"(?<= )(\d+[smhdy]){1,2}( *)")
    lines = (aged.sub(lambda age: "<age>".ljust(len(age[0])), line).rstrip() for line in table.splitlines())
    return "\n".join(lines) + "\n"


TABLES: dict[str, str] = yaml.safe_load((CASES_FOLDER / "tables.yaml").read_text())


@pytest.mark.parametrize("what", TABLES)
async def test_kubectl_get_shows_the_table(what: str, shop: str, kubectl: Kubectl) -> None:
    table = await kubectl("get", *what.split(), "--namespace", shop)
    assert without_ages(table) == TABLES[what]
    assert what != "rreq" or max(len(line) for line in table.splitlines()) <= 100


async def test_kubectl_describe_shows_conditions_before_lists(shop: str, kubectl: Kubectl) -> None:
    text = await kubectl("describe", "rreq", "--namespace", shop)
    status = text[text.index("\nStatus:") :]
    assert 0 < status.index("  Conditions:") < status.index("  Resources:")


async def test_category_shows_all_kinds_of_a_namespace(shop: str, kubectl: Kubectl) -> None:
    names = await kubectl("get", "stormfold", "--namespace", shop, "-o", "name")
    assert names.split() == [
        "clusterstormpolicy.stormfold.dev/default",
        "remediationrequest.stormfold.dev/storm-0123456789abcdef-1",
        "signal.stormfold.dev/checkout-crash-8hx2v",
        "stormgate.stormfold.dev/everything",
        "stormpolicy.stormfold.dev/team",
    ]


async def test_signals_are_selected_by_their_fields(shop: str, kubectl: Kubectl) -> None:
    for selector, found in (
        ("status.phase=Folded", ["signal.stormfold.dev/checkout-crash-8hx2v"]),
        (
            "spec.severity=critical,spec.name=KubePodCrashLooping",
            ["signal.stormfold.dev/checkout-crash-8hx2v"],
        ),
        ("status.phase=Rejected", []),
    ):
        names = await kubectl("get", "sig", "-n", shop, "--field-selector", selector, "-o", "name")
        assert names.split() == found


@pytest.mark.parametrize(
    "plural", ["signals", "remediationrequests", "stormpolicies", "clusterstormpolicies", "stormgates"]
)
async def test_kubectl_explains_every_field(plural: str, shop: str, kubectl: Kubectl) -> None:
    text = await kubectl("explain", plural, "--recursive=false")
    assert "<no description>" not in text
    for part in ("spec", "status"):
        assert "<no description>" not in await kubectl("explain", f"{plural}.{part}")


async def test_status_that_is_applied_with_a_signal_is_ignored(shop: str, kubectl: Kubectl, api: Api) -> None:
    manifest = case_manifest("a signal with every field is accepted")
    manifest = {
        **manifest,
        "metadata": {"name": "applied", "namespace": shop},
        "status": {"phase": "Rejected"},
    }
    await kubectl("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump(manifest))
    found = await api.get("Signal", "applied", shop)
    assert found is not None
    assert "status" not in found
