"""The API tier: a control plane for each worker, a clean slate, and an operator process for each test."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import pytest
from tests.harness import programs
from tests.harness.alertmanager import Alertmanager, Config
from tests.harness.api import Api
from tests.harness.api_proxy import ApiProxy
from tests.harness.cluster import OPERATOR_NAMESPACE, prepared
from tests.harness.kubectl import Kubectl
from tests.harness.operator import OperatorProcess
from tests.harness.redis_proxy import RedisProxy
from tests.harness.scene import Scene
from tests.harness.stage import Stage
from tests.harness.team import Team

from lab.building import ensure_binaries
from lab.controlplane import ControlPlane
from lab.process import tail
from lab.valkey import Valkey
from stormfold.fold.scripts import ACK, CLAIM, CLOSE, FOLD, FREEZE

ROOT = Path(__file__).parents[2]
OWN_KINDS = (
    *("Signal", "RemediationRequest", "StormPolicy", "ClusterStormPolicy", "StormGate", "Lease", "Event"),
)
LONGEST = (
    *("test_kills", "test_alertmanager", "test_memory", "test_redis_refusals", "test_chart_release"),
    *("test_deploy", "test_api_faults", "test_fairness", "test_redis_loss", "test_storms", "test_chart"),
    *("test_quiet", "test_access", "test_manifests", "test_windows", "test_signals", "test_consumers"),
    *("test_start", "test_alerts", "test_policies", "test_alertmanager_alone", "test_standby"),
    *("test_notify", "test_consumer_examples"),
    *("test_checkpoint", "test_hostile", "test_release", "test_shutdown", "test_event_times"),
)
"""The files that take 20 s and more, longest first: they are begun first, so that no worker is alone in the
end."""

_number = itertools.count(1)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker of `stage`."""
    config.addinivalue_line(
        "markers", "started(**spec): the operator of `stage` runs, under the team's policy with these fields"
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build what the tests need and is not there: here, since a first build takes longer than a test may."""
    ours = [item for item in session.items if item.path.is_relative_to(Path(__file__).parent)]
    if ours:
        ensure_binaries()
    if any("alertmanager_program" in getattr(item, "fixturenames", ()) for item in ours):
        programs.current_alertmanager()
    if any("helm" in getattr(item, "fixturenames", ()) or "helm" in item.name for item in ours):
        programs.helm()
    if any(item.path.name == "test_release.py" for item in ours):
        programs.actionlint()


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ControlPlane]:
    """etcd and kube-apiserver, with our CRDs established and the operator's namespace made."""
    with prepared() as running:
        yield running


@pytest.fixture
async def api(control_plane: ControlPlane) -> AsyncIterator[Api]:
    """A client of the API server, as `admin`, on a clean slate: what earlier tests left is gone."""
    async with Api(control_plane) as client:
        for kind in OWN_KINDS:
            await client.delete_all(kind)
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


class NewOperator(Protocol):
    """Makes an operator process and, unless `start` is False, starts it and waits until it is ready."""

    def __call__(
        self,
        *,
        redis_url: str | None = None,
        kubeconfig: Path | None = None,
        environment: dict[str, str | None] | None = None,
        identity: str = "test-0",
        webhook_token_file: Path | None = None,
        constants: Mapping[str, Any] = {},
        clock_offset: float = 0.0,
        start: bool = True,
        ready: bool = True,
    ) -> Awaitable[OperatorProcess]: ...


@pytest.fixture
async def operator(
    request: pytest.FixtureRequest, api: Api, control_plane: ControlPlane, valkey: Valkey, tmp_path: Path
) -> AsyncIterator[NewOperator]:
    """Starts operators on `valkey` and the control plane, or on what the test names; ends them with the test.

    When the test fails, the end of each one's log is shown with the path of the whole.
    """
    made: list[OperatorProcess] = []

    async def make(
        *,
        redis_url: str | None = None,
        kubeconfig: Path | None = None,
        environment: dict[str, str | None] | None = None,
        identity: str = "test-0",
        webhook_token_file: Path | None = None,
        constants: Mapping[str, Any] = {},
        clock_offset: float = 0.0,
        start: bool = True,
        ready: bool = True,
    ) -> OperatorProcess:
        process = OperatorProcess(
            redis_url=redis_url or valkey.url,
            kubeconfig=kubeconfig or control_plane.kubeconfig,
            log=tmp_path / f"operator-{len(made)}.log",
            namespace=OPERATOR_NAMESPACE,
            identity=identity,
            environment=environment,
            webhook_token_file=webhook_token_file,
            constants=constants,
            clock_offset=clock_offset,
        )
        made.append(process)
        if start:
            await process.start(ready=ready)
        return process

    yield make
    for process in made:
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


class NewAlertmanager(Protocol):
    """Starts an Alertmanager and waits until it is ready; the options are those of `Alertmanager`."""

    def __call__(
        self,
        configuration: Config | str,
        *,
        cluster: bool = False,
        peer: Alertmanager | None = None,
        peer_timeout: str = "5s",
    ) -> Awaitable[Alertmanager]: ...


@pytest.fixture
async def alertmanager(
    request: pytest.FixtureRequest, alertmanager_program: Path, tmp_path: Path
) -> AsyncIterator[NewAlertmanager]:
    """Starts Alertmanagers, and stops them with the test; what each one logged last is shown when it
    fails."""
    made: list[Alertmanager] = []

    async def make(
        configuration: Config | str,
        *,
        cluster: bool = False,
        peer: Alertmanager | None = None,
        peer_timeout: str = "5s",
    ) -> Alertmanager:
        one = Alertmanager(
            alertmanager_program,
            configuration,
            tmp_path / f"alertmanager-{len(made)}",
            cluster=cluster,
            peer=peer,
            peer_timeout=peer_timeout,
        )
        made.append(one)
        await one.start()
        return one

    yield make
    for one in made:
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
def shared_operator(
    request: pytest.FixtureRequest, control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OperatorProcess]:
    """One operator for all tests of a module that use `scene`, on a clean slate and a Valkey of its own.

    A module sets further settings in its `ENVIRONMENT`.
    """

    async def clean() -> None:
        async with Api(control_plane) as client:
            for kind in OWN_KINDS:
                await client.delete_all(kind)

    with Valkey() as server:
        process = OperatorProcess(
            redis_url=server.url,
            kubeconfig=control_plane.kubeconfig,
            log=tmp_path_factory.mktemp("shared") / "operator.log",
            namespace=OPERATOR_NAMESPACE,
            environment=getattr(request.module, "ENVIRONMENT", None),
        )
        asyncio.run(clean())
        asyncio.run(process.start())
        yield process
        process.kill()


@pytest.fixture
async def scene(
    request: pytest.FixtureRequest, shared_operator: OperatorProcess, control_plane: ControlPlane
) -> AsyncIterator[Scene]:
    """A namespace of the test's own beside those of the other tests, under the module's operator.

    Not together with `api`, which would clean away what the operator works on.
    """
    async with Api(control_plane) as client:
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
