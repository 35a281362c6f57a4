"""Admission: modules whose operator works while the policies are in force for everybody else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.harness.admission import enforced, request_under
from tests.harness.api import Manifest
from tests.harness.scene import Scene

from lab.controlplane import ControlPlane


@pytest.fixture(scope="module")
def operator_kubeconfig(
    request: pytest.FixtureRequest, control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """In a module with `ENFORCED = True` that of the operator's ServiceAccount, with the admission policies
    in force."""
    if not getattr(request.module, "ENFORCED", False):
        yield control_plane.kubeconfig
        return
    with enforced(control_plane, tmp_path_factory.mktemp("steering")) as kubeconfig:
        yield kubeconfig


@pytest.fixture
async def request_(scene: Scene) -> Manifest:
    """One that is settled and says Proceed; where policies are in force, once they are."""
    return await request_under(scene)
