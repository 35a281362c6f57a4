"""Credential plugins: what they are told, and what is said of one that gives nothing."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from tests.harness.kubeconfigs import V1

from stormfold.kube import exec_plugin
from stormfold.kube.errors import CredentialError
from stormfold.kube.exec_plugin import ExecPlugin

# --- plugins


def plugin(tmp_path: Path, text: str, **more: Any) -> ExecPlugin:
    """A plugin that is this shell script."""
    program = tmp_path / "plugin.sh"
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)
    return ExecPlugin(str(program), V1, **more)


def printing(status: Any, version: str = V1) -> str:
    """A script that prints an ExecCredential."""
    return f"echo '{json.dumps({'apiVersion': version, 'kind': 'ExecCredential', 'status': status})}'"


@pytest.mark.parametrize(
    ("script", "says"),
    [
        pytest.param("echo no session >&2; exit 7", "failed with exit code 7: no session", id="failure"),
        pytest.param("exit 1", "failed with exit code 1", id="silent failure"),
        pytest.param("echo secret", "did not print an ExecCredential with a status", id="no JSON"),
        pytest.param("echo '[1]'", "did not print an ExecCredential with a status", id="other JSON"),
        pytest.param(printing(None), "did not print an ExecCredential with a status", id="no status"),
        pytest.param(printing({}), "printed neither a token nor a client certificate", id="nothing"),
        pytest.param(printing({"token": 7}), "printed neither a token nor a client certificate", id="number"),
        pytest.param(
            printing({"token": "t", "expirationTimestamp": "soon"}),
            "did not print an ExecCredential with a status",
            id="no time",
        ),
        pytest.param(
            printing({"token": "t"}, "client.authentication.k8s.io/v1beta1"),
            "printed an ExecCredential of client.authentication.k8s.io/v1beta1, and its apiVersion in the "
            "kubeconfig "
            f"is {V1}",
            id="other version",
        ),
        pytest.param(
            "for i in $(seq 200); do echo warning $i; done >&2; echo the end >&2; exit 1",
            "failed with exit code 1: …",
            id="long words",
        ),
    ],
)
def test_plugin_that_gives_nothing_is_told_with_its_words(script: str, says: str, tmp_path: Path) -> None:
    failing = plugin(tmp_path, script)
    with pytest.raises(CredentialError) as failure:
        failing.fetch()
    said = str(failure.value)
    assert said.startswith(f"the credential plugin {failing.command} {says}")
    assert len(said) < 600
    assert "secret" not in said


def test_plugin_that_is_not_there_is_told_with_its_install_hint() -> None:
    missing = ExecPlugin("no-such-plugin", V1, hint="\nInstall it: brew install no-such-plugin\n")
    with pytest.raises(CredentialError) as failure:
        missing.fetch()
    assert str(failure.value) == (
        "the credential plugin no-such-plugin cannot be run: No such file or directory; "
        "Install it: brew install no-such-plugin"
    )


def test_plugin_that_hangs_is_ended_with_all_that_it_has_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exec_plugin, "PLUGIN_SECONDS", 0.5)
    hanging = plugin(tmp_path, "echo waiting for a browser >&2\nsleep 600 &\nwait")
    with pytest.raises(CredentialError, match=r"has not ended after 0\.5 s: waiting for a browser$"):
        hanging.fetch()


def test_plugin_is_not_waited_for_by_what_has_left_its_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exec_plugin, "PLUGIN_SECONDS", 2)
    pid = tmp_path / "pid"
    daemon = f"setsid sh -c 'echo $$ > {pid}; exec sleep 60' &"
    hanging = plugin(tmp_path, f"{daemon}\nuntil [ -s {pid} ]; do sleep 0.05; done\necho it stays >&2\nwait")
    try:
        with pytest.raises(CredentialError, match=r"has not ended after 2 s: it stays$"):
            hanging.fetch()
        assert Path(f"/proc/{int(pid.read_text())}/cmdline").read_bytes() == b"sleep\x0060\x00"
    finally:
        os.kill(int(pid.read_text()), signal.SIGKILL)


def test_plugin_is_told_what_it_asks_for_and_may_warn(tmp_path: Path) -> None:
    told = tmp_path / "told"
    script = f'echo "$KUBERNETES_EXEC_INFO" > {told}\necho "$PROFILE $1" >> {told}\necho old version >&2\n'
    asked = plugin(
        tmp_path,
        script + printing({"token": "t"}),
        arguments=["get"],
        environment={"PROFILE": "prod"},
        cluster={"server": "https://api"},
    )
    assert asked.fetch().authorization == "Bearer t"
    info, words = told.read_text().splitlines()
    assert json.loads(info) == {
        "apiVersion": V1,
        "kind": "ExecCredential",
        "spec": {"interactive": False, "cluster": {"server": "https://api"}},
    }
    assert words == "prod get"
