"""The demo: where it runs, and that its operator is for this machine alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lab.demo.kind import TOOLS
from lab.demo.run import demo, operator_settings
from lab.process import INTERRUPTED
from stormfold.settings import Settings

ROOT = Path(__file__).parents[3]
TAKES_SIGINT = """
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("lab.demo", run_name="__main__")
"""


def test_everything_that_listens_does_so_on_loopback() -> None:
    hosts = [name for name in Settings.model_fields if name.endswith("_host")]
    assert hosts == ["http_host", "webhook_host"]
    told = operator_settings("redis://127.0.0.1:6379/0", 8080)
    assert [told[f"STORMFOLD_{name.upper()}"] for name in hosts] == ["127.0.0.1"] * 2


@pytest.fixture
def waits(tmp_path: Path) -> Path:
    """A folder for PATH with a `docker` that says where it is asked and does not answer."""
    docker = tmp_path / "docker"
    docker.write_text('#!/bin/sh\necho $$ >"$0.asked"\nexec /bin/sleep 60\n')
    docker.chmod(0o755)
    os.mkfifo(f"{docker}.asked")
    return tmp_path


@pytest.mark.parametrize("ends_it", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_the_demo_and_what_it_has_started(ends_it: signal.Signals, waits: Path) -> None:
    with subprocess.Popen(
        # As in a terminal: a shell lets what it starts in the background ignore SIGINT.
        [sys.executable, "-c", TAKES_SIGINT],
        cwd=ROOT,
        env={"PATH": str(waits), "CLUSTER": "kind"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as program:
        docker = int((waits / "docker.asked").read_text())
        program.send_signal(ends_it)
        told, said = program.communicate(timeout=30)
    assert (program.returncode, said) == (INTERRUPTED, "")
    assert told.splitlines()[-1].endswith("s] interrupted; cleaned up")
    with pytest.raises(ProcessLookupError):
        os.kill(docker, 0)


def test_help_names_each_option_and_variable() -> None:
    said = subprocess.run(
        [sys.executable, "-m", "lab.demo", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    named = ("--json", "--signals N", "--keep", "CLUSTER", "KUBEBUILDER_ASSETS", "STORMFOLD_CACHE")
    of_kind = ("KIND_IMAGE", "PYTHON_IMAGE", "VALKEY_IMAGE")
    assert [word for word in (*named, *of_kind) if word not in said] == []


async def test_cluster_that_is_not_known_is_refused_and_the_known_ones_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CLUSTER", "minikube")
    assert await demo(as_json=True) == 1
    assert "error: CLUSTER=minikube is none of kind and current" in capsys.readouterr().err


async def test_kind_is_refused_without_docker_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("CLUSTER", "kind")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert await demo(as_json=True) == 1
    assert "error: docker is not on PATH" in capsys.readouterr().err


def test_tools_have_the_versions_that_the_tests_have() -> None:
    go_mod = (ROOT / "tests" / "harness" / "go" / "go.mod").read_text()
    assert f"helm.sh/helm/v4 {TOOLS['helm'].rpartition('@')[2]}\n" in go_mod
    assert f"KIND_VERSION={TOOLS['kind'].rpartition('@')[2]}\n" in (ROOT / "scripts" / "e2e").read_text()
