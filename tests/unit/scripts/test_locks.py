"""What is installed is named by the lock files: every package, in one version, by the digests of its
files."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
LOCKS = (
    "requirements.lock",
    "requirements-dev.lock",
    "requirements-build.lock",
    "requirements-docs.lock",
)


def entries(lock: str) -> list[str]:
    """Each requirement with all of its lines."""
    text = "\n".join(line for line in (ROOT / lock).read_text().splitlines() if not line.startswith("#"))
    return [entry for entry in re.split(r"\n(?=\S)", text.replace("\\\n", "")) if entry.strip()]


def names(requirements: list[str]) -> set[str]:
    found = [re.match(r"[A-Za-z0-9._-]+", requirement) for requirement in requirements]
    return {re.sub(r"[-_.]+", "-", match[0]).lower() for match in found if match}


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_is_pinned_and_has_its_digests(lock: str) -> None:
    assert entries(lock)
    for entry in entries(lock):
        requirement, *digests = entry.split("--hash=")
        assert re.match(r"[A-Za-z0-9._-]+==[^\s;*]+ *(;|$)", requirement), entry
        assert digests, entry
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}\s*", digest) for digest in digests), entry


def test_what_is_tested_is_what_is_shipped() -> None:
    shipped, tested = ({entry.split()[0] for entry in entries(lock)} for lock in LOCKS[:2])
    assert shipped <= tested


def test_lock_names_what_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert names(project["project"]["dependencies"]) <= names(entries("requirements.lock"))
    for group in ("lab", "dev"):
        assert names(project["dependency-groups"][group]) <= names(entries("requirements-dev.lock"))
    assert names(project["dependency-groups"]["docs"]) <= names(entries("requirements-docs.lock"))


@pytest.mark.parametrize("file", ["Dockerfile", "scripts/venv", "Makefile"])
def test_nothing_is_installed_without_its_digests(file: str) -> None:
    text = (ROOT / file).read_text().replace("\\\n", " ")
    for line in text.splitlines():
        if " install " in line and ("-r " in line or "requirements" in line):
            assert all(
                "--require-hashes" in part for part in line.split("&&") if "-r requirements" in part
            ), line
    assert "--require-hashes" in text
