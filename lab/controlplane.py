"""A real Kubernetes API of one's own: etcd and kube-apiserver as child processes on loopback.

There is no controller manager, scheduler or kubelet: namespaces can be made but never finish their deletion,
pods do not run, and service accounts exist only where somebody makes them. All calls block; in asyncio use
`asyncio.to_thread`.
"""

from __future__ import annotations

import base64
import json
import secrets
import shutil
import ssl
import tempfile
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lab.building import Binaries
from lab.process import Server, Started, free_port

START_SECONDS = 60.0
"""Within this each of the servers must answer; on an idle machine it takes 3 s."""
COLLECTED_SELDOM = {"GOGC": "400", "GOMEMLIMIT": "1GiB"}
"""For kube-apiserver: a fifth less CPU for each write, and 100 MB more memory at rest. Above 1 GiB it
collects as often as it must."""

Rules = Sequence[Mapping[str, Any]]
"""Of an audit policy: which requests are logged, and what of them."""
ALL_METADATA: Rules = ({"level": "Metadata"},)
"""Who asked for what, and when it was answered."""


class ControlPlane(Started):
    """etcd and kube-apiserver with a data folder of their own; `with` starts and removes them.

    `users` are further identities, a name to its RBAC groups; each gets a token in `tokens`. The user `admin`
    may do everything. `audit` are the rules by which requests are logged. `apiserver_args` are appended to
    the command line of kube-apiserver, so they win.
    """

    def __init__(
        self,
        binaries: Binaries,
        *,
        users: Mapping[str, Sequence[str]] | None = None,
        audit: Rules = (),
        apiserver_args: Sequence[str] = (),
    ) -> None:
        self._binaries = binaries
        self._users = {"admin": ["system:masters"], **(users or {})}
        self._apiserver_args = list(apiserver_args)
        self._audit_policy = {
            "apiVersion": "audit.k8s.io/v1",
            "kind": "Policy",
            "omitStages": ["RequestReceived"],
            "rules": list(audit),
        }
        self._etcd: Server | None = None
        self._apiserver: Server | None = None
        self.directory = Path(tempfile.mkdtemp(prefix="stormfold-controlplane-"))
        self.tokens = {name: secrets.token_hex(16) for name in self._users}
        self.port = free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self.etcd_url = ""
        """Where etcd answers, once it is started."""
        self.ca_file = self.directory / "certs" / "apiserver.crt"
        """Made by kube-apiserver at its first start."""
        self.kubeconfig = self.directory / "kubeconfig"
        """Of the user `admin`."""
        self.audit_log = self.directory / "audit.log" if audit else None
        """One JSON object a line, one line a finished request."""

    @property
    def token(self) -> str:
        """The bearer token of the user `admin`."""
        return self.tokens["admin"]

    def start(self) -> None:
        """Start both servers and wait until the API is ready; a failed start leaves nothing behind.

        Raises:
            ServerError: one of them did not come up.
        """
        try:
            self._write_inputs()
            self._start_etcd()
            self.start_apiserver()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End both servers and remove their folder."""
        for server in (self._apiserver, self._etcd):
            if server is not None:
                server.kill()
        self._apiserver = self._etcd = None
        shutil.rmtree(self.directory, ignore_errors=True)

    def start_apiserver(self) -> None:
        """Start kube-apiserver, again or for the first time, at the same address; returns when it is
        ready."""
        binary = self._binaries.kube_apiserver
        self._apiserver = Server(
            "kube-apiserver",
            [binary, *self._apiserver_flags()],
            self.directory / "kube-apiserver.log",
            COLLECTED_SELDOM,
        )
        self._apiserver.wait_until(self._ready, within_seconds=START_SECONDS)
        self.write_kubeconfig(self.kubeconfig)

    def kill_apiserver(self) -> None:
        """End kube-apiserver at once, as a crash would: connections break, the data stays."""
        if self._apiserver is not None:
            self._apiserver.kill()

    def restart_apiserver(self) -> None:
        """Kill kube-apiserver and start it again."""
        self.kill_apiserver()
        self.start_apiserver()

    def request(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """What the API answers to one request of the user `admin`, decoded.

        Raises:
            urllib.error.HTTPError: a status of 400 or more.
        """
        sent = urllib.request.Request(  # noqa: S310 - the address is our own
            self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
        )
        trust = ssl.create_default_context(cafile=str(self.ca_file))
        with urllib.request.urlopen(sent, timeout=10, context=trust) as answer:  # noqa: S310
            text = answer.read()
        return json.loads(text) if text.startswith(b"{") else text.decode()

    def service_account_token(self, namespace: str, name: str) -> str:
        """A token, valid for a day, of an existing service account: what a pod under that account would
        hold."""
        asked = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": 86_400},
        }
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        return str(self.request("POST", path, asked)["status"]["token"])

    def write_kubeconfig(self, path: Path, *, server: str | None = None, token: str | None = None) -> Path:
        """Write a kubeconfig for this API, or for a proxy of it at `server`; readable by its owner only."""
        url = server or self.url
        cluster: dict[str, str] = {"server": url}
        if url.startswith("https:"):
            cluster["certificate-authority"] = str(self.ca_file)
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "stormfold", "cluster": cluster}],
            "users": [{"name": "user", "user": {"token": token or self.token}}],
            "contexts": [{"name": "stormfold", "context": {"cluster": "stormfold", "user": "user"}}],
            "current-context": "stormfold",
        }
        path.touch(mode=0o600)
        path.write_text(json.dumps(config, indent=2))
        return path

    def _write_inputs(self) -> None:
        lines = [
            f'{self.tokens[name]},{name},{name},"{",".join(groups)}"' for name, groups in self._users.items()
        ]
        (self.directory / "tokens.csv").write_text("\n".join(lines) + "\n")
        (self.directory / "service-accounts.pem").write_text(_signing_key())
        (self.directory / "audit.yaml").write_text(json.dumps(self._audit_policy))

    def _start_etcd(self) -> None:
        self.etcd_url = f"http://127.0.0.1:{free_port()}"
        peer = f"http://127.0.0.1:{free_port()}"
        flags = {
            "--data-dir": str(self.directory / "etcd"),
            "--listen-client-urls": self.etcd_url,
            "--advertise-client-urls": self.etcd_url,
            "--listen-peer-urls": peer,
            "--initial-advertise-peer-urls": peer,
            "--initial-cluster": f"default={peer}",
            "--log-level": "warn",
        }
        command: list[str | Path] = [
            self._binaries.etcd,
            "--unsafe-no-fsync",
            *(f"{k}={v}" for k, v in flags.items()),
        ]
        self._etcd = Server("etcd", command, self.directory / "etcd.log")
        self._etcd.wait_until(self._etcd_healthy, within_seconds=START_SECONDS)

    def _apiserver_flags(self) -> list[str]:
        keys = self.directory / "service-accounts.pem"
        flags: dict[str, object] = {
            "--etcd-servers": self.etcd_url,
            "--cert-dir": self.directory / "certs",
            "--bind-address": "127.0.0.1",
            "--advertise-address": "127.0.0.1",
            "--secure-port": self.port,
            "--authorization-mode": "Node,RBAC",
            "--token-auth-file": self.directory / "tokens.csv",
            "--service-account-issuer": "https://kubernetes.default.svc",
            "--service-account-key-file": keys,
            "--service-account-signing-key-file": keys,
            "--service-cluster-ip-range": "10.96.0.0/16",
            # The Service `kubernetes` would need an address other than loopback, and nothing here uses it.
            "--endpoint-reconciler-type": "none",
            # Nobody makes the default accounts here, and without them this plugin refuses every pod.
            "--disable-admission-plugins": "ServiceAccount",
        }
        if self.audit_log is not None:
            flags |= {
                "--audit-log-path": self.audit_log,
                "--audit-policy-file": self.directory / "audit.yaml",
            }
        return [*(f"{k}={v}" for k, v in flags.items()), *self._apiserver_args]

    def _etcd_healthy(self) -> bool:
        with urllib.request.urlopen(f"{self.etcd_url}/health", timeout=2) as answer:  # noqa: S310
            return bool(json.load(answer)["health"] == "true")

    def _ready(self) -> bool:
        if not self.ca_file.exists():
            return False
        return bool(self.request("GET", "/readyz") == "ok")


def _signing_key() -> str:
    """A fresh P-256 key in SEC 1 form (RFC 5915), for signing tokens.

    The form does not need the public half, so that no cryptography library is needed to write it.
    """
    number = bytearray(secrets.token_bytes(32))
    number[0] &= 0x7F  # below the order of the curve
    curve = bytes.fromhex("a00a06082a8648ce3d030107")
    content = b"\x02\x01\x01" + b"\x04\x20" + bytes(number) + curve
    der = b"\x30" + bytes([len(content)]) + content
    return f"-----BEGIN EC PRIVATE KEY-----\n{base64.encodebytes(der).decode()}-----END EC PRIVATE KEY-----\n"
