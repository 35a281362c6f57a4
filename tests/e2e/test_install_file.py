"""`install.yaml` of a release, on a cluster on which nothing of stormfold is left."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.e2e.cluster import ROOT, SYSTEM, VALKEY, Cluster
from tests.e2e.conftest import NewTeam
from tests.e2e.installed import KEPT, labelled
from tests.harness.api import Api
from tests.harness.eventually import eventually
from tests.harness.team import Team

from stormfold import __version__

NAME = "registry.example.org/stormfold"
"""The image of the release."""


@pytest.fixture
def install_file(tmp_path: Path) -> Path:
    """What `make release` makes."""
    release = [sys.executable, ROOT / "scripts" / "release.py", __version__]
    environment = {**os.environ, "OUT": str(tmp_path / "dist"), "IMAGE": NAME}
    subprocess.run(release, env=environment, check=True, capture_output=True)
    return tmp_path / "dist" / "install.yaml"


async def test_purge_leaves_nothing_and_one_file_begins_anew_until_undeploy(
    changing: Cluster, api: Api, team: Team, new_team: NewTeam, install_file: Path
) -> None:
    await team.report("pod-down", 7)
    await team.counted("pod-down")
    await changing.undeploy(purge=True)
    assert await api.get("Namespace", SYSTEM) is None
    await eventually(
        lambda: changing.kubectl("api-resources", "--api-group=stormfold.dev", "-o", "name"),
        lambda kinds: kinds == "",
        within=30,
        what="the kinds are gone",
    )
    assert await labelled(changing.kubectl) == {}
    await api.delete("Namespace", team.namespace)
    await eventually(
        lambda: api.get("Namespace", team.namespace),
        lambda found: found is None,
        within=30,
        what="its team is gone",
    )

    changing.load(changing.image, as_=f"{NAME}:{__version__}")
    changing.load(os.environ["VALKEY_IMAGE"], as_=f"{VALKEY}:9.1")

    await changing.kubectl("apply", "--server-side", "-f", str(install_file))
    (pod,) = await changing.ready()
    (container,) = pod["spec"]["containers"]
    assert container["image"] == f"{NAME}:{__version__}"
    job = await changing.kubectl("-n", SYSTEM, "logs", "job/stormfold-setup")
    assert job.splitlines() == [
        "Secret stormfold-redis is created",
        "ClusterStormPolicy default is created",
    ]
    other = await new_team()
    await other.report("pod-down", 7)
    await other.assert_exact()

    await changing.undeploy()
    await eventually(
        lambda: labelled(changing.kubectl), lambda found: found.keys() == KEPT, within=60, what="what is kept"
    )
