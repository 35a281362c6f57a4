"""What `manifests/` renders, and what an API server says to it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from tests.harness.kubectl import Kubectl

from lab.kubectl import kubectl_path

Manifest = dict[str, Any]


ROOT = Path(__file__).parents[2]


MANIFESTS = ROOT / "manifests"


NAMESPACE = "stormfold-system"


PROMETHEUS = {"ServiceMonitor", "PrometheusRule"}
"""`test_monitoring.py` looks at these."""


@cache
def rendered(overlay: str, *components: str) -> list[Manifest]:
    """What a user gets who puts an overlay and components together in a folder of their own."""
    return patched({}, overlay, *components)


def patched(more: Mapping[str, Any], overlay: str, *components: str) -> list[Manifest]:
    """The same where their kustomization says more."""
    with TemporaryDirectory() as folder:
        beside = Path(os.path.relpath(MANIFESTS, folder))
        kustomization = {
            "resources": [str(beside / "overlays" / overlay)],
            "components": [str(beside / "components" / name) for name in components],
            **more,
        }
        (Path(folder) / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
        command = [kubectl_path(), "kustomize", folder]
        return list(yaml.safe_load_all(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout))


def of_kind(objects: list[Manifest], *kinds: str) -> list[Manifest]:
    """The objects of these kinds."""
    return [found for found in objects if found["kind"] in kinds]


def named(objects: list[Manifest], kind: str, name: str = "stormfold") -> Manifest:
    """The one object of a kind and a name."""
    (found,) = (it for it in of_kind(objects, kind) if it["metadata"]["name"] == name)
    return found


def pod_of(deployment: Manifest) -> Manifest:
    """The pod that the Deployment would make."""
    template = deployment["spec"]["template"]
    metadata = {**template["metadata"], "name": "pod", "namespace": NAMESPACE}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


async def dry_run(kubectl: Kubectl, objects: list[Manifest]) -> None:
    """Let the API server look at objects; unknown fields and warnings are errors."""
    await kubectl(
        *("apply", "--server-side", "--dry-run=server", "--validate=strict", "--warnings-as-errors"),
        *("-f", "-"),
        stdin=yaml.safe_dump_all(objects),
    )
