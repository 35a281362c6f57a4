"""ExecPlugin: a program that gives credentials, as those of clouds do (client.authentication.k8s.io)."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson

from stormfold.kube.credentials import Credential
from stormfold.kube.errors import CredentialError
from stormfold.kube.tls import Pair

VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")
PLUGIN_SECONDS = 30.0
"""How long a plugin may take."""
REST_SECONDS = 1.0
"""How long is waited for the last words of a plugin that was killed."""
WORDS = 400
"""Characters of what a plugin says on stderr that are told on; the last ones, where the error is."""


@dataclass(frozen=True, slots=True)
class ExecPlugin:
    """The `exec` of a user in a kubeconfig. What the plugin prints on stdout is a secret and told to
    nobody."""

    command: str
    version: str
    arguments: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    hint: str = ""
    """How to install it, in the words of the kubeconfig."""
    cluster: Mapping[str, Any] | None = None
    """What it is told of the cluster; None: nothing."""
    quick: bool = False

    def fetch(self) -> Credential:
        """What it prints.

        Raises:
            CredentialError: it cannot be run, fails, takes too long, or prints something else.
        """
        return self._read(self._run())

    def _run(self) -> bytes:
        spec = {"interactive": False, **({"cluster": self.cluster} if self.cluster is not None else {})}
        info = {"apiVersion": self.version, "kind": "ExecCredential", "spec": spec}
        try:
            process = subprocess.Popen(  # noqa: S603 - the kubeconfig says what is to be run, as for kubectl
                [self.command, *self.arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**os.environ, **self.environment, "KUBERNETES_EXEC_INFO": orjson.dumps(info).decode()},
                start_new_session=True,
            )
        except OSError as exc:
            hint = f"; {self.hint.strip()}" if self.hint.strip() else ""
            raise CredentialError(f"{self._name} cannot be run: {os.strerror(exc.errno or 0)}{hint}") from exc
        with process:
            try:
                out, err = process.communicate(timeout=PLUGIN_SECONDS)
            except subprocess.TimeoutExpired as exc:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                err = _rest_of(process)
                raise CredentialError(
                    f"{self._name} has not ended after {PLUGIN_SECONDS:g} s{_words(err)}"
                ) from exc
        if process.returncode:
            raise CredentialError(f"{self._name} failed with exit code {process.returncode}{_words(err)}")
        return out

    @property
    def _name(self) -> str:
        return f"the credential plugin {self.command}"

    def _read(self, out: bytes) -> Credential:
        try:
            printed = orjson.loads(out)
            version, status = printed["apiVersion"], printed["status"]
            token, certificate = status.get("token"), status.get("clientCertificateData")
            pair = Pair(certificate.encode(), status["clientKeyData"].encode()) if certificate else None
            ends = status.get("expirationTimestamp")
            end = {"ends": datetime.fromisoformat(ends).timestamp()} if ends else {}
        except (ValueError, KeyError, TypeError, AttributeError):
            raise CredentialError(f"{self._name} did not print an ExecCredential with a status") from None
        if version != self.version:
            raise CredentialError(
                f"{self._name} printed an ExecCredential of {str(version)[:100]}, and its apiVersion in the "
                f"kubeconfig is {self.version}"
            )
        if not isinstance(token, str | None) or not (token or pair):
            raise CredentialError(f"{self._name} printed neither a token nor a client certificate")
        return Credential(f"Bearer {token.strip()}" if token else "", pair, **end)


def _rest_of(process: subprocess.Popen[bytes]) -> bytes:
    """What a killed plugin said on stderr. What it started in another group may live and hold the pipes
    open."""
    try:
        return process.communicate(timeout=REST_SECONDS)[1]
    except subprocess.TimeoutExpired as exc:
        return exc.stderr or b""


def _words(err: bytes) -> str:
    text = " ".join(err.decode(errors="replace").split())
    return f": {text if len(text) <= WORDS else '…' + text[-WORDS:]}" if text else ""
