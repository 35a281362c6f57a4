"""Where etcd and kube-apiserver come from, before anything is built."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.building import Binaries, ready_made


def programs(folder: Path, *, kubernetes: str = "v1.34.1", code: int = 0) -> Binaries:
    """Two programs that tell a version, as those of Kubernetes do, and end with a code."""
    folder.mkdir()
    for name, line in (("etcd", "etcd Version: 3.6.5"), ("kube-apiserver", f"Kubernetes {kubernetes}")):
        (folder / name).write_text(f"#!/bin/sh\necho {line}\nexit {code}\n")
        (folder / name).chmod(0o755)
    return Binaries(folder / "etcd", folder / "kube-apiserver", kubernetes)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """What the person who waits is told; neither place has programs yet."""
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path / 'path'}:/bin")
    return []


def test_assets_go_before_the_path(told: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs(tmp_path / "path", kubernetes="v1.36.0")
    assets = programs(tmp_path / "assets")
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path / "assets"))
    assert ready_made(told.append) == assets
    assert told == [f"using etcd and kube-apiserver v1.34.1 of KUBEBUILDER_ASSETS={tmp_path / 'assets'}"]


def test_path_is_next(told: list[str], tmp_path: Path) -> None:
    on_path = programs(tmp_path / "path")
    assert ready_made(told.append) == on_path
    assert told == ["using etcd and kube-apiserver v1.34.1 of PATH"]


@pytest.mark.parametrize(
    ("state", "why"),
    [
        pytest.param(
            {"kubernetes": "v1.31.4"}, "its kube-apiserver is v1.31.4, and 1.32 or newer is needed", id="old"
        ),
        pytest.param({"code": 3}, "returned non-zero exit status 3.", id="broken"),
    ],
)
def test_assets_that_do_not_fit_are_named_and_passed_over(
    state: dict[str, object], why: str, told: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs(tmp_path / "assets", **state)
    on_path = programs(tmp_path / "path")
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path / "assets"))
    assert ready_made(told.append) == on_path
    refused, used = told
    assert refused.startswith(f"KUBEBUILDER_ASSETS={tmp_path / 'assets'} is not used: ")
    assert refused.endswith(why)
    assert used == "using etcd and kube-apiserver v1.34.1 of PATH"


def test_assets_that_are_not_there_are_named(
    told: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path / "nowhere"))
    assert ready_made(told.append) is None
    (line,) = told
    assert "No such file or directory" in line


def test_without_any_nothing_is_said(told: list[str]) -> None:
    assert ready_made(told.append) is None
    assert told == []
