"""Programs of others that tests use: two Alertmanagers, promtool, and the Prometheus operator's CRDs.

The current Alertmanager is built from its Go module, once, into the cache; `go/go.mod` names its version and `go/go.sum`
its checksum. The older one is Debian's and must be installed, since it reads files at fixed places. promtool is Debian's
too, but its package need only be unpacked, which takes no root and starts no service. `python -m tests.harness.programs`
makes what can be made, and says what is missing.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from functools import cache
from hashlib import blake2b
from pathlib import Path

from stormfold.demo.building import (
    GO_ENVIRONMENT,
    BuildError,
    Progress,
    build_one,
    cache_home,
    go_program,
    made_once,
    to_stderr,
)

MODULE = Path(__file__).parent / "go"
ALERTMANAGER = "github.com/prometheus/alertmanager"
PROMETHEUS_OPERATOR = "github.com/prometheus-operator/prometheus-operator"
APT_SECONDS = 300.0

NO_PAGES = "Built from the Go module, which comes without the pages of the web interface.\n"


class MissingProgramError(RuntimeError):
    """A program cannot be had here; the message says how to get it."""


def programs_required() -> bool:
    """Whether a missing program is a failure: on CI, or by `E2E=required`."""
    return os.environ.get("CI") == "true" or os.environ.get("E2E") == "required"


@cache
def alertmanager(which: str) -> Path:
    """`current`, or `debian`.

    Raises:
        BuildError: the current one cannot be built.
        MissingProgramError: Debian's is not installed.
    """
    return debian_alertmanager() if which == "debian" else current_alertmanager()


def debian_alertmanager() -> Path:
    """The Alertmanager of Debian's package, which the name on PATH tells from others.

    Raises:
        MissingProgramError: it is not installed.
    """
    if found := shutil.which("prometheus-alertmanager"):
        return Path(found)
    raise MissingProgramError(
        "prometheus-alertmanager is not on PATH: `RUNLEVEL=1 apt-get install prometheus-alertmanager` installs it "
        "and starts no service"
    )


def current_alertmanager(progress: Progress = to_stderr) -> Path:
    """The Alertmanager that `go/go.mod` names.

    Its archive on the module proxy is that of the source, without the built pages of the web interface, and a program
    that embeds a missing folder does not compile. So it is built from a copy with one page that says so; nothing else
    differs from a released one.

    Raises:
        BuildError: `go` is missing, too old, or failed.
    """
    version = module_version(ALERTMANAGER)
    stamp = f"-s -w -X github.com/prometheus/common/version.Version={version.removeprefix('v')}"
    flags = ["-v", "-trimpath", "-ldflags", stamp]
    seen = (flags, GO_ENVIRONMENT, NO_PAGES, platform.machine(), (MODULE / "go.sum").read_text())
    mark = blake2b(repr(seen).encode(), digest_size=6).hexdigest()

    def build(folder: Path) -> None:
        go = go_program()
        progress(f"building Alertmanager {version} from source: the first time takes about 2 minutes")
        source = folder / "source"
        shutil.copytree(module_folder(ALERTMANAGER), source, copy_function=shutil.copyfile)
        for made in (source, *source.rglob("*")):
            # The module cache is read-only, and a copied folder would be too.
            made.chmod(0o755 if made.is_dir() else 0o644)
        pages = source / "ui" / "app" / "dist"
        pages.mkdir()
        (pages / "index.html").write_text(NO_PAGES)
        program = folder / "alertmanager"
        build_one(go, "./cmd/alertmanager", program, flags=flags, module=source, progress=progress)
        shutil.rmtree(source)

    home = cache_home() / "programs"
    made = made_once(
        home / f"alertmanager-{version}-{mark}", build, what=f"Alertmanager {version}", progress=progress
    )
    return made / "alertmanager"


@cache
def prometheus_operator_crds() -> Path:
    """The folder of the Prometheus operator's CRDs, one file for each kind.

    Raises:
        BuildError: `go` is missing, too old, or failed.
    """
    return module_folder(PROMETHEUS_OPERATOR) / "example" / "prometheus-operator-crd"


def module_version(path: str) -> str:
    """Which version of a Go module `go/go.mod` requires."""
    found = re.search(rf"^\s*{re.escape(path)} (v\S+)", (MODULE / "go.mod").read_text(), re.MULTILINE)
    if found is None:
        raise BuildError(f"{MODULE / 'go.mod'} does not require {path}")
    return found[1]


def module_folder(path: str) -> Path:
    """The source of a required Go module, downloaded if need be and held to `go/go.sum`.

    Raises:
        BuildError: `go` is missing, too old, or failed.
    """
    done = subprocess.run(
        [go_program(), "mod", "download", "-json", f"{path}@{module_version(path)}"],
        cwd=MODULE,
        env=os.environ | GO_ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise BuildError(f"`go mod download {path}` failed:\n{done.stdout}{done.stderr}")
    return Path(json.loads(done.stdout)["Dir"])


@cache
def promtool(progress: Progress = to_stderr) -> Path:
    """What checks rules and expressions: the one on PATH, else that of Debian's package `prometheus`.

    Raises:
        MissingProgramError: it is not on PATH, and apt-get is missing or does not find the package.
    """
    if found := shutil.which("promtool"):
        return Path(found)
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        raise MissingProgramError("promtool is not on PATH, and there is no apt-get to fetch it with")

    def unpack(folder: Path) -> None:
        progress("fetching Debian's package prometheus for promtool")
        archives = folder / "archives"
        archives.mkdir()
        _download("prometheus", archives)
        (archive,) = archives.glob("prometheus_*.deb")
        _run(["dpkg", "-x", str(archive), str(archives)], folder)
        shutil.move(archives / "usr" / "bin" / "promtool", folder)
        shutil.rmtree(archives)

    release = platform.freedesktop_os_release()
    system = f"{release['ID']}-{release.get('VERSION_CODENAME', 'unnamed')}-{platform.machine()}"
    home = cache_home() / "programs"
    return made_once(home / f"promtool-{system}", unpack, what="promtool", progress=progress) / "promtool"


def _download(package: str, folder: Path) -> None:
    """Fetch a package by the machine's lists of packages, or else by lists of our own."""
    try:
        _run(["apt-get", "-q", "download", package], folder)
    except MissingProgramError:
        # An image may come without lists, and only root may renew those of the machine.
        (folder / "lists" / "partial").mkdir(parents=True)
        own = ["-o", f"Dir::State::Lists={folder / 'lists'}", "-o", f"Dir::Cache={folder}"]
        _run(["apt-get", "-q", *own, "update"], folder)
        _run(["apt-get", "-q", *own, "download", package], folder)


def _run(command: list[str], folder: Path) -> None:
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, check=False, timeout=APT_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise MissingProgramError(f"`{' '.join(command)}` did not end within {APT_SECONDS:g} s") from None
    if done.returncode != 0:
        raise MissingProgramError(f"`{' '.join(command)}` failed:\n{done.stdout}{done.stderr}")


def main() -> int:
    """Make what is missing, and say where each is or why it cannot be had."""
    try:
        current = current_alertmanager()
        to_stderr(f"Alertmanager {module_version(ALERTMANAGER)} is {current}")
    except BuildError as error:
        to_stderr(f"error: {error}")
        return 1
    for name, find in (("prometheus-alertmanager", debian_alertmanager), ("promtool", promtool)):
        try:
            to_stderr(f"{name} is {find()}")
        except MissingProgramError as error:
            to_stderr(f"the tests that use {name} will NOT run: {error}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
