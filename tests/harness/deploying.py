"""`scripts/deploy` as people run it, against an API server where nothing runs pods."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
import time
from collections.abc import Coroutine
from pathlib import Path

from tests.harness.api import Api
from tests.harness.kubectl import Kubectl

log = logging.getLogger(__name__)
ROOT = Path(__file__).parents[2]
SCRIPT_SECONDS = 150.0
"""No script takes longer: its own waits end before. What acts meanwhile ends with it."""
NAMESPACE = "stormfold-system"
DEPLOYMENTS = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments"
SECRET = f"/api/v1/namespaces/{NAMESPACE}/secrets/stormfold-redis"
OURS = (
    *("namespaces", "secrets", "configmaps", "services", "serviceaccounts", "leases", "deployments"),
    *("roles", "rolebindings", "clusterroles", "clusterrolebindings", "networkpolicies"),
    *("poddisruptionbudgets", "customresourcedefinitions", "clusterstormpolicies", "signals"),
)


async def deploy(
    verb: str,
    kubeconfig: Path,
    meanwhile: Coroutine[None, None, None] | None = None,
    **environment: str,
) -> tuple[int, str]:
    """The exit code of scripts/deploy without a terminal, and all that it said; a test that fails shows that,
    with times. `meanwhile` is what controllers do to what it waits for. Each ends with the other: the script
    if that fails, and that with the script."""
    if meanwhile is None:
        return await said_by(verb, kubeconfig, environment)
    async with asyncio.TaskGroup() as tasks:
        others = tasks.create_task(meanwhile)
        code, said = await said_by(verb, kubeconfig, environment)
        others.cancel()
    return code, said


async def said_by(verb: str, kubeconfig: Path, environment: dict[str, str]) -> tuple[int, str]:
    """What `deploy` gives; whatever runs of the script is killed if nobody waits for it any more."""
    process = await asyncio.create_subprocess_exec(
        str(ROOT / "scripts" / "deploy"),
        verb,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=surroundings(kubeconfig, environment),
        start_new_session=True,
    )
    assert process.stdout
    began, lines = time.monotonic(), list[str]()
    try:
        async for line in process.stdout:
            lines.append(line.decode())
            log.warning("%5.1f s: %s", time.monotonic() - began, lines[-1].rstrip())
        return await process.wait(), "".join(lines)
    finally:
        with contextlib.suppress(ProcessLookupError):  # it may have ended, and nobody has been told yet
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def surroundings(kubeconfig: Path, environment: dict[str, str]) -> dict[str, str]:
    """The environment of scripts/deploy; kubectl's cache is beside the kubeconfig, as ports are used
    again."""
    return {
        "PATH": os.environ["PATH"],
        "KUBECONFIG": str(kubeconfig),
        "KUBECACHEDIR": str(kubeconfig.parent / "kubectl"),
        **environment,
    }


async def roll_out(api: Api) -> None:
    """Say of every Deployment that it is rolled out, as its controller would; ends by cancellation."""
    while True:
        for deployment in (await api.request("GET", DEPLOYMENTS))["items"]:
            metadata, replicas = deployment["metadata"], deployment["spec"]["replicas"]
            counts = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
            status = dict.fromkeys(counts, replicas) | {"observedGeneration": metadata["generation"]}
            await api.request(
                "PATCH",
                f"{DEPLOYMENTS}/{metadata['name']}/status",
                {"status": status},
                content_type="application/merge-patch+json",
            )
        await asyncio.sleep(0.2)


async def there_is(kubectl: Kubectl) -> list[str]:
    """Every object of stormfold, as kind/name."""
    found: list[str] = []
    for item in (
        await kubectl.json("get", ",".join(OURS), "-A", "-l", "app.kubernetes.io/part-of=stormfold")
    )["items"]:
        assert "finalizers" not in item["metadata"] or item["kind"] == "CustomResourceDefinition", item
        found.append(f"{item['kind'].lower()}/{item['metadata']['name']}")
    return sorted(found)
