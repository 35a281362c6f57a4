"""How the process is called and how it ends, by its own code, for fixed inputs."""

from __future__ import annotations

import ast
import io
import os
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

from tests.harness.said_of_requests import Said

import stormfold
from stormfold import cli
from stormfold.fold.connection import Connection, check_version
from stormfold.fold.errors import StoreConfigError
from stormfold.kube.errors import ClusterConfigError
from stormfold.kube.kubeconfig import load

URLS = (
    "http://127.0.0.1",
    "127.0.0.1:6379",
    "'redis://127.0.0.1'",
    "redis://a b",
    "redis://127.0.0.1:port",
    "redis://",
    "redis://secret@127.0.0.1",
    "redis://127.0.0.1:70000",
    "redis://::1:6379/0",
    "redis://a:1,b:2",
    "redis://a/zero",
    "redis://a/0/1",
    "redis+cluster://127.0.0.1:7001/3",
    "redis+sentinel://127.0.0.1",
    "redis://a/0?socket_timeout=5",
    "redis://a?ssl_cert_reqs=none",
    "rediss://a?ssl_cert_reqs=maybe",
    "rediss://a?ssl_ca_certs=/not/there.pem",
    "unix://run/redis.sock",
)
SETTINGS: tuple[tuple[str, ...], ...] = (
    ("--http-port", "99999"),
    ("--webhook-ack", "never"),
    ("--marks-per-second", "none"),
    ("--webhook-tls-key-file", "/tls.key"),
)
KUBECONFIGS = (
    "text",
    "{",
    "{}",
    "current-context: here",
    "{current-context: c, contexts: [{name: c, context: {cluster: k}}]}",
    "{current-context: c, contexts: [{name: c, context: {cluster: k}}], clusters: [{name: k, cluster: {}}]}",
)
CALLS: tuple[tuple[str, ...], ...] = (
    ("--help",),
    ("run", "--help"),
    ("crds", "--help"),
    ("gate", "--help"),
    ("gate", "hold", "--help"),
    ("gate", "lift", "--help"),
    ("gate", "status", "--help"),
)


def errors() -> Said:
    """The line with which the process ends whose settings cannot be used."""
    for url in URLS:
        try:
            Connection.from_url(url)
        except StoreConfigError as exc:
            yield "ends", str(exc)
    for arguments in SETTINGS:
        said = io.StringIO()
        with redirect_stderr(said):
            cli.run(list(arguments))
        yield "ends", said.getvalue().strip()
    try:
        check_version({"redis_version": "6.2.0"})
    except StoreConfigError as exc:
        yield "ends", str(exc)
    yield from _kubeconfigs()


def _kubeconfigs() -> Said:
    with TemporaryDirectory() as folder:
        path = Path(folder, "config")
        for text in KUBECONFIGS:
            path.write_text(text)
            try:
                load({"KUBECONFIG": str(path)})
            except ClusterConfigError as exc:
                yield "ends", str(exc).replace(folder, "/home/alice/.kube")


def logs() -> Said:
    """Every line of the log at INFO and above, as its call begins; fields say the rest."""
    for module in sorted(Path(stormfold.__file__).parent.rglob("*.py")):
        for call in ast.walk(ast.parse(module.read_text())):
            match call:
                case ast.Call(
                    func=ast.Attribute(value=ast.Name(id="log" | "logger"), attr=level),
                    args=[ast.Constant(value=str(message)), *_],
                ) if level != "debug":
                    yield level.upper(), message


def helps() -> Iterator[str]:
    """What `--help` prints, of each command."""
    for arguments in CALLS:
        said = io.StringIO()
        with (
            mock.patch.dict(os.environ, {"COLUMNS": "100"}),
            mock.patch("sys.argv", ["stormfold", *arguments]),
            redirect_stdout(said),
            suppress(SystemExit),
        ):
            cli.main()
        yield f"$ stormfold {' '.join(arguments)}\n{said.getvalue()}"
