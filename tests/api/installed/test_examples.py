"""What `examples/` and `manifests/` show is what the API server takes."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from tests.harness.api import Api, ApiError
from tests.harness.kubectl import Kubectl

ROOT = Path(__file__).parents[3]
FILES = sorted([*(ROOT / "examples").rglob("*.yaml"), ROOT / "manifests" / "base" / "default-policy.yaml"])


@pytest.mark.parametrize("file", [pytest.param(f, id=str(f.relative_to(ROOT))) for f in FILES])
async def test_example_is_applied(file: Path, api: Api, kubectl: Kubectl) -> None:
    for namespace in ("batch", "search", "shop"):
        with contextlib.suppress(ApiError):
            await api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    assert "created" in await kubectl("apply", "-f", str(file))
