"""Who we are to the API server, and whom we believe to be it, in both halves."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from tests.harness.kubeconfigs import V1, kubeconfig

from lab.building import ensure_binaries
from lab.controlplane import ControlPlane
from stormfold.kube.access import Access, find_access
from stormfold.kube.client import KubeClient
from stormfold.kube.errors import ApiUnavailableError
from stormfold.watches.session import session_of

# --- who we are, as the API server sees it


def openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(("openssl", *arguments), cwd=folder, check=True, capture_output=True)


def certificate(
    folder: Path, name: str, subject: str, ca: str | None = None, more: str = ""
) -> tuple[Path, Path]:
    """Make `<name>.crt` and `<name>.key`, by itself or by an authority; without an authority key
    identifier."""
    extensions = folder / f"{name}.ext"
    extensions.write_text(more + "\nauthorityKeyIdentifier=none\n")
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl(folder, "req", "-new", *key, "-keyout", f"{name}.key", "-subj", subject, "-out", f"{name}.csr")
    by = ("-signkey", f"{name}.key") if ca is None else ("-CA", f"{ca}.crt", "-CAkey", f"{ca}.key")
    openssl(
        folder,
        "x509",
        "-req",
        "-in",
        f"{name}.csr",
        *by,
        "-days",
        "1",
        "-extfile",
        f"{name}.ext",
        "-out",
        f"{name}.crt",
    )
    return folder / f"{name}.crt", folder / f"{name}.key"


CA = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign"


@dataclass
class Believing:
    """A control plane that believes client certificates, and where its authority is."""

    control_plane: ControlPlane
    folder: Path

    def user(self, how: str) -> dict[str, Any]:
        """The user `ann` of the group `devs`, who is known by her certificate."""
        crt, key = self.folder / "ann.crt", self.folder / "ann.key"
        if how == "files":
            return {"client-certificate": str(crt), "client-key": str(key)}
        if how == "data":
            data = {
                name: base64.b64encode(path.read_bytes()).decode()
                for name, path in (("certificate", crt), ("key", key))
            }
            return {"client-certificate-data": data["certificate"], "client-key-data": data["key"]}
        printed = {
            "apiVersion": V1,
            "kind": "ExecCredential",
            "status": {"clientCertificateData": crt.read_text(), "clientKeyData": key.read_text()},
        }
        (self.folder / "printed.json").write_text(json.dumps(printed))
        return {"exec": {"apiVersion": V1, "command": "cat", "args": [str(self.folder / "printed.json")]}}


@pytest.fixture(scope="module")
def believing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Believing]:
    """An API server with a --client-ca-file."""
    folder = tmp_path_factory.mktemp("believing")
    authority, _ = certificate(folder, "ca", "/CN=clients", more=CA)
    certificate(folder, "ann", "/O=devs/CN=ann", "ca", "extendedKeyUsage=clientAuth")
    with ControlPlane(ensure_binaries(), apiserver_args=[f"--client-ca-file={authority}"]) as control_plane:
        yield Believing(control_plane, folder)


@asynccontextmanager
async def kopfs_session(access: Access) -> AsyncIterator[aiohttp.ClientSession]:
    """That of kopf, closed at the end."""
    session = (await session_of(access, {})).aiohttp_session
    try:
        yield session
    finally:
        await session.close()


WHOAMI = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
REVIEW = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}


@pytest.mark.parametrize(
    ("user", "seen_as"),
    [
        pytest.param("token", ("admin", ["system:masters"]), id="token"),
        pytest.param("files", ("ann", ["devs"]), id="client certificate in files"),
        pytest.param("data", ("ann", ["devs"]), id="client certificate in the kubeconfig"),
        pytest.param("exec", ("ann", ["devs"]), id="client certificate of a plugin"),
    ],
)
async def test_api_server_sees_the_same_user_from_both_halves(
    user: str, seen_as: tuple[str, list[str]], believing: Believing, tmp_path: Path
) -> None:
    name, groups = seen_as
    control_plane = believing.control_plane
    cluster = {"server": control_plane.url, "certificate-authority": str(control_plane.ca_file)}
    token = {"token": control_plane.token}
    who = token if user == "token" else believing.user(user)
    access = await find_access({"KUBECONFIG": str(kubeconfig(tmp_path / "config", cluster, who))})
    async with KubeClient(access) as client:
        ours = await client.create(WHOAMI, REVIEW)
    async with kopfs_session(access) as session:
        kopfs = await (await session.request("POST", access.server + WHOAMI, json=REVIEW)).json()
    for seen in (ours, kopfs):
        info = seen["status"]["userInfo"]
        assert (info["username"], info["groups"]) == (name, [*groups, "system:authenticated"])


# --- whom we believe


@dataclass
class Tls:
    """A server of TLS whose certificate can be replaced."""

    context: ssl.SSLContext
    port: int = 0


@asynccontextmanager
async def tls_server(folder: Path) -> AsyncIterator[Tls]:
    served = Tls(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    served.context.load_cert_chain(folder / "server.crt", folder / "server.key")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=served.context) as server:
        served.port = server.sockets[0].getsockname()[1]
        yield served


def server_certificate(folder: Path, ca: str) -> None:
    certificate(folder, "server", "/CN=api", ca, "subjectAltName=IP:127.0.0.1")


async def test_authority_that_is_rotated_is_believed_without_a_restart(tmp_path: Path) -> None:
    old, _ = certificate(tmp_path, "old", "/CN=old", more=CA)
    new, _ = certificate(tmp_path, "new", "/CN=new", more=CA)
    bundle = tmp_path / "ca.crt"
    bundle.write_bytes(old.read_bytes())
    server_certificate(tmp_path, "old")
    async with tls_server(tmp_path) as server:
        cluster = {"server": f"https://127.0.0.1:{server.port}", "certificate-authority": "ca.crt"}
        access = await find_access(
            {"KUBECONFIG": str(kubeconfig(tmp_path / "config", cluster, {"token": "t"}))}
        )
        async with KubeClient(access) as client:
            assert await client.get("/version") == {}
            server_certificate(tmp_path, "new")
            server.context.load_cert_chain(tmp_path / "server.crt", tmp_path / "server.key")
            with pytest.raises(ApiUnavailableError, match="certificate verify failed"):
                await client.get("/version")
            bundle.write_bytes(old.read_bytes()[:40])  # half written
            with pytest.raises(ApiUnavailableError, match="certificate verify failed"):
                await client.get("/version")
            bundle.write_bytes(old.read_bytes() + new.read_bytes())
            assert await client.get("/version") == {}
            assert [event async for event in client.watch("/version", dict, params={})] == [{}]
        async with kopfs_session(access) as session:
            assert (await session.request("GET", access.server)).status == 200


def test_authority_without_a_key_identifier_is_believed_by_each_python(tmp_path: Path) -> None:
    """From 3.13 on `ssl.create_default_context` refuses the certificates of many clusters."""
    certificate(tmp_path, "ca", "/CN=ca", more=CA)
    cluster = {"server": "https://127.0.0.1", "certificate-authority": "ca.crt"}
    access = asyncio.run(
        find_access({"KUBECONFIG": str(kubeconfig(tmp_path / "config", cluster, {"token": "t"}))})
    )
    assert access.tls is not None
    context = access.tls.context()
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


async def test_insecure_skip_tls_verify_believes_anybody(tmp_path: Path) -> None:
    certificate(tmp_path, "ca", "/CN=ca", more=CA)
    certificate(tmp_path, "server", "/CN=other", "ca", "subjectAltName=DNS:other")
    async with tls_server(tmp_path) as server:
        for insecure in (True, False):
            cluster = {"server": f"https://127.0.0.1:{server.port}", "insecure-skip-tls-verify": insecure}
            config = kubeconfig(tmp_path / "config", cluster, {"token": "t"})
            async with KubeClient(await find_access({"KUBECONFIG": str(config)})) as client:
                if insecure:
                    assert await client.get("/version") == {}
                else:
                    with pytest.raises(ApiUnavailableError, match="certificate verify failed"):
                        await client.get("/version")


async def test_credentials_do_not_follow_a_redirection_to_another_server(tmp_path: Path) -> None:
    seen: list[tuple[str, str | None]] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append((request.path, request.headers.get("Authorization")))
        if request.path == "/elsewhere":
            raise web.HTTPFound(f"http://localhost:{port}/there")
        return web.json_response({})

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    config = kubeconfig(tmp_path / "config", {"server": f"http://127.0.0.1:{port}"}, {"token": "t"})
    async with kopfs_session(await find_access({"KUBECONFIG": str(config)})) as session:
        assert (await session.request("GET", f"http://127.0.0.1:{port}/elsewhere")).status == 200
    assert seen == [("/elsewhere", "Bearer t"), ("/there", None)]
    await runner.cleanup()
