"""Each setting of where the operator lives: whom it is, what it connects to, where it answers, how it
ends."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest
from tests.api.conftest import OPERATOR_NAMESPACE, NewOperator
from tests.harness.api import Api
from tests.harness.api_proxy import ApiProxy
from tests.harness.eventually import eventually
from tests.harness.operator import OperatorProcess
from tests.harness.scene import Scene

from lab.valkey import Valkey


def nobody(number: int) -> Any:
    """What asking for a user's name gives if there is no such user, as with the ids that OpenShift gives
    pods."""
    raise KeyError(f"getpwuid(): uid not found: {number}")


@pytest.fixture
def scene_of(api: Api, namespace: str) -> Any:
    """A scene under an operator of the test's own."""
    return lambda process: Scene(api, namespace, process)


async def test_namespace_that_is_set_has_the_lease_and_the_signals_that_may_speak_for_others(
    api: Api, namespace: str, operator: NewOperator, scene_of: Any
) -> None:
    process = await operator(environment={"STORMFOLD_NAMESPACE": namespace}, identity="blue-7")
    [lease] = await api.list("Lease", namespace)
    assert lease["spec"]["holderIdentity"] == "blue-7"
    assert await api.list("Lease", OPERATOR_NAMESPACE) == []
    scene: Scene = scene_of(process)
    other = await scene.another_namespace()
    await scene.policy(namespace=other)
    await scene.signal("Trouble", target={"kind": "Pod", "name": "pod-0", "namespace": other})
    await scene.signal("Trouble", "pod-1", namespace=other)
    refused = scene.manifest(
        "Trouble", namespace=OPERATOR_NAMESPACE, target={"kind": "Pod", "name": "pod-2", "namespace": other}
    )
    await api.create(refused)
    await scene.comes_to((1, "Settled", 2), namespace=other)
    await scene.signals_come_to(
        "status.phase status.reason", [("Rejected", "TargetInOtherNamespace")], namespace=OPERATOR_NAMESPACE
    )


async def test_identity_is_the_pods_name_if_it_is_not_set(api: Api, operator: NewOperator) -> None:
    await operator(environment={"STORMFOLD_IDENTITY": None, "POD_NAME": "stormfold-0"})
    [lease] = await api.list("Lease", OPERATOR_NAMESPACE)
    assert lease["spec"]["holderIdentity"] == "stormfold-0"


async def test_redis_url_names_the_database(
    namespace: str, operator: NewOperator, valkey: Valkey, scene_of: Any
) -> None:
    process: OperatorProcess = await operator(redis_url=valkey.url.removesuffix("/0") + "/3")
    scene = scene_of(process)
    await scene.policy()
    await scene.pods("Trouble", 1)
    await scene.comes_to((1, "Settled", 1))
    keyspace = str(valkey.command("INFO", "keyspace"))
    assert ("db0:" in keyspace, "db3:" in keyspace) == (False, True)
    assert "INFO" in {line["level"] for line in process.log_lines()}  # the default of the log level


async def test_http_host_and_port_are_where_it_answers(operator: NewOperator) -> None:
    process = await operator(environment={"STORMFOLD_HTTP_HOST": "127.0.0.3"}, ready=False)

    async def status(host: str) -> int:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://{host}:{process.port}/readyz") as said,
        ):
            return said.status

    await eventually(lambda: status("127.0.0.3"), lambda code: code == 200, within=30)
    with pytest.raises(aiohttp.ClientConnectorError):
        await status("127.0.0.1")


async def test_grace_is_how_long_the_end_waits_for_what_cannot_be_written(
    operator: NewOperator, scene_of: Any, api_proxy: ApiProxy, tmp_path: Any
) -> None:
    process: OperatorProcess = await operator(
        kubeconfig=api_proxy.kubeconfig(tmp_path / "proxied"), environment={"STORMFOLD_GRACE_SECONDS": "0.5"}
    )
    scene = scene_of(process)
    await scene.policy()
    held = api_proxy.hold("POST", "/remediationrequests", times=None)
    await scene.pods("Trouble", 1)
    await held.arrived.wait()
    began = asyncio.get_running_loop().time()
    assert await process.terminate() == 0
    assert asyncio.get_running_loop().time() - began < 20  # the default waits 20 s and more
    held.release()
    assert await scene.requests() == []


async def test_every_port_takes_connections_of_both_families_unless_an_address_is_set(
    operator: NewOperator,
) -> None:
    everywhere: dict[str, str | None] = {"STORMFOLD_HTTP_HOST": None, "STORMFOLD_WEBHOOK_HOST": None}
    process = await operator(environment=everywhere)
    webhook_port = int(process.webhook_url.partition("//127.0.0.1:")[2].partition("/")[0])
    answers = {}
    async with aiohttp.ClientSession() as session:
        for address in ("127.0.0.1", "[::1]"):
            async with (
                session.get(f"http://{address}:{process.port}/livez") as live,
                session.post(f"http://{address}:{webhook_port}/v1/alertmanager") as post,
            ):
                answers[address] = (live.status, post.status)
    assert answers == {"127.0.0.1": (200, 401), "[::1]": (200, 401)}


async def test_user_id_without_a_name_or_a_home_will_do(
    namespace: str, operator: NewOperator, scene_of: Any
) -> None:
    names = dict.fromkeys(("HOME", "USER", "LOGNAME", "LNAME", "USERNAME"), None)
    scene: Scene = scene_of(await operator(environment=names, constants={"pwd.getpwuid": nobody}))
    await scene.policy()
    await scene.pods("Trouble", 1)
    await scene.comes_to((1, "Settled", 1))
