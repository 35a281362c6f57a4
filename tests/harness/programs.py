"""Programs of others that tests use: two Alertmanagers, Helm, actionlint, promtool, and the Prometheus
operator's CRDs.

The current Alertmanager, Helm and actionlint are built from their Go modules, once, into the cache;
`go/go.mod` names the versions and `go/go.sum` the checksums. The older Alertmanager is Debian's and must be
installed, since it reads files at fixed places. promtool is Debian's too, but its package need only be
unpacked, which takes no root and starts no service. `python -m tests.harness.programs` makes what can be
made, and says what is missing.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from hashlib import blake2b
from pathlib import Path

from lab.building import (
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
HELM = "helm.sh/helm/v4"
ACTIONLINT = "github.com/rhysd/actionlint"
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
        "prometheus-alertmanager is not on PATH: `RUNLEVEL=1 apt-get install prometheus-alertmanager` "
        "installs it "
        "and starts no service"
    )


def current_alertmanager(progress: Progress = to_stderr) -> Path:
    """The Alertmanager that `go/go.mod` names.

    Its archive on the module proxy is that of the source, without the built pages of the web interface, and a
    program that embeds a missing folder does not compile. So it gets one page that says so; nothing else
    differs from a released one.

    Raises:
        BuildError: `go` is missing, too old, or failed.
    """
    version = module_version(ALERTMANAGER).removeprefix("v")
    return _built(
        ALERTMANAGER,
        "./cmd/alertmanager",
        stamp=f"github.com/prometheus/common/version.Version={version}",
        added={"ui/app/dist/index.html": NO_PAGES},
        minutes=2,
        progress=progress,
    )


@cache
def helm(progress: Progress = to_stderr) -> Path:
    """The Helm that `go/go.mod` names.

    Raises:
        BuildError: `go` is missing, too old, or failed.
    """
    stamp = f"helm.sh/helm/v4/internal/version.version={module_version(HELM)}"
    return _built(HELM, "./cmd/helm", stamp=stamp, minutes=3, progress=progress)


@cache
def actionlint(progress: Progress = to_stderr) -> Path:
    """The actionlint that `go/go.mod` names: it checks .github/workflows.

    Raises:
        BuildError: `go` is missing, too old, or failed.
    """
    return _built(ACTIONLINT, "./cmd/actionlint", minutes=1, progress=progress)


def _built(
    module: str,
    package: str,
    *,
    stamp: str = "",
    added: Mapping[str, str] | None = None,
    minutes: int,
    progress: Progress,
) -> Path:
    """A program, built from a copy of its module; `stamp` sets a variable, `added` are files that the copy
    lacks."""
    name, version = Path(package).name, module_version(module)
    flags = ["-v", "-trimpath", "-ldflags", f"-s -w{f' -X {stamp}' if stamp else ''}"]
    checksums = [
        line for line in (MODULE / "go.sum").read_text().splitlines() if line.startswith(f"{module} ")
    ]
    seen = (flags, GO_ENVIRONMENT, added, platform.machine(), checksums)
    mark = blake2b(repr(seen).encode(), digest_size=6).hexdigest()

    def build(folder: Path) -> None:
        go = go_program()
        progress(
            f"building {name} {version} from source: the first time takes about {minutes} min on two cores"
        )
        source = folder / "source"
        shutil.copytree(module_folder(module), source, copy_function=shutil.copyfile)
        for made in (source, *source.rglob("*")):
            # The module cache is read-only, and a copied folder would be too.
            made.chmod(0o755 if made.is_dir() else 0o644)
        for path, text in (added or {}).items():
            (source / path).parent.mkdir(parents=True, exist_ok=True)
            (source / path).write_text(text)
        build_one(go, package, folder / name, flags=flags, module=source, progress=progress)
        shutil.rmtree(source)

    folder = cache_home() / "programs" / f"{name}-{version}-{mark}"
    return made_once(folder, build, what=f"{name} {version}", progress=progress) / name


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
        for program in (current_alertmanager(), helm(), actionlint()):
            to_stderr(f"{program.name} is {program}")
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
