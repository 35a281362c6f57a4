"""What a kubeconfig says: each of kubectl's fields is honored, or refused by its name."""

from __future__ import annotations

import base64
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from stormfold.kube import kubeconfig
from stormfold.kube.credentials import Credential, Fixed, TokenFile
from stormfold.kube.errors import ClusterConfigError
from stormfold.kube.exec_plugin import ExecPlugin

V1 = "client.authentication.k8s.io/v1"
EXEC = {"apiVersion": V1, "command": "aws"}


def config(cluster: dict[str, Any], user: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A kubeconfig with one of each."""
    return {
        "clusters": [{"name": "prod", "cluster": {"server": "https://api:6443", **cluster}}],
        "users": [{"name": "ann", "user": user}],
        "contexts": [{"name": "work", "context": {"cluster": "prod", "user": "ann"}}],
        "current-context": "work",
        **more,
    }


def load(folder: Path, *configs: dict[str, Any] | str) -> kubeconfig.Target:
    paths = []
    for number, each in enumerate(configs):
        path = folder / f"config-{number}"
        path.write_text(each if isinstance(each, str) else json.dumps(each))
        paths.append(path)
    return kubeconfig.load({"KUBECONFIG": ":".join(map(str, paths))})


@pytest.mark.parametrize(
    ("user", "authorization"),
    [
        pytest.param({}, "", id="nobody"),
        pytest.param({"token": "t0k"}, "Bearer t0k", id="token"),
        pytest.param({"token": "t0k\n"}, "Bearer t0k", id="token of several lines"),
        pytest.param(
            {"username": "ann", "password": "pass"}, "Basic YW5uOnBhc3M=", id="username and password"
        ),
        pytest.param({"token": "t0k", "exec": EXEC}, "Bearer t0k", id="a token goes before exec"),
    ],
)
def test_who_we_are(user: dict[str, Any], authorization: str, tmp_path: Path) -> None:
    source = load(tmp_path, config({}, user)).source
    assert isinstance(source, Fixed)
    assert source.fetch() == Credential(authorization)


def test_token_file_is_found_from_the_kubeconfig_and_goes_before_a_token(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from-file\n")
    source = load(tmp_path, config({}, {"tokenFile": "token", "token": "old"})).source
    assert isinstance(source, TokenFile)
    assert source.fetch() == Credential("Bearer from-file")


def test_plugin_is_read_with_all_that_it_is_told(tmp_path: Path) -> None:
    told = {"name": "client.authentication.k8s.io/exec", "extension": {"audience": "prod"}}
    cluster = {
        "tls-server-name": "kubernetes",
        "certificate-authority-data": base64.b64encode(b"PEM").decode(),
        "extensions": [{"name": "other", "extension": 1}, told],
    }
    plugin = {
        "apiVersion": V1,
        "command": "bin/token",
        "args": ["get", "--quiet"],
        "env": [{"name": "PROFILE", "value": "prod"}],
        "installHint": "brew install token",
        "interactiveMode": "IfAvailable",
        "provideClusterInfo": True,
    }
    assert load(tmp_path, config(cluster, {"exec": plugin})).source == ExecPlugin(
        str(tmp_path / "bin" / "token"),
        V1,
        ["get", "--quiet"],
        {"PROFILE": "prod"},
        "brew install token",
        {
            "server": "https://api:6443",
            "tls-server-name": "kubernetes",
            "certificate-authority-data": "UEVN",
            "config": {"audience": "prod"},
        },
    )


def test_plugin_by_its_name_is_looked_for_on_the_path(tmp_path: Path) -> None:
    assert load(tmp_path, config({}, {"exec": EXEC})).source == ExecPlugin("aws", V1, [])


def test_of_several_files_the_first_entry_of_a_name_counts_and_missing_ones_are_passed_over(
    tmp_path: Path,
) -> None:
    first = {"current-context": "work", "users": [{"name": "ann", "user": {"token": "first"}}]}
    second = config({"proxy-url": "http://proxy:1"}, {"token": "second"}, **{"current-context": "other"})
    (tmp_path / "a").write_text(json.dumps(first))
    (tmp_path / "b").write_text(json.dumps(second))
    target = kubeconfig.load({"KUBECONFIG": f"{tmp_path / 'none'}:{tmp_path / 'a'}::{tmp_path / 'b'}"})
    assert (target.server, target.proxy_url) == ("https://api:6443", "http://proxy:1")
    assert target.source.fetch() == Credential("Bearer first")


def test_without_kubeconfig_it_is_that_of_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".kube").mkdir()
    (tmp_path / ".kube" / "config").write_text(json.dumps(config({}, {})))
    assert kubeconfig.load({"KUBECONFIG": ""}).server == "https://api:6443"


@pytest.mark.parametrize(
    ("server", "plain"), [("https://api:6443/k8s/clusters/c-1/", False), ("http://[::1]:8001", True)]
)
def test_server_may_have_a_path_or_no_tls(server: str, plain: bool, tmp_path: Path) -> None:
    target = load(tmp_path, config({"server": server}, {}))
    assert (target.server, target.tls is None) == (server.rstrip("/"), plain)


REFUSED: list[Any] = [
    pytest.param({"server": ""}, {}, "server must be https://host:port or http://host:port", id="no server"),
    pytest.param({"server": "api:6443"}, {}, "server must be https://host:port", id="no scheme"),
    pytest.param({"server": "https://a:port"}, {}, "server must be https://host:port", id="no port"),
    pytest.param({"server": "https://ann:55/x@a:1"}, {}, "server must be https://host:port", id="login"),
    pytest.param(
        {"insecure-skip-tls-verify": True, "certificate-authority": "ca"},
        {},
        "certificate-authority and insecure-skip-tls-verify do not go together: leave one out",
        id="insecure with an authority",
    ),
    pytest.param(
        {"insecure-skip-tls-verify": "yes"}, {}, "insecure-skip-tls-verify must be true or", id="flag"
    ),
    pytest.param(
        {"certificate-authority-data": "%"}, {}, "certificate-authority-data is no base64", id="base64"
    ),
    pytest.param({"tls-server-name": 7}, {}, "tls-server-name is no text: write it in quotes", id="number"),
    pytest.param(
        {}, {"client-certificate": "c"}, "client-certificate and client-key come together", id="no key"
    ),
    pytest.param({}, {"token": 123}, "token is no text: write it in quotes", id="token as a number"),
    pytest.param(
        {}, {"token": "t", "username": "u"}, "a token and username do not go together", id="two logins"
    ),
    pytest.param({}, {"as": "bob"}, "as is not supported: use credentials of that user", id="as"),
    pytest.param({}, {"as-groups": ["a"]}, "as-groups is not supported: use credentials of", id="as groups"),
    pytest.param(
        {}, {"auth-provider": {"name": "gcp"}}, "auth-provider is not supported: use a", id="provider"
    ),
    pytest.param(
        {},
        {"exec": {**EXEC, "apiVersion": "client.authentication.k8s.io/v1alpha1"}},
        "apiVersion must be client.authentication.k8s.io/v1 or client.authentication.k8s.io/v1beta1, not "
        "'client.authentication.k8s.io/v1alpha1'",
        id="old plugin",
    ),
    pytest.param({}, {"exec": {"apiVersion": V1}}, "command is missing", id="plugin without a command"),
    pytest.param(
        {},
        {"exec": {**EXEC, "interactiveMode": "Always"}},
        "interactiveMode Always needs somebody",
        id="terminal",
    ),
    pytest.param({}, {"exec": {**EXEC, "args": "get"}}, "args is no list", id="arguments"),
]


@pytest.mark.parametrize(("cluster", "user", "says"), REFUSED)
def test_what_cannot_be_done_is_refused_by_name(
    cluster: dict[str, Any], user: dict[str, Any], says: str, tmp_path: Path
) -> None:
    with pytest.raises(ClusterConfigError) as refusal:
        load(tmp_path, config(cluster, user))
    where, _, what = str(refusal.value).partition(": ")
    assert what.startswith(says)
    assert where.removeprefix("exec of ").startswith(("cluster prod in ", "user ann in "))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            config({}, {}, **{"current-context": ""}),
            "no current-context is set: kubectl config use-context <name>",
        ),
        ("", "no current-context is set: kubectl config use-context <name>"),
        (
            config({}, {}, **{"current-context": "home"}),
            "current-context names the context 'home', and there is none of that name",
        ),
        (
            config({}, {}, users=[]),
            "context work in {path} names the user 'ann', and there is none of that name",
        ),
        (
            config({}, {}, clusters=None),
            "context work in {path} names the cluster 'prod', and there is none of that",
        ),
        ("token: [secret", "{path} is no YAML (line 1)"),
        ("just a text", "{path} is not a mapping"),
        ("clusters: {}", "{path}: clusters is no list"),
    ],
)
def test_what_is_missing_or_wrong_is_named(text: Any, says: str, tmp_path: Path) -> None:
    with pytest.raises(ClusterConfigError) as refusal:
        load(tmp_path, text)
    assert str(refusal.value).startswith(says.format(path=tmp_path / "config-0"))


def test_no_file_at_all_is_said_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(ClusterConfigError, match=f"^no file {tmp_path}/a or {tmp_path}/b$"):
        kubeconfig.load({"KUBECONFIG": f"{tmp_path}/a:{tmp_path}/b"})


def test_unknown_field_is_said_and_has_no_effect(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        target = load(tmp_path, config({"disable-compression": True, "ca-file": "x"}, {}))
    assert target.server == "https://api:6443"
    path = tmp_path / "config-0"
    assert caplog.messages == [f"kubeconfig: cluster prod in {path}: ca-file is not known and has no effect"]
