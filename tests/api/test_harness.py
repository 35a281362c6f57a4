"""The proxy, the guard and the control plane: what the scenarios of this tier take for granted."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest
from tests.api.conftest import NewNamespace, Restart
from tests.harness.api import Api
from tests.harness.api_proxy import ApiProxy
from tests.harness.eventually import eventually
from tests.harness.guard import ForeignClusterError
from tests.harness.kubectl import Kubectl, KubectlError

from lab.controlplane import ControlPlane

NAMESPACES = "/api/v1/namespaces"


def test_cluster_that_the_tests_did_not_make_is_refused(control_plane: ControlPlane, tmp_path: Path) -> None:
    foreign = control_plane.write_kubeconfig(tmp_path / "foreign", server="https://203.0.113.1:6443")
    with pytest.raises(ForeignClusterError):
        Kubectl(foreign)


async def test_service_account_has_a_token_and_no_rights(
    control_plane: ControlPlane, api: Api, namespace: str, tmp_path: Path
) -> None:
    account = {"name": "operator", "namespace": namespace}
    await api.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account})
    token = await asyncio.to_thread(control_plane.service_account_token, namespace, "operator")
    kubectl = Kubectl(control_plane.write_kubeconfig(tmp_path / "account", token=token))
    assert f"system:serviceaccount:{namespace}:operator" in await kubectl("auth", "whoami")
    with pytest.raises(KubectlError, match="cannot list resource"):
        await kubectl("get", "namespaces")


async def test_apiserver_keeps_its_objects_over_a_restart(
    api: Api, namespace: str, restart_apiserver: Restart
) -> None:
    await restart_apiserver()
    found = await eventually(lambda: api.get("Namespace", namespace), what="the API answers again")
    assert found is not None


async def test_kubectl_works_through_the_proxy(api_proxy: ApiProxy, namespace: str, tmp_path: Path) -> None:
    kubectl = Kubectl(api_proxy.kubeconfig(tmp_path / "proxied"))
    assert namespace in await kubectl("get", "namespaces", "-o", "name")
    assert api_proxy.count("GET", r"/namespaces\b") == 1


async def test_answers_in_the_place_of_the_server_are_used_up(api_proxy: ApiProxy) -> None:
    api_proxy.respond("GET", NAMESPACES, 429, headers={"Retry-After": "1"}, times=2)
    seen = []
    async with aiohttp.ClientSession(api_proxy.url) as session:
        for _ in range(3):
            async with session.get(NAMESPACES) as response:
                seen.append((response.status, response.headers.get("Retry-After")))
    assert seen == [(429, "1"), (429, "1"), (200, None)]


async def test_request_held_before_the_server_is_dropped_with_its_client(
    api: Api, api_proxy: ApiProxy
) -> None:
    hold = api_proxy.hold("POST", NAMESPACES)
    async with aiohttp.ClientSession(api_proxy.url) as session:
        sent = asyncio.create_task(session.post(NAMESPACES, json={"metadata": {"name": "held-before"}}))
        await hold.arrived.wait()
        sent.cancel()
        await asyncio.wait({sent})
    hold.release()
    assert await api.get("Namespace", "held-before") is None


async def test_client_leaves_no_socket_behind_though_requests_of_it_were_cancelled(
    control_plane: ControlPlane,
) -> None:
    def sockets() -> set[str]:
        links = map(_link, Path("/proc/self/fd").iterdir())
        return {link for link in links if link.startswith("socket:")}

    before = sockets()
    async with Api(control_plane) as client:
        asked = [asyncio.create_task(client.list("Namespace")) for _ in range(30)]
        await eventually(lambda: len(sockets() - before) == len(asked), what="each has connected")
        for task in asked:
            task.cancel()
        await asyncio.wait(asked)
    assert sockets() - before == set()


def _link(descriptor: Path) -> str:
    try:
        return str(descriptor.readlink())
    except FileNotFoundError:  # that of the folder itself
        return ""


async def test_answer_held_back_comes_after_the_work_was_done(api: Api, api_proxy: ApiProxy) -> None:
    hold = api_proxy.hold("POST", NAMESPACES, body=lambda body: b"held-after" in body, when="after")
    async with aiohttp.ClientSession(api_proxy.url) as session:
        sent = asyncio.create_task(session.post(NAMESPACES, json={"metadata": {"name": "held-after"}}))
        await hold.arrived.wait()
        assert await api.get("Namespace", "held-after") is not None
        assert not sent.done()
        hold.release()
        assert (await sent).status == 201


async def test_cut_answer_breaks_the_connection_after_the_work(api: Api, api_proxy: ApiProxy) -> None:
    api_proxy.cut("POST", NAMESPACES, when="after")
    async with aiohttp.ClientSession(api_proxy.url) as session:
        with pytest.raises(aiohttp.ClientError):
            await session.post(NAMESPACES, json={"metadata": {"name": "cut-after"}})
    assert await api.get("Namespace", "cut-after") is not None


async def test_watch_passes_events_at_once_and_takes_injected_ones(
    api_proxy: ApiProxy, new_namespace: NewNamespace
) -> None:
    async with (
        aiohttp.ClientSession(api_proxy.url) as session,
        session.get(f"{NAMESPACES}?watch=true") as watch,
    ):
        name = await new_namespace()
        lines = watch.content
        async with asyncio.timeout(15):
            while name.encode() not in await lines.readline():
                pass
        assert await api_proxy.inject(NAMESPACES, {"type": "ERROR", "object": {"code": 410}}) == 1
        assert await lines.readline() == b'{"type": "ERROR", "object": {"code": 410}}\n'
        assert api_proxy.end_watches(NAMESPACES) == 1
        assert await lines.read() == b""
