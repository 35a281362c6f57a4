"""The end-to-end tier: stormfold as `make deploy` leaves it on a cluster with real nodes.

`make e2e` makes the cluster and the images and ends with `pytest tests/e2e`. These come from it by the
environment: `E2E_KUBECONFIG`; `E2E_LOAD`, a command that takes an image to the nodes; `IMAGE` and
`VALKEY_IMAGE`, the images; `E2E_LOGS`, the folder for what is kept of a failed test. `E2E_KEEP=1 make e2e`
keeps the cluster and prints them, to run pytest alone.

A test asks for `cluster` if it leaves the installation as it is, for `changing` if it does not: the next test
finds it deployed anew. It finds the overlay `standalone` unless its marker `overlay` names another one.
`namespace` is a fresh one, `team` (tests/harness/team.py) has one with a policy of a quick storm in force,
`api` is the fast client, `cluster.kubectl` is kubectl as administrator, `cluster.user(…)` is kubectl as
somebody else.
"""

from __future__ import annotations

import itertools
import os
import re
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from pathlib import Path

import pytest
from tests.e2e.cluster import Cluster, Progress, Server
from tests.e2e.keeping import keep_state
from tests.harness.api import Api
from tests.harness.team import Team

HERE = Path(__file__).parent
TEST_SECONDS = 300
"""How long a test may take, with an installation before it: longer than in other tiers, since pods start and
end."""

_kept: list[Path] = []
_number = itertools.count(1)


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker of this tier known."""
    config.addinivalue_line("markers", "overlay(base, *components): what `cluster` has deployed for the test")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the tests of this tier their time."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.timeout(TEST_SECONDS))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep the state of the cluster when a test fails, and have the next one install anew."""
    report = yield
    if report.failed and "E2E_KUBECONFIG" in os.environ:
        folder = _logs() / re.sub(r"[^\w.-]+", "-", item.nodeid.rpartition("/")[2])
        keep_state(Path(os.environ["E2E_KUBECONFIG"]), folder)
        report.sections.append(("state of the cluster", str(folder)))
        _kept.append(folder)
        if cluster := getattr(item, "funcargs", {}).get("whole_cluster"):
            cluster.installed = None
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the folders."""
    if _kept:
        terminalreporter.section("logs and state of what failed")
        for folder in dict.fromkeys(_kept):
            terminalreporter.line(str(folder))


def _logs() -> Path:
    """The folder of this run."""
    if "E2E_LOGS" not in os.environ:
        os.environ["E2E_LOGS"] = tempfile.mkdtemp(prefix="stormfold-e2e-")
    return Path(os.environ["E2E_LOGS"])


@pytest.fixture(scope="session")
def whole_cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """The cluster with the images on its nodes."""
    missing = [name for name in ("E2E_KUBECONFIG", "E2E_LOAD", "VALKEY_IMAGE") if name not in os.environ]
    assert not missing, f"{', '.join(missing)} not set: run `make e2e`"
    cluster = Cluster(
        Path(os.environ["E2E_KUBECONFIG"]),
        os.environ["E2E_LOAD"],
        tmp_path_factory.mktemp("e2e"),
        Progress(request.config),
    )
    cluster.load_images()
    return cluster


@pytest.fixture
async def cluster(request: pytest.FixtureRequest, whole_cluster: Cluster) -> Cluster:
    """The overlay that the test's marker names, with its components, is deployed and ready; else it is
    standalone."""
    marker = request.node.get_closest_marker("overlay")
    await whole_cluster.be_as_deployed(*(marker.args if marker else ()))
    return whole_cluster


@pytest.fixture
async def changing(cluster: Cluster) -> AsyncIterator[Cluster]:
    """The same, for a test that changes what is installed."""
    cluster.installed = None
    yield cluster
    cluster.installed = None


@pytest.fixture(scope="session")
def server(whole_cluster: Cluster) -> Server:
    """The API server."""
    return whole_cluster.server()


@pytest.fixture
async def api(server: Server) -> AsyncIterator[Api]:
    """A fast client of the API server, as an administrator."""
    async with Api(server) as client:
        yield client


NewNamespace = Callable[[], Awaitable[str]]


@pytest.fixture
def new_namespace(api: Api) -> NewNamespace:
    """Makes a namespace and gives its name, which is used once."""

    async def make() -> str:
        name = f"team-{os.getpid()}-{next(_number)}"
        await api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        return name

    return make


@pytest.fixture
async def namespace(new_namespace: NewNamespace) -> str:
    """A fresh namespace."""
    return await new_namespace()


NewTeam = Callable[..., Awaitable[Team]]


@pytest.fixture
def new_team(cluster: Cluster, api: Api, new_namespace: NewNamespace) -> NewTeam:
    """Makes a team with a policy, which differs from the quick one as its arguments say, once it is in
    force."""

    async def make(**spec: object) -> Team:
        team = Team(api, await new_namespace())
        await team.judged(await team.policy(**spec))
        return team

    return make


@pytest.fixture
async def team(new_team: NewTeam) -> Team:
    """A team with the quick policy."""
    return await new_team()
