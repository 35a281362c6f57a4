"""Kubeconfig: what `KUBECONFIG` says, read as kubectl reads it. What stormfold cannot do is refused by its
name."""

import base64
import binascii
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import yaml

from stormfold.kube.credentials import NOTHING, Credential, Fixed, Source, TokenFile
from stormfold.kube.errors import ClusterConfigError
from stormfold.kube.exec_plugin import VERSIONS, ExecPlugin
from stormfold.kube.tls import Pair, Pem, Tls

log = logging.getLogger(__name__)

Kind = Literal["cluster", "user", "context"]
DEFAULT = "~/.kube/config"
CLUSTER_FIELDS = frozenset(
    (
        *("server", "tls-server-name", "insecure-skip-tls-verify", "proxy-url"),
        *("certificate-authority", "certificate-authority-data"),
    )
)
USER_FIELDS = frozenset(
    (
        *("client-certificate", "client-certificate-data", "client-key", "client-key-data"),
        *("token", "tokenFile", "username", "password", "exec"),
    )
)
IMPERSONATION = frozenset(("as", "as-uid", "as-groups", "as-user-extra"))
HARMLESS = frozenset(("extensions", "disable-compression"))
"""What changes nothing that we do."""


@dataclass(frozen=True, slots=True)
class Target:
    """One API server, and who we are there."""

    server: str
    tls: Tls | None
    """None: plain HTTP."""
    proxy_url: str
    source: Source


def load(environment: Mapping[str, str]) -> Target:
    """What the current context of `KUBECONFIG`, or of `~/.kube/config`, says.

    Raises:
        ClusterConfigError: there is none, it is wrong, or it asks for what stormfold cannot do.
    """
    config = Merged()
    paths = [Path(name) for name in environment.get("KUBECONFIG", "").split(os.pathsep) if name]
    if not paths:
        paths = [Path(os.path.expanduser(DEFAULT))]  # noqa: PTH111 - Path's own fails for a user without a home
    found = [config.add(path) for path in paths]
    if not any(found):
        raise ClusterConfigError(f"no file {' or '.join(map(str, paths))}")
    return _target(config)


class Merged:
    """Some kubeconfigs as one: of each name the first entry counts, and the first current-context."""

    def __init__(self) -> None:
        self.current = ""
        self._entries: dict[tuple[str, str], Fields] = {}

    def add(self, path: Path) -> bool:
        """Whether there is such a file."""
        try:
            text = path.read_text()
        except (FileNotFoundError, NotADirectoryError):
            return False
        except (OSError, ValueError) as exc:
            raise ClusterConfigError(f"{path} cannot be read ({exc})") from exc
        try:
            config = yaml.safe_load(text) or {}
        except yaml.YAMLError as exc:
            where = getattr(exc, "problem_mark", None)
            raise ClusterConfigError(
                f"{path} is no YAML{f' (line {where.line + 1})' if where else ''}"
            ) from None  # the text of the error shows what is in the file
        whole = Fields(str(path), path.parent, config)
        self.current = self.current or whole.text("current-context")
        for kind, plural in (("cluster", "clusters"), ("user", "users"), ("context", "contexts")):
            for entry in whole.items(plural):
                name = entry.text("name")
                self._entries.setdefault((kind, name), entry.inner(kind, f"{kind} {name} in {path}"))
        return True

    def named(self, kind: Kind, name: str, by: str) -> "Fields":
        """The entry of that name."""
        entry = self._entries.get((kind, name))
        if entry is None:
            raise ClusterConfigError(f"{by} names the {kind} {name!r}, and there is none of that name")
        return entry


class Fields:
    """One mapping of a kubeconfig; it knows what to call it, and against which folder its files are."""

    def __init__(self, what: str, folder: Path, values: Any) -> None:
        if not isinstance(values, dict):
            raise ClusterConfigError(f"{what} is not a mapping")
        self.what = what
        self._folder = folder
        self._values = {key: value for key, value in values.items() if value is not None}

    def __iter__(self) -> Iterator[str]:
        return (str(key) for key in self._values)

    def raw(self, name: str) -> Any:
        """Whatever it is; None if it is not there."""
        return self._values.get(name)

    def text(self, name: str) -> str:
        """A text; empty if it is not there."""
        value = self._values.get(name, "")
        if not isinstance(value, str):
            raise ClusterConfigError(f"{self.what}: {name} is no text: write it in quotes")
        return value

    def flag(self, name: str) -> bool:
        """Yes or no; no if it is not there."""
        value = self._values.get(name, False)
        if not isinstance(value, bool):
            raise ClusterConfigError(f"{self.what}: {name} must be true or false")
        return value

    def texts(self, name: str) -> list[str]:
        """A list of texts; empty if it is not there."""
        return [Fields(self.what, self._folder, {name: value}).text(name) for value in self._list(name)]

    def items(self, name: str) -> "list[Fields]":
        """A list of mappings; empty if it is not there."""
        return [Fields(f"{name} in {self.what}", self._folder, value) for value in self._list(name)]

    def inner(self, name: str, what: str) -> "Fields":
        """A mapping in this one; empty if it is not there."""
        return Fields(what, self._folder, self._values.get(name, {}))

    def path(self, name: str) -> Path | None:
        """A file's path, against the folder of the kubeconfig."""
        text = self.text(name)
        return self._folder / text if text else None

    def pem(self, name: str) -> Pem | None:
        """What is in `<name>-data`, or else the path of `name`."""
        if not (data := self.text(f"{name}-data")):
            return self.path(name)
        try:
            return base64.b64decode(data, validate=True)
        except binascii.Error as exc:
            raise ClusterConfigError(f"{self.what}: {name}-data is no base64") from exc

    def program(self, name: str) -> str:
        """A program: by its name as on PATH, by a path against the folder of the kubeconfig."""
        text = self.text(name)
        return str(self._folder / text) if "/" in text else text

    def _list(self, name: str) -> list[Any]:
        value = self._values.get(name, [])
        if not isinstance(value, list):
            raise ClusterConfigError(f"{self.what}: {name} is no list")
        return value


def _target(config: Merged) -> Target:
    if not config.current:
        raise ClusterConfigError("no current-context is set: kubectl config use-context <name>")
    context = config.named("context", config.current, "current-context")
    cluster = config.named("cluster", context.text("cluster"), context.what)
    user_name = context.text("user")
    user = config.named("user", user_name, context.what) if user_name else Fields("no user", Path(), {})
    for fields, known in ((cluster, CLUSTER_FIELDS), (user, USER_FIELDS)):
        for name in fields:
            if name == "auth-provider":
                raise ClusterConfigError(
                    f"{fields.what}: auth-provider is not supported: use a credential plugin (exec)"
                )
            if name in IMPERSONATION:
                raise ClusterConfigError(
                    f"{fields.what}: {name} is not supported: use credentials of that user"
                )
            if name not in known | HARMLESS:
                log.warning("kubeconfig: %s: %s is not known and has no effect", fields.what, name)
    server = cluster.text("server").rstrip("/")
    try:
        address = urlsplit(server)
        usable = address.scheme in ("http", "https") and bool(address.hostname) and address.port != 0
    except ValueError:
        usable = False
    if not usable or "@" in server:
        raise ClusterConfigError(f"{cluster.what}: server must be https://host:port or http://host:port")
    return Target(
        server,
        _tls(cluster, user) if address.scheme == "https" else None,
        cluster.text("proxy-url"),
        _source(cluster, user),
    )


def _tls(cluster: Fields, user: Fields) -> Tls:
    ca = cluster.pem("certificate-authority")
    insecure = cluster.flag("insecure-skip-tls-verify")
    if insecure and ca is not None:
        raise ClusterConfigError(
            f"{cluster.what}: certificate-authority and insecure-skip-tls-verify do not go together: leave "
            f"one out"
        )
    certificate, key = user.pem("client-certificate"), user.pem("client-key")
    if (certificate is None) != (key is None):
        raise ClusterConfigError(f"{user.what}: client-certificate and client-key come together")
    return Tls(
        ca=ca,
        pair=Pair(certificate, key) if certificate is not None and key is not None else None,
        verified=not insecure,
        server_name=cluster.text("tls-server-name"),
    )


def _source(cluster: Fields, user: Fields) -> Source:
    """What goes before what is kubectl's order."""
    token, token_file = user.text("token").strip(), user.path("tokenFile")
    name, password = user.text("username"), user.text("password")
    if (token or token_file) and name:
        raise ClusterConfigError(f"{user.what}: a token and username do not go together: leave one out")
    if token_file:
        return TokenFile(token_file)
    if token:
        return Fixed(Credential(f"Bearer {token}"))
    if name:
        login = base64.b64encode(f"{name}:{password}".encode()).decode()
        return Fixed(Credential(f"Basic {login}"))
    if "exec" in user:
        return _plugin(cluster, user.inner("exec", f"exec of {user.what}"))
    return Fixed(NOTHING)


def _plugin(cluster: Fields, plugin: Fields) -> ExecPlugin:
    version = plugin.text("apiVersion")
    if version not in VERSIONS:
        raise ClusterConfigError(
            f"{plugin.what}: apiVersion must be {' or '.join(VERSIONS)}, not {version!r}"
        )
    if plugin.text("interactiveMode") == "Always":
        raise ClusterConfigError(f"{plugin.what}: interactiveMode Always needs somebody at a terminal")
    command = plugin.program("command")
    if not command:
        raise ClusterConfigError(f"{plugin.what}: command is missing")
    return ExecPlugin(
        command,
        version,
        plugin.texts("args"),
        {each.text("name"): each.text("value") for each in plugin.items("env")},
        plugin.text("installHint"),
        _told(cluster) if plugin.flag("provideClusterInfo") else None,
    )


def _told(cluster: Fields) -> dict[str, Any]:
    """The cluster as a plugin is told of it."""
    told: dict[str, Any] = {name: cluster.text(name) for name in ("server", "tls-server-name", "proxy-url")}
    told["insecure-skip-tls-verify"] = cluster.flag("insecure-skip-tls-verify")
    ca = cluster.pem("certificate-authority")
    if ca is not None:
        try:
            told["certificate-authority-data"] = base64.b64encode(
                ca if isinstance(ca, bytes) else ca.read_bytes()
            ).decode()
        except OSError as exc:
            raise ClusterConfigError(f"{cluster.what}: certificate-authority cannot be read ({exc})") from exc
    for extension in cluster.items("extensions"):
        if extension.text("name") == "client.authentication.k8s.io/exec":
            told["config"] = extension.raw("extension")
    return {name: value for name, value in told.items() if value}
