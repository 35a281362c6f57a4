"""What people type, on the deployed image, with no more rights than they have; and how the pod runs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from tests.e2e.cluster import SYSTEM, Cluster, restarts
from tests.harness.api import Api
from tests.harness.eventually import eventually
from tests.harness.kubectl import Kubectl, KubectlError
from tests.harness.scene import at, rows

from stormfold.model.group import PolicyId, group_hash

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "signals" / "small-storm.yaml"
SIGNALS = [f"checkout-crash-{pod}" for pod in ("8hx2v", "c7nwd", "fq5tz", "kk9rl", "pz4mb")]
FOLDED = ["Folded"] * 5
TABLES = """\
NAME                                        SIGNAL                SEVERITY   PHASE    REQUEST                    AGE
signal.stormfold.dev/checkout-crash-8hx2v   KubePodCrashLooping   critical   Folded   storm-################-1   *
signal.stormfold.dev/checkout-crash-c7nwd   KubePodCrashLooping   critical   Folded   storm-################-1   *
signal.stormfold.dev/checkout-crash-fq5tz   KubePodCrashLooping   critical   Folded   storm-################-1   *
signal.stormfold.dev/checkout-crash-kk9rl   KubePodCrashLooping   critical   Folded   storm-################-1   *
signal.stormfold.dev/checkout-crash-pz4mb   KubePodCrashLooping   critical   Folded   storm-################-1   *

NAME                                                        WHAT         GROUP   PHASE   FIRING   SEVERITY   REMEDIATION   AGE
remediationrequest.stormfold.dev/storm-################-1   KubePodCr~           Open    5        critical                 *
"""  # noqa: E501
"""`kubectl get sig,rreq`: # stands for the group's id, * for an age."""
EXPLAINED = """\
GROUP:      stormfold.dev
KIND:       RemediationRequest
VERSION:    v1alpha1

FIELD: signals <Object>


DESCRIPTION:
    How many signals the storm has. No number ever goes back, except firing,
    resolved and stale.

FIELDS:
  approximate\t<boolean>
    True: firing and resolved are estimates, since there were more instances
    than are tracked, or Redis lost them. The condition Exact says whether the
    total is exact.

  firing\t<integer>
    Instances whose latest signal says Firing.

  resolved\t<integer>
    Instances whose latest signal says Resolved.

  stale\t<integer>
    Alerts that were neither repeated nor resolved for staleAfter: they count
    neither as firing nor as resolved.

  total\t<integer>
    All signals that were counted.
"""
WHO_AM_I = """
import json, os
try:
    open("/opt/stormfold/written", "w")
except OSError as error:
    refusal = os.strerror(error.errno)
print(json.dumps({"uid": os.getuid(), "gid": os.getgid(), "groups": os.getgroups(), "writing": refusal}))
"""


def small_storm(namespace: str) -> str:
    """The example, in a namespace of the test's own."""
    return EXAMPLE.read_text().replace("namespace: shop", f"namespace: {namespace}")


def group_of(namespace: str) -> str:
    """The id of the group that its signals make under the default policy."""
    policy = PolicyId("ClusterStormPolicy", "", "default")
    return group_hash(policy, (("name", "KubePodCrashLooping"), ("namespace", namespace)))


async def editor(cluster: Cluster, namespace: str) -> Kubectl:
    """A user with Kubernetes' own role `edit`, once the controller-manager has put our rights into it."""
    user = await cluster.user("developer", namespace, "edit")

    async def may_report() -> bool:
        try:
            return await user("auth", "can-i", "create", "signals") == "yes\n"
        except KubectlError:  # it ends with 1 when it says no
            return False

    await eventually(may_report, within=30, what="the role `edit` has our rights")
    return user


async def test_user_with_the_edit_role_reports_and_sees_one_request(cluster: Cluster, namespace: str) -> None:
    user = await editor(cluster, namespace)
    assert await user("apply", "-f", "-", stdin=small_storm(namespace)) == "".join(
        f"signal.stormfold.dev/{name} created\n" for name in SIGNALS
    )

    async def seen() -> tuple[list[object], list[tuple[object, ...]]]:
        items = (await user.json("get", "sig,rreq"))["items"]
        phases = [at(item, "status.phase") for item in items if item["kind"] == "Signal"]
        requests = [item for item in items if item["kind"] == "RemediationRequest"]
        return phases, rows(requests, "metadata.name status.phase status.signals.total")

    group = group_of(namespace)
    await eventually(
        seen, lambda now: now == (FOLDED, [(f"storm-{group}-1", "Open", 5)]), within=30, what="one request"
    )
    table = (await user("get", "sig,rreq")).replace(group, "#" * 16)
    masked = re.sub(r"\b(\d+[hms])+\b", lambda age: "*".ljust(len(age[0])), table)
    assert [line.rstrip() for line in masked.splitlines()] == TABLES.splitlines()


async def test_user_without_rights_is_refused(cluster: Cluster, namespace: str) -> None:
    user = await cluster.user("visitor", namespace)
    with pytest.raises(KubectlError) as refused:
        await user("create", "-f", "-", stdin=small_storm(namespace).split("---")[0])
    who = f'User "system:serviceaccount:{namespace}:visitor"'
    assert refused.value.stderr == (
        'Error from server (Forbidden): error when creating "STDIN": signals.stormfold.dev is forbidden: '
        f'{who} cannot create resource "signals" in API group "stormfold.dev" in the namespace '
        f'"{namespace}"\n'
    )


async def test_explain_tells_what_the_figures_mean(cluster: Cluster) -> None:
    explained = await cluster.kubectl("explain", "rreq.status.signals")
    assert [line.rstrip() for line in explained.rstrip().splitlines()] == EXPLAINED.splitlines()


async def test_consumer_takes_a_request_to_its_end_and_the_next_signal_opens_epoch_2(
    cluster: Cluster, api: Api, namespace: str
) -> None:
    user = await editor(cluster, namespace)
    consumer = await cluster.user("runbook", namespace, "stormfold-consumer")
    first = f"storm-{group_of(namespace)}-1"

    async def storms() -> list[tuple[object, ...]]:
        found = await consumer.json("get", "rreq", "--sort-by=.spec.epoch")
        return rows(found["items"], "spec.epoch status.phase status.signals.total status.remediation.phase")

    async def come_to(*expected: tuple[object, ...]) -> None:
        await eventually(storms, lambda seen: seen == list(expected), within=30, what=str(expected))

    async def report(phase: str) -> None:
        change = json.dumps({"status": {"remediation": {"phase": phase}}})
        await consumer("patch", "rreq", first, "--subresource=status", "--type=merge", "-p", change)

    await user("apply", "-f", "-", stdin=small_storm(namespace))
    await come_to((1, "Open", 5, None))
    await report("InProgress")
    await come_to((1, "Open", 5, "InProgress"))
    await report("Succeeded")
    await come_to((1, "Closed", 5, "Succeeded"))

    again = small_storm(namespace).split("---")[0].replace(SIGNALS[0], "checkout-crash-again")
    await user("apply", "-f", "-", stdin=again)
    await come_to((1, "Closed", 5, "Succeeded"), (2, "Open", 1, None))


async def test_pod_runs_without_privileges_and_was_never_restarted(cluster: Cluster) -> None:
    (pod,) = await cluster.pods()
    told = await cluster.kubectl("-n", SYSTEM, "exec", "deployment/stormfold", "--", "python", "-c", WHO_AM_I)
    assert json.loads(told) == {
        "uid": 65532,
        "gid": 65532,
        "groups": [65532],
        "writing": "Read-only file system",
    }
    assert restarts(pod) == 0
    metrics = await cluster.metrics()
    assert metrics.total("stormfold_kopf_restarts_total") == 0
    assert metrics.total("stormfold_ingest_leading") == 1
    status, answer = await cluster.ask("/readyz")
    assert (status, json.loads(answer)) == (200, {"ready": True, "problems": {}})
