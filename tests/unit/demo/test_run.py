"""The demo: where it runs, and that its operator is for this machine alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from stormfold.demo.kind import TOOLS
from stormfold.demo.run import demo, operator_settings
from stormfold.settings import Settings

ROOT = Path(__file__).parents[3]


def test_everything_that_listens_does_so_on_loopback() -> None:
    hosts = [name for name in Settings.model_fields if name.endswith("_host")]
    assert hosts == ["http_host", "webhook_host"]
    told = operator_settings("redis://127.0.0.1:6379/0", 8080)
    assert [told[f"STORMFOLD_{name.upper()}"] for name in hosts] == ["127.0.0.1"] * 2


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
