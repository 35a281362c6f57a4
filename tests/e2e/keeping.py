"""What is kept of a failed test: the state of the cluster at that moment, and the logs of all pods."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from lab.kubectl import kubectl_path

READINGS = {
    "pods.txt": "get pods,deployments,services,persistentvolumeclaims,nodes -A -o wide",
    "events.txt": "get events -A --sort-by=.lastTimestamp",
    "nodes.txt": "describe nodes",
    "stormfold-system.txt": "describe all,persistentvolumeclaims -n stormfold-system",
    "stormfold-system.yaml": "get all,leases,persistentvolumeclaims,networkpolicies -n stormfold-system -o "
    "yaml",
    "stormfold.yaml": (
        "get namespaces,signals,remediationrequests,stormpolicies,clusterstormpolicies,crds -A -o yaml"
    ),
}
"""File to the kubectl command whose output it gets. Secrets are not read."""


def keep_state(kubeconfig: Path, folder: Path) -> None:
    """Write all of it into a folder; what cannot be read leaves its error there."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, command in READINGS.items():
        (folder / name).write_text(_kubectl(kubeconfig, *command.split()))
    listed = _kubectl(kubeconfig, "get", "pods", "-A", "-o", "json")
    try:
        pods = json.loads(listed)["items"]
    except ValueError:
        return
    for pod in pods:
        namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        for status in pod["status"].get("containerStatuses", []):
            _keep_logs(kubeconfig, folder / "logs" / namespace, namespace, name, status)


def _keep_logs(kubeconfig: Path, folder: Path, namespace: str, pod: str, status: dict[str, object]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    container = str(status["name"])
    command = ("logs", "-n", namespace, pod, "-c", container)
    (folder / f"{pod}.{container}.log").write_text(_kubectl(kubeconfig, *command))
    if status["restartCount"]:
        (folder / f"{pod}.{container}.previous.log").write_text(_kubectl(kubeconfig, *command, "--previous"))


def _kubectl(kubeconfig: Path, *arguments: str) -> str:
    command = [kubectl_path(), f"--kubeconfig={kubeconfig}", "--request-timeout=20s", *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    return done.stdout + done.stderr
