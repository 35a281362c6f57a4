"""`scripts/test-tiers` says in its last lines whether the end-to-end tests could run."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
NO_DOCKER = "e2e did NOT run: it needs Docker, and docker is not on PATH\n"
NO_DAEMON = "e2e did NOT run: it needs Docker, and `docker info` finds no daemon\n"
FAILURE = "E2E=required, so this is a failure\n"


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder for PATH with nothing but what the script itself needs."""
    for name in ("bash", "dirname", "env"):
        (tmp_path / name).symlink_to(f"/usr/bin/{name}")
    return tmp_path


def tiers(programs: Path, *names: str, **environment: str) -> tuple[int, str]:
    """Exit code and stdout."""
    done = subprocess.run(
        [ROOT / "scripts" / "test-tiers", *names],
        env={"PATH": str(programs), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout


def test_without_docker_it_says_so_and_passes(programs: Path) -> None:
    assert tiers(programs, "e2e") == (0, NO_DOCKER)


def test_without_docker_it_fails_where_it_is_required(programs: Path) -> None:
    assert tiers(programs, "e2e", E2E="required") == (1, NO_DOCKER + FAILURE)


def test_without_a_daemon_it_says_so(programs: Path) -> None:
    docker = programs / "docker"
    docker.write_text("#!/usr/bin/env bash\nexit 1\n")
    docker.chmod(0o755)
    assert tiers(programs, "e2e", E2E="required") == (1, NO_DAEMON + FAILURE)


def test_it_comes_after_what_the_other_tiers_said(programs: Path) -> None:
    code, said = tiers(programs, "unit", "e2e", PYTEST_ARGS="--version")
    assert code == 0, said
    *_, ran, passed, last = said.splitlines(keepends=True)
    assert ran == "tiers that ran:\n"
    assert passed.startswith("  unit      passed in ")
    assert last == NO_DOCKER
