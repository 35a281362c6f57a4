"""The API tier: a control plane for each worker, a clean slate, and an operator process for each test."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest
from tests.harness import programs
from tests.harness.alertmanager import NewAlertmanager
from tests.harness.api import Api
from tests.harness.api_proxy import ApiProxy
from tests.harness.cluster import OPERATOR_NAMESPACE, prepared
from tests.harness.collection import build_for, place_of
from tests.harness.kubectl import Kubectl
from tests.harness.operator import NewOperator, OperatorProcess
from tests.harness.redis_proxy import RedisProxy
from tests.harness.scene import Scene
from tests.harness.stage import Stage
from tests.harness.team import Team

from lab.controlplane import ControlPlane
from lab.process import tail
from lab.valkey import Valkey
from stormfold.fold.scripts import ACK, CLAIM, CLOSE, FOLD, FREEZE

ROOT = Path(__file__).parents[2]
OWN_KINDS = (
    *("Signal", "RemediationRequest", "StormPolicy", "ClusterStormPolicy", "StormGate", "Lease", "Event"),
)

_number = itertools.count(1)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker of `stage`."""
    config.addinivalue_line(
        "markers", "started(**spec): the operator of `stage` runs, under the team's policy with these fields"
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first."""
    items.sort(key=place_of)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build what the tests need and is not there: here, since a first build takes longer than a test may."""
    build_for([item for item in session.items if item.path.is_relative_to(Path(__file__).parent)])


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ControlPlane]:
    """etcd and kube-apiserver, with our CRDs established and the operator's namespace made."""
    with prepared() as running:
        yield running


async def clean(client: Api) -> None:
    """Delete what earlier tests left."""
    for kind in OWN_KINDS:
        await client.delete_all(kind)


@pytest.fixture(scope="session")
def shared_operators() -> list[OperatorProcess]:
    """Those of `shared_operator`: one that runs beside a test's own would take the Lease from it."""
    return []


@pytest.fixture
async def api(control_plane: ControlPlane, shared_operators: list[OperatorProcess]) -> AsyncIterator[Api]:
    """A client of the API server, as `admin`, on a clean slate: what earlier tests left is gone, and the
    module's operator has ended."""
    for process in shared_operators:
        process.kill()
    async with Api(control_plane) as client:
        await clean(client)
        yield client


@pytest.fixture
def kubectl(control_plane: ControlPlane) -> Kubectl:
    """kubectl, as `admin`."""
    return Kubectl(control_plane.kubeconfig)


class NewNamespace(Protocol):
    """Makes a namespace with labels and gives its name."""

    def __call__(self, **labels: str) -> Awaitable[str]: ...


@pytest.fixture
def new_namespace(api: Api) -> NewNamespace:
    """For tests that need several; their names are used once."""

    async def make(**labels: str) -> str:
        name = f"team-{os.getpid()}-{next(_number)}"
        await api.create(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
        )
        return name

    return make


@pytest.fixture
async def namespace(new_namespace: NewNamespace) -> str:
    """A fresh namespace."""
    return await new_namespace()


@pytest.fixture
async def default_policy(api: Api, kubectl: Kubectl) -> None:
    """The catch-all policy as it is shipped, after the slate was cleaned."""
    await kubectl("apply", "-f", str(ROOT / "manifests" / "base" / "default-policy.yaml"))


@pytest.fixture
async def api_proxy(control_plane: ControlPlane) -> AsyncIterator[ApiProxy]:
    """A proxy in front of the API server; give its kubeconfig to the operator."""
    async with ApiProxy(control_plane).running() as proxy:
        yield proxy


@pytest.fixture
async def operator(
    request: pytest.FixtureRequest, api: Api, control_plane: ControlPlane, valkey: Valkey, tmp_path: Path
) -> AsyncIterator[NewOperator]:
    """Starts operators on `valkey` and the control plane, or on what the test names; ends them with the test.

    When the test fails, the end of each one's log is shown with the path of the whole.
    """
    start = NewOperator(redis_url=valkey.url, kubeconfig=control_plane.kubeconfig, folder=tmp_path)
    yield start
    for process in start.made:
        process.kill()
        if process.log.exists():
            text = f"{process.log}\n{tail(process.log, 60)}"
            request.node.add_report_section("teardown", "operator log", text)


@pytest.fixture(params=["current", "debian"])
def alertmanager_program(request: pytest.FixtureRequest) -> Path:
    """The program of each Alertmanager in turn."""
    return had(lambda: programs.alertmanager(request.param))


def had(find: Callable[[], Path]) -> Path:
    """What `find` gives. Where it cannot be had the test is left out and says why; where it is required, it
    fails."""
    try:
        return find()
    except programs.MissingProgramError as error:
        if programs.programs_required():
            raise
        pytest.skip(f"did NOT run: {error}")


@pytest.fixture
async def alertmanager(
    request: pytest.FixtureRequest, alertmanager_program: Path, tmp_path: Path
) -> AsyncIterator[NewAlertmanager]:
    """Starts Alertmanagers, and stops them with the test; what each one logged last is shown when it
    fails."""
    start = NewAlertmanager(alertmanager_program, tmp_path)
    yield start
    for one in start.made:
        await one.stop()
        request.node.add_report_section("teardown", "alertmanager log", f"{one.log}\n{tail(one.log, 40)}")


Restart = Callable[[], Awaitable[None]]


@pytest.fixture
def restart_apiserver(control_plane: ControlPlane) -> Restart:
    """Kills kube-apiserver and starts it again, without stopping the test's own loop."""

    async def restart() -> None:
        await asyncio.to_thread(control_plane.restart_apiserver)

    return restart


@pytest.fixture(scope="module")
def shared_valkey() -> Iterator[Valkey]:
    """The Valkey of `shared_operator`: not `valkey`, which is a test's own."""
    with Valkey() as server:
        yield server


@pytest.fixture(scope="module")
def operator_kubeconfig(control_plane: ControlPlane) -> Path:
    """How `shared_operator` reaches the API server; a module may give it the rights of a ServiceAccount."""
    return control_plane.kubeconfig


@pytest.fixture(scope="module")
def shared_operator(
    request: pytest.FixtureRequest,
    operator_kubeconfig: Path,
    shared_operators: list[OperatorProcess],
    shared_valkey: Valkey,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[OperatorProcess]:
    """One operator for all tests of a module that use `scene`, on `shared_valkey`; `scene` starts it.

    A module sets further settings in its `ENVIRONMENT`.
    """
    process = OperatorProcess(
        redis_url=shared_valkey.url,
        kubeconfig=operator_kubeconfig,
        log=tmp_path_factory.mktemp("shared") / "operator.log",
        namespace=OPERATOR_NAMESPACE,
        environment=getattr(request.module, "ENVIRONMENT", None),
    )
    shared_operators.append(process)
    yield process
    process.kill()
    shared_operators.remove(process)


@pytest.fixture
async def scene(
    request: pytest.FixtureRequest,
    shared_operator: OperatorProcess,
    shared_valkey: Valkey,
    control_plane: ControlPlane,
) -> AsyncIterator[Scene]:
    """A namespace of the test's own beside those of the other tests, under the module's operator, which was
    started on a clean slate.

    Not together with `api`, which ends that operator.
    """
    assert "api" not in request.fixturenames, "the module's operator ends where `api` begins"
    async with Api(control_plane) as client:
        assert not shared_operator.ended, f"the operator ended:\n{tail(shared_operator.log)}"
        if not shared_operator.running:
            await clean(client)
            shared_valkey.command("FLUSHALL")
            await shared_operator.start()
        name = f"team-{os.getpid()}-{next(_number)}"
        await client.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        scene = Scene(client, name, shared_operator)
        yield scene
        await scene.close()
    assert shared_operator.running, f"the operator ended:\n{tail(shared_operator.log)}"
    request.node.add_report_section(
        "teardown", "operator log", f"{shared_operator.log}\n{tail(shared_operator.log, 40)}"
    )


@pytest.fixture
async def stage(
    request: pytest.FixtureRequest,
    *,
    operator: NewOperator,
    api: Api,
    api_proxy: ApiProxy,
    redis_proxy: RedisProxy,
    valkey: Valkey,
    namespace: str,
    tmp_path: Path,
) -> Stage:
    """An operator between a proxy of the API server and one of Redis, and a team.

    With the marker `started` the team has its policy, and the operator is started; without it, neither.
    """
    kubeconfig = api_proxy.kubeconfig(tmp_path / "proxied")
    process = await operator(kubeconfig=kubeconfig, redis_url=redis_proxy.url, start=False)
    for script in (FOLD, CLAIM, ACK, FREEZE, CLOSE):
        # So that the first call of each is the call, and not the word that the server does not know it.
        valkey.command("SCRIPT", "LOAD", script.body)
    team = Team(api, namespace)
    if markers := list(request.node.iter_markers("started")):
        await team.policy(**{field: value for each in markers for field, value in each.kwargs.items()})
        await process.start()
    return Stage(process, api, api_proxy, redis_proxy, valkey, team)
