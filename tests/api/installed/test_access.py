"""The one way to the API server: found, gone and believed as kubectl does, by our requests, our watches and
kopf's."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.api.conftest import NewOperator
from tests.harness import guard
from tests.harness.api import Api
from tests.harness.api_proxy import ApiProxy
from tests.harness.eventually import eventually
from tests.harness.forwarding import forward_proxy, tunnel
from tests.harness.kubeconfigs import V1, kubeconfig
from tests.harness.operator import OperatorProcess
from tests.harness.scene import Scene

from lab.controlplane import ControlPlane
from stormfold.kube.access import find_access
from stormfold.kube.client import KubeClient
from stormfold.kube.errors import ApiUnavailableError

SERVED = "kubernetes.default.svc"
"""A name in the certificate of every API server."""


@asynccontextmanager
async def owned(url: str) -> AsyncIterator[str]:
    """An address that the operator of a test may be sent to."""
    guard.own(url)
    try:
        yield url
    finally:
        guard.disown(url)


@dataclass
class Short:
    """A plugin whose tokens live for a short while, as those of clouds do; each call is a line of `calls`."""

    folder: Path
    seconds: float

    def __post_init__(self) -> None:
        self.calls = self.folder / "calls.log"
        self.calls.touch()
        self.failing = self.folder / "failing"
        self.program = self.folder / "token.sh"
        self.program.write_text(
            f"""#!/bin/sh
cd {self.folder}
date +%s.%N >> calls.log
if [ -e failing ]; then echo "your session has expired, run cloud login" >&2; exit 3; fi
now=$(date +%s.%N)
end=$(date -u -d "@$(echo "$now {self.seconds}" | awk '{{printf "%.3f", $1 + $2}}')" +%Y-%m-%dT%H:%M:%S.%3NZ)
echo "{{\\"kind\\": \\"ExecCredential\\", \\"apiVersion\\": \\"{V1}\\",
 \\"status\\": {{\\"expirationTimestamp\\": \\"$end\\", \\"token\\": \\"short-$now\\"}}}}"
"""
        )
        self.program.chmod(0o755)

    @property
    def user(self) -> dict[str, Any]:
        """The user of a kubeconfig."""
        return {"exec": {"apiVersion": V1, "command": str(self.program), "interactiveMode": "Never"}}

    def called(self) -> int:
        """How often it was."""
        return len(self.calls.read_text().splitlines())


def younger_than(seconds: float) -> Callable[[str], bool]:
    """Takes a token of `Short` for so long."""

    def takes(token: str) -> bool:
        made = token.removeprefix("short-")
        return made != token and time.time() - float(made) <= seconds

    return takes


@pytest.fixture
def plugin(request: pytest.FixtureRequest, api_proxy: ApiProxy, tmp_path: Path) -> Short:
    """A plugin whose tokens live for an hour, or for the seconds of the parameter, and half a second longer
    at the API server."""
    seconds = getattr(request, "param", 3600.0)
    api_proxy.takes = younger_than(seconds + 0.5)
    return Short(tmp_path, seconds)


@pytest.fixture
def plugged(plugin: Short, api_proxy: ApiProxy, tmp_path: Path) -> Path:
    """The kubeconfig of the proxied API server, for the plugin's user."""
    return kubeconfig(tmp_path / "config", {"server": api_proxy.url}, plugin.user)


Works = Callable[[OperatorProcess], Awaitable[None]]


@pytest.fixture
def works(api: Api, namespace: str) -> Works:
    """A policy is obeyed, which kopf hears of, and Signals become a request, which takes all the rest."""

    async def check(process: OperatorProcess) -> None:
        scene = Scene(api, namespace, process)
        await scene.policy()
        await scene.pods("Trouble", 2)
        await scene.comes_to((1, "Settled", 2))

    return check


@pytest.mark.parametrize("plugin", [3.0], ids=["3 s"], indirect=True)
async def test_plugin_is_asked_again_before_its_token_ends_and_nobody_meets_a_401(
    plugin: Short, plugged: Path, api_proxy: ApiProxy, operator: NewOperator, works: Works
) -> None:
    early = {"EARLY_SHARE": 0.3, "AGAIN_SECONDS": 0.0}
    constants = {f"stormfold.kube.credentials.{name}": value for name, value in early.items()}
    process = await operator(kubeconfig=plugged, constants=constants)
    began = time.monotonic()
    await eventually(plugin.called, lambda calls: calls >= 4, within=40, what="three tokens have ended")
    await works(process)
    elapsed = time.monotonic() - began
    assert plugin.called() <= 4 + elapsed / 2.1, "more often than its tokens end"
    assert [seen.path for seen in api_proxy.seen if seen.status == 401] == []
    assert (await process.metrics()).total("stormfold_kopf_restarts_total") == 0


async def test_token_that_is_taken_back_is_replaced_after_a_401_by_one_call(
    plugin: Short, plugged: Path, api_proxy: ApiProxy, operator: NewOperator, works: Works
) -> None:
    at_once = {"stormfold.kube.credentials.AGAIN_SECONDS": 0.0}
    process = await operator(kubeconfig=plugged, constants=at_once)
    taken_back = time.time()
    api_proxy.takes = lambda token: float(token.removeprefix("short-") or 0) > taken_back
    api_proxy.end_watches(".")
    await works(process)
    assert plugin.called() == 2
    assert (await process.metrics()).total("stormfold_kopf_restarts_total") == 0


async def test_401_and_a_plugin_that_fails_are_what_readiness_says_until_it_works_again(
    plugin: Short, plugged: Path, api_proxy: ApiProxy, operator: NewOperator, works: Works
) -> None:
    process = await operator(kubeconfig=plugged)

    async def said() -> Any:
        return json.loads((await process.get("/readyz"))[1])["problems"].get("credentials")

    api_proxy.takes = lambda _: False
    api_proxy.end_watches(".")
    await eventually(
        said,
        lambda words: (
            words == f"the API server at {api_proxy.url} answers 401: it does not take our credentials"
        ),
        what="401 is said",
    )
    plugin.failing.touch()
    await eventually(
        said,
        lambda words: (
            words == f"the credential plugin {plugin.program} failed with exit code 3: "
            "your session has expired, run cloud login"
        ),
        what="the plugin's words are said",
    )
    plugin.failing.unlink()
    api_proxy.takes = younger_than(3600.0)
    await eventually(lambda: process.get("/readyz"), lambda answer: answer[0] == 200, within=30, what="ready")
    await works(process)


async def test_proxy_that_adds_a_content_type_is_no_reason_for_kopf_to_end(
    api_proxy: ApiProxy, operator: NewOperator, works: Works, tmp_path: Path
) -> None:
    api_proxy.adds_a_type = True
    process = await operator(kubeconfig=api_proxy.kubeconfig(tmp_path / "config"))
    await works(process)
    assert [seen.path for seen in api_proxy.seen if seen.status == 415] == []
    assert (await process.metrics()).total("stormfold_kopf_restarts_total") == 0


async def test_token_file_that_changes_is_used_at_once(
    api_proxy: ApiProxy, operator: NewOperator, works: Works, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("first")
    taken = {"first"}
    api_proxy.takes = taken.__contains__
    config = kubeconfig(tmp_path / "config", {"server": api_proxy.url}, {"tokenFile": "token"})
    process = await operator(kubeconfig=config)
    token.write_text("second")
    taken.clear()
    taken.add("second")
    api_proxy.end_watches(".")
    await works(process)
    assert (await process.get("/readyz"))[0] == 200


async def test_in_a_pod_it_is_the_service_account_for_both_halves(
    control_plane: ControlPlane, operator: NewOperator, works: Works, tmp_path: Path
) -> None:
    folder = service_account(control_plane, tmp_path)
    process = await operator(
        environment={
            "KUBECONFIG": None,
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(control_plane.port),
        },
        constants={"stormfold.kube.access.SERVICE_ACCOUNT": folder},
    )
    await works(process)


async def test_kubeconfig_that_is_set_goes_before_the_service_account_for_both_halves(
    control_plane: ControlPlane, operator: NewOperator, works: Works, tmp_path: Path
) -> None:
    process = await operator(
        environment={"KUBERNETES_SERVICE_HOST": "192.0.2.1", "KUBERNETES_SERVICE_PORT": "443"},
        constants={"stormfold.kube.access.SERVICE_ACCOUNT": service_account(control_plane, tmp_path)},
    )
    await works(process)


def service_account(control_plane: ControlPlane, tmp_path: Path) -> Path:
    """A folder as the kubelet makes it."""
    folder = tmp_path / "serviceaccount"
    folder.mkdir()
    (folder / "token").write_text(control_plane.token)
    (folder / "ca.crt").write_bytes(control_plane.ca_file.read_bytes())
    return folder


async def test_pod_on_ipv6_has_a_url_in_brackets(control_plane: ControlPlane, tmp_path: Path) -> None:
    environment = {"KUBERNETES_SERVICE_HOST": "fd00:10:96::1", "KUBERNETES_SERVICE_PORT": "443"}
    access = await find_access(environment, service_account(control_plane, tmp_path))
    assert access.server == "https://[fd00:10:96::1]:443"


async def test_behind_a_tunnel_the_certificate_is_held_to_tls_server_name(
    control_plane: ControlPlane, operator: NewOperator, works: Works, tmp_path: Path
) -> None:
    async with tunnel(control_plane.port) as way, owned(f"https://{way.address}") as url:
        cluster = {"server": url, "certificate-authority": str(control_plane.ca_file)}
        user = {"token": control_plane.token}
        named = kubeconfig(tmp_path / "named", cluster | {"tls-server-name": SERVED}, user)
        await works(await operator(kubeconfig=named))
        other = kubeconfig(tmp_path / "other", cluster | {"tls-server-name": "other.example.org"}, user)
        async with KubeClient(await find_access({"KUBECONFIG": str(other)})) as client:
            with pytest.raises(
                ApiUnavailableError, match=r"certificate is not valid for 'other\.example\.org'"
            ):
                await client.get("/version")


@pytest.mark.parametrize("by", ["proxy-url", "HTTPS_PROXY"])
async def test_proxy_is_asked_for_the_way_by_all_parts(
    by: str, control_plane: ControlPlane, operator: NewOperator, works: Works, tmp_path: Path
) -> None:
    async with forward_proxy(control_plane.port) as proxy, owned(f"https://{SERVED}:6443") as url:
        proxy_url = f"http://ann:secret@{proxy.address}"
        cluster = {"server": url, "certificate-authority": str(control_plane.ca_file)}
        if by == "proxy-url":
            cluster["proxy-url"] = proxy_url
        config = kubeconfig(tmp_path / "config", cluster, {"token": control_plane.token})
        process = await operator(
            kubeconfig=config,
            environment={"HTTPS_PROXY": proxy_url if by == "HTTPS_PROXY" else None},
        )
        await works(process)
        assert set(proxy.asked) == {f"CONNECT {SERVED}:6443 HTTP/1.1"}
        assert proxy.logins == {"Basic YW5uOnNlY3JldA=="}
        assert "secret" not in process.log.read_text()
        process.kill()


async def test_proxy_that_refuses_is_named(control_plane: ControlPlane, tmp_path: Path) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        cluster = {"server": f"https://{SERVED}", "proxy-url": f"http://127.0.0.1:{port}"}
        config = kubeconfig(tmp_path / "config", cluster, {"token": "t"})
        async with KubeClient(await find_access({"KUBECONFIG": str(config)})) as client:
            with pytest.raises(ApiUnavailableError) as failure:
                await client.get("/version")
    assert failure.value.message == (
        f"no answer from https://{SERVED}: the proxy http://127.0.0.1:{port} does not connect to "
        f"{SERVED}:443: "
        "HTTP/1.1 407 Proxy Authentication Required"
    )
