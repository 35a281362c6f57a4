"""What keeps the operator from starting is said in one line, with how to mend it; then the process ends."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.api.conftest import NewOperator
from tests.harness import guard
from tests.harness.api import Api
from tests.harness.api_proxy import ApiProxy
from tests.harness.operator import OperatorProcess
from tests.harness.redis_proxy import RedisProxy

from lab.building import ensure_binaries
from lab.controlplane import ControlPlane
from lab.process import free_port
from lab.valkey import Valkey
from stormfold.fold import keys

QUICKLY = 60.0
"""Seconds. It takes 2, and 12 where Redis does not answer; only a machine that is busy otherwise needs
more."""


async def end_of(process: OperatorProcess) -> tuple[int, list[str]]:
    """Its exit code and the lines that it wrote."""
    await process.start(ready=False)
    code = await process.exit_code(within=QUICKLY)
    return code, process.log.read_text().splitlines()


async def refusal_of(process: OperatorProcess) -> str:
    """The only line of an operator that did not start: severe, one line, exit code 1."""
    code, lines = await end_of(process)
    assert (code, len(lines)) == (1, 1), lines
    (entry,) = process.log_lines()
    assert (entry["level"], entry["logger"]) == ("CRITICAL", "stormfold")
    return str(entry["message"])


async def test_every_wrong_setting_has_its_line(operator: NewOperator) -> None:
    wrong: dict[str, str | None] = {
        "STORMFOLD_REDIS_URL": "",
        "STORMFOLD_NAMESPACE": "Not_A_Name",
        "STORMFOLD_HTTP_PORT": "70000",
        "STORMFOLD_MARKS_PER_SECOND": "many",
        "STORMFOLD_GRACE_SECONDS": "-1",
        "STORMFOLD_LOG_LEVEL": "loud",
    }
    process = await operator(environment=wrong, start=False)
    assert await end_of(process) == (
        2,
        [
            "stormfold: STORMFOLD_REDIS_URL: must not be empty",
            (
                "stormfold: STORMFOLD_NAMESPACE: must be the name of a namespace: lower-case letters, digits "
                "and hyphens, not 'Not_A_Name'"
            ),
            "stormfold: STORMFOLD_HTTP_PORT: must be 65535 or less, not '70000'",
            "stormfold: STORMFOLD_MARKS_PER_SECOND: must be a whole number, not 'many'",
            "stormfold: STORMFOLD_GRACE_SECONDS: must be 0 or more, not '-1'",
            "stormfold: STORMFOLD_LOG_LEVEL: must be 'DEBUG', 'INFO', 'WARNING' or 'ERROR', not 'LOUD'",
        ],
    )


@pytest.mark.parametrize(
    ("url", "message"),
    [
        pytest.param(
            "http://127.0.0.1:6379",
            "STORMFOLD_REDIS_URL begins with 'http'; it must begin with redis://, rediss://, "
            "redis+cluster:// or redis+sentinel://",
            id="other scheme",
        ),
        pytest.param(
            "redis://127.0.0.1:port",
            "STORMFOLD_REDIS_URL is not a URL of Redis: its host, port or options cannot be read; in a "
            "password, "
            "/ ? # [ and the like are written as %2F %3F %23 %5B",
            id="no port",
        ),
        pytest.param(
            "redis+sentinel://127.0.0.1",
            "STORMFOLD_REDIS_URL is not a URL of Redis: redis+sentinel:// needs host:port,…/service",
            id="no service",
        ),
    ],
)
async def test_wrong_address_of_redis_is_explained(url: str, message: str, operator: NewOperator) -> None:
    assert await refusal_of(await operator(redis_url=url, start=False)) == f"stormfold ends: {message}"


async def test_redis_that_is_not_there_is_named(operator: NewOperator) -> None:
    port = free_port()
    at_once = {"stormfold.starting.FOUND_SECONDS": 0.0}
    process = await operator(redis_url=f"redis://127.0.0.1:{port}/0", start=False, constants=at_once)
    assert await refusal_of(process) == (
        "stormfold ends: asking Redis who it is: "
        f"Error 111 connecting to 127.0.0.1:{port}. Connection refused: "
        "check STORMFOLD_REDIS_URL and the network"
    )


async def test_redis_that_never_answers_is_named(operator: NewOperator) -> None:
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as silent:
        port = silent.sockets[0].getsockname()[1]
        process = await operator(redis_url=f"redis://127.0.0.1:{port}/0", start=False)
        assert await refusal_of(process) == (
            f"stormfold ends: asking Redis who it is: no answer from 127.0.0.1:{port} within 5 s: "
            "check STORMFOLD_REDIS_URL and the network"
        )


async def test_redis_that_starts_beside_the_operator_is_waited_for(operator: NewOperator) -> None:
    asked = asyncio.Event()

    def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        writer.close()

    late = Valkey()
    process = await operator(redis_url=late.url, start=False)
    async with await asyncio.start_server(hang_up, "127.0.0.1", late.port):
        starting = asyncio.create_task(process.start())
        async with asyncio.timeout(QUICKLY):
            await asked.wait()
    with late:
        await starting
        assert {entry["level"] for entry in process.log_lines()} == {"INFO"}
        await process.terminate()


async def test_redis_that_evicts_is_refused(operator: NewOperator) -> None:
    with Valkey(settings={"maxmemory-policy": "allkeys-lru"}) as evicting:
        process = await operator(redis_url=evicting.url, start=False)
        assert await refusal_of(process) == (
            "stormfold ends: Redis evicts keys (maxmemory-policy is allkeys-lru): a storm could vanish; "
            "run CONFIG SET maxmemory-policy noeviction, and set it in the server's configuration"
        )


@pytest.mark.parametrize("login", [pytest.param("", id="none"), pytest.param(":wrong@", id="wrong")])
async def test_wrong_password_of_redis_is_explained(login: str, operator: NewOperator) -> None:
    with Valkey(password="right") as closed:
        process = await operator(redis_url=f"redis://{login}127.0.0.1:{closed.port}/0", start=False)
        said, _, fix = (await refusal_of(process)).rpartition("); ")
        assert said.startswith("stormfold ends: asking Redis who it is: Redis refused the credentials (")
        assert fix == "fix user and password in STORMFOLD_REDIS_URL"


async def test_right_that_scripts_need_is_named(operator: NewOperator, valkey: Valkey) -> None:
    valkey.command("ACL", "SETUSER", "few", "on", ">secret", "~sf:*", "+@all", "-persist", "-zmscore")
    process = await operator(redis_url=f"redis://few:secret@127.0.0.1:{valkey.port}/0", start=False)
    assert await refusal_of(process) == (
        "stormfold ends: Redis does not let its user run PERSIST, ZMSCORE: "
        "give its user the rights of https://stormfold.dev/install/#a-redis-of-your-own"
    )


async def test_server_that_does_not_know_our_scripts_is_named(
    operator: NewOperator, redis_proxy: RedisProxy
) -> None:
    redis_proxy.refuse("EVALSHA", "NOSCRIPT No matching script. Please use EVAL.", times=None)
    redis_proxy.refuse("EVAL", "ERR Error compiling script: unexpected symbol near '#'", times=None)
    assert await refusal_of(await operator(redis_url=redis_proxy.url, start=False)) == (
        'stormfold ends: Redis cannot read scripts that begin with "#!lua" '
        "(Error compiling script: unexpected symbol near '#'): stormfold needs Redis 7.0 or newer, or Valkey"
    )


async def test_redis_that_hides_info_and_config_is_taken_with_one_warning(
    operator: NewOperator, valkey: Valkey
) -> None:
    valkey.command("ACL", "SETUSER", "app", "on", ">secret", "~sf:*", "+@all", "-@dangerous", "-@admin")
    process = await operator(redis_url=f"redis://app:secret@127.0.0.1:{valkey.port}/0")
    warnings = [entry["message"] for entry in process.log_lines() if entry["level"] != "INFO"]
    assert warnings == [
        (
            "Redis does not let us run INFO, so that version, memory and fail-overs cannot be seen: "
            "make sure that maxmemory-policy is noeviction, or storms may be lost"
        )
    ]


async def test_redis_of_another_cluster_is_refused(operator: NewOperator, valkey: Valkey) -> None:
    valkey.command("HSET", keys.checkpoint(7), "cluster", "another")
    process = await operator(start=False)
    code, _ = await end_of(process)
    severe = [entry["message"] for entry in process.log_lines() if entry["level"] != "INFO"]
    assert (code, severe) == (
        1,
        [
            (
                "stormfold ends: Redis holds the storms of another cluster (another): "
                "give each cluster its own database or server"
            )
        ],
    )


@pytest.fixture
def nobody(tmp_path: Path, control_plane: ControlPlane) -> Iterator[Path]:
    """A kubeconfig for an address at which no API server listens."""
    url = f"http://127.0.0.1:{free_port()}"
    guard.own(url)
    yield control_plane.write_kubeconfig(tmp_path / "nobody", server=url)
    guard.disown(url)


async def test_api_server_that_is_not_there_is_named(nobody: Path, operator: NewOperator) -> None:
    message = await refusal_of(await operator(kubeconfig=nobody, start=False))
    url = message.partition("http://")[2].partition(" ")[0]
    host, _, port = url.partition(":")
    assert message == (
        f"stormfold ends: the API server at http://{url} does not answer (no answer from http://{url}: "
        f"[Errno 111] Connect call failed ('{host}', {port})): "
        "check KUBECONFIG and the network"
    )


async def test_missing_kubeconfig_is_explained(operator: NewOperator, tmp_path: Path) -> None:
    process = await operator(environment={"KUBECONFIG": str(tmp_path / "none")}, start=False)
    assert await refusal_of(process) == (
        f"stormfold ends: no way to an API server: no file {tmp_path / 'none'}"
    )


async def test_unknown_token_is_explained(
    control_plane: ControlPlane, operator: NewOperator, tmp_path: Path
) -> None:
    kubeconfig = control_plane.write_kubeconfig(tmp_path / "stranger", token="unknown")
    assert await refusal_of(await operator(kubeconfig=kubeconfig, start=False)) == (
        f"stormfold ends: the API server at {control_plane.url} does not know our credentials: "
        "fix KUBECONFIG or the service account"
    )


async def test_missing_rights_are_listed(
    control_plane: ControlPlane, api: Api, namespace: str, operator: NewOperator, tmp_path: Path
) -> None:
    account = {"name": "powerless", "namespace": namespace}
    await api.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account})
    token = await asyncio.to_thread(control_plane.service_account_token, namespace, "powerless")
    kubeconfig = control_plane.write_kubeconfig(tmp_path / "powerless", token=token)
    assert await refusal_of(await operator(kubeconfig=kubeconfig, start=False)) == (
        "stormfold ends: RBAC denies list signals, watch signals, delete signals, patch signals/status, "
        "get remediationrequests, list remediationrequests, watch remediationrequests, "
        "create remediationrequests, delete remediationrequests, patch remediationrequests/status, "
        "list stormpolicies, watch stormpolicies, patch stormpolicies/status, "
        "list clusterstormpolicies, watch clusterstormpolicies, patch clusterstormpolicies/status, "
        "list stormgates, watch stormgates, patch stormgates/status, "
        "get namespaces, list namespaces, watch namespaces, create events, "
        "create tokenreviews, create subjectaccessreviews, "
        "get leases, create leases, update leases: "
        "apply manifests/base/rbac.yaml, and run under its ServiceAccount"
    )


async def test_missing_namespace_is_named(operator: NewOperator) -> None:
    process = await operator(environment={"STORMFOLD_NAMESPACE": "nowhere"}, start=False)
    assert await refusal_of(process) == (
        "stormfold ends: namespace nowhere does not exist: kubectl create namespace nowhere, "
        "or set STORMFOLD_NAMESPACE"
    )


async def test_missing_crds_are_listed(operator: NewOperator) -> None:
    bare = ControlPlane(ensure_binaries())
    await asyncio.to_thread(bare.start)
    guard.own(bare.url)
    try:
        assert await refusal_of(await operator(kubeconfig=bare.kubeconfig, start=False)) == (
            "stormfold ends: CRDs are missing (clusterstormpolicies.stormfold.dev, "
            "remediationrequests.stormfold.dev, signals.stormfold.dev, stormgates.stormfold.dev, "
            "stormpolicies.stormfold.dev, version v1alpha1): kubectl apply -f crds/"
        )
    finally:
        guard.disown(bare.url)
        bare.stop()


async def test_api_server_that_fails_while_asked_for_rights_is_named(
    api_proxy: ApiProxy, operator: NewOperator, tmp_path: Path
) -> None:
    api_proxy.respond("POST", "/selfsubjectaccessreviews", 500, {"message": "etcd is away"}, times=None)
    kubeconfig = api_proxy.kubeconfig(tmp_path / "proxied")
    assert await refusal_of(await operator(kubeconfig=kubeconfig, start=False)) == (
        f"stormfold ends: the API server at {api_proxy.url} does not answer (etcd is away): "
        "check KUBECONFIG and the network"
    )


async def test_taken_port_is_named(operator: NewOperator) -> None:
    async with await asyncio.start_server(lambda *_: None, "127.0.0.1", 0) as taken:
        port = taken.sockets[0].getsockname()[1]
        process = await operator(environment={"STORMFOLD_HTTP_PORT": str(port)}, start=False)
        assert await refusal_of(process) == (
            f"stormfold ends: cannot listen on 127.0.0.1:{port} (Address already in use): "
            "set STORMFOLD_HTTP_HOST and STORMFOLD_HTTP_PORT"
        )
